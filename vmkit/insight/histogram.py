"""Histograms whose samples fade with age, as the vertical pod autoscaler keeps them.

The shapes of the buckets, what counts as empty, percentiles and decay follow kubernetes/autoscaler,
vertical-pod-autoscaler/pkg/recommender/util (histogram.go, histogram_options.go, decaying_histogram.go).
Instants are seconds since 1970 UTC, because series of millions of samples pass through here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_YEAR_ONE_SECONDS: Final = 62_135_596_800
"""From the year 1, where Go's instants begin, to 1970: the autoscaler rounds reference instants from there."""
_MAX_DECAY_EXPONENT: Final = 100
"""So many half-lives after its reference a histogram is scaled down, before the weights outgrow a float
(decaying_histogram.go maxDecayExponent)."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """How values are divided.

    Attributes:
        starts: where each bucket begins, ascending, the first at 0. Values below belong to the first bucket,
            values beyond to the last.
        epsilon: a bucket of less weight counts as empty.
    """

    starts: tuple[float, ...]
    epsilon: float

    def find(self, value: float) -> int:
        """The number of the bucket that holds ``value``."""
        return max(0, bisect_right(self.starts, value) - 1)


def build_linear_buckets(*, max_value: float, bucket_size: float, epsilon: float) -> Buckets:
    """Buckets of one size, the last of which begins at ``max_value`` or just after."""
    count = math.ceil(max_value / bucket_size) + 1
    return Buckets(tuple(bucket_size * number for number in range(count)), epsilon)


def build_exponential_buckets(
    *, max_value: float, first_bucket_size: float, ratio: float, epsilon: float
) -> Buckets:
    """Buckets each ``ratio`` times as wide as the one before, the last beginning at ``max_value`` or after."""
    count = math.ceil(math.log(max_value * (ratio - 1) / first_bucket_size + 1) / math.log(ratio)) + 1
    starts = tuple(first_bucket_size * (ratio**number - 1) / (ratio - 1) for number in range(count))
    return Buckets(starts, epsilon)


class Histogram:
    """Weights by bucket."""

    __slots__ = ("buckets", "total", "weights")

    def __init__(self, buckets: Buckets) -> None:
        self.buckets = buckets
        self.weights: list[float] = [0.0] * len(buckets.starts)
        self.total = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether no bucket has any weight to speak of."""
        return max(self.weights) < self.buckets.epsilon

    def add(self, value: float, weight: float) -> None:
        """Counts ``value`` with ``weight`` (not negative)."""
        self.weights[self.buckets.find(value)] += weight
        self.total += weight

    def subtract(self, value: float, weight: float) -> None:
        """Takes back what was added; what is left of less than epsilon becomes nothing."""
        epsilon, bucket = self.buckets.epsilon, self.buckets.find(value)
        rest, total = self.weights[bucket] - weight, self.total - weight
        self.weights[bucket] = rest if rest >= epsilon else 0.0
        self.total = total if total >= epsilon else 0.0

    def scale(self, factor: float) -> None:
        """Multiplies every weight."""
        self.weights = [weight * factor for weight in self.weights]
        self.total *= factor

    def merge(self, other: Histogram) -> None:
        """Adds the weights of another histogram with the same buckets."""
        self.weights = [mine + theirs for mine, theirs in zip(self.weights, other.weights, strict=True)]
        self.total += other.total

    def compute_percentile(self, share: float) -> float:
        """The value that ``share`` (0.9 for the 90th percentile) of the weight does not exceed.

        It is the upper edge of the bucket where that share is reached, so it is never below what was measured
        there; in the last bucket, which has no upper edge, its start. 0 when there are no samples.
        """
        if self.is_empty:
            return 0.0
        epsilon, starts = self.buckets.epsilon, self.buckets.starts
        filled = [number for number, weight in enumerate(self.weights) if weight >= epsilon]
        threshold, reached, found = share * self.total, 0.0, filled[-1]
        for number in range(filled[0], filled[-1]):
            reached += self.weights[number]
            if reached >= threshold:
                found = number
                break
        return starts[min(found + 1, len(starts) - 1)]


