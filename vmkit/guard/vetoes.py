"""What is never done to a VM, whatever the wish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmkit.vm.contract import read_situation
from vmkit.vm.state import PowerState, VmView
from vmkit.vm.strategy import RunStrategy

_ENDS_THE_GUEST: Final = frozenset({"stop", "restart", "delete"})


@dataclass(frozen=True, slots=True)
class Veto:
    """An objection: a stable code, why, and what to do instead."""

    code: str
    text: str
    hint: str = ""


def decide_veto(view: VmView, verb: str) -> Veto | None:
    """Whether anything forbids ``verb`` on this VM.

    Args:
        view: the VM.
        verb: "start", "stop", "delete" ...
    """
    pool = view.owner("VirtualMachinePool")
    if pool is not None:
        # The pool's controller makes up for whatever happens to its VMs.
        return Veto(
            "PoolOwned",
            f"it belongs to VirtualMachinePool {pool.name}, which would undo it",
            hint=f"scale the pool: kubectl scale vmpool {pool.name} --replicas N",
        )
    if view.run_strategy is RunStrategy.WAIT_AS_RECEIVER:
        return Veto("WaitAsReceiver", "it is the receiving end of a migration between clusters")
    unclear = view.run_strategy is None or read_situation(view) is None
    if unclear and verb != "delete" and view.power is not PowerState.DELETING:
        said = view.problem or f"KubeVirt says {view.printable_status or 'nothing'}"
        return Veto("StateUnknown", f"nobody can tell what it is doing: {said}", hint="look with vmkit describe")
    if view.busy and verb in _ENDS_THE_GUEST:
        return Veto("Busy", view.busy, hint="try again when that is done")
    return None
