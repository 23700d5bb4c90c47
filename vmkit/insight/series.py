"""What VMs used over time: one grid of instants for all, gaps as NaN."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Protocol

from vmkit.errors import UsageError
from vmkit.metrics.summary import Unknown
from vmkit.vm.reference import VmRef

_MOST_SAMPLES = 11_000
"""Prometheus refuses to return more points of one series (web/api/v1: maximum resolution)."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants at which use is read: ``count`` of them, a step apart, from ``start_seconds`` (Unix)."""

    start_seconds: float
    step_seconds: float
    count: int

    @property
    def end_seconds(self) -> float:
        """The last instant."""
        return self.start_seconds + (self.count - 1) * self.step_seconds

    @property
    def start(self) -> datetime:
        """The first instant."""
        return datetime.fromtimestamp(self.start_seconds, UTC)

    @property
    def end(self) -> datetime:
        """The last instant."""
        return datetime.fromtimestamp(self.end_seconds, UTC)

    def fill(self) -> array[float]:
        """A series of gaps."""
        return array("d", [math.nan]) * self.count


def build_grid(at: datetime, lookback: timedelta, step: timedelta) -> Grid:
    """The grid that ends at the last whole step before an instant.

    Raises:
        UsageError: the step is none, the lookback is shorter than two steps, or there would be more instants than
            Prometheus returns.
    """
    seconds, span = step.total_seconds(), lookback.total_seconds()
    if seconds < 1:
        raise UsageError("a step is at least a second", hint='give it as "5m"')
    count = int(span // seconds)
    if count < 2:
        raise UsageError("the lookback is shorter than two steps", hint='as "8d" with a step of "5m"')
    if count > _MOST_SAMPLES:
        raise UsageError(
            f"{count} samples a VM are more than Prometheus returns ({_MOST_SAMPLES})",
            hint="make the step longer, or the lookback shorter",
        )
    end = at.timestamp() // seconds * seconds
    return Grid(end - (count - 1) * seconds, seconds, count)


@dataclass(frozen=True, slots=True)
class VmSeries:
    """One VM's use.

    Attributes:
        ref: the VM.
        cpu_cores: cores in use; NaN where it did not run, or nobody measured.
        memory_bytes: bytes in use inside the guest, likewise.
        problems: what is not known and why; a series with a problem is all gaps.
    """

    ref: VmRef
    cpu_cores: array[float]
    memory_bytes: array[float]
    problems: tuple[Unknown, ...] = ()


class SeriesSource(Protocol):
    """Where use is read from."""

    def read(self, refs: Collection[VmRef], grid: Grid) -> Iterator[VmSeries]:
        """Each VM's use, one at a time, in any order; every reference is answered exactly once.

        What is wrong with a part is a problem of the VMs it concerns.

        Raises:
            VmkitError: nothing can be read at all.
        """

    @property
    def notices(self) -> tuple[str, ...]:
        """What the source said about its own answers."""


def clean(values: array[float]) -> array[float]:
    """The same, with a gap wherever there is no amount: NaN, infinite, negative."""
    infinity, gap = math.inf, math.nan
    return array("d", [value if 0.0 <= value < infinity else gap for value in values])


@dataclass(slots=True)
class Peaks:
    """The sum of peaks of a fleet, and the peak of its sum, as series pass by one at a time."""

    grid: Grid
    sum_of_peaks: float = 0.0
    totals: array[float] = field(default_factory=lambda: array("d"))

    def __post_init__(self) -> None:
        self.totals = array("d", bytes(8 * self.grid.count))

    def add(self, values: array[float]) -> None:
        """Counts a cleaned series; in its gaps it used nothing."""
        filled = [value if value == value else 0.0 for value in values]  # noqa: PLR0124 - NaN is not itself
        self.sum_of_peaks += max(filled, default=0.0)
        self.totals = array("d", map(add, self.totals, filled))

    @property
    def coincident(self) -> float:
        """The largest sum at any one instant."""
        return max(self.totals, default=0.0)

    def percentile(self, share: float) -> float:
        """The sum that is not exceeded for ``share`` of the time."""
        ordered = sorted(self.totals)
        return ordered[min(max(math.ceil(share * len(ordered)), 1), len(ordered)) - 1] if ordered else 0.0

    def course(self, points: int) -> tuple[tuple[datetime, float], ...]:
        """The sum over time, in at most so many stretches: the largest of each."""
        width = max(math.ceil(self.grid.count / points), 1)
        start, step = self.grid.start_seconds, self.grid.step_seconds
        return tuple(
            (datetime.fromtimestamp(start + first * step, UTC), max(self.totals[first : first + width]))
            for first in range(0, self.grid.count, width)
        )

    @property
    def diversity(self) -> float | None:
        """How many times the coincident peak the sum of peaks is; None where nothing was used."""
        return self.sum_of_peaks / self.coincident if self.coincident > 0 else None
