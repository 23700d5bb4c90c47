"""How an energy report looks: a table, CSV, a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vmkit.insight.energy.account import EnergyGroup, EnergyReport, VmEnergy
from vmkit.report.page import (
    Bar,
    BarChart,
    Callout,
    Definitions,
    Figure,
    KeyFigures,
    Page,
    Section,
    Table,
    TableColumn,
    Tone,
)
from vmkit.report.page.blocks import Block
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_duration

SHOWN: Final = 20


def render_energy(report: EnergyReport, output: str, *, by: str) -> str:
    """The report as "table", "wide" or "csv", by VM or by a group."""
    if output == "csv":
        if by == "vm":
            return render_csv(_vm_columns(exact=True), report.vms)
        return render_csv(_group_columns(by, exact=True), report.grouped(by))
    if by == "vm":
        text = render_table(_vm_columns(), report.vms, wide=output == "wide")
    else:
        text = render_table(_group_columns(by), report.grouped(by), wide=output == "wide")
    return text + "\n" + "\n".join(_sentences(report)) + "\n"


def build_page(report: EnergyReport, *, by: str) -> Page:
    """The report as a page."""
    total, groups = report.total, report.grouped(by)
    figures = [
        Figure("Active energy", f"{total.active_kwh:.4g}", "kWh", "ends when a VM is stopped"),
        Figure("Idle energy", f"{total.idle_kwh:.4g}", "kWh", "ends when a server is off"),
        Figure("Carbon of the active part", _grams(total.grams)),
    ]
    if total.sci_grams is not None:
        figures.append(Figure("SCI", f"{total.sci_grams:.3g}", "g", "for an hour of a VM, operational part"))
    shown = [group for group in groups if group.active_kwh > 0][:SHOWN]
    heading = "VM" if by == "vm" else by.capitalize()
    return Page(
        title="What VMs take",
        subtitle=f"{total.vms} VMs over {format_duration(report.lookback)}; {report.method}",
        made_at=report.at,
        lead=(KeyFigures(tuple(figures)), *_callouts(report)),
        sections=(
            *([Section("Who takes most", (_bars(shown, heading),))] if shown else []),
            Section(f"By {heading if by == 'vm' else by}", (_group_table(groups, heading),)),
            Section("How it is counted", (Definitions(tuple(_definitions(report))),)),
        ),
        command=f"vmkit report energy --by {by}",
    )


def _vm_columns(*, exact: bool = False) -> list[Column[VmEnergy]]:
    return [
        Column("NAMESPACE", lambda vm: vm.ref.namespace),
        Column("NAME", lambda vm: vm.ref.name),
        Column("ACTIVE-KWH", lambda vm: _number(vm.active_kwh, exact=exact)),
        Column("IDLE-KWH", lambda vm: _number(vm.idle_kwh, exact=exact)),
        Column("AVOIDED-KWH", lambda vm: _number(vm.avoided_kwh, exact=exact)),
        Column("G-CO2", lambda vm: _number(vm.grams, exact=exact)),
        Column("SCI-G-VM-HOUR", lambda vm: _number(vm.sci_grams, exact=exact)),
        Column("RUNNING-HOURS", lambda vm: f"{vm.running_hours:.1f}"),
        Column("SOURCE", _source),
        Column("COVERAGE", lambda vm: f"{vm.coverage:.0%}"),
        Column("OWNER", lambda vm: vm.owner, wide=True),
        Column("TEMPLATE", lambda vm: vm.template, wide=True),
        Column("SCHEDULE", lambda vm: vm.schedule, wide=True),
        Column("SITE", lambda vm: vm.site.name, wide=True),
        Column("L-WATER", lambda vm: _number(vm.litres, exact=exact), wide=True),
        Column("NOT-KNOWN", lambda vm: "; ".join(vm.problems), wide=True),
    ]


def _group_columns(by: str, *, exact: bool = False) -> list[Column[EnergyGroup]]:
    return [
        Column(by.upper(), lambda group: group.name),
        Column("VMS", lambda group: str(group.vms)),
        Column("UNKNOWN", lambda group: str(group.unknown)),
        Column("ACTIVE-KWH", lambda group: _number(group.active_kwh, exact=exact)),
        Column("IDLE-KWH", lambda group: _number(group.idle_kwh, exact=exact)),
        Column("AVOIDED-KWH", lambda group: _number(group.avoided_kwh, exact=exact)),
        Column("G-CO2", lambda group: _number(group.grams, exact=exact)),
        Column("SCI-G-VM-HOUR", lambda group: _number(group.sci_grams, exact=exact)),
        Column("VM-HOURS", lambda group: f"{group.vm_hours:.1f}"),
    ]


def _source(vm: VmEnergy) -> str:
    if vm.active_kwh is None:
        return "unknown"
    return str(vm.source) if vm.source is not None else "-"


def _number(value: float | None, *, exact: bool = False) -> str:
    if value is None:
        return "" if exact else "?"
    return f"{value:.6f}" if exact else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _grams(grams: float) -> str:
    return f"{grams / 1000:.3g} kg" if grams >= 1000 else f"{grams:.3g} g"


def _sentences(report: EnergyReport) -> Iterator[str]:
    total = report.total
    yield (
        f"{total.vms} VMs took {_number(total.active_kwh)} kWh of active energy, {_grams(total.grams)} CO2, and "
        f"hold {_number(total.idle_kwh)} kWh of their servers' idle energy, which ends only when servers are off."
    )
    if total.unknown:
        yield f"Of {total.unknown} of them nobody knows: they are in no sum."
    yield report.method[:1].upper() + report.method[1:] + "."
    for site in report.sites:
        name = f"Site {site.name}" if site.name else "Everywhere"
        water = f", WUE {site.wue_litres:g} l/kWh" if site.wue_litres is not None else ""
        yield f"{name}: {site.factor}; PUE {site.pue:g} ({site.pue_source}){water}."


def _callouts(report: EnergyReport) -> Iterator[Block]:
    if not report.claims:
        yield Callout(
            Tone.BAD, "Kepler's meter is the one for development", ("It invents its numbers: claim no savings.",)
        )
    if report.total.unknown:
        yield Callout(Tone.NOTE, f"Nobody knows what {report.total.unknown} of {report.total.vms} VMs take")
    if report.notices:
        yield Callout(Tone.WARNING, "Not everything could be read", tuple(report.notices))


def _bars(groups: Sequence[EnergyGroup], heading: str) -> BarChart:
    first = groups[0]
    return BarChart(
        f"Active energy by {heading}",
        f"{first.name or 'Those without a name'} takes most: {first.active_kwh:.3g} kWh.",
        tuple(Bar(group.name or "none", group.active_kwh, f"{group.active_kwh:.3g} kWh") for group in groups),
        "kWh",
    )


def _group_table(groups: Sequence[EnergyGroup], heading: str) -> Table:
    titles = ("VMs", "active kWh", "idle kWh", "avoided kWh", "g CO2", "g a VM-hour")
    return Table(
        caption="Energy and carbon",
        columns=(TableColumn(heading), *(TableColumn(title, numeric=True) for title in titles)),
        rows=tuple(
            (
                group.name or "none",
                str(group.vms),
                _number(group.active_kwh),
                _number(group.idle_kwh),
                _number(group.avoided_kwh),
                _number(group.grams),
                _number(group.sci_grams),
            )
            for group in groups
        ),
    )


def _definitions(report: EnergyReport) -> Iterator[tuple[str, str]]:
    yield "active energy", "of the work of VMs; it ends when they are stopped"
    yield "idle energy", "of servers, shared out by reservations; it ends when servers are switched off"
    yield "avoided", "the work VMs would have done in the hours they were stopped, at their own mean power"
    yield "SCI", "carbon for an hour of a VM, reservation included (ISO/IEC 21031); hardware's own is not counted"
    yield "source", report.method
    for site in report.sites:
        yield site.name or "carbon", f"{site.factor}; PUE {site.pue:g} ({site.pue_source})"
