"""What a run needs done by others: stops, the vetoes of schedules, the verdicts of GitOps tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from vmkit.plan import Outcome, Reason
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView


class Guard(Protocol):
    """Knows what schedules and safety say about a VM. Thread-safe."""

    def vetoes(self, vm: Mapping[str, Any], vmi: Mapping[str, Any] | None, at: datetime) -> tuple[Reason, ...]:
        """What stands against stopping it now, GitOps aside; never raises."""
        ...

    def needs(self, view: VmView) -> tuple[VmRef, ...]:
        """The VMs that it cannot do without."""
        ...


class Hands(Protocol):
    """Stops VMs, and knows who else has a say. Thread-safe."""

    def guard(self, namespaces: Mapping[str, Mapping[str, str]]) -> Guard:
        """What schedules say, given the annotations of the namespaces."""
        ...

    def judge(self, views: Iterable[VmView]) -> Mapping[VmRef, Reason]:
        """Of these VMs those whose owner would undo a stop, and why they are left."""
        ...

    def stop(self, view: VmView, *, grace_seconds: int | None) -> Outcome:
        """Asks for a stop, without waiting until it is so, and never by force.

        Args:
            view: the VM.
            grace_seconds: how long its guest has to shut down; None leaves that to the VM.

        Returns:
            Changed: asked for. Unchanged: it was so already. Skipped: not possible yet.

        Raises:
            VmkitError: it could not be done.
        """
        ...

    def stop_marks(self, view: VmView, at: datetime) -> Mapping[str, str]:
        """Annotations to be written before a stop, so that its schedule starts it again; empty for none."""
        ...
