"""What is asked of a power run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vmkit.errors import UsageError
from vmkit.plan.executor import DEFAULT_CONCURRENCY
from vmkit.units import Limit
from vmkit.vm.reference import VmRef

DryRun = Literal["client", "server"]

DEFAULT_GRACE_SECONDS: Final = 30
"""What KubeVirt gives a guest to power off where nobody says (types.go: terminationGracePeriodSeconds)."""
STOP_MARGIN_SECONDS: Final = 60.0
"""Beyond the grace period: the launcher pod has to go too."""
START_TIMEOUT_SECONDS: Final = 600.0
"""A first start imports or clones disks."""
MIGRATE_TIMEOUT_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which VMs.

    Attributes:
        names: these, in this order; or
        label_selector: those with such labels ("team=web,tier!=db"); or
        everything: all there are.
        namespace: where to look by labels or for everything; None looks in all namespaces. Names bring their own.
    """

    names: tuple[VmRef, ...] = ()
    label_selector: str = ""
    namespace: str | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        ways = [bool(self.names), bool(self.label_selector), self.everything]
        if sum(ways) != 1:
            raise UsageError(
                "name VMs, or select them by labels, or ask for all of them: exactly one of these",
                hint="vmkit stop web-1, vmkit stop -l team=web, vmkit stop --all",
            )


@dataclass(frozen=True, slots=True)
class PowerOptions:
    """How to go about it.

    Attributes:
        wait: return when it is seen to be so, not when it was asked for.
        timeout_seconds: how long to wait for each VM; None waits as long as the verb may reasonably take (for a
            stop the VM's own grace period and a minute).
        grace_seconds: how long the guest may take to power off; None leaves that to the VM.
        force: stop: cut the power after ``grace_seconds``, or at once where these are not given, also of a VM that
            is shutting down already; restart: do not wait for the guest.
        despite_gitops: act although a GitOps tool will set it back.
        dry_run: "client" sends nothing that changes; "server" lets KubeVirt check each request and change nothing.
        max_changes: refuse the run when it would change more.
        concurrency: requests under way at once.
    """

    wait: bool = False
    timeout_seconds: float | None = None
    grace_seconds: int | None = None
    force: bool = False
    despite_gitops: bool = False
    dry_run: DryRun | None = None
    max_changes: Limit | None = None
    concurrency: int = DEFAULT_CONCURRENCY

    def __post_init__(self) -> None:
        if self.grace_seconds is not None and self.grace_seconds < 0:
            raise UsageError(f"a grace of {self.grace_seconds} seconds is none", hint="--grace 0 cuts the power")
        if self.timeout_seconds is not None and self.timeout_seconds <= 0:
            raise UsageError("a timeout is more than nothing")
        if self.concurrency < 1:
            raise UsageError("at least one request at once is needed", hint="--concurrency 1")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete.

    Attributes:
        delete_disks: let the disks that belong to the VM go with it; otherwise they are kept.
        wait: return when the VM is gone, not when its deletion was asked for.
        timeout_seconds: how long each VM may take to stop, and then to go; None: its grace period and a minute.
        grace_seconds: how long the guest may take to power off.
        force: cut the power of a guest that does not stop in time.
        despite_gitops, dry_run, max_changes, concurrency: as in `PowerOptions`.
    """

    delete_disks: bool = False
    wait: bool = False
    timeout_seconds: float | None = None
    grace_seconds: int | None = None
    force: bool = False
    despite_gitops: bool = False
    dry_run: DryRun | None = None
    max_changes: Limit | None = None
    concurrency: int = DEFAULT_CONCURRENCY

    @property
    def stopping(self) -> PowerOptions:
        """How to stop a VM that is to be deleted."""
        return PowerOptions(
            wait=True,
            timeout_seconds=self.timeout_seconds,
            grace_seconds=self.grace_seconds,
            force=self.force,
            dry_run=self.dry_run,
            concurrency=self.concurrency,
        )
