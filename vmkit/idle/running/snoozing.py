"""Peace for a while: an annotation with an end, and the note taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import UsageError, VmkitError
from vmkit.idle.mark import MARK, NOTICE, SNOOZE, format_instant
from vmkit.idle.running.acting import object_of
from vmkit.plan import Outcome, Reason, Result, Status
from vmkit.plan.model import failed
from vmkit.vm.reference import VmRef
from vmkit.vm.state import read_vm

LONGEST: Final = timedelta(days=366)
_VERB: Final = "snooze"


def set_snooze(
    session: Session,
    refs: Iterable[VmRef],
    until: datetime | None,
    *,
    at: datetime,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Result:
    """Lets VMs not be called idle until an instant, and takes away what is noted on them.

    Args:
        session: the cluster.
        refs: the VMs.
        until: when that ends; None takes it back.
        at: now.
        on_outcome: told of each outcome.

    Raises:
        UsageError: it would end before it begins, or in more than a year.
    """
    if until is not None and until <= at:
        raise UsageError("a snooze has to end after now", hint="--for 7d, or --until 2026-02-05T18:00:00Z")
    if until is not None and until - at > LONGEST:
        raise UsageError(
            "a snooze of more than a year has no end", hint="the label vmkit.io/stop-idle=disabled has none"
        )
    outcomes = []
    for ref in refs:
        try:
            outcome = _set(session, ref, until)
        except VmkitError as error:
            outcome = failed(object_of(ref), _VERB, error)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return Result(_VERB, tuple(outcomes))


def _set(session: Session, ref: VmRef, until: datetime | None) -> Outcome:
    view = read_vm(session.get(VIRTUAL_MACHINES, ref.name, ref.namespace))
    text = None if until is None else format_instant(until)
    wanted: dict[str, Any] = {SNOOZE: text}
    if text is not None:
        wanted |= {MARK: None, NOTICE: None}
    if all(view.annotations.get(key) == value for key, value in wanted.items()):
        return Outcome(
            object_of(ref),
            _VERB,
            Status.UNCHANGED,
            Reason("Already", f"it is until {text}" if text else "it is not"),
        )
    session.patch(
        VIRTUAL_MACHINES, ref.name, {"metadata": {"uid": view.uid, "annotations": wanted}}, ref.namespace
    )
    says = f"until {text}" if text is not None else "no more"
    return Outcome(object_of(ref), _VERB, Status.CHANGED, Reason("Set" if text else "Cleared", says))
