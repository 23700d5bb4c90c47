"""What time it is in the cluster, between its answers, and whether its clock was set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

_TOLERANCE: Final = timedelta(seconds=3)
"""Answers tell the time to the second, and take a moment to come."""


def read_uptime() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps (where it can tell)."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class ClusterClock:
    """The cluster's clock, continued by one that nobody sets. Thread-safe.

    Args:
        uptime: seconds by a clock that nobody sets.
    """

    def __init__(self, uptime: Callable[[], float] = read_uptime) -> None:
        self._uptime = uptime
        self._lock = threading.Lock()
        self._told: tuple[datetime, float] | None = None

    def tell(self, at: datetime | None) -> timedelta | None:
        """The cluster has just said what time it is; None where it does not say: then it is this machine's.

        Returns:
            By how much the clock was set since it was last told; None where it went on as it should.
        """
        at = at or datetime.now(UTC)
        with self._lock:
            uptime, before = self._uptime(), self._told
            self._told = (at, uptime)
        if before is None:
            return None
        step = at - before[0] - timedelta(seconds=uptime - before[1])
        return step if abs(step) > _TOLERANCE else None

    def now(self) -> datetime | None:
        """What time it should be now; None before it was ever told."""
        with self._lock:
            if self._told is None:
                return None
            at, uptime = self._told
            return at + timedelta(seconds=self._uptime() - uptime)
