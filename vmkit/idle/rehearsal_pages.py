"""Rehearsals as a page: what policies would have done, side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from vmkit.idle.rehearsal import (
    NOTICE,
    QUIET,
    STOPPED,
    USED,
    Rehearsal,
    VmRehearsal,
    count_use_by_hour,
    hours_of_use_by_day,
)
from vmkit.report.page.blocks import (
    Badge,
    Bar,
    BarChart,
    Block,
    Callout,
    Cell,
    Definitions,
    Figure,
    HeatMap,
    KeyFigures,
    Mono,
    Page,
    Prose,
    Section,
    Stretch,
    Table,
    TableColumn,
    Timeline,
    Tone,
)
from vmkit.report.page.numbers import (
    MISSING,
    count_days,
    format_hours,
    format_instant,
    format_number,
    format_share,
)
from vmkit.units import format_duration

_HOUR: Final = timedelta(hours=1)
_ROWS: Final = 30
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_KINDS: Final = {USED: "in use", QUIET: "runs unused", NOTICE: "notice", STOPPED: "would be stopped"}


def build_rehearsal_page(
    rehearsals: Sequence[Rehearsal],
    *,
    made_at: datetime,
    scope: str,
    source: str,
    notices: Sequence[str] = (),
    command: str = "",
) -> Page:
    """The page.

    Args:
        rehearsals: of the same fleet, at least one; the first is what the page is about, the others are compared.
        made_at: now.
        scope: which VMs, for people.
        source: where their history comes from, for people.
        notices: what people should know of the evidence.
        command: what makes the page anew.
    """
    first = rehearsals[0]
    terms = first.terms
    subtitle = (
        f"What vmkit stop-idle by the definition {first.policy.name} would have done in the "
        f"{count_days(terms.end - terms.start)} up to {format_instant(terms.end)}. "
        f"{scope[:1].upper()}{scope[1:]}: {_count(len(first.vms), 'VM')}."
    )
    sections = [
        Section("Definitions compared", tuple(_comparison(rehearsals))),
        Section("Stops that would have hit somebody", tuple(_regret(first))),
        Section("What would have been stopped", tuple(_stopped(first))),
        Section("When the fleet is in use", tuple(_use(first))),
        Section("How this was rehearsed", tuple(_terms(first, source))),
    ]
    return Page(
        title="Stopping idle VMs, rehearsed",
        subtitle=subtitle,
        made_at=made_at,
        lead=tuple(_lead(first, notices)),
        sections=tuple(section for section in sections if section.blocks),
        command=command,
    )


def _lead(first: Rehearsal, notices: Sequence[str]) -> Iterator[Block]:
    share = first.off / first.ran if first.ran else 0.0
    figures = [
        Figure(
            "VM-hours off",
            format_number(first.off / _HOUR),
            "",
            f"{format_share(share)} of what they ran" if first.off else "",
        ),
        Figure("vCPU-hours returned", format_number(first.vcpu_hours)),
        Figure("GiB-hours of memory returned", format_number(first.gibibyte_hours)),
    ]
    if first.kilowatt_hours is not None:
        figures.append(Figure("Energy saved", format_number(first.kilowatt_hours), "kWh", _metered(first)))
    figures += [
        Figure("Stops", format_number(first.stops), "", f"of {_count(_stopped_vms(first), 'VM')}"),
        Figure(
            "Hit somebody",
            format_number(first.hits),
            f"of {format_number(first.stops)}",
            f"used within {format_duration(first.terms.horizon)} after the stop",
            Tone.BAD if first.hits else Tone.GOOD,
        ),
    ]
    yield KeyFigures(tuple(figures))
    for notice in notices:
        yield Callout(Tone.WARNING, notice)
    if not first.stops:
        yield Callout(
            Tone.NOTE,
            "Nothing would have been stopped",
            ("Either all VMs are used, or too little is known of them: vmkit stop-idle --dry-run says which.",),
        )
    elif first.hits:
        yield Callout(
            Tone.WARNING,
            f"{_count(first.hits, 'stop')} of {format_number(first.stops)} would have come at the wrong time",
            (
                f"{_count(first.vms_hit, 'VM')}, in use for {format_hours(first.use_lost / _HOUR)} within "
                f"{format_duration(first.terms.horizon)} after a stop. They are named below.",
            ),
        )
    else:
        yield Callout(
            Tone.GOOD,
            "No stop would have hit anybody",
            (f"No VM was used within {format_duration(first.terms.horizon)} after it would have been stopped.",),
        )


def _metered(rehearsal: Rehearsal) -> str:
    known = [vm for vm in rehearsal.vms if vm.kilowatt_hours is not None]
    names = sorted({vm.size.energy_source for vm in known if vm.size.energy_source})
    who = "by a power model" if names == ["model"] else "of their own work"
    return who if len(known) == len(rehearsal.vms) else f"{who}, known of {_count(len(known), 'VM')}"


def _stopped_vms(rehearsal: Rehearsal) -> int:
    return sum(bool(vm.stops) for vm in rehearsal.vms)


# --- definitions side by side --------------------------------------------------------------------------


def _comparison(rehearsals: Sequence[Rehearsal]) -> Iterator[Block]:
    if len(rehearsals) < 2:
        return
    horizon = format_duration(rehearsals[0].terms.horizon)
    yield Table(
        "The same VMs and the same days",
        (
            TableColumn("Definition"),
            TableColumn("Stops", numeric=True),
            TableColumn("Hit somebody", numeric=True),
            TableColumn("Share hit", numeric=True),
            TableColumn("Use hit", numeric=True),
            TableColumn("Hours off", numeric=True),
            TableColumn("vCPU-hours", numeric=True),
            TableColumn("kWh", numeric=True),
        ),
        tuple(_compared(each) for each in rehearsals),
        note=(
            f"Hit: used within {horizon} after the stop, by vmkit's own limits for all of them, so that a "
            "definition that overlooks use cannot overlook what it did."
        ),
    )
    if not any(each.stops for each in rehearsals):
        return
    yield BarChart(
        "Hours off",
        "What each definition would have returned.",
        tuple(Bar(each.policy.name, each.off / _HOUR) for each in rehearsals),
        "h",
    )
    yield BarChart(
        "Stops that would have hit somebody",
        "What each would have cost.",
        tuple(Bar(each.policy.name, each.hits) for each in rehearsals),
        "stops",
    )


def _compared(each: Rehearsal) -> tuple[Cell, ...]:
    share = each.hits / each.stops if each.stops else 0.0
    return (
        Mono(each.policy.name),
        format_number(each.stops),
        Badge(format_number(each.hits), Tone.BAD if each.hits else Tone.GOOD),
        format_share(share) if each.stops else MISSING,
        format_hours(each.use_lost / _HOUR),
        format_number(each.off / _HOUR),
        format_number(each.vcpu_hours),
        MISSING if each.kilowatt_hours is None else format_number(each.kilowatt_hours),
    )


# --- VMs -----------------------------------------------------------------------------------------------


def _regret(first: Rehearsal) -> Iterator[Block]:
    hits = [(vm, stop) for vm in first.vms for stop in vm.stops if stop.hit]
    if not hits:
        return
    ordered = sorted(hits, key=lambda pair: (-pair[1].use_lost, pair[0].ref, pair[1].stopped_at))
    yield Table(
        "The most use first",
        (
            TableColumn("VM"),
            TableColumn("Owner"),
            TableColumn("Noted"),
            TableColumn("Stopped"),
            TableColumn("Used again"),
            TableColumn("Use hit", numeric=True),
        ),
        tuple(
            (
                Mono(str(vm.ref)),
                vm.owner,
                _moment(stop.marked_at, first),
                _moment(stop.stopped_at, first),
                MISSING if stop.used_at is None else _moment(stop.used_at, first),
                format_hours(stop.use_lost / _HOUR),
            )
            for vm, stop in ordered
        ),
        note=(
            "Owners have had the notice by then, and could have kept the VM up. One that belongs up has the label "
            "vmkit.io/stop-idle=disabled."
        ),
    )


def _moment(at: datetime, rehearsal: Rehearsal) -> str:
    local = at.astimezone(rehearsal.terms.zone)
    return f"{local.day} {local:%b %H:%M}"


def _stopped(first: Rehearsal) -> Iterator[Block]:
    stopped = sorted((vm for vm in first.vms if vm.stops), key=lambda vm: (-vm.hits, -vm.off, vm.ref))
    if not stopped:
        return
    shown = stopped[:_ROWS]
    more = len(stopped) - len(shown)
    yield Timeline(
        "What each VM would have been",
        "VMs whose stop would have hit somebody come first, then those with the most hours to return"
        + (f"; {format_number(more)} more are in the JSON." if more else "."),
        tuple(_KINDS.values()),
        tuple((str(vm.ref), tuple(_stretches(vm))) for vm in shown),
        tuple(_ticks(first)),
    )
    yield Table(
        "By VM",
        (
            TableColumn("VM"),
            TableColumn("Owner"),
            TableColumn("Notes", numeric=True),
            TableColumn("Stops", numeric=True),
            TableColumn("Hit somebody", numeric=True),
            TableColumn("Hours off", numeric=True),
            TableColumn("Hours used", numeric=True),
            TableColumn("kWh", numeric=True),
        ),
        tuple(
            (
                Mono(str(vm.ref)),
                vm.owner,
                format_number(vm.notes),
                format_number(len(vm.stops)),
                Badge(format_number(vm.hits), Tone.BAD if vm.hits else Tone.GOOD),
                format_number(vm.off / _HOUR),
                format_number(vm.used / _HOUR),
                MISSING if vm.kilowatt_hours is None else format_number(vm.kilowatt_hours),
            )
            for vm in stopped
        ),
    )


def _stretches(vm: VmRehearsal) -> Iterator[Stretch]:
    count = len(vm.hours)
    places = {kind: place for place, kind in enumerate(_KINDS)}
    index = 0
    for kind, group in groupby(vm.hours):
        length = len(list(group))
        if kind in places:
            yield Stretch(index / count, (index + length) / count, places[kind])
        index += length


def _ticks(rehearsal: Rehearsal) -> Iterator[tuple[float, str]]:
    start, end = rehearsal.terms.start, rehearsal.terms.end
    for number in range(4):
        at = (start + (end - start) * number / 4).astimezone(rehearsal.terms.zone)
        yield number / 4, f"{at.day} {at:%b}"


# --- use -----------------------------------------------------------------------------------------------


def _use(first: Rehearsal) -> Iterator[Block]:
    if not any(vm.used for vm in first.vms):
        yield Prose(("No VM was used in all that time, as far as anybody knows.",))
        return
    yield HeatMap(
        "VMs in use, by hour of the week",
        f"How many are used on average in each hour ({_zone(first)}).",
        tuple(f"{hour:02}" if hour % 3 == 0 else "" for hour in range(24)),
        tuple((day, tuple(row)) for day, row in zip(_DAYS, count_use_by_hour(first), strict=True)),
        "VMs",
    )
    used = sorted((vm for vm in first.vms if vm.notes or vm.used), key=lambda vm: (-vm.notes, -vm.used, vm.ref))[
        :_ROWS
    ]
    days = -(-(first.terms.end - first.terms.start) // timedelta(days=1))
    yield HeatMap(
        "Hours of use, by day",
        "VMs that would have been noted as idle come first; a quiet row with a busy day is one to look at.",
        tuple(_day(first, index) if index % 5 == 0 else "" for index in range(days)),
        tuple((str(vm.ref), tuple(hours_of_use_by_day(vm, first.terms))) for vm in used),
        "h",
        most=24.0,
    )


def _day(rehearsal: Rehearsal, index: int) -> str:
    at = (rehearsal.terms.start + index * timedelta(days=1)).astimezone(rehearsal.terms.zone)
    return f"{at.day} {at:%b}"


def _zone(rehearsal: Rehearsal) -> str:
    return str(rehearsal.terms.start.astimezone(rehearsal.terms.zone).tzname() or UTC)


# --- terms ---------------------------------------------------------------------------------------------


def _terms(first: Rehearsal, source: str) -> Iterator[Block]:
    policy, terms = first.policy, first.terms
    yield Definitions(
        (
            ("Definition", (Mono(policy.name), f", over {count_days(policy.lookback)}")),
            ("Everything of this is low", "; ".join(map(str, policy.criteria))),
            ("Use was told by", source),
            ("Notice before a stop", format_duration(terms.notice)),
            ("A stop hits somebody", f"where the VM is used within {format_duration(terms.horizon)} after it"),
        )
    )
    yield Prose(
        (
            "A run every hour; a VM that was stopped is started at its next use, and must be quiet for a whole "
            "lookback before it is noted again.",
            "History does not hold everything that a run looks at. Taken for granted here: nobody was logged in "
            "but through a console, VNC or port-forward; each VM's size, labels and vetoes were those of today; "
            "none moved to another node. Left out: the limit of stops a run, and groups of which one member at a "
            "time may be down. The job itself is the more careful of the two.",
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{format_number(number)} {noun}{'' if number == 1 else 's'}"
