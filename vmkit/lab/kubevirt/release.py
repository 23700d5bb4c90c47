"""What differs between the KubeVirt releases the practice cluster can play.

Only differences that are known from KubeVirt's sources are here; everything else behaves as in the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Release:
    """One KubeVirt release.

    Attributes:
        version: the minor version, "1.9".
        full_version: what KubeVirt reports about itself in status.observedKubeVirtVersion.
        live_update: spec.configuration.vmRolloutStrategy is LiveUpdate when unset (from v1.6; Stage before).
        instancetype_ref: revisions are recorded in status.instancetypeRef (from v1.5), not in
            spec.instancetype.revisionName.
        wait_as_receiver: the run strategy WaitAsReceiver exists (from v1.6).
        declarative_hotplug: addvolume changes the VM's spec (gate DeclarativeHotplugVolumes, on by default from
            v1.9) instead of writing a volume request into its status.
        hotplug_volumes: the addvolume and removevolume calls work without a gate being set.
        fixed_overhead_bytes: what the processes around a guest need (pkg/virt-controller/services and, from
            v1.9, pkg/hypervisor/kvm; the figure of 1.9 is the recorded one).
        video_overhead_bytes: what a graphics device adds to it.
    """

    version: str
    full_version: str
    live_update: bool
    instancetype_ref: bool
    wait_as_receiver: bool
    declarative_hotplug: bool
    hotplug_volumes: bool
    fixed_overhead_bytes: int
    video_overhead_bytes: int


RELEASES: Final[dict[str, Release]] = {
    "1.2": Release("1.2", "v1.2.2", False, False, False, False, False, 210 * _MIB, 16 * _MIB),
    "1.5": Release("1.5", "v1.5.3", False, True, False, False, False, 220 * _MIB, 16 * _MIB),
    "1.9": Release("1.9", "v1.9.0", True, True, True, True, True, 240 * _MIB, 32 * _MIB),
}
"""The releases by minor version. The gate HotplugVolumes has to be set before 1.9."""

LATEST: Final = RELEASES["1.9"]
