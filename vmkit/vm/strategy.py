"""Run strategies: what a VM's owner wants KubeVirt to do about its instance.

Source of the facts: KubeVirt staging/src/kubevirt.io/api/core/v1/types.go (fields), pkg/virt-api/rest/lifecycle.go
(start and stop), pkg/virt-controller/watch/vm/vm.go (syncRunStrategy).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class RunStrategy(StrEnum):
    """The values of ``spec.runStrategy``."""

    ALWAYS = "Always"
    """KubeVirt keeps an instance alive and restarts one that ends."""
    HALTED = "Halted"
    """There is no instance."""
    MANUAL = "Manual"
    """Only start and stop requests count; an instance that ended stays as it is."""
    RERUN_ON_FAILURE = "RerunOnFailure"
    """Restarted when it failed, not when the guest shut itself down."""
    ONCE = "Once"
    """Started one time and never again."""
    WAIT_AS_RECEIVER = "WaitAsReceiver"
    """The receiving end of a migration between clusters (KubeVirt 1.6 and newer): not ours to touch."""

    @property
    def rewritten_by_stop(self) -> bool:
        """Whether KubeVirt's stop changes the strategy itself to Halted (Always, Once).

        Manual and RerunOnFailure keep theirs: the request goes to the VM's status. (RerunOnFailure does so
        since KubeVirt 1.2; before, it was rewritten too.)
        """
        return self in {RunStrategy.ALWAYS, RunStrategy.ONCE}

    @property
    def lost_by_stop(self) -> bool:
        """Whether a stop followed by a start ends in another strategy: Once comes back as Always."""
        return self is RunStrategy.ONCE

    @property
    def touches_spec(self) -> bool:
        """Whether start or stop write to ``spec``, where GitOps tools look."""
        return self in {RunStrategy.ALWAYS, RunStrategy.ONCE, RunStrategy.HALTED}

    @property
    def starts_by_itself(self) -> bool:
        """Whether KubeVirt starts an absent instance without being asked."""
        return self in {RunStrategy.ALWAYS, RunStrategy.ONCE}


def read_run_strategy(spec: Mapping[str, Any]) -> RunStrategy | None:
    """The strategy of a VM's ``spec``; the deprecated ``running`` means Always or Halted.

    None where neither is there, the value is unknown or of the wrong type: such a VM is left alone.
    """
    value = spec.get("runStrategy")
    if isinstance(value, str):
        return parse_run_strategy(value)
    running = spec.get("running")
    if value is None and isinstance(running, bool):
        return RunStrategy.ALWAYS if running else RunStrategy.HALTED
    return None


def parse_run_strategy(text: str) -> RunStrategy | None:
    """The strategy of this exact name, or None."""
    return _BY_NAME.get(text)


_BY_NAME: Mapping[str, RunStrategy] = {strategy.value: strategy for strategy in RunStrategy}
