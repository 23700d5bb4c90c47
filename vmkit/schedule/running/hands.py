"""What a pass needs done by others: starting and stopping, and the verdicts of GitOps tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vmkit.plan import Outcome
from vmkit.schedule.facts import Ownership
from vmkit.schedule.rules import Side
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the GitOps tool that owns a VM would do, its name for people, and what would make it safe."""

    ownership: Ownership
    owner: str
    remedy: str = ""


class Hands(Protocol):
    """Starts and stops VMs, and knows who owns them."""

    def act(self, view: VmView, side: Side) -> Outcome:
        """Starts or stops a VM, without waiting until it is so.

        Returns:
            Changed: asked for. Unchanged: it was so already. Skipped: not possible yet.

        Raises:
            VmkitError: it could not be done.
        """
        ...

    def judge(self, views: Iterable[VmView], side: Side) -> Mapping[VmRef, Judgement]:
        """The verdicts on those of these VMs that a GitOps tool owns."""
        ...
