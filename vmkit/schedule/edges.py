"""Schedules written as moments: start at eight, stop at six.

The order of moments is that of the wall clock; the clock's changes move the instants at which they happen, never
the order. So a stop at 02:15 and a start at 02:45 in an hour that the clock repeats leave the machine on: the
stop would happen at the second 02:15, after the start at the first 02:45.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vmkit.schedule.days import Days
from vmkit.schedule.rules import Edges, Side
from vmkit.schedule.timetable import FOREVER, Stretch, Wish
from vmkit.schedule.windows import LOOK_AHEAD_DAYS, last_day_of_interest
from vmkit.schedule.zones import DAY, EPOCH_ORDINAL, FIRST_DAY, LAST_DAY, utc_day

_SPANS_DAYS: Final = (5, 12, 40, 400, LOOK_AHEAD_DAYS)
_MARGIN_DAYS: Final = 2
"""A moment within so many days of where a search ends may yet be changed by one beyond it: a day for the widest
offset, and a day for two moments that a change of the clock makes pass each other."""


class _Moment(NamedTuple):
    """Sorted by the first instant it could be, then by the wall clock, then stops before starts."""

    first: int
    nominal: int
    side: Side
    last: int


def edge_stretch(rules: Sequence[Edges], exceptions: Days | None, instant: int) -> Stretch:
    """The stretch between the moment before the instant and the one after it."""
    sides = {rule.side for rule in rules}
    day = utc_day(instant)
    before: tuple[int, Side] | None = None
    after: tuple[int, Side] | None = None
    horizon = last_day_of_interest(rules, exceptions, day)
    for span in _SPANS_DAYS:
        # A schedule of one side wants the same at all times: what was before it does not matter.
        back = span if len(sides) == 2 else 0
        found = _events(rules, exceptions, max(day - back - _MARGIN_DAYS, FIRST_DAY), min(day + span, LAST_DAY))
        settled = (day + span - EPOCH_ORDINAL) * DAY - _MARGIN_DAYS * DAY
        before = next((event for event in reversed(found) if event[0] <= instant), None)
        after = next((event for event in found if instant < event[0] < settled), None)
        if after is not None and (before is not None or len(sides) == 1):
            break
        if day + span > horizon and (before is not None or len(sides) == 1):
            after = next((event for event in found if instant < event[0]), None)
            break
    begin = before[0] if before is not None else instant
    end, next_side = after if after is not None else (FOREVER, Side.START)
    if len(sides) == 1:
        # Only ever one side: nothing is wanted between its moments.
        return Stretch(begin, end, Wish.ANY, next_side, Side.START in sides)
    if before is not None:
        on = before[1] is Side.START
    else:
        on = after is not None and after[1] is Side.STOP
    return Stretch(begin, end, Wish.ON if on else Wish.OFF, next_side, on)


def _events(rules: Sequence[Edges], exceptions: Days | None, first: int, stop: int) -> list[tuple[int, Side]]:
    moments: list[_Moment] = []
    two_sided = len({rule.side for rule in rules}) == 2
    for rule in rules:
        # Days taken out start nothing; a stop that ends what another day started still happens.
        spared = None if rule.dated or (two_sided and rule.side is Side.STOP) else exceptions
        moments.extend(_moments(rule, first, stop, spared))
    moments.sort(key=lambda moment: (moment.first, moment.nominal, moment.side is Side.START))
    if not two_sided:
        return sorted(
            {(moment.first if moment.side is Side.START else moment.last, moment.side) for moment in moments}
        )
    return _paired(moments)


def _moments(rule: Edges, first: int, stop: int, exceptions: Days | None) -> list[_Moment]:
    resolve = rule.zone.resolve
    found = []
    for day in range(first, stop if rule.days.last is None else min(stop, rule.days.last + 1)):
        if day not in rule.days or (exceptions is not None and day in exceptions):
            continue
        for minute in rule.minutes:
            found.append(  # noqa: PERF401 - a comprehension over two loops and a condition reads worse
                _Moment(
                    resolve(day, minute, last=False),
                    day * 1440 + minute,
                    rule.side,
                    resolve(day, minute, last=True),
                )
            )
    return found


def _paired(moments: list[_Moment]) -> list[tuple[int, Side]]:
    """Instants of moments of both sides: windows from each start to the next stop, and the repetitions between."""
    windows: list[list[int]] = []
    repeated: list[tuple[int, Side]] = []
    on: bool | None = None
    for moment in moments:
        if moment.side is Side.START:
            if on:
                repeated.append((moment.first, Side.START))
            else:
                windows.append([moment.first, FOREVER])
            on = True
        else:
            if on is None:
                windows.append([-FOREVER, moment.last])
            elif on:
                windows[-1][1] = moment.last
            else:
                repeated.append((moment.last, Side.STOP))
            on = False
    merged: list[list[int]] = []
    for start, end in windows:
        if start >= end:
            continue  # wholly in a skipped hour
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    events = {(start, Side.START) for start, _ in merged if start > -FOREVER}
    events |= {(end, Side.STOP) for _, end in merged if end < FOREVER}
    taken = {instant for instant, _ in events}
    position = 0
    for instant, side in sorted(repeated):
        while position < len(merged) and merged[position][1] <= instant:
            position += 1
        inside = position < len(merged) and merged[position][0] <= instant
        # One that a change of the clock moved to the other side of its neighbours has nothing left to repeat.
        if instant not in taken and inside is (side is Side.START):
            events.add((instant, side))
    return sorted(events)


def moment_of(rule: Edges, instant: int) -> bool:
    """Whether this rule asks for something at this instant."""
    day = utc_day(instant)
    return any(
        instant in (moment.first, moment.last)
        for moment in _moments(rule, max(day - 2, FIRST_DAY), min(day + 3, LAST_DAY), None)
    )
