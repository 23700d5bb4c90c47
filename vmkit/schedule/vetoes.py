"""What stands against starting or stopping a VM now, in the order in which it is said.

A veto is not an end: the transition is tried again at the next pass, until its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vmkit.plan import Reason
from vmkit.schedule.facts import Ownership, VmFacts
from vmkit.schedule.rules import Side
from vmkit.units import format_duration
from vmkit.vm.state import PowerState
from vmkit.vm.strategy import RunStrategy


@dataclass(frozen=True, slots=True)
class Policy:
    """How a pass decides.

    Attributes:
        deadline: a transition older than this is missed, and let be.
        queue_limit: how long one waits for a node that does not answer.
        minimum_uptime: a VM that has run for less is not stopped yet.
        enforce: level mode: whenever the VM is not as scheduled, make it so.
        despite_gitops: act although a GitOps controller would undo it.
    """

    deadline: timedelta = timedelta(hours=2)
    queue_limit: timedelta = timedelta(days=7)
    minimum_uptime: timedelta = timedelta(minutes=10)
    enforce: bool = False
    despite_gitops: bool = False


NODE_SILENT = "NodeSilent"


def find_veto(
    vm: VmFacts, side: Side, at: datetime, policy: Policy, *, grace: timedelta, restart_safe: bool
) -> Reason | None:
    """The first thing that stands against it; None where nothing does.

    Args:
        vm: the VM.
        side: what is to be done.
        at: now.
        policy: how this pass decides.
        grace: how long a new VM is left alone.
        restart_safe: the VM says that it may lose what is not on its disks.
    """
    veto = _never_ours(vm) or _not_now(vm, side)
    if veto is None and vm.created_at is not None and at - vm.created_at < grace:
        veto = Reason(
            "TooNew", f"it was made {format_duration(at - vm.created_at)} ago, less than {format_duration(grace)}"
        )
    if veto is None and side is Side.STOP:
        veto = _stop_veto(vm, at, policy, restart_safe=restart_safe)
    return veto or _gitops_veto(vm, side, policy)


def _never_ours(vm: VmFacts) -> Reason | None:
    if vm.protected:
        return Reason("Protected", "it carries the label vmkit.io/protected")
    if vm.pool:
        return Reason("OwnedByPool", f"the pool {vm.pool} owns it and would undo it")
    if vm.strategy is RunStrategy.WAIT_AS_RECEIVER:
        return Reason("WaitAsReceiver", "it waits to receive a migration")
    return None


def _not_now(vm: VmFacts, side: Side) -> Reason | None:
    if vm.node_silent:
        return Reason(NODE_SILENT, "its node does not answer, so nobody knows what it is doing")
    right = PowerState.RUNNING if side is Side.STOP else PowerState.STOPPED
    if vm.power is not right:
        return Reason("NotSettled", f"it is {vm.status or vm.power}, neither Running nor Stopped")
    if vm.busy:
        return Reason("Busy", vm.busy)
    return None


def _stop_veto(vm: VmFacts, at: datetime, policy: Policy, *, restart_safe: bool) -> Reason | None:
    if vm.running_since is not None and at - vm.running_since < policy.minimum_uptime:
        return Reason("TooYoung", f"it has run for only {format_duration(at - vm.running_since)}")
    if vm.restart_risks and not restart_safe:
        first = vm.restart_risks[0]
        return Reason(first.code, f'{first.text}; vmkit.io/restart-safe: "true" says that this is fine')
    return None


def _gitops_veto(vm: VmFacts, side: Side, policy: Policy) -> Reason | None:
    if vm.ownership in (Ownership.NONE, Ownership.SAFE) or policy.despite_gitops:
        return None
    owner = vm.owner or "a GitOps controller"
    if vm.ownership is Ownership.DRIFT:
        if side is Side.STOP:
            return None
        return Reason("GitOpsDrift", f"{owner} would revert the start at its next sync, and so stop a VM in use")
    if vm.ownership is Ownership.UNKNOWN:
        return Reason("GitOpsUnknown", f"{owner} owns it, and nobody can tell whether it would undo this")
    return Reason("GitOpsFight", f"{owner} would undo it at once")
