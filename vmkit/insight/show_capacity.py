"""How a capacity report looks: a table, CSV, a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from vmkit.insight.capacity import CapacityReport, FleetResource, VmCapacity, render_drain_plan
from vmkit.insight.packing import Consolidation
from vmkit.insight.recommender import Resources
from vmkit.insight.split import Part, Split
from vmkit.report.page import (
    Callout,
    Code,
    Definitions,
    Details,
    Figure,
    KeyFigures,
    LineChart,
    Mono,
    Page,
    Prose,
    Section,
    Series,
    StackedBars,
    Table,
    TableColumn,
    Tone,
)
from vmkit.report.page.blocks import Block
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_duration, format_size

SHOWN: Final = 20
"""VMs that the table and the page list; all are in -o wide, CSV and JSON."""

_PART_NAMES: Final = {
    Part.BASE: "base",
    Part.VARIABLE: "variable",
    Part.SAFETY: "safety",
    Part.GROWTH: "growth",
    Part.REDUNDANCY: "redundancy",
    Part.JUST_IN_CASE: "just in case",
    Part.UNKNOWN: "unknown",
}
_MEANINGS: Final = (
    ("base", "used practically all the time"),
    ("variable", "used beyond that, up to the percentile a reservation is sized for"),
    ("safety", "a margin above the use"),
    ("growth", "the measured rise of the use, for the time that more capacity takes to get"),
    ("redundancy", "held by groups of VMs so that some of them may fail"),
    ("just in case", "reserved, and no measurement says what for: the number to cut"),
    ("unknown", "nobody measured it"),
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One resource of one VM, or of all."""

    where: str
    name: str
    resource: str
    split: Split
    amount: Callable[[float], str]
    known: str = ""
    owner: str = ""


def format_cpu(millicores: float) -> str:
    """Thousandths of a core as cores: "2.5"."""
    return f"{millicores / 1000:.3g}" if millicores < 1_000_000 else f"{millicores / 1000:,.0f}"


def render_capacity(report: CapacityReport, output: str) -> str:
    """The report as "table", "wide" or "csv"."""
    if output == "csv":
        return render_csv(_csv_columns(), _rows(report.vms))
    vms = report.vms if output == "wide" else report.vms[:SHOWN]
    rows = [*_rows(vms), *_total(report)]
    text = render_table(_columns(), rows, wide=output == "wide")
    left_out = len(report.vms) - len(vms)
    if left_out > 0:
        text += f"... and {left_out} more VMs; -o wide lists them all, the totals are of all\n"
    return text + "\n" + "\n".join(_summary(report)) + "\n" + _plan_text(report)


def build_page(report: CapacityReport) -> Page:
    """The report as a page."""
    return Page(
        title="What the capacity is for",
        subtitle=f"{len(report.vms)} VMs, by their use over {format_duration(report.lookback)}",
        made_at=report.at,
        lead=(_key_figures(report), *_callouts(report)),
        sections=(
            Section("Reservations by what they are for", (_stacks(report), Definitions(_MEANINGS))),
            Section("Peaks", (Prose(tuple(_peak_sentences(report))), *_courses(report))),
            *([Section("Servers", tuple(_server_blocks(report)))] if report.servers_now else []),
            Section("VMs", (_vm_table(report),)),
        ),
        command="vmkit report capacity",
    )


# --- text -----------------------------------------------------------------------------------------------


def _columns() -> list[Column[_Row]]:
    def part(which: Part) -> Column[_Row]:
        return Column(_PART_NAMES[which].upper().replace(" ", "-"), lambda row: row.amount(row.split.part(which)))

    return [
        Column("NAMESPACE", lambda row: row.where),
        Column("NAME", lambda row: row.name),
        Column("RESOURCE", lambda row: row.resource),
        Column("RESERVED", lambda row: row.amount(row.split.reserved)),
        *(part(which) for which in Part),
        Column("SHORT-OF", lambda row: row.amount(row.split.deficit) if row.split.deficit else "-"),
        Column("OWNER", lambda row: row.owner, wide=True),
        Column("NOT-KNOWN", lambda row: row.known, wide=True),
    ]


