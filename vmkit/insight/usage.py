"""Reads what VMs used from Prometheus, shard by shard, so that a fleet never has to fit in memory."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vmkit.errors import ClusterError, DeadlineExceeded, QueryTooLarge
from vmkit.insight.series import Grid, VmSeries, clean
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.reply import Answer
from vmkit.metrics.summary import RATE_WINDOW, Unknown
from vmkit.vm.reference import VmRef

_SHARD: Final = 200
"""VMs a query: with 2,304 samples each an answer of about 15 MB."""
_RECENTLY: Final = "6h"

_CPU: Final = "kubevirt_vmi_cpu_usage_seconds_total"
_MEMORY_RULES: Final = ("vmi:kubevirt_vmi_memory_used_bytes:sum", "kubevirt_vmi_memory_used_bytes")
"""KubeVirt's own rules for memory in use: the name since 1.9, and before it (docs/observability/metrics.md)."""
_AVAILABLE: Final = "kubevirt_vmi_memory_available_bytes"
_USABLE: Final = "kubevirt_vmi_memory_usable_bytes"


@dataclass(frozen=True, slots=True)
class _Names:
    """What this Prometheus calls things."""

    namespace: str
    name: str
    has_cpu: bool
    memory: str
    """The metric of memory in use; empty for the difference of two; "-" where there is neither."""


class PrometheusUsage:
    """Use as Prometheus has it: a `vmkit.insight.series.SeriesSource`.

    CPU is the rate of ``kubevirt_vmi_cpu_usage_seconds_total`` over the step (at least five minutes). Memory is
    what the guest itself counts as used (available less usable); a launcher's working set holds its page cache.
    A VM that did not run has no samples, and these stay gaps.

    Args:
        client: with the server.
        shard: how many VMs are asked about at once.
    """

    def __init__(self, client: PrometheusClient, *, shard: int = _SHARD) -> None:
        self._client, self._shard = client, shard
        self._notices: list[str] = []

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._notices))

    def read(self, refs: Collection[VmRef], grid: Grid) -> Iterator[VmSeries]:
        """Each VM's use; see `vmkit.insight.series.SeriesSource`.

        Raises:
            ClusterError, DeadlineExceeded: the server is away, or refuses everything.
        """
        names = self._read_names(grid)
        by_namespace: dict[str, list[str]] = {}
        for ref in sorted(set(refs)):
            by_namespace.setdefault(ref.namespace, []).append(ref.name)
        pending: list[VmRef] = [
            VmRef(namespace, name) for namespace, found in by_namespace.items() for name in found
        ]
        for first in range(0, len(pending), self._shard):
            yield from self._read_shard(pending[first : first + self._shard], grid, names)

    def _read_names(self, grid: Grid) -> _Names:
        def count(selector: str) -> float:
            found = self._client.query(f"count(last_over_time({selector}[{_RECENTLY}]))", grid.end).scalar
            return found or 0.0

        honored = count(f'{_CPU}{{name!="",namespace!="",exported_name=""}}')
        exported = count(f'{_CPU}{{exported_name!=""}}')
        has_cpu = honored + exported > 0 or count(_CPU) > 0
        prefix = "exported_" if exported > honored else ""
        memory = "-"
        if count(_USABLE) > 0 and count(_AVAILABLE) > 0:
            memory = ""
        else:
            memory = next((name for name in _MEMORY_RULES if count(name) > 0), "-")
        return _Names(f"{prefix}namespace", f"{prefix}name", has_cpu, memory)

    def _read_shard(self, refs: Sequence[VmRef], grid: Grid, names: _Names) -> Iterator[VmSeries]:
        try:
            cpu = self._ask(_cpu_query(refs, grid, names), refs, grid, names)
            memory = {}
            if names.memory != "-":
                memory = self._ask(_memory_query(refs, names), refs, grid, names)
        except QueryTooLarge as error:
            if len(refs) == 1:
                yield _nothing(refs[0], grid, error)
                return
            middle = len(refs) // 2
            yield from self._read_shard(refs[:middle], grid, names)
            yield from self._read_shard(refs[middle:], grid, names)
            return
        except (ClusterError, DeadlineExceeded) as error:
            for ref in refs:
                yield _nothing(ref, grid, error)
            return
        for ref in refs:
            yield VmSeries(
                ref,
                cpu.get(ref) or grid.fill(),
                memory.get(ref) or grid.fill(),
                tuple(_missing(names, has_cpu=ref in cpu, has_memory=ref in memory)),
            )

    def _ask(self, promql: str, refs: Sequence[VmRef], grid: Grid, names: _Names) -> dict[VmRef, array[float]]:
        answer = self._client.query_range(promql, grid.start, grid.end, timedelta(seconds=grid.step_seconds))
        self._notices += [f"Prometheus: {warning}" for warning in answer.warnings]
        return _by_vm(answer, frozenset(refs), grid, names)


