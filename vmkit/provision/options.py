"""How a run of create or clone goes about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vmkit.errors import UsageError
from vmkit.plan.executor import DEFAULT_CONCURRENCY
from vmkit.plan.model import Result
from vmkit.units import Limit

DryRun = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """How to go about it; no option implies another.

    Attributes:
        update: change VMs that exist and differ; their run strategy and their power are left alone.
        wait: return when disks are filled and the VM runs (or, if it is not to run, when its disks are filled).
        timeout_seconds: how long to wait for all of them.
        dry_run: "client" reads and sends no change; "server" lets the API server check every object.
        diff: put a diff from what is there into each outcome.
        manifests: put the manifests into the result, without secrets.
        show_secrets: secrets are shown in diffs, manifests and files.
        output_dir: write the manifests there instead of creating anything.
        force_conflicts: take over fields that somebody else manages.
        ignore_storage_health: go on although the storage is in error or too full.
        max_changes: refuse the run when it would change more.
        concurrency: requests under way at once.
    """

    update: bool = False
    wait: bool = False
    timeout_seconds: float = 600.0
    dry_run: DryRun | None = None
    diff: bool = False
    manifests: bool = False
    show_secrets: bool = False
    output_dir: Path | None = None
    force_conflicts: bool = False
    ignore_storage_health: bool = False
    max_changes: Limit | None = None
    concurrency: int = DEFAULT_CONCURRENCY

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise UsageError("a timeout is more than nothing")
        if self.concurrency < 1:
            raise UsageError("at least one request has to be under way")


@dataclass(frozen=True, slots=True)
class CreateResult(Result):
    """What create and clone return.

    Attributes:
        manifests: the objects, where they were asked for: without secrets, unless these were asked for too.
        remarks: what was chosen (storage, images) and why, a line each.
    """

    manifests: tuple[dict[str, Any], ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The envelope, with ``remarks`` and, where there are any, ``manifests``."""
        # Not super(): a dataclass with slots is made anew by its decorator, which leaves __class__ behind.
        document = Result.to_dict(self)
        document["remarks"] = list(self.remarks)
        if self.manifests:
            document["manifests"] = [dict(manifest) for manifest in self.manifests]
        return document
