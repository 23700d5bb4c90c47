"""What is known of one VM's use over a lookback: numbers, how well they are covered, what is not known and why.

A summary is made by a source (Prometheus, the practice cluster) and judged by somebody else. What the source does
not know is an `Unknown`, never a zero: a missing series is not an idle VM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vmkit.errors import UsageError
from vmkit.units import format_duration
from vmkit.vm.reference import VmRef

RATE_WINDOW: Final = timedelta(minutes=5)
"""What a counter's rise is averaged over, unless a measure says otherwise."""


class Signal(StrEnum):
    """Something that is measured of a guest. The unit is that of its rate, or of its level."""

    CPU = "cpu"
    """Cores in use, the hypervisor's own share included (kubevirt_vmi_cpu_usage_seconds_total)."""
    RECEIVE = "receive"
    """Bytes a second, all interfaces together."""
    TRANSMIT = "transmit"
    """Bytes a second, all interfaces together."""
    DISK_READ = "disk-read"
    """Bytes a second, all drives together."""
    DISK_WRITE = "disk-write"
    """Bytes a second, all drives together."""
    NETWORK = "network"
    """Bytes a second, both ways together: the sum at each moment, not the sum of two maxima."""
    GUEST_LOAD = "guest-load"
    """Processes that run, may run or wait for a disk: the guest's own five-minute load (a level, not a rate)."""


UNITS: Final[Mapping[Signal, str]] = {
    Signal.CPU: "cores",
    Signal.RECEIVE: "B/s",
    Signal.TRANSMIT: "B/s",
    Signal.DISK_READ: "B/s",
    Signal.DISK_WRITE: "B/s",
    Signal.NETWORK: "B/s",
    Signal.GUEST_LOAD: "processes",
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something nobody can tell: a stable ``code`` in CamelCase, and why, in one sentence without a full stop."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """One number wanted of a signal.

    The rise of the counter is averaged over ``rate_window``; of these rates, if ``peak_window`` is given, the
    largest in each such stretch is taken; and of what remains in the last ``span``, the percentile.

    Attributes:
        signal: of what.
        percentile: 100 is the maximum.
        rate_window: what a counter's rise is averaged over.
        peak_window: None for none.
        span: the last part of the lookback that counts; None for all of it.

    Raises:
        UsageError: the percentile is not above 0 and at most 100, or a stretch of time is empty or does not hold
            the one inside it.
    """

    signal: Signal
    percentile: float = 100.0
    rate_window: timedelta = RATE_WINDOW
    peak_window: timedelta | None = None
    span: timedelta | None = None

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:  # not a number fails this as well
            raise UsageError(
                f"there is no percentile {self.percentile:g}", hint="above 0 and at most 100, the maximum"
            )
        inner = timedelta(0)
        for name, stretch in (
            ("rate window", self.rate_window),
            ("peak window", self.peak_window),
            ("span", self.span),
        ):
            if stretch is None:
                continue
            if stretch <= timedelta(0) or stretch < inner:
                raise UsageError(f"a {name} of {format_duration(stretch)} makes no sense for {self.signal}")
            inner = stretch

    def __str__(self) -> str:
        parts = ["max" if self.percentile == 100 else f"p{self.percentile:g}"]
        if self.peak_window is not None:
            parts.append(f"of {format_duration(self.peak_window)} peaks")
        if self.signal is not Signal.GUEST_LOAD:
            parts.append(f"of the {format_duration(self.rate_window)} rate")
        if self.span is not None:
            parts.append(f"in the last {format_duration(self.span)}")
        return f"{self.signal} {' '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Usage:
    """One signal of one VM.

    Attributes:
        values: the measures that were asked for, in the unit of the signal.
        coverage: the share, 0 to 1, of the time in which the VM ran for which there are samples.
        last_seen: the time of the newest sample.
        resets: how often the counter began anew (a restart, a live migration).
    """

    values: Mapping[Measure, float]
    coverage: float
    last_seen: datetime
    resets: int = 0

    def value(self, measure: Measure) -> float | Unknown:
        """A measure's number, or why there is none: not asked for, or not a number that a rate can have."""
        found = self.values.get(measure)
        if found is None:
            return Unknown("NotMeasured", f"nobody measured {measure}")
        if not math.isfinite(found) or found < 0:
            return Unknown("BadNumber", f"{measure} is {found:g}, which is no measurement")
        return found


@dataclass(frozen=True, slots=True)
class Sessions:
    """Consoles, VNC windows, port-forwards and USB redirections that go through KubeVirt's API.

    What reaches the guest over its network is not among them (virt-api does not see it).

    Attributes:
        open_now: how many are open.
        last_ended: when the last of them was closed; None if nobody knows of any.
        known_since: virt-api forgets when it restarts: nothing before this is known.
    """

    open_now: int
    last_ended: datetime | None
    known_since: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody logged in to the guest, as its agent tells: who, and since when (None: it does not say)."""

    user: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """A guest's memory in bytes: the most it used of what it has, over the lookback (available less usable)."""

    used_bytes: float
    available_bytes: float


@dataclass(frozen=True, slots=True)
class Migrations:
    """Live migrations: how many began in the lookback, when the last one ended, whether one is under way."""

    count: int
    last_ended: datetime | None = None
    in_progress: bool = False


class EnergySource(StrEnum):
    """Who says what a VM's energy was."""

    KEPLER_PODS = "kepler-pod"
    KEPLER_CONTAINERS = "kepler-container"
    KEPLER_LEGACY = "kepler-legacy"
    MODEL = "model"
    """Nobody measured: computed from use by a power model."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What the VM's work took over the lookback, the idle power of its node apart from it.

    Attributes:
        active_kwh: of the workload, in kilowatt-hours.
        source: who says so.
        coverage: the share of the time in which it ran, 0 to 1.
    """

    active_kwh: float
    source: EnergySource
    coverage: float


_NOT_ASKED: Final = Unknown("NotAsked", "nobody looked")


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a source knows of one VM's use.

    Attributes:
        ref: the VM.
        at: the end of the lookback, by the clock of the source.
        lookback: how far it reaches back.
        usage: signal by signal; a signal that is not in here was not looked for.
        observed: the share of the lookback, 0 to 1, in which monitoring saw the VM at all, running or not. Less
            than the whole where the retention is shorter, or monitoring was down.
        running: for how much of the lookback the VM ran.
        sessions: through KubeVirt's API.
        logins: who is logged in now.
        memory: of the guest.
        migrations: between nodes.
        energy: of its work.
        warnings: what the source said about its own answer.
    """

    ref: VmRef
    at: datetime
    lookback: timedelta
    usage: Mapping[Signal, Usage | Unknown] = field(default_factory=dict)
    observed: float | Unknown = _NOT_ASKED
    running: timedelta | Unknown = _NOT_ASKED
    sessions: Sessions | Unknown = _NOT_ASKED
    logins: tuple[Login, ...] | Unknown = _NOT_ASKED
    memory: Memory | Unknown = _NOT_ASKED
    migrations: Migrations | Unknown = _NOT_ASKED
    energy: Energy | Unknown = _NOT_ASKED
    warnings: tuple[str, ...] = ()

    def signal(self, signal: Signal) -> Usage | Unknown:
        """A signal's usage, or why there is none."""
        return self.usage.get(signal, Unknown("NotMeasured", f"nobody measured {signal}"))
