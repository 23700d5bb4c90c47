"""The power contract: what each verb does to a VM, by its run strategy and what it is doing, as one table.

KubeVirt's verbs are requests; vmkit's are wishes. `decide` says what a wish takes: nothing, a request, a patch, a
little patience, or an explanation why it cannot be. `read_refusal` says what KubeVirt's refusals mean for it.

Source: KubeVirt pkg/virt-api/rest/lifecycle.go (StartVMRequestHandler, StopVMRequestHandler,
RestartVMRequestHandler), pkg/virt-api/rest/subresource.go (pause, unpause, migrate) and syncRunStrategy in
pkg/virt-controller/watch/vm/vm.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vmkit.errors import ClusterError, Conflict, Invalid, NotFound
from vmkit.vm.markers import read_original_strategy
from vmkit.vm.state import TROUBLE, PowerState, VmView
from vmkit.vm.strategy import RunStrategy


class Verb(StrEnum):
    """What can be wished of a running or stopped VM."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    LIVE_MIGRATE = "live-migrate"


class Situation(StrEnum):
    """What a VM is doing, as far as the contract tells apart; the columns of the table, in this order."""

    ABSENT = "absent"
    """No instance, and none coming."""
    COMING = "coming"
    """An instance that does not run yet, or is about to be made."""
    RUNNING = "running"
    PAUSED = "paused"
    MIGRATING = "migrating"
    LEAVING = "leaving"
    """The instance is shutting down, or about to be told to."""
    ENDED = "ended"
    """The instance has ended by itself and still stands there."""


class Move(StrEnum):
    """What a wish takes."""

    NOTHING = "nothing"
    """It is so already, or will be without us."""
    ASK = "ask"
    """Call KubeVirt's verb."""
    RESTORE = "restore"
    """Patch the strategy recorded before the stop back into the spec; KubeVirt then starts the VM."""
    WAIT = "wait"
    """Not possible yet: decide again when its state changes."""
    CANNOT = "cannot"
    """KubeVirt has no way; the reason explains."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a wish takes, and why.

    Attributes:
        move: see `Move`.
        code, text: why, for programs and for people.
        hint: what to do instead, where the move is CANNOT.
        strategy: the strategy to bring back, where the move is RESTORE.
        settling: whether the wished state is on its way but not there yet, so that waiting makes sense.
    """

    move: Move
    code: str
    text: str
    hint: str = ""
    strategy: RunStrategy | None = None
    settling: bool = False


# One letter for each situation: absent coming running paused migrating leaving ended.
#   =  nothing: so already, or so by itself      >  ask            r  bring the recorded strategy back, else ask
#   w  wait: not yet possible                    x  cannot         !  ask only to escalate by force, else nothing
#   c  ask where there is an instance, else nothing
_TABLE: Final[Mapping[Verb, Mapping[RunStrategy, str]]] = {
    Verb.START: {
        RunStrategy.ALWAYS:           "= = = = = = =",
        RunStrategy.HALTED:           "r = = = = w w",
        RunStrategy.MANUAL:           "> = = = = w >",
        RunStrategy.RERUN_ON_FAILURE: "> = = = = w >",
        RunStrategy.ONCE:             "= = = = = = x",
    },
    Verb.STOP: {
        RunStrategy.ALWAYS:           "> > > > > > >",
        RunStrategy.HALTED:           "= w > > > ! =",
        RunStrategy.MANUAL:           "= > > > > ! =",
        RunStrategy.RERUN_ON_FAILURE: "= > > > > ! =",
        RunStrategy.ONCE:             "> > > > > > =",
    },
    Verb.RESTART: {
        RunStrategy.ALWAYS:           "= c > > > = =",
        RunStrategy.HALTED:           "x x x x x x x",
        RunStrategy.MANUAL:           "x c > > > x x",
        RunStrategy.RERUN_ON_FAILURE: "x c > > > x x",
        RunStrategy.ONCE:             "x x x x x x x",
    },
    Verb.PAUSE:        dict.fromkeys(RunStrategy, "x x > = > x x"),
    Verb.UNPAUSE:      dict.fromkeys(RunStrategy, "x x = > = x x"),
    Verb.LIVE_MIGRATE: dict.fromkeys(RunStrategy, "x x > > = x x"),
}  # fmt: skip

_COLUMNS: Final = {situation: index for index, situation in enumerate(Situation)}
_CELLS: Final = {
    (verb, strategy, situation): row.split()[column]
    for verb, rows in _TABLE.items()
    for strategy, row in rows.items()
    for situation, column in _COLUMNS.items()
}


