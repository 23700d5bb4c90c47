"""Takes back what a run did, where nobody has touched it since."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, NotFound, ScheduleError, VmkitError
from vmkit.plan import Change, Outcome, Plan, Reason, Result, Status
from vmkit.plan.executor import run
from vmkit.plan.model import failed
from vmkit.schedule.rules import Side
from vmkit.schedule.running.acting import object_of
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.records import write_state
from vmkit.schedule.running.switch import Switch
from vmkit.schedule.state import STATE, StoredState, parse_state
from vmkit.vm.history import Entry, new_run_id, parse_history
from vmkit.vm.state import PowerState, VmView, read_vm

_REVERSE: Final = {"start": Side.STOP, "stop": Side.START}
_LEFT: Final = {"start": PowerState.RUNNING, "stop": PowerState.STOPPED}


def undo_run(
    session: Session,
    hands: Hands,
    run_id: str,
    *,
    namespace: str | None = None,
    dry_run: bool = False,
    switch: Switch | None = None,
    concurrency: int = 8,
    confirm: Callable[[Plan], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Result:
    """Starts what a run stopped, and stops what it started.

    A VM that was switched, or whose spec was changed, since then is left as it is.

    Args:
        session: the cluster.
        hands: how VMs are started and stopped.
        run_id: the run.
        namespace: only VMs of this one.
        dry_run: only say what would be done.
        switch: read before every change.
        concurrency: VMs at once.
        confirm: shown the plan before the first change.
        on_outcome: told of each outcome.

    Raises:
        NotFound: no VM remembers such a run.
        ClusterError: the VMs cannot be read.
    """
    found: dict[Any, tuple[VmView, int, Entry]] = {}
    outcomes: list[Outcome] = []
    known = False
    for document in session.list(VIRTUAL_MACHINES, namespace):
        view = read_vm(document)
        try:
            history = [entry for entry in parse_history(view.annotations) if entry.verb in _REVERSE]
        except ScheduleError:
            continue
        if not any(entry.run == run_id for entry in history):
            continue
        known = True
        generation = document.get("metadata", {}).get("generation")
        touched = _touched(view, generation, history[-1], run_id)
        if touched:
            verb = str(_REVERSE[next(entry for entry in history if entry.run == run_id).verb])
            outcome = Outcome(object_of(view.ref), verb, Status.SKIPPED, Reason("TouchedSince", touched))
            outcomes.append(outcome)
            if on_outcome is not None:
                on_outcome(outcome)
        else:
            found[object_of(view.ref)] = (view, generation, history[-1])
    if not known:
        raise NotFound(
            f"no VM remembers a run {run_id}", hint="vmkit history VM shows the runs that touched it", where=run_id
        )
    reason = Reason("Undo", f"takes back run {run_id}")
    plan = Plan(
        "undo", tuple(Change(str(_REVERSE[entry.verb]), target, reason) for target, (_, _, entry) in found.items())
    )
    if dry_run:
        planned = [Outcome(change.target, change.verb, Status.PLANNED, reason) for change in plan]
        for outcome in planned:
            if on_outcome is not None:
                on_outcome(outcome)
        return Result("undo", (*outcomes, *planned), dry_run="client")
    if len(plan) and confirm is not None:
        confirm(plan)
    at = session.server_time or datetime.now(UTC)
    this_run = new_run_id(at)

    def do(change: Change) -> Outcome:
        if (switch or Switch()).is_suspended(session):
            text = f"{switch or Switch()} suspends every change"
            return Outcome(change.target, change.verb, Status.SKIPPED, Reason("Suspended", text))
        return _reverse(session, hands, found[change.target][0], change, run_id=this_run, at=at)

    outcomes += run(plan, do, concurrency=concurrency, on_outcome=on_outcome)
    return Result("undo", tuple(sorted(outcomes, key=lambda outcome: outcome.target)))


def _touched(view: VmView, generation: Any, last: Entry, run_id: str) -> str:
    if last.run != run_id:
        return f"run {last.run} has done a {last.verb} since"
    if view.power is not _LEFT[last.verb]:
        return f"it is {view.printable_status or view.power} now, and was left {_LEFT[last.verb]}"
    if last.generation and generation != last.generation:
        return "its spec has been changed since"
    return ""


def _reverse(
    session: Session, hands: Hands, view: VmView, change: Change, *, run_id: str, at: datetime
) -> Outcome:
    side = Side(change.verb)
    try:
        outcome = hands.act(view, side)
    except VmkitError as error:
        return failed(change.target, change.verb, error)
    if outcome.status is Status.SKIPPED:
        return outcome
    with contextlib.suppress(ClusterError):
        now = session.get(VIRTUAL_MACHINES, view.ref.name, view.ref.namespace)
        generation = now.get("metadata", {}).get("generation")
        current = read_vm(now)
        if current.uid == view.uid:
            entry = Entry(run_id, at, change.verb, change.reason.code, change.reason.text, generation or 0)
            write_state(session, current, _remembered(current, side, at), entry=entry, strict=False)
    return Outcome(change.target, change.verb, Status.CHANGED, change.reason, detail={"run": run_id})


def _remembered(view: VmView, side: Side, at: datetime) -> StoredState | None:
    """What is remembered then: what is started is no longer vmkit's to start, what is stopped is again."""
    try:
        stored = parse_state(view.annotations[STATE])
    except (KeyError, ScheduleError):
        return None
    return replace(stored, pending=None, stopped_at=at if side is Side.STOP else None)
