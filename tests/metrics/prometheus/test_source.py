"""Summaries out of a Prometheus: what is asked, how many queries that takes, and what trouble becomes."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.metrics.fleets import KNOWN, NOW, Guest, nightly, render_history
from tests.metrics.prometheus.peer import Asked, Peer, Told
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.cluster.retry import RetryPolicy
from vmkit.idle import IdlePolicy, State, decide_idle, vmkit_policy
from vmkit.metrics.prometheus.client import Answer, PrometheusClient
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.summary import Measure, Sessions, Signal, Summary, Unknown, Usage
from vmkit.vm.reference import VmRef

POLICY = vmkit_policy()
SOON = RetryPolicy(attempts=2, base_seconds=0.001, cap_seconds=0.002)
REFS = [VmRef("shop", guest.name) for guest in KNOWN]
QUIET = VmRef("shop", "forgotten")
FACTS = {VmRef("shop", guest.name): guest.facts("shop") for guest in KNOWN}


def summarize(
    client: PrometheusClient,
    refs: Collection[VmRef] = (QUIET,),
    policy: IdlePolicy = POLICY,
    at: datetime = NOW,
    **options: object,
) -> Mapping[VmRef, Summary]:
    source = PrometheusSource(client, **options)  # type: ignore[arg-type]
    return source.summarize(refs, measures=policy.measures, at=at, lookback=policy.lookback)


def assert_unknown(summary: Summary, code: str, *, ref: VmRef = QUIET) -> None:
    """The verdict on an otherwise quiet VM is unknown, and the reason is among what is told."""
    verdict = decide_idle(replace(summary, logins=()), FACTS[ref], POLICY, NOW)
    assert verdict.state is State.UNKNOWN
    assert code in [reason.code for reason in verdict.reasons], [str(reason) for reason in verdict.reasons]


# --- numbers --------------------------------------------------------------------------------------------------


def test_numbers_are_those_that_the_guest_did(prometheus: PrometheusClient) -> None:
    measures = (
        Measure(Signal.CPU),
        Measure(Signal.CPU, 50),
        Measure(Signal.CPU, 97),
        Measure(Signal.CPU, 95, peak_window=timedelta(minutes=30)),
        Measure(Signal.CPU, rate_window=timedelta(hours=6)),
        Measure(Signal.CPU, span=timedelta(hours=2)),
        Measure(Signal.NETWORK),
    )
    ref = VmRef("shop", "nightly-batch")
    found = PrometheusSource(prometheus).summarize([ref], measures=measures, at=NOW, lookback=timedelta(days=14))
    cpu, network = found[ref].usage[Signal.CPU], found[ref].usage[Signal.NETWORK]
    assert isinstance(cpu, Usage)
    assert isinstance(network, Usage)
    expected = dict(zip(measures, (1.6, 0.01, 1.6, 1.6, None, 0.01, 240.0), strict=True))
    for measure, value in expected.items():
        if value is not None:
            assert {**cpu.values, **network.values}[measure] == pytest.approx(value, rel=0.01), measure
    six_hours = cpu.values[measures[4]]
    assert six_hours == pytest.approx((1.6 * 3600 + 0.01 * (5 * 3600 + 300)) / (6 * 3600 + 300), rel=0.02)
    assert (cpu.coverage, cpu.resets) == (1.0, 0)
    assert cpu.last_seen == NOW
    assert found[ref].running == timedelta(days=14)
    assert found[ref].observed == 1.0


def test_a_restart_and_a_migration_are_seen_as_what_they_are(prometheus: PrometheusClient) -> None:
    moved, rebooted = VmRef("shop", "moved-and-idle"), VmRef("shop", "rebooted-and-idle")
    found = summarize(prometheus, [moved, rebooted])
    for ref in (moved, rebooted):
        usage = found[ref].usage[Signal.CPU]
        assert isinstance(usage, Usage)
        assert usage.resets == 1
        assert usage.coverage > 0.99
    just = summarize(prometheus, [VmRef("shop", "just-moved")])[VmRef("shop", "just-moved")].migrations
    assert not isinstance(just, Unknown)
    assert just.last_ended is not None
    assert NOW - just.last_ended <= timedelta(minutes=35)


def test_a_session_is_known_by_its_end(prometheus: PrometheusClient) -> None:
    found = summarize(prometheus, [VmRef("shop", "editor")])[VmRef("shop", "editor")].sessions
    assert found == Sessions(0, NOW - timedelta(hours=3), NOW - timedelta(days=14))


def test_twelve_queries_a_shard_are_enough(prometheus: PrometheusClient) -> None:
    policy = replace(POLICY, criteria=POLICY.criteria)
    measures = [*policy.measures, Measure(Signal.GUEST_LOAD)]
    counts = []
    for shard in (len(REFS), 11):
        source = PrometheusSource(prometheus, shard=shard)
        source.summarize(REFS, measures=measures, at=NOW, lookback=policy.lookback)
        counts.append(source.queries)
    shards = -(-len(REFS) // 11)
    assert (counts[1] - counts[0]) / (shards - 1) <= 12


def test_shards_change_nothing(prometheus: PrometheusClient) -> None:
    assert summarize(prometheus, REFS) == summarize(prometheus, REFS, shard=11)


def test_no_vms_ask_nothing(prometheus: PrometheusClient) -> None:
    source = PrometheusSource(prometheus)
    assert source.summarize([], measures=POLICY.measures, at=NOW, lookback=POLICY.lookback) == {}
    assert source.queries == 0


# --- other servers ----------------------------------------------------------------------------------------------


def test_a_server_with_small_limits_is_asked_for_less_at_a_time() -> None:
    require_prometheus()
    guests = [Guest(f"vm-{index}", True) for index in range(40)]
    with PrometheusServer(
        render_history([("shop", guests)], days=3), arguments=["--query.max-samples=40000"]
    ) as server:
        policy = replace(POLICY, lookback=timedelta(days=3))
        found = summarize(PrometheusClient(server.url), [VmRef("shop", each.name) for each in guests], policy)
    for ref, summary in found.items():
        assert not [value for value in summary.usage.values() if isinstance(value, Unknown)], ref
        assert summary.observed == 1.0


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("label", ["namespace", "exported_namespace"])
def test_old_names_and_renamed_labels_are_understood(label: str, old_names: bool) -> None:
    require_prometheus()
    guests = [Guest("quiet", True), Guest("batch", False, cpu=nightly(1.6), receive=nightly(9e5))]
    history = render_history([("shop", guests)], days=15, namespace_label=label, old_names=old_names)
    with PrometheusServer(history) as server:
        found = summarize(PrometheusClient(server.url), [VmRef("shop", guest.name) for guest in guests])
    states = {
        guest.name: decide_idle(
            replace(found[VmRef("shop", guest.name)], logins=()), guest.facts("shop"), POLICY, NOW
        )
        for guest in guests
    }
    assert states["quiet"].may_stop, [str(reason) for reason in states["quiet"].reasons]
    assert states["batch"].state is State.BUSY


# --- trouble: each ends in unknown, with the reason ------------------------------------------------------------


def test_vms_that_no_label_names_are_unknown(prometheus: PrometheusClient) -> None:
    ref = VmRef("elsewhere", "web")
    summary = summarize(prometheus, [ref])[ref]
    assert summary.usage[Signal.CPU] == summary.observed
    assert isinstance(summary.observed, Unknown)
    assert summary.observed.code == "NotJoined"
    assert "namespace and name" in summary.observed.text


def test_an_empty_server_or_the_wrong_tenant_is_unknown() -> None:
    require_prometheus()
    with PrometheusServer() as server:
        summary = summarize(PrometheusClient(server.url))[QUIET]
    assert_unknown(summary, "NoMetrics")


def test_a_lookback_beyond_the_retention_is_unknown() -> None:
    require_prometheus()
    with PrometheusServer(render_history([("shop", [KNOWN[0]])], days=9)) as server:
        summary = summarize(PrometheusClient(server.url))[QUIET]
    assert_unknown(summary, "NotObserved")


def test_a_virt_api_that_nobody_watches_leaves_sessions_unknown() -> None:
    require_prometheus()
    with PrometheusServer(render_history([("shop", [KNOWN[0]])], days=15, virt_api=False)) as server:
        summary = summarize(PrometheusClient(server.url))[QUIET]
    assert_unknown(summary, "SessionsUnwatched")


def test_a_clock_that_differs_is_told(prometheus: PrometheusClient) -> None:
    def behind() -> datetime:
        return datetime.now(UTC) - timedelta(hours=1)

    summary = summarize(prometheus, clock=behind)[QUIET]
    assert abs(summary.at - NOW - timedelta(hours=1)) < timedelta(minutes=1)
    assert_unknown(summary, "ClockSkew")


def test_a_slow_round_trip_is_no_skew(prometheus: PrometheusClient) -> None:
    times = iter([datetime.now(UTC) - timedelta(minutes=10), datetime.now(UTC) + timedelta(minutes=10)])
    assert summarize(prometheus, clock=lambda: next(times))[QUIET].at == NOW


def test_a_counter_that_falls_all_the_time_is_never_idle() -> None:
    require_prometheus()
    broken = Guest("forgotten", False, value=lambda family, ago, value: (ago // 300 % 7) * 1e6)
    with PrometheusServer(render_history([("shop", [broken])], days=15)) as server:
        summary = summarize(PrometheusClient(server.url))[QUIET]
    usage = summary.usage[Signal.CPU]
    assert isinstance(usage, Usage)
    assert usage.resets > 100
    assert decide_idle(replace(summary, logins=()), FACTS[QUIET], POLICY, NOW).state is State.BUSY


def test_a_server_that_is_away_is_asked_once() -> None:
    with Peer(lambda asked: Told(401, b"who are you")) as peer:
        found = summarize(PrometheusClient(peer.url, retry=SOON), REFS)
        assert len(peer.asked) == 1
    assert found.keys() == set(REFS)
    assert_unknown(found[QUIET], "PrometheusUnauthorized")


class Between:
    """Stands between a client and a real Prometheus, and spoils what a test wants."""

    def __init__(self, server: PrometheusServer) -> None:
        import urllib3

        self._pool = urllib3.PoolManager()
        self._url = server.url

    def pass_on(self, asked: Asked) -> Told:
        reply = self._pool.request_encode_body(
            "POST", self._url + asked.path, fields=dict(asked.form), encode_multipart=False
        )
        return Told(reply.status, reply.data)


def test_a_server_that_goes_away_in_the_middle_is_not_asked_on(known_fleet: PrometheusServer) -> None:
    between = Between(known_fleet)

    def answer(asked: Asked) -> Told:
        return (
            Told(401, b"expired")
            if "network" in asked.form["query"] and "max_over" in asked.form["query"]
            else (between.pass_on(asked))
        )

    with Peer(answer) as peer:
        found = summarize(PrometheusClient(peer.url, retry=SOON), REFS, shard=1)
        assert len(peer.asked) < 40
    assert found.keys() == set(REFS)
    for ref, summary in found.items():
        verdict = decide_idle(replace(summary, logins=()), FACTS[ref], POLICY, NOW)
        assert not verdict.may_stop


@pytest.mark.parametrize(
    "told",
    [
        Told(500, b"panic"),
        Told(
            422,
            b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}',
        ),
        Told(200, b"<html>"),
        Told(400, b'{"status":"error","errorType":"bad_data","error":"unknown function"}'),
    ],
    ids=["500", "too large even for one", "no JSON", "refused"],
)
@pytest.mark.parametrize("part", ["kubevirt_vmi_info", "storage_write", "active_connections", "time", "count by"])
def test_any_query_that_fails_leaves_its_part_unknown(
    known_fleet: PrometheusServer, part: str, told: Told
) -> None:
    between = Between(known_fleet)

    def answer(asked: Asked) -> Told:
        # The vocabulary is asked for with all names; what is spoiled there is spoiled by "count by".
        query = asked.form["query"]
        first = query.startswith("label_replace(count by (__name__)")
        hit = first if part == "count by" else query == "time()" if part == "time" else part in query and not first
        return told if hit else between.pass_on(asked)

    with Peer(answer) as peer:
        summary = summarize(PrometheusClient(peer.url, retry=SOON))[QUIET]
    verdict = decide_idle(replace(summary, logins=()), FACTS[QUIET], POLICY, NOW)
    assert verdict.state is State.UNKNOWN
    assert any(reason.code.startswith("Prometheus") for reason in verdict.reasons), verdict.reasons


def test_partial_data_is_unknown(known_fleet: PrometheusServer) -> None:
    between = Between(known_fleet)

    def warn(asked: Asked) -> Told:
        told = between.pass_on(asked)
        if "storage_write" in asked.form["query"]:
            told.body = re.sub(rb"\}\s*$", b',"warnings":["store gateway 2 is away"]}', told.body)
        return told

    with Peer(warn) as peer:
        summary = summarize(PrometheusClient(peer.url))[QUIET]
    assert summary.warnings == ("store gateway 2 is away",)
    assert_unknown(summary, "PartialData")


def test_a_slow_server_is_given_up_on(known_fleet: PrometheusServer) -> None:
    between, free = Between(known_fleet), threading.Event()

    def stall(asked: Asked) -> Told:
        if "max_over_time" in asked.form["query"]:
            free.wait(60)
        return between.pass_on(asked)

    with Peer(stall) as peer:
        try:
            summary = summarize(PrometheusClient(peer.url, timeout_seconds=3.0, retry=SOON))[QUIET]
        finally:
            free.set()
    assert_unknown(summary, "PrometheusDeadlineExceeded")


def test_a_guest_without_a_balloon_driver_has_no_known_memory(prometheus: PrometheusClient) -> None:
    memory = summarize(prometheus)[QUIET].memory
    assert isinstance(memory, Unknown)
    assert summarize(prometheus, memory=False)[QUIET].memory == Unknown("NotAsked", "nobody looked")


def test_a_last_look_asks_for_the_newest_there_is(prometheus: PrometheusClient) -> None:
    asked: list[str] = []

    class Listening(PrometheusClient):
        def query(self, promql: str, at: datetime | None = None) -> Answer:
            asked.append(promql)
            return super().query(promql, at)

    refs = [VmRef("shop", name) for name in ("forgotten", "exporter-is-down")]
    found = PrometheusSource(Listening(prometheus.server)).summarize(
        refs, measures=[Measure(Signal.CPU)], at=NOW, lookback=timedelta(minutes=15)
    )
    assert not [query for query in asked if "vmkit:" in query]
    quiet = found[QUIET].usage[Signal.CPU]
    assert isinstance(quiet, Usage)
    assert quiet.values[Measure(Signal.CPU)] == pytest.approx(0.01, rel=0.01)
    assert isinstance(found[refs[1]].usage[Signal.CPU], Unknown)


def test_history_can_be_judged_as_it_was(prometheus: PrometheusClient) -> None:
    ref = VmRef("shop", "weekly-batch")
    policy = replace(POLICY, lookback=timedelta(days=3))
    before = summarize(prometheus, [ref], policy, NOW - timedelta(days=6, hours=1))[ref].usage[Signal.CPU]
    after = summarize(prometheus, [ref], policy, NOW - timedelta(days=5))[ref].usage[Signal.CPU]
    assert isinstance(before, Usage)
    assert isinstance(after, Usage)
    assert before.values[Measure(Signal.CPU)] == pytest.approx(0.01, rel=0.05)
    assert after.values[Measure(Signal.CPU)] == pytest.approx(0.9, rel=0.05)
