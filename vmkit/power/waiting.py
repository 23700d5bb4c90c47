"""Waits for many VMs at once by watching: one watch a scope, never a poll."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from vmkit.cluster.resources import Resource
from vmkit.cluster.session import Session
from vmkit.cluster.watch import Watch, WatchEvent
from vmkit.errors import Interrupted, VmkitError
from vmkit.plan.model import Outcome
from vmkit.power.selecting import Scope
from vmkit.vm.reference import VmRef

_LONG_SECONDS: Final = 3600.0

Finish = Callable[[], Outcome | None]
"""What is to be done now; may take requests, and runs in a worker thread. None: go on waiting."""


class Awaited(Protocol):
    """One VM that is waited for."""

    ref: VmRef
    wake_at: float
    """The `time.monotonic` instant by which `tick` wants to be called; moved by `tick` alone."""

    def see(self, event: WatchEvent) -> Outcome | Finish | None:
        """Told of each change; says the outcome, what is to be done now, or nothing."""
        ...

    def tick(self, now: float) -> Outcome | None:
        """Called at ``wake_at``; without an outcome it has set a later one."""
        ...

    def fail(self, error: VmkitError) -> Outcome:
        """The outcome where watching itself failed."""
        ...


def wait_for(
    session: Session,
    resource: Resource,
    scopes: Sequence[Scope],
    awaited: Iterable[Awaited],
    *,
    name_of: Callable[[dict[str, Any]], VmRef | None],
    concurrency: int,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Waits until each of them has its outcome.

    Args:
        session: the cluster.
        resource: what to watch.
        scopes: where, from which version on; without a version, what is there comes first.
        awaited: who is waited for.
        name_of: which VM an object is about.
        concurrency: workers for what remains to be done.
        on_outcome: told of each outcome, in the caller's thread.
    """
    hall = _Hall({one.ref: one for one in awaited}, on_outcome, concurrency)
    if not hall.busy:
        return
    watches = [
        session.watch(
            resource,
            scope.namespace,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
            resource_version=scope.resource_version,
        )
        for scope in scopes
    ]
    for watch in watches:
        threading.Thread(target=_pump, args=(watch, hall.inbox), daemon=True, name="vmkit-watch").start()
    try:
        while hall.busy:
            hall.step(name_of)
    except KeyboardInterrupt:
        hall.give_up(Interrupted("asked for; the wait was interrupted", hint="vmkit get shows what became of it"))
    finally:
        for watch in watches:
            watch.close()
        hall.close()


class _Hall:
    """Those who wait, those something is being done for, and the post that comes in for them."""

    def __init__(
        self, waiting: dict[VmRef, Awaited], on_outcome: Callable[[Outcome], None], concurrency: int
    ) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting = waiting
        self._working: dict[VmRef, WatchEvent | None] = {}
        self._on_outcome = on_outcome
        self._pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="vmkit-finish")
        self._wake_at = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._working)

    def step(self, name_of: Callable[[dict[str, Any]], VmRef | None]) -> None:
        now = time.monotonic()
        if now >= self._wake_at:
            # Looked through only when somebody's time has come, not on each of thousands of events.
            for one in [one for one in self._waiting.values() if one.wake_at <= now]:
                outcome = one.tick(now)
                if outcome is not None:
                    del self._waiting[one.ref]
                    self._on_outcome(outcome)
            self._wake_at = min((one.wake_at for one in self._waiting.values()), default=now + _LONG_SECONDS)
            return
        try:
            message = self.inbox.get(timeout=self._wake_at - now)
        except queue.Empty:
            return
        if isinstance(message, WatchEvent):
            ref = name_of(message.object)
            if ref in self._working:
                self._working[ref] = message  # Only the newest matters when the work is done.
            elif ref in self._waiting:
                self._show(self._waiting[ref], message)
        elif isinstance(message, _Done):
            self._done(message)
        elif isinstance(message, VmkitError):
            self.give_up(message)
        else:
            raise message

    def _show(self, one: Awaited, event: WatchEvent) -> None:
        step = one.see(event)
        if isinstance(step, Outcome):
            del self._waiting[one.ref]
            self._on_outcome(step)
        elif step is not None:
            del self._waiting[one.ref]
            self._working[one.ref] = None
            self._pool.submit(_finish, one, step, self.inbox)

    def _done(self, message: _Done) -> None:
        missed = self._working.pop(message.one.ref)
        if message.outcome is not None:
            self._on_outcome(message.outcome)
            return
        self._waiting[message.one.ref] = message.one
        self._wake_at = 0.0
        if missed is not None:
            self._show(message.one, missed)

    def give_up(self, error: VmkitError) -> None:
        """Ends the wait of all; what is being done is done to its end."""
        for one in self._waiting.values():
            self._on_outcome(one.fail(error))
        self._waiting.clear()
        while self._working:
            message = self.inbox.get()
            if isinstance(message, _Done):
                del self._working[message.one.ref]
                self._on_outcome(message.outcome or message.one.fail(error))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Done:
    one: Awaited
    outcome: Outcome | None


def _pump(watch: Watch, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        for event in watch:
            inbox.put(event)
    except VmkitError as error:
        inbox.put(error)
    except BaseException as defect:  # noqa: BLE001 - raised again in the caller's thread
        inbox.put(defect)


def _finish(one: Awaited, finish: Finish, inbox: queue.SimpleQueue[Any]) -> None:
    try:
        inbox.put(_Done(one, finish()))
    except VmkitError as error:
        inbox.put(_Done(one, one.fail(error)))
    except BaseException as defect:  # noqa: BLE001 - raised again in the caller's thread
        inbox.put(defect)
