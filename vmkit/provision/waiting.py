"""Waiting until VMs run: one watch a namespace and kind, however many VMs there are."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from vmkit.cluster.resources import DATA_VOLUMES, VIRTUAL_MACHINES, Resource
from vmkit.cluster.session import Session
from vmkit.cluster.watch import Watch, WatchEvent
from vmkit.errors import ClusterError, DeadlineExceeded, Invalid, MissingApi, VmkitError
from vmkit.plan.model import ObjectRef, Outcome, Reason, failed
from vmkit.provision.progress import Progress, decide_progress
from vmkit.provision.walk import as_text, data_volume_names, dig

OnProgress = Callable[[ObjectRef, Progress], None]
"""Told how far a VM is, whenever that changes."""

_LOOK_SECONDS: Final = 0.5


class Waiter:
    """Waits for VMs until a deadline.

    Args:
        session: the cluster.
        on_progress: told of every step.
        deadline: a `time.monotonic` instant.
    """

    def __init__(self, session: Session, on_progress: OnProgress | None, *, deadline: float) -> None:
        self._session = session
        self._on_progress = on_progress or (lambda _ref, _progress: None)
        self._deadline = deadline
        self._events: queue.SimpleQueue[tuple[Resource, str, WatchEvent | ClusterError]] = queue.SimpleQueue()
        self._watches: list[Watch] = []
        self._vms: dict[ObjectRef, dict[str, Any]] = {}
        self._disks: dict[str, dict[str, dict[str, Any]]] = {}
        self._said: dict[ObjectRef, str] = {}

    def wait(self, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
        """Each outcome as its VM arrives, fails or runs out of time."""
        waiting = {outcome.target: outcome for outcome in outcomes}
        namespaces = sorted({target.namespace for target in waiting})
        for namespace in namespaces:
            for resource in (VIRTUAL_MACHINES, DATA_VOLUMES):
                self._open(resource, namespace)
        try:
            while waiting:
                yield from self._step(waiting)
        finally:
            for watch in self._watches:
                watch.close()

    def _open(self, resource: Resource, namespace: str) -> None:
        seconds = max(self._deadline - time.monotonic(), 0.0) + 1.0
        watch = self._session.watch(resource, namespace, timeout_seconds=seconds)
        self._watches.append(watch)

        def follow() -> None:
            try:
                for event in watch:
                    self._events.put((resource, namespace, event))
            except ClusterError as error:
                self._events.put((resource, namespace, error))

        threading.Thread(target=follow, name=f"watch-{resource.plural}", daemon=True).start()

    def _step(self, waiting: dict[ObjectRef, Outcome]) -> Iterator[Outcome]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            for target, outcome in list(waiting.items()):
                yield self._end(outcome, DeadlineExceeded(
                    f"{target} is not ready in time: {self._said.get(target, 'nothing was heard of it')}",
                    hint="it goes on by itself; see: vmkit describe " + target.name, where=target.path,
                ))  # fmt: skip
            waiting.clear()
            return
        try:
            resource, namespace, event = self._events.get(timeout=min(left, _LOOK_SECONDS))
        except queue.Empty:
            return
        if isinstance(event, ClusterError):
            if resource is DATA_VOLUMES and isinstance(event, MissingApi):
                return  # no CDI: such VMs have no such disks
            for target in list(waiting):
                if target.namespace == namespace:
                    yield self._end(waiting.pop(target), event)
            return
        for target in self._take(resource, namespace, event, waiting):
            outcome = waiting[target]
            progress = decide_progress(self._vms.get(target), self._disks.get(namespace, {}))
            if progress.text != self._said.get(target):
                self._said[target] = progress.text
                self._on_progress(target, progress)
            if progress.done:
                yield dataclasses.replace(waiting.pop(target), reason=Reason("Ready", progress.text))
            elif progress.problem:
                yield self._end(waiting.pop(target), Invalid(
                    f"{target}: {progress.problem}", hint=f"see: vmkit describe {target.name}", where=target.path
                ))  # fmt: skip

    def _take(
        self, resource: Resource, namespace: str, event: WatchEvent, waiting: dict[ObjectRef, Outcome]
    ) -> list[ObjectRef]:
        """Remembers an event; the VMs it is about."""
        name = as_text(dig(event.object, "metadata", "name"))
        gone = event.type == "DELETED"
        if resource is VIRTUAL_MACHINES:
            target = ObjectRef(VIRTUAL_MACHINES.kind, namespace, name)
            if gone:
                self._vms.pop(target, None)
            elif target in waiting:
                self._vms[target] = event.object
            return [target] if target in waiting else []
        disks = self._disks.setdefault(namespace, {})
        if gone:
            disks.pop(name, None)
        else:
            disks[name] = event.object
        return [target for target, vm in self._vms.items() if target in waiting and name in data_volume_names(vm)]

    def _end(self, outcome: Outcome, error: VmkitError) -> Outcome:
        ended = failed(outcome.target, outcome.verb, error, seconds=outcome.seconds)
        return dataclasses.replace(ended, detail=outcome.detail)
