"""What was done to a VM by schedules and by what stops idle ones: kept on the VM itself, oldest first."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.errors import ScheduleError

LAST_ACTION: Final = "vmkit.io/last-action"
"""Annotation: what was last done to the VM, when and why, for people."""
HISTORY: Final = "vmkit.io/history"
"""Annotation: what was done to the VM, oldest first, as JSON. Exports leave it out."""
KEPT_ENTRIES: Final = 16
_MAX_CHARACTERS: Final = 32_768
_MAX_TEXT: Final = 240


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done to a VM.

    Attributes:
        run: the id of the run that did it.
        at: when.
        verb: "start", "stop", "warn", "mark".
        code, text: why.
        generation: the VM's metadata.generation once it was done: where that is another now, its spec was changed.
        vcpus, memory_bytes: what a stop returned; 0 where nobody knew.
        active_watts: what its work took before a stop; None where nobody measured. ``energy_source``: who did.
    """

    run: str
    at: datetime
    verb: str
    code: str
    text: str
    generation: int = 0
    vcpus: int = 0
    memory_bytes: int = 0
    active_watts: float | None = None
    energy_source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the annotation and programs have it."""
        document: dict[str, Any] = {
            "run": self.run,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "verb": self.verb,
            "code": self.code,
            "text": self.text,
            "generation": self.generation,
        }
        if self.vcpus:
            document["vcpus"] = self.vcpus
        if self.memory_bytes:
            document["memoryBytes"] = self.memory_bytes
        if self.active_watts is not None:
            document["activeWatts"] = round(self.active_watts, 3)
            document["energySource"] = self.energy_source
        return document


def new_run_id(at: datetime) -> str:
    """A run's id: sorts by time, and is another each time."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def parse_history(annotations: Mapping[str, str]) -> tuple[Entry, ...]:
    """Reads a VM's history, oldest first; empty where there is none.

    Raises:
        ScheduleError: it is not what vmkit wrote.
    """
    text = annotations.get(HISTORY)
    if text is None:
        return ()
    try:
        if len(text) > _MAX_CHARACTERS:
            raise ValueError
        return tuple(_parse_entry(one) for one in json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ScheduleError(
            f"{HISTORY} is not what vmkit wrote",
            hint="take the annotation away; the VM's history then starts anew",
        ) from error


def add_entry(annotations: Mapping[str, str], entry: Entry) -> str:
    """The history with one more entry, and without those too old to be kept."""
    try:
        before = parse_history(annotations)
    except ScheduleError:
        before = ()  # Nothing is decided by it: what cannot be read makes room for what can.
    kept = [*before, replace(entry, text=entry.text[:_MAX_TEXT])][-KEPT_ENTRIES:]
    return json.dumps([one.to_dict() for one in kept], separators=(",", ":"))


def describe_action(entry: Entry) -> str:
    """The text of the last-action annotation."""
    at = entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{entry.verb} at {at}: {entry.text[:_MAX_TEXT]} (run {entry.run})"


def _parse_entry(one: Mapping[str, Any]) -> Entry:
    watts = one.get("activeWatts")
    if watts is not None and not 0 <= float(watts) < math.inf:
        raise ValueError
    return Entry(
        str(one["run"]),
        _parse_instant(one["at"]),
        str(one["verb"]),
        str(one["code"]),
        str(one["text"]),
        int(one.get("generation", 0)),
        max(0, int(one.get("vcpus", 0))),
        max(0, int(one.get("memoryBytes", 0))),
        None if watts is None else float(watts),
        str(one.get("energySource", "")),
    )


def _parse_instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None:
        raise ValueError
    return at.astimezone(UTC)
