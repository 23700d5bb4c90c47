"""The practice cluster's time: it can run, run fast, stand still or jump, and every delay hangs on it.

All methods are called on the lab's loop thread (or, in tests of pure parts, on one thread without any loop).
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_SLICE_SECONDS: Final = 0.01
"""How long due callbacks may hold the loop before waiting HTTP requests get a turn."""


def format_time(at: datetime) -> str:
    """An instant the way Kubernetes writes ``metav1.Time``: UTC, whole seconds ("2026-11-23T18:44:50Z")."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def format_micro_time(at: datetime) -> str:
    """An instant as ``metav1.MicroTime`` ("2026-11-23T18:44:50.000000Z")."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def parse_time(text: str) -> datetime:
    """Reads RFC 3339 as an aware instant in UTC.

    Raises:
        ValueError: the text is no RFC 3339 time, or has no zone.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at.astimezone(UTC)


class Timer:
    """A scheduled callback; `cancel` takes it back."""

    __slots__ = ("cancelled", "due", "fn")

    def __init__(self, due: datetime, fn: Callable[[], object]) -> None:
        self.due = due
        self.fn: Callable[[], object] | None = fn
        self.cancelled = False

    def cancel(self) -> None:
        """Takes the callback back; harmless when it has run already."""
        self.cancelled = True
        self.fn = None


class Clock:
    """Virtual time.

    Args:
        start: the first instant (aware); None: the machine's present second.
        speed: virtual seconds a real second; ignored while frozen.
        frozen: stand still until `advance` or `run`. Work that is due at once still runs while frozen.
    """

    def __init__(self, *, start: datetime | None = None, speed: float = 1.0, frozen: bool = False) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("the clock's start needs a time zone")
        if speed <= 0:
            raise ValueError("the clock's speed must be above zero")
        # Whole seconds at the start make every age and delay come out the same in every run of a frozen lab.
        self._base = (start or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        self._base_real = time.monotonic()
        self._speed = speed
        self._frozen = frozen
        self._heap: list[tuple[datetime, int, Timer]] = []
        self._sequence = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.Handle | None = None
        self._running = False
        self.on_error: Callable[[BaseException], None] | None = None
        """Told of an exception a callback let through; without it the exception ends `advance`."""

    # --- reading ---------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The present virtual instant, in UTC."""
        if self._frozen or self._running:
            return self._base
        return self._real_now()

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen

    @property
    def speed(self) -> float:
        """Virtual seconds a real second, when not frozen."""
        return self._speed

    @property
    def next_due(self) -> datetime | None:
        """When the next callback is due, or None when nothing waits."""
        self._drop_cancelled()
        return self._heap[0][0] if self._heap else None

    # --- scheduling ------------------------------------------------------------------------------------

    def call_later(self, seconds: float, fn: Callable[[], object]) -> Timer:
        """Runs ``fn`` after so many virtual seconds (0: as soon as the present work is done)."""
        return self.call_at(self.now() + timedelta(seconds=max(0.0, seconds)), fn)

    def call_at(self, at: datetime, fn: Callable[[], object]) -> Timer:
        """Runs ``fn`` at an instant; one that is past counts as now. Equal instants run in order of the calls."""
        timer = Timer(at, fn)
        heapq.heappush(self._heap, (at, next(self._sequence), timer))
        if not self._running:
            self._arm()
        return timer

    # --- moving ----------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stands still from now on."""
        self._base = self.now()
        self._frozen = True
        self._arm()

    def run(self, *, speed: float | None = None) -> None:
        """Runs on from the present instant, at ``speed`` virtual seconds a real second.

        Raises:
            ValueError: the speed is not above zero.
        """
        if speed is not None and speed <= 0:
            raise ValueError("the clock's speed must be above zero")
        self._base, self._base_real = self.now(), time.monotonic()
        self._speed = self._speed if speed is None else speed
        self._frozen = False
        self._arm()

    def advance(self, delta: timedelta) -> int:
        """Moves time forward and runs, in order, everything that falls due on the way, however it got scheduled.

        Every callback sees `now` at the instant it was due. Returns how many ran.

        Raises:
            ValueError: the delta is negative.
        """
        if delta < timedelta(0):
            raise ValueError("the clock only moves forward")
        target = self.now() + delta
        ran = self._run_due(target, None)
        self._base, self._base_real = max(self._base, target), time.monotonic()
        self._arm()
        return ran

    def settle(self) -> int:
        """Runs what is due now, and what that makes due at once, until nothing is; returns how many ran."""
        return self.advance(timedelta(0))

    def reset(self, at: datetime) -> None:
        """Sets the clock to an instant, forward or back, and forgets everything scheduled (for loading a
        state).
        """
        self._base, self._base_real = at.astimezone(UTC), time.monotonic()
        self._heap.clear()
        self._arm()

    # --- being driven by a loop --------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets an event loop drive the clock from now on."""
        self._loop = loop
        self._arm()

    def detach(self) -> None:
        """Ends being driven; what is scheduled stays scheduled."""
        if self._handle is not None:
            self._handle.cancel()
        self._loop = self._handle = None

    def _real_now(self) -> datetime:
        return self._base + timedelta(seconds=(time.monotonic() - self._base_real) * self._speed)

    def _drop_cancelled(self) -> None:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)

    def _arm(self) -> None:
        if self._loop is None or self._running:
            return
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        due = self.next_due
        if due is None:
            return
        wait = (due - self.now()).total_seconds()
        if wait <= 0:
            self._handle = self._loop.call_soon(self._tick)
        elif not self._frozen:
            self._handle = self._loop.call_later(wait / self._speed, self._tick)

    def _tick(self) -> None:
        self._handle = None
        target = self.now()
        self._run_due(target, time.monotonic() + _SLICE_SECONDS)
        self._arm()

    def _run_due(self, target: datetime, until: float | None) -> int:
        """Runs callbacks due up to ``target``, at most until the real instant ``until``."""
        if self._running:
            return 0  # a callback that moves the clock: the outer run takes up what it scheduled
        ran = 0
        real, self._base, self._base_real = self.now(), self.now(), time.monotonic()
        self._running = True
        try:
            while True:
                self._drop_cancelled()
                if not self._heap or self._heap[0][0] > target:
                    break
                due, _, timer = heapq.heappop(self._heap)
                self._base = max(self._base, due)
                fn, timer.fn = timer.fn, None
                if fn is not None:
                    self._call(fn)
                    ran += 1
                if until is not None and time.monotonic() >= until:
                    break
        finally:
            self._running = False
            if self._frozen or until is None:
                self._base_real = time.monotonic()
            else:
                # Driven by the loop: the time the callbacks took has passed in the lab too.
                self._base = max(self._base, real)
        return ran

    def _call(self, fn: Callable[[], object]) -> None:
        try:
            fn()
        except Exception as error:
            if self.on_error is None:
                raise
            self.on_error(error)
