"""Live migration: a second launcher elsewhere, the guest's memory copied over, and the instance moved into it.

After pkg/virt-controller/watch/migration and evacuation; no recording covers it. A migration passes through
Pending, Scheduling, Scheduled, PreparingTarget, TargetReady and Running to Succeeded or Failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.instances import InstanceController
from vmkit.lab.kubevirt.launcher import APP_LABEL, build_pod, ended_status, guest_memory
from vmkit.lab.kubevirt.marks import Marks
from vmkit.lab.kubevirt.power import FINAL_PHASES, phase_of
from vmkit.lab.kubevirt.world import CREATED_BY, NODE_NAME, VIRT_CONTROLLER, World, owner_reference
from vmkit.lab.resources import ObjectKey
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event

Object = dict[str, Any]

FINALIZER: Final = "kubevirt.io/migrationJobFinalize"
JOB_LABEL: Final = "kubevirt.io/migrationJobUID"
TARGET_NODE: Final = "kubevirt.io/migrationTargetNodeName"
_STEP_SECONDS: Final = 0.3
_BASE_SECONDS: Final = 2.0
_SECONDS_PER_GIB: Final = 0.5
_ENDED: Final = ("Succeeded", "Failed")


class MigrationController(Controller):
    """Carries out VirtualMachineInstanceMigrations, and makes them for instances that are to leave their node.

    Args:
        world: what KubeVirt's parts share.
        instances: the controller that knows the guests.
    """

    name: ClassVar[str] = "virt-controller-migration"

    def __init__(self, world: World, instances: InstanceController) -> None:
        super().__init__(world.context)
        self._world = world
        self._instances = instances
        self._migrations = world.types.migration
        self._vmis = world.types.vmi
        self._pods = self.registry.get("", "pods")
        self._marks = Marks(self.clock)

    def setup(self) -> None:
        """Watches migrations, their target pods, and the instances they move."""
        self.watch(self._migrations, self._migration_keys)
        self.watch(self._pods, self._pod_keys)
        self.watch(self._vmis, self._instance_keys)

    def _migration_keys(self, event: Event) -> Iterable[ObjectKey]:
        # When one ends, those that wait for their turn may go on.
        phase = (event.object.get("status") or {}).get("phase")
        if event.type == "DELETED" or phase in _ENDED:
            return [event.key, *self._open()]
        return (event.key,)

    def _open(self) -> list[ObjectKey]:
        return [
            entry.key
            for entry in self.store.entries(self._migrations)
            if (entry.decode().get("status") or {}).get("phase") not in _ENDED
        ]

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        found = self.store.by_uid(event.labels.get(JOB_LABEL, ""))
        return () if found is None else (found[1],)

    def _instance_keys(self, event: Event) -> Iterable[ObjectKey]:
        if b'"evacuationNodeName"' in event.object_bytes and event.type != "DELETED":
            self._evacuate(event.object)
        if not self.store.count(self._migrations, event.key.namespace):
            return ()
        return [
            entry.key
            for entry in self.store.entries(self._migrations, event.key.namespace)
            if entry.labels.get("kubevirt.io/vmi-name") == event.key.name
        ]

    # --- one migration -----------------------------------------------------------------------------------------

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one migration a step further."""
        migration = self.store.find(self._migrations, key.namespace, key.name)
        if migration is None:
            return
        phase = (migration.get("status") or {}).get("phase", "")
        if phase in _ENDED:
            self._let_go(migration)
            return
        vmi = self.store.find(self._vmis, key.namespace, str((migration.get("spec") or {}).get("vmiName", "")))
        if vmi is None or phase_of(vmi) in FINAL_PHASES or "deletionTimestamp" in vmi["metadata"]:
            self._fail(migration, vmi, "VMI is gone or has ended")
            return
        if "deletionTimestamp" in migration["metadata"]:
            self._fail(migration, vmi, "migration has been canceled", aborted=True)
            return
        if phase == "":
            self._advance(migration, "Pending")
        elif phase == "Pending":
            self._begin(migration, vmi)
        elif phase == "Scheduling":
            self._wait_for_target(migration, vmi)
        elif phase in ("Scheduled", "PreparingTarget", "TargetReady"):
            self._prepare(key, migration, vmi, phase)
        elif phase == "Running":
            self._copy(key, migration, vmi)

    def _advance(self, migration: Object, phase: str, state: Object | None = None) -> None:
        status = migration.setdefault("status", {})
        status["phase"] = phase
        status.setdefault("phaseTransitionTimestamps", []).append(
            {"phase": phase, "phaseTransitionTimestamp": self._world.now()}
        )
        if state is not None:
            status["migrationState"] = state
        self.store.update(self._migrations, migration, manager=VIRT_CONTROLLER, subresource="status")

    def _begin(self, migration: Object, vmi: Object) -> None:
        if not self._has_turn(migration, vmi):
            return
        name = f"virt-launcher-{vmi['metadata']['name'][:44]}-{self.store.new_suffix()}"
        pod = build_pod(vmi, self._world.configuration, name=name, target_of=migration["metadata"]["uid"])
        selector = (migration.get("spec") or {}).get("addedNodeSelector") or {}
        pod["spec"]["nodeSelector"].update(selector)
        self.store.create(self._pods, pod)
        self._world.record(migration, "SuccessfulCreate", f"Created attachment pod {name}")
        self._advance(migration, "Scheduling")

    def _has_turn(self, migration: Object, vmi: Object) -> bool:
        """Whether the limits on migrations at a time, in the cluster and off one node, leave room."""
        configuration = self._world.configuration
        running = outbound = 0
        for other in self.store.list(self._migrations):
            phase = (other.get("status") or {}).get("phase", "")
            if phase in ("", "Pending", *_ENDED) or other["metadata"]["uid"] == migration["metadata"]["uid"]:
                continue
            running += 1
            moving = self.store.find(self._vmis, other["metadata"]["namespace"], other["spec"].get("vmiName", ""))
            if moving is not None and moving["status"].get("nodeName") == vmi["status"].get("nodeName"):
                outbound += 1
        return (
            running < configuration.parallel_migrations and outbound < configuration.parallel_outbound_migrations
        )

    def _target(self, migration: Object) -> Object | None:
        """The migration's target pod."""
        uid = migration["metadata"]["uid"]
        vmi = self.store.find(self._vmis, migration["metadata"]["namespace"], migration["spec"]["vmiName"])
        if vmi is None:
            return None
        for rtype, key in self.store.dependents(vmi["metadata"]["uid"]):
            if rtype is self._pods:
                entry = self.store.entry(rtype, *key)
                if entry is not None and entry.labels.get(JOB_LABEL) == uid:
                    return entry.decode()
        return None

    def _wait_for_target(self, migration: Object, vmi: Object) -> None:
        pod = self._target(migration)
        if pod is None or (pod.get("status") or {}).get("phase") in _ENDED:
            self._fail(migration, vmi, "target pod is gone")
            return
        if (pod.get("status") or {}).get("phase") != "Running":
            return
        node = pod["spec"]["nodeName"]
        source = next(iter(vmi["status"].get("activePods") or {}), "")
        located = self.store.by_uid(source)
        vmi["metadata"].setdefault("labels", {})[TARGET_NODE] = node
        vmi["status"]["migrationState"] = {
            "migrationUid": migration["metadata"]["uid"],
            "sourceNode": vmi["status"]["nodeName"],
            "sourcePod": "" if located is None else located[1].name,
            "targetNode": node,
            "targetPod": pod["metadata"]["name"],
            "mode": "PreCopy",
        }
        vmi["status"]["activePods"] = {**vmi["status"]["activePods"], pod["metadata"]["uid"]: node}
        self._world.save_instance(vmi)
        self._advance(migration, "Scheduled")

    def _prepare(self, key: ObjectKey, migration: Object, vmi: Object, phase: str) -> None:
        left = self._marks.left(migration["metadata"]["uid"], phase, _STEP_SECONDS)
        if left > 0:
            self.requeue_after(key, left)
            return
        following = {"Scheduled": "PreparingTarget", "PreparingTarget": "TargetReady", "TargetReady": "Running"}
        if phase == "TargetReady":
            state = vmi["status"].setdefault("migrationState", {})
            state["startTimestamp"] = self._world.now()
            self._world.save_instance(vmi)
            self._world.record(vmi, "Migrating", "VirtualMachineInstance is migrating.")
        self._advance(migration, following[phase], vmi["status"].get("migrationState"))

    def _copy(self, key: ObjectKey, migration: Object, vmi: Object) -> None:
        guest = self._instances.guest(vmi)
        seconds = guest.migration_seconds
        if seconds is None:
            seconds = _BASE_SECONDS + _SECONDS_PER_GIB * guest_memory(vmi) / 2**30
        left = self._marks.left(migration["metadata"]["uid"], "copy", seconds)
        if left > 0:
            self.requeue_after(key, left)
            return
        target = self._target(migration)
        if guest.migration_fails or target is None or (target.get("status") or {}).get("phase") != "Running":
            self._fail(migration, vmi, "Live migration failed")
            return
        self._move(migration, vmi, target)

    def _move(self, migration: Object, vmi: Object, target: Object) -> None:
        status, node = vmi["status"], target["spec"]["nodeName"]
        uid = target["metadata"]["uid"]
        old = [pod_uid for pod_uid in status.get("activePods") or {} if pod_uid != uid]
        state = {**status["migrationState"], "completed": True, "endTimestamp": self._world.now()}
        state["targetNodeDomainReadyTimestamp"] = state["endTimestamp"]
        status.update(migrationState=state, nodeName=node, activePods={uid: node}, migrationMethod="LiveMigration")
        address = (target.get("status") or {}).get("podIP")
        for interface in status.get("interfaces") or []:
            if address and interface.get("ipAddress"):
                interface.update(ipAddress=address, ipAddresses=[address])
        labels = vmi["metadata"].setdefault("labels", {})
        labels[NODE_NAME] = node
        labels.pop(TARGET_NODE, None)
        status.pop("evacuationNodeName", None)
        self._world.save_instance(vmi)
        for each in old:
            self._end_pod(each)
        self._world.record(vmi, "Migrated", f"The VirtualMachineInstance migrated to node {node}.")
        self._advance(migration, "Succeeded", state)

    def _end_pod(self, uid: str) -> None:
        found = self.store.by_uid(uid)
        pod = None if found is None else self.store.find(found[0], *found[1])
        if pod is not None:
            pod["status"] = ended_status(pod.get("status") or {}, failed=False, at=self._world.now())
            self.store.update(self._pods, pod, subresource="status")

    def _fail(self, migration: Object, vmi: Object | None, why: str, *, aborted: bool = False) -> None:
        target = self._target(migration)
        state = None
        if (
            vmi is not None
            and (vmi["status"].get("migrationState") or {}).get("migrationUid") == (migration["metadata"]["uid"])
        ):
            state = {
                **vmi["status"]["migrationState"],
                "completed": True,
                "failed": True,
                "failureReason": why,
                "endTimestamp": self._world.now(),
            }
            if aborted:
                state.update(abortRequested=True, abortStatus="Succeeded")
            vmi["status"]["migrationState"] = state
            vmi["metadata"].get("labels", {}).pop(TARGET_NODE, None)
            if target is not None:
                vmi["status"].get("activePods", {}).pop(target["metadata"]["uid"], None)
            self._world.save_instance(vmi)
        self._world.record(migration, "FailedMigration", f"Migration failed: {why}", warning=True)
        self._advance(migration, "Failed", state)
        if target is not None:
            try:
                self.store.delete(self._pods, target["metadata"]["namespace"], target["metadata"]["name"])
            except ApiError as error:
                if error.code != 404:
                    raise

    def _let_go(self, migration: Object) -> None:
        self._marks.drop(migration["metadata"]["uid"])
        finalizers = migration["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            migration["metadata"]["finalizers"] = [each for each in finalizers if each != FINALIZER]
            self.store.update(self._migrations, migration, manager=VIRT_CONTROLLER)

    # --- evacuation --------------------------------------------------------------------------------------------

    def _evacuate(self, vmi: Object) -> None:
        """Makes a migration for an instance that is to leave the node it is on."""
        status = vmi.get("status") or {}
        node = status.get("evacuationNodeName")
        if not node or node != status.get("nodeName") or phase_of(vmi) != "Running":
            return
        name, namespace = vmi["metadata"]["name"], vmi["metadata"]["namespace"]
        for other in self.store.list(self._migrations, namespace):
            if other["spec"].get("vmiName") == name and (other.get("status") or {}).get("phase") not in _ENDED:
                return
        self.store.create(
            self._migrations,
            {
                "metadata": {
                    "generateName": "kubevirt-evacuation-",
                    "namespace": namespace,
                    "labels": {"kubevirt.io/vmi-name": name[:63]},
                    "annotations": {"kubevirt.io/evacuationMigration": node},
                    "finalizers": [FINALIZER],
                    "ownerReferences": [owner_reference(vmi, "VirtualMachineInstance")],
                },
                "spec": {"vmiName": name},
            },
            manager=VIRT_CONTROLLER,
        )


def wants_eviction(world: World, pod: Object) -> ApiError | None:
    """What KubeVirt's webhook says to evicting a launcher pod (pod-eviction-admitter.go); None lets it happen.

    An instance that is to be migrated instead is marked for it.
    """
    labels = pod["metadata"].get("labels") or {}
    if APP_LABEL not in labels:
        return None
    found = world.store.by_uid(labels.get(CREATED_BY, ""))
    vmi = None if found is None else world.store.find(found[0], *found[1])
    if vmi is None or phase_of(vmi) in FINAL_PHASES:
        return None
    strategy = vmi["spec"].get("evictionStrategy", "None")
    migratable = any(
        each.get("type") == "LiveMigratable" and each.get("status") == "True"
        for each in vmi["status"].get("conditions") or []
    )
    name = f"{vmi['metadata']['namespace']}/{vmi['metadata']['name']}"
    if strategy == "None" or (strategy == "LiveMigrateIfPossible" and not migratable):
        return None
    if strategy == "LiveMigrate" and not migratable:
        return _too_many(f'VMI "{name}" is configured with an eviction strategy but is not live-migratable')
    if not vmi["status"].get("evacuationNodeName"):
        vmi["status"]["evacuationNodeName"] = vmi["status"].get("nodeName", "")
        world.save_instance(vmi)
    return _too_many(f'Eviction triggered evacuation of VMI "{name}"')


def _too_many(why: str) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        f'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: {why}',
    )
