"""Whether a VM that is stopped now could be started again: quotas and nodes as they are.

Only what is certain is said: what others may take while it is off nobody knows.

Sources: Kubernetes documentation "Resource Quotas" (a quota may be lowered below what is used, and then lets
nothing new in); KubeVirt docs "Node assignment" (virt-handler labels the nodes that take VMs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from vmkit.errors import QuantityError
from vmkit.plan.model import Reason
from vmkit.units import parse_quantity
from vmkit.vm.state import VmView

_COUNTED: Final = frozenset({
    "pods", "count/pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    "count/virtualmachineinstances.kubevirt.io",
})  # fmt: skip
"""What of a quota a VM uses when it runs, and gives back when it is stopped."""
_TAKES_VMS: Final = "kubevirt.io/schedulable"


def find_room_risks(
    view: VmView, quotas: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]
) -> tuple[Reason, ...]:
    """Why a VM that runs would not find room again once it is stopped; empty where nothing is known against it.

    Args:
        view: the VM.
        quotas: the ResourceQuotas; those of other namespaces are left out.
        nodes: the Nodes.
    """
    return (*_full_quotas(view, quotas), *_no_node(view, nodes))


def _full_quotas(view: VmView, quotas: Iterable[Mapping[str, Any]]) -> Iterator[Reason]:
    for quota in quotas:
        metadata, spec, status = (_mapping(quota, key) for key in ("metadata", "spec", "status"))
        # A quota with scopes is about some pods only.
        if metadata.get("namespace") != view.ref.namespace or spec.get("scopes") or spec.get("scopeSelector"):
            continue
        hard, used = _mapping(status, "hard"), _mapping(status, "used")
        for name in sorted(_COUNTED & set(hard)):
            most, taken = _number(hard[name]), _number(used.get(name))
            if most is not None and taken is not None and taken > most:
                text = (
                    f"the quota {metadata.get('name')} allows {hard[name]} of {name} and {used.get(name)} is used"
                )
                yield Reason("QuotaExceeded", f"{text}: it would not be let in again")
                break


def _no_node(view: VmView, nodes: Iterable[Mapping[str, Any]]) -> Iterator[Reason]:
    open_nodes = [node for node in nodes if _takes_vms(node)]
    if not open_nodes:
        yield Reason("NoRoom", "no node takes VMs now: it could not be started again")
    elif view.memory_bytes is not None:
        largest = max(
            _number(_mapping(_mapping(node, "status"), "allocatable").get("memory")) or 0.0 for node in open_nodes
        )
        if view.memory_bytes > largest:
            yield Reason("NoRoom", "no node that takes VMs now has as much memory: it could not be started again")


def _takes_vms(node: Mapping[str, Any]) -> bool:
    if _mapping(node, "spec").get("unschedulable") is True:
        return False
    labels, status = _mapping(_mapping(node, "metadata"), "labels"), _mapping(node, "status")
    conditions = status.get("conditions")
    ready = any(
        isinstance(each, Mapping) and each.get("type") == "Ready" and each.get("status") == "True"
        for each in (conditions if isinstance(conditions, list) else ())
    )
    return ready and labels.get(_TAKES_VMS) == "true"


def _number(text: Any) -> float | None:
    try:
        return float(parse_quantity(text)) if isinstance(text, str | int | float) else None
    except QuantityError:
        return None


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}
