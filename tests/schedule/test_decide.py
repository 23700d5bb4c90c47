"""What is done about a VM: single cases, the whole table, crashes between any two steps."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkit.plan import Reason
from vmkit.schedule import (
    Action,
    Decision,
    Defaults,
    Effective,
    Ownership,
    Policy,
    Scope,
    Source,
    StoredState,
    VmFacts,
    decide,
    parse_state,
    render_state,
    resolve_sources,
)
from vmkit.schedule.rules import Side
from vmkit.schedule.state import Pending
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState
from vmkit.vm.strategy import RunStrategy

MONDAY = datetime(2026, 2, 2, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SIX, EIGHT = MONDAY + 18 * HOUR, MONDAY + 32 * HOUR
"""The stop of Monday evening and the start of Tuesday morning."""
POLICY = Policy()


def asked(schedule: str = "Mon-Fri 08:00-18:00 UTC", **annotations: str) -> Effective:
    values = {"vmkit.io/schedule": schedule} if schedule else {}
    values |= {f"vmkit.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return resolve_sources([Source(Scope.VM, "VirtualMachine shop/web", values)], Defaults())


def vm(power: PowerState = PowerState.RUNNING, **facts: object) -> VmFacts:
    known: dict[str, object] = {
        "ref": VmRef("shop", "web"),
        "uid": "u1",
        "power": power,
        "status": str(power),
        "created_at": MONDAY - timedelta(days=30),
        "running_since": MONDAY - timedelta(days=3) if power is PowerState.RUNNING else None,
    }
    return VmFacts(**(known | facts))


def history(
    since: datetime = MONDAY + 8 * HOUR, effective: Effective | None = None, **more: object
) -> StoredState:
    return StoredState("u1", since, (effective or asked()).fingerprint, **more)


RUNNING, STOPPED = vm(), vm(PowerState.STOPPED)
STOPPED_BY_VMKIT = history(SIX, stopped_at=SIX)


def said(decision: Decision) -> tuple[str, str]:
    return str(decision.action), decision.reason.code


# --- the plain course ---------------------------------------------------------------------------------


def test_a_stop_is_carried_out_once() -> None:
    before = decide(RUNNING, asked(), history(), SIX - MINUTE, POLICY)
    assert said(before) == ("none", "NothingDue")
    assert before.state == history()
    stop = decide(RUNNING, asked(), history(), SIX + MINUTE, POLICY)
    assert said(stop) == ("stop", "ScheduledStop")
    assert stop.transition == SIX
    assert stop.state == history(SIX, pending=Pending(Side.STOP, SIX, SIX + MINUTE))
    assert stop.settled == history(SIX, stopped_at=SIX + MINUTE)
    assert said(decide(STOPPED, asked(), stop.settled, SIX + 5 * MINUTE, POLICY)) == ("none", "NothingDue")


def test_what_vmkit_stopped_it_starts() -> None:
    start = decide(STOPPED, asked(), STOPPED_BY_VMKIT, EIGHT, POLICY)
    assert said(start) == ("start", "ScheduledStart")
    assert start.settled == history(EIGHT)


def test_a_transition_is_caught_up_with_only_the_latest_and_only_within_the_deadline() -> None:
    late = decide(RUNNING, asked(), history(), SIX + 2 * HOUR, POLICY)
    assert said(late) == ("stop", "ScheduledStop")
    assert "2h ago" in late.reason.text
    missed = decide(RUNNING, asked(), history(), SIX + 2 * HOUR + MINUTE, POLICY)
    assert said(missed) == ("none", "Missed")
    assert missed.state.since == SIX
    morning = decide(RUNNING, asked(), history(MONDAY), EIGHT + MINUTE, POLICY)
    assert said(morning) == ("none", "AlreadyRunning"), "the evening's stop is history"
    assert said(decide(RUNNING, asked(), history(), SIX + 3 * HOUR, Policy(deadline=4 * HOUR)))[0] == "stop"


def test_nothing_was_missed_before_anybody_looked() -> None:
    first = decide(RUNNING, asked(), None, SIX + MINUTE, POLICY)
    assert said(first) == ("none", "FirstSight")
    assert first.state == history(SIX + MINUTE)
    assert said(decide(RUNNING, asked(), first.state, SIX + 2 * MINUTE, POLICY)) == ("none", "NothingDue")


def test_state_of_another_vm_is_none() -> None:
    clone = vm(PowerState.STOPPED, uid="u2")
    seen = decide(clone, asked(), STOPPED_BY_VMKIT, EIGHT, POLICY)
    assert said(seen) == ("none", "FirstSight")
    assert (seen.state.uid, seen.state.stopped_at) == ("u2", None)


def test_another_schedule_starts_another_history() -> None:
    effective = asked("Mon-Fri 08:00-13:00 UTC")
    changed = decide(RUNNING, effective, history(), MONDAY + 14 * HOUR, POLICY)
    assert said(changed) == ("none", "ScheduleChanged")
    assert said(decide(RUNNING, effective, changed.state, MONDAY + 15 * HOUR, POLICY)) == ("none", "NothingDue")
    kept = decide(STOPPED, asked("Mon-Fri 09:00-18:00 UTC"), STOPPED_BY_VMKIT, EIGHT - HOUR, POLICY)
    assert kept.state.stopped_at == SIX, "what vmkit stopped stays its own to start"


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    assert said(decide(RUNNING, asked(), history(SIX), SIX - HOUR, POLICY)) == ("none", "NothingDue")


# --- people -------------------------------------------------------------------------------------------


def test_a_vm_started_by_hand_runs_until_the_next_stop() -> None:
    by_hand = vm(running_since=SIX + 2 * HOUR)
    seen = decide(by_hand, asked(), STOPPED_BY_VMKIT, SIX + 3 * HOUR, POLICY)
    assert said(seen) == ("none", "NothingDue")
    assert seen.state.stopped_at is None
    tuesday = decide(by_hand, asked(), history(EIGHT), SIX + 24 * HOUR, POLICY)
    assert said(tuesday) == ("stop", "ScheduledStop")


def test_a_vm_started_after_a_missed_stop_is_left_running() -> None:
    decision = decide(vm(running_since=SIX + 30 * MINUTE), asked(), history(), SIX + HOUR, POLICY)
    assert said(decision) == ("none", "StartedAfterwards")
    assert decision.state.since == SIX


def test_a_vm_stopped_by_hand_stays_stopped() -> None:
    decision = decide(STOPPED, asked(), history(SIX), EIGHT, POLICY)
    assert said(decision) == ("none", "StoppedByHand")
    assert decision.state.since == EIGHT
    assert said(decide(STOPPED, asked(), history(), SIX, POLICY)) == ("none", "AlreadyStopped")
    always = asked(start="always")
    assert said(decide(STOPPED, always, history(SIX, always), EIGHT, POLICY)) == ("start", "ScheduledStart")


def test_a_vm_that_was_started_and_stopped_again_by_hand_is_not_vmkits_to_start() -> None:
    seen = decide(vm(running_since=SIX + HOUR), asked(), STOPPED_BY_VMKIT, SIX + 2 * HOUR, POLICY)
    assert said(decide(STOPPED, asked(), seen.state, EIGHT, POLICY)) == ("none", "StoppedByHand")


def test_a_finished_once_vm_is_never_started() -> None:
    finished = vm(PowerState.STOPPED, strategy=RunStrategy.ONCE, ended=True)
    for effective in (asked(), asked(start="always")):
        for policy in (POLICY, Policy(enforce=True)):
            decision = decide(finished, effective, history(SIX, effective, stopped_at=SIX), EIGHT, policy)
            assert said(decision) == ("none", "OnceFinished")
    halted = vm(PowerState.STOPPED, strategy=RunStrategy.HALTED)
    assert said(decide(halted, asked(), STOPPED_BY_VMKIT, EIGHT, POLICY))[0] == "start", (
        "a Once VM that vmkit stopped"
    )


# --- overrides ----------------------------------------------------------------------------------------


def test_kept_up_it_is_stopped_when_that_ends() -> None:
    effective = asked(keep_up_until="2026-02-02T21:00:00Z")
    for hours, expected in (
        (18, "KeptUp"),
        (20.9, "KeptUp"),
        (21, "ScheduledStop"),
        (23, "ScheduledStop"),
        (23.1, "Missed"),
    ):
        at = MONDAY + hours * HOUR
        assert decide(RUNNING, effective, history(effective=effective), at, POLICY).reason.code == expected
    started_late = vm(running_since=SIX + HOUR)
    assert (
        said(decide(started_late, effective, history(effective=effective), MONDAY + 21 * HOUR, POLICY))[0]
        == "stop"
    )


def test_kept_down_it_is_started_when_that_ends() -> None:
    effective = asked(keep_down_until="2026-02-03T10:00:00Z")
    stopped = history(SIX, effective, stopped_at=SIX)
    assert said(decide(STOPPED, effective, stopped, EIGHT + HOUR, POLICY)) == ("none", "KeptDown")
    assert said(decide(STOPPED, effective, stopped, EIGHT + 2 * HOUR, POLICY)) == ("start", "ScheduledStart")


def test_a_hold_during_which_nothing_was_due_changes_nothing() -> None:
    effective = asked(keep_up_until="2026-02-02T15:00:00Z")
    assert said(decide(RUNNING, effective, history(effective=effective), MONDAY + 15 * HOUR, POLICY)) == (
        "none",
        "NothingDue",
    )


def test_the_next_transition_can_be_left_out() -> None:
    effective = asked(skip_next="2026-02-02T18:00:00Z")
    skipped = decide(RUNNING, effective, history(effective=effective), SIX, POLICY)
    assert said(skipped) == ("none", "Skipped")
    assert said(decide(RUNNING, effective, skipped.state, EIGHT, POLICY)) == ("none", "AlreadyRunning")
    assert said(decide(RUNNING, effective, history(EIGHT, effective), SIX + 24 * HOUR, POLICY))[0] == "stop"


def test_excluded_it_is_left_alone() -> None:
    for written in (
        {"exclude": "true"},
        {"exclude": "Mon 12:00-24:00 UTC"},
        {"exclude_until": "2026-02-02T19:00:00Z"},
    ):
        effective = asked(**written)
        assert said(decide(RUNNING, effective, history(effective=effective), SIX, POLICY)) == ("none", "Excluded")
    effective = asked(exclude_until="2026-02-02T21:00:00Z")
    after = decide(RUNNING, effective, history(effective=effective), MONDAY + 21 * HOUR, POLICY)
    assert said(after) == ("stop", "ScheduledStop"), "what was held back happens when the exclusion ends"


def test_forced_down_once_and_handed_back_afterwards() -> None:
    forced = asked(force_downtime="Mon 12:00-14:00 UTC")
    noon = decide(RUNNING, forced, history(effective=forced), MONDAY + 12 * HOUR, POLICY)
    assert said(noon) == ("stop", "ScheduledStop")
    assert "forced down" in noon.reason.text
    again = decide(vm(running_since=MONDAY + 13 * HOUR), forced, noon.settled, MONDAY + 13.5 * HOUR, POLICY)
    assert said(again) == ("none", "Forced"), "a person who starts it wins"
    back = decide(STOPPED, forced, noon.settled, MONDAY + 14 * HOUR, POLICY)
    assert said(back) == ("start", "ScheduledStart")
    assert back.settled.forced is None


def test_forced_up_nothing_stops_it() -> None:
    forced = asked(force_uptime="true")
    first = decide(RUNNING, forced, history(effective=forced), MONDAY + 12 * HOUR, POLICY)
    assert said(first) == ("none", "AlreadyRunning")
    assert said(decide(RUNNING, forced, first.state, SIX, POLICY)) == ("none", "Forced")
    freed = decide(RUNNING, asked(), first.state, SIX + 5 * HOUR, POLICY)
    assert said(freed) == ("stop", "ScheduledStop")


def test_forced_both_ways_it_is_left_alone() -> None:
    both = asked(force_uptime="true", force_downtime="true")
    decision = decide(RUNNING, both, history(effective=both), SIX, POLICY)
    assert said(decision) == ("none", "ForcedBothWays")
    assert decision.problem


def test_a_force_without_a_schedule_ends_in_peace() -> None:
    forced = asked("", force_downtime="Mon 12:00-14:00 UTC")
    state = StoredState("u1", MONDAY, forced.fingerprint, forced=Side.STOP, stopped_at=MONDAY)
    assert said(decide(STOPPED, forced, state, MONDAY + 15 * HOUR, POLICY)) == ("none", "ForceEnded")


# --- vetoes -------------------------------------------------------------------------------------------

RISK = Reason("EphemeralRoot", "its root disk is a containerDisk")


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"protected": True}, "Protected"),
        ({"pool": "batch"}, "OwnedByPool"),
        ({"strategy": RunStrategy.WAIT_AS_RECEIVER}, "WaitAsReceiver"),
        ({"node_silent": True}, "NodeSilent"),
        ({"power": PowerState.MIGRATING}, "NotSettled"),
        ({"power": PowerState.PAUSED}, "NotSettled"),
        ({"power": PowerState.STARTING}, "NotSettled"),
        ({"power": PowerState.STOPPING}, "NotSettled"),
        ({"power": PowerState.UNKNOWN}, "NotSettled"),
        ({"power": PowerState.DELETING}, "NotSettled"),
        ({"busy": "snapshot s1 is in progress"}, "Busy"),
        ({"created_at": SIX - 14 * MINUTE}, "TooNew"),
        ({"running_since": SIX - 9 * MINUTE}, "TooYoung"),
        ({"restart_risks": (RISK,)}, "EphemeralRoot"),
        ({"ownership": Ownership.FIGHT}, "GitOpsFight"),
        ({"ownership": Ownership.UNKNOWN}, "GitOpsUnknown"),
    ],
)
def test_a_vetoed_stop_waits_and_is_tried_again(facts: dict[str, object], code: str) -> None:
    decision = decide(replace(RUNNING, **facts), asked(), history(), SIX, POLICY)
    assert said(decision) == ("none", code)
    assert "has to wait" in decision.reason.text
    assert decision.problem is code.startswith("GitOps")
    assert said(decide(RUNNING, asked(), decision.state, SIX + HOUR, POLICY)) == ("stop", "ScheduledStop")


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"protected": True}, "Protected"),
        ({"pool": "batch"}, "OwnedByPool"),
        ({"busy": "restore r1"}, "Busy"),
        ({"power": PowerState.STOPPING}, "NotSettled"),
        ({"created_at": EIGHT - MINUTE}, "TooNew"),
        ({"ownership": Ownership.FIGHT}, "GitOpsFight"),
        ({"ownership": Ownership.DRIFT}, "GitOpsDrift"),
        ({"ownership": Ownership.UNKNOWN}, "GitOpsUnknown"),
    ],
)
def test_a_vetoed_start_waits(facts: dict[str, object], code: str) -> None:
    decision = decide(replace(STOPPED, **facts), asked(), STOPPED_BY_VMKIT, EIGHT, POLICY)
    assert said(decision) == ("none", code)
    assert said(decide(STOPPED, asked(), decision.state, EIGHT + HOUR, POLICY))[0] == "start"


def test_a_vm_may_say_that_it_can_lose_what_is_not_on_its_disks() -> None:
    safe = asked(restart_safe="true")
    risky = replace(RUNNING, restart_risks=(RISK,))
    assert said(decide(risky, safe, history(effective=safe), SIX, POLICY))[0] == "stop"


def test_gitops() -> None:
    drifting = replace(RUNNING, ownership=Ownership.DRIFT, owner="Application argocd/shop")
    stop = decide(drifting, asked(), history(), SIX, POLICY)
    assert said(stop)[0] == "stop"
    assert [notice.code for notice in stop.notices] == ["GitOpsDrift"]
    reverted = replace(drifting, running_since=SIX + 5 * MINUTE)
    assert said(decide(reverted, asked(), stop.settled, SIX + 10 * MINUTE, POLICY)) == ("none", "NothingDue")
    despite = Policy(despite_gitops=True)
    assert said(decide(replace(RUNNING, ownership=Ownership.FIGHT), asked(), history(), SIX, despite))[0] == "stop"
    safe = replace(RUNNING, ownership=Ownership.SAFE)
    assert said(decide(safe, asked(), history(), SIX, POLICY))[0] == "stop"


def test_a_silent_node_queues_the_last_wish() -> None:
    silent = replace(RUNNING, node_silent=True)
    waiting = decide(silent, asked(), history(), SIX, POLICY)
    assert said(waiting) == ("none", "NodeSilent")
    assert waiting.state.queued == SIX
    back = decide(RUNNING, asked(), waiting.state, SIX + 6 * HOUR, POLICY)
    assert said(back) == ("stop", "ScheduledStop")
    assert back.settled.queued is None
    morning = decide(RUNNING, asked(), waiting.state, EIGHT + 6 * HOUR, POLICY)
    assert said(morning) == ("none", "AlreadyRunning"), "only the last wish counts"
    friday = MONDAY + timedelta(days=4, hours=18)
    long_silent = replace(waiting.state, since=friday - HOUR, queued=friday)
    assert said(
        decide(
            RUNNING,
            asked("stop Fri 18:00 UTC"),
            replace(long_silent, schedule=asked("stop Fri 18:00 UTC").fingerprint),
            friday + timedelta(days=6, hours=23),
            Policy(queue_limit=timedelta(days=5)),
        )
    ) == ("none", "Missed")


def test_bad_annotations_and_objects_leave_the_vm_alone() -> None:
    bad = asked("Mon-Fry 08:00-18:00 UTC")
    decision = decide(RUNNING, bad, history(), SIX, POLICY)
    assert said(decision) == ("none", "BadAnnotation")
    assert decision.problem
    assert "Fry" in decision.reason.text
    broken = decide(replace(RUNNING, problem="spec is missing"), asked(), history(), SIX, POLICY)
    assert said(broken) == ("none", "BadObject")
    assert said(decide(RUNNING, asked(""), None, SIX, POLICY)) == ("none", "NoSchedule")


# --- enforcing ----------------------------------------------------------------------------------------


def test_enforced_the_schedule_wins_over_people() -> None:
    enforce = Policy(enforce=True)
    by_hand = vm(running_since=SIX + HOUR)
    assert said(decide(by_hand, asked(), STOPPED_BY_VMKIT, SIX + 3 * HOUR, enforce)) == ("stop", "ScheduledStop")
    assert said(decide(STOPPED, asked(), history(EIGHT), EIGHT + 5 * HOUR, enforce)) == ("start", "ScheduledStart")
    assert said(decide(RUNNING, asked(), history(EIGHT), EIGHT + 5 * HOUR, enforce)) == ("none", "AlreadyRunning")
    kept = asked(keep_up_until="2026-02-02T23:00:00Z")
    assert said(decide(by_hand, kept, history(effective=kept), SIX + 3 * HOUR, enforce)) == ("none", "KeptUp")
    one_sided = asked("stop 18:00 UTC")
    assert said(decide(RUNNING, one_sided, history(SIX, one_sided), SIX + HOUR, enforce)) == ("none", "NothingDue")


@pytest.mark.parametrize("ownership", [Ownership.DRIFT, Ownership.FIGHT, Ownership.UNKNOWN])
def test_nothing_is_enforced_against_gitops(ownership: Ownership) -> None:
    decision = decide(replace(RUNNING, ownership=ownership), asked(), history(), SIX, Policy(enforce=True))
    assert said(decision) == ("none", "EnforceNotSafe")
    assert decision.problem


# --- warning ------------------------------------------------------------------------------------------


def test_people_are_told_once_before_a_stop() -> None:
    warned = asked(warn_before_stop="15m")
    state = history(effective=warned)
    assert said(decide(RUNNING, warned, state, SIX - 16 * MINUTE, POLICY)) == ("none", "NothingDue")
    told = decide(RUNNING, warned, state, SIX - 15 * MINUTE, POLICY)
    assert said(told) == ("warn", "StopAhead")
    assert "2026-02-02T18:00:00Z" in told.reason.text
    assert said(decide(RUNNING, warned, told.state, SIX - 5 * MINUTE, POLICY)) == ("none", "NothingDue")
    assert said(decide(RUNNING, warned, told.state, SIX, POLICY)) == ("stop", "ScheduledStop")


def test_told_late_people_still_get_the_whole_notice() -> None:
    warned = asked(warn_before_stop="15m")
    told = decide(RUNNING, warned, history(effective=warned), SIX + MINUTE, POLICY)
    assert said(told) == ("warn", "StopAhead")
    assert "2026-02-02T18:16:00Z" in told.reason.text
    assert said(decide(RUNNING, warned, told.state, SIX + 10 * MINUTE, POLICY))[0] != "stop"
    assert said(decide(RUNNING, warned, told.state, SIX + 16 * MINUTE, POLICY)) == ("stop", "ScheduledStop")


@pytest.mark.parametrize(
    "annotations", [{"keep_up_until": "2026-02-02T20:00:00Z"}, {"skip_next": "2026-02-02T18:00:00Z"}]
)
def test_nobody_is_told_of_a_stop_that_will_not_be(annotations: dict[str, str]) -> None:
    warned = asked(warn_before_stop="15m", **annotations)
    assert said(decide(RUNNING, warned, history(effective=warned), SIX - MINUTE, POLICY)) == ("none", "NothingDue")


# --- the whole table ----------------------------------------------------------------------------------

TIMES = {"off hours, at the stop": SIX, "office hours, at the start": EIGHT}
HISTORIES = {
    "none": None,
    "nothing": "nothing",
    "stopped by vmkit": "stopped",
    "stop pending": "pending",
    "clone": "clone",
}


def table_history(kind: str | None, at: datetime) -> StoredState | None:
    before = at - 30 * MINUTE
    return {
        None: None,
        "nothing": history(before),
        "stopped": history(before, stopped_at=before),
        "pending": history(before, pending=Pending(Side.STOP, before, before)),
        "clone": StoredState("u9", before, asked().fingerprint, stopped_at=before),
    }[kind]


def table_answer(strategy: RunStrategy | None, power: PowerState, side: str, kind: str | None, ended: bool) -> str:
    """The table of docs/schedules.md, read line by line."""
    if kind in (None, "clone"):
        return "none"
    if kind == "pending" and power is PowerState.STOPPED:
        return "none"  # it is seen that the pending stop is done
    if strategy is RunStrategy.WAIT_AS_RECEIVER or power not in (PowerState.RUNNING, PowerState.STOPPED):
        return "none"
    if side == "stop":
        return "stop" if power is PowerState.RUNNING else "none"
    if power is PowerState.RUNNING or (strategy is RunStrategy.ONCE and ended):
        return "none"
    return "start" if kind == "stopped" else "none"


@pytest.mark.parametrize("strategy", [*RunStrategy, None])
def test_every_strategy_state_schedule_and_history(strategy: RunStrategy | None) -> None:
    seen = set()
    for power, (when, at), kind, ended in itertools.product(
        PowerState, TIMES.items(), HISTORIES.values(), (False, True)
    ):
        side = "stop" if "stop" in when else "start"
        facts = vm(power, strategy=strategy, ended=ended)
        decision = decide(facts, asked(), table_history(kind, at), at, POLICY)
        expected = table_answer(strategy, power, side, kind, ended)
        assert str(decision.action) == expected, (strategy, power, when, kind, ended, decision.reason)
        assert decision.reason.text
        assert decision.state is not None
        assert decision.state.uid == "u1"
        assert parse_state(render_state(decision.state)) == decision.state
        if decision.action is Action.NONE:
            assert decision.settled == decision.state
        else:
            assert decision.settled.pending is None
        seen.add(str(decision.action))
    assert seen == ({"none"} if strategy is RunStrategy.WAIT_AS_RECEIVER else {"none", "start", "stop"})


# --- a week, and being killed at every step -----------------------------------------------------------


class World:
    """A VM that obeys at once, and a controller that may be killed between any two of its steps."""

    def __init__(self, effective: Effective) -> None:
        self.effective = effective
        self.vm = vm()
        self.stored: str | None = None
        self.done: list[tuple[datetime, str]] = []
        self.writes = 0

    def act(self, action: Action, at: datetime) -> None:
        self.done.append((at, str(action)))
        running = action is Action.START
        self.vm = replace(
            self.vm,
            power=PowerState.RUNNING if running else PowerState.STOPPED,
            running_since=at if running else None,
            status="Running" if running else "Stopped",
        )

    def write(self, state: StoredState | None) -> None:
        text = None if state is None else render_state(state)
        if text != self.stored:
            self.writes += 1
            self.stored = text

    def run_pass(self, at: datetime, *, killed_after: int = 99) -> None:
        state = parse_state(self.stored) if self.stored is not None else None
        decision = decide(self.vm, self.effective, state, at, POLICY)
        steps = [lambda: self.write(decision.state)]
        if decision.action in (Action.START, Action.STOP):
            steps += [lambda: self.act(decision.action, at), lambda: self.write(decision.settled)]
        for step in steps[:killed_after]:
            step()


def transitions_done(world: World) -> list[tuple[str, str]]:
    return [(f"{at:%a %H:%M}", action) for at, action in world.done]


def test_a_week_of_passes_does_each_transition_once_and_writes_no_more_than_it_must() -> None:
    world = World(asked())
    for minute in range(0, 7 * 24 * 60, 5):
        world.run_pass(MONDAY + MINUTE * minute)
    days = ("Mon", "Tue", "Wed", "Thu", "Fri")
    expected = [pair for day in days for pair in ((f"{day} 08:00", "start"), (f"{day} 18:00", "stop"))][1:]
    assert transitions_done(world) == expected
    # First sight; Monday's start, when it runs already; two for each action.
    assert world.writes == 2 + 2 * len(expected)


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_killed_at_any_step_it_repeats_nothing_and_loses_nothing(killed_after: int) -> None:
    whole, killed = World(asked()), World(asked())
    for minute in range(0, 7 * 24 * 60, 10):
        at = MONDAY + MINUTE * minute
        whole.run_pass(at)
        # Every second pass is killed; the transitions fall on killed ones.
        killed.run_pass(at, killed_after=killed_after if minute % 20 == 0 and minute else 99)
    assert [action for _, action in killed.done] == [action for _, action in whole.done]
    for (planned, _), (done, _) in zip(whole.done, killed.done, strict=True):
        assert timedelta() <= done - planned <= 10 * MINUTE
    assert parse_state(killed.stored).pending is None


def test_a_pending_action_is_given_up_at_its_deadline() -> None:
    state = history(SIX, pending=Pending(Side.STOP, SIX, SIX))
    again = decide(RUNNING, asked(), state, SIX + HOUR, POLICY)
    assert said(again) == ("stop", "ScheduledStop")
    assert again.state.pending.asked_at == SIX, "trying again does not start the clock anew"
    given_up = decide(RUNNING, asked(), again.state, SIX + 2 * HOUR + MINUTE, POLICY)
    assert said(given_up) == ("none", "GaveUp")
    assert given_up.problem
    assert given_up.state.pending is None


def test_a_pending_stop_yields_to_a_person_and_to_a_newer_transition() -> None:
    state = history(SIX, pending=Pending(Side.STOP, SIX, SIX))
    assert said(decide(vm(running_since=SIX + MINUTE), asked(), state, SIX + HOUR, POLICY)) == (
        "none",
        "StartedAfterwards",
    )
    kept = asked(keep_up_until="2026-02-02T20:00:00Z")
    held = decide(RUNNING, kept, replace(state, schedule=kept.fingerprint), SIX + HOUR, POLICY)
    assert said(held) == ("none", "KeptUp")
    assert said(decide(RUNNING, kept, held.state, SIX + 2 * HOUR, POLICY)) == ("stop", "ScheduledStop")
    short = asked("Mon 08:00-18:00, Mon 18:30-20:00 UTC")
    newer = decide(RUNNING, short, replace(state, schedule=short.fingerprint), SIX + HOUR, POLICY)
    assert said(newer) == ("none", "AlreadyRunning")


def test_deciding_is_deterministic() -> None:
    assert decide(RUNNING, asked(), history(), SIX, POLICY) == decide(RUNNING, asked(), history(), SIX, POLICY)
