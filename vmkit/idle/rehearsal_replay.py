"""A measure over a moving lookback: prepared once for a VM, asked at every hour. Pure.

A history has twelve steps an hour, and a rehearsal asks at every hour about two weeks: whether a limit was ever
reached is therefore told from running counts, and the number itself is computed only where the answer matters.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import accumulate

from vmkit.idle.policy import Criterion
from vmkit.idle.rehearsal_history import STEP, STEPS_AN_HOUR, UP, VmHistory
from vmkit.metrics.summary import Measure

_ABSENT = -1.0


def count_up(flags: Iterable[bool]) -> array[int]:
    """Running counts: how many were true before each place."""
    return array("l", accumulate(flags, initial=0))


class Course:
    """A measure's rates in every step in which the VM ran.

    Args:
        history: of the VM.
        measure: what is looked at.
        ran: running counts of the steps in which it ran; see `count_up`.
    """

    def __init__(self, history: VmHistory, measure: Measure) -> None:
        raw = history.signal(measure.signal)
        assert raw is not None
        plain = array(
            "f",
            (
                value if state == UP and value >= 0 and value != math.inf else _ABSENT
                for value, state in zip(raw, history.states, strict=True)
            ),
        )
        self.known = count_up(value >= 0 for value in plain)
        self._values = _smooth(plain, self.known, measure.rate_window)
        self._tile = max(1, (measure.peak_window or STEP) // STEP)
        self._percentile = measure.percentile
        # Of the maximum only the largest of each hour matters; of peaks only each peak.
        self._block = STEPS_AN_HOUR if measure.percentile == 100 else self._tile
        self._peaks = [max(self._values[at : at + self._block]) for at in range(0, len(self._values), self._block)]
        self._span = None if measure.span is None else measure.span // STEP
        self._reached: dict[tuple[float, bool], array[int]] = {}

    def is_low(self, criterion: Criterion, vcpus: int, first: int, last: int) -> bool:
        """Whether a criterion can be met by the steps from ``first`` up to ``last``; False is certain."""
        if self._span is not None:
            first = max(first, last - self._span)
        reached = self._counts(criterion, vcpus)
        over = reached[last] - reached[first]
        if not over:
            return True
        if self._percentile == 100:
            return False
        if self._tile > 1:
            value = self.value(first, last)
            return value is None or criterion.is_met(value, vcpus)
        count = self.known[last] - self.known[first]
        return over <= count - 1 - math.floor(self._percentile / 100 * (count - 1))

    def _counts(self, criterion: Criterion, vcpus: int) -> array[int]:
        key = (criterion.resolve(vcpus), criterion.inclusive)
        if key not in self._reached:
            limit, inclusive = key
            self._reached[key] = count_up(value > limit if inclusive else value >= limit for value in self._values)
        return self._reached[key]

    def value(self, first: int, last: int) -> float | None:
        """The measure over these steps, as Prometheus computes it; None where there are no samples."""
        if self._span is not None:
            first = max(first, last - self._span)
        values: Sequence[float]
        if first % self._block == 0 and last % self._block == 0:
            values = self._peaks[first // self._block : last // self._block]
        else:
            values = self._values[first:last]
            values = [max(values[at : at + self._tile]) for at in range(0, len(values), self._tile)]
        if self._percentile == 100:
            most = max(values, default=_ABSENT)
            return most if most >= 0 else None
        return quantile([value for value in values if value >= 0], self._percentile / 100)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The quantile with straight lines between ranks, as promql/quantile.go has it."""
    if not values:
        return None
    ordered = sorted(values)
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _smooth(values: array[float], known: array[int], window: timedelta) -> array[float]:
    """Rates over a longer window: the mean of the steps that are known in it."""
    width = window // STEP
    if width <= 1:
        return values
    sums = array("d", accumulate((max(value, 0.0) for value in values), initial=0.0))
    smooth = array("f", bytes(4 * len(values)))
    for end in range(1, len(values) + 1):
        begin = max(0, end - width)
        count = known[end] - known[begin]
        # Sums of floats that were added and taken away again can end a little below nothing.
        smooth[end - 1] = max(0.0, sums[end] - sums[begin]) / count if count else _ABSENT
    return smooth
