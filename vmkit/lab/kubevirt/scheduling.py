"""Which node a launcher pod goes to: those that accept it, the emptiest first.

A small part of what kube-scheduler does: node selectors, required node affinity, taints, and room for processors,
memory and pods. What every pod requests is kept count of as pods come and go, so that choosing is cheap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.lab.kubevirt.quantities import BadQuantity, read, whole

Object = dict[str, Any]

_ENDED: Final = ("Succeeded", "Failed")


@dataclass(slots=True)
class Room:
    """A node and what is taken of it.

    Attributes:
        node: the Node.
        cpu_milli, memory_bytes, pods: what it can hold.
        used_milli, used_bytes, used_pods: what its pods request.
    """

    node: Object
    cpu_milli: int = 0
    memory_bytes: int = 0
    pods: int = 0
    used_milli: int = 0
    used_bytes: int = 0
    used_pods: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Object, ...] = ()
    ready: bool = True

    @property
    def fullness(self) -> float:
        """The larger of the shares of processors and memory that are taken."""
        return max(self.used_milli / max(self.cpu_milli, 1), self.used_bytes / max(self.memory_bytes, 1))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod can go: ``node``, or "" and the scheduler's ``message``."""

    node: str
    message: str = ""


class Rooms:
    """The nodes of a lab and what their pods request."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}
        self._pods: dict[str, tuple[str, int, int]] = {}

    def put_node(self, node: Object) -> None:
        """Takes in a node, new or changed."""
        name = node["metadata"]["name"]
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(node)
            for place, milli, size in self._pods.values():
                if place == name:
                    room.used_milli += milli
                    room.used_bytes += size
                    room.used_pods += 1
        status = node.get("status") or {}
        allocatable = status.get("allocatable") or status.get("capacity") or {}
        room.node = node
        room.cpu_milli = math.ceil(_amount(allocatable.get("cpu")) * 1000)
        room.memory_bytes = int(_amount(allocatable.get("memory")))
        room.pods = int(_amount(allocatable.get("pods", "110")))
        room.labels = node["metadata"].get("labels") or {}
        spec = node.get("spec") or {}
        taints = list(spec.get("taints") or [])
        if spec.get("unschedulable"):
            taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
        room.taints = tuple(taints)
        conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or []}
        room.ready = conditions.get("Ready", "True") == "True"

    def drop_node(self, name: str) -> None:
        """Forgets a node."""
        self._rooms.pop(name, None)

    def put_pod(self, pod: Object) -> None:
        """Counts a pod, new or changed; one without a node or that has ended takes nothing."""
        uid = pod["metadata"]["uid"]
        self.drop_pod(uid)
        node = (pod.get("spec") or {}).get("nodeName")
        if not node or (pod.get("status") or {}).get("phase") in _ENDED:
            return
        milli, size = pod_size(pod)
        self._pods[uid] = (node, milli, size)
        room = self._rooms.get(node)
        if room is not None:
            room.used_milli += milli
            room.used_bytes += size
            room.used_pods += 1

    def drop_pod(self, uid: str) -> None:
        """Forgets a pod."""
        taken = self._pods.pop(uid, None)
        if taken is None:
            return
        room = self._rooms.get(taken[0])
        if room is not None:
            room.used_milli -= taken[1]
            room.used_bytes -= taken[2]
            room.used_pods -= 1

    def address(self, node: str) -> str:
        """A node's internal address, "" where it has none."""
        room = self._rooms.get(node)
        addresses = ((room.node.get("status") or {}).get("addresses") or []) if room is not None else []
        return str(next((each["address"] for each in addresses if each.get("type") == "InternalIP"), ""))

    def is_known(self, node: str) -> bool:
        """Whether there is a node of that name."""
        return node in self._rooms

    def is_ready(self, node: str) -> bool:
        """Whether a node is there and answers."""
        room = self._rooms.get(node)
        return room is not None and room.ready

    def place(self, pod: Object, *, without: Iterable[str] = ()) -> Placement:
        """Chooses a node.

        Args:
            pod: the pod, its requests already in it.
            without: nodes that are out of the question.
        """
        spec = pod["spec"]
        milli, size = pod_size(pod)
        barred = set(without)
        refusals: Counter[str] = Counter()
        best: Room | None = None
        for name, room in self._rooms.items():
            why = _refusal(room, spec, milli, size, name in barred)
            if why:
                refusals[why] += 1
            elif best is None or room.fullness < best.fullness:
                best = room
        if best is not None:
            return Placement(str(best.node["metadata"]["name"]))
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(refusals.items()))
        message = f"0/{len(self._rooms)} nodes are available" + (f": {reasons}." if reasons else ".")
        return Placement("", message)


def _amount(value: Any) -> float:
    try:
        return float(read(value))
    except BadQuantity:
        return 0.0


def pod_size(pod: Object) -> tuple[int, int]:
    """What a pod's containers request together: (thousandths of a core, bytes)."""
    milli = size = 0
    for container in (pod.get("spec") or {}).get("containers") or []:
        requests = (container.get("resources") or {}).get("requests") or {}
        try:
            milli += math.ceil(read(requests.get("cpu")) * 1000)
            size += whole(requests.get("memory"))
        except BadQuantity:
            continue
    return milli, size


def _refusal(room: Room, spec: Object, milli: int, size: int, barred: bool) -> str:
    """Why a node does not take a pod, in kube-scheduler's words; "" when it does."""
    taint = _untolerated(room, spec.get("tolerations") or [])
    if taint:
        return f"node(s) had untolerated taint {{{taint}}}"
    if barred:
        return "node(s) didn't match pod anti-affinity rules"
    if any(room.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required is not None and not any(_term(each, room) for each in required.get("nodeSelectorTerms") or []):
        return "node(s) didn't match Pod's node affinity/selector"
    if room.used_pods + 1 > room.pods:
        return "Too many pods"
    if milli and room.used_milli + milli > room.cpu_milli:
        return "Insufficient cpu"
    if size and room.used_bytes + size > room.memory_bytes:
        return "Insufficient memory"
    return ""


def _untolerated(room: Room, tolerations: list[Object]) -> str:
    taints = list(room.taints)
    if not room.ready and not any(taint.get("key") == "node.kubernetes.io/not-ready" for taint in taints):
        taints.append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
    for taint in taints:
        if taint.get("effect") == "PreferNoSchedule":
            continue
        if not any(_tolerates(toleration, taint) for toleration in tolerations):
            return f"{taint.get('key', '')}: {taint.get('value', '')}"
    return ""


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _term(term: Object, room: Room) -> bool:
    for expression in term.get("matchExpressions") or []:
        value, values = room.labels.get(expression.get("key", "")), expression.get("values") or []
        operator = expression.get("operator")
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }.get(str(operator))
        if holds is None:
            number, limit = _integer(value), _integer((values or [""])[0])
            greater = operator == "Gt"
            holds = number is not None and limit is not None and (number > limit if greater else number < limit)
        if not holds:
            return False
    for expression in term.get("matchFields") or []:
        names = expression.get("values") or []
        if expression.get("key") == "metadata.name" and room.node["metadata"]["name"] not in names:
            return False
    return bool(term.get("matchExpressions") or term.get("matchFields"))


def _integer(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.lstrip("-").isdigit() else None
