"""What is asked of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from vmkit.errors import UsageError
from vmkit.guard.switch import Switch
from vmkit.idle.policy import IdlePolicy, vmkit_policy
from vmkit.idle.running import webhook
from vmkit.idle.running.subjects import Scope
from vmkit.units import Limit

DEFAULT_MAX_STOPS: Final = Limit(percent=5.0)
DEFAULT_NOTICE: Final = timedelta(hours=24)
_LONGEST_NOTICE: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class IdleOptions:
    """How a run goes about it.

    Attributes:
        scope: which VMs.
        policy: what counts as idle.
        notice: how long people are told before a stop.
        stop_now: stop without notice.
        marks_only: note, but stop nothing.
        dry_run: write and do nothing.
        max_stops: at most so many stops a run, or such a share of the VMs that run; the rest has to wait.
        wave: so many are stopped at once; where one cannot be, no further wave begins.
        accept_growth: go on although far more is idle than at the last run.
        webhook: an address that is told what was noted and stopped; empty for none.
        switch: where the suspend switch is; the shares of idle VMs are kept in its namespace.
        concurrency: VMs worked on at once.
    """

    scope: Scope = field(default_factory=Scope)
    policy: IdlePolicy = field(default_factory=vmkit_policy)
    notice: timedelta = DEFAULT_NOTICE
    stop_now: bool = False
    marks_only: bool = False
    dry_run: bool = False
    max_stops: Limit = DEFAULT_MAX_STOPS
    wave: int = 10
    accept_growth: bool = False
    webhook: str = ""
    switch: Switch = field(default_factory=Switch)
    concurrency: int = 8

    def __post_init__(self) -> None:
        if not timedelta(minutes=5) <= self.notice <= _LONGEST_NOTICE:
            raise UsageError(
                "a notice is between five minutes and 90 days", hint="--notice 24h; --stop-now stops without one"
            )
        if self.stop_now and self.marks_only:
            raise UsageError("to stop now and to note only are two things", hint="give one of them")
        if min(self.concurrency, self.wave) < 1:
            raise UsageError("at least one VM at once")
        if self.webhook:
            webhook.check_url(self.webhook)
