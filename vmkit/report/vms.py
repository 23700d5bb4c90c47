"""VMs as rows of a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.report.table import Column, render_csv, render_table
from vmkit.report.text import format_age
from vmkit.units import format_size
from vmkit.vm.markers import TEMPLATE
from vmkit.vm.state import Condition, PowerState, VmView

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole manifest, with whatever passwords stand in its cloud-init: never shown."""


def status_of(vm: VmView) -> str:
    """KubeVirt's own word for it, else the power state; "Malformed" for an object nobody can understand."""
    if vm.printable_status:
        return vm.printable_status
    if vm.power is PowerState.UNKNOWN and vm.problem:
        return "Malformed"
    return str(vm.power)


def template_of(vm: VmView) -> str:
    """The template it was made from, or nothing."""
    return vm.labels.get(TEMPLATE) or vm.annotations.get(TEMPLATE) or ""


def vm_columns(*, at: datetime, namespaces: bool = False, problems: bool = False) -> tuple[Column[VmView], ...]:
    """The columns of ``vmkit get``.

    Args:
        at: ages are counted up to here.
        namespaces: the rows are of several namespaces.
        problems: at least one row has a problem.
    """
    columns: list[Column[VmView]] = [
        Column("NAME", lambda vm: vm.ref.name or "<no name>"),
        Column("STATUS", status_of),
        Column("READY", lambda vm: str(vm.ready)),
        Column("AGE", lambda vm: format_age(vm.created_at, at=at)),
        Column("STRATEGY", lambda vm: str(vm.run_strategy or "")),
        Column("NODE", lambda vm: vm.node),
        Column("IP", lambda vm: vm.addresses[0] if vm.addresses else ""),
        Column("TEMPLATE", template_of),
        Column("CPU", lambda vm: "" if vm.cpu_cores is None else str(vm.cpu_cores), wide=True),
        Column("MEMORY", lambda vm: "" if vm.memory_bytes is None else format_size(vm.memory_bytes), wide=True),
        Column("INSTANCETYPE", lambda vm: vm.instancetype, wide=True),
        Column("PREFERENCE", lambda vm: vm.preference, wide=True),
        Column("DISKS", lambda vm: str(sum(volume.persistent for volume in vm.volumes)), wide=True),
        Column("OWNER", lambda vm: ",".join(f"{owner.kind}/{owner.name}" for owner in vm.owners), wide=True),
    ]
    if namespaces:
        columns.insert(0, Column("NAMESPACE", lambda vm: vm.ref.namespace))
    if problems:
        columns.append(Column("PROBLEM", lambda vm: vm.problem))
    return tuple(columns)


def _sort_age(vm: VmView) -> Any:
    return vm.created_at or datetime.max.replace(tzinfo=UTC)


SORT_KEYS: Final[Mapping[str, Callable[[VmView], Any]]] = {
    "name": lambda vm: vm.ref.name,
    "namespace": lambda vm: (vm.ref.namespace, vm.ref.name),
    "status": status_of,
    "age": _sort_age,
    "node": lambda vm: vm.node,
    "template": template_of,
    "cpu": lambda vm: -(vm.cpu_cores or 0),
    "memory": lambda vm: -(vm.memory_bytes or 0),
}
"""What ``--sort-by`` takes; "age" is oldest first, "cpu" and "memory" largest first."""


def render_vms(
    vms: Sequence[VmView],
    output: str,
    *,
    at: datetime,
    namespaces: bool = False,
    headers: bool = True,
) -> str:
    """VMs as "table", "wide", "csv" or "name"."""
    if output == "name" and namespaces:
        # kubectl's form has no place for the namespace, and whoever pipes names of several needs it.
        return "".join(f"{vm.ref}\n" for vm in vms)
    if output == "name":
        return "".join(f"virtualmachine.kubevirt.io/{vm.ref.name}\n" for vm in vms)
    columns = vm_columns(
        at=at, namespaces=namespaces or output == "csv", problems=any(vm.problem for vm in vms) or output == "csv"
    )
    if output == "csv":
        return render_csv(columns, vms, headers=headers)
    return render_table(columns, vms, wide=output == "wide", headers=headers)


def vm_to_dict(vm: VmView) -> dict[str, Any]:
    """A VM as it stands in the JSON envelope; docs/output.md describes every key."""
    return {
        "namespace": vm.ref.namespace,
        "name": vm.ref.name,
        "uid": vm.uid,
        "power": str(vm.power),
        "status": vm.printable_status,
        "ready": vm.ready,
        "runStrategy": str(vm.run_strategy) if vm.run_strategy else None,
        "createdAt": _instant(vm.created_at),
        "deletedAt": _instant(vm.deleted_at),
        "node": vm.node,
        "addresses": list(vm.addresses),
        "template": template_of(vm),
        "cpuCores": vm.cpu_cores,
        "memoryBytes": vm.memory_bytes,
        "instancetype": vm.instancetype,
        "preference": vm.preference,
        "labels": dict(vm.labels),
        "annotations": shown_annotations(vm.annotations),
        "conditions": [_condition(condition) for condition in vm.conditions],
        "owners": [{"kind": owner.kind, "name": owner.name} for owner in vm.owners],
        "volumes": [
            {
                "name": volume.name,
                "kind": volume.kind,
                "source": volume.source,
                "deletedWithVm": volume.templated,
            }
            for volume in vm.volumes
        ],
        "problem": vm.problem,
    }


def shown_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Annotations without those that may hold secrets."""
    return {key: value for key, value in annotations.items() if key != LAST_APPLIED}


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "since": _instant(condition.since),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
