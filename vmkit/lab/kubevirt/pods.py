"""The scheduler's and the kubelet's part in the life of launcher pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.launcher import APP_LABEL, LAUNCHER, pod_condition, running_status
from vmkit.lab.kubevirt.marks import Marks
from vmkit.lab.kubevirt.scheduling import Rooms
from vmkit.lab.kubevirt.world import CREATED_BY, World
from vmkit.lab.resources import ObjectKey
from vmkit.lab.store import Event

Object = dict[str, Any]

SCHEDULING_SECONDS: Final = 0.2
STARTING_SECONDS: Final = 0.6
_SCHEDULER: Final = "kube-scheduler"
_VOLUME_READY: Final = ("Succeeded", "")
_HARD_ENDED: Final = ("Succeeded", "Failed")


class LauncherController(Controller):
    """Puts launcher pods on nodes, starts their containers, and lets them go when their guest has ended.

    Args:
        world: what KubeVirt's parts share.
        rooms: the nodes' room, kept up to date here.
    """

    name: ClassVar[str] = "virt-launcher"

    def __init__(self, world: World, rooms: Rooms) -> None:
        super().__init__(world.context)
        self._world = world
        self._rooms = rooms
        self._pods = self.registry.get("", "pods")
        self._marks = Marks(self.clock)
        self._waiting: dict[ObjectKey, None] = {}
        self._by_claim: dict[tuple[str, str], set[ObjectKey]] = {}

    def setup(self) -> None:
        """Watches nodes, every pod (for room), and what launcher pods wait for."""
        self.watch(self.registry.get("", "nodes"), self._node_keys)
        self.watch(self._pods, self._pod_keys)
        self.watch(self._world.types.vmi, self._instance_keys)
        for group, plural in (("", "persistentvolumeclaims"), ("cdi.kubevirt.io", "datavolumes")):
            rtype = self.registry.find(group, plural)
            if rtype is not None:
                self.watch(rtype, self._claim_keys)

    def _node_keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.type == "DELETED":
            self._rooms.drop_node(event.key.name)
            return ()
        self._rooms.put_node(event.object)
        return tuple(self._waiting)

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        ours = event.labels.get(APP_LABEL) == LAUNCHER
        freed = event.type == "DELETED"
        if freed:
            self._rooms.drop_pod(event.object["metadata"]["uid"])
        else:
            pod = event.object
            self._rooms.put_pod(pod)
            freed = (pod.get("status") or {}).get("phase") in _HARD_ENDED
        keys = [event.key] if ours else []
        return [*keys, *self._waiting] if freed else keys

    def _instance_keys(self, event: Event) -> Iterable[ObjectKey]:
        phase = (event.object.get("status") or {}).get("phase") if event.type != "DELETED" else "Failed"
        if phase not in _HARD_ENDED:
            return ()
        uid = event.object["metadata"]["uid"]
        return [key for rtype, key in self.store.dependents(uid) if rtype is self._pods]

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        return tuple(self._by_claim.get((event.key.namespace, event.key.name), ()))

    def reconcile(self, key: ObjectKey) -> None:
        """One launcher pod."""
        pod = self.store.find(self._pods, key.namespace, key.name)
        if pod is None:
            self._forget(key)
            return
        status = pod.get("status") or {}
        uid = pod["metadata"]["uid"]
        if "deletionTimestamp" in pod["metadata"]:
            self._let_go(key, pod)
        elif status.get("phase") in _HARD_ENDED:
            self._forget(key)
            self._marks.drop(uid)
        elif not pod["spec"].get("nodeName"):
            if self._is_over(key, uid, "schedule", SCHEDULING_SECONDS):
                self._schedule(key, pod)
        elif status.get("phase", "Pending") == "Pending" and self._is_over(key, uid, "start", STARTING_SECONDS):
            self._start(key, pod)

    def _is_over(self, key: ObjectKey, uid: str, name: str, seconds: float) -> bool:
        left = self._marks.left(uid, name, seconds)
        if left > 0:
            self.requeue_after(key, left)
        return left <= 0

    def _schedule(self, key: ObjectKey, pod: Object) -> None:
        placement = self._rooms.place(pod, without=self._barred(pod))
        status = pod.setdefault("status", {})
        at = self._world.now()
        if placement.node:
            self._waiting.pop(key, None)
            pod["spec"]["nodeName"] = placement.node
            status.update(
                phase="Pending",
                qosClass="Burstable",
                conditions=[pod_condition("PodScheduled", "True", at)],
            )
            self._write(pod)
            return
        self._waiting[key] = None
        condition = pod_condition("PodScheduled", "False", at, reason="Unschedulable", message=placement.message)
        before = status.get("conditions") or [{}]
        if before[0].get("message") == placement.message:
            return
        status.update(phase="Pending", qosClass="Burstable", conditions=[condition])
        self._write(pod)
        self.recorder.record(
            pod, "FailedScheduling", placement.message, component="default-scheduler", type="Warning",
            manager=_SCHEDULER,
        )  # fmt: skip

    def _barred(self, pod: Object) -> list[str]:
        """A migration's target keeps away from the nodes its instance is on."""
        labels = pod["metadata"].get("labels") or {}
        if "kubevirt.io/migrationJobUID" not in labels:
            return []
        found = self.store.by_uid(labels.get(CREATED_BY, ""))
        vmi = None if found is None else self.store.find(found[0], *found[1])
        return [] if vmi is None else [str((vmi.get("status") or {}).get("nodeName", ""))]

    def _write(self, pod: Object) -> None:
        # spec.nodeName comes by the binding, the rest by the status; to a reader it is one change.
        status = pod["status"]
        stored = self.store.update(self._pods, pod)
        stored["status"] = status
        self.store.update(self._pods, stored, subresource="status")

    def _start(self, key: ObjectKey, pod: Object) -> None:
        node = pod["spec"]["nodeName"]
        if not self._rooms.is_ready(node) or not self._volumes_ready(key, pod):
            return
        at = self._world.now()
        pod["status"] = running_status(
            pod, address=self._world.new_address(), host_address=self._rooms.address(node), at=at
        )
        self.store.update(self._pods, pod, subresource="status")

    def _volumes_ready(self, key: ObjectKey, pod: Object) -> bool:
        """Whether every claim is bound and filled; asks to be told when that changes."""
        ready = True
        for volume in pod["spec"].get("volumes") or []:
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not name:
                continue
            claim = self._world.look_up("", "persistentvolumeclaims", key.namespace, name)
            data_volume = self._world.look_up("cdi.kubevirt.io", "datavolumes", key.namespace, name)
            phase = "" if data_volume is None else (data_volume.get("status") or {}).get("phase", "Pending")
            if claim is None or (claim.get("status") or {}).get("phase") != "Bound" or phase not in _VOLUME_READY:
                ready = False
                self._by_claim.setdefault((key.namespace, name), set()).add(key)
        if ready:
            self._unwatch_claims(key)
        return ready

    def _let_go(self, key: ObjectKey, pod: Object) -> None:
        """Removes a pod on its way out, once its guest has ended (or never ran)."""
        found = self.store.by_uid((pod["metadata"].get("labels") or {}).get(CREATED_BY, ""))
        vmi = None if found is None else self.store.find(found[0], *found[1])
        node = pod["spec"].get("nodeName", "")
        if node and self._rooms.is_known(node) and not self._rooms.is_ready(node):
            return  # nobody on a silent node confirms that the pod has ended
        status = (vmi or {}).get("status") or {}
        guest_inside = status.get("phase") in ("Scheduled", "Running") and pod["metadata"]["uid"] in (
            status.get("activePods") or {}
        )
        if guest_inside and (pod.get("status") or {}).get("phase") not in _HARD_ENDED:
            return
        self._forget(key)
        self._marks.drop(pod["metadata"]["uid"])
        self.store.delete(self._pods, key.namespace, key.name, grace_seconds=0)

    def _forget(self, key: ObjectKey) -> None:
        self._waiting.pop(key, None)
        self._unwatch_claims(key)

    def _unwatch_claims(self, key: ObjectKey) -> None:
        for claim in [claim for claim, keys in self._by_claim.items() if key in keys]:
            self._by_claim[claim].discard(key)
            if not self._by_claim[claim]:
                del self._by_claim[claim]
