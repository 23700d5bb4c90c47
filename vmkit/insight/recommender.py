"""What a VM needs, by the rules of the vertical pod autoscaler's recommender.

The arithmetic and its constants follow kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender (VPA 1.7.1):
model/container.go, model/aggregate_container_state.go, logic/estimator.go, logic/recommender.go,
model/aggregations_config.go. Two things differ, because a VM is not a container: time in which the VM was stopped
is a gap and says nothing, and a sample counts for as many minutes as lie between two of them, so that confidence
follows time and not how often somebody looked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vmkit.insight.histogram import Buckets, DecayingHistogram, build_exponential_buckets

MAX_AMOUNT: Final = 10**14
"""The largest amount the recommender speaks of (model/types.go MaxResourceAmount); more confidence is needed to
say less."""

CPU_BUCKETS: Final[Buckets] = build_exponential_buckets(
    max_value=1000.0, first_bucket_size=0.01, ratio=1.05, epsilon=0.0001
)
"""Cores (aggregations_config.go)."""
MEMORY_BUCKETS: Final[Buckets] = build_exponential_buckets(
    max_value=1e12, first_bucket_size=1e7, ratio=1.05, epsilon=0.0001
)
"""Bytes (aggregations_config.go)."""

_CPU_WEIGHT: Final = 0.1
_MEMORY_WEIGHT: Final = 1.0
_OOM_FACTOR: Final = 1.2
_OOM_MIN_BYTES: Final = 100 * 2**20


class Resources(NamedTuple):
    """Whole thousandths of a core, and bytes."""

    cpu_millicores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """How a bound widens while little is known: its amount times (1 + multiplier / confidence) ^ exponent."""

    multiplier: float
    exponent: float

    def compute_factor(self, confidence: float) -> float:
        """The factor for a confidence: 1 stands for one interval of samples; 0 for none."""
        base = 1.0 + self.multiplier / confidence if confidence > 0 else math.inf
        return math.inf if base == math.inf and self.exponent > 0 else base**self.exponent


@dataclass(frozen=True, slots=True)
class Settings:
    """The recommender's settings, with its defaults (config/config.go, logic/recommender.go).

    Attributes:
        half_life_seconds: how long until a sample weighs half.
        memory_window_seconds: of memory, one peak for each window counts.
        target_percentile: what the target is read at; lower_percentile and upper_percentile likewise.
        margin: the share added to what is read.
        confidence_seconds: the time of samples that makes a confidence of 1.
        min_cpu_millicores: nothing less is recommended; min_memory_bytes likewise.
    """

    half_life_seconds: float = 86_400.0
    memory_window_seconds: float = 86_400.0
    target_percentile: float = 0.9
    lower_percentile: float = 0.5
    upper_percentile: float = 0.95
    margin: float = 0.15
    confidence_seconds: float = 86_400.0
    lower_confidence: Confidence = Confidence(0.001, -2.0)
    upper_confidence: Confidence = Confidence(1.0, 1.0)
    min_cpu_millicores: int = 25
    min_memory_bytes: int = 250 * 2**20


DEFAULTS: Final = Settings()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a VM needs.

    Attributes:
        target: what it should have.
        lower: with less it would suffer; upper: more is waste.
        confidence: days' worth of samples behind it: 1 is a day of them.
        sample_minutes: how many minutes of running the CPU samples speak for.
    """

    target: Resources
    lower: Resources
    upper: Resources
    confidence: float
    sample_minutes: float


