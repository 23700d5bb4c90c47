"""Histories from a real Prometheus, and from recordings: the same past is read the same."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.metrics.fleets import DAY, NOW, Boot, Guest, nightly, once, render_history
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.errors import Unreachable
from vmkit.idle.policy import vmkit_policy
from vmkit.idle.rehearsal import Terms, rehearse
from vmkit.idle.rehearsal_history import DOWN, STEP, UNSEEN, UP, VmHistory
from vmkit.idle.rehearsal_reading import HistoryReader
from vmkit.idle.rehearsal_recording import RecordingReader
from vmkit.idle.report import Action, IdleItem, Size
from vmkit.idle.verdict import State, Verdict
from vmkit.metrics.practice import RecordedRun, Recording
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.summary import Signal
from vmkit.plan import Reason
from vmkit.vm.reference import VmRef

LOOKBACK = timedelta(days=3)
SPAN = timedelta(days=4)
POLICY = replace(vmkit_policy(lookback=LOOKBACK), minimum_running=timedelta(days=2))
USED_AT = NOW.timestamp() - 2 * DAY
GUESTS = (
    Guest("forgotten", True),
    Guest("nightly", False, cpu=nightly(1.2)),
    Guest("missed", True, cpu=once(1.2, at=USED_AT, length=3600, rest=0.01)),
    Guest("watched", True, session=2 * DAY),
    Guest("blind", True, gaps=((7 * DAY, 1 * DAY),)),
    Guest("away", True, stays=(Boot("worker-1", 40 * DAY, 3 * DAY), Boot("worker-1", 1 * DAY))),
)


def _item(guest: Guest) -> IdleItem:
    ref = VmRef("shop", guest.name)
    facts = replace(guest.facts("shop"), running_since=NOW - timedelta(days=40))
    verdict = Verdict(ref, "vmkit", State.UNKNOWN, (), (), None, (), timedelta(0), timedelta(0))
    return IdleItem("team", verdict, facts, Size(2, 1024**3), Action.NONE, Reason("", ""))


ITEMS = [_item(guest) for guest in GUESTS]


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    require_prometheus()
    with PrometheusServer(render_history([("shop", GUESTS)], days=8)) as one:
        yield one


@pytest.fixture(scope="module")
def histories(server: PrometheusServer) -> dict[str, VmHistory]:
    reader = HistoryReader(PrometheusClient(server.url), start=NOW - SPAN - LOOKBACK, end=NOW, shard=4)
    told: list[int] = []
    found = {each.facts.ref.name: each for each in reader.read(ITEMS, on_progress=told.append)}
    assert list(found) == [guest.name for guest in GUESTS]
    assert (told, reader.notices) == ([4, 6], ())
    return found


def test_rates_and_states_are_those_of_the_past(histories: dict[str, VmHistory]) -> None:
    history = histories["missed"]
    assert (history.start, len(history)) == (NOW - SPAN - LOOKBACK, (SPAN + LOOKBACK) // STEP)
    assert set(history.states) == {UP}
    cpu = history.signals[Signal.CPU]
    used = round((USED_AT - history.start.timestamp()) / 300)
    assert max(cpu[used + 1 : used + 11]) == pytest.approx(1.2, rel=0.05)
    assert max(cpu[: used - 1]) == pytest.approx(0.01, rel=0.05)
    assert max(history.signals[Signal.RECEIVE]) == pytest.approx(200, rel=0.05)


def test_what_was_not_running_and_what_was_not_seen_are_told_apart(histories: dict[str, VmHistory]) -> None:
    away, blind = histories["away"], histories["blind"]
    middle = (SPAN + LOOKBACK - timedelta(days=2)) // STEP
    assert (away.states[middle], away.states[0], away.states[-1]) == (DOWN, UP, UP)
    assert math.isnan(away.signals[Signal.CPU][middle])
    assert (blind.states[middle], math.isnan(blind.signals[Signal.CPU][middle])) == (UP, True)


def test_a_session_is_known_by_its_end(histories: dict[str, VmHistory]) -> None:
    [step] = histories["watched"].sessions
    assert abs(histories["watched"].instant(step) - (NOW - timedelta(days=2))) <= 2 * STEP
    assert histories["forgotten"].sessions == frozenset()


def test_the_rehearsal_of_a_real_past_is_right(histories: dict[str, VmHistory]) -> None:
    [found] = rehearse([POLICY], histories.values(), Terms(NOW - SPAN, NOW, UTC))
    stops = {vm.ref.name: vm.stops for vm in found.vms}
    assert not stops["nightly"]
    assert not stops["blind"]
    [forgotten] = stops["forgotten"]
    assert forgotten.stopped_at == NOW - SPAN + timedelta(days=1)
    [missed] = stops["missed"]
    assert missed.used_at is not None
    assert abs(missed.used_at - datetime.fromtimestamp(USED_AT, UTC)) <= 2 * STEP
    assert not missed.hit  # a day after the stop, and more
    assert len(stops["watched"]) == 1
    assert stops["watched"][0].used_at is not None


def test_a_server_that_limits_queries_is_asked_for_less() -> None:
    require_prometheus()
    with PrometheusServer(
        render_history([("shop", GUESTS)], days=8), arguments=["--query.max-samples=9000"]
    ) as small:
        reader = HistoryReader(PrometheusClient(small.url), start=NOW - SPAN - LOOKBACK, end=NOW)
        found = list(reader.read(ITEMS))
    assert [each.facts.ref.name for each in found] == [guest.name for guest in GUESTS]
    assert found[1].signals[Signal.CPU]


def test_a_server_without_such_metrics_leaves_all_unseen_and_says_so() -> None:
    require_prometheus()
    with PrometheusServer() as empty:
        reader = HistoryReader(PrometheusClient(empty.url), start=NOW - SPAN, end=NOW)
        [history] = reader.read(ITEMS[:1])
    assert set(history.states) == {UNSEEN}
    assert "nothing can be rehearsed" in reader.notices[0]


def test_a_server_that_is_away_is_an_error() -> None:
    reader = HistoryReader(PrometheusClient("http://127.0.0.1:1"), start=NOW - SPAN, end=NOW)
    with pytest.raises(Unreachable):
        list(reader.read(ITEMS[:1]))


def test_recordings_are_read_as_a_prometheus_would_have_them(histories: dict[str, VmHistory]) -> None:
    now = NOW.timestamp()

    def record(refs: Collection[VmRef]) -> list[Recording]:
        guests = [guest for guest in GUESTS if VmRef("shop", guest.name) in refs and not guest.gaps]
        return [
            Recording(
                VmRef("shop", guest.name),
                now - guest.created,
                [
                    RecordedRun(
                        now - stay.since,
                        None if stay.until is None else now - stay.until,
                        False,
                        {Signal.CPU: lambda at, stay=stay: 0.01 * (at - (now - stay.since))},
                    )
                    for stay in guest.stays
                ],
                last_session=lambda at, guest=guest: (
                    None if guest.session is None or at < now - guest.session else now - guest.session
                ),
            )
            for guest in guests
        ]

    reader = RecordingReader(record, start=NOW - SPAN - LOOKBACK, end=NOW)
    found = {each.facts.ref.name: each for each in reader.read(ITEMS)}
    assert found["away"].states.count(DOWN) == pytest.approx(histories["away"].states.count(DOWN), abs=3)
    cpu, real = found["away"].signals[Signal.CPU], histories["away"].signals[Signal.CPU]
    assert cpu[:100] == pytest.approx(real[:100], rel=0.05)
    assert math.isnan(cpu[(SPAN + LOOKBACK - timedelta(days=2)) // STEP])
    [step], [seen] = found["watched"].sessions, histories["watched"].sessions
    assert abs(step - seen) <= 1
    assert set(found["blind"].states) == {UNSEEN}
