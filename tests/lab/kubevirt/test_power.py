"""start, stop, restart as tables: every run strategy with every state of the instance. Nothing is written here."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.lab.kubevirt.power import PowerEffect, check_restart_grace, decide_restart, decide_start, decide_stop
from vmkit.lab.kubevirt.printable import printable_status
from vmkit.lab.status import ApiError

Object = dict[str, Any]
START: Object = {"action": "Start"}
STOP: Object = {"action": "Stop", "uid": "u"}


def build(strategy: str, **status: Any) -> Object:
    return {"metadata": {"name": "m"}, "spec": {"runStrategy": strategy}, "status": status}


def instance(phase: str | None, *conditions: Object, grace: int | None = None, **metadata: Any) -> Object | None:
    if phase is None:
        return None
    return {
        "metadata": {"uid": "u", **metadata},
        "spec": {} if grace is None else {"terminationGracePeriodSeconds": grace},
        "status": {"phase": phase, "conditions": list(conditions)},
    }


def condition(kind: str, status: str = "True", reason: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason}


def outcome(decide: Any, *args: Any, **options: Any) -> Any:
    """The effect, or (status, what the message ends with)."""
    try:
        return decide(*args, **options)
    except ApiError as err:
        return err.code, str(err).partition('"m": ')[2] or str(err)


RUNNING = (409, "VM is already running")
UNDERWAY = (500, "Internal error occurred: unable to complete request: stop/start already underway")


@pytest.mark.parametrize(
    ("strategy", "phase", "expected"),
    [
        ("Halted", None, PowerEffect(strategy="Always")),
        ("Halted", "Succeeded", PowerEffect(strategy="Always")),
        ("Halted", "Running", RUNNING),
        ("Manual", None, PowerEffect(requests=(START,))),
        ("Manual", "Failed", PowerEffect(requests=(STOP, START))),
        ("Manual", "Succeeded", PowerEffect(requests=(STOP, START))),
        ("Manual", "Scheduling", RUNNING),
        ("RerunOnFailure", None, PowerEffect(requests=(START,))),
        ("RerunOnFailure", "Succeeded", PowerEffect(requests=(STOP, START))),
        ("RerunOnFailure", "Failed", (409, "RerunOnFailure does not support starting VM from failed state")),
        ("Always", None, (409, "Always does not support manual start requests")),
        ("Always", "Running", RUNNING),
        ("Once", None, (409, "Once does not support manual start requests")),
        ("WaitAsReceiver", None, PowerEffect()),
    ],
)
def test_start(strategy: str, phase: str | None, expected: Any) -> None:
    assert outcome(decide_start, build(strategy), instance(phase), paused=False) == expected


def test_a_paused_start_is_a_request_even_of_a_halted_vm() -> None:
    request = {"action": "Start", "data": {"paused": "true"}}
    assert decide_start(build("Halted"), None, paused=True) == PowerEffect(requests=(request,))


@pytest.mark.parametrize(
    ("strategy", "phase", "expected"),
    [
        ("Always", None, PowerEffect(strategy="Halted")),
        ("Always", "Running", PowerEffect(strategy="Halted")),
        ("Once", "Running", PowerEffect(strategy="Halted")),
        ("Manual", None, (409, "VM is not running")),
        ("Manual", "Running", PowerEffect(requests=(STOP,))),
        ("Manual", "Succeeded", (409, "VM is not running")),
        ("RerunOnFailure", "Running", PowerEffect(requests=(STOP,))),
        ("RerunOnFailure", "Failed", (409, "VM is not running")),
        ("Halted", None, (409, "VM is not running")),
        ("Halted", "Running", (409, "Halted only supports manual stop requests with a shorter graceperiod")),
        ("WaitAsReceiver", "Running", PowerEffect()),
    ],
)
def test_stop(strategy: str, phase: str | None, expected: Any) -> None:
    assert outcome(decide_stop, build(strategy), instance(phase), grace_seconds=None) == expected


def test_a_grace_is_written_to_a_live_instance() -> None:
    vmi = instance("Running", grace=30)
    assert decide_stop(build("Always"), vmi, grace_seconds=5) == PowerEffect(grace_seconds=5, strategy="Halted")
    assert decide_stop(build("Always"), None, grace_seconds=5) == PowerEffect(strategy="Halted")
    assert decide_stop(build("Halted"), vmi, grace_seconds=5) == PowerEffect(grace_seconds=5, requests=(STOP,))
    assert outcome(decide_stop, build("Halted"), vmi, grace_seconds=30)[0] == 409


@pytest.mark.parametrize(
    ("strategy", "phase", "expected"),
    [
        ("Always", "Running", PowerEffect(requests=(STOP, START))),
        ("Always", None, (409, "VM is not running: Halted")),
        ("Manual", "Running", PowerEffect(requests=(STOP, START))),
        ("RerunOnFailure", "Failed", PowerEffect(requests=(STOP, START))),
        ("Halted", "Running", (409, "RunStategy Halted does not support manual restart requests")),
        ("Once", "Running", (409, "RunStategy Once does not support manual restart requests")),
    ],
)
def test_restart(strategy: str, phase: str | None, expected: Any) -> None:
    assert outcome(decide_restart, build(strategy), instance(phase), grace_seconds=None) == expected


def test_a_forced_restart_kills_the_pod_within_a_second() -> None:
    effect = decide_restart(build("Always"), instance("Running"), grace_seconds=0)
    assert effect.pod_grace_seconds == 1


@pytest.mark.parametrize(
    ("grace", "message"),
    [
        (5, "For force restart, only gracePeriod=0 is supported for now"),
        (-1, "gracePeriod has to be greater or equal to 0"),
    ],
)
def test_a_restart_knows_no_grace_but_none(grace: int, message: str) -> None:
    assert outcome(check_restart_grace, grace) == (400, message)
    check_restart_grace(0)
    check_restart_grace(None)


@pytest.mark.parametrize(
    ("waiting", "stop", "start", "restart"),
    [
        ([STOP], PowerEffect(requests=(STOP,)), UNDERWAY, UNDERWAY),
        ([STOP, START], PowerEffect(requests=(STOP,)), UNDERWAY, UNDERWAY),
    ],
)
def test_only_a_stop_may_follow_another_request(
    waiting: list[Object], stop: Any, start: Any, restart: Any
) -> None:
    vm = build("Manual", stateChangeRequests=waiting)
    vmi = instance("Running")
    assert outcome(decide_stop, vm, vmi, grace_seconds=None) == stop
    assert outcome(decide_start, vm, None, paused=False) == start
    assert outcome(decide_restart, vm, vmi, grace_seconds=None) == restart


DELETED = {"deletionTimestamp": "2026-03-02T08:00:00Z"}
MIGRATING = {"migrationState": {"startTimestamp": "2026-03-02T08:00:00Z"}}
UNSCHEDULABLE = condition("PodScheduled", "False", "Unschedulable")


def volume(phase: str) -> Object:
    return {"status": {"phase": phase}}


@pytest.mark.parametrize(
    ("vm", "vmi", "facts", "expected"),
    [
        (build("Halted"), None, {}, "Stopped"),
        (build("Always"), None, {}, "Stopped"),
        (build("Always"), instance("Pending"), {}, "Starting"),
        (build("Always"), instance("Scheduling"), {}, "Starting"),
        (build("Always"), instance("Scheduled"), {}, "Starting"),
        (build("Always"), instance("Running"), {}, "Running"),
        (build("Always"), instance("Running", condition("Paused")), {}, "Paused"),
        (build("Always"), instance("Running", **DELETED), {}, "Stopping"),
        (build("Always"), instance("Running", condition("Paused"), **DELETED), {}, "Stopping"),
        (build("Always"), instance("Succeeded", **DELETED), {}, "Stopped"),
        (build("Always"), instance("Failed"), {}, "Stopped"),
        (build("Always"), instance("Unknown"), {}, "Unknown"),
        (build("Always"), instance("Scheduling", UNSCHEDULABLE), {}, "ErrorUnschedulable"),
        (
            build("Always"),
            instance("Pending", condition("Synchronized", "False", "FailedPvcNotFound")),
            {},
            "ErrorPvcNotFound",
        ),
        (
            build("Always"),
            instance("Scheduling", condition("Synchronized", "False", "ImagePullBackOff")),
            {},
            "ImagePullBackOff",
        ),
        (build("Always"), None, {"data_volumes": [volume("ImportInProgress")]}, "Provisioning"),
        (build("Halted"), None, {"data_volumes": [volume("Pending")]}, "Provisioning"),
        (build("Always"), None, {"data_volumes": [volume("Failed"), volume("Pending")]}, "DataVolumeError"),
        (build("Always"), None, {"claims_unbound": True}, "WaitingForVolumeBinding"),
        (build("Halted"), None, {"claims_unbound": True}, "Stopped"),
        (build("Always", startFailure={"consecutiveFailCount": 2}), None, {}, "CrashLoopBackOff"),
        (build("Always", startFailure={"consecutiveFailCount": 2}), instance("Failed"), {}, "CrashLoopBackOff"),
        (build("Manual", startFailure={"consecutiveFailCount": 2}), None, {}, "Stopped"),
        (build("WaitAsReceiver"), None, {}, "WaitingForReceiver"),
        ({**build("Always"), "metadata": {"name": "m", **DELETED}}, instance("Running"), {}, "Terminating"),
    ],
)
def test_printable_status(vm: Object, vmi: Object | None, facts: Any, expected: str) -> None:
    assert printable_status(vm, vmi, **facts) == expected


def test_a_migrating_instance_is_migrating_unless_it_stops() -> None:
    vmi = instance("Running")
    assert vmi is not None
    vmi["status"].update(MIGRATING)
    assert printable_status(build("Always"), vmi) == "Migrating"
    vmi["status"]["migrationState"]["completed"] = True
    assert printable_status(build("Always"), vmi) == "Running"
