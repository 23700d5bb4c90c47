"""Nodes that fall silent and return: the node lifecycle controller's part, and that of KubeVirt's node controller.

Source: kube-controller-manager pkg/controller/nodelifecycle (grace period 40 s, taints, texts), the default
toleration of 300 s, KubeVirt pkg/virt-controller/watch/node/node.go (heartbeat older than 5 minutes),
KubeEdge's autonomy label.

A node is silent while it carries the annotation ``lab.vmkit.io/silent: "true"``. Nothing is heard of it then;
what runs on it goes on. Healthy nodes renew nothing, so that a clock can be moved by weeks: their last
heartbeat is as old as the lab.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final

from vmkit.lab.clock import format_micro_time, format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.store import Event

SILENT: Final = "lab.vmkit.io/silent"
AUTONOMY: Final = ("app-offline.kubeedge.io", "autonomy")
GRACE_SECONDS: Final = 40.0
EVICTION_SECONDS: Final = 300.0
HEARTBEAT_SECONDS: Final = 300.0
LEASES: Final = "kube-node-lease"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"
_COMPONENT: Final = "node-controller"
_HEARD: Final = {
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_UNHEARD: Final = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")


class NodeController(Controller):
    """Gives each node its lease, and follows silent ones: not ready, tainted, emptied of what does not tolerate
    it."""

    name: ClassVar[str] = "node-lifecycle"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._nodes = context.registry.get("", "nodes")
        self._pods = context.registry.get("", "pods")
        self._leases = context.registry.get("coordination.k8s.io", "leases")
        self._since: dict[str, datetime] = {}

    def setup(self) -> None:
        self.watch(self._nodes)
        self.watch(self._pods, self._pod_keys)

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        if not self._since or event.type == "DELETED":
            return ()
        node = (event.object.get("spec") or {}).get("nodeName", "")
        return (ObjectKey("", node),) if node in self._since else ()

    def reconcile(self, key: ObjectKey) -> None:
        node = self.store.find(self._nodes, "", key.name)
        if node is None:
            self._since.pop(key.name, None)
            if self.store.exists(self._leases, LEASES, key.name):
                self.store.delete(self._leases, LEASES, key.name)
            return
        if (node["metadata"].get("annotations") or {}).get(SILENT) == "true":
            self._follow_silence(key, node)
        else:
            self._since.pop(key.name, None)
            self._ensure_lease(node)
            self._welcome(node)

    # --- silent -----------------------------------------------------------------------------------

    def _follow_silence(self, key: ObjectKey, node: Object) -> None:
        now = self.clock.now()
        since = self._since.setdefault(key.name, now)
        silent = (now - since).total_seconds()
        for due in (GRACE_SECONDS, HEARTBEAT_SECONDS, GRACE_SECONDS + EVICTION_SECONDS):
            if silent < due:
                self.requeue_after(key, due - silent)
                break
        if silent >= GRACE_SECONDS:
            node = self._mark_unreachable(node, now)
        if silent >= HEARTBEAT_SECONDS:
            self._set_schedulable(node, "false")
        if silent >= GRACE_SECONDS + EVICTION_SECONDS:
            self._evict(key.name)

    def _mark_unreachable(self, node: Object, now: datetime) -> Object:
        if _set_conditions(node, dict.fromkeys(_HEARD, _UNHEARD), format_time(now)):
            self.store.update(self._nodes, node, subresource="status", manager="kube-controller-manager")
            name = node["metadata"]["name"]
            self.recorder.record(
                node, "NodeNotReady", f"Node {name} status is now: NodeNotReady", component=_COMPONENT
            )
            node = self.store.get(self._nodes, "", name)
        taints = [taint for taint in node["spec"].get("taints") or () if taint["key"] != _UNREACHABLE]
        wanted = [
            *taints,
            *(
                {"effect": effect, "key": _UNREACHABLE, "timeAdded": format_time(now)}
                for effect in ("NoSchedule", "NoExecute")
            ),
        ]
        if len(node["spec"].get("taints") or ()) != len(wanted):
            node["spec"]["taints"] = wanted
            node = self.store.update(self._nodes, node, manager="kube-controller-manager")
        return node

    def _evict(self, name: str) -> None:
        mark = f'"nodeName":"{name}"'.encode()
        for entry in tuple(self.store.entries(self._pods)):
            if mark not in entry.data or entry.labels.get(AUTONOMY[0]) == AUTONOMY[1]:
                continue
            pod = entry.decode()
            if pod["spec"].get("nodeName") != name or pod["metadata"].get("deletionTimestamp") or _tolerates(pod):
                continue
            self.recorder.record(
                pod,
                "TaintManagerEviction",
                f"Marking for deletion Pod {entry.key.namespace}/{entry.key.name}",
                component="taint-eviction-controller",
            )
            self.store.delete(self._pods, entry.key.namespace, entry.key.name)

    # --- heard of again ---------------------------------------------------------------------------

    def _welcome(self, node: Object) -> None:
        now = self.clock.now()
        name = node["metadata"]["name"]
        taints = node["spec"].get("taints") or []
        kept = [taint for taint in taints if taint["key"] != _UNREACHABLE]
        returned = len(kept) != len(taints)
        if returned:
            if kept:
                node["spec"]["taints"] = kept
            else:
                node["spec"].pop("taints", None)
            node = self.store.update(self._nodes, node, manager="kube-controller-manager")
        unheard = any(
            condition["type"] in _HEARD and condition["status"] == "Unknown"
            for condition in (node.get("status") or {}).get("conditions") or ()
        )
        if unheard:
            _set_conditions(node, _HEARD, format_time(now))
            node = self.store.update(self._nodes, node, subresource="status", manager="kubelet")
            self.recorder.record(node, "NodeReady", f"Node {name} status is now: NodeReady", component="kubelet")
        if returned or unheard:
            self._set_schedulable(node, "true")
            self._renew(name)

    def _set_schedulable(self, node: Object, value: str) -> None:
        labels = node["metadata"].get("labels") or {}
        if "kubevirt.io/schedulable" not in labels:
            return
        annotations = node["metadata"].setdefault("annotations", {})
        if labels["kubevirt.io/schedulable"] == value:
            return
        labels["kubevirt.io/schedulable"] = value
        if value == "true":
            annotations["kubevirt.io/heartbeat"] = format_time(self.clock.now())
        self.store.update(self._nodes, node, manager="virt-handler" if value == "true" else "virt-controller")

    def _ensure_lease(self, node: Object) -> None:
        name = node["metadata"]["name"]
        if self.store.exists(self._leases, LEASES, name):
            return
        at = format_micro_time(self.clock.now())
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": LEASES,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
                ],
            },
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": at},
        }
        self.store.create(self._leases, lease, manager="kubelet")

    def _renew(self, name: str) -> None:
        lease = self.store.find(self._leases, LEASES, name)
        if lease is not None:
            lease["spec"]["renewTime"] = format_micro_time(self.clock.now())
            self.store.update(self._leases, lease, manager="kubelet")


def _set_conditions(node: Object, wanted: dict[str, tuple[str, str, str]], at: str) -> bool:
    """Sets the conditions a kubelet reports; returns whether anything changed."""
    conditions: list[Any] = node.setdefault("status", {}).setdefault("conditions", [])
    changed = False
    for condition in conditions:
        values = wanted.get(condition["type"])
        if values is None or (condition["status"], condition.get("reason")) == values[:2]:
            continue
        if condition["status"] != values[0]:
            condition["lastTransitionTime"] = at
        condition["status"], condition["reason"], condition["message"] = values
        changed = True
    return changed


def _tolerates(pod: Object) -> bool:
    """Whether a pod stays on an unreachable node for good."""
    return any(
        toleration.get("key") in (None, "", _UNREACHABLE)
        and toleration.get("effect") in (None, "", "NoExecute")
        and toleration.get("tolerationSeconds") is None
        for toleration in pod["spec"].get("tolerations") or ()
    )