class UsageHistory:
    """What a VM used, gathered for a recommendation. Instants are seconds since 1970 UTC."""

    __slots__ = (
        "_first_cpu_seconds",
        "_last_cpu_seconds",
        "_last_memory_seconds",
        "_oom_peak",
        "_settings",
        "_usage_peak",
        "_window_end_seconds",
        "cpu",
        "memory",
        "sample_minutes",
    )

    def __init__(self, settings: Settings = DEFAULTS) -> None:
        self.cpu = DecayingHistogram(CPU_BUCKETS, half_life_seconds=settings.half_life_seconds)
        self.memory = DecayingHistogram(MEMORY_BUCKETS, half_life_seconds=settings.half_life_seconds)
        self.sample_minutes = 0.0
        self._settings = settings
        self._first_cpu_seconds: float | None = None
        self._last_cpu_seconds: float | None = None
        self._window_end_seconds: float | None = None
        self._last_memory_seconds: float | None = None
        self._usage_peak = self._oom_peak = 0.0

    def add_cpu(self, at_seconds: float, cores: float, *, minutes: float = 1.0) -> bool:
        """Counts the cores used over the ``minutes`` from that instant.

        Returns:
            False, and nothing is counted, when it is no amount (NaN, infinite, negative), or not newer.
        """
        if not 0.0 <= cores < math.inf:
            return False
        if self._last_cpu_seconds is not None and at_seconds <= self._last_cpu_seconds:
            return False
        self.cpu.add(cores, _CPU_WEIGHT, at_seconds)
        self._note_cpu(at_seconds, at_seconds, minutes)
        return True

    def add_cpu_series(self, cores: Sequence[float], *, start_seconds: float, step_seconds: float) -> int:
        """Counts a series of cores used, one value a step; NaN, infinite and negative values are gaps.

        Returns:
            How many values were counted: none when the series does not begin after what was counted before.
        """
        if self._last_cpu_seconds is not None and start_seconds <= self._last_cpu_seconds:
            return 0
        count = self.cpu.add_series(cores, _CPU_WEIGHT, start_seconds=start_seconds, step_seconds=step_seconds)
        if count:
            known = [number for number, value in enumerate(cores) if 0.0 <= value < math.inf]
            first, last = (start_seconds + step_seconds * number for number in (known[0], known[-1]))
            self._note_cpu(first, last, count * step_seconds / 60)
        return count

    def add_memory(self, at_seconds: float, used_bytes: float) -> bool:
        """Counts bytes in use at that instant; of each window only the peak stays.

        Returns:
            False, and nothing is counted, when it is no amount, or older than the last. A running guest uses
            some memory, so 0 is no amount.
        """
        if not 0.0 < used_bytes < math.inf:
            return False
        if self._last_memory_seconds is not None and at_seconds < self._last_memory_seconds:
            return False
        self._add_peak(at_seconds, used_bytes, is_oom=False)
        return True

    def add_memory_series(self, used_bytes: Sequence[float], *, start_seconds: float, step_seconds: float) -> int:
        """Counts a series of bytes in use, one value a step; what is no amount is a gap.

        Returns:
            How many values were counted.
        """
        if self._last_memory_seconds is not None:
            instants = (start_seconds + step_seconds * number for number in range(len(used_bytes)))
            return sum(self.add_memory(at, used) for at, used in zip(instants, used_bytes, strict=True))
        # Nothing is known yet, so the windows begin at the first value, and their peaks can be found directly.
        window = self._settings.memory_window_seconds
        known = [(number, used) for number, used in enumerate(used_bytes) if 0.0 < used < math.inf]
        peaks: dict[int, tuple[float, float]] = {}
        for number, used in known:
            index = int((number - known[0][0]) * step_seconds // window)
            if index not in peaks or used > peaks[index][1]:
                peaks[index] = (start_seconds + step_seconds * number, used)
        if known:
            # The first value opens the first window, whatever its peak; the rest follow in their order.
            self._window_end_seconds = start_seconds + step_seconds * known[0][0]
            for at_seconds, used in peaks.values():
                self._add_peak(at_seconds, used, is_oom=False)
            self._last_memory_seconds = start_seconds + step_seconds * known[-1][0]
        return len(known)

    def add_out_of_memory(self, at_seconds: float, reserved_bytes: float) -> bool:
        """Counts a guest that ran out of its memory: it is taken to need a fifth more, at least 100 MiB.

        The peak of an earlier such event is left out of it, so that a row of them does not run away.

        Returns:
            False, and nothing is counted, when it is more than a window older than the last memory sample.
        """
        if not 0.0 <= reserved_bytes < math.inf:
            return False
        last = self._last_memory_seconds
        if last is not None and at_seconds < last - self._settings.memory_window_seconds:
            return False
        used = max(reserved_bytes, self._usage_peak)
        needed = max(used + _OOM_MIN_BYTES, float(int(used * _OOM_FACTOR)))
        self._add_peak(at_seconds, needed, is_oom=True)
        return True

    def compute_confidence(self, interval_seconds: float = 86_400.0) -> float:
        """How much the samples speak for: their time span or their minutes, whichever is less, in intervals."""
        if self._first_cpu_seconds is None or self._last_cpu_seconds is None:
            return 0.0
        lifespan = (self._last_cpu_seconds - self._first_cpu_seconds) / interval_seconds
        return min(lifespan, self.sample_minutes / (interval_seconds / 60))

    def _note_cpu(self, first_seconds: float, last_seconds: float, minutes: float) -> None:
        if self._first_cpu_seconds is None:
            self._first_cpu_seconds = first_seconds
        self._last_cpu_seconds = last_seconds
        self.sample_minutes += minutes

    def _add_peak(self, at_seconds: float, amount: float, *, is_oom: bool) -> None:
        self._last_memory_seconds = at_seconds
        end = at_seconds if self._window_end_seconds is None else self._window_end_seconds
        if at_seconds < end:
            peak = max(self._usage_peak, self._oom_peak)
            if not 0.0 < peak < amount:
                return
            self.memory.subtract(peak, _MEMORY_WEIGHT, end)
        else:
            window = self._settings.memory_window_seconds
            end += ((at_seconds - end) // window + 1) * window
            self._usage_peak = self._oom_peak = 0.0
        self._window_end_seconds = end
        self.memory.add(amount, _MEMORY_WEIGHT, end)
        if is_oom:
            self._oom_peak = amount
        else:
            self._usage_peak = amount


def scale_amount(amount: int, factor: float) -> int:
    """An amount times a factor, cut to a whole number from 0 to `MAX_AMOUNT` (model/types.go ScaleResource)."""
    scaled = amount * factor
    if math.isnan(scaled):  # nothing times infinity: nothing is known
        return MAX_AMOUNT
    return int(min(max(scaled, 0.0), float(MAX_AMOUNT)))


def scale_resources(resources: Resources, factor: float) -> Resources:
    """Both amounts times a factor."""
    return Resources(scale_amount(resources.cpu_millicores, factor), scale_amount(resources.memory_bytes, factor))


def compute_usage(history: UsageHistory, *, percentile: float) -> Resources:
    """What was used, at a percentile, without any margin."""
    return Resources(
        scale_amount(1000, history.cpu.compute_percentile(percentile)),
        scale_amount(1, history.memory.compute_percentile(percentile)),
    )


def decide_recommendation(history: UsageHistory, settings: Settings = DEFAULTS) -> Recommendation | None:
    """What the VM needs, or None when CPU or memory has no samples: what is not known is not recommended."""
    if history.cpu.is_empty or history.memory.is_empty:
        return None
    confidence = history.compute_confidence(settings.confidence_seconds)

    def estimate(percentile: float, widening: Confidence | None) -> Resources:
        resources = scale_resources(compute_usage(history, percentile=percentile), 1.0 + settings.margin)
        if widening is not None:
            resources = scale_resources(resources, widening.compute_factor(confidence))
        return Resources(
            max(resources.cpu_millicores, settings.min_cpu_millicores),
            max(resources.memory_bytes, settings.min_memory_bytes),
        )

    return Recommendation(
        target=estimate(settings.target_percentile, None),
        lower=estimate(settings.lower_percentile, settings.lower_confidence),
        upper=estimate(settings.upper_percentile, settings.upper_confidence),
        confidence=confidence,
        sample_minutes=history.sample_minutes,
    )
