"""When a wish has come true: what is watched for each verb, and what is said when it takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from vmkit.cluster.watch import WatchEvent
from vmkit.errors import Conflict, DeadlineExceeded, Interrupted, NotFound, VmkitError
from vmkit.plan.model import Outcome, Reason, Status
from vmkit.power.acting import Actor, Later, object_of
from vmkit.power.options import (
    DEFAULT_GRACE_SECONDS,
    MIGRATE_TIMEOUT_SECONDS,
    START_TIMEOUT_SECONDS,
    STOP_MARGIN_SECONDS,
    PowerOptions,
)
from vmkit.power.waiting import Finish
from vmkit.vm.contract import Verb, is_reached
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_instance, read_vm

OnProgress = Callable[[VmRef, str], None]
_PAUSE_TIMEOUT_SECONDS: Final = 60.0

_REACHED: Final[Mapping[Verb, tuple[str, str]]] = {
    Verb.START: ("Started", "it is running and ready"),
    Verb.STOP: ("Stopped", "it has stopped"),
    Verb.RESTART: ("Restarted", "it runs anew and is ready"),
    Verb.PAUSE: ("Paused", "it is paused"),
    Verb.UNPAUSE: ("Unpaused", "it goes on"),
    Verb.LIVE_MIGRATE: ("Migrated", "it has moved"),
}


def timeout_for(verb: Verb, view: VmView, options: PowerOptions) -> float:
    """How long to wait for one VM, in seconds."""
    if options.timeout_seconds is not None:
        return options.timeout_seconds
    grace = options.grace_seconds if options.grace_seconds is not None else view.grace_seconds
    stop = (DEFAULT_GRACE_SECONDS if grace is None else grace) + STOP_MARGIN_SECONDS
    return {
        Verb.STOP: stop,
        Verb.START: START_TIMEOUT_SECONDS,
        Verb.RESTART: stop + START_TIMEOUT_SECONDS,
        Verb.LIVE_MIGRATE: MIGRATE_TIMEOUT_SECONDS,
    }.get(verb, _PAUSE_TIMEOUT_SECONDS)


def vm_name_of(document: Mapping[str, Any]) -> VmRef | None:
    """Which VM a VirtualMachine or its instance is about: they share a name."""
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    return VmRef(str(metadata.get("namespace", "")), str(metadata.get("name", "")))


def migrated_name_of(document: Mapping[str, Any]) -> VmRef | None:
    """Which VM a migration is about."""
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, Mapping) or not isinstance(spec, Mapping):
        return None
    return VmRef(str(metadata.get("namespace", "")), str(spec.get("vmiName", "")))


class Settling:
    """One VM on its way, told of each change of its VirtualMachine.

    Args:
        actor: acts again where acting was not possible yet, or to escalate.
        view: the VM as it was.
        outcome: what has been asked for; None where acting was not possible yet.
        on_progress: told in words how far it is.
    """

    def __init__(
        self, actor: Actor, view: VmView, outcome: Outcome | None, on_progress: OnProgress | None
    ) -> None:
        self.ref = view.ref
        self.began = time.monotonic()
        self._actor = actor
        self._verb = actor.verb
        self._view = view
        self._outcome = outcome
        self._on_progress = on_progress
        self._said = ""
        self._deadline = self.began + timeout_for(actor.verb, view, actor.options)
        self._cut_at = self._plan_cut()
        self.wake_at = self._next_wake()

    def _plan_cut(self) -> float | None:
        options = self._actor.options
        if self._verb is Verb.STOP and options.force and options.grace_seconds:
            return self.began + options.grace_seconds
        return None

    def _next_wake(self) -> float:
        return self._deadline if self._cut_at is None else min(self._cut_at, self._deadline)

    @property
    def view(self) -> VmView:
        """The VM as it was seen last."""
        return self._view

    def see(self, event: WatchEvent) -> Outcome | Finish | None:
        if event.type == "DELETED":
            if self._verb is Verb.STOP:
                return self._reached("it is gone altogether")
            return self._failed(NotFound(f"VirtualMachine {self.ref} was deleted meanwhile", where=str(self.ref)))
        self._view = read_vm(event.object)
        self._report()
        if self._outcome is None:
            return self._act_again
        return self._reached() if is_reached(self._verb, self._view) else None

    def _act_again(self) -> Outcome | None:
        result = self._actor.act(self._view)
        if isinstance(result, Later):
            return None
        self._outcome = result
        return None if self._actor.options.wait and not is_reached(self._verb, self._view) else result

    def tick(self, now: float) -> Outcome | None:
        if now >= self._deadline:
            return self._timed_out(now)
        if self._cut_at is not None and now >= self._cut_at:
            self._cut_at = None
            try:
                self._actor.cut_power(self._view)
            except VmkitError as error:
                return self._failed(error)
            self._tell("still shutting down: cutting its power")
        self.wake_at = self._next_wake()
        return None

    def fail(self, error: VmkitError) -> Outcome:
        if isinstance(error, Interrupted) and self._outcome is not None:
            reason = Reason(error.code, f"{self._verb} {error.message}")
            return self._end(Status.TIMED_OUT, reason, error)
        return self._failed(error)

    def _report(self) -> None:
        text = self._view.printable_status or str(self._view.power)
        trouble = self._trouble()
        self._tell(f"{text}: {trouble}" if trouble else text)

    def _tell(self, text: str) -> None:
        if text != self._said and self._on_progress is not None:
            self._on_progress(self.ref, text)
        self._said = text

    def _trouble(self) -> str:
        """What keeps it, in KubeVirt's own words."""
        failure = self._view.condition("Failure")
        if failure is not None:
            return failure.message or failure.reason
        waits = next(
            (one for one in self._view.conditions if one.type in {"PodScheduled", "Ready"} and not one.is_true),
            None,
        )
        if (
            self._verb is not Verb.STOP
            and waits is not None
            and waits.reason not in {"VMINotExists", "GuestNotRunning"}
        ):
            return waits.message or waits.reason
        return ""

    def _reached(self, text: str = "") -> Outcome:
        code, usual = _REACHED[self._verb]
        before = self._outcome
        if before is not None and before.status is Status.UNCHANGED:
            return self._end(Status.UNCHANGED, Reason(f"Already{code}", text or usual))
        return self._end(Status.CHANGED, Reason(code, text or usual))

    def _timed_out(self, now: float) -> Outcome:
        seconds = round(now - self.began)
        trouble = self._trouble()
        state = self._view.printable_status or str(self._view.power)
        what = f"asked to {self._verb}" if self._outcome is not None else f"could not be asked to {self._verb}"
        error = DeadlineExceeded(
            f"VirtualMachine {self.ref}: {what}, and after {seconds} s it is {state}"
            + (f": {trouble}" if trouble else ""),
            hint=self._late_hint(),
            where=str(self.ref),
        )
        return self._end(Status.TIMED_OUT, Reason(error.code, error.message), error)

    def _late_hint(self) -> str:
        if self._verb is Verb.STOP:
            return "its guest may ignore the power button: --force cuts the power"
        return "vmkit describe shows what it waits for; raise --timeout to wait longer"

    def _failed(self, error: VmkitError) -> Outcome:
        return self._end(Status.FAILED, Reason(error.code, error.message), error)

    def _end(self, status: Status, reason: Reason, error: VmkitError | None = None) -> Outcome:
        detail = {
            **(self._outcome.detail if self._outcome is not None else {}),
            "state": str(self._view.power),
            "printableStatus": self._view.printable_status,
        }
        seconds = time.monotonic() - self.began
        return Outcome(
            object_of(self.ref), self._verb, status, reason, error=error, detail=detail, seconds=seconds
        )


