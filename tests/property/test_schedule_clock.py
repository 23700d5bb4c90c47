"""Transitions against a wall clock read minute by minute, around every change of every clock in ten years.

The check knows nothing of instants: it asks what the clock on the wall shows and whether those hours are on. The
two agree in every minute, with one stated exception: in an hour that the clock shows twice, machines stay on
through the doubt. What was on just before that hour, or comes on during its first showing, stays on to the end of
that showing; during the second it is on for as long as any of what remains of the hour is on.
"""

from __future__ import annotations

import importlib.resources
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest

from vmkit.schedule import Schedule, parse_schedule
from vmkit.schedule.zones import find_zone, zone_names

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
REACH = timedelta(hours=26)
MINUTE = timedelta(minutes=1)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

KNOWN = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
)
"""The names under which people know the clocks that differ most."""

Minute = tuple[int, int]
"""Weekday (Monday is 0) and minute of the day."""


@cache
def clocks() -> tuple[str, ...]:
    """One name for each different set of rules: hundreds of names are links to another."""
    found: dict[bytes, str] = {}
    for name in [*KNOWN, *sorted(name for name in zone_names() if "/" in name)]:
        content = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
        found.setdefault(content, name)
    return tuple(sorted(found.values()))


def changes(name: str) -> Iterator[datetime]:
    """The instants at which this clock's offset changes, found by halving."""
    tzinfo = find_zone(name).tzinfo
    for week in range((LAST - FIRST).days // 7 + 1):
        low, high = FIRST + timedelta(weeks=week), FIRST + timedelta(weeks=week + 1)
        old = low.astimezone(tzinfo).utcoffset()
        if high.astimezone(tzinfo).utcoffset() == old:
            continue
        while high - low > MINUTE:
            middle = low + (high - low) // 2
            middle = middle.replace(second=0, microsecond=0) if middle - low > MINUTE else low + MINUTE
            low, high = (middle, high) if middle.astimezone(tzinfo).utcoffset() == old else (low, middle)
        yield high


def is_on(at: Minute, weekdays: set[int], spans: list[tuple[int, int]]) -> bool:
    """The wall-clock check: a window that goes over midnight belongs to the day it starts on."""
    day, minute = at
    for start, end in spans:
        if day in weekdays and start <= minute < end:
            return True
        if (day - 1) % 7 in weekdays and minute < end - 1440:
            return True
    return False


def expect(
    name: str, change: datetime, weekdays: set[int], spans: list[tuple[int, int]], *, off: bool
) -> list[bool]:
    """What should hold in every minute from 26 hours before the change to 26 hours after it."""
    tzinfo = find_zone(name).tzinfo
    minutes = [(change - REACH + MINUTE * count).astimezone(tzinfo) for count in range(int(2 * REACH / MINUTE))]
    wall = [is_on((at.weekday(), at.hour * 60 + at.minute), weekdays, spans) is not off for at in minutes]
    middle = int(REACH / MINUTE)
    shift = minutes[middle].utcoffset() - minutes[middle - 1].utcoffset()
    if shift < timedelta():
        doubled = -shift // MINUTE
        first, second = wall[middle - doubled : middle], wall[middle : middle + doubled]
        assert first == second, "the hour is shown twice, with the same days and minutes"
        before = wall[middle - doubled - 1]
        wall[middle - doubled : middle] = [before or any(first[: count + 1]) for count in range(doubled)]
        wall[middle : middle + doubled] = [any(second[count:]) for count in range(doubled)]
    return wall


def compute(schedule: Schedule, change: datetime) -> list[bool]:
    """The same from the schedule's transitions."""
    start, end = change - REACH, change + REACH
    active, position, states = schedule.is_active(start), start, list[bool]()
    for transition in schedule.transitions(start + timedelta(microseconds=1), end):
        assert transition.active is not active, "a window's transitions alternate"
        states += [active] * ((transition.at - position) // MINUTE)
        active, position = transition.active, transition.at
    return states + [active] * ((end - position) // MINUTE)


def specs(
    name: str, change: datetime, chance: random.Random
) -> Iterator[tuple[str, set[int], list[tuple[int, int]]]]:
    """Windows that begin and end in, at, before and after the hour of the change, and some that do not."""
    tzinfo = find_zone(name).tzinfo
    before, after = ((change - MINUTE * count).astimezone(tzinfo) for count in (1, 0))
    marks = sorted({(at.hour * 60 + at.minute + step) % 1440 for at in (before, after) for step in (0, 1)})
    marks += [(mark + chance.randrange(-90, 90)) % 1440 for mark in marks]
    for _ in range(6):
        start, end = chance.choice(marks), chance.choice([*marks, chance.randrange(1440)])
        if start == end:
            continue
        kind = chance.randrange(3)
        weekdays = [set(range(7)), {before.weekday()}, {after.weekday(), (after.weekday() - 1) % 7}][kind]
        yield text_of(name, weekdays, [(start, end)]), weekdays, [(start, end if end > start else end + 1440)]
    yield text_of(name, set(range(7)), [(0, 1440)]), set(range(7)), [(0, 1440)]
    yield text_of(name, {after.weekday()}, [(0, 1440)]), {after.weekday()}, [(0, 1440)]
    first, second = chance.randrange(1, 600), chance.randrange(700, 1439)
    yield text_of(name, {0, 2, 6}, [(0, first), (second, 1440)]), {0, 2, 6}, [(0, first), (second, 1440)]


def text_of(name: str, weekdays: set[int], spans: list[tuple[int, int]]) -> str:
    hours = ",".join(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in spans)
    return f"{','.join(DAYS[day] for day in sorted(weekdays))} {hours} {name}"


def check(name: str, change: datetime) -> None:
    chance = random.Random(f"{name} {change}")
    for text, weekdays, spans in specs(name, change, chance):
        schedule = parse_schedule(text)
        assert compute(schedule, change) == expect(name, change, weekdays, spans, off=False), (text, change)
        downtime = schedule.as_downtime()
        assert compute(downtime, change) == expect(name, change, weekdays, spans, off=True), (text, change, "down")
        if len(spans) == 1 and spans[0] != (0, 1440):
            days, hours, zone = text.split(" ")
            start, _, end = hours.partition("-")
            # A stop over midnight is on the day after; written for every day it says the same.
            if spans[0][1] < 1440 or len(weekdays) == 7:
                moments = parse_schedule(f"start {days} {start}; stop {days} {end} {zone}")
                reach = (change - REACH, change + REACH)
                assert moments.transitions(*reach) == schedule.transitions(*reach), text


ALL = [(name, change) for name in clocks() for change in changes(name)]


def test_there_are_clocks_to_look_at() -> None:
    assert len(clocks()) > 200
    assert len(ALL) > 800
    assert {name for name, _ in ALL} >= set(KNOWN)


def test_transitions_agree_with_the_wall_clock() -> None:
    """A share of all changes, evenly drawn, with every oddly shaped clock in it."""
    for name, change in [
        *ALL[::29],
        *((name, change) for name, change in ALL if name in KNOWN and change.year == 2027),
    ]:
        check(name, change)


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(8))
def test_transitions_agree_with_every_wall_clock_in_ten_years(share: int) -> None:
    """In shares, so that several processes can take part."""
    for name, change in ALL[share::8]:
        check(name, change)


def test_no_schedule_flaps_within_a_repeated_hour() -> None:
    """Two transitions in the two showings of an hour would start and stop a machine for nothing."""
    for name, change in ALL[::7]:
        tzinfo = find_zone(name).tzinfo
        shift = (change - MINUTE).astimezone(tzinfo).utcoffset() - change.astimezone(tzinfo).utcoffset()
        if shift <= timedelta():
            continue
        local = change.astimezone(tzinfo)
        for into in (0, int(shift / MINUTE) // 2, int(shift / MINUTE) - 1):
            edge = local.replace(tzinfo=None) + MINUTE * into
            for hours in (
                f"{edge:%H:%M}-{edge + timedelta(hours=9):%H:%M}",
                f"{edge - timedelta(hours=9):%H:%M}-{edge:%H:%M}",
            ):
                near = parse_schedule(f"{hours} {name}").transitions(change - shift, change + shift)
                assert len(near) == 1, (name, hours, change)


def test_stretches_are_the_same_asked_forwards_and_backwards() -> None:
    at = datetime(2026, 10, 20, tzinfo=UTC)
    for text in (
        "Mon-Fri 22:00-02:30 Europe/Berlin",
        "start 02:30; stop 02:45 Europe/Berlin",
        "02:00-03:00 Europe/Berlin",
    ):
        forwards = parse_schedule(text).transitions(at, at + timedelta(days=14))
        instants = [transition.at for transition in forwards]
        again = [
            parse_schedule(text).latest_transition(instant, timedelta(days=3)) for instant in reversed(instants)
        ]
        assert list(reversed(again)) == list(forwards)
        assert all(earlier < later for earlier, later in pairwise(instants))
