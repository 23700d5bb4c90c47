"""What counts as idle: vmkit's own definition, and those of three clouds.

A policy that makes no sense is refused where it is made: a limit above half of the CPUs, a lookback of minutes, a
percentile under which a nightly job disappears.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vmkit.errors import UsageError
from vmkit.metrics.summary import UNITS, Measure, Signal
from vmkit.units import format_duration

_DAY: Final = timedelta(days=1)
_LARGEST_SHARE: Final = 0.5
_LEAST_PERCENTILE: Final = 99.5
_MEGABYTE: Final = 1_000_000

NOISE_FLOOR: Final = 1000.0
"""Bytes a second that a guest nobody uses receives or sends: ARP, time sync, router advertisements. An ops agent
alone makes 17 B/s (GoogleCloudPlatform/gcsfuse-tools#210); Google's definition lets 1000 B/s pass."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that has to be low.

    Attributes:
        measure: what is looked at.
        limit: in the unit of its signal; with ``of_vcpus`` the share, 0 to 1, of all the VM's CPUs.
        of_vcpus: see above.
        inclusive: the limit itself is still low.

    Raises:
        UsageError: the limit is not a positive number, is a share above a half, or a share of something else than
            CPUs.
    """

    measure: Measure
    limit: float
    of_vcpus: bool = False
    inclusive: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit) or self.limit <= 0:
            raise UsageError(
                f"a limit of {self.limit:g} for {self.measure} makes no sense", hint="give a number above 0"
            )
        if self.of_vcpus and self.measure.signal is not Signal.CPU:
            raise UsageError(f"{self.measure.signal} is no share of a VM's CPUs")
        if self.of_vcpus and self.limit > _LARGEST_SHARE:
            raise UsageError(
                f"a VM that uses {self.limit:.0%} of its CPUs is in use",
                hint=f"give a limit of at most {_LARGEST_SHARE:.0%}; presets have 3 to 5 %",
            )

    def resolve(self, vcpus: int) -> float:
        """The limit for a VM of that size, in the unit of the signal."""
        return self.limit * vcpus if self.of_vcpus else self.limit

    def is_met(self, value: float, vcpus: int) -> bool:
        """Whether a value is low."""
        limit = self.resolve(vcpus)
        return value <= limit if self.inclusive else value < limit

    def __str__(self) -> str:
        limit = f"{self.limit * 100:g} % of its CPUs" if self.of_vcpus else f"{self.limit:g} {self.unit}"
        return f"{self.measure} {'at most' if self.inclusive else 'below'} {limit}"

    @property
    def unit(self) -> str:
        """The unit of the signal."""
        return UNITS[self.measure.signal]


@dataclass(frozen=True, slots=True)
class IdlePolicy:
    """When a VM counts as idle: every criterion is met, and the evidence is good enough to say so.

    Attributes:
        name: of the preset.
        criteria: all have to be met; at least one is about CPU.
        lookback: how far back use is looked at.
        weighs_people: sessions, logins and traffic from outside are part of the verdict. Without, the verdict is
            that of the definition alone, and they forbid stopping instead.
        minimum_age: a VM made later than that ago is not judged.
        minimum_running: one that ran for less than that in the lookback is not judged.
        settle: nor one that came to run less than that ago.
        settle_migration: nor one whose last live migration ended less than that ago: its counters began anew.
        coverage: the share, 0 to 1, of the time that samples must cover.
        freshness: how old the newest sample may be, and how far the clocks may differ.
        noise_floor: bytes a second, each way, that are no use; see `NOISE_FLOOR`.

    Raises:
        UsageError: it makes no sense.
    """

    name: str
    criteria: tuple[Criterion, ...]
    lookback: timedelta = 14 * _DAY
    weighs_people: bool = True
    minimum_age: timedelta = 7 * _DAY
    minimum_running: timedelta = 3 * _DAY
    settle: timedelta = _DAY
    settle_migration: timedelta = timedelta(hours=1)
    coverage: float = 0.98
    freshness: timedelta = timedelta(minutes=15)
    noise_floor: float = NOISE_FLOOR

    def __post_init__(self) -> None:
        if not any(each.measure.signal is Signal.CPU for each in self.criteria):
            raise UsageError(f"the policy {self.name} says nothing about CPU, so any VM could be idle by it")
        if self.lookback < _DAY:
            raise UsageError(
                f"a lookback of {format_duration(self.lookback)} sees no whole day",
                hint="give 1d or more; 14d is usual",
            )
        if not _LARGEST_SHARE <= self.coverage <= 1:
            raise UsageError(
                f"a coverage of {self.coverage:g} makes no sense",
                hint="give a share between 0.5 and 1, such as 0.98",
            )
        if not math.isfinite(self.noise_floor) or self.noise_floor < 0:
            raise UsageError(f"a noise floor of {self.noise_floor:g} B/s makes no sense")
        if self.minimum_age < timedelta(0):
            raise UsageError(f"a minimum age of {format_duration(self.minimum_age)} makes no sense")
        for name, least in (
            ("minimum running time", self.minimum_running),
            ("time to settle", self.settle),
            ("time to settle after a migration", self.settle_migration),
            ("freshness", self.freshness),
        ):
            if not timedelta(0) <= least <= self.lookback:
                raise UsageError(
                    f"a {name} of {format_duration(least)} makes no sense with a lookback of "
                    f"{format_duration(self.lookback)}"
                )
        for each in self.criteria:
            for stretch in (each.measure.rate_window, each.measure.peak_window, each.measure.span):
                if stretch is not None and stretch > self.lookback:
                    raise UsageError(f"{each.measure} reaches further back than {format_duration(self.lookback)}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All that a source has to measure for this policy, each once."""
        wanted = [each.measure for each in self.criteria]
        return tuple(dict.fromkeys([*wanted, RECEIVED, TRAFFIC]))

    def longest_unseen_job(self, vcpus: int) -> timedelta:
        """How long a job that keeps one CPU busy, and does nothing else, can run in the lookback unseen.

        In one piece or spread over nights; the whole lookback where a limit is above one core. What is lost where
        samples are missing comes on top of that.

        Args:
            vcpus: how many the VM has.
        """
        limits = [each for each in self.criteria if each.measure.signal is Signal.CPU]
        return min(self._unseen_by(each, vcpus) for each in limits)

    def _unseen_by(self, criterion: Criterion, vcpus: int) -> timedelta:
        measure, cores = criterion.measure, criterion.resolve(vcpus)
        if cores >= 1:
            return self.lookback
        span = measure.span or self.lookback
        # What a percentile leaves out, and what averaging over the rate window hides.
        unseen = span * (1 - measure.percentile / 100) + measure.rate_window * cores
        return min(self.lookback, self.lookback - span + unseen)


RECEIVED: Final = Measure(Signal.RECEIVE)
TRAFFIC: Final = Measure(Signal.NETWORK)


def vmkit_policy(
    *,
    lookback: timedelta = 14 * _DAY,
    percentile: float = 100.0,
    cpu_cores: float = 0.15,
    cpu_share: float = 0.03,
    network_bytes_per_second: float = 32_000.0,
    disk_bytes_per_second: float = 500_000.0,
) -> IdlePolicy:
    """vmkit's own definition: by the maximum of the five-minute rate, and by people.

    Args:
        lookback: how far back to look.
        percentile: 100 for the maximum; 99.5 where work of a few minutes a day (updates) should not count.
        cpu_cores: cores below which CPU use is background noise.
        cpu_share: the same as a share of all its CPUs; both must be met.
        network_bytes_per_second: each way.
        disk_bytes_per_second: read, and written.

    Raises:
        UsageError: the percentile is below 99.5, or another value makes no sense.
    """
    if not percentile >= _LEAST_PERCENTILE:
        raise UsageError(
            f"p{percentile:g} over {format_duration(lookback)} cannot see a job of "
            f"{format_duration(_DAY * min(1.0, max(0.0, 1 - percentile / 100)))} every night",
            hint=f"give {_LEAST_PERCENTILE:g} or more, or name the preset of a cloud",
        )
    criteria = [
        Criterion(Measure(Signal.CPU, percentile), cpu_cores),
        Criterion(Measure(Signal.CPU, percentile), cpu_share, of_vcpus=True),
        Criterion(Measure(Signal.RECEIVE, percentile), network_bytes_per_second),
        Criterion(Measure(Signal.TRANSMIT, percentile), network_bytes_per_second),
        Criterion(Measure(Signal.DISK_READ, percentile), disk_bytes_per_second),
        Criterion(Measure(Signal.DISK_WRITE, percentile), disk_bytes_per_second),
    ]
    return IdlePolicy("vmkit", tuple(criteria), lookback=lookback)


def aws_compute_optimizer() -> IdlePolicy:
    """CPU at most below 5 %, and network below 5 MB a day, over 14 days.

    Source: AWS Compute Optimizer user guide, "Viewing idle recommendations". The day is any 24 hours.
    """
    daily = Measure(Signal.NETWORK, rate_window=_DAY)
    return IdlePolicy(
        "aws",
        (
            Criterion(Measure(Signal.CPU), 0.05, of_vcpus=True),
            Criterion(daily, 5 * _MEGABYTE / _DAY.total_seconds()),
        ),
        minimum_age=14 * _DAY,
        weighs_people=False,
        coverage=0.95,
    )


def gcp_recommender() -> IdlePolicy:
    """CPU below 0.03 vCPU for 97 % of the time; received below 2000 and sent below 1000 B/s for 95 %; 14 days.

    Source: Google Cloud, "View and apply idle VM recommendations"; a new VM is judged from its fifth day on.
    """
    return IdlePolicy(
        "gcp",
        (
            Criterion(Measure(Signal.CPU, 97), 0.03),
            Criterion(Measure(Signal.RECEIVE, 95), 2000),
            Criterion(Measure(Signal.TRANSMIT, 95), 1000),
        ),
        minimum_age=5 * _DAY,
        weighs_people=False,
        coverage=0.95,
    )


def azure_advisor(*, link_bytes_per_second: float = 125_000_000.0) -> IdlePolicy:
    """P95 of the half-hourly maximum of CPU below 3 %, half-hourly CPU at most 2 % in the last three days,
    outbound network below 2 %; 7 days.

    Source: Azure Advisor, "Cost recommendations", shutdown of virtual machines. What the network's 100 % are, a
    KubeVirt VM does not say.

    Args:
        link_bytes_per_second: those 100 %; a gigabit a second unless said otherwise.
    """
    half_hour = timedelta(minutes=30)
    return IdlePolicy(
        "azure",
        (
            Criterion(Measure(Signal.CPU, 95, peak_window=half_hour), 0.03, of_vcpus=True),
            Criterion(
                Measure(Signal.CPU, rate_window=half_hour, span=3 * _DAY), 0.02, of_vcpus=True, inclusive=True
            ),
            Criterion(Measure(Signal.TRANSMIT), 0.02 * link_bytes_per_second),
        ),
        lookback=7 * _DAY,
        weighs_people=False,
        coverage=0.95,
    )


PRESETS: Final[Mapping[str, Callable[[], IdlePolicy]]] = {
    "vmkit": vmkit_policy,
    "aws": aws_compute_optimizer,
    "gcp": gcp_recommender,
    "azure": azure_advisor,
}


def find_preset(name: str) -> IdlePolicy:
    """The preset of that name.

    Raises:
        UsageError: there is none.
    """
    build = PRESETS.get(name)
    if build is None:
        raise UsageError(f"there is no preset {name!r}", hint="one of " + ", ".join(PRESETS))
    return build()
