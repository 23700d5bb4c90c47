"""One VM, its verdict, what is noted on it and an instant: note it, stop it, take the note away, let it be. Pure.

Two steps: a VM that is idle is noted first; a later run stops it, once the notice is over and it is idle still.
Whatever else is found takes the note away, and the notice begins anew. docs/idle.md has the table of all cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from vmkit.errors import ConfigError
from vmkit.idle.facts import IdleFacts
from vmkit.idle.mark import LABEL, MARK, Mark, format_instant, parse_mark, parse_snooze
from vmkit.idle.report import Action, Size
from vmkit.idle.verdict import State, Verdict
from vmkit.plan import Reason
from vmkit.vm.state import PowerState

_TURNS: Final = frozenset({"GroupTurn", "GroupDegraded"})
"""What keeps a VM waiting that is idle all the same: its notice runs on."""
_LEASE: Final = timedelta(minutes=10)
"""For so long a stop that was begun is left to the run that began it."""
_STOP_SHOWS: Final = timedelta(minutes=30)
"""By then a stop that was asked for is to be seen; a spec that is another since was changed by somebody else."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a VM says about itself.

    Attributes:
        uid, generation: its own.
        opted_out: it, or its namespace, carries the label with another value than "enabled".
        mark: what is noted on it; None where nothing is, or it is another VM's.
        snoozed_until: see `parse_snooze`.
        stale: it carries an annotation of ours that holds no more, or that cannot be understood.
        problem: what is wrong with its annotations; empty where nothing is.
    """

    uid: str
    generation: int
    opted_out: bool = False
    mark: Mark | None = None
    snoozed_until: datetime | None = None
    stale: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run goes about it.

    Attributes:
        at: its instant.
        notice: how long people are told before a stop.
        run: its id.
        stop_now: stop without notice.
        marks_only: note, but stop nothing: nobody has agreed to stops.
    """

    at: datetime
    notice: timedelta
    run: str
    stop_now: bool = False
    marks_only: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a VM.

    Attributes:
        action: what.
        reason: why, or why not.
        mark: what is to be noted on it: with MARK and STOP the new note, else what is there.
        problem: somebody has to look.
    """

    action: Action
    reason: Reason
    mark: Mark | None = None
    problem: bool = False


def is_opted_out(labels: Mapping[str, str]) -> bool:
    """Whether labels of a VM or a namespace say so: any value but "enabled" is there for a purpose."""
    return LABEL in labels and labels[LABEL].strip().lower() != "enabled"


def is_opted_in(labels: Mapping[str, str]) -> bool:
    """Whether labels of a VM or a namespace say so."""
    return labels.get(LABEL, "").strip().lower() == "enabled"


def read_noted(uid: str, generation: int, annotations: Mapping[str, str], *, opted_out: bool) -> Noted:
    """What a VM says about itself. Never raises: what is not understood is its ``problem``."""
    mark, snoozed, problems, stale = None, None, [], False
    if (text := annotations.get(MARK)) is not None:
        try:
            mark = parse_mark(text)
        except ConfigError as error:
            problems.append(error.message)
            stale = True
    if mark is not None and mark.uid != uid:
        mark, stale = None, True
    try:
        snoozed = parse_snooze(annotations)
    except ConfigError as error:
        problems.append(error.message)
    return Noted(uid, generation, opted_out, mark, snoozed, stale, "; ".join(problems))


def decide_action(verdict: Verdict, facts: IdleFacts, noted: Noted, size: Size, terms: Terms) -> Decision:
    """Decides about one VM."""
    mark = noted.mark
    if mark is not None and mark.stopping_at is not None:
        begun = _resume(facts, noted, mark, mark.stopping_at, terms.at)
        if begun is not None:
            return begun
    if noted.problem:
        return _let_be(noted, Reason("BadAnnotation", f"{noted.problem}; it is left running"), problem=True)
    if noted.opted_out:
        return _let_be(noted, Reason("OptedOut", f"the label {LABEL} keeps it out of this"))
    if noted.snoozed_until is not None and noted.snoozed_until > terms.at:
        until = format_instant(noted.snoozed_until)
        return _let_be(noted, Reason("Snoozed", f"somebody asked for peace until {until}"))
    if verdict.state is not State.IDLE:
        return _let_be(noted, verdict.reasons[0])
    if verdict.held:
        first = next((each for each in verdict.held if each.code not in _TURNS), None)
        if first is not None:
            return _let_be(noted, first)
        return Decision(Action.NONE, verdict.held[0], mark)
    if mark is not None and _touched(facts, noted, mark):
        return _let_be(noted, Reason("Touched", "somebody changed or restarted it since it was noted as idle"))
    return _idle(verdict, noted, mark, size, terms)


def _idle(verdict: Verdict, noted: Noted, mark: Mark | None, size: Size, terms: Terms) -> Decision:
    why = verdict.reasons[0]
    if mark is None:
        stop_after = terms.at if terms.stop_now else terms.at + terms.notice
        mark = Mark(noted.uid, terms.at, stop_after, noted.generation, verdict.policy, terms.run, size=size)
        if not terms.stop_now:
            text = f"{why.text}; it is stopped after {format_instant(stop_after)} if that stays so"
            return Decision(Action.MARK, Reason("MarkedIdle", text), mark)
    elif not terms.stop_now and terms.at < mark.stop_after:
        text = f"it is idle; it is stopped after {format_instant(mark.stop_after)} if that stays so"
        return Decision(Action.NONE, Reason("Noticed", text), mark)
    if terms.marks_only:
        return Decision(
            Action.NONE, Reason("NotAgreed", "it is idle, and nobody has agreed to stops: --yes"), mark
        )
    stopping = replace(mark, stopping_at=terms.at, size=size)
    return Decision(Action.STOP, Reason("StoppedIdle", why.text), stopping)


def _resume(facts: IdleFacts, noted: Noted, mark: Mark, stopping_at: datetime, at: datetime) -> Decision | None:
    """What to do about a stop that was decided and not seen done; None where it was never carried out."""
    if facts.power is PowerState.STOPPED:
        return Decision(Action.SETTLE, Reason("StoppedIdle", "it was stopped as idle by an earlier run"), mark)
    if at - stopping_at < _LEASE:
        return Decision(Action.NONE, Reason("Stopping", "another run has begun to stop it"), mark)
    if facts.power is PowerState.STOPPING:
        return Decision(Action.NONE, Reason("Stopping", "it is shutting down"), mark)
    if facts.running_since is not None and facts.running_since > stopping_at:
        text = "it was stopped as idle by an earlier run, and somebody started it again"
        return Decision(Action.SETTLE, Reason("StoppedIdle", text), mark)
    if noted.generation != mark.generation and at - stopping_at < _STOP_SHOWS:
        # The request has changed its run strategy; its controller has not got round to it.
        return Decision(Action.NONE, Reason("Stopping", "its stop has been asked for"), mark)
    return None


def _touched(facts: IdleFacts, noted: Noted, mark: Mark) -> bool:
    restarted = facts.running_since is not None and facts.running_since > mark.marked_at
    return restarted or noted.generation != mark.generation


def _let_be(noted: Noted, reason: Reason, *, problem: bool = False) -> Decision:
    action = Action.CLEAR if noted.mark is not None or noted.stale else Action.NONE
    return Decision(action, reason, noted.mark, problem)
