"""What vmkit remembers of a VM between passes: one annotation, written only when it changes.

It names the VM's uid: on a clone or a restored VM, which carry a copy, it is another's and counts as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vmkit.errors import ScheduleError
from vmkit.schedule.rules import Side
from vmkit.schedule.sources import parse_instant

STATE: Final = "vmkit.io/schedule-state"
"""Annotation: `StoredState` as JSON. Exports leave it out."""

_MAX_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Pending:
    """An action that was decided, and not yet seen to be done.

    Attributes:
        side: which.
        transition: the transition it carries out.
        asked_at: when it was decided.
    """

    side: Side
    transition: datetime
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class StoredState:
    """What has been dealt with.

    Attributes:
        uid: the VM's.
        since: transitions up to and including this instant are dealt with.
        schedule: fingerprint of the schedule that is about.
        stopped_at: when vmkit stopped the VM, if it is vmkit that did and nobody has started it since.
        pending: see its class.
        warned_for: the stop that people were told of; ``warned_at``: when they were.
        queued: a transition that waits for a node which does not answer.
        forced: the side the VM was forced to when last seen.
    """

    uid: str
    since: datetime
    schedule: str = ""
    stopped_at: datetime | None = None
    pending: Pending | None = None
    warned_for: datetime | None = None
    warned_at: datetime | None = None
    queued: datetime | None = None
    forced: Side | None = None


def render_state(state: StoredState) -> str:
    """The annotation's text: compact JSON, what is empty left out, the same for equal states."""
    document: dict[str, Any] = {"uid": state.uid, "since": _text(state.since), "schedule": state.schedule}
    if state.pending is not None:
        document["pending"] = {
            "side": str(state.pending.side),
            "transition": _text(state.pending.transition),
            "askedAt": _text(state.pending.asked_at),
        }
    for key, at in (
        ("stoppedAt", state.stopped_at),
        ("warnedFor", state.warned_for),
        ("warnedAt", state.warned_at),
        ("queued", state.queued),
    ):
        if at is not None:
            document[key] = _text(at)
    if state.forced is not None:
        document["forced"] = str(state.forced)
    return json.dumps(document, separators=(",", ":"))


def parse_state(text: str) -> StoredState:
    """Reads what `render_state` wrote.

    Raises:
        ScheduleError: somebody else wrote it.
    """
    try:
        if len(text) > _MAX_CHARACTERS:
            raise ValueError
        document = json.loads(text)
        if not isinstance(document, dict) or not isinstance(document["uid"], str):
            raise TypeError
        pending = document.get("pending")
        forced = document.get("forced")
        return StoredState(
            uid=document["uid"],
            since=parse_instant(document["since"]),
            schedule=str(document.get("schedule", "")),
            stopped_at=_instant(document, "stoppedAt"),
            pending=None
            if pending is None
            else Pending(
                Side(pending["side"]), parse_instant(pending["transition"]), parse_instant(pending["askedAt"])
            ),
            warned_for=_instant(document, "warnedFor"),
            warned_at=_instant(document, "warnedAt"),
            queued=_instant(document, "queued"),
            forced=None if forced is None else Side(forced),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ScheduleError) as error:
        raise ScheduleError(
            f"{STATE} is not what vmkit wrote",
            hint="take the annotation away; the VM's history then starts anew",
        ) from error


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _instant(document: Mapping[str, Any], key: str) -> datetime | None:
    value = document.get(key)
    return None if value is None else parse_instant(value)
