"""What deciding about a VM needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vmkit.plan import Reason
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView
from vmkit.vm.strategy import RunStrategy

PROTECTED = "vmkit.io/protected"
"""Label: nothing automatic starts or stops this VM."""


class Ownership(StrEnum):
    """What a GitOps controller would do about a change to the VM."""

    NONE = "none"
    """Nobody owns it."""
    SAFE = "safe"
    """Its owner disregards the run strategy."""
    DRIFT = "drift"
    """Its owner reports the change and reverts it at the next sync."""
    FIGHT = "fight"
    """Its owner reverts the change at once."""
    UNKNOWN = "unknown"
    """It is owned, and nobody can say how; counts as a fight."""


@dataclass(frozen=True, slots=True)
class VmFacts:
    """One VM at one moment.

    Attributes:
        ref: namespace and name.
        uid: of the VirtualMachine; state that carries another is a clone's or a restore's.
        power: what it is doing.
        status: KubeVirt's own word for it.
        strategy: None where it cannot be told.
        created_at: of the VirtualMachine.
        running_since: when its instance last came to run; None where there is none or nobody says.
        ended: there is an instance, and it has run to its end.
        busy: what is in progress that a stop or start would spoil; empty when nothing.
        pool: the pool that owns it; empty where none does.
        protected: somebody put the label on it.
        node_silent: the node it runs on does not answer.
        restart_risks: why it might not come back as it was.
        ownership: what GitOps would say.
        owner: who that is, for people: "Application argocd/shop".
        problem: what is wrong with the object itself; empty when nothing.
    """

    ref: VmRef
    uid: str
    power: PowerState
    status: str = ""
    strategy: RunStrategy | None = RunStrategy.ALWAYS
    created_at: datetime | None = None
    running_since: datetime | None = None
    ended: bool = False
    busy: str = ""
    pool: str = ""
    protected: bool = False
    node_silent: bool = False
    restart_risks: tuple[Reason, ...] = ()
    ownership: Ownership = Ownership.NONE
    owner: str = ""
    problem: str = ""


def read_facts(
    view: VmView,
    *,
    node_silent: bool = False,
    restart_risks: tuple[Reason, ...] = (),
    busy: str = "",
    ownership: Ownership = Ownership.NONE,
    owner: str = "",
) -> VmFacts:
    """The facts in a VM's view, and those that have to be found elsewhere.

    Args:
        view: the VM and its instance.
        node_silent: its node does not answer.
        restart_risks: what the guard found that a restart would lose.
        busy: a backup or migration object that names it, beyond what its status says.
        ownership: the GitOps verdict.
        owner: whose verdict that is.
    """
    instance = view.instance
    pool = view.owner("VirtualMachinePool")
    alive = view.power in (PowerState.RUNNING, PowerState.PAUSED, PowerState.MIGRATING)
    pending = f"a {view.requests[0].lower()} is asked for already" if view.requests else ""
    return VmFacts(
        ref=view.ref,
        uid=view.uid,
        power=view.power,
        status=view.printable_status,
        strategy=view.run_strategy,
        created_at=view.created_at,
        running_since=instance.started_at if instance is not None and alive else None,
        ended=instance is not None and instance.final,
        busy=view.busy or busy or pending,
        pool=pool.name if pool is not None else "",
        # Any value but a plain "false" protects: a label is put there for a purpose.
        protected=view.labels.get(PROTECTED, "false").lower() != "false",
        node_silent=node_silent,
        restart_risks=restart_risks,
        ownership=ownership,
        owner=owner,
        problem=view.problem,
    )
