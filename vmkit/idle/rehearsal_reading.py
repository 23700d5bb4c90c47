"""What VMs did in the past, read from Prometheus a few VMs at a time."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkit.errors import QueryTooLarge
from vmkit.idle.rehearsal_history import DOWN, STEP, UNSEEN, UP, VmHistory, blank, full_hour
from vmkit.idle.report import IdleItem
from vmkit.metrics.prometheus.client import Answer, PrometheusClient
from vmkit.metrics.prometheus.names import (
    LAST_SESSION,
    OBSERVED,
    OPEN_SESSIONS,
    RUNNING,
    Vocabulary,
    build_vocabulary_query,
    read_interval,
    read_vocabulary,
)
from vmkit.metrics.prometheus.queries import (
    EVIDENCE_OF_RULES,
    OBSERVED_RULE,
    RULES,
    RUNNING_RULE,
    build_interval_query,
    build_rate,
    build_rules_query,
)
from vmkit.metrics.summary import Signal
from vmkit.vm.reference import VmRef

_SHARD: Final = 50
"""VMs a query: with 44 days each signal's answer is some 20 MB."""
_LONGEST: Final = timedelta(days=30)
"""Of one query; Prometheus gives 11,000 steps at most."""
_RECORDED: Final = 0.98
"""The share of the steps that recording rules must have recorded before they are relied on."""
_SIGNALS: Final = (Signal.CPU, Signal.RECEIVE, Signal.TRANSMIT, Signal.DISK_READ, Signal.DISK_WRITE)

Found = dict[VmRef, list[tuple[int, float]]]
"""Of each VM its samples, by their step."""


