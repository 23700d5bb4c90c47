"""Deletes VMs, and keeps their disks unless told otherwise.

In this order, so that a run that is killed at any point has lost nothing and is completed by running it again:
stop the VM, wait until its guest is off, release its disks, delete it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS, VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.cluster.watch import WatchEvent
from vmkit.errors import DeadlineExceeded, Interrupted, NotFound, VmkitError
from vmkit.guard.gitops import GitopsVerdict, Verdict
from vmkit.plan.executor import check_limit, run
from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Result, Status, failed
from vmkit.power.acting import Actor, object_of, object_to
from vmkit.power.disks import Disk, OwnedDisks, read_owned_disks, release_disks
from vmkit.power.options import DeleteOptions, Selection
from vmkit.power.ownership import object_to_fight, read_verdicts, render_notices
from vmkit.power.run import Confirm, LostCluster, OnOutcome
from vmkit.power.selecting import Selected, read_selected
from vmkit.power.settling import OnProgress, Settling, vm_name_of
from vmkit.power.waiting import Finish, wait_for
from vmkit.vm.contract import Verb, is_reached
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm

_VERB: Final = "delete"
_GONE_TIMEOUT_SECONDS: Final = 120.0


def run_delete(
    session: Session,
    selection: Selection,
    options: DeleteOptions | None = None,
    *,
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_progress: OnProgress | None = None,
) -> Result:
    """Deletes VMs.

    Args:
        session: the cluster.
        selection: which VMs. One that is not there is as wished: unchanged.
        options: how to go about it.
        confirm: shown the plan, with the disks that are kept and those that go, before the first change; raises
            `NotConfirmed` to end the run there.
        on_outcome: told of each VM's outcome as it comes.
        on_progress: told in words how far a VM is.

    Returns:
        One outcome for each VM, in the order asked.

    Raises:
        ClusterError: the VMs cannot be read. LimitExceeded, NotConfirmed: before the first change.
    """
    options = options or DeleteOptions()
    job = _DeleteRun(session, options, on_outcome or (lambda _: None), on_progress)
    selected = read_selected(session, selection, concurrency=options.concurrency)
    plan = job.prepare(selected)
    check_limit(len(plan), len(selected.order), options.max_changes, verb=_VERB)
    notices = plan.notices
    if not selected.order:
        notices = (*notices, "no VM matches")
    if len(plan) and confirm is not None and options.dry_run is None:
        confirm(plan)
    job.carry_out(plan, selected)
    return Result(
        _VERB, tuple(job.outcomes[ref] for ref in selected.order), notices=notices, dry_run=options.dry_run
    )


@dataclass(slots=True)
class _Entry:
    view: VmView
    disks: list[Disk]
    """Owned by the VM: released, or deleted with it."""
    awaited: _Removing | None = None


class _DeleteRun:
    def __init__(
        self, session: Session, options: DeleteOptions, on_outcome: OnOutcome, on_progress: OnProgress | None
    ) -> None:
        self.outcomes: dict[VmRef, Outcome] = {}
        self._session = session
        self._options = options
        self._stopper = Actor(session, Verb.STOP, options.stopping)
        self._on_outcome = on_outcome
        self._on_progress = on_progress
        self._entries: dict[ObjectRef, _Entry] = {}
        self._lost = LostCluster()

    # --- deciding -------------------------------------------------------------------------------------------

    def prepare(self, selected: Selected) -> Plan:
        """Decides on every VM. Those nothing is done about have their outcome now."""
        verdicts = read_verdicts(self._session, selected.views.values(), _VERB)
        disks = self._read_disks({view.ref.namespace for view in selected.views.values()})
        changes: list[Change] = []
        for ref in selected.order:
            if ref in selected.errors:
                self.outcomes[ref] = _unread(ref, selected.errors[ref])
                continue
            view = selected.views[ref]
            change = self._decide(view, verdicts.get(ref), disks[ref.namespace])
            if change is not None:
                changes.append(change)
        return Plan(_VERB, tuple(changes), render_notices(verdicts))

    def _read_disks(self, namespaces: set[str]) -> dict[str, OwnedDisks | VmkitError]:
        found: dict[str, OwnedDisks | VmkitError] = {}
        for namespace in sorted(namespaces):
            try:
                found[namespace] = read_owned_disks(self._session, namespace)
            except VmkitError as error:
                # Whoever lets the disks go need not know them; whoever keeps them must.
                found[namespace] = OwnedDisks() if self._options.delete_disks else error
        return found

    def _decide(
        self, view: VmView, verdict: GitopsVerdict | None, disks: OwnedDisks | VmkitError
    ) -> Change | None:
        target = object_of(view.ref)
        objection: VmkitError | None = object_to(view, _VERB)
        if objection is None and verdict is not None and verdict.verdict is Verdict.FIGHT:
            objection = None if self._options.despite_gitops else object_to_fight(view, verdict)
        if objection is None and isinstance(disks, VmkitError):
            objection = disks
        if objection is not None or isinstance(disks, VmkitError):
            assert objection is not None
            self.outcomes[view.ref] = failed(target, _VERB, objection)
            return None
        owned = disks.of(view)
        self._entries[target] = _Entry(view, owned)
        detail, text = self._describe(view, owned)
        return Change(_VERB, target, Reason("Asked", text), detail)

    def _describe(self, view: VmView, owned: list[Disk]) -> tuple[dict[str, Any], str]:
        names = [str(disk) for disk in owned]
        known = {disk.name for disk in owned}
        # Disks that are not the VM's own stay whatever is asked.
        others = [
            str(
                Disk(
                    DATA_VOLUMES.kind if volume.kind == "dataVolume" else PERSISTENT_VOLUME_CLAIMS.kind,
                    volume.source,
                )
            )
            for volume in view.volumes
            if volume.persistent and volume.source not in known
        ]
        going = names if self._options.delete_disks else []
        staying = others if self._options.delete_disks else names + others
        detail = {
            "from": str(view.power),
            "diskPolicy": "delete" if self._options.delete_disks else "keep",
            "deletedDisks": going,
            "keptDisks": staying,
        }
        what = "; its disks go with it" if going else "; its disks are kept" if staying else ""
        return detail, f"it is {view.power.lower()}{what}"

    # --- doing ----------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan, selected: Selected) -> None:
        """Does it, or (dry run) says what would be done."""
        for outcome in list(self.outcomes.values()):
            self._on_outcome(outcome)
        do = self._pretend if self._options.dry_run else self._do
        interrupted = threading.Event()
        run(
            plan,
            do,
            concurrency=self._options.concurrency,
            on_outcome=self._heard,
            should_stop=self._lost.is_lost,
            on_interrupt=interrupted.set,
        )
        awaited = [entry.awaited for entry in self._entries.values() if entry.awaited is not None]
        ended = None
        if interrupted.is_set():
            # What was under way has been asked for; nobody wants to wait for it any more.
            ended = Interrupted("asked for, and interrupted", hint="vmkit get shows what became of it")
        if ended is not None:
            for one in awaited:
                self._finish(one.fail(ended), one.ref)
            return
        wait_for(
            self._session,
            VIRTUAL_MACHINES,
            selected.scopes,
            awaited,
            name_of=vm_name_of,
            concurrency=self._options.concurrency,
            on_outcome=lambda outcome: self._finish(outcome, self._entries[outcome.target].view.ref),
        )

    def _pretend(self, change: Change) -> Outcome:
        view = self._entries[change.target].view
        if self._options.dry_run == "server":
            self._session.delete(
                VIRTUAL_MACHINES, view.ref.name, view.ref.namespace, uid=view.uid or None, dry_run=True
            )
        return Outcome(change.target, _VERB, Status.PLANNED, change.reason, detail=change.detail)

    def _do(self, change: Change) -> Outcome:
        entry = self._entries[change.target]
        removal = _Removing(self._stopper, entry, change.detail, self._options, self._on_progress)
        try:
            outcome = removal.begin()
        except VmkitError as error:
            self._lost.note(error)
            raise
        self._lost.note(None)
        if outcome is not None:
            return outcome
        entry.awaited = removal
        return Outcome(change.target, _VERB, Status.PLANNED, change.reason)

    def _heard(self, outcome: Outcome) -> None:
        entry = self._entries[outcome.target]
        if entry.awaited is None:
            self._finish(outcome, entry.view.ref)

    def _finish(self, outcome: Outcome, ref: VmRef) -> None:
        self.outcomes[ref] = outcome
        self._on_outcome(outcome)


def _unread(ref: VmRef, error: VmkitError) -> Outcome:
    if isinstance(error, NotFound):
        return Outcome(object_of(ref), _VERB, Status.UNCHANGED, Reason("AlreadyGone", "there is no such VM"))
    return failed(object_of(ref), _VERB, error)


class _Removing(Settling):
    """One VM on its way out: first until its guest is off, then (where that is wanted) until it is gone."""

    def __init__(
        self,
        stopper: Actor,
        entry: _Entry,
        detail: Mapping[str, Any],
        options: DeleteOptions,
        on_progress: OnProgress | None,
    ) -> None:
        super().__init__(stopper, entry.view, None, on_progress)
        self._entry = entry
        self._detail = detail
        self._options = options
        self._removed = False

    def begin(self) -> Outcome | None:
        """Asks it to stop, or removes it where that is not needed. None: there is something to wait for."""
        options, view = self._options, self._view
        # A VM that takes its disks along can be deleted as it is: KubeVirt shuts the guest down.
        at_once = options.delete_disks and options.grace_seconds is None and not options.force
        if at_once or view.power is PowerState.DELETING or is_reached(Verb.STOP, view):
            return self._remove()
        self._actor.act(view)  # Whatever it says, the watch tells when the guest is off.
        return None

    def see(self, event: WatchEvent) -> Outcome | Finish | None:
        if event.type == "DELETED":
            return self._gone()
        self._view = read_vm(event.object)
        self._report()
        if self._removed or self._view.uid != self._entry.view.uid:
            return None
        return self._remove if is_reached(Verb.STOP, self._view) else None

    def _remove(self) -> Outcome | None:
        view, session = self._view, self._actor.session
        if not self._options.delete_disks:
            release_disks(session, view, self._entry.disks)
        deleting = view.power is PowerState.DELETING
        if not deleting:
            try:
                session.delete(
                    VIRTUAL_MACHINES,
                    view.ref.name,
                    view.ref.namespace,
                    uid=view.uid or None,
                    propagation="Background",
                )
            except NotFound:
                return self._gone()
        self._removed = True
        if self._options.wait:
            # The clock of the deletion itself begins now.
            self._deadline = time.monotonic() + (self._options.timeout_seconds or _GONE_TIMEOUT_SECONDS)
            self.wake_at = self._deadline
            return None
        text = "it was being deleted already; its disks are kept" if deleting else "deletion requested"
        return self._over(Status.CHANGED, Reason("Deleting", text))

    def _gone(self) -> Outcome:
        return self._over(Status.CHANGED, Reason("Deleted", "it is gone"))

    def _timed_out(self, now: float) -> Outcome:
        seconds = round(now - self.began)
        if self._removed:
            waits = "its deletion was asked for, and it is still there"
            hint = "its finalizers tell who holds it: kubectl get vm NAME -o yaml"
        else:
            waits = f"it has not stopped after {seconds} s, so it was not deleted"
            hint = "its guest may ignore the power button: --force cuts the power; then run it again"
        error = DeadlineExceeded(f"VirtualMachine {self.ref}: {waits}", hint=hint, where=str(self.ref))
        return self._over(Status.TIMED_OUT, Reason(error.code, error.message), error)

    def fail(self, error: VmkitError) -> Outcome:
        outcome = failed(object_of(self.ref), _VERB, error, seconds=time.monotonic() - self.began)
        return self._over(outcome.status, outcome.reason, error)

    def _over(self, status: Status, reason: Reason, error: VmkitError | None = None) -> Outcome:
        seconds = time.monotonic() - self.began
        return Outcome(
            object_of(self.ref), _VERB, status, reason, error=error, detail=self._detail, seconds=seconds
        )
