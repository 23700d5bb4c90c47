"""What people are told by Events on a VM."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime
from typing import Final, Literal

from vmkit.cluster.resources import EVENTS
from vmkit.cluster.session import Session
from vmkit.errors import AlreadyExists, ClusterError
from vmkit.vm.state import VmView

_MAX_TEXT: Final = 1000


def write_event(
    session: Session,
    view: VmView,
    code: str,
    text: str,
    at: datetime,
    *,
    component: str,
    kind: Literal["Normal", "Warning"],
    once: str,
) -> None:
    """Writes an Event on the VM. One that cannot be written changes nothing of what was done.

    Args:
        session: the cluster.
        view: the VM.
        code, text: what is said.
        at: when.
        component: who says it.
        kind: its type.
        once: what makes it one: the same is not said again while the first is there (an hour, usually).
    """
    if not view.ref.name or not view.ref.namespace:
        return
    digest = hashlib.sha256(f"{view.uid}\x00{code}\x00{once}".encode()).hexdigest()[:16]
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{view.ref.name[:200]}.{digest}", "namespace": view.ref.namespace},
        "involvedObject": {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "namespace": view.ref.namespace,
            "name": view.ref.name,
            "uid": view.uid,
            "resourceVersion": view.resource_version,
        },
        "reason": code,
        "message": text[:_MAX_TEXT],
        "type": kind,
        "source": {"component": component},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    with contextlib.suppress(AlreadyExists, ClusterError):
        session.create(EVENTS, event, view.ref.namespace)
