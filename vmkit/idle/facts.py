"""What the verdict on a VM needs to know besides its use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vmkit.plan import Reason
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState


@dataclass(frozen=True, slots=True)
class IdleFacts:
    """One VM at one moment.

    Attributes:
        ref: namespace and name.
        power: what it is doing; only one that runs is judged.
        vcpus: how many its guest sees; 0 where nobody says.
        created_at: of the VirtualMachine; None where nobody says.
        running_since: when its instance last came to run; None where nobody says.
        agent: whether its guest agent is connected.
        gpu: it has a GPU or another host device, whose work no metric of KubeVirt shows.
        node_silent: the node it runs on does not answer.
        services: the names of the Services that lead to it.
        dependants: VMs that need it and that run now.
        group: its high-availability group ("" for none): of one, only one member at a time may be down.
        vetoes: what stands against stopping it now, however idle: protection, a pool, GitOps, keep-up,
            force-uptime, skip-next, what a restart would lose, something in progress.
    """

    ref: VmRef
    power: PowerState
    vcpus: int
    created_at: datetime | None
    running_since: datetime | None
    agent: bool
    gpu: bool = False
    node_silent: bool = False
    services: tuple[str, ...] = ()
    dependants: tuple[VmRef, ...] = ()
    group: str = ""
    vetoes: tuple[Reason, ...] = ()
