"""Remembering since when something holds, so that delays come out exact though objects carry whole seconds."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime

from vmkit.lab.clock import Clock


class Marks:
    """Instants at which things were first seen; a thing is a pair of an owner (a UID) and a name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[Hashable, dict[str, datetime]] = {}

    def left(self, owner: Hashable, name: str, seconds: float) -> float:
        """How many seconds of a delay are left, counted from the first time this was asked; 0 when it is over."""
        marks = self._since.setdefault(owner, {})
        since = marks.setdefault(name, self._clock.now())
        return max(0.0, seconds - (self._clock.now() - since).total_seconds())

    def drop(self, owner: Hashable, name: str | None = None) -> None:
        """Forgets one mark of an owner, or all of them."""
        if name is None:
            self._since.pop(owner, None)
        elif owner in self._since:
            self._since[owner].pop(name, None)
