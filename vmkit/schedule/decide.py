"""One VM, its schedule, its history and an instant: what to do now, what to remember, and why.

Edge-triggered with catch-up. What counts is the latest transition that has not been dealt with; it is carried
out once, if it is no older than a deadline. Between transitions a VM is whatever people made it.
docs/schedules.md has the table of all cases.

The caller writes `Decision.state` first, then acts, then writes `Decision.settled`: killed between any two of
these, the next pass finds an action pending, and does it or sees that it is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from vmkit.plan import Reason
from vmkit.schedule.facts import Ownership, VmFacts
from vmkit.schedule.rules import Side
from vmkit.schedule.sources import Effective
from vmkit.schedule.state import Pending, StoredState
from vmkit.schedule.timetable import Timetable, Transition, Wish
from vmkit.schedule.vetoes import NODE_SILENT, Policy, find_veto
from vmkit.units import format_duration
from vmkit.vm.state import PowerState
from vmkit.vm.strategy import RunStrategy

_LOOK_BACK = timedelta(days=8)
_TICK = timedelta(microseconds=1)


class Action(StrEnum):
    """What to do about a VM."""

    NONE = "none"
    START = "start"
    STOP = "stop"
    WARN = "warn"
    """Tell people, by annotation and Event, that a stop is coming."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Attributes:
        action: what.
        reason: why, or why not.
        state: what to remember from now on, to be written before acting; None while nothing is remembered.
        settled: what to remember once the action has succeeded; as ``state`` where there is none.
        transition: the transition this is about, or None.
        problem: somebody has to look: a bad annotation, a refusal; counts in the exit code.
        notices: what people should know although it is done.
    """

    action: Action
    reason: Reason
    state: StoredState | None
    settled: StoredState | None
    transition: datetime | None = None
    problem: bool = False
    notices: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class _Due:
    """Something to carry out.

    Attributes:
        side: what.
        transition: what it is called by.
        effective: from when it counts: the end of what held it back, if anything did.
        state: the state once it is dealt with.
        level: whatever people did, it is wanted now.
        again: it was begun before, and is not done.
    """

    side: Side
    transition: datetime
    effective: datetime
    state: StoredState
    level: bool = False
    again: bool = False


def decide(
    vm: VmFacts, effective: Effective, stored: StoredState | None, at: datetime, policy: Policy
) -> Decision:
    """Decides about one VM. Pure: the same arguments give the same answer.

    Args:
        vm: the VM as it is.
        effective: what is asked for, from `resolve_sources`.
        stored: what was remembered; None where nothing is, or it cannot be read.
        at: now, aware.
        policy: how this pass decides.
    """
    state = stored if stored is not None and stored.uid == vm.uid else None
    if vm.problem:
        return _none("BadObject", vm.problem, state, problem=True)
    if effective.problems:
        first = effective.problems[0]
        return _none("BadAnnotation", f"{first}; it is left as it is", state, problem=True)
    if effective.timetable is None and effective.force_origin is None:
        return _none("NoSchedule", "nothing says when it should run", state)
    if state is None:
        # Nothing was missed before anybody looked.
        begun = StoredState(vm.uid, at, effective.fingerprint)
        return _none("FirstSight", "its history starts now; the next transition counts", begun)
    if state.schedule != effective.fingerprint:
        begun = replace(
            state,
            since=at,
            schedule=effective.fingerprint,
            pending=None,
            queued=None,
            warned_for=None,
            warned_at=None,
        )
        return _none("ScheduleChanged", "its schedule is another now; the next transition counts", begun)
    state = _observe(vm, state)
    if effective.exclude is not None and effective.exclude.is_active(at):
        return _none("Excluded", "it is excluded", state)
    if effective.exclude_until is not None and at < effective.exclude_until:
        return _none("Excluded", f"it is excluded until {_instant(effective.exclude_until)}", state)
    due = _find_due(vm, effective, state, at, policy)
    if isinstance(due, Decision):
        return due
    if due is None:
        return _warn_ahead(vm, effective, state, at, policy) or _none(
            "NothingDue", _next_text(effective, at), state
        )
    return _carry_out(vm, effective, state, due, at=at, policy=policy)


# --- what is due ----------------------------------------------------------------------------------------------


def _find_due(
    vm: VmFacts, effective: Effective, state: StoredState, at: datetime, policy: Policy
) -> _Due | Decision | None:
    forced = _forced_side(effective, at)
    if isinstance(forced, Decision):
        return replace(forced, state=state, settled=state)
    if forced is not state.forced:
        side = forced if forced is not None else _wished_side(effective.timetable, at)
        after = replace(state, forced=forced, since=max(at, state.since), pending=None, queued=None)
        if side is None:
            return _none("ForceEnded", "it is forced no more; its schedule asks for nothing now", after)
        return _Due(side, at, at, after)
    pending = _resume(vm, effective, state, at, policy)
    if pending is not None:
        return pending
    if policy.enforce:
        side = forced if forced is not None else _wished_side(effective.timetable, at)
        return _level_due(effective, state, side, at)
    if forced is not None:
        return _none(
            "Forced", f"it is forced {'up' if forced is Side.START else 'down'}, and has been told so", state
        )
    return _transition_due(vm, effective, state, at, policy)


def _forced_side(effective: Effective, at: datetime) -> Side | Decision | None:
    up = effective.force_up is not None and effective.force_up.is_active(at)
    down = effective.force_down is not None and effective.force_down.is_active(at)
    if up and down:
        return _none("ForcedBothWays", "it is forced up and down at once; it is left as it is", None, problem=True)
    return Side.START if up else Side.STOP if down else None


def _wished_side(timetable: Timetable | None, at: datetime) -> Side | None:
    wish = timetable.wants(at) if timetable is not None else Wish.ANY
    return {Wish.ON: Side.START, Wish.OFF: Side.STOP, Wish.ANY: None}[wish]


def _level_due(
    effective: Effective, state: StoredState, side: Side | None, at: datetime
) -> _Due | Decision | None:
    if side is None:
        return None
    held = _hold_end(effective, side)
    if held is not None and at < held:
        return _none(*_held(side, held), state)
    return _Due(side, at, at, state, level=True)


def _transition_due(
    vm: VmFacts, effective: Effective, state: StoredState, at: datetime, policy: Policy
) -> _Due | Decision | None:
    since = max(state.since, at - _LOOK_BACK)
    if effective.timetable is None or since >= at:
        return None
    latest: Transition | None = effective.timetable.latest_transition(at, at - since - _TICK)
    if latest is None:
        return None
    done = replace(state, since=latest.at, queued=None)
    if effective.skip_next is not None and latest.at <= effective.skip_next:
        return _none("Skipped", f"the {latest.side} of {_instant(latest.at)} was to be left out", done, latest.at)
    held = _hold_end(effective, latest.side)
    if held is not None and at < held:
        return _none(*_held(latest.side, held), state, latest.at)
    ends = [end for end in (held, effective.exclude_until) if end is not None and latest.at < end <= at]
    counts_from = max([latest.at, *ends])
    queued = state.queued is not None and state.queued <= latest.at and at - latest.at <= policy.queue_limit
    as_wished = vm.power is (PowerState.STOPPED if latest.side is Side.STOP else PowerState.RUNNING)
    if at - counts_from > policy.deadline and not queued and not as_wished:
        late = format_duration(at - counts_from)
        return _none(
            "Missed", f"the {latest.side} of {_instant(latest.at)} is {late} late; it is let be", done, latest.at
        )
    return _Due(latest.side, latest.at, counts_from, done)


def _hold_end(effective: Effective, side: Side) -> datetime | None:
    return effective.keep_up_until if side is Side.STOP else effective.keep_down_until


def _held(side: Side, until: datetime) -> tuple[str, str]:
    if side is Side.STOP:
        return "KeptUp", f"it is kept up until {_instant(until)}"
    return "KeptDown", f"it is kept down until {_instant(until)}"


# --- what was begun -----------------------------------------------------------------------------------------


def _observe(vm: VmFacts, state: StoredState) -> StoredState:
    """Drops what the VM itself contradicts: what somebody started since is no longer vmkit's to start."""
    if state.stopped_at is None or state.pending is not None or vm.power is not PowerState.RUNNING:
        return state
    if vm.running_since is None or vm.running_since > state.stopped_at:
        return replace(state, stopped_at=None)
    return state


