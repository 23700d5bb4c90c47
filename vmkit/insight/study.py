"""What one VM's series say about its need: looked at once, while they pass by. Pure."""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from typing import Final

from vmkit.insight.recommender import DEFAULTS, Recommendation, Settings, UsageHistory, decide_recommendation
from vmkit.insight.series import Grid, VmSeries
from vmkit.insight.shape import Shape
from vmkit.insight.split import (
    BASE_PERCENTILE_CPU,
    BASE_PERCENTILE_MEMORY,
    Need,
    compute_growth,
    compute_percentile,
    keep_amounts,
)
from vmkit.metrics.summary import Unknown

_IMPOSSIBLE: Final = 4
"""No guest used so many times the size it has: such a sample is the meter's mistake. A VM may have been larger
before, and hypervisor threads count as well, so there is room below."""
_MIN_SAMPLES: Final = 12
NOT_KNOWN: Final = Need()


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of one VM's need.

    Attributes:
        cpu, memory: for the split of the reservation, in thousandths of a core and in bytes.
        recommendation: what it needs; None where CPU or memory is not known well enough.
        cpu_share, memory_share: the share of the time, 0 to 1, for which there are samples.
        peak_cpu_millicores, peak_memory_bytes: the most it used; None where nobody knows.
        last_seconds: when it was last seen using something (Unix seconds); None for never.
        problems: what is not known and why.
    """

    cpu: Need = NOT_KNOWN
    memory: Need = NOT_KNOWN
    recommendation: Recommendation | None = None
    cpu_share: float = 0.0
    memory_share: float = 0.0
    peak_cpu_millicores: float | None = None
    peak_memory_bytes: float | None = None
    last_seconds: float | None = None
    problems: tuple[Unknown, ...] = ()


def bound_series(series: VmSeries, shape: Shape | None) -> tuple[VmSeries, tuple[Unknown, ...]]:
    """The series without what cannot be: a gap wherever a sample is no amount, or far beyond the VM's size."""
    problems: list[Unknown] = []
    vcpus = shape.vcpus if shape is not None else None
    memory = shape.memory_bytes if shape is not None else None
    cpu = _bound(series.cpu_cores, _IMPOSSIBLE * (vcpus + 1) if vcpus else None, "CPU", problems)
    used = _bound(series.memory_bytes, _IMPOSSIBLE * memory if memory else None, "memory", problems)
    return VmSeries(series.ref, cpu, used, series.problems), tuple(problems)


def study_vm(series: VmSeries, grid: Grid, settings: Settings = DEFAULTS) -> Study:
    """What a VM's series say. The series are clean (`bound_series`): gaps are NaN, all else are amounts."""
    start, step = grid.start_seconds, grid.step_seconds
    history = UsageHistory(settings)
    cpu_count = history.add_cpu_series(series.cpu_cores, start_seconds=start, step_seconds=step)
    memory_count = history.add_memory_series(series.memory_bytes, start_seconds=start, step_seconds=step)
    cpu, memory = keep_amounts(series.cpu_cores), keep_amounts(series.memory_bytes)
    known = min(cpu_count, memory_count) >= _MIN_SAMPLES
    problems = list(series.problems)
    if not known and not problems:
        problems.append(Unknown("TooFewSamples", f"it ran for less than {_MIN_SAMPLES} samples in this time"))
    share = settings.target_percentile
    cpu_target, memory_target = history.cpu.compute_percentile(share), history.memory.compute_percentile(share)
    return Study(
        cpu=_need(series.cpu_cores, cpu, cpu_target, grid, unit=1000.0, base=BASE_PERCENTILE_CPU),
        memory=_need(series.memory_bytes, memory, memory_target, grid, unit=1.0, base=BASE_PERCENTILE_MEMORY),
        recommendation=decide_recommendation(history, settings) if known else None,
        cpu_share=cpu_count / grid.count,
        memory_share=memory_count / grid.count,
        peak_cpu_millicores=cpu[-1] * 1000 if cpu else None,
        peak_memory_bytes=memory[-1] if memory else None,
        last_seconds=_last(series.cpu_cores, grid),
        problems=tuple(problems),
    )


def _need(
    series: array[float], ordered: list[float], target: float, grid: Grid, *, unit: float, base: float
) -> Need:
    if len(ordered) < _MIN_SAMPLES:
        return NOT_KNOWN
    growth = compute_growth(series, step_seconds=grid.step_seconds)
    return Need(
        base=(compute_percentile(ordered, base) or 0.0) * unit,
        # The histogram reads at the upper edge of a bucket, which may lie beyond the largest sample.
        target=min(target, ordered[-1]) * unit,
        growth_a_day=None if growth is None else growth * unit,
    )


def _bound(values: array[float], most: float | None, what: str, problems: list[Unknown]) -> array[float]:
    highest, gap = sys.float_info.max if most is None else most, math.nan
    bounded = array("d", [value if 0.0 <= value <= highest else gap for value in values])
    if most is not None and (lost := sum(value > most for value in values)):
        problems.append(Unknown("Impossible", f"{lost} {what} samples are far beyond its size, and do not count"))
    return bounded


def _last(values: array[float], grid: Grid) -> float | None:
    for number in range(len(values) - 1, -1, -1):
        if not math.isnan(values[number]):
            return grid.start_seconds + grid.step_seconds * number
    return None