class Restarting(Settling):
    """A restart, seen by the instances: another one than before has to run."""

    def __init__(
        self, actor: Actor, view: VmView, outcome: Outcome, on_progress: OnProgress | None, *, old_uid: str
    ) -> None:
        super().__init__(actor, view, outcome, on_progress)
        self._old_uid = old_uid

    def see(self, event: WatchEvent) -> Outcome | Finish | None:
        if event.type == "DELETED":
            self._tell("Stopped")
            return None
        instance = read_instance(event.object)
        anew = instance.uid != self._old_uid
        self._tell(f"{instance.phase or 'Pending'}{'' if anew else ' (the old instance)'}")
        ready = any(one.type == "Ready" and one.is_true for one in instance.conditions)
        return self._reached() if anew and instance.phase == "Running" and ready else None


class Moving(Settling):
    """A live migration, seen by its VirtualMachineInstanceMigration."""

    def __init__(
        self,
        actor: Actor,
        view: VmView,
        outcome: Outcome,
        on_progress: OnProgress | None,
        *,
        finished: frozenset[str],
    ) -> None:
        super().__init__(actor, view, outcome, on_progress)
        self._finished = finished

    def see(self, event: WatchEvent) -> Outcome | Finish | None:
        metadata = event.object.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
        if uid in self._finished:
            return None
        status = event.object.get("status")
        status = status if isinstance(status, Mapping) else {}
        state = status.get("migrationState")
        state = state if isinstance(state, Mapping) else {}
        phase = status.get("phase")
        if phase == "Succeeded":
            route = " to ".join(str(state[key]) for key in ("sourceNode", "targetNode") if state.get(key))
            return self._reached(f"it has moved from {route}" if " to " in route else "")
        if phase == "Failed" or event.type == "DELETED":
            why = state.get("failureReason") or (
                "it was cancelled" if event.type == "DELETED" else "no reason given"
            )
            error = Conflict(
                f"VirtualMachine {self.ref}: its live migration failed: {why}",
                hint="it runs on where it was",
                where=str(self.ref),
            )
            return self._failed(error)
        self._tell(str(phase or "Pending"))
        return None
