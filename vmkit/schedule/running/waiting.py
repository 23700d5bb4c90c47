"""Waits between the steps of an order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm


def is_up(view: VmView) -> bool:
    """Whether others may count on it."""
    return view.power is PowerState.RUNNING and view.ready


def is_down(view: VmView) -> bool:
    """Whether nobody can count on it any more."""
    return view.power is PowerState.STOPPED


def wait_for(
    session: Session,
    refs: Iterable[VmRef],
    done: Callable[[VmView], bool],
    *,
    seconds: float,
    stopping: threading.Event,
) -> set[VmRef]:
    """Watches VMs until they are as wanted, for so many seconds at most.

    Returns:
        Those that are not.

    Raises:
        ClusterError: the watch was refused.
    """
    left = set(refs)
    deadline = time.monotonic() + seconds
    for namespace in sorted({ref.namespace for ref in left}):
        here = {ref for ref in left if ref.namespace == namespace}
        remaining = deadline - time.monotonic()
        if remaining <= 0 or stopping.is_set():
            return left
        with session.watch(VIRTUAL_MACHINES, namespace, timeout_seconds=remaining) as watch:
            for event in watch:
                view = read_vm(event.object)
                if view.ref in here and (done(view) or event.type == "DELETED"):
                    here.discard(view.ref)
                    left.discard(view.ref)
                if not here or stopping.is_set():
                    break
    return left
