"""Fleets whose truth is known, in a real Prometheus: what is idle is found, and nothing else is taken for it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.metrics.fleets import (
    DAY,
    KNOWN,
    NOW,
    Boot,
    Guest,
    flat,
    nightly,
    office,
    once,
    render_history,
    ticking,
)
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.idle import PRESETS, IdlePolicy, State, Verdict, decide_idle, find_preset, vmkit_policy
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.vm.reference import VmRef


def judge(
    client: PrometheusClient, fleets: Iterable[tuple[str, Iterable[Guest]]], policy: IdlePolicy
) -> Mapping[VmRef, Verdict]:
    """The verdicts on guests of whom nobody is logged in."""
    guests = {VmRef(namespace, guest.name): guest for namespace, some in fleets for guest in some}
    source = PrometheusSource(client)
    summaries = source.summarize(guests, measures=policy.measures, at=NOW, lookback=policy.lookback)
    assert summaries.keys() == guests.keys()
    return {
        ref: decide_idle(replace(summaries[ref], logins=()), guest.facts(ref.namespace), policy, NOW)
        for ref, guest in guests.items()
    }


@pytest.fixture(scope="module")
def verdicts(known_fleet: PrometheusServer) -> Mapping[str, Verdict]:
    found = judge(PrometheusClient(known_fleet.url), [("shop", KNOWN)], vmkit_policy())
    return {ref.name: verdict for ref, verdict in found.items()}


@pytest.mark.parametrize("guest", [guest for guest in KNOWN if guest.idle], ids=lambda guest: guest.name)
def test_what_nobody_uses_is_found(verdicts: Mapping[str, Verdict], guest: Guest) -> None:
    verdict = verdicts[guest.name]
    assert verdict.may_stop, [reason.text for reason in verdict.reasons]


@pytest.mark.parametrize(
    ("name", "state", "code"),
    [
        ("nightly-batch", State.BUSY, "InUse"),
        ("weekly-batch", State.BUSY, "InUse"),
        ("short-job", State.BUSY, "InUse"),
        ("editor", State.BUSY, "SessionSeen"),
        ("remote-desktop", State.UNKNOWN, "InboundTraffic"),
        ("unwatched", State.UNKNOWN, "NoSeries"),
        ("without-network", State.UNKNOWN, "NoSeries"),
        ("exporter-was-down", State.UNKNOWN, "TooFewSamples"),
        ("exporter-is-down", State.UNKNOWN, "Stale"),
        ("just-rebooted", State.UNKNOWN, "JustStarted"),
        ("just-moved", State.UNKNOWN, "JustMigrated"),
        ("new", State.UNKNOWN, "TooYoung"),
        ("trainer", State.UNKNOWN, "GpuUnmeasured"),
        ("copier", State.BUSY, "InUse"),
        ("receiver", State.BUSY, "InUse"),
        ("scraped-twice", State.UNKNOWN, "PartialData"),
        ("broken-counter", State.UNKNOWN, "TooFewSamples"),
    ],
)
def test_what_is_used_or_cannot_be_known_is_kept(
    verdicts: Mapping[str, Verdict], name: str, state: State, code: str
) -> None:
    verdict = verdicts[name]
    assert verdict.state is state, [reason.text for reason in verdict.reasons]
    assert code in [reason.code for reason in verdict.reasons]
    assert not verdict.may_stop


def test_every_known_guest_is_tried(verdicts: Mapping[str, Verdict]) -> None:
    assert {name for name, verdict in verdicts.items() if verdict.may_stop} == {
        guest.name for guest in KNOWN if guest.idle
    }


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"vmkit"}))
def test_the_definitions_of_clouds_stop_nothing_that_cannot_be_known(
    prometheus: PrometheusClient, preset: str
) -> None:
    found = judge(prometheus, [("shop", KNOWN)], find_preset(preset))
    unknowable = {
        "unwatched",
        "without-network",
        "exporter-is-down",
        "just-rebooted",
        "just-moved",
        "new",
        "trainer",
    }
    assert not [ref for ref, verdict in found.items() if ref.name in unknowable and verdict.may_stop]
    if preset == "gcp":  # its definition lets the most pass
        assert found[VmRef("shop", "forgotten")].may_stop


# --- generated fleets -------------------------------------------------------------------------------------

LOOKBACK = timedelta(days=2)


def short_policy() -> IdlePolicy:
    """vmkit's own, over two days: fleets are small, and many."""
    return replace(vmkit_policy(), lookback=LOOKBACK, minimum_running=timedelta(days=1), settle=timedelta(hours=6))


