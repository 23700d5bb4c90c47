"""What a run over idle VMs found, as a page. Pure: a report in, a page out.

A large fleet stays readable: what is idle comes first and in full as far as there is room, what is unknown is
counted by its reason, and what is in use is only counted. The report's JSON has every VM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from vmkit.idle.mark import LABEL, SNOOZE
from vmkit.idle.report import Action, IdleItem, IdleReport, Savings
from vmkit.idle.verdict import Finding, State
from vmkit.metrics.summary import Signal, Unknown
from vmkit.report.page.blocks import (
    Badge,
    Bar,
    BarChart,
    Block,
    Callout,
    Cell,
    Code,
    Definitions,
    Details,
    Figure,
    KeyFigures,
    Mono,
    Page,
    Prose,
    Section,
    StackedBars,
    Table,
    TableColumn,
    Tone,
)
from vmkit.report.page.numbers import (
    MISSING,
    count_days,
    format_instant,
    format_number,
    format_share,
    format_with_unit,
)
from vmkit.units import format_duration, format_size

_OWNERS: Final = 20
_MINUTE: Final = timedelta(minutes=1)
_DOING: Final = {
    Action.NONE: ("keep", Tone.NEUTRAL),
    Action.MARK: ("note", Tone.NOTE),
    Action.STOP: ("stop", Tone.WARNING),
    Action.CLEAR: ("take note away", Tone.GOOD),
    Action.SETTLE: ("write down", Tone.NEUTRAL),
}


def build_idle_page(report: IdleReport, *, command: str = "") -> Page:
    """The page of a run.

    Args:
        report: what was found.
        command: what makes the page anew.
    """
    idle = [each for each in report.items if each.verdict.state is State.IDLE]
    held = [each for each in idle if each.verdict.held]
    free = [each for each in idle if not each.verdict.held]
    count = len(report.items)
    subtitle = (
        f"{report.scope[:1].upper()}{report.scope[1:]}: {_vms(count)}, "
        f"judged by the use of {count_days(report.lookback)} up to "
        f"{format_instant(report.at)}."
    )
    return Page(
        title="Idle VMs",
        subtitle=subtitle,
        made_at=report.at,
        lead=tuple(_lead(report, idle, free)),
        sections=tuple(section for section in _sections(report, free, held) if section.blocks),
        command=command,
    )


def _sections(report: IdleReport, free: Sequence[IdleItem], held: Sequence[IdleItem]) -> Iterator[Section]:
    yield Section("What stopping them returns", tuple(_savings(report)))
    yield Section("Idle VMs", tuple(_idle(free)))
    yield Section("Idle, and kept all the same", tuple(_held(held)))
    yield Section("Unknown, and kept running", tuple(_unknown(report)))
    yield Section("In use", tuple(_busy(report)))
    yield Section("What counts as idle", tuple(_terms(report)))
    yield Section("What to do about a VM", tuple(_advice()))


# --- at a glance ---------------------------------------------------------------------------------------


def _lead(report: IdleReport, idle: Sequence[IdleItem], free: Sequence[IdleItem]) -> Iterator[Block]:
    savings = report.savings
    kept = len(idle) - len(free)
    figures = [
        Figure(
            "Idle VMs",
            format_number(len(idle)),
            f"of {format_number(len(report.items))}",
            f"{format_number(kept)} of them kept: something forbids a stop" if kept else "",
        ),
        Figure("CPUs to gain", format_number(savings.vcpus), "vCPU", _unsized(savings)),
        Figure("Memory to gain", *_split(savings.memory_bytes)),
    ]
    if savings.metered:
        figures.append(
            Figure("Energy to gain a day", format_number(savings.watt_hours_a_day), "Wh", _metered(report))
        )
    unknown = report.count(State.UNKNOWN)
    figures.append(
        Figure(
            "Unknown",
            format_number(unknown),
            "VMs",
            "kept running" if unknown else "",
            Tone.WARNING if unknown else Tone.NEUTRAL,
        )
    )
    yield KeyFigures(tuple(figures))
    for notice in report.notices:
        yield Callout(Tone.WARNING, notice)
    if not report.items:
        yield Callout(Tone.NOTE, "No VM was looked at", ("Nothing is in the scope that was given.",))
    elif unknown * 2 > len(report.items):
        yield Callout(
            Tone.WARNING,
            f"{format_share(unknown / len(report.items))} of the VMs are unknown",
            ("The reasons are below. As long as they stand, idle VMs among them are not found.",),
        )
    if idle:
        gap = max(each.verdict.unseen_gap for each in idle)
        yield Callout(
            Tone.NOTE,
            f"Work of up to {_span(max(each.verdict.unseen_job for each in idle))} could hide in an idle VM",
            (
                "That is the longest that a job could keep one CPU busy in the lookback without going over a limit"
                + (f"; up to {_span(gap)} more lie where samples are missing." if gap >= _MINUTE else "."),
            ),
        )


def _unsized(savings: Savings) -> str:
    return f"without {_vms(savings.unsized)} of unknown size" if savings.unsized else ""


def _metered(report: IdleReport) -> str:
    savings = report.savings
    names = sorted({each.size.energy_source for each in report.items if each.may_stop and each.size.energy_source})
    known = "" if savings.metered == savings.vms else f", of {format_number(savings.metered)} VMs"
    if names == ["model"]:
        return f"by a power model{known}"
    return f"measured by {' and '.join(names)}{known}" if names else f"measured{known}"


def _split(memory_bytes: int) -> tuple[str, str]:
    number, _, unit = format_size(memory_bytes).partition(" ")
    return number, unit


# --- savings -------------------------------------------------------------------------------------------


def _savings(report: IdleReport) -> Iterator[Block]:
    owners = list(report.savings_by_owner().items())
    if not owners:
        return
    metered = any(each.metered for _, each in owners)
    if len(owners) > 1:
        first, most = owners[0]
        share = most.vcpus / report.savings.vcpus if report.savings.vcpus else 0.0
        yield BarChart(
            "CPUs by owner",
            f"{first} has {format_share(share)} of what there is to gain."
            if share
            else "Nobody says how many CPUs they have.",
            tuple(Bar(owner, each.vcpus) for owner, each in owners[:_OWNERS]),
            "vCPU",
        )
    columns = [
        TableColumn("Owner"),
        TableColumn("VMs", numeric=True),
        TableColumn("vCPU", numeric=True),
        TableColumn("Memory", numeric=True),
    ]
    if metered:
        columns.append(TableColumn("Wh a day", numeric=True))
    rows = []
    for owner, each in owners:
        row: list[Cell] = [
            owner,
            format_number(each.vms),
            format_number(each.vcpus),
            format_size(each.memory_bytes),
        ]
        if metered:
            row.append(format_number(each.watt_hours_a_day) if each.metered else MISSING)
        rows.append(tuple(row))
    yield Table(
        "What each owner could return",
        tuple(columns),
        tuple(rows),
        note=(
            "Energy is that of the VMs' own work; what a server draws when it does nothing returns once it is off."
            if metered
            else "Nobody measures these VMs' energy."
        ),
    )


# --- VMs -----------------------------------------------------------------------------------------------


def _idle(items: Sequence[IdleItem]) -> Iterator[Block]:
    if not items:
        yield Prose(("None that may be stopped.",))
        return
    ordered = sorted(items, key=lambda each: (-each.size.vcpus, -each.size.memory_bytes, each.ref))
    yield Table(
        "The largest first",
        (
            TableColumn("VM"),
            TableColumn("Owner"),
            TableColumn("This run"),
            TableColumn("Most CPU", numeric=True),
            TableColumn("Most network", numeric=True),
            TableColumn("vCPU", numeric=True),
            TableColumn("Memory", numeric=True),
            TableColumn("What follows", sentences=True),
        ),
        tuple(
            (
                Mono(str(each.ref)),
                each.owner,
                Badge(*_DOING[each.action]),
                _most(each, (Signal.CPU,), 1.0, "cores"),
                _most(each, (Signal.NETWORK, Signal.RECEIVE, Signal.TRANSMIT), 1000.0, "kB/s"),
                format_number(each.size.vcpus) if each.size.vcpus else MISSING,
                format_size(each.size.memory_bytes) if each.size.memory_bytes else MISSING,
                _follows(each),
            )
            for each in ordered
        ),
    )


def _follows(item: IdleItem) -> str:
    if item.action is Action.MARK and item.stop_after is not None:
        return f"stopped after {format_instant(item.stop_after)} if it is idle still"
    return item.reason.text


def _most(item: IdleItem, signals: Sequence[Signal], factor: float, unit: str) -> str:
    values = [
        each.value
        for each in item.verdict.findings
        if each.criterion.measure.signal in signals and not isinstance(each.value, Unknown)
    ]
    return format_with_unit(max(values) / factor, unit) if values else MISSING


def _held(items: Sequence[IdleItem]) -> Iterator[Block]:
    if not items:
        return
    yield Table(
        "Something forbids a stop",
        (
            TableColumn("VM"),
            TableColumn("Owner"),
            TableColumn("vCPU", numeric=True),
            TableColumn("Memory", numeric=True),
            TableColumn("What keeps it", sentences=True),
        ),
        tuple(
            (
                Mono(str(each.ref)),
                each.owner,
                format_number(each.size.vcpus) if each.size.vcpus else MISSING,
                format_size(each.size.memory_bytes) if each.size.memory_bytes else MISSING,
                each.verdict.held[0].text,
            )
            for each in items
        ),
    )


def _unknown(report: IdleReport) -> Iterator[Block]:
    items = [each for each in report.items if each.verdict.state is State.UNKNOWN]
    if not items:
        return
    yield Prose(("Of these nobody can tell, so they run on. A reason that many share is worth mending first.",))
    yield _by_reason("Why nobody can tell", items)
    yield Details(
        f"The {_vms(len(items))}",
        (
            Table(
                "Unknown VMs",
                (TableColumn("VM"), TableColumn("Owner"), TableColumn("Why", sentences=True)),
                tuple((Mono(str(each.ref)), each.owner, each.verdict.reasons[0].text) for each in items),
            ),
        ),
    )


def _busy(report: IdleReport) -> Iterator[Block]:
    items = [each for each in report.items if each.verdict.state is State.BUSY]
    if not items:
        return
    yield _by_reason(f"How use of {_vms(len(items))} shows", items)
    close = sorted(
        ((_excess(each), each) for each in items if _excess(each) < 2), key=lambda pair: (pair[0], pair[1].ref)
    )
    if close:
        yield Details(
            f"{_vms(len(close))} only just over a limit",
            (
                Table(
                    "Less than twice the limit",
                    (TableColumn("VM"), TableColumn("Owner"), TableColumn("What is over", sentences=True)),
                    tuple((Mono(str(each.ref)), each.owner, each.verdict.reasons[0].text) for _, each in close),
                ),
            ),
        )


def _excess(item: IdleItem) -> float:
    """How far over its limits a VM is, as a factor; without end where it is in use for another reason."""
    if any(each.code != "InUse" for each in item.verdict.reasons):
        return float("inf")
    return max((_factor(each) for each in item.verdict.findings), default=float("inf"))


def _factor(finding: Finding) -> float:
    return 0.0 if isinstance(finding.value, Unknown) else finding.value / finding.limit


def _by_reason(caption: str, items: Sequence[IdleItem]) -> Table:
    counts = Counter(each.verdict.reasons[0].code for each in items)
    examples: dict[str, IdleItem] = {}
    for each in items:
        examples.setdefault(each.verdict.reasons[0].code, each)
    return Table(
        caption,
        (
            TableColumn("Reason"),
            TableColumn("VMs", numeric=True),
            TableColumn("For example"),
            TableColumn("What is known of it", sentences=True),
        ),
        tuple(
            (
                Mono(code),
                format_number(count),
                Mono(str(examples[code].ref)),
                examples[code].verdict.reasons[0].text,
            )
            for code, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
    )


# --- terms ---------------------------------------------------------------------------------------------


def _terms(report: IdleReport) -> Iterator[Block]:
    yield Definitions(
        (
            ("Definition", (Mono(report.policy), f", over {count_days(report.lookback)}")),
            ("Everything of this is low", "; ".join(report.criteria)),
            ("Use was told by", report.source),
            ("Looked at", report.scope),
            ("Told before a stop", _span(report.notice)),
        )
    )
    if report.items:
        yield StackedBars(
            "What was found",
            "Only what is idle and not forbidden can ever be stopped.",
            ("in use", "idle", "idle and kept", "unknown"),
            (
                (
                    "all VMs",
                    (
                        report.count(State.BUSY),
                        sum(each.may_stop for each in report.items),
                        report.count(State.IDLE) - sum(each.may_stop for each in report.items),
                        report.count(State.UNKNOWN),
                    ),
                ),
            ),
            "VMs",
        )
    sizes = sorted(
        {(each.facts.vcpus, each.verdict.unseen_job) for each in report.items if each.facts.vcpus},
        key=lambda pair: pair,
    )
    if sizes:
        yield Details(
            "The longest job that these limits cannot see",
            (
                Table(
                    "On one CPU, in the whole lookback",
                    (TableColumn("VMs with", numeric=True), TableColumn("Longest job", numeric=True)),
                    tuple((f"{vcpus} vCPU", _span(span)) for vcpus, span in sizes),
                ),
            ),
        )


def _advice() -> Iterator[Block]:
    yield Prose(
        (
            "Any use takes the note away by itself, and so does starting or changing the VM. To keep one that is "
            "idle on purpose:",
        )
    )
    yield Code(
        f"kubectl label vm NAME {LABEL}=disabled   # never stop it\n"
        f"kubectl annotate vm NAME {SNOOZE}=2027-01-31T08:00:00Z   # not before then\n"
        "vmkit start NAME   # bring back one that was stopped, as it was",
        "sh",
        "Keep a VM, or bring it back",
    )


def _vms(count: int) -> str:
    return f"{format_number(count)} {'VM' if count == 1 else 'VMs'}"


def _span(span: timedelta) -> str:
    """A span rounded to what people read: seconds below a minute, else minutes."""
    seconds = span.total_seconds()
    unit = 1 if seconds < 60 else 60
    return format_duration(timedelta(seconds=round(seconds / unit) * unit))
