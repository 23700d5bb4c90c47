"""Kepler's three generations in a real Prometheus, joined to VMs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.insight.energy.kepler import KeplerReading, build_hours, read_kepler
from vmkit.insight.series import Grid, build_grid
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.summary import EnergySource
from vmkit.vm.reference import VmRef

pytestmark = pytest.mark.timeout(180)

_AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
_LAST = int(_AT.timestamp())
_HOUR = 3600
_FIRST = _LAST - 8 * _HOUR
_WEB, _MOVER, _ODD = VmRef("shop", "web"), VmRef("shop", "mover"), VmRef("shop", "odd")


def _rise(name: str, labels: str, watts: float, first: int = _FIRST, last: int = _LAST) -> list[str]:
    return [f"{name}{{{labels}}} {watts * (at - first):.1f} {at}\n" for at in range(first, last + 1, 60)]


def _family(name: str, lines: list[str], kind: str = "counter") -> str:
    return f"# TYPE {name.removesuffix('_total')} {kind}\n" + "".join(lines)


def _info(vm: str, pod: str, first: int = _FIRST, last: int = _LAST) -> list[str]:
    labels = f'namespace="shop",name="{vm}",vmi_pod="{pod}"'
    return [f"kubevirt_vmi_info{{{labels}}} 1 {at}\n" for at in range(first, last + 1, 60)]


def _common(path: str = "/sys/class/powercap/intel-rapl/intel-rapl") -> Iterator[str]:
    move = _FIRST + 4 * _HOUR
    yield _family(
        "kubevirt_vmi_info",
        [
            *_info("web", "virt-launcher-web-aaaaa", last=_FIRST + 3 * _HOUR),
            *_info("web", "virt-launcher-web-bbbbb", first=_FIRST + 5 * _HOUR),
            *_info("mover", "virt-launcher-mover-ccccc", last=move),
            *_info("mover", "virt-launcher-mover-ddddd", first=move),
        ],
        "gauge",
    )
    name = "kepler_node_cpu_idle_joules_total"
    lines = []
    for node in ("n1", "n2"):
        for socket, watts in ((0, 20.0), (1, 15.0)):
            where = f"{path}:{socket}" if "energy" not in path else path
            lines += _rise(name, f'node_name="{node}",zone="package",path="{where}"', watts)
            if "energy" in path:
                break
        lines += _rise(name, f'node_name="{node}",zone="dram",path="x"', 500.0)
    yield _family(name, lines)


def _pods() -> Iterator[str]:
    name = "kepler_pod_cpu_joules_total"

    def labels(pod: str, node: str, zone: str = "package") -> str:
        where = f'node_name="{node}",zone="{zone}",state="running"'
        return f'pod_name="{pod}",pod_namespace="shop",pod_id="u-{pod}",{where}'

    move = _FIRST + 4 * _HOUR
    lines = [
        # Stopped after three hours, started after five: a counter of its own each time.
        *_rise(name, labels("virt-launcher-web-aaaaa", "n1"), 10.0, last=_FIRST + 3 * _HOUR),
        *_rise(name, labels("virt-launcher-web-bbbbb", "n1"), 10.0, first=_FIRST + 5 * _HOUR),
        # Zones overlap: adding them up would tell another number.
        *_rise(name, labels("virt-launcher-web-bbbbb", "n1", "core"), 7.0, first=_FIRST + 5 * _HOUR),
        *_rise(name, labels("virt-launcher-web-bbbbb", "n1", "dram"), 3.0, first=_FIRST + 5 * _HOUR),
        *_rise(name, labels("virt-launcher-mover-ccccc", "n1"), 20.0, last=move),
        *_rise(name, labels("virt-launcher-mover-ddddd", "n2"), 20.0, first=move),
        # Nobody saw its pod but Kepler.
        *_rise(name, labels("virt-launcher-odd-eeeee", "n2"), 5.0),
        *_rise(name, labels("nginx-1", "n2"), 50.0),
    ]
    yield _family(name, lines)


def _containers() -> Iterator[str]:
    name = "kepler_container_cpu_joules_total"

    def labels(container: str, named: str, zone: str = "package", pod: str = "") -> str:
        return (
            f'container_id="{container}",container_name="{named}",pod_id="{pod}",runtime="containerd",'
            f'node_name="n1",zone="{zone}",state="running"'
        )

    yield _family(
        name,
        [
            # Without Kubernetes metadata the name is the guest's hostname, and only the id tells.
            *_rise(name, labels("a" * 64, "web.example.com"), 10.0),
            *_rise(name, labels("a" * 64, "web.example.com", "core"), 7.0),
            # With it, sidecars have names of their own.
            *_rise(name, labels("b" * 64, "compute", pod="u-mover"), 20.0),
            *_rise(name, labels("c" * 64, "guest-console-log", pod="u-mover"), 90.0),
            *_rise(name, labels("d" * 64, "nginx"), 50.0),
        ],
    )


def _legacy() -> Iterator[str]:
    name = "kepler_container_joules_total"

    def labels(pod: str, mode: str) -> str:
        return (
            f'container_name="compute",container_namespace="shop",pod_name="{pod}",mode="{mode}",instance="n1",'
            'source="rapl"'
        )

    yield _family(
        name,
        [
            *_rise(name, labels("virt-launcher-web-bbbbb", "dynamic"), 10.0),
            *_rise(name, labels("virt-launcher-web-bbbbb", "idle"), 30.0),
        ],
    )


def _launchers() -> list[dict[str, Any]]:
    def pod(vm: str, uid: str, container: str) -> dict[str, Any]:
        statuses = [{"name": "compute", "containerID": f"containerd://{container}"}] if container else []
        return {
            "metadata": {
                "name": f"virt-launcher-{vm}-zzzzz", "namespace": "shop", "uid": uid,
                "labels": {"vm.kubevirt.io/name": vm},
            },
            "status": {"containerStatuses": statuses},
        }  # fmt: skip

    return [pod("web", "u-web", "a" * 64), pod("mover", "u-mover", ""), {"metadata": None}]


def _hours() -> Grid:
    return build_hours(build_grid(_AT, timedelta(hours=7), timedelta(minutes=5)))


def _read(history: Iterator[str], zone: str = "package", most_samples: int = 50_000_000) -> KeplerReading:
    require_prometheus()
    arguments = [f"--query.max-samples={most_samples}"]
    with PrometheusServer([*history, "# EOF\n"], arguments=arguments) as server:
        return read_kepler(PrometheusClient(server.url), {_WEB, _MOVER, _ODD}, _launchers(), _hours(), zone=zone)


def _watts(reading: KeplerReading, ref: VmRef) -> list[float]:
    return [value / 3600 for value in reading.vms[ref].active if not math.isnan(value)]


def test_pods_are_joined_over_boots_and_migrations_and_zones_never_added() -> None:
    def history() -> Iterator[str]:
        yield from _common()
        yield from _pods()

    found = _read(history())
    assert found.source is EnergySource.KEPLER_PODS
    assert set(found.vms) == {_WEB, _MOVER, _ODD}
    web, mover = _watts(found, _WEB), _watts(found, _MOVER)
    # Seven hours, of which it was stopped for two.
    assert len(web) in (5, 6)
    assert web[-1] == pytest.approx(10.0, rel=0.03)
    assert sum(web) <= 10.0 * 5.1
    assert len(mover) == 7
    assert mover == pytest.approx([20.0] * 7, rel=0.05)
    assert set(found.vms[_MOVER].node_hours) == {"n1", "n2"}
    assert _watts(found, _ODD) == pytest.approx([5.0] * 7, rel=0.03)
    # Two sockets a server, one zone.
    assert found.idle_watts == pytest.approx({"n1": 35.0, "n2": 35.0}, rel=0.03)
    assert not found.fake
    assert found.problems == ()


def test_containers_are_joined_by_id_and_sidecars_left_out() -> None:
    def history() -> Iterator[str]:
        yield from _common()
        yield from _containers()

    found = _read(history())
    assert found.source is EnergySource.KEPLER_CONTAINERS
    assert _watts(found, _WEB) == pytest.approx([10.0] * 7, rel=0.03)
    assert _watts(found, _MOVER) == pytest.approx([20.0] * 7, rel=0.03)
    assert set(found.vms) == {_WEB, _MOVER}


def test_the_old_names_count_work_and_leave_idle_power_to_the_node() -> None:
    def history() -> Iterator[str]:
        yield from _common()
        yield from _legacy()

    found = _read(history())
    assert found.source is EnergySource.KEPLER_LEGACY
    assert _watts(found, _WEB) == pytest.approx([10.0] * 7, rel=0.03)


def test_another_zone_is_another_number() -> None:
    def history() -> Iterator[str]:
        yield from _common()
        yield from _pods()

    found = _read(history(), zone="dram")
    assert _watts(found, _WEB)[-1] == pytest.approx(3.0, rel=0.03)
    assert found.idle_watts["n1"] == pytest.approx(500.0, rel=0.03)


def test_without_kepler_nothing_is_measured() -> None:
    found = _read(iter(()))
    assert (found.source, found.vms, found.idle_watts, found.fake) == (None, {}, {}, False)


def test_a_meter_for_development_is_recognised() -> None:
    def history() -> Iterator[str]:
        yield from _common("/sys/class/powercap/intel-rapl/energy_package")
        yield from _pods()

    assert _read(history()).fake


def test_a_counter_that_lies_is_a_gap_that_is_told() -> None:
    def history() -> Iterator[str]:
        name = "kepler_pod_cpu_joules_total"
        labels = (
            'pod_name="virt-launcher-web-aaaaa",pod_namespace="shop",pod_id="u",node_name="n1",zone="package",'
            'state="running"'
        )
        good = _rise(name, labels, 10.0, last=_FIRST + 4 * _HOUR)
        bad = [f"{name}{{{labels}}} {value} {_FIRST + 4 * _HOUR + 60 * number}\n"
               for number, value in enumerate(("1e15", "-5", "NaN"), start=1)]  # fmt: skip
        yield _family(name, good + bad)

    found = _read(history())
    assert all(0 <= watts < 11 for watts in _watts(found, _WEB))
    assert any("do not count" in problem for problem in found.problems)


def test_a_server_that_finds_the_question_too_large_is_asked_in_halves() -> None:
    def history() -> Iterator[str]:
        yield from _common()
        yield from _pods()

    whole, halves = _read(history()), _read(history(), most_samples=430)
    assert halves.source is EnergySource.KEPLER_PODS
    assert {ref: _watts(halves, ref) for ref in halves.vms} == {ref: _watts(whole, ref) for ref in whole.vms}
    assert halves.idle_watts == pytest.approx(whole.idle_watts)
