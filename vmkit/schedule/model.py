"""The value that a schedule's text becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from vmkit.schedule.days import Days
from vmkit.schedule.edges import edge_stretch, moment_of
from vmkit.schedule.rules import DailyWindows, Edges, FixedWindow, Rule, Side
from vmkit.schedule.timetable import FOREVER, Stretch, Timetable, Wish
from vmkit.schedule.windows import REACH_DAYS, day_windows, merged_windows
from vmkit.schedule.zones import FIRST_DAY, LAST_DAY, Zone, from_microseconds, to_microseconds, utc_day


@dataclass(frozen=True, slots=True)
class Schedule(Timetable):
    """When a machine should run; made by `parse_schedule`.

    Attributes:
        text: the words, as given.
        dialect: None for vmkit's own grammar, "python" or "go" for the downscalers'.
        rules: its parts, in the order written: all windows, or all edges.
        exceptions: days taken out by `except`; None where there are none.
        zone: the first zone named, for showing local times; None where only instants are named.
        turns_off: the windows say when the machine should be *off*.
    """

    text: str
    dialect: str | None = None
    rules: tuple[Rule, ...] = ()
    exceptions: Days | None = None
    zone: Zone | None = None
    turns_off: bool = False
    windows: tuple[DailyWindows | FixedWindow, ...] = field(init=False, repr=False, compare=False)
    edges: tuple[Edges, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        windows = tuple(rule for rule in self.rules if not isinstance(rule, Edges))
        object.__setattr__(self, "windows", windows)
        object.__setattr__(self, "edges", tuple(rule for rule in self.rules if isinstance(rule, Edges)))

    def __str__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash((self.text, self.dialect, self.turns_off))

    def as_downtime(self) -> Schedule:
        """The same words read as the time in which the machine should be off.

        In an hour that the clock repeats it is switched off late and on early: the doubt leaves it on.
        """
        return replace(self, turns_off=not self.turns_off)

    @property
    def is_one_sided(self) -> bool:
        """Whether it only ever starts, or only ever stops."""
        return len({rule.side for rule in self.edges}) == 1

    def compute_stretch(self, instant: int) -> Stretch:
        if self.edges:
            return self._with_purpose(edge_stretch(self.edges, self.exceptions, instant))
        begin, end, inside = instant, FOREVER, False
        for window in merged_windows(self.windows, self.exceptions, instant, turns_off=self.turns_off):
            inside = window[0] <= instant
            begin, end = window if inside else (instant, window[0])
            break
        on = inside is not self.turns_off
        return Stretch(begin, end, Wish.ON if on else Wish.OFF, Side.STOP if on else Side.START, on)

    def _with_purpose(self, stretch: Stretch) -> Stretch:
        if not self.turns_off:
            return stretch
        wish = {Wish.ON: Wish.OFF, Wish.OFF: Wish.ON, Wish.ANY: Wish.ANY}[stretch.wish]
        side = Side.STOP if stretch.next_side is Side.START else Side.START  # edges always have one
        return Stretch(stretch.begin, stretch.end, wish, side, not stretch.active)

    def rules_at(self, at: datetime) -> tuple[Rule, ...]:
        """The rules that decide at this instant: the windows that hold it, or the edges last passed.

        Empty where no window holds it.

        Raises:
            ScheduleError: ``at`` has no time zone.
        """
        instant = to_microseconds(at)
        if self.edges:
            begin = self.compute_stretch(instant).begin
            return tuple(rule for rule in self.edges if moment_of(rule, begin))
        return tuple(rule for rule in self.windows if any(a <= instant < b for a, b in self._near(rule, instant)))

    def rules_of_transition(self, at: datetime) -> tuple[Rule, ...]:
        """The rules that make the transition at this instant: those with an edge there."""
        instant = to_microseconds(at)
        if self.edges:
            return tuple(rule for rule in self.edges if moment_of(rule, instant))
        return tuple(
            rule for rule in self.windows if any(instant in window for window in self._near(rule, instant))
        )

    def _near(self, rule: DailyWindows | FixedWindow, instant: int) -> Iterator[tuple[int, int]]:
        if isinstance(rule, FixedWindow):
            yield (-FOREVER if rule.start is None else rule.start, FOREVER if rule.end is None else rule.end)
            return
        day = utc_day(instant)
        first, stop = max(day - REACH_DAYS, FIRST_DAY), min(day + 2, LAST_DAY)
        yield from day_windows(rule, first, stop, self.exceptions, turns_off=self.turns_off)

    def skipped_windows(self, start: datetime, end: datetime) -> tuple[tuple[datetime, Rule], ...]:
        """The windows that a change of the clock swallows whole, with the instant of that change.

        On such a day the window does not happen: the hour it lies in does not exist.

        Args:
            start: from when to look.
            end: until when.
        """
        found: list[tuple[datetime, Rule]] = []
        first = max(utc_day(to_microseconds(start)) - 1, FIRST_DAY)
        stop = min(utc_day(to_microseconds(end)) + 1, LAST_DAY)
        for rule in self.windows:
            if not isinstance(rule, DailyWindows):
                continue
            spared = None if rule.dated else self.exceptions
            for day in range(first, stop):
                if rule.zone.is_regular(day) or day not in rule.days or (spared is not None and day in spared):
                    continue
                for span in rule.spans:
                    begin = rule.zone.resolve(day, span[0], last=self.turns_off)
                    if begin >= rule.zone.resolve(day, span[1], last=not self.turns_off):
                        at = from_microseconds(begin)
                        if start <= at < end:
                            found.append((at, rule))
        return tuple(sorted(found, key=lambda item: item[0]))
