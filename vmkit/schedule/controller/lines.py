"""What a controller says about itself: one line for each thing that happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vmkit.errors import VmkitError
from vmkit.plan import Outcome


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        at: when, by this machine's clock.
        event: what: "started", "listening", "leading", "standby", "watching", "outcome", "settings", "notice",
            "clock", "failed", "stopping", "stopped".
        text: the same for people.
        problem: somebody should look.
        outcome: of an "outcome".
        error: of what failed.
    """

    at: datetime
    event: str
    text: str
    problem: bool = False
    outcome: Outcome | None = None
    error: VmkitError | None = None

    def to_dict(self) -> dict[str, Any]:
        """As programs have it."""
        document: dict[str, Any] = {"time": _stamp(self.at), "event": self.event, "message": self.text}
        if self.problem:
            document["level"] = "error"
        if self.outcome is not None:
            document["outcome"] = self.outcome.to_dict()
        if self.error is not None:
            document["code"] = self.error.code
            if self.error.hint:
                document["hint"] = self.error.hint
        return document

    def __str__(self) -> str:
        hint = f" ({self.error.hint})" if self.error is not None and self.error.hint else ""
        return f"{_stamp(self.at)} {self.event}: {self.text}{hint}"


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
