from __future__ import annotations

import signal
import threading
import time

import pytest

from vmkit.errors import Conflict, ExitCode, LimitExceeded, VmkitError
from vmkit.plan.executor import check_limit, run
from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Result, Status
from vmkit.units import Limit


def changes(count: int) -> tuple[Change, ...]:
    return tuple(
        Change("stop", ObjectRef("VirtualMachine", "default", f"vm-{number}"), Reason("Asked", "asked"))
        for number in range(count)
    )


def done(change: Change) -> Outcome:
    return Outcome(change.target, change.verb, Status.CHANGED, Reason("Stopped", "it is stopped"))


def test_outcomes_come_in_the_order_of_the_plan_whatever_finishes_first() -> None:
    gate = threading.Event()

    def do(change: Change) -> Outcome:
        if change.target.name == "vm-0":
            assert gate.wait(60)
        if change.target.name == "vm-9":
            gate.set()
        return done(change)

    heard: list[str] = []
    outcomes = run(
        Plan("stop", changes(10)), do, concurrency=2, on_outcome=lambda outcome: heard.append(outcome.target.name)
    )
    assert [outcome.target.name for outcome in outcomes] == [f"vm-{number}" for number in range(10)]
    assert sorted(heard) == sorted(outcome.target.name for outcome in outcomes)
    assert heard[0] != "vm-0"


def test_never_more_at_once_than_allowed() -> None:
    lock, now, most = threading.Lock(), 0, 0
    both = threading.Barrier(2, timeout=60)

    def do(change: Change) -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait()
        with lock:
            now -= 1
        return done(change)

    run(changes(8), do, concurrency=2)
    assert most == 2


def test_outcomes_are_told_in_the_callers_thread() -> None:
    threads: set[str] = set()
    run(changes(5), done, on_outcome=lambda _: threads.add(threading.current_thread().name))
    assert threads == {threading.current_thread().name}


def test_an_error_is_the_outcome_of_its_change_alone() -> None:
    def do(change: Change) -> Outcome:
        if change.target.name == "vm-1":
            raise Conflict("somebody else changed it")
        return done(change)

    outcomes = run(changes(3), do)
    assert [outcome.status for outcome in outcomes] == [Status.CHANGED, Status.FAILED, Status.CHANGED]
    assert isinstance(outcomes[1].error, Conflict)


def test_a_defect_is_raised_and_not_taken_for_a_failure() -> None:
    def do(change: Change) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(changes(3), do)


def test_too_many_changes_are_refused_before_the_first() -> None:
    tried: list[Change] = []

    def do(change: Change) -> Outcome:
        tried.append(change)
        return done(change)

    with pytest.raises(LimitExceeded, match=r"5 of 20.*allows 2 \(10% of 20\)"):
        run(changes(5), do, limit=Limit(percent=10), total=20)
    assert tried == []
    check_limit(2, 20, Limit(percent=10), verb="stop")
    check_limit(20, 20, None, verb="stop")


def test_after_the_deadline_nothing_is_begun() -> None:
    outcomes = run(changes(3), done, deadline=time.monotonic() - 1)
    assert {outcome.status for outcome in outcomes} == {Status.NOT_TRIED}
    assert Result("stop", outcomes).exit_code is ExitCode.TIMEOUT


def test_a_lost_cluster_ends_the_run_and_leaves_no_change_unlisted() -> None:
    lost = threading.Event()

    def do(change: Change) -> Outcome:
        if change.target.name == "vm-2":
            lost.set()
            raise VmkitError("gone")
        return done(change)

    outcomes = run(changes(6), do, concurrency=1, should_stop=lost.is_set)
    assert [outcome.status for outcome in outcomes] == [
        Status.CHANGED, Status.CHANGED, Status.FAILED, Status.NOT_TRIED, Status.NOT_TRIED, Status.NOT_TRIED,
    ]  # fmt: skip


def test_an_interrupt_lets_what_is_under_way_finish_and_lists_the_rest_as_not_tried() -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def do(change: Change) -> Outcome:
        under_way.set()
        assert go_on.wait(60)
        return done(change)

    interrupted = threading.Event()

    def handle(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt() -> None:
        assert under_way.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        # What is under way goes on once the interrupt has been taken in.
        assert interrupted.wait(60)
        go_on.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        outcomes = run(changes(4), do, concurrency=1, on_interrupt=interrupted.set)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert [outcome.status for outcome in outcomes] == [
        Status.CHANGED, Status.NOT_TRIED, Status.NOT_TRIED, Status.NOT_TRIED,
    ]  # fmt: skip
    assert Result("stop", outcomes).exit_code is ExitCode.INTERRUPTED


def test_nothing_to_do_is_done_at_once() -> None:
    assert run((), done) == ()
