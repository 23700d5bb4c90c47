"""Windows of wall-clock rules as merged stretches of real time.

Every edge is an instant of its own: one that falls into the hour the clock skips happens when the clock jumps,
one in the hour it repeats happens once. A window that opens in the repeated hour opens at its first showing and
one that closes there closes at its second, so that what is on stays on through the doubt; windows that turn
machines *off* do the opposite, for the same reason. Overlapping and touching windows are one, so nothing flaps
between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vmkit.schedule.days import Days
from vmkit.schedule.rules import DailyWindows, Edges, FixedWindow
from vmkit.schedule.timetable import FOREVER
from vmkit.schedule.zones import DAY, EPOCH_ORDINAL, FIRST_DAY, LAST_DAY, utc_day

LOOK_AHEAD_DAYS: Final = 366 * 12
"""How far the next transition is looked for."""
REACH_DAYS: Final = 3
"""A window is over within so many days of the one it starts on: it may end on the next, in any zone."""

_WIDEST_OFFSET: Final = DAY  # no zone is further from UTC than 15 h; a day leaves room for old ones
_FIRST_SPAN_DAYS: Final = 5  # today's window, or Monday's from Friday night
_SPAN_GROWTH: Final = 4


def last_day_of_interest(
    rules: Sequence[DailyWindows | FixedWindow | Edges], exceptions: Days | None, day: int
) -> int:
    """The day after which nothing new can happen, seen from ``day``."""
    base, extra = day, 0
    if exceptions is not None:
        if exceptions.last is None:
            extra = exceptions.period
        else:
            base = max(base, exceptions.last)
    found = day
    for rule in rules:
        if isinstance(rule, FixedWindow):
            continue
        last = rule.days.last
        found = max(found, last + REACH_DAYS if last is not None else base + max(rule.days.period, extra))
    return min(found, day + LOOK_AHEAD_DAYS, LAST_DAY)


def day_windows(
    rule: DailyWindows, first: int, stop: int, exceptions: Days | None, *, turns_off: bool = False
) -> Iterator[tuple[int, int]]:
    """The windows of one rule that start on days from ``first`` up to and without ``stop``.

    One that lies wholly in a skipped hour is left out.
    """
    resolve, days = rule.zone.resolve, rule.days
    spared = None if rule.dated else exceptions
    for day in range(first, stop if days.last is None else min(stop, days.last + 1)):
        if day not in days or (spared is not None and day in spared):
            continue
        for start, end in rule.spans:
            begin, finish = resolve(day, start, last=turns_off), resolve(day, end, last=not turns_off)
            if begin < finish:
                yield begin, finish


def merged_windows(
    rules: Sequence[DailyWindows | FixedWindow], exceptions: Days | None, instant: int, *, turns_off: bool = False
) -> Iterator[tuple[int, int]]:
    """The windows that end after ``instant``, merged and in order, as far as `LOOK_AHEAD_DAYS`.

    The beginning of one that has begun may be given later than it was, but never later than ``instant``. One that
    goes on beyond the horizon ends at `FOREVER`.
    """
    daily = [rule for rule in rules if isinstance(rule, DailyWindows)]
    pending = [
        (-FOREVER if rule.start is None else rule.start, FOREVER if rule.end is None else rule.end)
        for rule in rules
        if isinstance(rule, FixedWindow)
    ]
    pending = [(start, end) for start, end in pending if end > instant and end > start]
    day = min(max(utc_day(instant) - REACH_DAYS, FIRST_DAY), LAST_DAY)
    last = last_day_of_interest(daily, exceptions, day)
    span = _FIRST_SPAN_DAYS
    while daily and day <= last:
        stop = min(day + span, last + 1)
        found = (
            _off_windows(daily, day, stop, exceptions) if turns_off else _on_windows(daily, day, stop, exceptions)
        )
        pending.extend(window for window in found if window[1] > instant)
        # No window of a later day starts before this.
        settled = (stop - EPOCH_ORDINAL) * DAY - _WIDEST_OFFSET
        pending = _merge(pending)
        count = 0
        for window in pending:
            if window[1] >= settled:
                break
            yield window
            count += 1
        del pending[:count]
        day, span = stop, span * _SPAN_GROWTH
    pending = _merge(pending)
    if daily and pending:
        # What a repeating rule kept on for the whole horizon has no end that anybody will see.
        beyond = (day - EPOCH_ORDINAL) * DAY - _WIDEST_OFFSET
        repeats = any(rule.days.last is None or rule.days.last >= day for rule in daily)
        if repeats and pending[-1][1] >= beyond:
            pending[-1] = (pending[-1][0], FOREVER)
    yield from pending


def _on_windows(
    rules: Sequence[DailyWindows], first: int, stop: int, exceptions: Days | None
) -> Iterator[tuple[int, int]]:
    for rule in rules:
        yield from day_windows(rule, first, stop, exceptions)


def _off_windows(
    rules: Sequence[DailyWindows], first: int, stop: int, exceptions: Days | None
) -> Iterator[tuple[int, int]]:
    # Windows that turn off shrink in a repeated hour. Where one ends as another begins nothing is to shrink, so
    # they are merged on the wall clock first; a day more on either side lets those of neighbouring spans meet.
    zones: dict[str, list[DailyWindows]] = {}
    for rule in rules:
        zones.setdefault(rule.zone.key, []).append(rule)
    for group in zones.values():
        nominal = [
            (day * 1440 + start, day * 1440 + end)
            for rule in group
            for day in range(first - 1, stop + 1)
            if day in rule.days and (rule.dated or exceptions is None or day not in exceptions)
            for start, end in rule.spans
        ]
        resolve = group[0].zone.resolve
        for start, end in _merge(nominal):
            begin = resolve(start // 1440, start % 1440, last=True)
            finish = resolve(end // 1440, end % 1440, last=False)
            if begin < finish:
                yield begin, finish


def _merge(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    windows.sort()
    merged: list[tuple[int, int]] = []
    for start, end in windows:
        if merged and start <= merged[-1][1]:
            if end > merged[-1][1]:
                merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
