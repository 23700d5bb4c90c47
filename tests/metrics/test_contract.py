"""What every source owes, whoever measured: the same summaries of the same VMs.

A practice cluster's series go out as OpenMetrics, through promtool into a real Prometheus, and are summed up there
and from the practice cluster itself. Both look at samples five minutes apart. They may differ by 2 %, and by the
odd step at the edges of a run, where Prometheus still sees the last sample of a guest that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.idle import PRESETS, decide_idle, find_preset
from vmkit.idle.facts import IdleFacts
from vmkit.lab import Lab
from vmkit.lab.metrics.openmetrics import DECISIVE, sample_times
from vmkit.lab.metrics.service import Facts, decode_facts
from vmkit.lab.remote import RemoteLab
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.source import UsageSource
from vmkit.metrics.summary import Energy, EnergySource, Measure, Memory, Sessions, Signal, Summary, Unknown, Usage
from vmkit.practice import PracticeSource
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

LOOKBACK = timedelta(days=4)
MEASURES = tuple(
    dict.fromkeys(
        [
            *(measure for preset in PRESETS for measure in find_preset(preset).measures),
            Measure(Signal.GUEST_LOAD),
            Measure(Signal.CPU, 50),
            Measure(Signal.TRANSMIT, 99.5),
        ]
    )
)
STEPS = 3 / (4 * 288)
"""The share of the lookback that a few steps are."""


@dataclass(frozen=True)
class Both:
    """One practice cluster, seen through both sources."""

    facts: Facts
    at: datetime
    sources: Mapping[str, UsageSource]
    summaries: Mapping[str, Mapping[VmRef, Summary]]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    require_prometheus()
    with Lab(fleet=24, seed=4, speed=1.0) as lab:
        remote = RemoteLab.from_kubeconfig(lab.kubeconfig)
        facts = decode_facts(remote.metric_facts())
        now = facts.now // 300 * 300
        at = datetime.fromtimestamp(now, UTC)
        times = sample_times(now - 5 * 86400, now, 300)
        *pieces, end = facts.exposition().render(times, only=DECISIVE)
        watched = "".join(f'up{{pod="virt-api-6f9"}} 1 {int(time)}\n' for time in times)
        with PrometheusServer([*pieces, "# TYPE up gauge\n", watched, end]) as server:
            sources: dict[str, UsageSource] = {
                "prometheus": PrometheusSource(PrometheusClient(server.url)),
                "practice": PracticeSource(remote),
            }
            refs = [VmRef(guest.namespace, guest.name) for guest in facts.guests]
            yield Both(
                facts,
                at,
                sources,
                {
                    name: source.summarize(refs, measures=MEASURES, at=at, lookback=LOOKBACK)
                    for name, source in sources.items()
                },
            )


def pairs(both: Both) -> Iterator[tuple[Summary, Summary]]:
    first, second = both.summaries["prometheus"], both.summaries["practice"]
    assert first.keys() == second.keys()
    assert len(first) == 24
    for ref, summary in first.items():
        yield summary, second[ref]


def test_both_give_the_same_numbers(both: Both) -> None:
    compared = 0
    for one, other in pairs(both):
        assert one.usage.keys() == other.usage.keys()
        for signal in one.usage:
            first, second = one.usage[signal], other.usage[signal]
            assert type(first) is type(second), (one.ref, signal, first, second)
            if not isinstance(first, Usage) or not isinstance(second, Usage):
                continue
            assert first.values.keys() == second.values.keys(), (one.ref, signal)
            for measure, value in first.values.items():
                expected = pytest.approx(second.values[measure], rel=0.02, abs=1e-6)
                assert value == expected, f"{one.ref} {measure}"
                compared += 1
            assert first.coverage == pytest.approx(second.coverage, abs=0.02)
            assert first.last_seen == second.last_seen
            assert first.resets == second.resets, one.ref
    assert compared > 200


def test_both_know_for_how_long_a_vm_ran_and_was_seen(both: Both) -> None:
    for one, other in pairs(both):
        assert type(one.observed) is type(other.observed)
        if not isinstance(one.observed, Unknown):
            assert one.observed == pytest.approx(other.observed, abs=STEPS)
        ran = [timedelta(0) if isinstance(each, Unknown) else each for each in (one.running, other.running)]
        assert abs(ran[0] - ran[1]) <= timedelta(minutes=30), one.ref


def test_both_know_of_the_same_sessions(both: Both) -> None:
    seen = 0
    for one, other in pairs(both):
        assert isinstance(one.sessions, Sessions)
        assert isinstance(other.sessions, Sessions)
        assert one.sessions.open_now == other.sessions.open_now
        assert one.sessions.known_since == other.sessions.known_since
        start = both.at - LOOKBACK
        last = [
            each if each is None or each > start else None
            for each in (one.sessions.last_ended, other.sessions.last_ended)
        ]
        if one.sessions.open_now == 0:
            assert last[0] == last[1], one.ref
        seen += last[0] is not None
    assert seen > 0


def test_both_know_of_the_same_memory(both: Both) -> None:
    for one, other in pairs(both):
        assert type(one.memory) is type(other.memory)
        if isinstance(one.memory, Memory) and isinstance(other.memory, Memory):
            assert one.memory.used_bytes == pytest.approx(other.memory.used_bytes, rel=0.02)
            assert one.memory.available_bytes == other.memory.available_bytes


def test_both_know_of_the_same_energy(both: Both) -> None:
    measured = 0
    for one, other in pairs(both):
        if isinstance(one.running, Unknown) or one.running < timedelta(hours=2):
            continue
        assert isinstance(one.energy, Energy), (one.ref, one.energy)
        assert isinstance(other.energy, Energy)
        assert one.energy.source is other.energy.source is EnergySource.KEPLER_PODS
        assert one.energy.active_kwh == pytest.approx(other.energy.active_kwh, rel=0.02, abs=1e-4), one.ref
        assert one.energy.coverage > 0.98
        measured += 1
    assert measured > 8


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_both_lead_to_the_same_verdicts(both: Both, preset: str) -> None:
    policy = replace(find_preset(preset), lookback=LOOKBACK)
    states: dict[str, dict[VmRef, object]] = {}
    guests = [guest for guest in both.facts.guests if guest.status == "Running"]
    refs = [VmRef(guest.namespace, guest.name) for guest in guests]
    for name, source in both.sources.items():
        found = source.summarize(refs, measures=policy.measures, at=both.at, lookback=LOOKBACK)
        states[name] = {}
        for guest, ref in zip(guests, refs, strict=True):
            facts = IdleFacts(
                ref,
                PowerState.RUNNING,
                vcpus=guest.vcpus,
                created_at=datetime.fromtimestamp(guest.created, UTC),
                running_since=datetime.fromtimestamp(guest.runs[-1].boot, UTC),
                agent=guest.agent,
            )
            verdict = decide_idle(replace(found[ref], logins=()), facts, policy, both.at)
            states[name][ref] = (verdict.state, verdict.may_stop)
    assert states["prometheus"] == states["practice"]
    if preset == "vmkit":  # a practice cluster's agents alone exceed what the others let pass
        assert len(set(states["practice"].values())) > 1


@pytest.mark.parametrize("name", ["prometheus", "practice"])
def test_a_source_answers_for_every_vm_and_raises_nothing(both: Both, name: str) -> None:
    absent = VmRef("nowhere", "nothing")
    known = next(iter(both.summaries[name]))
    found = both.sources[name].summarize([absent, known], measures=MEASURES, at=both.at, lookback=LOOKBACK)
    assert found.keys() == {absent, known}
    for value in found[absent].usage.values():
        assert isinstance(value, Unknown)
    assert isinstance(found[absent].observed, Unknown)


def test_a_practice_cluster_that_is_away_leaves_all_unknown() -> None:
    source = PracticeSource(RemoteLab("http://127.0.0.1:1", "token"))
    ref = VmRef("shop", "web")
    found = source.summarize([ref], measures=MEASURES, at=datetime.now(UTC), lookback=LOOKBACK)
    assert isinstance(found[ref].observed, Unknown)
    assert found[ref].observed.code == "Unreachable"
