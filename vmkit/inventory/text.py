"""A description as text for people, in the manner of ``kubectl describe``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from vmkit.inventory.description import Description, DiskView, EventView
from vmkit.report.table import Column, render_table
from vmkit.report.text import escape_text, format_age
from vmkit.report.vms import shown_annotations, status_of, template_of
from vmkit.units import format_size
from vmkit.vm.contract import Decision, Move, Verb
from vmkit.vm.state import Condition

_LABEL_CELLS: Final = 16


def render_descriptions(descriptions: Sequence[Description], *, at: datetime) -> str:
    """All of them, with an empty line between two."""
    return "\n".join(render_description(description, at=at) for description in descriptions)


def render_description(description: Description, *, at: datetime) -> str:
    """One VM as labelled lines and small tables. Ages are counted up to ``at``."""
    lines = list(_facts(description, at=at))
    text = "".join(
        f"{f'{label}:' if label else '':<{_LABEL_CELLS}}{escape_text(value)}\n" for label, value in lines
    )
    for title, table in (
        ("Disks", render_table(_disk_columns(), description.disks) if description.disks else ""),
        ("Conditions", _conditions(description.vm.conditions, at=at)),
        ("Verbs", render_table(_verb_columns(), list(description.verbs.items()), headers=False)),
        ("Events", render_table(_event_columns(at), description.events) if description.events else ""),
    ):
        text += f"{title}:\n{_indented(table)}" if table else f"{f'{title}:':<{_LABEL_CELLS}}<none>\n"
    return text


def _facts(description: Description, *, at: datetime) -> Iterator[tuple[str, str]]:
    vm = description.vm
    yield "Name", vm.ref.name or "<no name>"
    yield "Namespace", vm.ref.namespace
    if vm.problem:
        yield "Problem", vm.problem
    yield "Status", f"{status_of(vm)}{', ready' if vm.ready else ''}"
    yield "Power", str(vm.power)
    yield "Run strategy", str(vm.run_strategy or "<unknown>")
    created = f" ({format_age(vm.created_at, at=at)} ago)" if vm.created_at else ""
    yield "Created", f"{vm.created_at:%Y-%m-%d %H:%M:%S %Z}{created}" if vm.created_at else "<unknown>"
    if vm.deleted_at:
        yield "Deleted", f"{vm.deleted_at:%Y-%m-%d %H:%M:%S %Z}, still going"
    yield "Node", vm.node or "<none>"
    if vm.instance is not None and vm.instance.started_at is not None:
        yield "Running for", format_age(vm.instance.started_at, at=at)
    yield "Addresses", ", ".join(vm.addresses) or "<none>"
    yield "CPU", "<set by the instancetype>" if vm.cpu_cores is None and vm.instancetype else _number(vm.cpu_cores)
    yield "Memory", _memory(vm.memory_bytes, vm.instancetype)
    if vm.instancetype:
        yield "Instancetype", vm.instancetype
    if vm.preference:
        yield "Preference", vm.preference
    if template_of(vm):
        yield "Template", template_of(vm)
    if vm.owners:
        yield "Owned by", ", ".join(f"{owner.kind} {owner.name}" for owner in vm.owners)
    if description.gitops is not None:
        yield "GitOps", f"{description.gitops.owner}, {description.gitops.verdict}: {description.gitops.text}"
    if vm.requests:
        yield "Requested", ", then ".join(vm.requests)
    if vm.busy:
        yield "Busy", vm.busy
    yield from _pairs("Labels", vm.labels.items())
    yield from _pairs("Annotations", shown_annotations(vm.annotations).items())


def _pairs(title: str, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    label = title
    for key, value in sorted(pairs):
        short = value if len(value) <= 120 else f"{value[:117]}..."
        yield label, f"{key}={short}"
        label = ""
    if label:
        yield label, "<none>"


def _number(value: int | None) -> str:
    return "<unknown>" if value is None else str(value)


def _memory(memory_bytes: int | None, instancetype: str) -> str:
    if memory_bytes is not None:
        return format_size(memory_bytes)
    return "<set by the instancetype>" if instancetype else "<unknown>"


def _disk_columns() -> tuple[Column[DiskView], ...]:
    def state(disk: DiskView) -> str:
        parts = [disk.phase]
        if disk.progress not in ("", "N/A", "100.0%"):
            parts.append(disk.progress)
        if disk.restarts:
            parts.append(f"begun anew {disk.restarts}x")
        if disk.message:
            parts.append(disk.message)
        return ", ".join(part for part in parts if part)

    return (
        Column("NAME", lambda disk: disk.volume.name),
        Column("KIND", lambda disk: disk.volume.kind),
        Column("SOURCE", lambda disk: disk.volume.source),
        Column("SIZE", lambda disk: "" if disk.capacity_bytes is None else format_size(disk.capacity_bytes)),
        Column("CLASS", lambda disk: disk.storage_class),
        Column("MODES", lambda disk: ",".join((*disk.access_modes, disk.volume_mode)).strip(",")),
        Column("STATE", state),
    )


_MEANING: Final[Mapping[Move, str]] = {
    Move.NOTHING: "nothing to do",
    Move.ASK: "possible",
    Move.RESTORE: "possible",
    Move.WAIT: "not yet possible",
    Move.CANNOT: "not possible",
}


def _verb_columns() -> tuple[Column[tuple[Verb, Decision]], ...]:
    return (
        Column("VERB", lambda row: str(row[0])),
        Column("NOW", lambda row: f"{_MEANING[row[1].move]}: {row[1].text}"),
    )


def _event_columns(at: datetime) -> tuple[Column[EventView], ...]:
    return (
        Column("AGE", lambda event: format_age(event.at, at=at)),
        Column("TYPE", lambda event: event.type),
        Column("REASON", lambda event: event.reason),
        Column("OBJECT", lambda event: f"{event.kind}/{event.name}"),
        Column("MESSAGE", lambda event: event.message + (f" (x{event.count})" if event.count > 1 else "")),
    )


def _conditions(conditions: Sequence[Condition], *, at: datetime) -> str:
    columns: tuple[Column[Condition], ...] = (
        Column("TYPE", lambda condition: condition.type),
        Column("STATUS", lambda condition: condition.status),
        Column("SINCE", lambda condition: format_age(condition.since, at=at) if condition.since else ""),
        Column("REASON", lambda condition: condition.reason),
        Column("MESSAGE", lambda condition: condition.message),
    )
    return render_table(columns, conditions) if conditions else ""


def _indented(table: str) -> str:
    return "".join(f"  {line}\n" for line in table.splitlines())
