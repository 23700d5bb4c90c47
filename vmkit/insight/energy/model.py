"""The power model for clusters where nobody measures: linear in the CPU that is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PowerModel:
    """A model.

    Attributes:
        name: what reports call it.
        source: where its numbers come from.
        idle_watts_per_vcpu: what a virtual CPU takes while it does nothing; it is the server's, and stays there.
        busy_watts_per_vcpu: what one takes at full use.
        memory_watts_per_gb: what a gigabyte (10^9 bytes) of memory takes, used or not.
    """

    name: str
    source: str
    idle_watts_per_vcpu: float
    busy_watts_per_vcpu: float
    memory_watts_per_gb: float

    def active_watts(self, cores: float) -> float:
        """What the use of so many cores takes beyond idling."""
        return cores * (self.busy_watts_per_vcpu - self.idle_watts_per_vcpu)

    def idle_watts(self, vcpus: int, memory_bytes: int) -> float:
        """What a reservation takes whether it is used or not."""
        return vcpus * self.idle_watts_per_vcpu + memory_bytes / 1e9 * self.memory_watts_per_gb


CCF: Final = PowerModel(
    name="ccf-vcpu",
    source="Cloud Carbon Footprint, average of AWS servers a vCPU and memory coefficient (March 2024)",
    idle_watts_per_vcpu=0.74,
    busy_watts_per_vcpu=3.5,
    memory_watts_per_gb=0.392,
)
