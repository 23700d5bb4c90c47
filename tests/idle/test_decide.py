"""What to do about a VM: the table of docs/idle.md, and what must never happen whatever the evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.idle.world import AT, quiet_facts, quiet_summary
from vmkit.errors import ConfigError
from vmkit.idle import decide_idle, vmkit_policy
from vmkit.idle.decide import Noted, Terms, decide_action, is_opted_in, is_opted_out, read_noted
from vmkit.idle.mark import MARK, SNOOZE, Mark, parse_mark, parse_snooze, render_mark
from vmkit.idle.report import Action, Size
from vmkit.idle.verdict import State, Verdict
from vmkit.plan import Reason
from vmkit.vm.state import PowerState

DAY = timedelta(days=1)
TERMS = Terms(AT, DAY, "run-2")
VERDICT = decide_idle(quiet_summary(), quiet_facts(), vmkit_policy(), AT)


def mark(age: timedelta = timedelta(0), **changes: object) -> Mark:
    """A note of that age, by another run."""
    made = Mark("uid", AT - age, AT - age + DAY, 4, "vmkit", "run-1", size=Size(2, 1 << 30, 1.5, "kepler-pod"))
    return replace(made, **changes)  # type: ignore[arg-type]


FRESH, OLD = mark(timedelta(hours=1)), mark(timedelta(hours=25))
BUSY = replace(VERDICT, state=State.BUSY, reasons=(Reason("InUse", "busy"),))
UNKNOWN = replace(VERDICT, state=State.UNKNOWN, reasons=(Reason("NotObserved", "unknown"),))
HELD = replace(VERDICT, held=(Reason("KeptUp", "held"),))
TURN = replace(VERDICT, held=(Reason("GroupTurn", "another first"),))


def test_the_quiet_vm_is_idle() -> None:
    assert VERDICT.may_stop


@pytest.mark.parametrize(
    ("verdict", "noted", "none", "fresh", "old"),
    [
        (VERDICT, {}, Action.MARK, Action.NONE, Action.STOP),
        (TURN, {}, Action.NONE, Action.NONE, Action.NONE),
        (HELD, {}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (BUSY, {}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (UNKNOWN, {}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (VERDICT, {"opted_out": True}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (VERDICT, {"snoozed_until": AT + DAY}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (VERDICT, {"snoozed_until": AT - DAY}, Action.MARK, Action.NONE, Action.STOP),
        (VERDICT, {"problem": "no instant"}, Action.NONE, Action.CLEAR, Action.CLEAR),
        (VERDICT, {"generation": 5}, Action.MARK, Action.CLEAR, Action.CLEAR),
    ],
    ids=["idle", "turn", "held", "busy", "unknown", "opted-out", "snoozed", "snooze-over", "problem", "changed"],
)
def test_the_table(verdict: Verdict, noted: dict[str, object], none: Action, fresh: Action, old: Action) -> None:
    for note, wanted in ((None, none), (FRESH, fresh), (OLD, old)):
        known = replace(Noted("uid", 4, mark=note), **noted)  # type: ignore[arg-type]
        decision = decide_action(verdict, quiet_facts(), known, Size(), TERMS)
        assert decision.action is wanted, note
        assert decision.reason.text


def test_stop_now_does_without_notice_and_marks_only_without_stops() -> None:
    fresh = Noted("uid", 4)
    now = replace(TERMS, stop_now=True)
    decision = decide_action(VERDICT, quiet_facts(), fresh, Size(2), now)
    assert decision.action is Action.STOP
    assert decision.mark is not None
    assert (decision.mark.stopping_at, decision.mark.size) == (AT, Size(2))
    only = decide_action(
        VERDICT, quiet_facts(), Noted("uid", 4, mark=OLD), Size(), replace(TERMS, marks_only=True)
    )
    assert (only.action, only.reason.code) == (Action.NONE, "NotAgreed")


@pytest.mark.parametrize(
    ("power", "since", "begun", "generation", "wanted"),
    [
        (PowerState.STOPPED, None, timedelta(hours=1), 5, Action.SETTLE),
        (PowerState.STOPPING, None, timedelta(hours=1), 5, Action.NONE),
        (PowerState.RUNNING, AT - 30 * DAY, timedelta(minutes=5), 4, Action.NONE),
        (PowerState.RUNNING, AT - 30 * DAY, timedelta(minutes=20), 4, Action.STOP),
        (PowerState.RUNNING, AT - 30 * DAY, timedelta(minutes=20), 5, Action.NONE),
        (PowerState.RUNNING, AT - 30 * DAY, timedelta(hours=1), 5, Action.CLEAR),
        (PowerState.RUNNING, AT - timedelta(minutes=30), timedelta(hours=1), 5, Action.SETTLE),
    ],
    ids=["stopped", "stopping", "leased", "never-asked", "asked", "changed-since", "started-again"],
)
def test_a_stop_that_was_begun_is_seen_through(
    power: PowerState, since: datetime | None, begun: timedelta, generation: int, wanted: Action
) -> None:
    facts = quiet_facts(power=power, running_since=since)
    noted = Noted("uid", generation, mark=replace(OLD, stopping_at=AT - begun))
    assert decide_action(VERDICT, facts, noted, Size(), TERMS).action is wanted


@given(
    state=st.sampled_from(State),
    held=st.booleans(),
    age=st.one_of(st.none(), st.timedeltas(timedelta(0), timedelta(days=3))),
    opted_out=st.booleans(),
    snoozed=st.one_of(st.none(), st.timedeltas(-DAY, DAY)),
    generation=st.integers(4, 5),
    stop_now=st.booleans(),
    marks_only=st.booleans(),
)
def test_nothing_is_stopped_that_is_not_idle_free_and_told_of(
    *, state: State, held: bool, age: timedelta | None, opted_out: bool, snoozed: timedelta | None,
    generation: int, stop_now: bool, marks_only: bool,
) -> None:  # fmt: skip
    verdict = replace(VERDICT, state=state, held=(Reason("KeptUp", "held"),) if held else ())
    noted = Noted(
        "uid",
        generation,
        opted_out,
        None if age is None else mark(age),
        None if snoozed is None else AT + snoozed,
    )
    terms = replace(TERMS, stop_now=stop_now, marks_only=marks_only)
    decision = decide_action(verdict, quiet_facts(), noted, Size(), terms)
    if decision.action is Action.STOP:
        assert state is State.IDLE
        assert not any((held, opted_out, marks_only))
        assert snoozed is None or snoozed <= timedelta(0)
        assert stop_now or (age is not None and age >= DAY and generation == 4)
    assert decide_action(verdict, quiet_facts(), noted, Size(), terms) == decision


def test_what_is_noted_is_read_as_it_was_written() -> None:
    for each in (FRESH, replace(OLD, stopping_at=AT), replace(OLD, size=Size())):
        assert parse_mark(render_mark(each)) == each


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"uid":1}', '{"uid":"u","markedAt":"x"}', "x" * 5000])
def test_what_is_no_note_is_a_problem_and_never_raised(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_mark(text)
    noted = read_noted("uid", 4, {MARK: text}, opted_out=False)
    assert noted.problem
    assert noted.stale
    assert decide_action(VERDICT, quiet_facts(), noted, Size(), TERMS).action is Action.CLEAR


@pytest.mark.parametrize("text", ["", "soon", "2026-02-05", "2026-02-05T18:00:00"])
def test_a_snooze_without_an_instant_is_a_problem(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_snooze({SNOOZE: text})


def test_only_enabled_opts_in_and_anything_else_opts_out() -> None:
    label = "vmkit.io/stop-idle"
    assert (is_opted_in({label: " Enabled"}), is_opted_out({label: "enabled"})) == (True, False)
    for text in ("disabled", "true", "", "no"):
        assert (is_opted_in({label: text}), is_opted_out({label: text})) == (False, True)
    assert (is_opted_in({}), is_opted_out({})) == (False, False)
