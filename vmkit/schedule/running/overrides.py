"""What people ask of one VM for a while: keep-up, keep-down, skip-next, exclude-until; each ends by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ScheduleError, VmkitError
from vmkit.plan import Outcome, Reason, Result, Status
from vmkit.plan.model import failed
from vmkit.schedule.running.acting import object_of
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.subjects import Subject, read_subject, read_surroundings
from vmkit.schedule.sources import EXCLUDE_UNTIL, KEEP_DOWN_UNTIL, KEEP_UP_UNTIL, SKIP_NEXT
from vmkit.vm.reference import VmRef


class Override(StrEnum):
    """Which."""

    KEEP_UP = "keep-up"
    KEEP_DOWN = "keep-down"
    SKIP_NEXT = "skip-next"
    EXCLUDE_UNTIL = "exclude-until"


_ANNOTATIONS: Final = {
    Override.KEEP_UP: KEEP_UP_UNTIL,
    Override.KEEP_DOWN: KEEP_DOWN_UNTIL,
    Override.SKIP_NEXT: SKIP_NEXT,
    Override.EXCLUDE_UNTIL: EXCLUDE_UNTIL,
}


def set_override(
    session: Session,
    refs: Iterable[VmRef],
    override: Override,
    *,
    until: datetime | None = None,
    clear: bool = False,
    settings: Settings | None = None,
    at: datetime,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Result:
    """Sets an override on VMs, or takes it away.

    Args:
        session: the cluster.
        refs: the VMs.
        override: which.
        until: when it ends; for skip-next the next transition of each VM counts instead.
        clear: take it away.
        settings: what holds where VMs and namespaces say nothing, to find the next transition.
        at: now.
        on_outcome: told of each outcome.

    Raises:
        ScheduleError: it would end before it begins.
    """
    if not clear and override is not Override.SKIP_NEXT and (until is None or until <= at):
        raise ScheduleError(f"{override} has to end after now", hint="--for 3h, or --until 2026-02-05T18:00:00Z")
    outcomes = []
    for ref in refs:
        try:
            subject = read_subject(session, read_surroundings(session, settings or Settings(), ref.namespace), ref)
            outcome = _set(session, subject, override, None if clear else until or _next(subject, at))
        except VmkitError as error:
            outcome = failed(object_of(ref), str(override), error)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return Result(str(override), tuple(outcomes))


def _next(subject: Subject, at: datetime) -> datetime:
    timetable = subject.effective.timetable
    coming = timetable.next_transition(at) if timetable is not None else None
    if coming is None:
        raise ScheduleError(
            f"VirtualMachine {subject.ref}: no transition is coming that could be left out",
            hint="vmkit schedule explain shows what holds",
            where=str(subject.ref),
        )
    return coming.at


def _set(session: Session, subject: Subject, override: Override, until: datetime | None) -> Outcome:
    view, key = subject.view, _ANNOTATIONS[override]
    text = None if until is None else until.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    target = object_of(subject.ref)
    if view.annotations.get(key) == text:
        return Outcome(target, str(override), Status.UNCHANGED, Reason("Already", f"{key} is {text or 'not set'}"))
    session.patch(
        VIRTUAL_MACHINES,
        view.ref.name,
        {"metadata": {"uid": view.uid, "annotations": {key: text}}},
        view.ref.namespace,
    )
    says = f"until {text}" if text is not None else "no more"
    if override is Override.SKIP_NEXT and text is not None:
        says = f"the transition of {text} is left out"
    return Outcome(target, str(override), Status.CHANGED, Reason("Set" if text else "Cleared", says))
