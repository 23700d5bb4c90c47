"""The power contract, cell by cell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import Conflict, Forbidden, Invalid, NotFound, ServerFault
from vmkit.vm.contract import Move, Refusal, Situation, Verb, decide, is_reached, read_refusal, read_situation
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef
from vmkit.vm.state import Condition, PowerState, VmView
from vmkit.vm.strategy import RunStrategy

REF = VmRef("default", "web-1")


def vm(strategy: str | None, printable: str, *, created: bool | None = None, **more: object) -> VmView:
    """A VM as read_vm would give it."""
    from vmkit.vm.state import read_vm

    status: dict[str, object] = {"printableStatus": printable, "ready": printable == "Running"}
    status["created"] = printable != "Stopped" if created is None else created
    annotations = more.pop("annotations", {})
    status.update(more)
    spec: dict[str, object] = {"template": {"spec": {}}}
    if strategy is not None:
        spec["runStrategy"] = strategy
    return read_vm(
        {
            "metadata": {"namespace": "default", "name": "web-1", "annotations": annotations},
            "spec": spec,
            "status": status,
        }
    )


@pytest.mark.parametrize(
    ("verb", "strategy", "printable", "move"),
    [
        # start: only where there is none, and only where KubeVirt takes the request
        ("start", "Always", "Running", Move.NOTHING),
        ("start", "Always", "Stopped", Move.NOTHING),
        ("start", "Always", "CrashLoopBackOff", Move.NOTHING),
        ("start", "Always", "Stopping", Move.NOTHING),
        ("start", "Halted", "Stopped", Move.ASK),
        ("start", "Halted", "Stopping", Move.WAIT),
        ("start", "Halted", "Running", Move.WAIT),
        ("start", "Manual", "Stopped", Move.ASK),
        ("start", "Manual", "Running", Move.NOTHING),
        ("start", "Manual", "Paused", Move.NOTHING),
        ("start", "Manual", "Stopping", Move.WAIT),
        ("start", "RerunOnFailure", "Stopped", Move.ASK),
        ("start", "RerunOnFailure", "Starting", Move.NOTHING),
        ("start", "Once", "Running", Move.NOTHING),
        ("start", "Once", "Stopped", Move.NOTHING),
        # stop
        ("stop", "Always", "Running", Move.ASK),
        ("stop", "Always", "Stopped", Move.ASK),
        ("stop", "Always", "CrashLoopBackOff", Move.ASK),
        ("stop", "Halted", "Stopped", Move.NOTHING),
        ("stop", "Halted", "Stopping", Move.NOTHING),
        ("stop", "Halted", "Running", Move.NOTHING),
        ("stop", "Manual", "Stopped", Move.NOTHING),
        ("stop", "Manual", "Running", Move.ASK),
        ("stop", "Manual", "Stopping", Move.NOTHING),
        ("stop", "RerunOnFailure", "Paused", Move.ASK),
        ("stop", "Once", "Running", Move.ASK),
        # restart
        ("restart", "Always", "Running", Move.ASK),
        ("restart", "Always", "Stopping", Move.NOTHING),
        ("restart", "Halted", "Stopped", Move.CANNOT),
        ("restart", "Manual", "Stopped", Move.CANNOT),
        ("restart", "Manual", "Running", Move.ASK),
        ("restart", "Once", "Running", Move.CANNOT),
        # pause, unpause, live-migrate
        ("pause", "Always", "Running", Move.ASK),
        ("pause", "Always", "Paused", Move.NOTHING),
        ("pause", "Halted", "Stopped", Move.CANNOT),
        ("unpause", "Manual", "Paused", Move.ASK),
        ("unpause", "Manual", "Running", Move.NOTHING),
        ("unpause", "Manual", "Stopped", Move.CANNOT),
        ("live-migrate", "Always", "Running", Move.ASK),
        ("live-migrate", "Always", "Migrating", Move.NOTHING),
        ("live-migrate", "Manual", "Starting", Move.CANNOT),
    ],
)
def test_each_wish_takes_what_the_contract_says(verb: str, strategy: str, printable: str, move: Move) -> None:
    assert decide(Verb(verb), vm(strategy, printable)).move is move


def test_an_instance_that_ended_counts_as_stopped_and_can_be_started_except_after_once() -> None:
    assert read_situation(vm("Manual", "Stopped", created=True)) is Situation.ENDED
    assert decide(Verb.STOP, vm("Manual", "Stopped", created=True)).move is Move.NOTHING
    assert decide(Verb.START, vm("Manual", "Stopped", created=True)).move is Move.ASK
    finished = decide(Verb.START, vm("Once", "Stopped", created=True))
    assert finished.move is Move.CANNOT
    assert finished.code == "FinishedOnce"
    assert "runStrategy" in finished.hint


def test_a_recorded_strategy_is_brought_back_by_the_start() -> None:
    stopped = vm("Halted", "Stopped", annotations={ORIGINAL_RUN_STRATEGY: "Once"})
    decision = decide(Verb.START, stopped)
    assert decision.move is Move.RESTORE
    assert decision.strategy is RunStrategy.ONCE


@pytest.mark.parametrize("text", ["Always", "Halted", "WaitAsReceiver", "nonsense", ""])
def test_a_record_that_a_plain_start_gives_anyway_or_that_is_none_is_not_obeyed(text: str) -> None:
    stopped = vm("Halted", "Stopped", annotations={ORIGINAL_RUN_STRATEGY: text})
    assert decide(Verb.START, stopped).move is Move.ASK


def test_force_asks_again_only_while_it_is_shutting_down() -> None:
    for strategy in ("Halted", "Manual", "RerunOnFailure"):
        assert decide(Verb.STOP, vm(strategy, "Stopping")).move is Move.NOTHING
        assert decide(Verb.STOP, vm(strategy, "Stopping"), force=True).move is Move.ASK
        assert decide(Verb.STOP, vm(strategy, "Stopped"), force=True).move is Move.NOTHING


def test_requests_that_wait_in_the_status_count_as_done() -> None:
    start = {"stateChangeRequests": [{"action": "Start"}]}
    stop = {"stateChangeRequests": [{"action": "Stop", "uid": "1"}]}
    again = {"stateChangeRequests": [{"action": "Stop", "uid": "1"}, {"action": "Start"}]}
    assert decide(Verb.START, vm("Manual", "Stopped", **start)).move is Move.NOTHING
    assert decide(Verb.STOP, vm("Manual", "Running", **stop)).move is Move.NOTHING
    assert decide(Verb.START, vm("Manual", "Running", **stop)).move is Move.WAIT
    assert decide(Verb.START, vm("Manual", "Running", **again)).move is Move.NOTHING


def test_rerun_on_failure_is_about_to_start_where_the_controller_has_not_met_the_strategy_yet() -> None:
    about_to = vm("RerunOnFailure", "Stopped", runStrategy="Halted")
    assert decide(Verb.START, about_to).move is Move.NOTHING
    assert decide(Verb.STOP, about_to).move is Move.ASK
    assert decide(Verb.START, vm("RerunOnFailure", "Stopped", runStrategy="RerunOnFailure")).move is Move.ASK


def test_what_cannot_migrate_says_why() -> None:
    obstacle = {
        "conditions": [
            {
                "type": "LiveMigratable",
                "status": "False",
                "reason": "DisksNotLiveMigratable",
                "message": "PVC is not shared",
            }
        ]
    }
    decision = decide(Verb.LIVE_MIGRATE, vm("Always", "Running", **obstacle))
    assert decision.move is Move.CANNOT
    assert "PVC is not shared" in decision.text


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize(
    ("strategy", "printable"), [("WaitAsReceiver", "Running"), ("Sometimes", "Running"), (None, "")]
)
def test_what_is_unknown_or_not_ours_is_left_alone(verb: Verb, strategy: str | None, printable: str) -> None:
    assert decide(verb, vm(strategy, printable)).move is Move.CANNOT


@given(
    verb=st.sampled_from(Verb),
    strategy=st.sampled_from([*map(str, RunStrategy), "Sometimes", None]),
    printable=st.sampled_from(["", "Unknown", "Running", "Stopped", "Stopping", "Paused", "Migrating", "Starting",
                               "CrashLoopBackOff", "Terminating", "Provisioning"]),
    created=st.booleans(),
    force=st.booleans(),
    requests=st.lists(st.sampled_from(["Start", "Stop"]), max_size=2),
)  # fmt: skip
def test_every_vm_gets_an_answer_and_what_is_reached_is_never_asked_for(
    verb: Verb, strategy: str | None, printable: str, created: bool, force: bool, requests: list[str]
) -> None:
    view = vm(
        strategy, printable, created=created, stateChangeRequests=[{"action": action} for action in requests]
    )
    decision = decide(verb, view, force=force)
    assert decision.code
    assert decision.text
    observable = verb in {Verb.PAUSE, Verb.UNPAUSE, Verb.START} or (verb is Verb.STOP and strategy != "Always")
    if observable and not requests and decision.move in {Move.ASK, Move.RESTORE}:
        assert not is_reached(verb, view)


def test_ready_is_part_of_started() -> None:
    assert is_reached(Verb.START, vm("Always", "Running"))
    assert not is_reached(Verb.START, vm("Always", "Running", ready=False))
    assert not is_reached(Verb.STOP, vm("Always", "Stopped", created=False))
    assert is_reached(Verb.STOP, vm("Halted", "Stopped"))
    assert not is_reached(Verb.STOP, vm("Halted", "Stopping"))


@pytest.mark.parametrize(
    ("verb", "error", "refusal"),
    [
        (Verb.STOP, Conflict("VM is not running"), Refusal.LOOK_AGAIN),
        (
            Verb.STOP,
            Conflict("Halted only supports manual stop requests with a shorter graceperiod"),
            Refusal.SO_ALREADY,
        ),
        (Verb.START, Conflict("VM is already running"), Refusal.LOOK_AGAIN),
        (Verb.START, Conflict("Always does not support manual start requests"), Refusal.LOOK_AGAIN),
        (
            Verb.START,
            Conflict("RerunOnFailure does not support starting VM from failed state"),
            Refusal.SO_ALREADY,
        ),
        (Verb.START, Conflict("unable to complete request: stop/start already underway"), Refusal.WAIT),
        (Verb.START, Conflict("VM recovery required: Volume migration failed"), Refusal.FINAL),
        (Verb.STOP, Conflict('Cannot update vm running state until snapshot "s" completes'), Refusal.FINAL),
        (Verb.PAUSE, Conflict("VMI is already paused"), Refusal.SO_ALREADY),
        (Verb.UNPAUSE, Conflict("VMI is not paused"), Refusal.SO_ALREADY),
        (Verb.LIVE_MIGRATE, Invalid("in-flight migration detected"), Refusal.SO_ALREADY),
        (Verb.PAUSE, NotFound("no instance"), Refusal.LOOK_AGAIN),
        (Verb.STOP, Conflict("the object has been modified"), Refusal.LOOK_AGAIN),
        (Verb.STOP, Invalid("denied the request: spec is invalid"), Refusal.FINAL),
        (Verb.STOP, Forbidden("no"), Refusal.FINAL),
        (Verb.STOP, ServerFault("boom"), Refusal.FINAL),
    ],
)
def test_refusals_are_read_for_what_they_mean(verb: Verb, error: Conflict, refusal: Refusal) -> None:
    assert read_refusal(verb, error) is refusal


def test_power_states_of_a_condition_view_are_plain_values() -> None:
    view = VmView(REF, power=PowerState.RUNNING, conditions=(Condition("RestartRequired", "True"),))
    assert view.restart_required
    assert view.alive