def read_situation(view: VmView) -> Situation | None:
    """Where the VM stands; None where nobody can say (then it is left alone).

    Requests that wait in the VM's status and a spec the controller has not caught up with count as done: what they
    lead to is what matters.
    """
    if view.power in {PowerState.UNKNOWN, PowerState.DELETING}:
        return None
    strategy, last = view.run_strategy, view.requests[-1] if view.requests else ""
    if last == "Start":
        return Situation.COMING
    if view.power is PowerState.STOPPED:
        if view.created and strategy is not RunStrategy.ALWAYS:
            return Situation.ENDED
        coming = strategy is not None and strategy.starts_by_itself
        if strategy is RunStrategy.RERUN_ON_FAILURE:
            # Boots once when the controller first meets this strategy (shouldStartRerunOnFailure).
            coming = bool(view.observed_strategy) and view.observed_strategy != strategy
        return Situation.COMING if coming else Situation.ABSENT
    if view.power is PowerState.STOPPING or last == "Stop" or strategy is RunStrategy.HALTED:
        return Situation.LEAVING
    return _BY_POWER[view.power]


_BY_POWER: Final = {
    PowerState.STARTING: Situation.COMING,
    PowerState.RUNNING: Situation.RUNNING,
    PowerState.PAUSED: Situation.PAUSED,
    PowerState.MIGRATING: Situation.MIGRATING,
}


def decide(verb: Verb, view: VmView, *, force: bool = False) -> Decision:
    """What ``verb`` takes on this VM.

    Args:
        verb: the wish.
        view: the VM.
        force: escalate a stop that is under way.
    """
    situation = read_situation(view)
    strategy = view.run_strategy
    if view.power is PowerState.DELETING:
        return _cannot("Deleting", "it is being deleted")
    if situation is None or strategy is None:
        said = view.problem or (
            f"KubeVirt says {view.printable_status!r}" if view.printable_status else "no status"
        )
        return _cannot(
            "StateUnknown", f"nobody can tell what it is doing: {said}", hint="look with vmkit describe"
        )
    if strategy is RunStrategy.WAIT_AS_RECEIVER:
        return _cannot("WaitAsReceiver", "it is the receiving end of a migration between clusters")
    cell = _CELLS[verb, strategy, situation]
    if verb is Verb.LIVE_MIGRATE and cell == ">":
        obstacle = next((one for one in view.conditions if one.type == "LiveMigratable" and not one.is_true), None)
        if obstacle is not None:
            text = obstacle.message or obstacle.reason or "its condition LiveMigratable is False"
            return _cannot("NotLiveMigratable", f"it cannot be migrated live: {text}")
    if cell == "x":
        return _explain(verb, strategy, situation)
    if cell == "w":
        text = "it is still shutting down" if situation is not Situation.COMING else "a start is still under way"
        return Decision(Move.WAIT, "StillSettling", text, settling=True)
    if cell == "r":
        recorded = read_original_strategy(view.annotations)
        if recorded not in {None, RunStrategy.ALWAYS, RunStrategy.HALTED, RunStrategy.WAIT_AS_RECEIVER}:
            text = f"its own run strategy {recorded} was recorded when it was stopped"
            return Decision(Move.RESTORE, "Stopped", text, strategy=recorded, settling=True)
        return _ask(situation)
    if cell == ">" or (cell == "!" and force) or (cell == "c" and view.created):
        return _ask(situation)
    return _already(verb, view, strategy, situation)


def _ask(situation: Situation) -> Decision:
    code, text = _WORD[situation]
    return Decision(Move.ASK, code, f"it is {text}", settling=True)


_WORD: Final[Mapping[Situation, tuple[str, str]]] = {
    Situation.ABSENT: ("Stopped", "stopped"),
    Situation.COMING: ("Starting", "starting"),
    Situation.RUNNING: ("Running", "running"),
    Situation.PAUSED: ("Paused", "paused"),
    Situation.MIGRATING: ("Migrating", "running, and migrating"),
    Situation.LEAVING: ("Stopping", "shutting down"),
    Situation.ENDED: ("Ended", "stopped: its guest shut down or failed"),
}


def _already(verb: Verb, view: VmView, strategy: RunStrategy, situation: Situation) -> Decision:
    code, text = _WORD[situation]
    if verb is Verb.LIVE_MIGRATE:
        return _nothing("AlreadyMigrating", "it is migrating already", settling=True)
    if situation is Situation.COMING and view.printable_status in TROUBLE:
        return _nothing(
            "AlreadyStarting", f"KubeVirt keeps trying to start it: {view.printable_status}", settling=True
        )
    if verb in {Verb.START, Verb.RESTART} and situation in {Situation.ABSENT, Situation.LEAVING, Situation.ENDED}:
        return _nothing("StartsByItself", f"KubeVirt starts it: its run strategy is {strategy}", settling=True)
    if verb is Verb.START and situation is Situation.PAUSED:
        return _nothing("AlreadyRunning", "it is running, but paused: vmkit unpause resumes it")
    settling = situation in {Situation.COMING, Situation.LEAVING}
    # "Running" includes "not ready yet": waiting for a start means waiting until it is.
    settling = settling or (verb is Verb.START and not view.ready)
    return _nothing(f"Already{code}", f"it is {text} already", settling=settling)


