"""Sets of days: weekdays, dates, days of a year, holiday calendars, the day fields of cron.

A day is its ordinal (`date.toordinal`); Monday is weekday 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKDAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EVERY_DAY: Final = 0b1111111

_FORTNIGHT: Final = 16
"""Weekly days without a change for so long never change: two weeks, as a zone that moves over the date line skips
a weekday, and the reach of an overnight window."""
_LEAP_CYCLE: Final = 366 * 9
"""29 February can be eight years away (1896 to 1904, 2096 to 2104)."""


class Days(Protocol):
    """A set of days."""

    def __contains__(self, day: int) -> bool: ...

    @property
    def last(self) -> int | None:
        """The last day in the set; None where it has no end. An empty set's is 0."""

    @property
    def period(self) -> int:
        """What has not happened within so many days happens no more, as far as repetition goes."""


@dataclass(frozen=True, slots=True)
class Weekdays:
    """Days of the week: bit 0 of the mask is Monday."""

    mask: int

    def __contains__(self, day: int) -> bool:
        return bool(self.mask >> (day + 6) % 7 & 1)

    @property
    def last(self) -> int | None:
        return None if self.mask else 0

    @property
    def period(self) -> int:
        return _FORTNIGHT


@dataclass(frozen=True, slots=True)
class Dates:
    """Single days of single years.

    Attributes:
        days: their ordinals.
        name: what the calendar is called, for explanations; empty for dates written in the schedule itself.
    """

    days: frozenset[int]
    name: str = ""

    def __contains__(self, day: int) -> bool:
        return day in self.days

    @property
    def last(self) -> int | None:
        return max(self.days, default=0)

    @property
    def period(self) -> int:
        return _FORTNIGHT


@dataclass(frozen=True, slots=True)
class YearlyDays:
    """From one day of the year to another, in every year, over its end where the first is the later.

    Attributes:
        first: (month, day).
        final: (month, day), belonging to it.
    """

    first: tuple[int, int]
    final: tuple[int, int]

    def __contains__(self, day: int) -> bool:
        on = date.fromordinal(day)
        at = (on.month, on.day)
        if self.first <= self.final:
            return self.first <= at <= self.final
        return at >= self.first or at <= self.final

    @property
    def last(self) -> int | None:
        return None

    @property
    def period(self) -> int:
        return _LEAP_CYCLE


@dataclass(frozen=True, slots=True)
class CronDays:
    """The day fields of cron: where day of month and day of week are both restricted, either will do.

    That is the rule of cron(5) in every implementation people know (Vixie, cronie, Kubernetes' robfig/cron).

    Attributes:
        months: bit 1 is January.
        month_days: bit 1 is the first; None where the field was "*".
        weekdays: bit 0 is Monday; None where the field was "*".
    """

    months: int
    month_days: int | None
    weekdays: int | None

    def __contains__(self, day: int) -> bool:
        on = date.fromordinal(day)
        if not self.months >> on.month & 1:
            return False
        by_date = self.month_days is not None and bool(self.month_days >> on.day & 1)
        by_weekday = self.weekdays is not None and bool(self.weekdays >> on.weekday() & 1)
        if self.month_days is None and self.weekdays is None:
            return True
        return by_date or by_weekday

    @property
    def last(self) -> int | None:
        return None

    @property
    def period(self) -> int:
        return _LEAP_CYCLE


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The days that are in any of several sets."""

    parts: tuple[Days, ...]

    def __contains__(self, day: int) -> bool:
        return any(day in part for part in self.parts)

    @property
    def last(self) -> int | None:
        ends = [part.last for part in self.parts]
        found = [end for end in ends if end is not None]
        return max(found, default=0) if len(found) == len(ends) else None

    @property
    def period(self) -> int:
        return max((part.period for part in self.parts), default=_FORTNIGHT)


def weekday_mask(first: int, final: int) -> int:
    """The days from ``first`` to ``final``, over the end of the week where the first is the later."""
    mask, day = 1 << first, first
    while day != final:
        day = (day + 1) % 7
        mask |= 1 << day
    return mask