def _resume(
    vm: VmFacts, effective: Effective, state: StoredState, at: datetime, policy: Policy
) -> _Due | Decision | None:
    """What to do about an action that was decided and not seen done; None where a newer transition is due."""
    pending = state.pending
    if pending is None:
        return None
    cleared = replace(state, pending=None)
    reached = vm.power is (PowerState.STOPPED if pending.side is Side.STOP else PowerState.RUNNING)
    if reached:
        return _none(
            "Done",
            f"the {pending.side} of {_instant(pending.transition)} is done",
            _settle(state),
            pending.transition,
        )
    limit = policy.queue_limit if vm.node_silent or state.queued is not None else policy.deadline
    if at - pending.asked_at > limit:
        text = f"the {pending.side} of {_instant(pending.transition)} did not succeed in {format_duration(limit)}"
        return _none("GaveUp", text, cleared, pending.transition, problem=True)
    if pending.side is Side.STOP and vm.running_since is not None and vm.running_since > pending.asked_at:
        return _none(
            "StartedAfterwards",
            "somebody started it after the stop; it is left running",
            cleared,
            pending.transition,
        )
    held = _hold_end(effective, pending.side)
    if held is not None and at < held:
        # Given back: once the hold ends, the transition counts again.
        return _none(
            *_held(pending.side, held), replace(cleared, since=min(state.since, pending.transition - _TICK))
        )
    if effective.timetable is not None and state.forced is None:
        newer = effective.timetable.latest_transition(at, max(at - state.since - _TICK, timedelta()))
        if newer is not None and newer.at > pending.transition:
            return None
    return _Due(pending.side, pending.transition, pending.transition, cleared, again=True)