def _by_vm(answer: Answer, refs: frozenset[VmRef], grid: Grid, names: _Names) -> dict[VmRef, array[float]]:
    found: dict[VmRef, array[float]] = {}
    for series in answer:
        ref = VmRef(series.labels.get(names.namespace, ""), series.labels.get(names.name, ""))
        if ref not in refs or not series.values:
            continue
        if len(series.values) == grid.count:
            # No gaps: it lies on the grid as it is.
            found[ref] = clean(series.values)
            continue
        values, start, step = grid.fill(), grid.start_seconds, grid.step_seconds
        for at, value in zip(series.times, clean(series.values), strict=True):
            index = round((at - start) / step)
            if 0 <= index < grid.count:
                values[index] = value
        found[ref] = values
    return found


def _cpu_query(refs: Sequence[VmRef], grid: Grid, names: _Names) -> str:
    window = f"{math.ceil(max(RATE_WINDOW.total_seconds(), grid.step_seconds))}s"
    who = f"{names.namespace}, {names.name}"
    # Two exporters of one node are one VM twice; two nodes are a live migration, during which both count.
    return f"sum by ({who}) (max by ({who}, node) (rate({_CPU}{{{_select(refs, names)}}}[{window}])))"


def _memory_query(refs: Sequence[VmRef], names: _Names) -> str:
    who, select = f"{names.namespace}, {names.name}", _select(refs, names)
    if names.memory:
        return f"max by ({who}) ({names.memory}{{{select}}})"
    used = f"max by ({who}, node) ({_AVAILABLE}{{{select}}}) - max by ({who}, node) ({_USABLE}{{{select}}})"
    return f"max by ({who}) ({used})"


def _select(refs: Sequence[VmRef], names: _Names) -> str:
    namespaces, wanted = sorted({ref.namespace for ref in refs}), sorted({ref.name for ref in refs})
    return ",".join(
        _match(label, values) for label, values in ((names.namespace, namespaces), (names.name, wanted))
    )


def _match(label: str, values: Sequence[str]) -> str:
    # Names of Kubernetes hold nothing but letters, digits, "-" and ".": only the dot means something to RE2.
    if len(values) == 1:
        return f'{label}="{_quoted(values[0])}"'
    return f'{label}=~"{"|".join(_quoted(re.escape(value)) for value in values)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _missing(names: _Names, *, has_cpu: bool, has_memory: bool) -> Iterator[Unknown]:
    if not names.has_cpu:
        yield Unknown("NoMetric", f"Prometheus has no {_CPU}: is virt-handler scraped?")
    elif not has_cpu:
        yield Unknown("NoSamples", "Prometheus has no CPU samples of it in this time")
    if names.memory == "-":
        yield Unknown("NoMetric", f"Prometheus has no {_USABLE}: guests tell it through their balloon driver")
    elif not has_memory:
        yield Unknown("NoSamples", "Prometheus has no memory samples of it in this time")


def _nothing(ref: VmRef, grid: Grid, error: ClusterError | DeadlineExceeded) -> VmSeries:
    return VmSeries(ref, grid.fill(), grid.fill(), (Unknown(error.code, error.message),))
