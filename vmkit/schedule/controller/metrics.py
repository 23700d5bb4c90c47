"""What monitoring is told, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "vmkit_schedule_"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, its type, what it says, the names of its labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final[tuple[Family, ...]] = (
    Family("passes_total", "counter", "Passes over all VMs, by how they ended.", ("result",)),
    Family("pass_duration_seconds", "gauge", "How long the last pass took."),
    Family("last_success_timestamp_seconds", "gauge", "When the last pass ended that did not fail."),
    Family("actions_total", "counter", "What was done to VMs, or tried, by its result.", ("verb", "result")),
    Family("waiting_vms", "gauge", "VMs for which something is due and has to wait, by why.", ("reason",)),
    Family("vms", "gauge", "VMs looked at."),
    Family("managed_vms", "gauge", "VMs with a schedule."),
    Family("wanted_vms", "gauge", "VMs by what their schedules want now.", ("state",)),
    Family("bad_annotations", "gauge", "VMs left alone because what is written on them is not understood."),
    Family("next_transition_timestamp_seconds", "gauge", "When something may be due again; 0 for never."),
    Family("leader", "gauge", "1 where this replica acts."),
    Family("suspended", "gauge", "1 while the switch suspends every change."),
    Family("config_valid", "gauge", "0 where the config file cannot be read: what it last said holds."),
    Family("watching", "gauge", "1 where the cluster tells of changes.", ("resource",)),
    Family("watch_failures_total", "counter", "Watches that ended with an error.", ("resource",)),
    Family("clock_steps_total", "counter", "How often the cluster's clock was set."),
)
_Labels = tuple[str, ...]


class Metrics:
    """Counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[_Labels, float]] = {
            family.name: {} if family.labels else {(): 0.0} for family in FAMILIES
        }

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Counts one more."""
        with self._lock:
            values = self._values[name]
            values[labels] = values.get(labels, 0.0) + by

    def set(self, name: str, value: float, *labels: str) -> None:
        """It is so much now."""
        with self._lock:
            self._values[name][labels] = value

    def set_all(self, name: str, values: Mapping[str, float]) -> None:
        """By its only label it is so much now, and nothing for every other."""
        with self._lock:
            self._values[name] = {(label,): value for label, value in values.items()}

    def get(self, name: str, *labels: str) -> float:
        """How much it is; 0 where nobody has said."""
        with self._lock:
            return self._values[name].get(labels, 0.0)

    def render(self) -> str:
        """All of them."""
        with self._lock:
            copied = {name: dict(values) for name, values in self._values.items()}
        lines = []
        for family in FAMILIES:
            name = _PREFIX + family.name
            lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
            lines += [
                f"{name}{_render_labels(family.labels, labels)} {value!r}"
                for labels, value in sorted(copied[family.name].items())
            ]
        return "\n".join(lines) + "\n"


def _render_labels(names: tuple[str, ...], values: _Labels) -> str:
    if not names:
        return ""
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
