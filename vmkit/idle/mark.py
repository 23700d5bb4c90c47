"""What is noted on a VM that is idle: since when, and from when on it is stopped. Pure.

The note names the VM's uid: on a clone or a restored VM, which carry a copy, it is another's and counts as none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.errors import ConfigError
from vmkit.idle.report import Size

MARK: Final = "vmkit.io/idle-mark"
"""Annotation: `Mark` as JSON. Exports leave it out."""
NOTICE: Final = "vmkit.io/idle-notice"
"""Annotation: the same for people, with what they can do about it."""
SNOOZE: Final = "vmkit.io/idle-snooze-until"
"""Annotation: an instant, such as "2026-02-05T18:00:00Z", until which the VM is not called idle."""
STAY_DOWN: Final = "vmkit.io/idle-stay-down"
"""Annotation: "true": once stopped as idle it stays so, whatever its schedule says."""
LABEL: Final = "vmkit.io/stop-idle"
"""Label on VMs and namespaces: "enabled" opts in; anything else opts out."""
GROUP: Final = "vmkit.io/ha-group"
"""Label: VMs of a namespace with the same value stand in for each other; one at a time may be down."""
OWNER: Final = "vmkit.io/owner"
"""Label or annotation: whose a VM is."""

_MAX_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """That a VM is idle.

    Attributes:
        uid: the VM's.
        marked_at: when it was noted.
        stop_after: from when on it is stopped, where it stays idle.
        generation: the VM's metadata.generation then: where that is another now, somebody changed its spec.
        policy: by whose definition.
        run: the run that noted it.
        stopping_at: when its stop was decided; None before that.
        size: what stopping it returns.
    """

    uid: str
    marked_at: datetime
    stop_after: datetime
    generation: int
    policy: str
    run: str
    stopping_at: datetime | None = None
    size: Size = field(default_factory=Size)


def render_mark(mark: Mark) -> str:
    """The annotation's text: compact JSON, the same for equal marks."""
    document: dict[str, Any] = {
        "uid": mark.uid,
        "markedAt": format_instant(mark.marked_at),
        "stopAfter": format_instant(mark.stop_after),
        "generation": mark.generation,
        "policy": mark.policy,
        "run": mark.run,
    }
    if mark.stopping_at is not None:
        document["stoppingAt"] = format_instant(mark.stopping_at)
    size = mark.size
    if size.vcpus:
        document["vcpus"] = size.vcpus
    if size.memory_bytes:
        document["memoryBytes"] = size.memory_bytes
    if size.active_watts is not None:
        document["activeWatts"] = round(size.active_watts, 3)
        document["energySource"] = size.energy_source
    return json.dumps(document, separators=(",", ":"))


def parse_mark(text: str) -> Mark:
    """Reads what `render_mark` wrote.

    Raises:
        ConfigError: somebody else wrote it.
    """
    try:
        if len(text) > _MAX_CHARACTERS:
            raise ValueError
        document = json.loads(text)
        if not isinstance(document, dict) or not isinstance(document["uid"], str):
            raise TypeError
        stopping, watts = document.get("stoppingAt"), document.get("activeWatts")
        if watts is not None and not 0 <= float(watts) < math.inf:
            raise ValueError
        return Mark(
            uid=document["uid"],
            marked_at=_instant(document["markedAt"]),
            stop_after=_instant(document["stopAfter"]),
            generation=int(document["generation"]),
            policy=str(document["policy"]),
            run=str(document["run"]),
            stopping_at=None if stopping is None else _instant(stopping),
            size=Size(
                max(0, int(document.get("vcpus", 0))),
                max(0, int(document.get("memoryBytes", 0))),
                None if watts is None else float(watts),
                str(document.get("energySource", "")),
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ConfigError(
            f"{MARK} is not what vmkit wrote", hint="take the annotation away; it is noted anew where it is idle"
        ) from error


def parse_snooze(annotations: Mapping[str, str]) -> datetime | None:
    """Until when somebody asked for peace; None where nobody did.

    Raises:
        ConfigError: it is no instant with a time zone.
    """
    text = annotations.get(SNOOZE)
    if text is None:
        return None
    try:
        return _instant(text.strip())
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{SNOOZE}: {text[:40]!r} is no instant", hint='such as "2026-02-05T18:00:00Z"'
        ) from error


def describe_notice(mark: Mark, name: str, namespace: str) -> str:
    """The notice's text for people."""
    return (
        f"nobody has used this VM for a while; it will be stopped after {format_instant(mark.stop_after)} unless "
        f"that changes. To keep it: vmkit stop-idle snooze {name} -n {namespace} --for 7d, or annotate it with "
        f"{SNOOZE}=<instant>; the label {LABEL}=disabled keeps it for good"
    )


def format_instant(at: datetime) -> str:
    """As annotations have it, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None:
        raise ValueError
    return at.astimezone(UTC)
