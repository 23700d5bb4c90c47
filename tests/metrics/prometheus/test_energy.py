"""Energy of VMs: three generations of Kepler in a real Prometheus, and the model where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.metrics.fleets import DAY, NOW, Boot, Guest, flat, render_history
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.energy import MODEL_WATTS_PER_CORE
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.summary import Energy, EnergySource, Measure, Signal, Unknown
from vmkit.vm.reference import VmRef

LOOKBACK = timedelta(days=1)
MOVED = Guest(
    "moved", True, cpu=flat(0.5), migrated=True, stays=(Boot("a", 40 * DAY, DAY / 2), Boot("b", DAY / 2))
)
PLAIN = Guest("plain", True, cpu=flat(0.5))
GUESTS = [MOVED, PLAIN, Guest("unmeasured", True)]
WATTS = 10.0


def pods() -> Iterator[tuple[str, str, Boot]]:
    """The launchers that Kepler saw: name of the pod, of its container, and when it ran."""
    for guest in (MOVED, PLAIN):
        for index, stay in enumerate(guest.stays):
            yield f"virt-launcher-{guest.name}-{index}", f"{guest.name}{index}".ljust(64, "0"), stay


def samples(head: str, stay: Boot, watts: float) -> Iterator[str]:
    now = NOW.timestamp()
    for at in range(int(now - 1.2 * DAY), int(now) + 1, 300):
        if now - stay.since <= at and (stay.until is None or at < now - stay.until):
            yield f"{head} {watts * (at - now + 2 * DAY):.1f} {at}\n"


def kepler(generation: EnergySource) -> Iterator[str]:
    family, labels = {
        EnergySource.KEPLER_PODS: (
            "kepler_pod_cpu_joules",
            'pod_id="x",pod_name="{pod}",pod_namespace="shop",state="running",zone="{zone}"',
        ),
        EnergySource.KEPLER_CONTAINERS: (
            "kepler_container_cpu_joules",
            'container_id="{container}",container_name="whatever",pod_id="",state="running",zone="{zone}"',
        ),
        EnergySource.KEPLER_LEGACY: (
            "kepler_container_joules",
            'container_id="{container}",container_name="compute",container_namespace="shop",mode="{mode}",pod_name="{pod}"',
        ),
    }[generation]
    yield f"# TYPE {family} counter\n"
    for pod, container, stay in pods():
        legacy = generation is EnergySource.KEPLER_LEGACY
        # What overlaps, and what is idle, is never added.
        for zone, mode, watts in (("package", "dynamic", WATTS), ("psys", "idle", 70.0)):
            text = labels.format(pod=pod, container=container, zone=zone, mode=mode)
            yield from samples(f"{family}_total{{{text}}}", stay, watts)
        assert legacy or "zone" in labels
    if generation is EnergySource.KEPLER_CONTAINERS:
        yield "# TYPE kube_pod_container_info gauge\n"
        for pod, container, stay in pods():
            now = NOW.timestamp()
            head = (
                'kube_pod_container_info{namespace="shop",container="compute",'
                f'pod="{pod}",container_id="containerd://{container}"}}'
            )
            for at in range(int(now - 1.2 * DAY), int(now) + 1, 300):
                if now - stay.since <= at and (stay.until is None or at < now - stay.until):
                    yield f"{head} 1 {at}\n"


def measure(*more: str) -> dict[str, Energy | Unknown]:
    require_prometheus()
    *history, end = render_history([("shop", GUESTS)], days=1.2)
    with PrometheusServer([*history, *more, end]) as server:
        found = PrometheusSource(PrometheusClient(server.url)).summarize(
            [VmRef("shop", guest.name) for guest in GUESTS],
            measures=[Measure(Signal.CPU)],
            at=NOW,
            lookback=LOOKBACK,
        )
    return {ref.name: summary.energy for ref, summary in found.items()}


@pytest.mark.parametrize(
    "generation", [EnergySource.KEPLER_PODS, EnergySource.KEPLER_CONTAINERS, EnergySource.KEPLER_LEGACY]
)
def test_every_generation_of_kepler_is_joined_to_vms(generation: EnergySource) -> None:
    found = measure(*kepler(generation))
    for name in ("moved", "plain"):
        energy = found[name]
        assert isinstance(energy, Energy), energy
        assert energy.source is generation
        assert energy.active_kwh == pytest.approx(WATTS * 24 / 1000, rel=0.01)
        assert energy.coverage > 0.99
    assert isinstance(found["unmeasured"], Unknown)


def test_without_kepler_a_model_says_so() -> None:
    energy = measure()["plain"]
    assert isinstance(energy, Energy)
    assert energy.source is EnergySource.MODEL
    assert energy.active_kwh == pytest.approx(0.5 * 24 * MODEL_WATTS_PER_CORE / 1000, rel=0.01)


def test_containers_that_nobody_can_place_fall_back_to_the_model() -> None:
    unplaced = (line for line in kepler(EnergySource.KEPLER_CONTAINERS) if "kube_pod_container_info" not in line)
    energy = measure(*unplaced)["plain"]
    assert isinstance(energy, Energy)
    assert energy.source is EnergySource.MODEL


def test_counters_that_are_no_numbers_are_not_known() -> None:
    lines = []
    for line in kepler(EnergySource.KEPLER_PODS):
        head, _, rest = line.rpartition("} ")
        value, _, at = rest.partition(" ")
        broken = bool(head) and float(at) > NOW.timestamp() - 3600 and bool(value)
        lines.append(f"{head}}} NaN {at}" if broken else line)
    energy = measure(*lines)["plain"]
    assert isinstance(energy, Unknown)
    assert energy.code == "BadNumber"
