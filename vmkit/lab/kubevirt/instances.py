"""The life of an instance: virt-controller's part (pod, phases) and virt-handler's (the guest) in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.admission.defaults import FOREGROUND_FINALIZER
from vmkit.lab.kubevirt.conditions import (
    GUEST_NOT_RUNNING,
    PAUSED_GATE,
    POD_TERMINATING,
    drop_condition,
    live_migratable,
    not_ready,
    plain,
    ready,
    same_outcome,
    set_condition,
)
from vmkit.lab.kubevirt.guests import Guest, mac_address, read_guest
from vmkit.lab.kubevirt.launcher import (
    APP_LABEL,
    IMAGE,
    LAUNCHER,
    build_pod,
    ended_status,
    grace_seconds,
    memory_overhead,
)
from vmkit.lab.kubevirt.marks import Marks
from vmkit.lab.kubevirt.power import FINAL_PHASES, condition, is_true, phase_of
from vmkit.lab.kubevirt.quantities import binary
from vmkit.lab.kubevirt.scheduling import Rooms
from vmkit.lab.kubevirt.world import (
    CREATED_BY,
    NODE_NAME,
    OBSERVED_VERSIONS,
    VIRT_HANDLER,
    World,
    claim_of,
    controller_of,
)
from vmkit.lab.resources import ObjectKey
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event

Object = dict[str, Any]

_STARTABLE: Final = ("Succeeded", "WaitForFirstConsumer", "PendingPopulation")
_MIGRATION_LABEL: Final = "kubevirt.io/migrationJobUID"


class InstanceController(Controller):
    """Moves instances from Pending to Running and, when they end, to Succeeded or Failed and away.

    Args:
        world: what KubeVirt's parts share.
        rooms: the nodes, to know which answer.
    """

    name: ClassVar[str] = "virt-controller-vmi"

    def __init__(self, world: World, rooms: Rooms) -> None:
        super().__init__(world.context)
        self._world = world
        self._rooms = rooms
        self._vmis = world.types.vmi
        self._pods = self.registry.get("", "pods")
        self._marks = Marks(self.clock)
        self._by_claim: dict[tuple[str, str], set[ObjectKey]] = {}

    def setup(self) -> None:
        """Watches instances, their pods, the claims they wait for, and the nodes they are on."""
        self.watch(self._vmis)
        self.watch(self._pods, self._pod_keys)
        self.watch(self._world.types.vm, self._vm_keys)
        self.watch(self.registry.get("", "nodes"), self._node_keys)
        for group, plural in (("", "persistentvolumeclaims"), ("cdi.kubevirt.io", "datavolumes")):
            rtype = self.registry.find(group, plural)
            if rtype is not None:
                self.watch(rtype, self._claim_keys)

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.labels.get(APP_LABEL) != LAUNCHER:
            return ()
        found = self.store.by_uid(event.labels.get(CREATED_BY, ""))
        return () if found is None else (found[1],)

    def _vm_keys(self, event: Event) -> Iterable[ObjectKey]:
        # Only what a guest is told by its VM's annotations matters here.
        if event.type != "MODIFIED" or b"lab.vmkit.io/guest-" not in event.object_bytes + (event.old_bytes or b""):
            return ()
        before, now = ((each or {}).get("metadata", {}).get("annotations") for each in (event.old, event.object))
        return (event.key,) if before != now else ()

    def _node_keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.type == "ADDED":
            return ()
        before, now = (_is_node_ready(each) for each in (event.old, event.object))
        if before == now:
            return ()
        return [
            entry.key for entry in self.store.entries(self._vmis) if entry.labels.get(NODE_NAME) == event.key.name
        ]

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        return tuple(self._by_claim.get((event.key.namespace, event.key.name), ()))

    # --- one instance ------------------------------------------------------------------------------------

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one instance a step further."""
        vmi = self.store.find(self._vmis, key.namespace, key.name)
        if vmi is None:
            self._unwatch_claims(key)
            return
        pods = self._launchers(vmi)
        phase = phase_of(vmi)
        if phase in FINAL_PHASES:
            self._after_end(vmi, pods)
        elif "deletionTimestamp" in vmi["metadata"]:
            self._end_deleted(key, vmi, pods)
        elif phase in ("", "Pending"):
            self._create_pod(key, vmi, pods)
        elif phase == "Scheduling":
            self._follow_pod(vmi, pods)
        elif phase == "Scheduled":
            self._power_on(key, vmi, pods)
        elif phase == "Running":
            self._run(key, vmi, pods)

    def _launchers(self, vmi: Object) -> list[Object]:
        """The launcher pods of an instance: those that live, or if none does those that have ended.

        A migration's target is no launcher until the instance has moved into it.
        """
        status = vmi.get("status") or {}
        active, node = status.get("activePods") or {}, status.get("nodeName")
        found = [
            pod
            for pod in self._all_pods(vmi)
            if _MIGRATION_LABEL not in pod["metadata"]["labels"]
            or (node and active.get(pod["metadata"]["uid"]) == node)
        ]
        living = [pod for pod in found if (pod.get("status") or {}).get("phase") not in FINAL_PHASES]
        return living or found

    def _all_pods(self, vmi: Object) -> list[Object]:
        entries = [
            self.store.entry(rtype, *key)
            for rtype, key in self.store.dependents(vmi["metadata"]["uid"])
            if rtype is self._pods
        ]
        return [entry.decode() for entry in entries if entry is not None and APP_LABEL in entry.labels]

    def guest(self, vmi: Object) -> Guest:
        """How this instance's guest behaves."""
        owner = controller_of(vmi)
        told: Object | None = None
        if owner is not None and owner.get("kind") == "VirtualMachine":
            vm = self.store.find(self._world.types.vm, vmi["metadata"]["namespace"], owner["name"])
            told = None if vm is None else vm["metadata"].get("annotations")
        return read_guest(told, vmi["metadata"].get("annotations"))

    # --- starting ------------------------------------------------------------------------------------------

    def _create_pod(self, key: ObjectKey, vmi: Object, pods: list[Object]) -> None:
        if not pods and not self._volumes_allow(key, vmi):
            return
        configuration = self._world.configuration
        if pods:
            pod = pods[0]
        else:
            name = f"virt-launcher-{vmi['metadata']['name'][:44]}-{self.store.new_suffix()}"
            pod = self.store.create(self._pods, build_pod(vmi, configuration, name=name))
            self._world.record(vmi, "SuccessfulCreate", f"Created virtual machine pod {name}")
        status = vmi["status"]
        vmi["metadata"].setdefault("annotations", {}).update(OBSERVED_VERSIONS)
        drop_condition(status, "Synchronized")
        status["activePods"] = {pod["metadata"]["uid"]: ""}
        status["launcherContainerImageVersion"] = IMAGE
        status.setdefault("memory", {})["memoryOverhead"] = binary(memory_overhead(vmi, configuration))
        status["qosClass"] = "Guaranteed" if _is_guaranteed(vmi) else "Burstable"
        set_condition(status, not_ready(GUEST_NOT_RUNNING, self._world.now()))
        self._set_phase(vmi, "Scheduling")
        self._world.save_instance(vmi)

    def _volumes_allow(self, key: ObjectKey, vmi: Object) -> bool:
        """Whether every claim is there and every DataVolume far enough; if not, says so and waits."""
        self._unwatch_claims(key)
        missing = ""
        waiting = False
        for volume in vmi["spec"].get("volumes") or []:
            name = claim_of(volume)
            if not name:
                continue
            data_volume = self._world.look_up("cdi.kubevirt.io", "datavolumes", key.namespace, name)
            claim = self._world.look_up("", "persistentvolumeclaims", key.namespace, name)
            phase = "" if data_volume is None else (data_volume.get("status") or {}).get("phase", "")
            absent = claim is None
            late = data_volume is not None and phase not in _STARTABLE
            if absent or late:
                self._by_claim.setdefault((key.namespace, name), set()).add(key)
                waiting = True
                if absent and data_volume is None:
                    missing = missing or f"PVC {key.namespace}/{name} does not exist, waiting for it to appear"
        told = plain("Synchronized", "False", reason="FailedPvcNotFound", message=missing)
        if missing and not same_outcome(condition(vmi, "Synchronized"), told):
            set_condition(vmi["status"], {**told, "lastTransitionTime": self._world.now()})
            self._world.save_instance(vmi)
            self._world.record(vmi, "FailedPvcNotFound", missing, warning=True)
        return not waiting

    def _unwatch_claims(self, key: ObjectKey) -> None:
        for claim in [claim for claim, keys in self._by_claim.items() if key in keys]:
            self._by_claim[claim].discard(key)
            if not self._by_claim[claim]:
                del self._by_claim[claim]

    def _follow_pod(self, vmi: Object, pods: list[Object]) -> None:
        status = vmi["status"]
        if not pods or "deletionTimestamp" in pods[0]["metadata"]:
            self._finish(vmi, failed=True)
            return
        pod = pods[0]
        pod_status = pod.get("status") or {}
        scheduled = next(
            (each for each in pod_status.get("conditions") or [] if each["type"] == "PodScheduled"), None
        )
        if scheduled is not None and scheduled["status"] == "False":
            if not same_outcome(condition(vmi, "PodScheduled"), scheduled):
                set_condition(status, scheduled)
                self._world.save_instance(vmi)
            return
        if pod_status.get("phase") != "Running":
            if condition(vmi, "PodScheduled") is not None:
                drop_condition(status, "PodScheduled")
                self._world.save_instance(vmi)
            return
        node = pod["spec"]["nodeName"]
        drop_condition(status, "PodScheduled")
        vmi["metadata"].setdefault("labels", {})[NODE_NAME] = node
        status["activePods"] = {pod["metadata"]["uid"]: node}
        status["interfaces"] = self._interfaces(vmi, None)
        status["migrationTransport"] = "Unix"
        status["nodeName"] = node
        status["volumeStatus"] = self._volume_status(vmi)
        self._set_phase(vmi, "Scheduled")
        self._world.save_instance(vmi)

    def _interfaces(self, vmi: Object, pod: Object | None) -> list[Object]:
        """status.interfaces, with addresses once the guest is up (``pod`` given)."""
        networks = {network.get("name"): network for network in vmi["spec"].get("networks") or []}
        addresses = ((pod or {}).get("status") or {}).get("podIP", "")
        found = []
        for index, interface in enumerate(vmi["spec"]["domain"]["devices"].get("interfaces") or []):
            name = interface.get("name", "")
            on_pod = "pod" in networks.get(name, {})
            entry: Object = {"name": name, "podInterfaceName": "eth0" if on_pod else f"pod{index:011x}"}
            if pod is not None:
                entry["mac"] = interface.get("macAddress") or mac_address(vmi["metadata"]["uid"], name)
                if on_pod and addresses:
                    entry["ipAddress"] = addresses
                    entry["ipAddresses"] = [addresses]
            found.append(entry)
        return found

    def _volume_status(self, vmi: Object) -> list[Object]:
        found = []
        for volume in vmi["spec"].get("volumes") or []:
            entry: Object = {"name": volume["name"], "target": ""}
            name = claim_of(volume)
            claim = self._world.look_up("", "persistentvolumeclaims", vmi["metadata"]["namespace"], name)
            if claim is not None:
                spec = claim.get("spec") or {}
                entry["persistentVolumeClaimInfo"] = {
                    "accessModes": spec.get("accessModes") or [],
                    "capacity": (claim.get("status") or {}).get("capacity") or {},
                    "claimName": name,
                    "filesystemOverhead": "0.055" if spec.get("volumeMode") == "Filesystem" else "0",
                    "requests": (spec.get("resources") or {}).get("requests") or {},
                    "volumeMode": spec.get("volumeMode", "Filesystem"),
                }
            found.append(entry)
        return found

    def _power_on(self, key: ObjectKey, vmi: Object, pods: list[Object]) -> None:
        if self._lost_pod(vmi, pods) or not self._rooms.is_ready(vmi["status"]["nodeName"]):
            return
        guest, uid = self.guest(vmi), vmi["metadata"]["uid"]
        left = self._marks.left(uid, "start", guest.start_seconds)
        if left > 0:
            self.requeue_after(key, left)
            return
        if guest.crashes_at_boot:
            self._finish(vmi, failed=True)
            return
        status, at = vmi["status"], self._world.now()
        status["interfaces"] = self._interfaces(vmi, pods[0])
        paused = vmi["spec"].get("startStrategy") == "Paused"
        set_condition(status, not_ready(PAUSED_GATE, at) if paused else ready(at))
        self._marks.left(uid, "power-on", 0)
        if guest.has_agent and guest.boot_seconds <= 0 and not paused:
            set_condition(status, plain("AgentConnected", "True", probed=at))
            status["guestOSInfo"] = guest.os_info
        set_condition(status, live_migratable(vmi, self._claims(vmi)))
        if paused:
            set_condition(status, paused_condition(at))
        self._set_phase(vmi, "Running")
        self._world.save_instance(vmi, manager=VIRT_HANDLER)
        self._plan_guest(key, vmi, guest)

    def _claims(self, vmi: Object) -> dict[str, Object]:
        namespace = vmi["metadata"]["namespace"]
        names = [claim_of(volume) for volume in vmi["spec"].get("volumes") or []]
        found = {
            name: self._world.look_up("", "persistentvolumeclaims", namespace, name) for name in names if name
        }
        return {name: claim for name, claim in found.items() if claim is not None}

    # --- running -------------------------------------------------------------------------------------------

    def _run(self, key: ObjectKey, vmi: Object, pods: list[Object]) -> None:
        node = vmi["status"].get("nodeName", "")
        if not self._rooms.is_ready(node):
            return
        if self._shut_down_with_pod(key, vmi, pods) or self._lost_pod(vmi, pods):
            return
        guest, uid = self.guest(vmi), vmi["metadata"]["uid"]
        if guest.crash_seconds is not None and self._marks.left(uid, "power-on", guest.crash_seconds) <= 0:
            self._finish(vmi, failed=True)
            return
        if guest.exit_seconds is not None and self._marks.left(uid, "power-on", guest.exit_seconds) <= 0:
            self._finish(vmi, failed=False)
            return
        if self._follow_agent(vmi, guest):
            self._world.save_instance(vmi, manager=VIRT_HANDLER)
        self._plan_guest(key, vmi, guest)

    def _follow_agent(self, vmi: Object, guest: Guest) -> bool:
        """Connects or disconnects the guest agent; True when something changed."""
        connected = condition(vmi, "AgentConnected") is not None
        awake = not is_true(vmi, "Paused")
        up = self._marks.left(vmi["metadata"]["uid"], "power-on", guest.boot_seconds) <= 0
        status = vmi["status"]
        if guest.has_agent and not connected and up and awake:
            set_condition(status, plain("AgentConnected", "True", probed=self._world.now()))
            status["guestOSInfo"] = guest.os_info
            return True
        if connected and not guest.has_agent:
            drop_condition(status, "AgentConnected")
            status["guestOSInfo"] = {}
            return True
        return False

    def _plan_guest(self, key: ObjectKey, vmi: Object, guest: Guest) -> None:
        """Comes back when the next thing happens inside the guest."""
        uid = vmi["metadata"]["uid"]
        pending = [
            self._marks.left(uid, "power-on", seconds)
            for seconds in (
                guest.boot_seconds if guest.has_agent and condition(vmi, "AgentConnected") is None else None,
                guest.crash_seconds,
                guest.exit_seconds,
            )
            if seconds is not None
        ]
        due = [left for left in pending if left > 0]
        if due:
            self.requeue_after(key, min(due))

    def rebooted(self, vmi: Object) -> None:
        """The guest starts anew inside the same instance (a soft reboot or a reset)."""
        uid = vmi["metadata"]["uid"]
        self._marks.drop(uid, "power-on")
        self._marks.left(uid, "power-on", 0)
        guest = self.guest(vmi)
        if guest.boot_seconds > 0 and condition(vmi, "AgentConnected") is not None:
            drop_condition(vmi["status"], "AgentConnected")
            self._world.save_instance(vmi, manager=VIRT_HANDLER)
        self.enqueue(ObjectKey(vmi["metadata"]["namespace"], vmi["metadata"]["name"]))

    # --- ending --------------------------------------------------------------------------------------------

    def _lost_pod(self, vmi: Object, pods: list[Object]) -> bool:
        """An instance whose pod is gone or has ended has failed."""
        living = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in FINAL_PHASES]
        if living:
            return False
        self._finish(vmi, failed=True)
        return True

    def _shut_down_with_pod(self, key: ObjectKey, vmi: Object, pods: list[Object]) -> bool:
        """Somebody deletes the launcher pod: its guest powers off, at the latest when the pod's grace ends."""
        going = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        if not going or len(going) < len(pods):
            return False
        grace = going[0]["metadata"].get("deletionGracePeriodSeconds") or 0
        self._tell_terminating(vmi)
        self._power_off(key, vmi, grace)
        return True

    def _end_deleted(self, key: ObjectKey, vmi: Object, pods: list[Object]) -> None:
        """The instance is deleted: its pod goes, its guest powers off, and it has ended."""
        inside = phase_of(vmi) in ("Scheduled", "Running")
        for pod in self._all_pods(vmi):
            metadata = pod["metadata"]
            if "deletionTimestamp" not in metadata:
                self.store.delete(self._pods, metadata["namespace"], metadata["name"])
                self._world.record(vmi, "SuccessfulDelete", f"Deleted virtual machine pod {metadata['name']}")
        if not inside or not pods:
            if not self._all_pods(vmi):
                self._finish(vmi, failed=True)
            return
        self._tell_terminating(vmi)
        if self._rooms.is_ready(vmi["status"]["nodeName"]):
            # A pod deleted with less grace (a forced restart) cuts its guest off earlier.
            graces = [pod["metadata"].get("deletionGracePeriodSeconds") for pod in pods]
            self._power_off(key, vmi, min([grace_seconds(vmi), *(each for each in graces if each is not None)]))

    def _tell_terminating(self, vmi: Object) -> None:
        told = not_ready(POD_TERMINATING, self._world.now())
        before = condition(vmi, "Ready")
        if not same_outcome(before, told):
            set_condition(vmi["status"], told)
            vmi.update(self._world.save_instance(vmi))

    def _power_off(self, key: ObjectKey, vmi: Object, grace: float) -> None:
        """The guest shuts down in its own time, or is cut off when the grace is over (and counts as failed)."""
        guest, uid = self.guest(vmi), vmi["metadata"]["uid"]
        deaf = guest.ignores_acpi or is_true(vmi, "Paused") or not _has_acpi(vmi)
        cut_off = self._marks.left(uid, "power-off", grace)
        powered = self._marks.left(uid, "power-off", guest.shutdown_seconds)
        if not deaf and powered <= 0:
            self._finish(vmi, failed=False)
        elif cut_off <= 0:
            self._finish(vmi, failed=_has_acpi(vmi))
        else:
            self.requeue_after(key, cut_off if deaf else min(cut_off, powered))

    def _finish(self, vmi: Object, *, failed: bool) -> None:
        status = vmi["status"]
        self._set_phase(vmi, "Failed" if failed else "Succeeded")
        if "deletionTimestamp" not in vmi["metadata"]:
            told = not_ready(GUEST_NOT_RUNNING, self._world.now())
            if not same_outcome(condition(vmi, "Ready"), told):
                set_condition(status, told)
            drop_condition(status, "AgentConnected")
        self._world.save_instance(vmi, manager=VIRT_HANDLER)

    def _after_end(self, vmi: Object, pods: list[Object]) -> None:
        """Ends the pods of an ended instance and, when it is deleted, lets it go."""
        failed = phase_of(vmi) == "Failed"
        self._marks.drop(vmi["metadata"]["uid"])
        for pod in pods:
            status = pod.get("status") or {}
            if status.get("phase") == "Running":
                pod["status"] = ended_status(status, failed=failed, at=self._world.now())
                self.store.update(self._pods, pod, subresource="status")
        metadata = vmi["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        for pod in self._all_pods(vmi):
            self._remove_pod(pod)
        if self._all_pods(vmi) or FOREGROUND_FINALIZER not in (metadata.get("finalizers") or []):
            return
        self._unwatch_claims(ObjectKey(metadata["namespace"], metadata["name"]))
        stored = self.store.find(self._vmis, metadata["namespace"], metadata["name"])
        if stored is not None:
            finalizers = stored["metadata"].get("finalizers") or []
            stored["metadata"]["finalizers"] = [each for each in finalizers if each != FOREGROUND_FINALIZER]
            self._world.save_instance(stored)

    def _remove_pod(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            self.store.delete(self._pods, metadata["namespace"], metadata["name"], grace_seconds=0)
        except ApiError as error:
            if error.code != 404:
                raise

    def _set_phase(self, vmi: Object, phase: str) -> None:
        status = vmi["status"]
        status["phase"] = phase
        status.setdefault("phaseTransitionTimestamps", []).append(
            {"phase": phase, "phaseTransitionTimestamp": self._world.now()}
        )


def paused_condition(at: str) -> Object:
    """The condition Paused."""
    return {
        "lastProbeTime": at, "lastTransitionTime": at,
        "message": "VMI was paused by user", "reason": "PausedByUser", "status": "True", "type": "Paused",
    }  # fmt: skip


def _has_acpi(vmi: Object) -> bool:
    acpi = (vmi["spec"]["domain"].get("features") or {}).get("acpi")
    return acpi is None or acpi.get("enabled") is not False


def _is_guaranteed(vmi: Object) -> bool:
    return bool((vmi["spec"]["domain"].get("cpu") or {}).get("dedicatedCpuPlacement"))


def _is_node_ready(node: Object | None) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
