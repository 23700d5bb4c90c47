"""The parts of a schedule, each with the words it was written in.

A schedule is either a set of windows, on in any of them, or a set of edges, moments that ask for a start or a
stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmkit.schedule.days import Days
from vmkit.schedule.zones import Zone


class Side(StrEnum):
    """What an edge asks for."""

    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Written:
    """Where a rule stands: its words, and the column of the first, counted from 1."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class DailyWindows:
    """Hours on certain days.

    Attributes:
        source: the words.
        days: the days on which the windows start.
        spans: (start, end) in minutes since that day's midnight; an end over 1440 lies in the next day.
        zone: whose wall clock.
        dated: the days were named one by one, so that days taken out by `except` do not touch them.
    """

    source: Written
    days: Days
    spans: tuple[tuple[int, int], ...]
    zone: Zone
    dated: bool = False


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """From one instant to another, in microseconds since 1970; None is without end on that side."""

    source: Written
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Edges:
    """Times of day that ask for a start or a stop.

    Attributes:
        source: the words.
        side: which.
        days: the days on which they do.
        minutes: since that day's midnight, ascending.
        zone: whose wall clock.
        dated: as in `DailyWindows`.
    """

    source: Written
    side: Side
    days: Days
    minutes: tuple[int, ...]
    zone: Zone
    dated: bool = False


Rule = DailyWindows | FixedWindow | Edges
