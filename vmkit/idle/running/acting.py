"""One VM, in steps that can be cut off after any of them.

A stop is written down, asked for, then written down as done. Killed between two of these, a later run finds a
stop that was begun, and sees whether it is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from vmkit.cluster.events import write_event
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Conflict, NotFound, ServerFault, Unreachable, VmkitError
from vmkit.guard.switch import Switch
from vmkit.idle.decide import Decision
from vmkit.idle.mark import MARK, NOTICE, Mark, describe_notice, render_mark
from vmkit.idle.report import Action
from vmkit.idle.running.hands import Hands
from vmkit.idle.running.subjects import Subject
from vmkit.plan import ObjectRef, Outcome, Reason, Status
from vmkit.plan.model import failed
from vmkit.vm.history import HISTORY, LAST_ACTION, Entry, add_entry, describe_action, parse_history
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

COMPONENT: Final = "vmkit-stop-idle"
LEAST_GRACE_SECONDS: Final = 120
"""Without an agent, KubeVirt waits a minute for one before it presses the power button (kubevirt#18721): a guest
that is given less is killed."""
_USUAL_GRACE_SECONDS: Final = 30
_MAX_TRIES: Final = 4


def object_of(ref: VmRef) -> ObjectRef:
    """The VM as outcomes name it."""
    return ObjectRef("VirtualMachine", ref.namespace, ref.name)


def skipped(ref: VmRef, verb: str, code: str, text: str) -> Outcome:
    """The outcome of what is not done, without fault."""
    return Outcome(object_of(ref), verb, Status.SKIPPED, Reason(code, text))


def grace_for(subject: Subject) -> int | None:
    """How long the guest is given; None leaves that to the VM."""
    if subject.facts.agent:
        return None
    instance = subject.view.instance
    own = instance.grace_seconds if instance is not None else None
    own = own if own is not None else subject.view.grace_seconds
    return (
        LEAST_GRACE_SECONDS if (own if own is not None else _USUAL_GRACE_SECONDS) < LEAST_GRACE_SECONDS else None
    )


@dataclass(frozen=True, slots=True)
class Worker:
    """Carries decisions out. Thread-safe.

    Attributes:
        session, hands: the cluster, and how to act on it.
        read: a VM as it is now.
        decide: decides anew about a VM, with the last look.
        switch: read before every change.
        run: the run's id.
        at: the instant of the run.
    """

    session: Session
    hands: Hands
    read: Callable[[Subject], Subject]
    decide: Callable[[Subject], Decision]
    switch: Switch
    run: str
    at: datetime

    def note(self, subject: Subject, decision: Decision) -> Outcome:
        """Notes that a VM is idle, takes the note away, or writes down what an earlier run did."""
        verb = str(decision.action)
        if self.switch.is_suspended(self.session):
            return self._suspended(subject.ref, verb)
        try:
            self._write(subject.view, self._annotations(subject.view, decision))
        except NotFound:
            return skipped(subject.ref, verb, "Gone", "it has been deleted")
        except Conflict:
            return skipped(subject.ref, verb, "Changed", "it changed meanwhile; the next run looks again")
        self._tell(subject.view, decision)
        return Outcome(
            object_of(subject.ref), verb, Status.CHANGED, decision.reason, detail=self._detail(decision)
        )

    def stop(self, subject: Subject) -> Outcome:
        """Looks once more, and stops a VM.

        Raises:
            VmkitError: it could not be done.
        """
        ref, verb = subject.ref, str(Action.STOP)
        for _ in range(_MAX_TRIES):
            if self.switch.is_suspended(self.session):
                return self._suspended(ref, verb)
            try:
                subject = self.read(subject)
            except NotFound:
                return skipped(ref, verb, "Gone", "it has been deleted")
            decision = self.decide(subject)
            if decision.action in (Action.CLEAR, Action.SETTLE):
                return self.note(subject, decision)
            if decision.action is not Action.STOP or decision.mark is None:
                return skipped(ref, verb, decision.reason.code, decision.reason.text)
            mark = replace(decision.mark, run=self.run)
            before = self.hands.stop_marks(subject.view, self.at)
            try:
                written = self._write(subject.view, {MARK: render_mark(mark), **before})
            except NotFound:
                return skipped(ref, verb, "Gone", "it has been deleted")
            except Conflict:
                continue  # Somebody was faster: look at what it is now.
            return self._stop(subject, read_vm(written), replace(decision, mark=mark), before)
        return skipped(ref, verb, "Changed", "it keeps changing; the next run looks again")

    def _stop(self, subject: Subject, view: VmView, decision: Decision, written: Mapping[str, str]) -> Outcome:
        verb = str(Action.STOP)
        if self.switch.is_suspended(self.session):
            self._take_back(subject.view, written)
            return self._suspended(view.ref, verb)
        try:
            outcome = self.hands.stop(view, grace_seconds=grace_for(subject))
        except VmkitError as error:
            if not isinstance(error, Unreachable | ServerFault):
                # Else it may have been carried out all the same: the next run sees whether it was.
                self._take_back(subject.view, written)
            self._event(view, Reason("StoppedIdleFailed", error.message), kind="Warning")
            return failed(object_of(view.ref), verb, error)
        if outcome.status is Status.SKIPPED:
            self._take_back(subject.view, written)
            return outcome
        # Where this cannot be written, the next run sees that what was begun is done.
        with contextlib.suppress(ClusterError):
            document = self.session.get(VIRTUAL_MACHINES, view.ref.name, view.ref.namespace)
            now = read_vm(document)
            if now.uid == view.uid:
                generation = document.get("metadata", {}).get("generation")
                self._write(
                    now, self._done(now, decision, generation if isinstance(generation, int) else 0), strict=False
                )
        self._event(view, decision.reason, kind="Normal")
        return Outcome(object_of(view.ref), verb, Status.CHANGED, decision.reason, detail=self._detail(decision))

    # --- what is written --------------------------------------------------------------------------------------

    def _annotations(self, view: VmView, decision: Decision) -> dict[str, str | None]:
        if decision.action is Action.MARK and decision.mark is not None:
            notice = describe_notice(decision.mark, view.ref.name, view.ref.namespace)
            return {MARK: render_mark(decision.mark), NOTICE: notice}
        if decision.action is Action.SETTLE:
            return self._done(view, decision, 0)
        return {MARK: None, NOTICE: None}

    def _done(self, view: VmView, decision: Decision, generation: int) -> dict[str, str | None]:
        mark = decision.mark
        annotations: dict[str, str | None] = {MARK: None, NOTICE: None}
        if mark is None or _is_recorded(view, mark):
            return annotations
        entry = Entry(
            run=mark.run,
            at=mark.stopping_at or self.at,
            verb="stop",
            code=decision.reason.code,
            text=decision.reason.text,
            generation=generation,
            vcpus=mark.size.vcpus,
            memory_bytes=mark.size.memory_bytes,
            active_watts=mark.size.active_watts,
            energy_source=mark.size.energy_source,
        )
        annotations[LAST_ACTION] = describe_action(entry)
        annotations[HISTORY] = add_entry(view.annotations, entry)
        return annotations

    def _write(
        self, view: VmView, annotations: Mapping[str, str | None], *, strict: bool = True
    ) -> dict[str, Any]:
        metadata: dict[str, Any] = {"uid": view.uid, "annotations": dict(annotations)}
        if strict:
            metadata["resourceVersion"] = view.resource_version
        return self.session.patch(VIRTUAL_MACHINES, view.ref.name, {"metadata": metadata}, view.ref.namespace)

    def _take_back(self, before: VmView, written: Mapping[str, str]) -> None:
        """What was written ahead of a stop that did not come about."""
        keys = [MARK, *written]
        with contextlib.suppress(ClusterError):
            self._write(before, {key: before.annotations.get(key) for key in keys}, strict=False)

    # --- what people are told ---------------------------------------------------------------------------------

    def _tell(self, view: VmView, decision: Decision) -> None:
        if decision.action is Action.CLEAR:
            text = f"it is not stopped as idle: {decision.reason.text}"
            self._event(view, Reason("KeptRunning", text), kind="Warning" if decision.problem else "Normal")
        elif decision.action is Action.MARK:
            self._event(view, decision.reason, kind="Warning")

    def _event(self, view: VmView, reason: Reason, *, kind: Literal["Normal", "Warning"]) -> None:
        write_event(
            self.session, view, reason.code, reason.text, self.at, component=COMPONENT, kind=kind, once=self.run
        )

    def _detail(self, decision: Decision) -> dict[str, Any]:
        return {"run": self.run, "code": decision.reason.code}

    def _suspended(self, ref: VmRef, verb: str) -> Outcome:
        return skipped(ref, verb, "Suspended", f"{self.switch} suspends every change")


def _is_recorded(view: VmView, mark: Mark) -> bool:
    try:
        return any(each.verb == "stop" and each.run == mark.run for each in parse_history(view.annotations))
    except VmkitError:
        return False