def generate_guest(draw: random.Random, name: str) -> Guest:
    """A guest that is idle, used, or not to be judged; how it is made says what is true of it."""
    now = NOW.timestamp()
    noise = draw.uniform(0.002, 0.045)
    base = Guest(
        name,
        True,
        cpu=ticking(noise, every=draw.choice((900, 3600)), length=300, rest=noise / 3),
        receive=flat(draw.uniform(0, 900)),
        transmit=flat(draw.uniform(0, 400)),
        write=flat(draw.uniform(0, 60_000)),
        vcpus=draw.choice((2, 4, 8)),
        agent=draw.random() < 0.7,
    )
    level = draw.uniform(0.4, 2.0)
    start = now - draw.uniform(0.05, 1.9) * DAY // 300 * 300
    ways = {
        "idle": lambda: base,
        "idle, moved": lambda: replace(
            base,
            migrated=True,
            stays=(Boot("a", 40 * DAY, 0.5 * DAY), Boot(draw.choice("ab") + "2", 0.5 * DAY)),
        ),
        "idle, rebooted": lambda: replace(
            base, stays=(Boot("a", 40 * DAY, 0.8 * DAY), Boot("a", 0.8 * DAY - 600))
        ),
        "nightly": lambda: replace(
            base, idle=False, cpu=nightly(level, hour=draw.randrange(24), hours=0.5, rest=noise)
        ),
        "office": lambda: replace(
            base, idle=False, cpu=office(level, rest=noise), session=draw.uniform(600, 1.9 * DAY)
        ),
        "once": lambda: replace(base, idle=False, cpu=once(level, at=start, length=600, rest=noise)),
        "burst of traffic": lambda: replace(
            base, idle=False, receive=once(draw.uniform(2e5, 9e6), at=start, length=600, rest=50.0)
        ),
        "burst of writing": lambda: replace(
            base, idle=False, write=once(draw.uniform(3e6, 9e7), at=start, length=600, rest=50.0)
        ),
        "console": lambda: replace(base, idle=False, session=draw.uniform(0, 1.9 * DAY)),
        "served": lambda: replace(base, idle=False, receive=flat(draw.uniform(1500, 30_000)), agent=False),
        "exporter away": lambda: replace(base, idle=False, gaps=((draw.uniform(0.3, 1.9) * DAY, -1.0),)),
        "exporter was away": lambda: replace(base, idle=False, gaps=((1.5 * DAY, draw.uniform(0.2, 1.3) * DAY),)),
        "unmeasured": lambda: replace(
            base,
            idle=False,
            without=(draw.choice(("kubevirt_vmi_network", "kubevirt_vmi_storage", "kubevirt_vmi")),),
        ),
        "twice": lambda: replace(base, idle=False, exporters=2),
        "new": lambda: replace(base, idle=False, created=DAY, stays=(Boot("a", DAY),)),
        "just up": lambda: replace(base, idle=False, stays=(Boot("a", draw.uniform(600, 5 * 3600)),)),
        "gpu": lambda: replace(base, idle=False, gpu=True),
    }
    return ways[draw.choice(list(ways))]()


def run_generated(seeds: Iterable[int]) -> None:
    fleets = []
    for seed in seeds:
        draw = random.Random(seed)
        fleets.append((f"fleet-{seed}", [generate_guest(draw, f"vm-{index}") for index in range(4)]))
    require_prometheus()
    with PrometheusServer(render_history(fleets, days=2.2)) as server:
        found = judge(PrometheusClient(server.url), fleets, short_policy())
    truth = {VmRef(namespace, guest.name): guest.idle for namespace, some in fleets for guest in some}
    wrong = {str(ref): found[ref].reasons for ref, idle in truth.items() if found[ref].may_stop and not idle}
    missed = {str(ref): found[ref].reasons for ref, idle in truth.items() if idle and not found[ref].may_stop}
    assert wrong == {}
    assert missed == {}


def test_no_stop_is_wrong_on_fifty_generated_fleets() -> None:
    run_generated(range(50))


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_no_stop_is_wrong_on_a_thousand_generated_fleets(first: int) -> None:
    run_generated(range(first, first + 100))
