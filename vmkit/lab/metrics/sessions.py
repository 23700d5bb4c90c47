# ruff: noqa: E501 - one metric a line reads best
"""Who has a console, a VNC window or a port-forward open on a guest, and when the last of them was closed.

Source: KubeVirt pkg/monitoring/metrics/virt-api/connection_metrics.go: the timestamp is set when a connection
ends, and is absent where there never was one; virt-api forgets it when it restarts, so nothing older than its
age is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from vmkit.lab.metrics.load import DAY, HOUR, fraction, is_weekend
from vmkit.lab.metrics.model import Family, Guest, Variant, render_labels

MEMORY_DAYS = 45
"""How long virt-api has run without a restart."""

KINDS = ("vnc", "console", "portforward", "usbredir")


@dataclass(frozen=True)
class Session:
    """One connection: what kind, and from when to when (Unix seconds)."""

    kind: str
    start: float
    end: float


def find_session(seed: int, guest: Guest, day: int) -> Session | None:
    """The session somebody held with a guest on a day, or None; on weekends nobody does."""
    if is_weekend(day) or fraction(seed, guest.key, "session", day) >= guest.shape.sessions:
        return None
    start = day * DAY + 8 * HOUR + fraction(seed, guest.key, "session-start", day) * 8 * HOUR
    length = 300 + fraction(seed, guest.key, "session-length", day) ** 2 * 5400
    draw = fraction(seed, guest.key, "session-kind", day)
    kind = KINDS[0 if draw < 0.4 else 1 if draw < 0.65 else 2 if draw < 0.98 else 3]
    if not any(run.covers(start) and run.covers(start + length) for run in guest.runs):
        return None
    return Session(kind, start, start + length)


def active_session(seed: int, guest: Guest, at: float) -> Session | None:
    """The session that is open at an instant, or None."""
    session = find_session(seed, guest, int(at // DAY))
    return session if session is not None and session.start <= at < session.end else None


Build = Callable[[int, Guest], Iterator[Variant]]


class _LastConnection:
    """Reads the end of a guest's last session; days that were looked at are kept."""

    def __init__(self, seed: int, guest: Guest) -> None:
        self._seed, self._guest = seed, guest
        self._sessions: dict[int, Session | None] = {}

    def __call__(self, at: float) -> float | None:
        for day in range(int(at // DAY), int(at // DAY) - MEMORY_DAYS, -1):
            if day not in self._sessions:
                self._sessions[day] = find_session(self._seed, self._guest, day)
            session = self._sessions[day]
            if session is not None and session.end <= at:
                return float(int(session.end))
        return None


def last_connection(seed: int, guest: Guest, at: float) -> float | None:
    """When the last session ended, as virt-api knows it; None if it knows of none."""
    return _LastConnection(seed, guest)(at)


def _last(seed: int, guest: Guest) -> Iterator[Variant]:
    if guest.shape.sessions > 0:
        labels = render_labels({"namespace": guest.namespace, "vmi": guest.name})
        yield labels, _LastConnection(seed, guest)


def _active(kind: str) -> Build:
    def build(seed: int, guest: Guest) -> Iterator[Variant]:
        if guest.shape.sessions > 0:
            labels = render_labels({"namespace": guest.namespace, "vmi": guest.name})
            yield labels, partial(_is_active, seed, guest, kind)

    return build


def _is_active(seed: int, guest: Guest, kind: str, at: float) -> float | None:
    session = active_session(seed, guest, at)
    return None if session is None or session.kind != kind else 1.0


SESSION_FAMILIES: Mapping[Family, Build] = {
    Family(
        "kubevirt_vmi_last_api_connection_timestamp_seconds",
        "gauge",
        "Virtual Machine Instance last API connection timestamp. Including VNC, console, portforward, SSH and usbredir connections.",
    ): _last,
    Family("kubevirt_vnc_active_connections", "gauge", "Amount of active VNC connections, broken down by namespace and vmi name."): _active("vnc"),
    Family("kubevirt_console_active_connections", "gauge", "Amount of active Console connections, broken down by namespace and vmi name."): _active("console"),
    Family("kubevirt_usbredir_active_connections", "gauge", "Amount of active USB redirection connections, broken down by namespace and vmi name."): _active("usbredir"),
    Family("kubevirt_portforward_active_tunnels", "gauge", "Amount of active portforward tunnels, broken down by namespace and vmi name."): _active("portforward"),
}  # fmt: skip
