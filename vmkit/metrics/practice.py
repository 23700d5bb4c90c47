"""Summaries from what is known of VMs exactly, as of a practice cluster's: the numbers that a Prometheus which had
scraped it every five minutes would give.

Who knows hands in `Recording`s: counters that can be read at any instant. They are read here on the same steps,
and averaged over the same windows, as the queries of `vmkit.metrics.prometheus.queries` do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkit.metrics.source import nothing_known
from vmkit.metrics.summary import (
    Energy,
    EnergySource,
    Measure,
    Memory,
    Migrations,
    Sessions,
    Signal,
    Summary,
    Unknown,
    Usage,
)
from vmkit.vm.reference import VmRef

STEP: Final = 300
"""Seconds between two samples, and between two looks at the past."""

_NEVER_RAN: Final = Unknown("NoSeries", "it did not run")

Read = Callable[[float], float]
"""The value of a counter or level at an instant (Unix seconds)."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A stay of a VM on a node: from ``start`` until ``end`` (Unix seconds; None: still), with its counters.

    Attributes:
        start, end: see above.
        migrated: it came there by live migration.
        counters: the signals' counters, which begin with the run; of `Signal.GUEST_LOAD` the level.
        available, usable: memory in bytes.
        joules: of its work since the run began, idle power apart.
    """

    start: float
    end: float | None
    migrated: bool
    counters: Mapping[Signal, Read]
    available: Read | None = None
    usable: Read | None = None
    joules: Read | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """All that is known of one VM.

    Attributes:
        ref: the VM.
        created: when it was made (Unix seconds).
        runs: oldest first.
        open_sessions: how many were open at an instant.
        last_session: when the last one before an instant ended (Unix seconds); None where nobody knows of any.
        sessions_since: nothing before that is known of sessions (Unix seconds).
        energy_source: who measured joules.
    """

    ref: VmRef
    created: float
    runs: Sequence[RecordedRun]
    open_sessions: Callable[[float], int] = lambda at: 0
    last_session: Callable[[float], float | None] = lambda at: None
    sessions_since: float = -math.inf
    energy_source: EnergySource = EnergySource.KEPLER_PODS


class RecordedSource:
    """Sums up recordings. See `vmkit.metrics.source.UsageSource`.

    Args:
        record: the recordings of some VMs, those that there are.
    """

    def __init__(self, record: Callable[[Collection[VmRef]], Iterable[Recording]]) -> None:
        self._record = record

    def summarize(
        self, refs: Collection[VmRef], *, measures: Collection[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        """What is known of the use of VMs; see `UsageSource.summarize`."""
        wanted = set(refs)
        absent = Unknown("NoSeries", "the practice cluster has no such VM")
        found = {
            ref: nothing_known(ref, absent, measures=measures, at=at, lookback=lookback) for ref in sorted(wanted)
        }
        if wanted:
            for recording in self._record(wanted):
                if recording.ref in wanted:
                    found[recording.ref] = summarize_recording(
                        recording, measures=measures, at=at, lookback=lookback
                    )
        return found


def summarize_recording(
    recording: Recording, *, measures: Collection[Measure], at: datetime, lookback: timedelta
) -> Summary:
    """One VM's use over the lookback that ends at an instant."""
    end = at.timestamp()
    start = end - lookback.total_seconds()
    steps = max(1, round(lookback.total_seconds()) // STEP)
    first = -(-start // STEP) * STEP
    grid = [first + index * STEP for index in range(int((end - first) // STEP) + 1)]
    runs = [run for run in recording.runs if run.start <= end and (run.end is None or run.end > start)]
    observed = sum(1 for step in grid if step >= recording.created)
    running = sum(1 for step in grid if any(_covers(run, step) for run in runs))
    began = [run for run in runs if run.start > start and run is not recording.runs[0]]
    resets = len(began)
    usage = {
        signal: _sum_up(
            signal,
            [measure for measure in measures if measure.signal is signal],
            recording.runs,
            grid=grid,
            running=running,
            resets=resets,
        )
        for signal in dict.fromkeys(measure.signal for measure in sorted(measures, key=str))
    }
    moves = [run.start for run in began if run.migrated]
    last = recording.last_session(end)
    return Summary(
        recording.ref,
        at,
        lookback,
        usage=usage,
        observed=min(1.0, observed / steps) if observed else Unknown("NoSeries", "it was not there yet"),
        running=min(lookback, timedelta(seconds=running * STEP)) if running else _NEVER_RAN,
        sessions=Sessions(
            recording.open_sessions(end),
            datetime.fromtimestamp(last, UTC) if last is not None else None,
            datetime.fromtimestamp(max(start, recording.sessions_since), UTC),
        ),
        memory=_read_memory(runs, grid),
        energy=_read_energy(recording, runs, start, end),
        migrations=Migrations(len(moves), datetime.fromtimestamp(max(moves), UTC) if moves else None),
    )


def _covers(run: RecordedRun, at: float) -> bool:
    return run.start <= at and (run.end is None or at < run.end)


# --- signals ----------------------------------------------------------------------------------------------


def _sum_up(
    signal: Signal,
    measures: Sequence[Measure],
    runs: Sequence[RecordedRun],
    *,
    grid: Sequence[float],
    running: int,
    resets: int,
) -> Usage | Unknown:
    readers = [(run, _reader(signal, run)) for run in runs]
    known = [(run, read) for run, read in readers if read is not None]
    newest = max((_last_sample(run, grid[-1]) for run, _ in known), default=-math.inf) if grid else -math.inf
    if not grid or newest < grid[0]:
        return Unknown("NoSeries", f"nothing was recorded of its {signal}")
    rates: dict[int, dict[float, float]] = {}
    values = {}
    for measure in measures:
        window = STEP if signal is Signal.GUEST_LOAD else round(measure.rate_window.total_seconds())
        if window not in rates:
            rates[window] = _rates(signal, known, grid, window)
        value = _reduce(measure, rates[window], grid)
        if value is not None:
            values[measure] = value
    if STEP not in rates:
        rates[STEP] = _rates(signal, known, grid, STEP)
    coverage = min(1.0, len(rates[STEP]) / running) if running else 0.0
    return Usage(values, coverage, datetime.fromtimestamp(newest, UTC), resets)


def _reader(signal: Signal, run: RecordedRun) -> Read | None:
    if signal is not Signal.NETWORK:
        return run.counters.get(signal)
    receive, transmit = run.counters.get(Signal.RECEIVE), run.counters.get(Signal.TRANSMIT)
    if receive is None or transmit is None:
        return None
    return lambda at: receive(at) + transmit(at)


def _last_sample(run: RecordedRun, end: float) -> float:
    last = end // STEP * STEP
    if run.end is not None and run.end <= last:
        last = math.ceil(run.end / STEP) * STEP - STEP
    return last if last >= run.start else -math.inf


def _rates(
    signal: Signal, known: Sequence[tuple[RecordedRun, Read]], grid: Sequence[float], window: int
) -> dict[float, float]:
    """What the guest did on average over the window, and one sample more, before each step."""
    found: dict[float, float] = {}
    width = window // STEP + 1
    for run, read in known:
        begin = max(math.ceil(run.start / STEP) * STEP, grid[0] - width * STEP)
        last = _last_sample(run, grid[-1])
        if last < begin:
            continue
        count = int((last - begin) // STEP) + 1
        samples = [read(begin + index * STEP) for index in range(count)]
        if signal is Signal.GUEST_LOAD:
            for index, value in enumerate(samples):
                found[begin + index * STEP] = max(value, found.get(begin + index * STEP, 0.0))
            continue
        # A window that reaches beyond the run holds fewer samples of it: there are rates at its edges as well.
        for step in range(1, count - 1 + width):
            newest, oldest = min(step, count - 1), max(0, step - width)
            if newest <= oldest:
                continue
            at = begin + step * STEP
            rate = _extrapolate(
                samples[oldest],
                samples[newest],
                newest - oldest,
                before=oldest - step + width,
                after=step - newest,
            )
            found[at] = found.get(at, 0.0) + rate / width
    return {at: value for at, value in found.items() if grid[0] <= at <= grid[-1]}


def _extrapolate(first: float, last: float, between: int, *, before: int, after: int) -> float:
    """The rise in a window, a step each, as Prometheus estimates it (promql/functions.go, extrapolatedRate).

    Args:
        first, last: the samples at its ends.
        between: steps from one to the other.
        before, after: steps of the window that lie outside them.
    """
    rise = last - first
    start: float = before
    if rise > 0 and first >= 0:
        start = min(start, between * first / rise)  # a counter was never below zero
    span = between + (start if start < 1.1 else 0.5) + (after if after < 1.1 else 0.5)
    return rise / STEP * span / between


def _reduce(measure: Measure, rates: Mapping[float, float], grid: Sequence[float]) -> float | None:
    end = grid[-1]
    window = round(measure.rate_window.total_seconds())
    density = STEP if measure.signal is Signal.GUEST_LOAD else max(STEP, window // 4 // STEP * STEP)
    start = grid[0] if measure.span is None else max(grid[0], end - measure.span.total_seconds())
    if measure.peak_window is None:
        values = [value for at, value in rates.items() if at >= start and at % density == 0]
    else:
        peak = round(measure.peak_window.total_seconds())
        values = []
        for at in range(math.ceil(start / peak) * peak, math.floor(end / peak) * peak + 1, peak):
            inside = [rates[at - back] for back in range(0, peak + 1, density) if at - back in rates]
            if inside:
                values.append(max(inside))
    if not values:
        return None
    return max(values) if measure.percentile == 100 else _quantile(values, measure.percentile / 100)


def _quantile(values: list[float], share: float) -> float:
    """Between the two nearest in order of size, as Prometheus's quantile_over_time."""
    values.sort()
    rank = share * (len(values) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (rank - low)


def _read_memory(runs: Sequence[RecordedRun], grid: Sequence[float]) -> Memory | Unknown:
    available, usable = 0.0, math.inf
    for run in runs:
        if run.available is None or run.usable is None:
            continue
        for step in grid:
            if _covers(run, step):
                available = max(available, run.available(step))
                usable = min(usable, run.usable(step))
    if not math.isfinite(usable):
        return Unknown("NoSeries", "nothing was recorded of its memory")
    return Memory(available - usable, available)


def _read_energy(recording: Recording, runs: Sequence[RecordedRun], start: float, end: float) -> Energy | Unknown:
    joules, measured = 0.0, False
    for run in runs:
        if run.joules is not None:
            last = end if run.end is None else min(end, run.end)
            joules += run.joules(last) - run.joules(max(start, run.start))
            measured = True
    if not measured:
        return Unknown("NoSeries", "nobody measured its energy")
    return Energy(joules / 3.6e6, recording.energy_source, 1.0)
