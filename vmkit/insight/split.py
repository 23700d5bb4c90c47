"""What a VM's reservation is made of: base, variable load, safety, growth, redundancy, and what is just in case.

The parts follow the list that capacity planners keep (actual base consumption, variable load, reservations "just
to be safe", premature growth, redundancy). They are whole numbers and always add up to what is reserved: each part
takes at most what those before it left, and what nobody can tell is a part of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from itertools import combinations, pairwise
from statistics import median
from typing import Final

BASE_PERCENTILE_CPU: Final = 0.05
BASE_PERCENTILE_MEMORY: Final = 0.10
"""Use does not fall below the base but for so much of the running time."""
MIN_TREND_DAYS: Final = 14
"""Of fewer days no growth is read: a week's rise may be the week."""
GROWTH_HORIZON: Final = timedelta(days=30)
"""How far ahead growth is reserved for: the time it takes to get more capacity."""
_TREND_PERCENTILE: Final = 0.95
_MOST_TREND_DAYS: Final = 90


class Part(StrEnum):
    """One part of a reservation; in the order in which they take their share."""

    BASE = "base"
    """Used practically all the time."""
    VARIABLE = "variable"
    """What is used beyond the base, up to the percentile that a reservation is sized for."""
    SAFETY = "safety"
    """The margin above that: as much as the recommender adds, and no more."""
    GROWTH = "growth"
    """The measured rise of the use, over the time that more capacity takes to get."""
    REDUNDANCY = "redundancy"
    """What a group of VMs holds so that some of them may fail."""
    JUST_IN_CASE = "just_in_case"
    """All the rest: reserved, and no measurement says what for."""
    UNKNOWN = "unknown"
    """Nobody measured it."""


@dataclass(frozen=True, slots=True)
class Need:
    """What is known of a VM's use of one resource, in the unit of the reservation. None stands for "not known".

    Attributes:
        base: what is used practically always.
        target: what is used at the percentile that a reservation is sized for.
        growth_a_day: by how much the use rises; None also where the history is too short to tell.
    """

    base: float | None = None
    target: float | None = None
    growth_a_day: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """A reservation and its parts, in one unit (thousandths of a core, or bytes).

    Attributes:
        reserved: the sum of the parts, exactly.
        deficit: what the need exceeds the reservation by; 0 where it is large enough, or nobody knows.
    """

    reserved: int = 0
    base: int = 0
    variable: int = 0
    safety: int = 0
    growth: int = 0
    redundancy: int = 0
    just_in_case: int = 0
    unknown: int = 0
    deficit: int = 0

    def part(self, part: Part) -> int:
        """One part."""
        value: int = getattr(self, part.value)
        return value

    @property
    def needed(self) -> int:
        """What a measurement or a group justifies: all but what is just in case, or unknown."""
        return self.reserved - self.just_in_case - self.unknown

    def __add__(self, other: Split) -> Split:
        return Split(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Split)))

    def to_dict(self) -> dict[str, int]:
        """The numbers by name."""
        return {each.name: getattr(self, each.name) for each in fields(Split)}


def decide_split(
    reserved: float | None,
    need: Need,
    *,
    margin: float,
    horizon: timedelta = GROWTH_HORIZON,
    redundancy: float = 0.0,
) -> Split:
    """Splits what is reserved.

    Numbers that can be none (NaN, infinite, negative, missing) count as not known, and what is not known ends in
    `Split.unknown`: never in a zero that would look like waste.

    Args:
        reserved: in whole units; of a fraction the larger whole.
        need: what is known of the use.
        margin: the safety that is justified, as a share of the use (0.15).
        horizon: how long growth is reserved for.
        redundancy: the share, 0 to 1, of this VM's reservation that its group holds for failures.
    """
    total = _whole(reserved)
    share = min(max(_known(redundancy) or 0.0, 0.0), 1.0)
    target = _known(need.target)
    if target is None:
        spare = min(_floor(share * total, total), total)
        return Split(reserved=total, redundancy=spare, unknown=total - spare)
    base = min(_known(need.base) or 0.0, target)
    rise = max(_finite(need.growth_a_day) or 0.0, 0.0) * max(horizon / timedelta(days=1), 0.0)
    safety = max(_known(margin) or 0.0, 0.0) * target
    wanted = (base, target - base, safety, rise, share * total)
    ends = [0]
    reach = 0.0
    for amount in wanted:
        # Ends are rounded, not lengths: rounding errors then never add up.
        reach += amount
        ends.append(max(_floor(math.ceil(reach) if reach < math.inf else reach, total), ends[-1]))
    held, moving, safe, rising, spare = (end - begin for begin, end in pairwise(ends))
    # Redundancy is not missing where the use itself fits.
    short = max(math.ceil(min(target + safety, 2.0**63)) - total, 0)
    return Split(total, held, moving, safe, rising, spare, just_in_case=total - ends[-1], deficit=short)


def compute_percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed (nearest rank); None of no values.

    Args:
        values: sorted, and numbers.
        share: 0 to 1.
    """
    if not values:
        return None
    rank = max(math.ceil(share * len(values)), 1)
    return values[min(rank, len(values)) - 1]


def keep_amounts(values: Sequence[float]) -> list[float]:
    """The values that can be amounts, sorted: without NaN, infinities and negatives."""
    infinity = math.inf
    return sorted([value for value in values if 0.0 <= value < infinity])


def compute_slope(points: Sequence[tuple[float, float]]) -> float | None:
    """How much the second coordinate rises for each one of the first: the Theil-Sen estimator.

    It is the median of the slopes between all pairs, which a few days out of the ordinary do not move (Sen 1968,
    Journal of the American Statistical Association 63). None of fewer than two different first coordinates.
    """
    slopes = [(later[1] - early[1]) / (later[0] - early[0]) for early, later in _pairs(points)]
    return median(slopes) if slopes else None


def compute_growth(values: Sequence[float], *, step_seconds: float) -> float | None:
    """By how much a series of amounts rises a day: the Theil-Sen slope of the 95th percentile of each day.

    Days of which less than half is known do not count.

    Returns:
        None of less than `MIN_TREND_DAYS` days.
    """
    a_day = max(round(86_400 / step_seconds), 1)
    points: list[tuple[float, float]] = []
    for number, first in enumerate(range(0, len(values) - a_day + 1, a_day)):
        day = keep_amounts(values[first : first + a_day])
        high = compute_percentile(day, _TREND_PERCENTILE)
        if high is not None and len(day) * 2 >= a_day:
            points.append((float(number), high))
    if len(points) < MIN_TREND_DAYS:
        return None
    return compute_slope(points[-_MOST_TREND_DAYS:])


def _pairs(
    points: Sequence[tuple[float, float]],
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return [(early, later) for early, later in combinations(points, 2) if later[0] != early[0]]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _known(value: float | None) -> float | None:
    found = _finite(value)
    return found if found is not None and found >= 0 else None


def _whole(value: float | None) -> int:
    return math.ceil(_known(value) or 0.0)


def _floor(value: float, most: int) -> int:
    return most if value >= most else int(value)