def _settle(state: StoredState) -> StoredState:
    pending = state.pending
    if pending is None:
        return state
    return replace(state, pending=None, stopped_at=pending.asked_at if pending.side is Side.STOP else None)


# --- carrying out ---------------------------------------------------------------------------------------------


def _carry_out(
    vm: VmFacts, effective: Effective, state: StoredState, due: _Due, *, at: datetime, policy: Policy
) -> Decision:
    settled_already = _needs_nothing(vm, effective, state, due, policy)
    if settled_already is not None:
        return settled_already
    if policy.enforce and vm.ownership not in (Ownership.NONE, Ownership.SAFE):
        text = f"enforcing what {vm.owner or 'a GitOps controller'} may undo would never end"
        return _none("EnforceNotSafe", text, state, due.transition, problem=True)
    veto = find_veto(vm, due.side, at, policy, grace=effective.grace, restart_safe=effective.restart_safe)
    if veto is not None:
        waiting = replace(state, queued=state.queued or due.transition) if veto.code == NODE_SILENT else state
        text = f"the {due.side} of {_instant(due.transition)} has to wait: {veto.text}"
        return _none(veto.code, text, waiting, due.transition, problem=veto.code.startswith("GitOps"))
    if due.side is Side.STOP and effective.warn and not _warned_long_enough(state, due, at, effective.warn):
        return _warn(state, due.transition, max(due.effective, at + effective.warn), at)
    # An action tried again keeps the time of its first asking, so that it is given up one day.
    asked_at = state.pending.asked_at if due.again and state.pending is not None else at
    acting = replace(due.state, pending=Pending(due.side, due.transition, asked_at), queued=None)
    notices: tuple[Reason, ...] = ()
    if vm.ownership is Ownership.DRIFT and due.side is Side.STOP:
        notices = (Reason("GitOpsDrift", f"{vm.owner or 'a GitOps controller'} will report the stop as drift"),)
    late = at - due.effective
    text = f"the schedule asks for a {due.side} at {_instant(due.transition)}"
    if due.state.forced is not None:
        text = f"it is forced {'up' if due.state.forced is Side.START else 'down'}"
    elif due.level:
        text = f"the schedule is enforced, and wants it {'on' if due.side is Side.START else 'off'}"
    elif late >= timedelta(minutes=5):
        text += f", {format_duration(late)} ago"
    action = Action.START if due.side is Side.START else Action.STOP
    reason = Reason("ScheduledStart" if due.side is Side.START else "ScheduledStop", text)
    return Decision(action, reason, acting, _settle(acting), due.transition, notices=notices)


