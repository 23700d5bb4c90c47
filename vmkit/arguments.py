"""The keyword arguments that many methods of `vmkit.api.Vmkit` share. All of them may be left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from vmkit.plan.model import ObjectRef, Outcome, Plan
    from vmkit.provision.progress import Progress
    from vmkit.units import Limit
    from vmkit.vm.reference import VmRef

DryRun = Literal["client", "server"]


class RunArguments(TypedDict, total=False):
    """What every method that changes something takes.

    selector: VMs whose labels match, in kubectl's syntax, instead of names.
    namespace: the namespace of names without one, and of a selector; else the connection's.
    all_namespaces: all VMs of all namespaces, or those of them that match the selector.
    everything: all VMs of the namespace.
    dry_run: "client": nothing is sent; "server": everything is sent to be checked, and nothing kept.
    max_changes: refuse the run before its first change when it would change more: a number, or a `Limit`.
    concurrency: how many objects are worked on at once.
    wait: return when it is seen to be so, not when it was asked for.
    timeout_seconds: how long to wait for each VM; None: as long as the verb may reasonably take.
    despite_gitops: act although a GitOps controller would undo it.
    confirm: called with the plan before the first change; raises to prevent it.
    on_outcome: called with each outcome as it comes.
    on_progress: called with a VM that is waited for, and how far it is, in words.
    """

    selector: str
    namespace: str | None
    all_namespaces: bool
    everything: bool
    dry_run: DryRun | None
    max_changes: int | Limit | None
    concurrency: int
    wait: bool
    timeout_seconds: float | None
    despite_gitops: bool
    confirm: Callable[[Plan], None] | None
    on_outcome: Callable[[Outcome], None] | None
    on_progress: Callable[[VmRef, str], None] | None


class StopArguments(RunArguments, total=False):
    """What stopping takes besides.

    grace_seconds: how long the guest has to shut down; None leaves it to the VM.
    force: end a guest that does not shut down in time; escalates a stop and overrides nothing else.
    """

    grace_seconds: int | None
    force: bool


class DeleteArguments(StopArguments, total=False):
    """What deleting takes besides.

    delete_disks: delete the VM's DataVolumes and claims with it; they are kept otherwise.
    """

    delete_disks: bool


class CreateArguments(TypedDict, total=False):
    """What creating and cloning take besides what is to be created.

    update: change VMs that exist and differ; their run strategy and their power are left alone.
    wait, timeout_seconds: return when disks are filled and VMs run, after at most so long in all.
    dry_run, max_changes, concurrency, confirm, on_outcome: as in `RunArguments`.
    on_progress: called with a VM that is waited for, and how far it is.
    diff: put a diff from what is there into each outcome.
    manifests: put the manifests into the result, without secrets.
    show_secrets: show secrets in diffs, manifests and files.
    output_dir: write the manifests there instead of creating anything.
    force_conflicts: take over fields that somebody else manages.
    ignore_storage_health: go on although the storage is in error or too full.
    """

    update: bool
    wait: bool
    timeout_seconds: float
    dry_run: DryRun | None
    max_changes: int | Limit | None
    concurrency: int
    confirm: Callable[[Plan], None] | None
    on_outcome: Callable[[Outcome], None] | None
    on_progress: Callable[[ObjectRef, Progress], None] | None
    diff: bool
    manifests: bool
    show_secrets: bool
    output_dir: Path | None
    force_conflicts: bool
    ignore_storage_health: bool
