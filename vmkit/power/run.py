"""A power run: read, decide, say what would be done, do it, and see that it is so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vmkit.cluster.resources import (
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
    Resource,
)
from vmkit.cluster.session import Session
from vmkit.errors import Conflict, FateUnknown, Interrupted, Unauthorized, Unreachable, VmkitError
from vmkit.guard.gitops import GitopsVerdict, Verdict
from vmkit.plan.executor import check_limit, run
from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Result, Status, failed
from vmkit.power.acting import Actor, Later, explain, object_of, object_to, unchanged
from vmkit.power.options import PowerOptions, Selection
from vmkit.power.ownership import object_to_fight, read_verdicts, render_notices
from vmkit.power.selecting import Scope, Selected, read_selected
from vmkit.power.settling import Moving, OnProgress, Restarting, Settling, migrated_name_of, vm_name_of
from vmkit.power.waiting import wait_for
from vmkit.vm.contract import Move, Verb, is_reached
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView

Confirm = Callable[[Plan], None]
OnOutcome = Callable[[Outcome], None]
_LOST_AFTER = 3
"""So many VMs in a row without any answer, and the cluster is taken for lost."""


def run_power(
    session: Session,
    verb: Verb | str,
    selection: Selection,
    options: PowerOptions | None = None,
    *,
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_progress: OnProgress | None = None,
) -> Result:
    """Brings VMs where ``verb`` wants them.

    Args:
        session: the cluster.
        verb: start, stop, restart, pause, unpause or live-migrate.
        selection: which VMs.
        options: how to go about it.
        confirm: shown the plan before the first change; raises `NotConfirmed` to end the run there.
        on_outcome: told of each VM's outcome as it comes.
        on_progress: told in words how far a VM is, while waiting.

    Returns:
        One outcome for each VM, in the order asked (lists: by namespace and name).

    Raises:
        ClusterError: the VMs cannot be read. LimitExceeded, NotConfirmed: before the first change.
    """
    options = options or PowerOptions()
    job = _PowerRun(session, Verb(verb), options, on_outcome or _nobody, on_progress)
    selected = read_selected(session, selection, concurrency=options.concurrency)
    plan = job.prepare(selected)
    check_limit(len(plan), len(selected.order), options.max_changes, verb=str(verb))
    notices = plan.notices
    if not selected.order:
        notices = (*notices, "no VM matches")
    if options.dry_run == "client":
        job.pretend(plan)
    else:
        if len(plan) and confirm is not None and options.dry_run is None:
            confirm(plan)
        job.carry_out(plan, selected.scopes)
    outcomes = tuple(job.outcomes[ref] for ref in selected.order)
    return Result(str(verb), outcomes, notices=notices, dry_run=options.dry_run)


def _nobody(_: Outcome) -> None:
    """The listener of those who gave none."""


@dataclass(slots=True)
class _Entry:
    view: VmView
    settling: Outcome | None = None
    """Asked for, and on its way."""
    later: bool = False
    """Not possible yet."""


class LostCluster:
    """Notices that a cluster no longer answers, so that a run of thousands does not wait for each of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0

    def note(self, error: VmkitError | None) -> None:
        away = isinstance(error, Unreachable | Unauthorized) and not isinstance(error, FateUnknown)
        with self._lock:
            if isinstance(error, Unauthorized):
                self._in_a_row = _LOST_AFTER
            else:
                self._in_a_row = self._in_a_row + 1 if away else 0

    def is_lost(self) -> bool:
        return self._in_a_row >= _LOST_AFTER


