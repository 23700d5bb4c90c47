"""What is allowed in a schedule and probably not meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from vmkit.schedule.days import AnyOf, Dates, Days
from vmkit.schedule.model import Schedule
from vmkit.schedule.rules import DailyWindows, Edges, FixedWindow
from vmkit.schedule.zones import to_microseconds, utc_day

_BLIP = timedelta(minutes=5)


class Severity(StrEnum):
    """How sure it is that something is wrong."""

    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about a schedule.

    Attributes:
        code: for programs, in CamelCase.
        severity: how sure.
        text: what is odd.
        hint: what to write instead; may be empty.
        column: of the rule it is about, counted from 1; None where it is about all of it.
    """

    code: str
    severity: Severity
    text: str
    hint: str = ""
    column: int | None = None


def lint_schedule(schedule: Schedule, at: datetime) -> tuple[Finding, ...]:
    """Everything odd about a schedule, as seen from an instant.

    Raises:
        ScheduleError: ``at`` has no time zone.
    """
    found = [
        *_constant(schedule, at),
        *_holes(schedule),
        *_overlaps(schedule),
        *_swallowed(schedule, at),
        *_past(schedule, at),
        *_signs(schedule),
        *_blips(schedule, at),
        *_one_sided(schedule),
    ]
    return tuple(sorted(found, key=lambda finding: (finding.column or 0, finding.code)))


def _constant(schedule: Schedule, at: datetime) -> list[Finding]:
    plain = schedule.text.strip().lower() in ("always", "never", "true", "false")
    if plain or schedule.next_change(at) is not None:
        return []
    state = "on" if schedule.is_active(at) else "off"
    return [
        Finding("NeverChanges", Severity.WARNING, f"from now on it is always {state}", "check the days and hours")
    ]


def _holes(schedule: Schedule) -> list[Finding]:
    return [
        Finding(
            "MinuteBeforeMidnight", Severity.WARNING, "23:59 as an end leaves a minute off every day",
            'write "24:00"', rule.source.column,
        )
        for rule in schedule.windows
        if isinstance(rule, DailyWindows) and any(end in (1439, 2879) for _, end in rule.spans)
    ]  # fmt: skip


def _overlaps(schedule: Schedule) -> list[Finding]:
    return [
        Finding("Overlap", Severity.NOTE, "these hours overlap; they count as one window", "", rule.source.column)
        for rule in schedule.windows
        if isinstance(rule, DailyWindows)
        and any(later[0] < earlier[1] for earlier, later in pairwise(rule.spans))
        and schedule.dialect is None
    ]


def _swallowed(schedule: Schedule, at: datetime) -> list[Finding]:
    found = []
    for instant, rule in schedule.skipped_windows(at, at + timedelta(days=366)):
        local = f"{instant.astimezone(rule.zone.tzinfo):%Y-%m-%d}" if isinstance(rule, DailyWindows) else ""
        found.append(
            Finding(
                "SkippedHour", Severity.WARNING,
                f"on {local} these hours do not exist: the clock skips them, and nothing happens",
                "let them begin before or end after the skipped hour", rule.source.column,
            )
        )  # fmt: skip
    return found


def _past(schedule: Schedule, at: datetime) -> list[Finding]:
    instant, found = to_microseconds(at), []
    for rule in schedule.rules:
        if isinstance(rule, FixedWindow):
            over = rule.end is not None and rule.end <= instant
        else:
            over = rule.days.last is not None and rule.days.last < utc_day(instant) - 2
        if over:
            found.append(Finding("Past", Severity.NOTE, "this is over", "take it away", rule.source.column))
    if schedule.exceptions is not None:
        last = _last_listed(schedule.exceptions)
        if last is not None and last < utc_day(instant):
            on = datetime.fromordinal(last).date() if last > 0 else None
            text = f"the exceptions end on {on}" if on else "the exceptions name no day"
            found.append(Finding("ExceptionsPast", Severity.WARNING, text, "bring the calendar up to date"))
    return found


def _last_listed(days: Days) -> int | None:
    # A yearly day has no end; a calendar beside it that has run out is still worth a word.
    if isinstance(days, AnyOf):
        ends = [part.last for part in days.parts if isinstance(part, Dates) and part.name]
        known = [end for end in ends if end is not None]
        return min(known, default=days.last)
    return days.last


def _signs(schedule: Schedule) -> list[Finding]:
    zones = {
        rule.zone.key: rule.source.column for rule in schedule.rules if isinstance(rule, (DailyWindows, Edges))
    }
    found = []
    for key, column in zones.items():
        if not key.startswith("Etc/GMT") or key == "Etc/GMT":
            continue
        offset = datetime(2026, 1, 1, tzinfo=UTC).astimezone(_tzinfo(schedule, key)).strftime("%z")
        found.append(
            Finding(
                "InvertedSign", Severity.WARNING,
                f"{key} is UTC{offset[:3]}:{offset[3:]}: the sign is the other way round",
                "name a place instead", column,
            )
        )  # fmt: skip
    return found


def _blips(schedule: Schedule, at: datetime) -> list[Finding]:
    transitions = schedule.transitions(at, at + timedelta(days=15))
    for earlier, later in pairwise(transitions):
        if not earlier.active and later.active and later.at - earlier.at <= _BLIP and not _minute_hole(schedule):
            minutes = int((later.at - earlier.at).total_seconds() // 60)
            begin = earlier.at.astimezone(schedule.zone.tzinfo if schedule.zone else UTC)
            text = f"at {begin:%a %H:%M} it is stopped for {minutes} min only"
            return [Finding("Blip", Severity.WARNING, text, "let the windows touch")]
    return []


def _minute_hole(schedule: Schedule) -> bool:
    return bool(_holes(schedule))


def _one_sided(schedule: Schedule) -> list[Finding]:
    if not schedule.is_one_sided:
        return []
    does, lacks = ("starts", "stops") if schedule.edges[0].side == "start" else ("stops", "starts")
    return [Finding("OneSided", Severity.NOTE, f"it only {does} and never {lacks}", "")]


def _tzinfo(schedule: Schedule, key: str) -> ZoneInfo:
    return next(
        rule.zone.tzinfo
        for rule in schedule.rules
        if isinstance(rule, (DailyWindows, Edges)) and rule.zone.key == key
    )
