"""What people are told by Events on the VM."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from vmkit.cluster.events import write_event
from vmkit.cluster.session import Session
from vmkit.plan import Reason
from vmkit.vm.state import VmView

COMPONENT: Final = "vmkit-schedule"


def emit(
    session: Session, view: VmView, reason: Reason, at: datetime, *, kind: Literal["Normal", "Warning"], once: str
) -> None:
    """Writes an Event on the VM. One that cannot be written changes nothing of what was done.

    Args:
        session: the cluster.
        view: the VM.
        reason: what is said.
        at: when.
        kind: its type.
        once: what makes it one: the same is not said again while the first is there (an hour, usually).
    """
    write_event(session, view, reason.code, reason.text, at, component=COMPONENT, kind=kind, once=once)
