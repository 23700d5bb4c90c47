"""The values that series are made from: guests, their runs, and what one sample looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from vmkit.lab.metrics.load import Activity, LoadShape, fraction

Read = Callable[[float], "float | None"]
"""The value of a series at an instant (Unix seconds); None where it has none."""

Variant = tuple[str, Read]
"""One series of a family: its labels as they are written, and how it is read."""


@dataclass(frozen=True)
class Run:
    """One stretch of time in which a guest ran on one node: from ``start`` until ``end`` (Unix seconds; None:
    still runs).

    ``boot`` is when the instance started: after a live migration the counters of the new launcher start at
    ``start``, the guest's own clock at ``boot``.
    """

    start: float
    end: float | None
    boot: float
    node: str
    uid: str
    pod: str
    pod_uid: str

    def covers(self, at: float) -> bool:
        """Whether the guest ran at an instant."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True)
class Drive:
    """A disk of a guest: its device name in the guest, its claim ("" for none), its size, and how the claim is
    mounted."""

    name: str
    device: str
    claim: str
    size_bytes: int
    volume_mode: str


@dataclass(frozen=True)
class Guest:
    """What the series of one VM depend on besides the seed and the instant."""

    namespace: str
    name: str
    vcpus: int
    memory_bytes: int
    drives: tuple[Drive, ...]
    interfaces: tuple[str, ...]
    labels: Mapping[str, str]
    vm_labels: Mapping[str, str]
    shape: LoadShape
    agent: bool
    operating_system: Mapping[str, str]
    instancetype: str
    preference: str
    machine: str
    created: float
    status: str
    phase: str
    evictable: bool
    plain_domain: bool
    runs: tuple[Run, ...] = ()
    changed: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Family:
    """A metric: its name as samples carry it (counters end in ``_total``), its type, and its series for a
    subject."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


class RunSeries:
    """One run of a guest with its counters.

    Args:
        seed: the lab's.
        guest: whose it is.
        run: the stretch of time.
    """

    def __init__(self, seed: int, guest: Guest, run: Run) -> None:
        self.seed, self.guest, self.run = seed, guest, run

    @cached_property
    def base(self) -> str:
        """The labels of every series of virt-handler, as written."""
        guest = self.guest
        labels = {"node": self.run.node, "namespace": guest.namespace, "name": guest.name}
        labels |= {f"kubernetes_vmi_label_{sanitize(key)}": value for key, value in guest.labels.items()}
        return render_labels(labels)

    @cached_property
    def cpu(self) -> Activity:
        """The work of its CPUs."""
        return self._channel("cpu")

    @cached_property
    def receive(self) -> Activity:
        """What its network receives."""
        return self._channel("receive")

    @cached_property
    def transmit(self) -> Activity:
        """What its network sends."""
        return self._channel("transmit")

    @cached_property
    def read(self) -> Activity:
        """What its disks read."""
        return self._channel("read")

    @cached_property
    def write(self) -> Activity:
        """What its disks write."""
        return self._channel("write")

    @cached_property
    def memory_level(self) -> tuple[float, bool]:
        """The share of memory the guest needs for itself, and whether it leaks."""
        key = self.guest.key
        return 0.18 + 0.35 * fraction(self.seed, key, "memory-level"), fraction(self.seed, key, "leak") > 0.93

    def _channel(self, name: str) -> Activity:
        return Activity(self.seed, self.guest.key, name, self.guest.shape, self.run.start)

    def cpu_seconds(self, at: float) -> float:
        """CPU time used since the run began, the hypervisor's own share included."""
        return self.cpu.done(at) * self.guest.vcpus + (at - self.run.start) * 0.002


def render_labels(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Labels as they stand between the braces of a sample."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return ",".join(f'{key}="{_escape(value)}"' for key, value in pairs)


def join_labels(*parts: str) -> str:
    """Several written label lists as one."""
    return ",".join(part for part in parts if part)


def sanitize(name: str) -> str:
    """A Kubernetes label's key as part of a metric label: what is not a letter, digit or underscore becomes
    one."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
