"""What is written on a VM: what is remembered, what was done last, and its history."""

from __future__ import annotations

from typing import Any

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.schedule.state import STATE, StoredState, render_state
from vmkit.vm.history import HISTORY, LAST_ACTION, Entry, add_entry, describe_action, new_run_id, parse_history
from vmkit.vm.state import VmView

__all__ = ["Entry", "new_run_id", "parse_history", "write_state"]


def write_state(
    session: Session, view: VmView, state: StoredState | None, *, entry: Entry | None = None, strict: bool = True
) -> dict[str, Any]:
    """Writes what is remembered, and with an entry also what was done.

    Args:
        session: the cluster.
        view: the VM as it was read.
        state: what to remember; None leaves that as it is.
        entry: what was done.
        strict: only if nothing of the VM has changed since it was read.

    Returns:
        The VM as it is then.

    Raises:
        Conflict: it has changed, or it is another VM of that name. NotFound: it is gone.
    """
    annotations: dict[str, str] = {}
    if state is not None:
        annotations[STATE] = render_state(state)
    if entry is not None:
        annotations[LAST_ACTION] = describe_action(entry)
        annotations[HISTORY] = add_entry(view.annotations, entry)
    metadata: dict[str, Any] = {"uid": view.uid, "annotations": annotations}
    if strict:
        metadata["resourceVersion"] = view.resource_version
    return session.patch(VIRTUAL_MACHINES, view.ref.name, {"metadata": metadata}, view.ref.namespace)
