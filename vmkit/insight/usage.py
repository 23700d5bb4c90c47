"""Reads what VMs used from Prometheus, shard by shard, so that a fleet never has to fit in memory."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import sub
from typing import Final

from vmkit.errors import ClusterError, DeadlineExceeded, QueryTooLarge
from vmkit.insight.series import Grid, VmSeries, clean
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.reply import Series
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
            memory = self._ask_memory(refs, grid, names)
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
            used_cpu = _join(cpu.get(ref, {}), _plus)
            used_memory = _join(memory.get(ref, {}), _larger)
            yield VmSeries(
                ref,
                grid.fill() if used_cpu is None else used_cpu,
                grid.fill() if used_memory is None else used_memory,
                tuple(_missing(names, has_cpu=used_cpu is not None, has_memory=used_memory is not None)),
            )

    def _ask_memory(
        self, refs: Sequence[VmRef], grid: Grid, names: _Names
    ) -> dict[VmRef, dict[str, array[float]]]:
        if names.memory == "-":
            return {}
        if names.memory:
            return self._ask(f"{names.memory}{{{_select(refs, names)}}}", refs, grid, names)
        available = self._ask(f"{_AVAILABLE}{{{_select(refs, names)}}}", refs, grid, names)
        usable = self._ask(f"{_USABLE}{{{_select(refs, names)}}}", refs, grid, names)
        return {
            ref: {
                node: clean(array("d", map(sub, available[ref][node], free)))
                for node, free in nodes.items()
                if node in available.get(ref, {})
            }
            for ref, nodes in usable.items()
        }

    def _ask(
        self, promql: str, refs: Sequence[VmRef], grid: Grid, names: _Names
    ) -> dict[VmRef, dict[str, array[float]]]:
        """The series by VM and node. They are joined here: this is far cheaper than for Prometheus, which would
        have to group them anew at every step."""
        answer = self._client.query_range(promql, grid.start, grid.end, timedelta(seconds=grid.step_seconds))
        self._notices += [f"Prometheus: {warning}" for warning in answer.warnings]
        wanted = frozenset(refs)
        found: dict[VmRef, dict[str, array[float]]] = {}
        for series in answer:
            ref = VmRef(series.labels.get(names.namespace, ""), series.labels.get(names.name, ""))
            if ref not in wanted or not series.values:
                continue
            nodes, node = found.setdefault(ref, {}), series.labels.get("node", "")
            values = _on_grid(series, grid)
            # Two exporters of one node are one VM twice.
            nodes[node] = values if node not in nodes else _pairwise(nodes[node], values, _larger)
        return found


def _on_grid(series: Series, grid: Grid) -> array[float]:
    if len(series.values) == grid.count:
        # No gaps: it lies on the grid as it is.
        return clean(series.values)
    values, start, step = grid.fill(), grid.start_seconds, grid.step_seconds
    for at, value in zip(series.times, clean(series.values), strict=True):
        index = round((at - start) / step)
        if 0 <= index < grid.count:
            values[index] = value
    return values


def _join(nodes: Mapping[str, array[float]], combine: Callable[[float, float], float]) -> array[float] | None:
    """One series of those of several nodes: a live migration has two for a while. None of none."""
    joined: array[float] | None = None
    for values in nodes.values():
        joined = values if joined is None else _pairwise(joined, values, combine)
    return joined


def _pairwise(one: array[float], other: array[float], combine: Callable[[float, float], float]) -> array[float]:
    """Combines what is known in both; what is known in one stays."""
    return array(
        "d",
        [
            second if math.isnan(first) else first if math.isnan(second) else combine(first, second)
            for first, second in zip(one, other, strict=True)
        ],
    )


def _plus(one: float, other: float) -> float:
    return one + other


def _larger(one: float, other: float) -> float:
    return max(one, other)


def _cpu_query(refs: Sequence[VmRef], grid: Grid, names: _Names) -> str:
    window = f"{math.ceil(max(RATE_WINDOW.total_seconds(), grid.step_seconds))}s"
    return f"rate({_CPU}{{{_select(refs, names)}}}[{window}])"


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