class HistoryReader:
    """Reads histories from one Prometheus.

    Args:
        client: of it.
        start, end: what is read, cut to full hours.
        shard: VMs a query; halved by itself where a query is too large for the server.
    """

    def __init__(self, client: PrometheusClient, *, start: datetime, end: datetime, shard: int = _SHARD) -> None:
        self._client, self._shard = client, max(1, shard)
        self.start, self.end = full_hour(start), full_hour(end)
        self._count = (self.end - self.start) // STEP
        self._notices: dict[str, None] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """What Prometheus said about its own answers."""
        return tuple(self._notices)

    def read(
        self, items: Sequence[IdleItem], *, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[VmHistory]:
        """The history of each VM, in the order given. What Prometheus does not have is unknown.

        Args:
            items: the VMs, as a run found them.
            on_progress: told how many have been read.

        Raises:
            ClusterError, DeadlineExceeded: Prometheus is away, or refuses.
        """
        words = self._look_around()
        for first in range(0, len(items), self._shard):
            yield from self._read_shard(items[first : first + self._shard], words)
            if on_progress is not None:
                on_progress(min(len(items), first + self._shard))

    def _look_around(self) -> Vocabulary:
        words = read_vocabulary(self._client.query(build_vocabulary_query(), self.end))
        cpu = words.find(Signal.CPU)
        if cpu is None:
            self._notices[f"{self._client.server} has no use of CPU by VMs: nothing can be rehearsed"] = None
            return words
        samples = self._client.query(build_interval_query(cpu), self.end).scalar
        recorded = self._client.query(build_rules_query(self.end - self.start), self.end)
        complete = len(recorded) == len(EVIDENCE_OF_RULES) and all(
            each.value >= self._count * _RECORDED for each in recorded
        )
        if RUNNING not in words.metrics and not complete:
            self._notices[f"{self._client.server} has no {RUNNING}: nobody can tell when VMs ran"] = None
        return replace(words, interval=read_interval(samples or math.nan), rules=complete)

    def _read_shard(self, items: Sequence[IdleItem], words: Vocabulary) -> Iterator[VmHistory]:
        try:
            histories = self._histories(items, words)
        except QueryTooLarge:
            if len(items) == 1:
                raise
            middle = len(items) // 2
            yield from self._read_shard(items[:middle], words)
            yield from self._read_shard(items[middle:], words)
            return
        yield from histories

    def _histories(self, items: Sequence[IdleItem], words: Vocabulary) -> list[VmHistory]:
        refs = [item.ref for item in items]
        running = self._ask(_running(words, refs), words, refs)
        observed = self._ask(_observed(words, refs), words, refs)
        signals = {signal: self._ask(_rate(words, signal, refs), words, refs) for signal in _SIGNALS}
        opened = self._ask(
            f"sum by ({words.namespace}, vmi) ({words.select(OPEN_SESSIONS, refs, name='vmi', regex=True)}) > 0",
            words, refs, name="vmi",
        )  # fmt: skip
        ended = self._ask(
            f"max by ({words.namespace}, vmi) ({words.select(LAST_SESSION, refs, name='vmi')})",
            words, refs, name="vmi",
        )  # fmt: skip
        return [
            VmHistory(
                facts=item.facts,
                start=self.start,
                states=self._states(running.get(item.ref, ()), observed.get(item.ref, ())),
                signals={
                    signal: self._values(found.get(item.ref, ()))
                    for signal, found in signals.items()
                    if words.find(signal) is not None or words.rules
                },
                sessions=frozenset(self._sessions(opened.get(item.ref, ()), ended.get(item.ref, ()))),
                owner=item.owner,
                size=item.size,
            )
            for item in items
        ]

    def _ask(self, promql: str, words: Vocabulary, refs: Sequence[VmRef], *, name: str = "") -> Found:
        found: Found = {ref: [] for ref in refs}
        begin = self.start + STEP  # a sample tells of the step before it
        while promql and begin <= self.end:
            end = min(self.end, begin + _LONGEST)
            answer = self._client.query_range(promql, begin, end, STEP)
            self._notices.update(dict.fromkeys(answer.warnings))
            self._collect(answer, words.namespace, name or words.name, found)
            begin = end + STEP
        return found

    def _collect(self, answer: Answer, namespace: str, name: str, found: Found) -> None:
        origin, step = self.start.timestamp(), STEP.total_seconds()
        for series in answer:
            samples = found.get(VmRef(series.labels.get(namespace, ""), series.labels.get(name, "")))
            if samples is None:
                continue
            for at, value in zip(series.times, series.values, strict=True):
                index = round((at - origin) / step) - 1
                if 0 <= index < self._count:
                    samples.append((index, value))

    def _states(self, running: Sequence[tuple[int, float]], observed: Sequence[tuple[int, float]]) -> bytes:
        states = bytearray([UNSEEN]) * self._count
        for kind, samples in ((DOWN, observed), (UP, running)):
            for index, _ in samples:
                states[index] = kind
        return bytes(states)

    def _values(self, samples: Sequence[tuple[int, float]]) -> array[float]:
        values = blank(self._count)
        for index, value in samples:
            values[index] = value
        return values

    def _sessions(self, opened: Sequence[tuple[int, float]], ended: Sequence[tuple[int, float]]) -> Iterator[int]:
        yield from (index for index, _ in opened)
        for moment in {value for _, value in ended if math.isfinite(value) and value > 0}:
            index = (datetime.fromtimestamp(moment, UTC) - self.start) // STEP
            if 0 <= index < self._count:
                yield index


def _running(words: Vocabulary, refs: Sequence[VmRef]) -> str:
    if words.rules:
        return words.select(RUNNING_RULE, refs)
    if RUNNING not in words.metrics:
        return ""
    selector = words.select(RUNNING, refs, matchers='phase="running"')
    return f"max by ({words.by}) ({selector})"


def _observed(words: Vocabulary, refs: Sequence[VmRef]) -> str:
    if words.rules:
        return words.select(OBSERVED_RULE, refs)
    known = words.first((*OBSERVED, RUNNING))
    return "" if known is None else f"max by ({words.by}) ({words.select(known, refs)})"


def _rate(words: Vocabulary, signal: Signal, refs: Sequence[VmRef]) -> str:
    if words.rules:
        return words.select(RULES[signal], refs)
    metric = words.find(signal)
    if metric is None:
        return ""
    return build_rate(words, signal, [words.select(metric.name, refs, matchers=metric.matchers)], STEP)