def _needs_nothing(
    vm: VmFacts, effective: Effective, state: StoredState, due: _Due, policy: Policy
) -> Decision | None:
    """Whether the transition is dealt with as things are."""
    if due.side is Side.STOP:
        if vm.power is PowerState.STOPPED and not vm.node_silent:
            return _none("AlreadyStopped", "it is stopped already", due.state, due.transition)
        if not (due.level or due.again) and vm.running_since is not None and vm.running_since > due.effective:
            return _none(
                "StartedAfterwards",
                "somebody started it after that; it runs until the next stop",
                due.state,
                due.transition,
            )
        return None
    if vm.power is PowerState.RUNNING and not vm.node_silent:
        return _none(
            "AlreadyRunning", "it is running already", replace(due.state, stopped_at=None), due.transition
        )
    if vm.power is not PowerState.STOPPED:
        return None
    if vm.strategy is RunStrategy.ONCE and vm.ended:
        return _none("OnceFinished", "it was to run once, and has", due.state, due.transition)
    ours = state.stopped_at is not None or effective.start_always or policy.enforce or due.again
    if not ours:
        text = "vmkit did not stop it, so it does not start it; vmkit.io/start: always would"
        return _none("StoppedByHand", text, due.state, due.transition)
    return None


# --- warning ----------------------------------------------------------------------------------------------------


def _warn_ahead(
    vm: VmFacts, effective: Effective, state: StoredState, at: datetime, policy: Policy
) -> Decision | None:
    """People are told of the next stop, where it is near and would be carried out."""
    if not effective.warn or effective.timetable is None or vm.power is not PowerState.RUNNING:
        return None
    coming = effective.timetable.next_transition(at)
    if coming is None or coming.active or coming.at - effective.warn > at or state.warned_for == coming.at:
        return None
    held = max((end for end in (effective.keep_up_until, effective.skip_next) if end is not None), default=None)
    if held is not None and coming.at <= held:
        return None
    if (
        find_veto(vm, Side.STOP, at, policy, grace=effective.grace, restart_safe=effective.restart_safe)
        is not None
    ):
        return None
    return _warn(state, coming.at, coming.at, at)


def _warned_long_enough(state: StoredState, due: _Due, at: datetime, warn: timedelta) -> bool:
    if state.warned_for != due.transition or state.warned_at is None:
        return False
    # Told before the transition: it happens on time. Told late: people still get the whole notice.
    return state.warned_at < due.effective or at - state.warned_at >= warn


def _warn(state: StoredState, transition: datetime, stop_at: datetime, at: datetime) -> Decision:
    told = replace(state, warned_for=transition, warned_at=at)
    text = f"it will be stopped at {_instant(stop_at)}"
    return Decision(Action.WARN, Reason("StopAhead", text), told, told, transition)


# --- words ------------------------------------------------------------------------------------------------------


def _none(
    code: str, text: str, state: StoredState | None, transition: datetime | None = None, *, problem: bool = False
) -> Decision:
    return Decision(Action.NONE, Reason(code, text), state, state, transition, problem)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_text(effective: Effective, at: datetime) -> str:
    coming = effective.timetable.next_transition(at) if effective.timetable is not None else None
    return f"next is a {coming.side} at {_instant(coming.at)}" if coming is not None else "no transition is coming"
