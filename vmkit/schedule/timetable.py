"""What a schedule, or several put together, want at an instant, and when that changes.

A `Timetable` is asked for *stretches*: the longest known piece of time around an instant in which nothing
changes. All questions (`is_active`, `next_change`, `transitions`) are answered from stretches, and the last
stretch is kept, so that asking again before the next transition costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from vmkit.errors import ScheduleError
from vmkit.schedule.rules import Side
from vmkit.schedule.zones import from_microseconds, to_microseconds

FOREVER: Final = 10**18
"""Later than any instant that can be written; its negative is earlier."""
_MAX_TRANSITIONS: Final = 1_000_000


class Wish(StrEnum):
    """What a timetable wants of a machine at an instant."""

    ON = "on"
    OFF = "off"
    ANY = "any"
    """It leaves the machine as it is: a one-sided schedule, or outside both periods."""


class Transition(NamedTuple):
    """A moment at which a timetable asks for something.

    Attributes:
        at: when, in UTC.
        active: True asks for a start, False for a stop.
    """

    at: datetime
    active: bool

    @property
    def side(self) -> Side:
        return Side.START if self.active else Side.STOP


class Stretch(NamedTuple):
    """A piece of time without a transition inside, in microseconds since 1970.

    Attributes:
        begin: it holds from here; the true beginning may be earlier.
        end: exactly when that changes; `FOREVER` where it never does.
        wish: what is wanted throughout.
        next_side: what the transition at ``end`` asks for; None where the wish ends and nothing is asked for.
        active: the answer of `Timetable.is_active` throughout.
    """

    begin: int
    end: int
    wish: Wish
    next_side: Side | None
    active: bool


@dataclass(slots=True)
class _Memory:
    # Replaced whole, so that threads see an old answer or a new one, never half of each.
    stretch: Stretch | None = None
    latest: tuple[int, int, Transition | None] | None = None


@dataclass(frozen=True, slots=True)
class Timetable(ABC):
    """Says when a machine should run. Values: they never change, and may be shared between threads."""

    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False, compare=False)

    @abstractmethod
    def compute_stretch(self, instant: int) -> Stretch:
        """The stretch that holds the instant."""

    def stretch_at(self, instant: int) -> Stretch:
        """As `compute_stretch`, kept for the next question."""
        known = self._memory.stretch
        if known is not None and known.begin <= instant < known.end:
            return known
        found = self._memory.stretch = self.compute_stretch(instant)
        return found

    def is_active(self, at: datetime) -> bool:
        """Whether the machine should run at this instant.

        A schedule that only ever starts is always active, one that only ever stops never: `wants` tells more.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        return self.stretch_at(to_microseconds(at)).active

    def wants(self, at: datetime) -> Wish:
        """What is wanted at this instant: on, off, or either.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        return self.stretch_at(to_microseconds(at)).wish

    def next_transition(self, at: datetime) -> Transition | None:
        """The first transition after this instant; None where there is none within twelve years.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        stretch = self.stretch_at(to_microseconds(at))
        while stretch.next_side is None and stretch.end < FOREVER:
            stretch = self.stretch_at(stretch.end)
        if stretch.end >= FOREVER:
            return None
        return Transition(from_microseconds(stretch.end), stretch.next_side is Side.START)

    def next_change(self, at: datetime) -> datetime | None:
        """When, after this instant, something is next asked for, in UTC.

        None where nothing is within twelve years.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        found = self.next_transition(at)
        return found.at if found is not None else None

    def transitions(self, start: datetime, end: datetime) -> tuple[Transition, ...]:
        """Every transition from ``start`` up to and without ``end``, in order.

        Raises:
            ScheduleError: an instant has no time zone, or there are over a million.
        """
        found: list[Transition] = []
        instant, stop = to_microseconds(start) - 1, to_microseconds(end)
        while True:
            stretch = self.stretch_at(instant)
            if stretch.end >= stop or stretch.end >= FOREVER:
                return tuple(found)
            if len(found) == _MAX_TRANSITIONS:
                raise ScheduleError("over a million transitions were asked for", hint="ask for a shorter time")
            if stretch.next_side is not None:
                found.append(Transition(from_microseconds(stretch.end), stretch.next_side is Side.START))
            instant = stretch.end

    def latest_transition(self, at: datetime, within: timedelta) -> Transition | None:
        """The last transition at or before this instant, if no older than ``within``.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        return self.latest_between(to_microseconds(at) - within // timedelta(microseconds=1), to_microseconds(at))

    def latest_between(self, since: int, instant: int) -> Transition | None:
        """The last transition from ``since`` to ``instant``, both included, in microseconds since 1970."""
        kept = self._memory.latest
        if kept is not None and kept[0] == since and kept[1] == instant:
            return kept[2]
        last: Transition | None = None
        position = since - 1
        while True:
            stretch = self.stretch_at(position)
            if stretch.end > instant:
                break
            if stretch.next_side is not None:
                last = Transition(from_microseconds(stretch.end), stretch.next_side is Side.START)
            position = stretch.end
        self._memory.latest = (since, instant, last)
        return last
