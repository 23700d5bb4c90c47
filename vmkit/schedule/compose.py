"""Several schedules as one, the ways the downscalers put them together."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from vmkit.schedule.rules import Side
from vmkit.schedule.timetable import FOREVER, Stretch, Timetable, Wish

_MAX_STEPS = 20_000
"""Boundaries of the parts that change nothing together; beyond so many nothing is going to."""


@dataclass(frozen=True, slots=True)
class _Combined(Timetable):
    @abstractmethod
    def parts(self) -> tuple[Timetable, ...]:
        """What it is made of."""

    @abstractmethod
    def combine(self, stretches: tuple[Stretch, ...]) -> Wish:
        """What the parts want together."""

    def compute_stretch(self, instant: int) -> Stretch:
        stretches = tuple(part.stretch_at(instant) for part in self.parts())
        begin, wish = max(one.begin for one in stretches), self.combine(stretches)
        end = min(one.end for one in stretches)
        for _ in range(_MAX_STEPS):
            if end >= FOREVER:
                break
            stretches = tuple(part.stretch_at(end) for part in self.parts())
            after = self.combine(stretches)
            if after is not wish:
                side = {Wish.ON: Side.START, Wish.OFF: Side.STOP, Wish.ANY: None}[after]
                return Stretch(begin, end, wish, side, wish is Wish.ON)
            end = min(one.end for one in stretches)
        return Stretch(begin, FOREVER, wish, None, wish is Wish.ON)


@dataclass(frozen=True, slots=True)
class UpWithoutDown(_Combined):
    """On in one schedule and not in the other: uptime and downtime, given at once.

    Attributes:
        up: when it should run.
        down: made by `Schedule.as_downtime`: active outside its windows.
    """

    up: Timetable
    down: Timetable

    def parts(self) -> tuple[Timetable, ...]:
        return (self.up, self.down)

    def combine(self, stretches: tuple[Stretch, ...]) -> Wish:
        return Wish.ON if all(one.active for one in stretches) else Wish.OFF


@dataclass(frozen=True, slots=True)
class Periods(_Combined):
    """Started when one schedule begins and stopped when another does; left alone outside both, and inside both.

    Attributes:
        up: the upscale period.
        down: the downscale period, as written: active inside its windows.
    """

    up: Timetable
    down: Timetable

    def parts(self) -> tuple[Timetable, ...]:
        return (self.up, self.down)

    def combine(self, stretches: tuple[Stretch, ...]) -> Wish:
        up, down = stretches
        if up.active == down.active:
            return Wish.ANY
        return Wish.ON if up.active else Wish.OFF
