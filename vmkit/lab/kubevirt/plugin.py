"""KubeVirt put together: what a lab adds to its registry, starts and creates."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.controller import Context, Controller
from vmkit.lab.kubevirt.admission.webhooks import Admission
from vmkit.lab.kubevirt.calls import MachineCalls
from vmkit.lab.kubevirt.clones import CloneController
from vmkit.lab.kubevirt.instance_calls import InstanceCalls
from vmkit.lab.kubevirt.instances import InstanceController
from vmkit.lab.kubevirt.instancetypes.catalogue import build_instancetypes, build_preferences
from vmkit.lab.kubevirt.machines import MachineController
from vmkit.lab.kubevirt.migrations import MigrationController, wants_eviction
from vmkit.lab.kubevirt.pods import LauncherController
from vmkit.lab.kubevirt.pools import PoolController, ReplicaSetController
from vmkit.lab.kubevirt.release import LATEST, RELEASES
from vmkit.lab.kubevirt.resources import SUBRESOURCES, Types, build_aggregated_api
from vmkit.lab.kubevirt.restores import RestoreController
from vmkit.lab.kubevirt.roles import build_roles
from vmkit.lab.kubevirt.routes import Handler, Route, page_not_found
from vmkit.lab.kubevirt.scheduling import Rooms
from vmkit.lab.kubevirt.snapshots import SnapshotController
from vmkit.lab.kubevirt.world import World
from vmkit.lab.resources import Response, SubresourceRequest
from vmkit.lab.status import method_not_allowed

Object = dict[str, Any]

NAMESPACE: Final = "kubevirt"


class KubeVirt:
    """KubeVirt in one lab.

    Args:
        context: the lab's store, clock, registry and recorder.

    Attributes:
        types: the resource types.
        world: what its parts share.
        controllers: to be started by the lab, in this order.
    """

    def __init__(self, context: Context) -> None:
        release = RELEASES.get(str(context.options.get("kubevirt", "")), LATEST)
        self.types: Final = Types(release)
        self.types.register(context.registry)
        self.world: Final = World(context, self.types)
        self.admission: Final = Admission(self.world)
        self.admission.install(context.registry)
        rooms = Rooms()
        self._instances: Final = InstanceController(self.world, rooms)
        self._machines: Final = MachineCalls(self.world, self.admission)
        self._calls: Final = InstanceCalls(self.world, self._machines, self._instances)
        self.controllers: Final[tuple[Controller, ...]] = (
            LauncherController(self.world, rooms),
            self._instances,
            MachineController(self.world, self.admission),
            MigrationController(self.world, self._instances),
            PoolController(self.world, self.admission),
            ReplicaSetController(self.world, self.admission),
            SnapshotController(self.world),
            RestoreController(self.world),
            CloneController(self.world),
        )
        self._evict_pod: Final = context.registry.handler("", "pods", "eviction")
        context.registry.handle("", "pods", "eviction", self.evict)
        self._serve()

    def _serve(self) -> None:
        registry = self.world.registry
        api = build_aggregated_api()
        registry.aggregate(type(api)(api.group, api.versions, api.resources, fallback=page_not_found))
        machines, calls = self._machines, self._calls
        puts: dict[str, Handler] = {
            "start": machines.start, "stop": machines.stop, "restart": machines.restart,
            "migrate": machines.migrate,
            "addvolume": machines.add_volume, "removevolume": machines.remove_volume,
            "memorydump": machines.memory_dump, "removememorydump": machines.remove_memory_dump,
            "evacuate/cancel": machines.cancel_evacuation,
        }  # fmt: skip
        for name, handler in puts.items():
            registry.handle(SUBRESOURCES, "virtualmachines", name, Route(("PUT",), handler))
        registry.handle(
            SUBRESOURCES, "virtualmachines", "expand-spec", Route(("GET",), machines.expand_vm, produces_json=True)
        )
        registry.handle(SUBRESOURCES, "virtualmachines", "portforward", Route(("GET",), calls.stream))
        registry.handle(
            SUBRESOURCES, "expand-vm-spec", "", Route(("PUT",), machines.expand_given, produces_json=True)
        )
        instance_puts: dict[str, Handler] = {
            "pause": calls.pause, "unpause": calls.unpause, "softreboot": calls.soft_reboot, "reset": calls.reset,
            "freeze": calls.freeze, "unfreeze": calls.unfreeze, "addvolume": machines.add_volume,
            "removevolume": machines.remove_volume, "evacuate/cancel": machines.cancel_evacuation,
            "backup": calls.unsupported, "redefine-checkpoint": calls.unsupported,
            "sev/setupsession": calls.unsupported, "sev/injectlaunchsecret": calls.unsupported,
        }  # fmt: skip
        for name, handler in instance_puts.items():
            registry.handle(SUBRESOURCES, "virtualmachineinstances", name, Route(("PUT",), handler))
        instance_gets: dict[str, Handler] = {
            "guestosinfo": calls.guest_os_info, "userlist": calls.user_list,
            "filesystemlist": calls.filesystem_list,
            "sev/fetchcertchain": calls.unsupported, "sev/querylaunchmeasurement": calls.unsupported,
            "objectgraph": calls.unsupported,
        }  # fmt: skip
        for name, handler in instance_gets.items():
            route = Route(("GET",), handler, produces_json=True)
            registry.handle(SUBRESOURCES, "virtualmachineinstances", name, route)
        for name in ("console", "vnc", "vnc/screenshot", "usbredir", "vsock", "portforward"):
            registry.handle(SUBRESOURCES, "virtualmachineinstances", name, Route(("GET",), calls.stream))

    def evict(self, request: SubresourceRequest) -> Response:
        """POST .../pods/NAME/eviction: marks an instance that is to migrate first; other pods go the usual way.

        Raises:
            ApiError: 404, 405, or 429 while the instance migrates away.
        """
        if request.method == "POST":
            pod = self.world.store.get(self.world.registry.get("", "pods"), request.namespace, request.name)
            refusal = wants_eviction(self.world, pod)
            if refusal is not None:
                raise refusal
        if self._evict_pod is None:
            raise method_not_allowed()
        return self._evict_pod(request)

    def seed_objects(self) -> list[Object]:
        """What KubeVirt's operator has created in a fresh cluster."""
        version = self.world.release.full_version
        at = self.world.now()
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "kubevirt.io/v1",
                "kind": "KubeVirt",
                "metadata": {"name": "kubevirt", "namespace": NAMESPACE},
                "spec": {
                    "certificateRotateStrategy": {},
                    "configuration": {"developerConfiguration": {}},
                    "customizeComponents": {},
                    "imagePullPolicy": "IfNotPresent",
                    "workloadUpdateStrategy": {},
                },
                "status": {
                    "conditions": [
                        {
                            "lastProbeTime": at,
                            "lastTransitionTime": at,
                            "message": message,
                            "reason": reason,
                            "status": status,
                            "type": kind,
                        }
                        for kind, status, reason, message in (
                            ("Created", "True", "AllResourcesCreated", "All resources were created."),
                            ("Available", "True", "AllComponentsReady", "All components are ready."),
                            ("Progressing", "False", "AllComponentsReady", "All components are ready."),
                            ("Degraded", "False", "AllComponentsReady", "All components are ready."),
                        )
                    ],
                    "observedKubeVirtVersion": version,
                    "operatorVersion": version,
                    "phase": "Deployed",
                    "targetKubeVirtVersion": version,
                },
            },
            *build_instancetypes(),
            *build_preferences(),
            *build_roles(),
        ]
