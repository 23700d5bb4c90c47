"""Rules as read, before each has its zone; and the schedule they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from vmkit.errors import ScheduleError
from vmkit.schedule.days import EVERY_DAY, Days, Weekdays
from vmkit.schedule.model import Schedule
from vmkit.schedule.rules import DailyWindows, Edges, FixedWindow, Rule, Side, Written
from vmkit.schedule.zones import FIRST_DAY, LAST_DAY, Zone


class Defaults(NamedTuple):
    """What holds for a schedule that does not say.

    Attributes:
        zone: for schedules that name no zone; None makes one that needs one an error.
        weekdays: for rules that name no days; None is every day.
        calendars: the calendars there are, by name.
    """

    zone: Zone | None = None
    weekdays: int | None = None
    calendars: Mapping[str, Days] = {}


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule whose zone may still be named by another."""

    source: Written
    kind: str
    days: Days | None = None
    dated: bool = False
    spans: tuple[tuple[int, int], ...] = ()
    minutes: tuple[int, ...] = ()
    instants: tuple[Moment | None, Moment | None] = (None, None)
    zone: Zone | None = None

    @property
    def needs_zone(self) -> bool:
        if self.kind in ("always", "never"):
            return False
        if self.kind == "fixed":
            return any(one is not None and one.local is not None for one in self.instants)
        return True


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, or a wall-clock time that becomes one in a zone."""

    column: int
    instant: int | None = None
    local: datetime | None = None


def build_schedule(text: str, drafts: Sequence[Draft], exceptions: Days | None, defaults: Defaults) -> Schedule:
    """Gives every rule its zone and makes a schedule of them.

    A zone named once holds for all rules that name none.

    Raises:
        ScheduleError: a rule has no zone and needs one, or rules that do not go together.
    """
    named = {draft.zone.key: draft.zone for draft in drafts if draft.zone is not None}
    shared = next(iter(named.values())) if len(named) == 1 else None if named else defaults.zone
    rules: list[Rule] = []
    kinds = {draft.kind for draft in drafts}
    if kinds & {"start", "stop"} and kinds - {"start", "stop"}:
        other = next(draft for draft in drafts if draft.kind not in ("start", "stop"))
        raise ScheduleError(
            "hours and moments do not go together in one schedule",
            hint="write all of it as hours, or all of it with start and stop",
            column=other.source.column,
        )
    for draft in drafts:
        zone = draft.zone or shared
        if zone is None and (draft.needs_zone or (exceptions is not None and draft.kind == "always")):
            raise ScheduleError(
                "which time zone? Several are named, none for this rule" if named else "which time zone?",
                hint='name the place at the end, such as "Europe/Berlin", or "UTC"',
                column=draft.source.column + len(draft.source.text),
            )
        rule = _build(draft, zone, defaults, takes_exceptions=exceptions is not None)
        if rule is not None:
            rules.append(rule)
    zone = next(iter(named.values()), defaults.zone)
    return Schedule(text, rules=tuple(rules), exceptions=exceptions, zone=zone)


def _build(draft: Draft, zone: Zone | None, defaults: Defaults, *, takes_exceptions: bool) -> Rule | None:
    if draft.kind == "never":
        return None
    if draft.kind == "always":
        if takes_exceptions and zone is not None:
            return DailyWindows(draft.source, Weekdays(EVERY_DAY), ((0, 1440),), zone)
        return FixedWindow(draft.source, None, None)
    if draft.kind == "fixed":
        start, end = (None if one is None else _instant(one, zone) for one in draft.instants)
        if start is not None and end is not None and end <= start:
            raise ScheduleError(
                "this ends before it begins" if end < start else "this ends when it begins",
                hint="swap the two instants" if end < start else "give it an end",
                column=draft.source.column,
            )
        return FixedWindow(draft.source, start, end)
    assert zone is not None
    weekdays = EVERY_DAY if defaults.weekdays is None else defaults.weekdays
    days = draft.days if draft.days is not None else Weekdays(weekdays)
    if draft.kind == "daily":
        return DailyWindows(draft.source, days, draft.spans, zone, draft.dated)
    return Edges(draft.source, Side(draft.kind), days, draft.minutes, zone, draft.dated)


def _instant(moment: Moment, zone: Zone | None) -> int:
    if moment.instant is not None:
        return moment.instant
    assert zone is not None
    assert moment.local is not None
    if not FIRST_DAY < moment.local.toordinal() < LAST_DAY:
        raise ScheduleError("this instant is beyond the calendar", hint="is the year right?", column=moment.column)
    if zone.is_repeated(moment.local):
        first, final = (zone.local(zone.resolve_local(moment.local, last=last)) for last in (False, True))
        raise ScheduleError(
            f"the clock of {zone.key} shows this time twice",
            hint=f'say which: "{first.isoformat()}" or "{final.isoformat()}"',
            column=moment.column,
        )
    return zone.resolve_local(moment.local, last=False)
