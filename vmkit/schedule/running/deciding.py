"""One VM's decision, with what a cluster adds to it: records that cannot be read, VMs not yet adopted. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from vmkit.errors import ScheduleError
from vmkit.plan import Reason
from vmkit.schedule.decide import Action, Decision, decide
from vmkit.schedule.downscaler import PREFIX
from vmkit.schedule.rules import Side
from vmkit.schedule.running.conditions import Conditions
from vmkit.schedule.running.order import parse_place
from vmkit.schedule.running.subjects import Subject
from vmkit.schedule.vetoes import Policy

QUIET: Final = frozenset({"NoSchedule", "NothingDue", "Forced", "Excluded"})
"""Codes of what need not be said of thousands of VMs at each pass."""
_UNSURE: Final = frozenset({"NotSettled", "GaveUp", "Busy"})
_DUE: Final = frozenset({Action.START, Action.STOP, Action.WARN})


def decide_subject(
    subject: Subject, conditions: Conditions, side: Side | None, at: datetime, policy: Policy, *, adopt: bool
) -> Decision:
    """Decides about one VM.

    Args:
        subject: the VM and what is asked for it.
        conditions: what is known of what surrounds it.
        side: what it seems to come to, by which GitOps was asked; None where nothing is due.
        at: now.
        policy: how this pass decides.
        adopt: take in VMs that only a downscaler's annotations speak for.
    """
    if subject.effective.timetable is not None or subject.effective.force_origin is not None:
        problem = subject.bad_state or _bad_place(subject)
        if problem is not None:
            reason = Reason("BadAnnotation", f"{problem.message}; it is left as it is")
            return Decision(Action.NONE, reason, subject.stored, subject.stored, problem=True)
    decision = decide(conditions.facts(subject, side), subject.effective, subject.stored, at, policy)
    if decision.reason.code == "FirstSight" and not adopt and _is_anothers(subject):
        origin = subject.effective.origin or subject.effective.force_origin
        says = origin.text if origin is not None else ""
        text = f"a downscaler's annotations would now manage it ({says}); --adopt takes it in"
        return replace(decision, reason=Reason("NotAdopted", text), state=subject.stored, settled=subject.stored)
    return decision


def wanted_side(decision: Decision, subject: Subject) -> Side | None:
    """What a decision comes to, if the cluster has to be asked more before it stands; else None."""
    if decision.action in _DUE:
        return Side.START if decision.action is Action.START else Side.STOP
    pending = subject.stored.pending if subject.stored is not None else None
    return pending.side if pending is not None and decision.reason.code in _UNSURE else None


def needs_writing(decision: Decision, subject: Subject) -> bool:
    """Whether what is to be remembered is not what the VM carries."""
    return decision.state is not None and decision.state != subject.stored


def _is_anothers(subject: Subject) -> bool:
    origins = [subject.effective.origin, subject.effective.force_origin]
    return any(origin is not None and origin.keys[0].startswith(PREFIX) for origin in origins)


def _bad_place(subject: Subject) -> ScheduleError | None:
    try:
        parse_place(subject.ref, subject.view.annotations)
    except ScheduleError as error:
        return error
    return None