def _csv_columns() -> list[Column[_Row]]:
    def part(which: Part) -> Column[_Row]:
        return Column(str(which), lambda row: str(row.split.part(which)))

    return [
        Column("NAMESPACE", lambda row: row.where),
        Column("NAME", lambda row: row.name),
        Column("OWNER", lambda row: row.owner),
        Column("RESOURCE", lambda row: "cpu_millicores" if row.resource == "cpu" else "memory_bytes"),
        Column("RESERVED", lambda row: str(row.split.reserved)),
        *(part(which) for which in Part),
        Column("DEFICIT", lambda row: str(row.split.deficit)),
        Column("NOT-KNOWN", lambda row: row.known),
    ]


def _rows(vms: tuple[VmCapacity, ...]) -> Iterator[_Row]:
    for vm in vms:
        known = "; ".join(vm.problems)
        yield _Row(vm.ref.namespace, vm.ref.name, "cpu", vm.cpu, format_cpu, known, vm.owner)
        yield _Row(vm.ref.namespace, vm.ref.name, "memory", vm.memory, format_size, known, vm.owner)


def _total(report: CapacityReport) -> Iterator[_Row]:
    yield _Row("-", "TOTAL", "cpu", report.cpu.split, format_cpu)
    yield _Row("-", "TOTAL", "memory", report.memory.split, format_size)


def _summary(report: CapacityReport) -> Iterator[str]:
    yield from _peak_sentences(report)
    yield (
        f"Pods of VMs request {_amounts(report.requested)}; right-sized they would request "
        f"{_amounts(report.requested_resized)}."
    )
    if report.servers_now is None or report.servers_resized is None:
        yield "Nodes cannot be read: nothing is said about servers."
        return
    yield _server_sentence("With the sizes VMs have", report.servers_now)
    yield _server_sentence("Right-sized", report.servers_resized)


def _peak_sentences(report: CapacityReport) -> Iterator[str]:
    yield _peak_sentence("CPU", report.cpu, lambda value: f"{format_cpu(value)} cores")
    yield _peak_sentence("Memory", report.memory, format_size)


def _peak_sentence(name: str, resource: FleetResource, amount: Callable[[float], str]) -> str:
    if resource.coincident_peak is None or resource.sum_of_peaks is None:
        return f"{name}: {amount(resource.split.reserved)} reserved; nobody measured what is used."
    diverse = resource.diversity is not None and resource.diversity >= 1.05
    times = f", {resource.diversity:.2g} times as much" if diverse else ""
    return (
        f"{name}: {amount(resource.split.reserved)} reserved; all VMs together used at most "
        f"{amount(resource.coincident_peak)} at once, and their own peaks add up to "
        f"{amount(resource.sum_of_peaks)}{times}."
    )


def _server_sentence(how: str, servers: Consolidation) -> str:
    off = len(servers.off)
    what = (
        f"{off} of {servers.servers} servers could be off" if off else f"all {servers.servers} servers are needed"
    )
    spare = f", with {servers.spare} to spare" if servers.spare else ""
    stay = "stays" if len(servers.kept) == 1 else "stay"
    kept = f"; {len(servers.kept)} {stay} on whatever happens" if servers.kept else ""
    unplaced = f"; {len(servers.unplaced)} VMs fit nowhere and are not counted" if servers.unplaced else ""
    return f"{how}, {what}{spare}{kept}{unplaced}; {_amounts(servers.stranded)} would be stranded."


def _plan_text(report: CapacityReport) -> str:
    for title, servers in (
        ("To switch them off with the sizes VMs have:", report.servers_now),
        ("Once VMs have the sizes they should have (vmkit rightsize):", report.servers_resized),
    ):
        if servers is not None and servers.off:
            return f"\n{title}\n{render_drain_plan(servers)}"
    return ""


def _amounts(resources: Resources) -> str:
    return f"{format_cpu(resources.cpu_millicores)} cores and {format_size(resources.memory_bytes)}"


# --- the page -------------------------------------------------------------------------------------------


def _key_figures(report: CapacityReport) -> KeyFigures:
    cpu, memory = report.cpu.split, report.memory.split

    def share(split: Split) -> str:
        return f"{split.just_in_case / split.reserved:.0%} of what is reserved" if split.reserved else ""

    figures = [
        Figure("Memory just in case", format_size(memory.just_in_case), note=share(memory)),
        Figure("CPU just in case", format_cpu(cpu.just_in_case), "cores", share(cpu)),
    ]
    if report.servers_now is not None and report.servers_resized is not None:
        figures += [
            Figure("Servers that could be off", str(len(report.servers_now.off)), note="with the sizes VMs have"),
            Figure("Right-sized", str(len(report.servers_resized.off)), note=f"of {report.servers_now.servers}"),
        ]
    return KeyFigures(tuple(figures))


