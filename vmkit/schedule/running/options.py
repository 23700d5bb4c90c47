"""What a pass is told, and what it tells before it acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from vmkit.errors import UsageError
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.switch import Switch
from vmkit.schedule.vetoes import Policy
from vmkit.units import Limit

DEFAULT_STARTS_A_MINUTE: Final = 60
DEFAULT_STARTS_A_NODE: Final = 10
"""A minute, each. A node boots its guests from the same disks it serves the running ones with."""


@dataclass(frozen=True, slots=True)
class PassOptions:
    """How a pass goes about it.

    Attributes:
        namespace: only this one; None is all.
        label_selector: only VMs with such labels.
        settings: what holds where VMs and namespaces say nothing.
        policy: how it decides.
        at: decide as if it were this instant; only with ``dry_run``.
        dry_run: write and do nothing.
        adopt: take in VMs that only a downscaler's annotations speak for.
        switch: where the suspend switch is.
        starts_a_minute: at most so many starts in any minute.
        starts_a_node: at most so many in any minute for each node that answers.
        ready_timeout: how long one step of an order may take.
        max_changes: refuse the pass when it would start and stop more.
        concurrency: VMs acted on at once.
    """

    namespace: str | None = None
    label_selector: str = ""
    settings: Settings = field(default_factory=Settings)
    policy: Policy = field(default_factory=Policy)
    at: datetime | None = None
    dry_run: bool = False
    adopt: bool = False
    switch: Switch = field(default_factory=Switch)
    starts_a_minute: int = DEFAULT_STARTS_A_MINUTE
    starts_a_node: int = DEFAULT_STARTS_A_NODE
    ready_timeout: timedelta = timedelta(minutes=5)
    max_changes: Limit | None = None
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.at is not None and not self.dry_run:
            raise UsageError("another instant than now is for looking only", hint="give --dry-run with --at")
        if self.at is not None and self.at.utcoffset() is None:
            raise UsageError("the instant names no time zone", hint="such as 2026-02-05T18:00:00Z")
        if min(self.concurrency, self.starts_a_minute, self.starts_a_node) < 1:
            raise UsageError("at least one VM at once, a minute and a node")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pass saw: for those who sleep until the next.

    Attributes:
        at: its instant.
        vms: VMs looked at; ``scheduled``: those with a schedule.
        next_at: when something may be due again; None where nothing is to come.
        waiting: VMs for which something is due, or has to wait.
        open: VMs that are not at rest: what is due, waits, is to be remembered, or is a problem.
        problems: VMs somebody has to look at.
        wanted_on, wanted_off: scheduled VMs, by what their schedules want now.
    """

    at: datetime
    vms: int = 0
    scheduled: int = 0
    next_at: datetime | None = None
    waiting: int = 0
    open: int = 0
    problems: int = 0
    wanted_on: int = 0
    wanted_off: int = 0
