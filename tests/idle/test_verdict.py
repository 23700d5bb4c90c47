"""Verdicts: only a VM of which everything is known, and all of it quiet, is idle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.idle.world import AT, DAY, QUIET, REF, quiet_facts, quiet_summary, usage
from vmkit.idle import IdleFacts, State, decide_fleet, decide_idle, find_preset, vmkit_policy
from vmkit.idle.policy import PRESETS
from vmkit.metrics.summary import Login, Migrations, Sessions, Signal, Summary, Unknown
from vmkit.plan import Reason
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

POLICY = vmkit_policy()
MINUTE = timedelta(minutes=1)
GONE = Unknown("ExporterDown", "virt-handler was not scraped")


def codes(summary: Summary, facts: IdleFacts) -> tuple[State, list[str]]:
    verdict = decide_idle(summary, facts, POLICY, AT)
    return verdict.state, [each.code for each in verdict.reasons]


@pytest.mark.parametrize("name", PRESETS)
def test_a_vm_that_nobody_uses_is_idle_by_every_preset(name: str) -> None:
    policy = find_preset(name)
    levels = {Signal.RECEIVE: 20.0, Signal.TRANSMIT: 20.0, Signal.NETWORK: 40.0}
    verdict = decide_idle(quiet_summary(policy, levels=levels), quiet_facts(), policy, AT)
    assert (verdict.state, verdict.may_stop, verdict.coverage) == (State.IDLE, True, 1.0)
    assert [each.low for each in verdict.findings] == [True] * len(policy.criteria)


def test_a_verdict_carries_its_numbers_limits_and_what_it_cannot_see() -> None:
    thinner = {**quiet_summary().usage, Signal.CPU: usage(POLICY, Signal.CPU, 0.01, coverage=0.99)}
    verdict = decide_idle(quiet_summary(usage=thinner), quiet_facts(vcpus=4), POLICY, AT)
    share = verdict.findings[1]
    assert (share.value, share.limit, share.coverage) == (0.01, pytest.approx(0.12), 0.99)
    assert verdict.unseen_job == POLICY.longest_unseen_job(4)
    assert abs(verdict.unseen_gap - 14 * DAY * 0.01) < MINUTE
    assert verdict.reasons == (
        Reason("Idle", "it stayed below every limit of vmkit for 14d, and nobody was seen on it"),
    )


# --- use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [each for each in QUIET if each is not Signal.NETWORK])
def test_any_signal_over_its_limit_makes_busy(signal: Signal) -> None:
    state, reasons = codes(quiet_summary(levels={signal: 1e7}), quiet_facts())
    assert state is State.BUSY
    assert set(reasons) == {"InUse"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sessions": Sessions(1, None, AT - 14 * DAY)}, "SessionOpen"),
        ({"sessions": Sessions(0, AT - 13 * DAY, AT - 14 * DAY)}, "SessionSeen"),
        ({"sessions": Sessions(0, AT + MINUTE, AT - 14 * DAY)}, "SessionSeen"),
        ({"logins": (Login("ada"), Login("ada"))}, "LoggedIn"),
    ],
)
def test_people_make_a_vm_busy_and_hold_it_where_a_definition_ignores_them(
    change: dict[str, Any], code: str
) -> None:
    assert codes(quiet_summary(**change), quiet_facts()) == (State.BUSY, [code])
    cloud = find_preset("azure")
    change = {
        key: replace(value, known_since=AT - 7 * DAY) if key == "sessions" else value
        for key, value in change.items()
    }
    verdict = decide_idle(quiet_summary(cloud, **change), quiet_facts(), cloud, AT)
    expected = [] if change.get("sessions", Sessions(0, None, AT)).last_ended == AT - 13 * DAY else [code]
    assert verdict.state is State.IDLE
    assert [each.code for each in verdict.held] == expected


def test_a_session_that_ended_before_the_lookback_is_no_use() -> None:
    assert codes(quiet_summary(sessions=Sessions(0, AT - 14 * DAY, AT - 30 * DAY)), quiet_facts())[0] is State.IDLE


def test_names_of_people_stay_out_of_the_reasons() -> None:
    verdict = decide_idle(quiet_summary(logins=(Login("ada"),)), quiet_facts(), POLICY, AT)
    assert "ada" not in repr(verdict)


def test_a_vm_that_others_need_is_busy_while_they_run() -> None:
    facts = quiet_facts(dependants=(VmRef("shop", "app"), VmRef("shop", "batch")))
    verdict = decide_idle(quiet_summary(), facts, POLICY, AT)
    assert (verdict.state, verdict.reasons[0].text) == (State.BUSY, "shop/app and 1 more needs it, and runs")


def test_use_that_is_seen_counts_however_poor_the_rest_of_the_evidence_is() -> None:
    poor = quiet_summary(levels={Signal.CPU: 1.5}, observed=0.1, sessions=GONE, warnings=("a shard timed out",))
    assert codes(poor, quiet_facts(created_at=AT - DAY))[0] is State.BUSY


# --- doubts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"node_silent": True}, "NodeSilent"),
        ({"gpu": True}, "GpuUnmeasured"),
        ({"created_at": AT - 6 * DAY}, "TooYoung"),
        ({"created_at": None}, "AgeUnknown"),
        ({"running_since": AT - 23 * 60 * MINUTE}, "JustStarted"),
        ({"running_since": None}, "UptimeUnknown"),
        ({"vcpus": 0}, "SizeUnknown"),
        ({"ref": VmRef("shop", "other")}, "WrongVm"),
        *[({"power": power}, "NotRunning") for power in PowerState if power is not PowerState.RUNNING],
    ],
)
def test_what_is_odd_about_the_vm_makes_unknown(changes: dict[str, Any], code: str) -> None:
    assert codes(quiet_summary(), quiet_facts(**changes)) == (State.UNKNOWN, [code])


def test_a_vm_that_does_not_run_is_not_judged_whatever_it_did() -> None:
    state, reasons = codes(quiet_summary(levels={Signal.CPU: 1.5}), quiet_facts(power=PowerState.PAUSED))
    assert (state, reasons) == (State.UNKNOWN, ["NotRunning"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"observed": 0.97}, "NotObserved"),
        ({"observed": math.nan}, "NotObserved"),
        ({"observed": 1.5}, "NotObserved"),
        ({"observed": GONE}, "ExporterDown"),
        ({"running": GONE}, "ExporterDown"),
        ({"running": 2 * DAY}, "TooLittleSeen"),
        ({"running": 15 * DAY}, "BadNumber"),
        ({"migrations": GONE}, "ExporterDown"),
        ({"migrations": Migrations(1, in_progress=True)}, "Migrating"),
        ({"migrations": Migrations(1, AT - 59 * MINUTE)}, "JustMigrated"),
        ({"sessions": GONE}, "ExporterDown"),
        ({"sessions": Sessions(0, None, AT - 10 * DAY)}, "SessionsForgotten"),
        ({"logins": GONE}, "ExporterDown"),
        ({"warnings": ("results may be incomplete",)}, "PartialData"),
        ({"at": AT - 16 * MINUTE}, "ClockSkew"),
        ({"lookback": 7 * DAY, "running": 7 * DAY}, "WrongLookback"),
    ],
)
def test_what_is_missing_makes_unknown(changes: dict[str, Any], code: str) -> None:
    state, reasons = codes(quiet_summary(**changes), quiet_facts())
    assert state is State.UNKNOWN
    assert code in reasons


@pytest.mark.parametrize("signal", [each for each in QUIET if each is not Signal.NETWORK])
@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda signal: GONE, "ExporterDown"),
        (lambda signal: None, "NotMeasured"),
        (lambda signal: usage(POLICY, signal, math.nan), "BadNumber"),
        (lambda signal: usage(POLICY, signal, -1.0), "BadNumber"),
        (lambda signal: usage(POLICY, signal, 0.0, values={}), "NotMeasured"),
        (lambda signal: usage(POLICY, signal, 0.0, coverage=0.97), "TooFewSamples"),
        (lambda signal: usage(POLICY, signal, 0.0, coverage=math.nan), "TooFewSamples"),
        (lambda signal: usage(POLICY, signal, 0.0, coverage=1.2), "TooFewSamples"),
        (lambda signal: usage(POLICY, signal, 0.0, last_seen=AT - 16 * MINUTE), "Stale"),
        (lambda signal: usage(POLICY, signal, 0.0, last_seen=AT + 6 * MINUTE), "ClockSkew"),
    ],
)
def test_a_signal_that_is_missing_or_wrong_makes_unknown(
    signal: Signal, broken: Callable[[Signal], Any], code: str
) -> None:
    signals = dict(quiet_summary().usage)
    replaced = broken(signal)
    if replaced is None:
        del signals[signal]
    else:
        signals[signal] = replaced
    assert codes(quiet_summary(usage=signals), quiet_facts()) == (State.UNKNOWN, [code])


def test_traffic_without_an_agent_or_behind_a_service_is_unknown() -> None:
    lively = quiet_summary(levels={Signal.RECEIVE: 1500.0, Signal.NETWORK: 1600.0})
    assert codes(lively, quiet_facts())[0] is State.IDLE
    assert codes(lively, quiet_facts(agent=False)) == (State.UNKNOWN, ["InboundTraffic"])
    assert codes(lively, quiet_facts(services=("web",))) == (State.UNKNOWN, ["ServiceTraffic"])
    noise = quiet_summary(levels={Signal.RECEIVE: 900.0, Signal.NETWORK: 1000.0})
    assert codes(noise, quiet_facts(agent=False, services=("web",)))[0] is State.IDLE


def test_a_service_whose_traffic_nobody_measured_is_unknown() -> None:
    signals = dict(quiet_summary().usage)
    signals[Signal.NETWORK] = GONE
    assert codes(quiet_summary(usage=signals), quiet_facts(services=("web",))) == (State.UNKNOWN, ["ExporterDown"])
    signals[Signal.NETWORK] = usage(POLICY, Signal.NETWORK, 10.0, last_seen=AT - DAY)
    assert codes(quiet_summary(usage=signals), quiet_facts(services=("web",))) == (State.UNKNOWN, ["Stale"])


def test_nobody_can_log_in_unseen_where_no_agent_is_expected() -> None:
    assert codes(quiet_summary(logins=GONE), quiet_facts(agent=False))[0] is State.IDLE


def test_a_veto_leaves_the_verdict_and_holds_the_vm() -> None:
    kept = Reason("KeptUp", "vmkit.io/keep-up-until says so")
    verdict = decide_idle(quiet_summary(), quiet_facts(vetoes=(kept,)), POLICY, AT)
    assert (verdict.state, verdict.held, verdict.may_stop) == (State.IDLE, (kept,), False)


# --- groups --------------------------------------------------------------------------------------------


def fleet(*members: IdleFacts) -> list[tuple[str, list[str]]]:
    verdicts = [decide_idle(quiet_summary(ref=each.ref), each, POLICY, AT) for each in members]
    decided = decide_fleet(verdicts, {each.ref: each for each in members})
    return [(each.ref.name, [reason.code for reason in each.held]) for each in decided]


def member(name: str, group: str = "db", **changes: Any) -> IdleFacts:
    return quiet_facts(ref=VmRef("shop", name), group=group, **changes)


def test_of_a_group_one_member_at_a_time_may_be_stopped() -> None:
    assert fleet(member("b"), member("a"), member("c", group=""), member("d", group="mq")) == [
        ("b", ["GroupTurn"]),
        ("a", []),
        ("c", []),
        ("d", []),
    ]


def test_a_member_that_is_held_does_not_take_the_turn() -> None:
    veto = (Reason("Protected", "it is"),)
    assert fleet(member("a", vetoes=veto), member("b")) == [("a", ["Protected"]), ("b", [])]


def test_while_a_member_is_down_no_other_is_stopped() -> None:
    down = member("c", power=PowerState.STOPPED)
    assert fleet(member("a"), member("b"), down) == [("a", ["GroupDegraded"]), ("b", ["GroupDegraded"]), ("c", [])]


# --- no wrong stop -------------------------------------------------------------------------------------

LEVELS = st.floats(allow_nan=True, allow_infinity=True, width=32)
SHARES = st.floats(min_value=-1, max_value=2) | st.just(math.nan) | st.just(1.0)


@given(
    levels=st.fixed_dictionaries({signal: LEVELS | st.just(level) for signal, level in QUIET.items()}),
    coverage=SHARES,
    observed=SHARES | st.just(GONE),
    open_now=st.integers(0, 1),
    users=st.integers(0, 1),
    agent=st.booleans(),
    vcpus=st.integers(0, 64),
)
def test_whatever_the_evidence_only_a_covered_quiet_vm_is_idle(
    levels: dict[Signal, float],
    coverage: float,
    observed: float | Unknown,
    open_now: int,
    users: int,
    agent: bool,
    vcpus: int,
) -> None:
    summary = quiet_summary(
        usage={signal: usage(POLICY, signal, level, coverage=coverage) for signal, level in levels.items()},
        observed=observed,
        sessions=Sessions(open_now, None, AT - 14 * DAY),
        logins=(Login("ada"),) * users,
    )
    verdict = decide_idle(summary, quiet_facts(agent=agent, vcpus=vcpus), POLICY, AT)
    assert verdict.reasons
    assert verdict.ref == REF
    if verdict.state is State.IDLE:
        assert 0 <= levels[Signal.CPU] < min(0.15, 0.03 * vcpus)
        assert all(0 <= levels[signal] < 32_000 for signal in (Signal.RECEIVE, Signal.TRANSMIT))
        assert all(0 <= levels[signal] < 500_000 for signal in (Signal.DISK_READ, Signal.DISK_WRITE))
        assert 0.98 <= coverage <= 1
        assert not isinstance(observed, Unknown)
        assert 0.98 <= observed <= 1
        assert not open_now
        assert not users
        assert agent or levels[Signal.RECEIVE] <= 1000