class DecayingHistogram:
    """A histogram in which a sample weighs half as much as one a half-life younger."""

    __slots__ = ("_reference_seconds", "half_life_seconds", "histogram")

    def __init__(self, buckets: Buckets, *, half_life_seconds: float) -> None:
        self.histogram = Histogram(buckets)
        self.half_life_seconds = half_life_seconds
        # Instead of every older sample losing weight, newer ones gain it, counted from this instant.
        self._reference_seconds: float = -_YEAR_ONE_SECONDS

    @property
    def is_empty(self) -> bool:
        return self.histogram.is_empty

    def add(self, value: float, weight: float, at_seconds: float) -> None:
        """Counts ``value``, measured at that instant, with ``weight``."""
        self.histogram.add(value, weight * self._compute_gain(at_seconds))

    def subtract(self, value: float, weight: float, at_seconds: float) -> None:
        """Takes back what was added for that instant."""
        self.histogram.subtract(value, weight * self._compute_gain(at_seconds))

    def add_series(
        self, values: Sequence[float], weight: float, *, start_seconds: float, step_seconds: float
    ) -> int:
        """Counts a series, one value a step; NaN, infinite and negative values are gaps.

        The same as `add` for each, only faster.

        Returns:
            How many values were counted.
        """
        if not values:
            return 0
        # The reference is set by the first value, as it would be one by one, and moved if the last needs it.
        self._compute_gain(start_seconds)
        self._compute_gain(start_seconds + step_seconds * (len(values) - 1))
        offset = start_seconds - self._reference_seconds
        gains = _compute_gains(offset, step_seconds, len(values), self.half_life_seconds)
        starts, weights, infinity = self.histogram.buckets.starts, self.histogram.weights, math.inf
        count, gained = 0, 0.0
        for value, gain in zip(values, gains, strict=True):
            if 0.0 <= value < infinity:
                weights[bisect_right(starts, value) - 1] += weight * gain
                gained += gain
                count += 1
        self.histogram.total += weight * gained
        return count

    def merge(self, other: DecayingHistogram) -> None:
        """Adds the samples of another histogram with the same buckets and half-life; it is left as it was."""
        self._shift_reference(max(self._reference_seconds, other._reference_seconds))
        moved = Histogram(other.histogram.buckets)
        moved.merge(other.histogram)
        moved.scale(2.0 ** self._count_half_lives(other._reference_seconds))
        self.histogram.merge(moved)

    def compute_percentile(self, share: float) -> float:
        """As `Histogram.compute_percentile`, of the weights as they have faded."""
        return self.histogram.compute_percentile(share)

    def _compute_gain(self, at_seconds: float) -> float:
        exponent = self._count_half_lives(at_seconds)
        if exponent > _MAX_DECAY_EXPONENT:
            self._shift_reference(at_seconds)
            exponent = self._count_half_lives(at_seconds)
        return float(2.0**exponent)

    def _count_half_lives(self, at_seconds: float) -> float:
        return (at_seconds - self._reference_seconds) / self.half_life_seconds

    def _shift_reference(self, at_seconds: float) -> None:
        # The reference moves by whole half-lives, so that scaling by a power of two loses nothing.
        since = (at_seconds + _YEAR_ONE_SECONDS) / self.half_life_seconds
        reference = math.floor(since + 0.5) * self.half_life_seconds - _YEAR_ONE_SECONDS
        moved = round((reference - self._reference_seconds) / self.half_life_seconds)
        # Two to a power far below any float is nothing.
        self.histogram.scale(math.ldexp(1.0, -moved))
        self._reference_seconds = reference


@lru_cache(maxsize=64)
def _compute_gains(
    offset_seconds: float, step_seconds: float, count: int, half_life_seconds: float
) -> tuple[float, ...]:
    # The VMs of a fleet are read on one grid of instants, so one table serves them all.
    return tuple(2.0 ** ((offset_seconds + step_seconds * number) / half_life_seconds) for number in range(count))
