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

    def take(self) -> bool:
        """Waits for its turn; False where everything is to end."""
        while not self._stopping.is_set():
            with self._lock:
                now = time.monotonic()
                while self._taken and now - self._taken[0] >= _WINDOW_SECONDS:
                    self._taken.popleft()
                if len(self._taken) < self._a_minute:
                    self._taken.append(now)
                    return True
                wait = _WINDOW_SECONDS - (now - self._taken[0])
            self._stopping.wait(wait)
        return False