def _callouts(report: CapacityReport) -> Iterator[Block]:
    short = [vm for vm in report.vms if vm.cpu.deficit or vm.memory.deficit]
    if short:
        names = ", ".join(str(vm.ref) for vm in short[:5]) + (" ..." if len(short) > 5 else "")
        yield Callout(
            Tone.WARNING,
            f"{_count(len(short))} less than {'it needs' if len(short) == 1 else 'they need'}",
            (names,),
        )
    unknown = sum(1 for vm in report.vms if vm.memory.unknown or vm.cpu.unknown)
    if unknown:
        text = "What they reserve is in the part called unknown, and in no number about waste."
        yield Callout(Tone.NOTE, f"Nobody measured {unknown} of {len(report.vms)} VMs", (text,))
    if report.notices:
        yield Callout(Tone.WARNING, "Not everything could be read", tuple(report.notices))


def _count(number: int) -> str:
    return "One VM has" if number == 1 else f"{number} VMs have"


def _stacks(report: CapacityReport) -> StackedBars:
    def shares(split: Split) -> tuple[float, ...]:
        return tuple(100.0 * split.part(part) / max(split.reserved, 1) for part in Part)

    memory, cpu = report.memory.split, report.cpu.split
    return StackedBars(
        title="What reservations are for",
        description=f"Of {format_size(memory.reserved)} memory and {format_cpu(cpu.reserved)} cores reserved, "
        f"{format_size(memory.just_in_case)} and {format_cpu(cpu.just_in_case)} cores are just in case.",
        parts=tuple(_PART_NAMES[part] for part in Part),
        rows=(("Memory", shares(memory)), ("CPU", shares(cpu))),
        unit="%",
    )


def _courses(report: CapacityReport) -> Iterator[Block]:
    for name, resource, factor, unit in (
        ("CPU", report.cpu, 1000.0, "cores"),
        ("Memory", report.memory, 2.0**30, "GiB"),
    ):
        if len(resource.course) < 2:
            continue
        reserved = resource.split.reserved / factor
        yield LineChart(
            title=f"{name} used by all VMs together",
            description=f"At most {max(value for _, value in resource.course) / factor:.3g} {unit} at once, of "
            f"{reserved:.3g} reserved.",
            instants=tuple(at for at, _ in resource.course),
            series=(Series("used", tuple(value / factor for _, value in resource.course)),),
            unit=unit,
            limits=(("reserved", reserved),),
        )


def _server_blocks(report: CapacityReport) -> Iterator[Block]:
    assert report.servers_now is not None
    assert report.servers_resized is not None
    yield Prose((
        _server_sentence("With the sizes VMs have", report.servers_now),
        _server_sentence("Right-sized", report.servers_resized),
        "A server that is off takes no power; one that idles takes much of what it takes at work.",
    ))  # fmt: skip
    kept = report.servers_now.kept
    if kept:
        yield Details(
            f"{len(kept)} {'server stays' if len(kept) == 1 else 'servers stay'} on",
            (Definitions(tuple((name, reason) for name, reason in sorted(kept.items()))),),
        )
    plan = _plan_text(report).strip().split("\n", 1)
    if len(plan) == 2:
        yield Code(plan[1] + "\n", "sh", plan[0])


def _vm_table(report: CapacityReport) -> Table:
    numeric = [TableColumn(title, numeric=True) for title in ("Memory", "needed", "just in case", "short of")]
    processors = [TableColumn(title, numeric=True) for title in ("CPU", "needed", "just in case")]
    return Table(
        caption="VMs by the memory they hold just in case",
        columns=(TableColumn("VM"), *numeric, *processors, TableColumn("Not known", sentences=True)),
        rows=tuple(
            (
                Mono(str(vm.ref)),
                *_cells(vm.memory, format_size),
                format_size(vm.memory.deficit) if vm.memory.deficit else "",
                *_cells(vm.cpu, format_cpu),
                "; ".join(vm.problems),
            )
            for vm in report.vms[:SHOWN]
        ),
        total=len(report.vms),
    )


def _cells(split: Split, amount: Callable[[float], str]) -> tuple[str, str, str]:
    return amount(split.reserved), amount(split.needed), amount(split.just_in_case)
