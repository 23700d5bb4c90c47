"""Carries a wish out on one VM: the requests it takes, and what their refusals mean."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES, Resource
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Conflict, FateUnknown, Forbidden, Vetoed
from vmkit.guard.vetoes import decide_veto
from vmkit.plan.model import ObjectRef, Outcome, Reason, Status
from vmkit.power.options import PowerOptions
from vmkit.vm.contract import Decision, Move, Refusal, Verb, decide, read_refusal
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm

_MAX_TRIES: Final = 5

_SUBRESOURCE: Final[dict[Verb, tuple[Resource, str]]] = {
    Verb.START: (VIRTUAL_MACHINES, "start"),
    Verb.STOP: (VIRTUAL_MACHINES, "stop"),
    Verb.RESTART: (VIRTUAL_MACHINES, "restart"),
    Verb.LIVE_MIGRATE: (VIRTUAL_MACHINES, "migrate"),
    Verb.PAUSE: (VIRTUAL_MACHINE_INSTANCES, "pause"),
    Verb.UNPAUSE: (VIRTUAL_MACHINE_INSTANCES, "unpause"),
}


@dataclass(frozen=True, slots=True)
class Later:
    """Not possible yet: act again when the VM changes."""

    view: VmView
    text: str


def object_of(ref: VmRef) -> ObjectRef:
    """The VM as outcomes name it."""
    return ObjectRef("VirtualMachine", ref.namespace, ref.name)


def unchanged(verb: str, view: VmView, decision: Decision) -> Outcome:
    """The outcome where it is so already."""
    detail = {"state": str(view.power)}
    return Outcome(
        object_of(view.ref), verb, Status.UNCHANGED, Reason(decision.code, decision.text), detail=detail
    )


def explain(view: VmView, decision: Decision) -> Conflict:
    """The error where KubeVirt has no way."""
    return Conflict(
        f"VirtualMachine {view.ref}: {decision.text}",
        hint=decision.hint,
        where=str(view.ref),
        reason=decision.code,
    )


def object_to(view: VmView, verb: str) -> Vetoed | None:
    """The refusal where vmkit itself objects."""
    veto = decide_veto(view, verb)
    if veto is None:
        return None
    return Vetoed(f"VirtualMachine {view.ref}: {veto.text}", hint=veto.hint, where=str(view.ref))


class Actor:
    """Acts on single VMs. Thread-safe."""

    def __init__(self, session: Session, verb: Verb, options: PowerOptions) -> None:
        self.session = session
        self.verb = verb
        self.options = options

    def decide(self, view: VmView) -> Decision:
        return decide(self.verb, view, force=self.options.force)

    def act(self, view: VmView) -> Outcome | Later:
        """Does what the wish takes. A VM that turns out to be another than it seemed is read again.

        Raises:
            ClusterError: the cluster refuses for good. Vetoed: vmkit objects.
        """
        asked = False
        for _ in range(_MAX_TRIES):
            veto = object_to(view, self.verb)
            if veto is not None:
                raise veto
            decision = self.decide(view)
            if decision.move is Move.NOTHING:
                return self._asked(view) if asked else unchanged(self.verb, view, decision)
            if decision.move is Move.CANNOT:
                raise explain(view, decision)
            if decision.move is Move.WAIT:
                return Later(view, decision.text)
            try:
                self._send(view, decision)
            except FateUnknown:
                if self.verb is Verb.RESTART:
                    raise  # A second one would restart it twice.
                asked = True
            except ClusterError as error:
                refusal = read_refusal(self.verb, error)
                if refusal is Refusal.FINAL:
                    raise
                if refusal is Refusal.WAIT:
                    return Later(view, error.message)
                if refusal is Refusal.SO_ALREADY:
                    code, text = "Already", f"KubeVirt says it is so already: {error.message}"
                    return unchanged(self.verb, view, Decision(Move.NOTHING, code, text))
                fresh = read_vm(self.session.get(VIRTUAL_MACHINES, view.ref.name, view.ref.namespace))
                if fresh.resource_version == view.resource_version:
                    # Nothing has changed, so asking again would be answered alike: its controller is behind.
                    return Later(view, error.message)
                view = fresh
                continue
            else:
                return self._asked(view)
            view = read_vm(self.session.get(VIRTUAL_MACHINES, view.ref.name, view.ref.namespace))
        raise Conflict(
            f"VirtualMachine {view.ref}: it keeps changing while it is asked to {self.verb}",
            hint="somebody else is at it; look with vmkit describe, then try again",
            where=str(view.ref),
        )

    def _asked(self, view: VmView) -> Outcome:
        status = Status.PLANNED if self.options.dry_run else Status.CHANGED
        text = "KubeVirt would accept it" if self.options.dry_run else f"{self.verb} requested"
        reason = Reason(
            "Accepted" if self.options.dry_run else "Requested", f"{text}; it was {view.power.lower()}"
        )
        return Outcome(object_of(view.ref), self.verb, status, reason, detail={"was": str(view.power)})

    def _send(self, view: VmView, decision: Decision) -> None:
        if decision.move is Move.RESTORE:
            self._restore(view, decision)
            return
        if self.verb is Verb.STOP:
            self._keep_strategy(view)
            if view.power is PowerState.PAUSED and not self.options.force and not self.options.dry_run:
                self._resume(view)
        resource, subresource = _SUBRESOURCE[self.verb]
        self.session.call_subresource(resource, view.ref.name, subresource, view.ref.namespace, body=self._body())
        if self.verb is Verb.START and ORIGINAL_RUN_STRATEGY in view.annotations:
            # It names no strategy that could be brought back. The VM is starting; the note can wait.
            with contextlib.suppress(ClusterError):
                self._annotate(view, None)

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        options = self.options
        if self.verb is Verb.STOP:
            grace = options.grace_seconds if options.grace_seconds is not None else (0 if options.force else None)
            if grace is not None:
                body["gracePeriod"] = grace
        if self.verb is Verb.RESTART and options.force:
            body["gracePeriodSeconds"] = 0
        if options.dry_run:
            body["dryRun"] = ["All"]
        return body

    def _keep_strategy(self, view: VmView) -> None:
        """Writes down a strategy that this stop loses; crosses out one that no longer holds.

        Before the stop, so that a run that is killed between the two has lost nothing.
        """
        strategy = view.run_strategy
        if strategy is None or not strategy.rewritten_by_stop:
            return
        wanted = str(strategy) if strategy.lost_by_stop else None
        if view.annotations.get(ORIGINAL_RUN_STRATEGY) != wanted:
            self._annotate(view, wanted)

    def _annotate(self, view: VmView, text: str | None) -> None:
        self._patch(view, {"metadata": {"uid": view.uid, "annotations": {ORIGINAL_RUN_STRATEGY: text}}})

    def _restore(self, view: VmView, decision: Decision) -> None:
        # One patch: the strategy and the note of it change together or not at all. The version makes sure that
        # nobody has changed either since we looked.
        metadata = {"resourceVersion": view.resource_version, "annotations": {ORIGINAL_RUN_STRATEGY: None}}
        self._patch(view, {"metadata": metadata, "spec": {"runStrategy": str(decision.strategy)}})

    def _resume(self, view: VmView) -> None:
        # A paused guest cannot hear the power button: it would stand out the whole grace period and be killed.
        with contextlib.suppress(Conflict, Forbidden):
            self.session.call_subresource(
                VIRTUAL_MACHINE_INSTANCES, view.ref.name, "unpause", view.ref.namespace, body={}
            )

    def _patch(self, view: VmView, body: dict[str, Any]) -> None:
        dry_run = self.options.dry_run is not None
        self.session.patch(VIRTUAL_MACHINES, view.ref.name, body, view.ref.namespace, dry_run=dry_run)

    def cut_power(self, view: VmView) -> None:
        """Escalates a stop that is under way."""
        with contextlib.suppress(Conflict):  # It has stopped meanwhile, or is being killed already.
            self.session.call_subresource(
                VIRTUAL_MACHINES, view.ref.name, "stop", view.ref.namespace, body={"gracePeriod": 0}
            )