class _PowerRun:
    def __init__(
        self,
        session: Session,
        verb: Verb,
        options: PowerOptions,
        on_outcome: OnOutcome,
        on_progress: OnProgress | None,
    ) -> None:
        self.outcomes: dict[VmRef, Outcome] = {}
        self._session = session
        self._verb = verb
        self._options = options
        self._actor = Actor(session, verb, options)
        self._on_outcome = on_outcome
        self._on_progress = on_progress
        self._entries: dict[ObjectRef, _Entry] = {}
        self._lost = LostCluster()
        self._prepared: list[Outcome] = []

    # --- deciding -------------------------------------------------------------------------------------------

    def prepare(self, selected: Selected) -> Plan:
        """Decides on every VM. Those nothing is done about have their outcome now."""
        verdicts = read_verdicts(self._session, selected.views.values(), self._verb)
        changes: list[Change] = []
        for ref in selected.order:
            if ref in selected.errors:
                self._settle_now(ref, failed(object_of(ref), self._verb, selected.errors[ref]))
                continue
            view = selected.views[ref]
            change = self._decide(view, verdicts.get(ref))
            if change is not None:
                changes.append(change)
        return Plan(self._verb, tuple(changes), render_notices(verdicts))

    def _decide(self, view: VmView, verdict: GitopsVerdict | None) -> Change | None:
        veto = object_to(view, self._verb)
        if veto is not None:
            self._settle_now(view.ref, failed(object_of(view.ref), self._verb, veto))
            return None
        decision = self._actor.decide(view)
        if decision.move is Move.CANNOT:
            self._settle_now(view.ref, failed(object_of(view.ref), self._verb, explain(view, decision)))
            return None
        if decision.move is Move.NOTHING:
            outcome = unchanged(self._verb, view, decision)
            if self._options.wait and decision.settling and self._options.dry_run is None:
                self._entries[outcome.target] = _Entry(view, settling=outcome)
            else:
                self._settle_now(view.ref, outcome)
            return None
        if verdict is not None and verdict.verdict is Verdict.FIGHT and not self._options.despite_gitops:
            self._settle_now(view.ref, failed(object_of(view.ref), self._verb, object_to_fight(view, verdict)))
            return None
        target = object_of(view.ref)
        self._entries[target] = _Entry(view)
        detail: dict[str, Any] = {"from": str(view.power), "runStrategy": str(view.run_strategy)}
        return Change(self._verb, target, Reason(decision.code, decision.text), detail)

    def _settle_now(self, ref: VmRef, outcome: Outcome) -> None:
        self.outcomes[ref] = outcome
        self._prepared.append(outcome)

    def _tell_prepared(self) -> None:
        for outcome in self._prepared:
            self._on_outcome(outcome)

    def pretend(self, plan: Plan) -> None:
        """A client-side dry run: what would be done, and nothing sent."""
        self._tell_prepared()
        for change in plan:
            view = self._entries[change.target].view
            outcome = Outcome(change.target, self._verb, Status.PLANNED, change.reason, detail=change.detail)
            self._finish(outcome, view.ref)

    # --- doing ----------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan, scopes: Sequence[Scope]) -> None:
        """Does it, and waits where that was asked for or is needed."""
        self._tell_prepared()
        watching = self._watching(scopes) if self._entries else None
        interrupted = threading.Event()
        run(
            plan,
            self._do,
            concurrency=self._options.concurrency,
            on_outcome=self._heard,
            should_stop=self._lost.is_lost,
            on_interrupt=interrupted.set,
        )
        ended = None
        if interrupted.is_set():
            # What was under way has been asked for; nobody wants to wait for it any more.
            ended = Interrupted("asked for, and interrupted", hint="vmkit get shows what became of it")
        if watching is not None:
            self._wait(watching, ended)

    def _do(self, change: Change) -> Outcome:
        entry = self._entries[change.target]
        try:
            result = self._actor.act(entry.view)
        except VmkitError as error:
            self._lost.note(error)
            raise
        self._lost.note(None)
        if isinstance(result, Later):
            if self._verb in {Verb.RESTART, Verb.LIVE_MIGRATE}:
                ref = entry.view.ref
                raise Conflict(f"VirtualMachine {ref}: {result.text}", hint="try again soon", where=str(ref))
            entry.later = self._options.dry_run is None
            entry.view = result.view
            reason = Reason("NotYet", result.text)
            return Outcome(
                change.target, self._verb, Status.PLANNED, reason, detail={"was": str(entry.view.power)}
            )
        if self._must_wait(result):
            entry.settling = result
        return result

    def _must_wait(self, outcome: Outcome) -> bool:
        options = self._options
        if options.dry_run is not None:
            return False
        escalates = self._verb is Verb.STOP and options.force and bool(options.grace_seconds)
        return outcome.status in {Status.CHANGED, Status.UNCHANGED} and (options.wait or escalates)

    def _heard(self, outcome: Outcome) -> None:
        entry = self._entries[outcome.target]
        if not (entry.later or entry.settling is not None):
            self._finish(outcome, entry.view.ref)

    def _finish(self, outcome: Outcome, ref: VmRef) -> None:
        self.outcomes[ref] = outcome
        self._on_outcome(outcome)

    # --- waiting --------------------------------------------------------------------------------------------

    def _watching(self, scopes: Sequence[Scope]) -> _Watching:
        """What to watch, read before anything is done where the change can only be told from what was before."""
        if not self._options.wait or self._options.dry_run is not None:
            return _Watching(VIRTUAL_MACHINES, list(scopes), {})
        if self._verb is Verb.RESTART:
            return self._read_before(VIRTUAL_MACHINE_INSTANCES, scopes)
        if self._verb is Verb.LIVE_MIGRATE:
            return self._read_before(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, scopes)
        return _Watching(VIRTUAL_MACHINES, list(scopes), {})

    def _read_before(self, resource: Resource, scopes: Sequence[Scope]) -> _Watching:
        before: dict[VmRef, list[dict[str, Any]]] = {}
        name_of = vm_name_of if resource is VIRTUAL_MACHINE_INSTANCES else migrated_name_of
        found: list[Scope] = []
        for scope in scopes:
            # The VMs' labels are not those of their instances and migrations.
            fields = scope.field_selector if resource is VIRTUAL_MACHINE_INSTANCES else ""
            listing = self._session.list(resource, scope.namespace, field_selector=fields)
            for document in listing:
                ref = name_of(document)
                if ref is not None:
                    before.setdefault(ref, []).append(document)
            found.append(Scope(scope.namespace, "", fields, listing.resource_version))
        return _Watching(resource, found, before)

    def _wait(self, watching: _Watching, ended: Interrupted | None) -> None:
        awaited: list[Settling] = []
        for entry in self._entries.values():
            if not (entry.later or entry.settling is not None):
                continue
            settling = entry.settling
            if settling is not None and settling.status is Status.UNCHANGED and self._is_so(entry.view):
                self._finish(settling, entry.view.ref)
                continue
            awaited.append(self._awaited(entry, watching))
        if ended is not None:
            for one in awaited:
                self._finish(one.fail(ended), one.ref)
            return
        wait_for(
            self._session,
            watching.resource,
            watching.scopes,
            awaited,
            name_of=migrated_name_of if watching.resource is VIRTUAL_MACHINE_INSTANCE_MIGRATIONS else vm_name_of,
            concurrency=self._options.concurrency,
            on_outcome=lambda outcome: self._finish(outcome, self._entries[outcome.target].view.ref),
        )

    def _is_so(self, view: VmView) -> bool:
        return self._verb not in {Verb.RESTART, Verb.LIVE_MIGRATE} and is_reached(self._verb, view)

    def _awaited(self, entry: _Entry, watching: _Watching) -> Settling:
        view, outcome = entry.view, entry.settling
        before = watching.before.get(view.ref, [])
        if outcome is not None and watching.resource is VIRTUAL_MACHINE_INSTANCES:
            uid = str(before[0]["metadata"].get("uid", "")) if before else ""
            # A restart that was under way before us ends with the instance that comes; so does one we asked for.
            return Restarting(self._actor, view, outcome, self._on_progress, old_uid=uid)
        if outcome is not None and watching.resource is VIRTUAL_MACHINE_INSTANCE_MIGRATIONS:
            finished = frozenset(str(one["metadata"].get("uid")) for one in before if _is_final(one))
            return Moving(self._actor, view, outcome, self._on_progress, finished=finished)
        return Settling(self._actor, view, outcome, self._on_progress)


@dataclass(frozen=True, slots=True)
class _Watching:
    resource: Resource
    scopes: list[Scope]
    before: dict[VmRef, list[dict[str, Any]]]


def _is_final(migration: dict[str, Any]) -> bool:
    status = migration.get("status")
    return isinstance(status, dict) and status.get("phase") in {"Succeeded", "Failed"}
