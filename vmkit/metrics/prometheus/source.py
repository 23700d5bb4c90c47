"""Summaries of many VMs from one Prometheus: a dozen queries for each shard of the fleet at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkit.errors import DeadlineExceeded, QueryTooLarge, Unauthorized, Unreachable, VmkitError
from vmkit.metrics.prometheus.client import Answer, PrometheusClient
from vmkit.metrics.prometheus.energy import build_energy_query, read_energy
from vmkit.metrics.prometheus.names import (
    SIGNALS,
    Vocabulary,
    build_vocabulary_query,
    read_interval,
    read_vocabulary,
)
from vmkit.metrics.prometheus.queries import (
    EVIDENCE_OF_RULES,
    RECENT,
    RULES,
    STEP,
    TAG,
    Query,
    build_interval_query,
    build_memory_query,
    build_migrations_query,
    build_rules_query,
    build_sessions_query,
    build_signal_query,
    build_state_query,
    build_watch_query,
)
from vmkit.metrics.source import nothing_known
from vmkit.metrics.summary import (
    Energy,
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

SHARD: Final = 1000
"""VMs a shard. Of 14 days in steps of five minutes this takes about a third of what Prometheus reads for one query
by default (--query.max-samples=50000000)."""
_RECORDED_SHARD: Final = 20_000
_COMPLETE: Final = 0.98
"""The share of the lookback that recording rules must have recorded before they are relied on."""
_LEAST_RECORDED: Final = timedelta(hours=2)
"""Over less, the raw series are cheap, and newer than what rules record every five minutes."""
_NEVER_SKEWED: Final = timedelta(seconds=2)
_WORKERS: Final = 3
_SLACK: Final = 3
"""Steps by which a run may seem longer in one metric than in another: each is scraped from another process."""

_NOT_ASKED: Final = Unknown("NotAsked", "nobody looked")

Rows = Mapping[tuple[str, str], Mapping[str, float]]
"""Of each VM (namespace, name) the numbers by the tags of their parts."""


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What holds for all VMs of one call."""

    at: datetime
    lookback: timedelta
    vocabulary: Vocabulary
    watched: float | Unknown
    """The share of the lookback in which virt-api was watched."""
    warnings: tuple[str, ...]

    @property
    def steps(self) -> int:
        return max(1, self.lookback // STEP)


@dataclass(slots=True)
class _Shard:
    """What was found out about some VMs."""

    rows: dict[str, Rows | Unknown] = field(default_factory=dict)
    measures: dict[Signal, Mapping[str, Measure]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class PrometheusSource:
    """Sums up how VMs were used, as a Prometheus knows it. See `vmkit.metrics.source.UsageSource`.

    Args:
        client: of the Prometheus.
        shard: VMs a shard; halved by itself where a query is too large for the server.
        memory: sum up memory as well.
        energy: sum up energy as well.
        clock: now, by the cluster's clock; where Prometheus's differs, that is said, and its time is what counts.
    """

    def __init__(
        self,
        client: PrometheusClient,
        *,
        shard: int = SHARD,
        memory: bool = True,
        energy: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client, self._shard, self._memory, self._clock = client, max(1, shard), memory, clock
        self._energy = energy
        self.queries = 0
        """Sent so far."""

    def summarize(
        self, refs: Collection[VmRef], *, measures: Collection[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        """What is known of the use of VMs; see `UsageSource.summarize`."""
        ordered = sorted(set(refs))
        if not ordered:
            return {}
        try:
            fleet = self._look_around(at, lookback)
        except VmkitError as error:
            why = _explain(error)
            return {ref: nothing_known(ref, why, measures=measures, at=at, lookback=lookback) for ref in ordered}
        found: dict[VmRef, Summary] = {}
        away: list[Unknown] = []
        size = _RECORDED_SHARD if fleet.vocabulary.rules else self._shard
        for start in range(0, len(ordered), size):
            some = ordered[start : start + size]
            shard = self._read_shard(some, measures, fleet, away)
            found.update((ref, _summarize(ref, shard, measures, fleet)) for ref in some)
        return _say_where_nothing_joins(found, fleet)

    # --- once a call ------------------------------------------------------------------------------------

    def _look_around(self, at: datetime, lookback: timedelta) -> _Fleet:
        before = self._clock()
        server = self._ask("time()").scalar
        after = self._clock()
        skew = timedelta(0)
        if server is not None:
            now = datetime.fromtimestamp(server, UTC)
            # Inside the round trip both clocks may be right.
            skew = now - after if now > after else min(timedelta(0), now - before)
        skew = skew if abs(skew) > _NEVER_SKEWED else timedelta(0)
        at += skew
        names = self._ask(build_vocabulary_query(), at)
        vocabulary, warnings = read_vocabulary(names), [*names.warnings]
        cpu = vocabulary.find(Signal.CPU)
        if cpu is not None:
            samples = self._ask(build_interval_query(cpu), at).scalar
            recorded = lookback >= _LEAST_RECORDED and self._rules_suffice(at, lookback)
            vocabulary = replace(vocabulary, interval=read_interval(samples or math.nan), rules=recorded)
        try:
            watch = self._ask(build_watch_query(lookback), at)
            warnings += watch.warnings
            watched: float | Unknown = min(1.0, (watch.scalar or 0.0) / max(1, lookback // STEP))
        except QueryTooLarge as error:
            watched = _explain(error)
        if watched == 0.0:
            watched = Unknown("SessionsUnwatched", f"{self._client.server} does not watch virt-api")
        return _Fleet(at, lookback, vocabulary, watched, tuple(dict.fromkeys(warnings)))

    def _rules_suffice(self, at: datetime, lookback: timedelta) -> bool:
        recorded = self._ask(build_rules_query(lookback), at)
        enough = max(1, lookback // STEP) * _COMPLETE
        return len(recorded) == len(EVIDENCE_OF_RULES) and all(row.value >= enough for row in recorded)

    def _ask(self, promql: str, at: datetime | None = None) -> Answer:
        self.queries += 1
        return self._client.query(promql, at)

    # --- once a shard -----------------------------------------------------------------------------------

    def _read_shard(
        self, refs: Sequence[VmRef], measures: Collection[Measure], fleet: _Fleet, away: list[Unknown]
    ) -> _Shard:
        shard = _Shard()
        builders = dict(self._builders(measures, fleet, shard))
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="prometheus") as pool:
            asked = {
                name: pool.submit(self._rows, build, refs, fleet, shard.warnings, away)
                for name, build in builders.items()
            }
            shard.rows.update((name, each.result()) for name, each in asked.items())
        shard.warnings.extend(fleet.warnings)
        return shard

    def _builders(
        self, measures: Collection[Measure], fleet: _Fleet, shard: _Shard
    ) -> Iterator[tuple[str, Callable[[Sequence[VmRef]], Query | None]]]:
        words, lookback = fleet.vocabulary, fleet.lookback
        yield "state", lambda refs: build_state_query(words, refs, lookback=lookback)
        for signal in dict.fromkeys(measure.signal for measure in sorted(measures, key=str)):
            wanted = [measure for measure in measures if measure.signal is signal]

            def build(
                refs: Sequence[VmRef], signal: Signal = signal, wanted: list[Measure] = wanted
            ) -> Query | None:
                query = build_signal_query(words, signal, wanted, refs, lookback=lookback)
                if query is not None:
                    shard.measures[signal] = query.measures
                return query

            yield f"signal {signal}", build
        yield "sessions", lambda refs: build_sessions_query(words, refs, lookback=lookback)
        yield "migrations", lambda refs: build_migrations_query(words, refs, lookback=lookback)
        if self._memory:
            yield "memory", lambda refs: build_memory_query(words, refs, lookback=lookback)
        if self._energy:
            yield "energy", lambda refs: build_energy_query(words, refs, lookback=lookback)

    def _rows(
        self,
        build: Callable[[Sequence[VmRef]], Query | None],
        refs: Sequence[VmRef],
        fleet: _Fleet,
        warnings: list[str],
        away: list[Unknown],
    ) -> Rows | Unknown:
        query = build(refs)
        if query is None:
            return Unknown("NoMetrics", f"{self._client.server} has no such metric of KubeVirt now")
        if away:
            return away[0]
        try:
            answer = self._ask(query.promql, fleet.at)
        except QueryTooLarge as error:
            if len(refs) == 1:
                return _explain(error)
            middle = len(refs) // 2
            halves = [self._rows(build, half, fleet, warnings, away) for half in (refs[:middle], refs[middle:])]
            first, second = halves
            if isinstance(first, Unknown):
                return first
            return second if isinstance(second, Unknown) else {**first, **second}
        except VmkitError as error:
            why = _explain(error)
            if isinstance(error, (Unreachable, DeadlineExceeded, Unauthorized)):
                away.append(why)
            return why
        warnings.extend(answer.warnings)
        return _read_rows(answer, fleet.vocabulary.namespace, query.name)


def _read_rows(answer: Answer, namespace: str, name: str) -> Rows:
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for series in answer:
        labels = series.labels
        key = labels.get(namespace, ""), labels.get(name, "")
        rows.setdefault(key, {})[labels.get(TAG, "")] = series.value
    return rows


def _explain(error: VmkitError) -> Unknown:
    return Unknown(f"Prometheus{error.code}", error.message)


# --- one VM -----------------------------------------------------------------------------------------------


def _summarize(ref: VmRef, shard: _Shard, measures: Collection[Measure], fleet: _Fleet) -> Summary:
    key = ref.namespace, ref.name
    state = _numbers(shard, "state", key)
    running, observed = _stretch(state, "running", fleet), _stretch(state, "observed", fleet)
    usage = {
        signal: _read_usage(signal, key, shard, state, fleet)
        for signal in dict.fromkeys(measure.signal for measure in sorted(measures, key=str))
    }
    warnings = dict.fromkeys(shard.warnings)
    exporters = 0.0 if isinstance(state, Unknown) else state.get("exporters", 0.0)
    if exporters > 1:
        warnings[f"{exporters:g} series tell of it where there should be one: is its exporter scraped twice?"] = (
            None
        )
    memory = _numbers(shard, "memory", key)
    ran = running if isinstance(running, Unknown) else min(fleet.lookback, running * STEP)
    energy: Energy | Unknown = _NOT_ASKED
    if "energy" in shard.rows:
        cpu = usage.get(Signal.CPU, _NOT_ASKED)
        energy = read_energy(fleet.vocabulary, _numbers(shard, "energy", key), running=ran, cpu=cpu)
    return Summary(
        ref,
        fleet.at,
        fleet.lookback,
        usage=usage,
        observed=observed if isinstance(observed, Unknown) else min(1.0, observed / fleet.steps),
        running=ran,
        sessions=_read_sessions(_numbers(shard, "sessions", key), fleet),
        memory=_read_memory(memory) if "memory" in shard.rows else _NOT_ASKED,
        migrations=_read_migrations(_numbers(shard, "migrations", key), fleet),
        energy=energy,
        warnings=tuple(warnings),
    )


def _numbers(shard: _Shard, part: str, key: tuple[str, str]) -> Mapping[str, float] | Unknown:
    rows = shard.rows.get(part, {})
    return rows if isinstance(rows, Unknown) else rows.get(key, {})


def _stretch(state: Mapping[str, float] | Unknown, name: str, fleet: _Fleet) -> float | Unknown:
    if isinstance(state, Unknown):
        return state
    count = state.get(name)
    if count is None:
        text = "ran" if name == "running" else "was there"
        return Unknown("NoSeries", f"Prometheus has no series that says that it {text}")
    return count if math.isfinite(count) else Unknown("BadNumber", f"Prometheus counts {count:g} steps")


def _read_usage(
    signal: Signal,
    key: tuple[str, str],
    shard: _Shard,
    state: Mapping[str, float] | Unknown,
    fleet: _Fleet,
) -> Usage | Unknown:
    found = _numbers(shard, f"signal {signal}", key)
    if isinstance(found, Unknown):
        return found
    tags = shard.measures.get(signal, {})
    values = {measure: found[name] for name, measure in tags.items() if name in found}
    if not values:
        wanted = RULES[signal] if fleet.vocabulary.rules else _metric_names(signal, fleet.vocabulary)
        return Unknown("NoSeries", f"Prometheus has no samples of {wanted} with its name and namespace")
    count = found.get("count", 0.0)
    running = None if isinstance(state, Unknown) else state.get("running")
    resets = 0.0 if isinstance(state, Unknown) else state.get("resets", 0.0)
    expected = running or float(fleet.steps)
    coverage = count / expected
    if coverage > 1 and count <= expected + _SLACK * (1 + resets):
        coverage = 1.0
    newest = found.get("now", found.get("day"))
    if newest is None or not math.isfinite(newest):
        return Unknown("Stale", "Prometheus has no new sample of it")
    return Usage(values, coverage, datetime.fromtimestamp(newest, UTC), int(resets) if resets > 0 else 0)


def _metric_names(signal: Signal, vocabulary: Vocabulary) -> str:
    parts = (Signal.RECEIVE, Signal.TRANSMIT) if signal is Signal.NETWORK else (signal,)
    found = [vocabulary.find(part) or SIGNALS[part][0] for part in parts]
    return " and ".join(metric.name for metric in found)


def _read_sessions(found: Mapping[str, float] | Unknown, fleet: _Fleet) -> Sessions | Unknown:
    if isinstance(found, Unknown):
        return found
    opened = found.get("open", 0.0)
    last, active = (
        found[name] if math.isfinite(found.get(name, math.nan)) and found[name] > 0 else 0.0
        for name in ("last", "active")
    )
    # Prometheus sees a session for a step or so after its end; the end itself is told where virt-api lives on.
    if active > last + 2 * STEP.total_seconds():
        last = active
    if isinstance(fleet.watched, Unknown):
        # What was seen counts, however little is known of the rest.
        if not last and not opened > 0:
            return fleet.watched
        known = fleet.at
    else:
        share = 1.0 if fleet.watched >= 1 - _SLACK / fleet.steps else fleet.watched
        known = fleet.at - fleet.lookback * share
    ended = datetime.fromtimestamp(last, UTC) if last else None
    return Sessions(int(opened) if opened > 0 else 0, ended, known)


def _read_memory(found: Mapping[str, float] | Unknown) -> Memory | Unknown:
    if isinstance(found, Unknown):
        return found
    available, usable = found.get("available"), found.get("usable")
    if available is None or usable is None:
        return Unknown("NoSeries", "Prometheus has no samples of its memory: the guest has no balloon driver")
    if not (math.isfinite(available) and 0 <= usable <= available):
        return Unknown("BadNumber", f"of {available:g} bytes it could still use {usable:g}")
    return Memory(available - usable, available)


def _read_migrations(found: Mapping[str, float] | Unknown, fleet: _Fleet) -> Migrations | Unknown:
    if isinstance(found, Unknown):
        return found
    start_of_lookback = (fleet.at - fleet.lookback).timestamp()
    if "pods" in found:
        newest = found.get("newest", 0.0)
        horizon = (fleet.at - min(RECENT, fleet.lookback) + 2 * STEP).timestamp()
        moved = datetime.fromtimestamp(newest, UTC) if newest > horizon and found["pods"] > 1 else None
        return Migrations(max(0, int(found["pods"]) - 1), moved)
    start = found.get("start", 0.0)
    if not start > start_of_lookback:
        return Migrations(0)
    count = int(found.get("changes", 0.0)) + (1 if found.get("first", 0.0) > start_of_lookback else 0)
    end = found.get("end", 0.0)
    ended = datetime.fromtimestamp(end, UTC) if end > start_of_lookback else None
    return Migrations(max(1, count), ended, in_progress=start > end)


def _say_where_nothing_joins(found: dict[VmRef, Summary], fleet: _Fleet) -> Mapping[VmRef, Summary]:
    """Where there are metrics, and none is of any VM asked about, labels are to blame."""
    cpu = fleet.vocabulary.find(Signal.CPU)
    silent = [
        ref
        for ref, summary in found.items()
        if isinstance(summary.observed, Unknown)
        and summary.observed.code == "NoSeries"
        and all(isinstance(usage, Unknown) and usage.code == "NoSeries" for usage in summary.usage.values())
    ]
    if cpu is None or len(silent) < len(found):
        return found
    labels = f"{fleet.vocabulary.namespace} and {fleet.vocabulary.name}"
    why = Unknown("NotJoined", f"no series of {cpu.name} names any of these VMs in its labels {labels}")
    return {
        ref: replace(summary, observed=why, usage=dict.fromkeys(summary.usage, why))
        for ref, summary in found.items()
    }
