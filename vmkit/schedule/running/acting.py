"""One action on one VM, in steps that can be cut off after any of them.

The decision is written down, then carried out, then written down as done. Killed between two of these, the next
pass finds an action that was begun, and sees whether it is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Conflict, NotFound, VmkitError
from vmkit.plan import ObjectRef, Outcome, Reason, Status
from vmkit.plan.model import failed
from vmkit.schedule.decide import Action, Decision
from vmkit.schedule.rules import Side
from vmkit.schedule.running.events import emit
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.records import write_state
from vmkit.schedule.running.subjects import Subject, Surroundings, read_subject
from vmkit.schedule.running.switch import Switch
from vmkit.vm.history import Entry
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

_MAX_TRIES: Final = 4
Decide = Callable[[Subject, Side | None], Decision]


def object_of(ref: VmRef) -> ObjectRef:
    """The VM as outcomes name it."""
    return ObjectRef("VirtualMachine", ref.namespace, ref.name)


def skipped(ref: VmRef, verb: str, code: str, text: str) -> Outcome:
    """The outcome of what is not done, without fault."""
    return Outcome(object_of(ref), verb, Status.SKIPPED, Reason(code, text))


@dataclass(frozen=True, slots=True)
class Worker:
    """Carries decisions out. Thread-safe.

    Attributes:
        session, hands, surroundings: the cluster, how to act on it, what surrounds the VMs.
        decide: decides anew about a VM that has changed since it was read.
        switch: read before every change.
        run: the run's id.
        at: the instant of the pass.
        may_act: asked right before every change, beside the switch: whether it is still ours to make.
        reread: what was decided about may be old: look again before a VM is switched.
    """

    session: Session
    hands: Hands
    surroundings: Surroundings
    decide: Decide
    switch: Switch
    run: str
    at: datetime
    may_act: Callable[[], bool] = lambda: True
    reread: bool = False

    def note(self, subject: Subject, decision: Decision) -> Outcome:
        """Writes down what is to be remembered of a VM that nothing is done to; says a problem in an Event."""
        if (objection := self._objection(subject.ref, "note")) is not None:
            return objection
        if decision.problem:
            emit(self.session, subject.view, decision.reason, self.at, kind="Warning", once=decision.reason.text)
        if decision.state is not None and decision.state != subject.stored:
            try:
                write_state(self.session, subject.view, decision.state)
            except NotFound:
                return skipped(subject.ref, "note", "Gone", "it has been deleted")
            except Conflict:
                return skipped(subject.ref, "note", "Changed", "it changed meanwhile; the next pass looks again")
        return report(subject.ref, decision)

    def carry_out(self, subject: Subject, decision: Decision) -> Outcome:
        """Starts, stops or warns.

        Raises:
            VmkitError: it could not be done.
        """
        wanted = decision.action
        written: dict[str, Any] | None = None
        old = self.reread
        for _ in range(_MAX_TRIES):
            if old:
                try:
                    subject = read_subject(self.session, self.surroundings, subject.ref)
                except NotFound:
                    return skipped(subject.ref, wanted, "Gone", "it has been deleted")
                side = Side.START if wanted is Action.START else Side.STOP
                decision = self.decide(subject, side)
                if decision.action is not wanted:
                    return self.note(subject, decision)
            if (objection := self._objection(subject.ref, wanted)) is not None:
                return objection
            entry = self._entry(decision, wanted, 0) if wanted is Action.WARN else None
            try:
                written = write_state(self.session, subject.view, decision.state, entry=entry)
                break
            except NotFound:
                return skipped(subject.ref, wanted, "Gone", "it has been deleted")
            except Conflict:
                old = True
        if written is None:
            return skipped(subject.ref, wanted, "Changed", "it keeps changing; the next pass looks again")
        if wanted is Action.WARN:
            emit(
                self.session, subject.view, decision.reason, self.at, kind="Warning", once=str(decision.transition)
            )
            return self._done(subject.ref, wanted, decision)
        return self._act(subject, decision, read_vm(written))

    def _act(self, subject: Subject, decision: Decision, view: VmView) -> Outcome:
        side = Side.START if decision.action is Action.START else Side.STOP
        if (objection := self._objection(subject.ref, side)) is not None:
            return objection  # What was written down is taken up once it is turned back.
        try:
            outcome = self.hands.act(view, side)
        except VmkitError as error:
            once = f"{decision.transition} {error.message}"
            emit(
                self.session, view, Reason(f"{decision.reason.code}Failed", error.message), self.at,
                kind="Warning", once=once,
            )  # fmt: skip
            return failed(object_of(subject.ref), side, error)
        if outcome.status is Status.SKIPPED:
            return outcome
        settled = decision.settled
        begun_before = subject.stored is not None and subject.stored.pending is not None
        if outcome.status is Status.UNCHANGED and side is Side.STOP and settled is not None and not begun_before:
            settled = replace(settled, stopped_at=None)  # Somebody else stopped it a moment ago.
        # Where this cannot be written, the next pass sees that what was begun is done.
        with contextlib.suppress(ClusterError):
            if not self.may_act():
                return self._done(subject.ref, side, decision)
            now = self.session.get(VIRTUAL_MACHINES, subject.ref.name, subject.ref.namespace)
            generation = now.get("metadata", {}).get("generation")
            entry = self._entry(decision, decision.action, generation if isinstance(generation, int) else 0)
            current = read_vm(now)
            if current.uid == view.uid:
                write_state(self.session, current, settled, entry=entry, strict=False)
        emit(self.session, view, decision.reason, self.at, kind="Normal", once=f"{decision.transition} {self.run}")
        return self._done(subject.ref, side, decision) if outcome.status is Status.CHANGED else outcome

    def _entry(self, decision: Decision, verb: str, generation: int) -> Entry:
        return Entry(self.run, self.at, str(verb), decision.reason.code, decision.reason.text, generation)

    def _done(self, ref: VmRef, verb: str, decision: Decision) -> Outcome:
        return Outcome(
            object_of(ref), str(verb), Status.CHANGED, decision.reason, detail=_detail(decision, self.run)
        )

    def _objection(self, ref: VmRef, verb: str) -> Outcome | None:
        """Why this change may not be made now. Asked right before it."""
        if self.switch.is_suspended(self.session):
            return skipped(ref, str(verb), "Suspended", f"{self.switch} suspends every change")
        if not self.may_act():
            return skipped(ref, str(verb), "NotLeading", "another replica may have taken over")
        return None


def report(ref: VmRef, decision: Decision) -> Outcome:
    """The outcome of a decision by which nothing is done."""
    verb = "decide"
    if decision.problem:
        status = Status.REFUSED if decision.reason.code.startswith(("GitOps", "Enforce")) else Status.FAILED
    else:
        status = Status.SKIPPED
    return Outcome(object_of(ref), verb, status, decision.reason, detail=_detail(decision, ""))


def _detail(decision: Decision, run: str) -> dict[str, Any]:
    detail: dict[str, Any] = {"run": run} if run else {}
    if decision.transition is not None:
        detail["transition"] = decision.transition.isoformat().replace("+00:00", "Z")
    if decision.notices:
        detail["notices"] = [notice.text for notice in decision.notices]
    return detail
