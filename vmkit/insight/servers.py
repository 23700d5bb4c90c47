"""Servers and what fills them, read from Node and Pod objects. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import QuantityError
from vmkit.insight.packing import NOTHING, Load, Server
from vmkit.insight.recommender import Resources
from vmkit.units import parse_quantity
from vmkit.vm.reference import VmRef

_LAUNCHER: Final = "kubevirt.io"
_CEPH_APPS: Final = {"rook-ceph-osd": "a Ceph OSD", "rook-ceph-mon": "a Ceph monitor"}
_CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_PLACES: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Servers:
    """Servers and what is on them.

    Attributes:
        servers: the nodes, with the room they have for what can move.
        loads: pods that can move and are no VMs.
        launchers: the launcher of each running VM.
    """

    servers: tuple[Server, ...] = ()
    loads: tuple[Load, ...] = ()
    launchers: Mapping[VmRef, Load] = field(default_factory=dict)


def read_servers(
    nodes: Sequence[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], *, blind: bool = False
) -> Servers:
    """Reads servers and what is on them.

    Args:
        nodes, pods: all objects of these kinds.
        blind: the pods could not be read: then nothing may be switched off.
    """
    filling = _Filling(nodes)
    for pod in pods:
        filling.add(pod)
    return Servers(
        tuple(_read_server(node, filling.fixed, filling.kept, blind=blind) for node in nodes),
        tuple(filling.loads),
        filling.launchers,
    )


class _Filling:
    """What pods ask for, node by node."""

    def __init__(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        self._nodes = nodes
        self.fixed: dict[str, Resources] = {}
        self.kept: dict[str, str] = {}
        self.loads: list[Load] = []
        self.launchers: dict[VmRef, Load] = {}

    def add(self, pod: Mapping[str, Any]) -> None:
        """Counts a pod, if it is on a node and has not ended."""
        where = _mapping(pod, "spec").get("nodeName")
        if _mapping(pod, "status").get("phase") in ("Succeeded", "Failed") or not isinstance(where, str):
            return
        metadata = _mapping(pod, "metadata")
        labels = _mapping(metadata, "labels")
        ref, requests = _ref(pod), _pod_requests(pod)
        if labels.get(_LAUNCHER) == "virt-launcher":
            self._add_launcher(pod, VmRef(ref.namespace, str(labels.get("vm.kubevirt.io/name") or "")), where)
            return
        owners = {str(owner.get("kind")) for owner in _items(metadata.get("ownerReferences"))}
        app = str(labels.get("app") or "")
        if app in _CEPH_APPS:
            self.kept.setdefault(where, f"runs {_CEPH_APPS[app]}")
        if owners & {"DaemonSet", "Node"} or app in _CEPH_APPS:
            self._fix(where, requests)
            return
        pinned = "" if owners else "belongs to no controller: nothing would bring it back"
        self.loads.append(Load(str(ref), requests, where, _allowed(pod, self._nodes), pinned, is_vm=False))

    def _add_launcher(self, pod: Mapping[str, Any], vm: VmRef, where: str) -> None:
        requests = _pod_requests(pod)
        # Of two launchers during a migration both occupy room; the first stands for the VM.
        if vm in self.launchers or not vm.name:
            self._fix(where, requests)
        else:
            self.launchers[vm] = Load(str(vm), requests, where, _allowed(pod, self._nodes), _why_pinned(pod))

    def _fix(self, where: str, requests: Resources) -> None:
        has = self.fixed.get(where, NOTHING)
        self.fixed[where] = Resources(
            has.cpu_millicores + requests.cpu_millicores, has.memory_bytes + requests.memory_bytes
        )


def _read_server(
    node: Mapping[str, Any], fixed: Mapping[str, Resources], kept: Mapping[str, str], *, blind: bool
) -> Server:
    metadata, spec, status = (_mapping(node, key) for key in ("metadata", "spec", "status"))
    name, labels = str(metadata.get("name") or ""), _mapping(metadata, "labels")
    allocatable = _mapping(status, "allocatable")
    room = Resources(int(_amount(allocatable.get("cpu")) * 1000), int(_amount(allocatable.get("memory"))))
    stays = fixed.get(name, NOTHING)
    room = Resources(
        max(room.cpu_millicores - stays.cpu_millicores, 0), max(room.memory_bytes - stays.memory_bytes, 0)
    )
    ready = any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in _items(status.get("conditions"))
    )
    reason = ""
    if any(key in labels for key in _CONTROL_PLANE):
        reason = "is part of the control plane"
    elif not ready:
        reason = "does not answer"
    elif spec.get("unschedulable") is True:
        reason = "is cordoned"
    elif room == NOTHING:
        reason = "does not say how much it holds"
    elif blind:
        reason = "nobody knows what runs on it"
    reason = reason or kept.get(name, "")
    guests = labels.get("kubevirt.io/schedulable", "true") == "true"
    taints = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in _items(spec.get("taints")))
    usable = ready and spec.get("unschedulable") is not True and guests and not taints
    places = tuple(str(labels[key]) for key in _PLACES if key in labels)
    return Server(name, room, reason or ("" if usable else "takes no VMs"), usable, places)


def _allowed(pod: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    """The nodes that a pod's node selector lets it be on; None for all."""
    selector = _mapping(_mapping(pod, "spec"), "nodeSelector")
    if not selector:
        return None
    matching = [
        _ref(node).name
        for node in nodes
        if all(_mapping(_mapping(node, "metadata"), "labels").get(key) == value for key, value in selector.items())
    ]
    return None if len(matching) == len(nodes) else frozenset(matching)


def _why_pinned(pod: Mapping[str, Any]) -> str:
    affinity = _mapping(_mapping(pod, "spec"), "affinity")
    for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity"):
        if _mapping(affinity, kind).get(_REQUIRED):
            return f"has rules about where it may be ({kind})"
    return ""


def _pod_requests(pod: Mapping[str, Any]) -> Resources:
    """What the scheduler counts: the containers' sum, or the largest init container where that is more."""
    spec = _mapping(pod, "spec")

    def add_up(key: str) -> list[tuple[float, float]]:
        found = []
        for container in _items(spec.get(key)):
            requests = _mapping(_mapping(container, "resources"), "requests")
            found.append((_amount(requests.get("cpu")), _amount(requests.get("memory"))))
        return found

    main, before = add_up("containers"), add_up("initContainers")
    cpu = max(sum(one[0] for one in main), max((one[0] for one in before), default=0.0))
    memory = max(sum(one[1] for one in main), max((one[1] for one in before), default=0.0))
    return Resources(math.ceil(cpu * 1000), math.ceil(memory))


def _ref(item: Mapping[str, Any]) -> VmRef:
    metadata = _mapping(item, "metadata")
    return VmRef(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _amount(value: Any) -> float:
    if value is None:
        return 0.0
    try:
        return max(float(parse_quantity(value)), 0.0)
    except QuantityError:
        return 0.0
