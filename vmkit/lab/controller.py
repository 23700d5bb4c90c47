"""What controllers are made of: watched types, a queue of keys without doubles, retries on the lab's clock."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from vmkit.lab.clock import Clock, Timer
from vmkit.lab.resources import ObjectKey, Registry, ResourceType
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event, Store

if TYPE_CHECKING:
    from vmkit.lab.events import EventRecorder

_log = logging.getLogger("vmkit.lab")

# client-go's default item backoff: 5 ms doubling up to 1000 s.
_FIRST_BACKOFF_SECONDS: Final = 0.005
_MAX_BACKOFF_SECONDS: Final = 1000.0

KeyMap = Callable[[Event], Iterable[ObjectKey]]


@dataclass(slots=True)
class Context:
    """What every controller gets. ``options`` are the lab's settings that concern behaviour, by name."""

    store: Store
    clock: Clock
    registry: Registry
    recorder: EventRecorder
    random: random.Random = field(default_factory=lambda: random.Random(1))
    options: dict[str, object] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Unexpected exceptions of controllers, one line each; a healthy lab has none."""


class Controller:
    """Brings the world closer to what objects ask for.

    A subclass sets ``name``, watches types in `setup` and works in `reconcile`. Everything runs on the loop
    thread,
    one key at a time, right after the change that caused it (by `Clock`, so also while the clock is frozen).
    """

    name: ClassVar[str] = "controller"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.store = context.store
        self.clock = context.clock
        self.registry = context.registry
        self.recorder = context.recorder
        self._queue: dict[ObjectKey, None] = {}
        self._later: dict[ObjectKey, Timer] = {}
        self._failures: dict[ObjectKey, int] = {}
        self._ends: list[Callable[[], None]] = []
        self._timer: Timer | None = None

    # --- for subclasses --------------------------------------------------------------------------------

    def setup(self) -> None:
        """Calls `watch` for each type of interest."""

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one object's world up to date; raising retries it with growing pauses."""

    def watch(self, rtype: ResourceType, keys: KeyMap | None = None) -> None:
        """Queues a key for every change of a type: the object's own, or those ``keys`` gives for the event.

        What exists already is queued at once.
        """

        def on_event(event: Event) -> None:
            for key in (event.key,) if keys is None else keys(event):
                self.enqueue(key)

        self._ends.append(self.store.subscribe(on_event, rtype))
        for entry in tuple(self.store.entries(rtype)):
            on_event(Event("ADDED", rtype, entry.key, entry.data, None, entry.version, entry.labels, None))

    def enqueue(self, key: ObjectKey) -> None:
        """Queues a key; one that waits already is not queued twice."""
        if key in self._queue:
            return
        self._queue[key] = None
        if self._timer is None:
            self._timer = self.clock.call_later(0, self._work)

    def requeue_after(self, key: ObjectKey, seconds: float) -> None:
        """Queues a key after virtual seconds; of several waiting requests for one key the earliest counts."""
        due = self._later.get(key)
        if due is not None and not due.cancelled:
            if due.due.timestamp() <= self.clock.now().timestamp() + seconds:
                return
            due.cancel()

        def now() -> None:
            self._later.pop(key, None)
            self.enqueue(key)

        self._later[key] = self.clock.call_later(seconds, now)

    # --- running ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to watch and work."""
        self.setup()

    @property
    def working(self) -> bool:
        """Whether it has been started."""
        return bool(self._ends)

    def stop(self) -> None:
        """Ends watching and forgets what waits."""
        for end in self._ends:
            end()
        self._ends.clear()
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self) -> None:
        self._timer = None
        if not self._queue:
            return
        key = next(iter(self._queue))
        del self._queue[key]
        # Scheduled before the work, so that controllers take turns key by key.
        if self._queue:
            self._timer = self.clock.call_later(0, self._work)
        try:
            self.reconcile(key)
        except ApiError as error:
            self._retry(key, f"{error.code} {error.message}", expected=True)
        except Exception as error:  # noqa: BLE001 - one bad object must not stop the others
            _log.exception("%s: %s/%s", self.name, key.namespace, key.name)
            self._retry(key, f"{type(error).__name__}: {error}", expected=False)
        else:
            self._failures.pop(key, None)

    def _retry(self, key: ObjectKey, why: str, *, expected: bool) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        if not expected:
            self.context.failures.append(f"{self.name}: {key.namespace}/{key.name}: {why}")
        pause = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(count, 20), _MAX_BACKOFF_SECONDS)
        self.requeue_after(key, pause)