def _nothing(code: str, text: str, *, settling: bool = False) -> Decision:
    return Decision(Move.NOTHING, code, text, settling=settling)


def _explain(verb: Verb, strategy: RunStrategy, situation: Situation) -> Decision:
    text = _WORD[situation][1]
    if verb is Verb.START:
        return _cannot(
            "FinishedOnce",
            "it ran once and has finished; KubeVirt never starts a VM of run strategy Once again",
            hint="to run it again, set its spec.runStrategy to another one, such as Manual",
        )
    if verb is Verb.RESTART and situation in _BY_POWER.values():
        return _cannot(
            "RestartUnsupported",
            f"KubeVirt does not restart a VM whose run strategy is {strategy}",
            hint="vmkit stop --wait, then vmkit start",
        )
    if verb is Verb.RESTART:
        return _cannot("NotRunning", f"it cannot be restarted: it is {text}", hint="vmkit start starts it")
    return _cannot(
        f"Not{'Paused' if verb is Verb.UNPAUSE else 'Running'}", f"it cannot {_DOING[verb]}: it is {text}"
    )


_DOING: Final = {Verb.PAUSE: "be paused", Verb.UNPAUSE: "be resumed", Verb.LIVE_MIGRATE: "migrate"}


def _cannot(code: str, text: str, *, hint: str = "") -> Decision:
    return Decision(Move.CANNOT, code, text, hint=hint)


def is_reached(verb: Verb, view: VmView) -> bool:
    """Whether the VM is, to be seen, where the verb wants it. For restart and live-migrate the VM cannot tell."""
    if verb is Verb.STOP:
        return view.power is PowerState.STOPPED and read_situation(view) in {
            Situation.ABSENT,
            Situation.ENDED,
            None,
        }
    if verb is Verb.PAUSE:
        return view.power is PowerState.PAUSED
    if verb is Verb.UNPAUSE:
        return view.power in {PowerState.RUNNING, PowerState.MIGRATING}
    return view.power is PowerState.PAUSED or (view.power.alive and view.ready)


class Refusal(StrEnum):
    """What KubeVirt's refusal of a request means for the wish."""

    SO_ALREADY = "so-already"
    """What was wished is so, or comes by itself."""
    LOOK_AGAIN = "look-again"
    """The VM is not what it was when we looked: read it and decide again."""
    WAIT = "wait"
    """Something is under way: decide again when the VM changes."""
    FINAL = "final"
    """A no."""


# First match wins; None as the verb matches every verb.
_REFUSALS: Final[tuple[tuple[Verb | None, str, Refusal], ...]] = (
    (Verb.STOP, "only supports manual stop requests with a shorter graceperiod", Refusal.SO_ALREADY),
    (Verb.STOP, "VM is not running", Refusal.LOOK_AGAIN),
    (Verb.START, "VM is already running", Refusal.LOOK_AGAIN),
    (Verb.START, "does not support starting VM from failed state", Refusal.SO_ALREADY),
    (Verb.START, "does not support manual start requests", Refusal.LOOK_AGAIN),
    (Verb.PAUSE, "already paused", Refusal.SO_ALREADY),
    (Verb.UNPAUSE, "is not paused", Refusal.SO_ALREADY),
    (Verb.LIVE_MIGRATE, "in-flight migration", Refusal.SO_ALREADY),
    (None, "already underway", Refusal.WAIT),
    (None, "recovery required", Refusal.FINAL),
    (None, "snapshot", Refusal.FINAL),
    (None, "restore", Refusal.FINAL),
    (None, "", Refusal.LOOK_AGAIN),
)


def read_refusal(verb: Verb, error: ClusterError) -> Refusal:
    """What an error of KubeVirt's verb means.

    Conflicts are read by their text, as KubeVirt has no codes for them; one nobody knows is most likely a race.
    """
    if isinstance(error, NotFound):
        return Refusal.LOOK_AGAIN
    if not isinstance(error, Conflict | Invalid) or (
        isinstance(error, Invalid) and "in-flight" not in error.message
    ):
        return Refusal.FINAL
    return next(refusal for known, text, refusal in _REFUSALS if known in {None, verb} and text in error.message)
