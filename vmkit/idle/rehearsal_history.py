"""What a VM did, step by step: what a rehearsal replays. Values only."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkit.errors import UsageError
from vmkit.idle.facts import IdleFacts
from vmkit.idle.report import Size
from vmkit.metrics.summary import Signal

STEP: Final = timedelta(minutes=5)
"""Of every history: the rate window of vmkit's own limits."""
STEPS_AN_HOUR: Final = timedelta(hours=1) // STEP

UNSEEN: Final = 0
"""In a step: monitoring knew nothing of the VM."""
DOWN: Final = 1
"""It was known, and did not run."""
UP: Final = 2


@dataclass(frozen=True, slots=True)
class VmHistory:
    """One VM over the past.

    Attributes:
        facts: what else is known of it, now; its size, its age and its vetoes are taken to have been so all along.
        start: the beginning of the first step, on a full hour.
        states: `UNSEEN`, `DOWN` or `UP` in each step.
        signals: in each step the rate over the step, in the unit of the signal; not a number where there is no
            sample. As long as ``states``.
        sessions: the steps in which a console, VNC or port-forward session was open.
        owner: whose it is.
        size: what it holds, and takes.

    Raises:
        UsageError: the parts do not have the same length.
    """

    facts: IdleFacts
    start: datetime
    states: bytes
    signals: Mapping[Signal, array[float]]
    sessions: frozenset[int] = frozenset()
    owner: str = ""
    size: Size = field(default_factory=Size)

    def __post_init__(self) -> None:
        if any(len(values) != len(self.states) for values in self.signals.values()):
            raise UsageError(f"the history of {self.facts.ref} has signals of different lengths")
        if self.start.tzinfo is None or self.start.minute or self.start.second or self.start.microsecond:
            raise UsageError("a history begins on a full hour, at an instant with a zone")

    def __len__(self) -> int:
        return len(self.states)

    @property
    def end(self) -> datetime:
        """The end of the last step."""
        return self.start + len(self) * STEP

    def instant(self, index: int) -> datetime:
        """When a step begins."""
        return self.start + index * STEP

    def signal(self, signal: Signal) -> array[float] | None:
        """A signal's rates; those of the network are summed up from both ways where only they are known."""
        if signal is Signal.NETWORK and signal not in self.signals:
            received, sent = self.signals.get(Signal.RECEIVE), self.signals.get(Signal.TRANSMIT)
            if received is None or sent is None:
                return None
            return array("f", (one + other for one, other in zip(received, sent, strict=True)))
        return self.signals.get(signal)


def blank(count: int) -> array[float]:
    """So many steps without a sample."""
    return array("f", [math.nan]) * count


def full_hour(at: datetime) -> datetime:
    """The full hour before an instant, in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
