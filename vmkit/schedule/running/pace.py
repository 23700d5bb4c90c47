"""At most so many starts a minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

_WINDOW_SECONDS: Final = 60.0


class Pace:
    """Lets so many through in any minute, and makes the others wait. Thread-safe."""

    def __init__(self, a_minute: int, stopping: threading.Event | None = None) -> None:
        self._a_minute = a_minute
        self._stopping = stopping or threading.Event()
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def limit(self, a_minute: int) -> None:
        """From now on so many."""
        with self._lock:
            self._a_minute = a_minute

    def take(self, *, wait: bool = True) -> bool:
        """Waits for its turn; False where everything is to end, or it is not its turn and ``wait`` is false."""
        while not self._stopping.is_set():
            with self._lock:
                now = time.monotonic()
                while self._taken and now - self._taken[0] >= _WINDOW_SECONDS:
                    self._taken.popleft()
                if len(self._taken) < self._a_minute:
                    self._taken.append(now)
                    return True
                seconds = _WINDOW_SECONDS - (now - self._taken[0])
            if not wait:
                return False
            self._stopping.wait(seconds)
        return False
