"""Use as a real Prometheus has it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.cluster.retry import RetryPolicy
from vmkit.errors import ClusterError
from vmkit.insight.series import Grid, VmSeries, build_grid
from vmkit.insight.usage import PrometheusUsage
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.vm.reference import VmRef

pytestmark = pytest.mark.timeout(180)

_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_STEP = timedelta(minutes=5)
_SCRAPE = 60
_GIB = 2**30
_FIRST = int(_AT.timestamp()) - 6 * 3600
_LAST = int(_AT.timestamp())


def _family(name: str, kind: str, lines: list[str]) -> str:
    return f"# TYPE {name.removesuffix('_total') if kind == 'counter' else name} {kind}\n" + "".join(lines)


def _counter(labels: str, cores: float, *, first: int = _FIRST, last: int = _LAST) -> list[str]:
    name = "kubevirt_vmi_cpu_usage_seconds_total"
    return [f"{name}{{{labels}}} {cores * (at - first):.3f} {at}\n" for at in range(first, last + 1, _SCRAPE)]


def _gauge(name: str, labels: str, value: float, *, first: int = _FIRST, last: int = _LAST) -> list[str]:
    return [f"{name}{{{labels}}} {value} {at}\n" for at in range(first, last + 1, _SCRAPE)]


def _history(prefix: str = "") -> Iterator[str]:
    def who(name: str, node: str = "n1", more: str = "") -> str:
        return f'node="{node}",{prefix}namespace="shop",{prefix}name="{name}"{more}'

    hour = 3600
    cpu = [
        *_counter(who("web.1"), 0.5),
        # Two replicas of Prometheus, which nobody merged.
        *_counter(who("web-2", more=',replica="a"'), 0.25),
        *_counter(who("web-2", more=',replica="b"'), 0.25),
        # It ran for two hours, then it was stopped.
        *_counter(who("night"), 1.0, last=_FIRST + 2 * hour),
        # It moved to another node, where its counter began anew.
        *_counter(who("mover"), 0.4, last=_FIRST + 3 * hour),
        *_counter(who("mover", "n2"), 0.4, first=_FIRST + 3 * hour),
    ]
    yield _family("kubevirt_vmi_cpu_usage_seconds_total", "counter", cpu)
    for name, value in (("available", 4.0), ("usable", 1.5)):
        metric = f"kubevirt_vmi_memory_{name}_bytes"
        lines = [
            *_gauge(metric, who("web.1"), value * _GIB),
            *_gauge(metric, who("mover"), value * _GIB, last=_FIRST + 3 * hour),
            *_gauge(metric, who("mover", "n2"), value * _GIB, first=_FIRST + 3 * hour),
        ]
        yield _family(metric, "gauge", lines)
    yield "# EOF\n"


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    require_prometheus()
    with PrometheusServer(_history()) as one:
        yield one


@pytest.fixture(scope="module")
def strict_server() -> Iterator[PrometheusServer]:
    """One that refuses large queries, and whose scrapes did not honour the labels."""
    require_prometheus()
    with PrometheusServer(_history("exported_"), arguments=["--query.max-samples=1000"]) as one:
        yield one


def _grid() -> Grid:
    return build_grid(_AT, timedelta(hours=5), _STEP)


def _read(server: PrometheusServer, *names: str) -> dict[str, VmSeries]:
    source = PrometheusUsage(PrometheusClient(server.url))
    refs = [VmRef("shop", name) for name in names]
    found = {series.ref.name: series for series in source.read(refs, _grid())}
    assert found.keys() == set(names)
    return found


def _known(series: VmSeries) -> list[float]:
    return [value for value in series.cpu_cores if not math.isnan(value)]


def test_cpu_is_a_rate_and_memory_what_the_guest_uses(server: PrometheusServer) -> None:
    one = _read(server, "web.1")["web.1"]
    assert len(one.cpu_cores) == len(one.memory_bytes) == _grid().count == 60
    assert list(one.cpu_cores) == pytest.approx([0.5] * 60, rel=1e-6)
    assert set(one.memory_bytes) == {2.5 * _GIB}
    assert one.problems == ()


def test_time_in_which_a_vm_was_stopped_is_a_gap(server: PrometheusServer) -> None:
    one = _read(server, "night")["night"]
    assert 10 <= len(_known(one)) <= 16
    assert all(math.isnan(value) for value in one.cpu_cores[-40:])
    assert [problem.code for problem in one.problems] == ["NoSamples"]


def test_a_vm_that_two_exporters_tell_of_counts_once(server: PrometheusServer) -> None:
    assert _known(_read(server, "web-2")["web-2"]) == pytest.approx([0.25] * 60, rel=1e-6)


def test_a_live_migration_is_no_gap_and_no_peak(server: PrometheusServer) -> None:
    one = _read(server, "mover")["mover"]
    known = _known(one)
    assert len(known) >= 58
    assert max(known) <= 0.81
    assert sum(known) / len(known) == pytest.approx(0.4, rel=0.1)
    assert set(one.memory_bytes) == {2.5 * _GIB}


def test_a_name_with_a_dot_is_not_a_pattern(server: PrometheusServer) -> None:
    found = _read(server, "web.1", "web-1")
    assert len(_known(found["web.1"])) == 60
    assert _known(found["web-1"]) == []
    assert found["web-1"].problems[0].code == "NoSamples"


def test_queries_that_are_too_large_are_asked_in_halves(strict_server: PrometheusServer) -> None:
    found = _read(strict_server, "web.1", "web-2", "night", "mover")
    # Each alone may still be too much for such a server: then it says so, and is never a VM that uses nothing.
    for series in found.values():
        codes = {problem.code for problem in series.problems}
        assert _known(series) or codes & {"QueryTooLarge", "NoSamples"}
    assert _known(found["web.1"]) == pytest.approx([0.5] * 60, rel=1e-6)


def test_a_server_that_is_away_is_an_error() -> None:
    client = PrometheusClient("http://127.0.0.1:1", retry=RetryPolicy(attempts=1, deadline_seconds=1.0))
    with pytest.raises(ClusterError):
        list(PrometheusUsage(client).read([VmRef("shop", "web-1")], _grid()))


def test_an_empty_server_says_which_metrics_are_missing() -> None:
    require_prometheus()
    with PrometheusServer() as empty:
        one = _read(empty, "web-1")["web-1"]
    assert [problem.code for problem in one.problems] == ["NoMetric", "NoMetric"]
    assert _known(one) == []
