"""How a clone is made: by the storage itself, from a snapshot, or byte by byte.

Source: CDI pkg/controller/clone/planner.go (ChooseStrategy, validateAdvancedClonePVC) with the reasons it records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from vmkit.lab.cdi.capabilities import CloneStrategy
from vmkit.units import parse_bytes

NO_SNAPSHOT_CLASS = "No compatible volumesnapshotclass found"
INCOMPATIBLE_VOLUME_MODES = "The volume modes of source and target are incompatible"
NO_EXPANSION = "No volume expansion is possible"
NO_PROVISIONER_MATCH = "The storageclass provisioner does not match the volumesnapshotcontent driver"
INCOMPATIBLE_PROVISIONERS = "Provisioners are incompatible"

_REASONS = {
    NO_SNAPSHOT_CLASS: "NoVolumeSnapshotClass",
    INCOMPATIBLE_VOLUME_MODES: "IncompatibleVolumeModes",
    NO_EXPANSION: "NoVolumeExpansion",
    NO_PROVISIONER_MATCH: "NoProvisionerMatch",
    INCOMPATIBLE_PROVISIONERS: "IncompatibleProvisioners",
}


@dataclass(frozen=True)
class CloneChoice:
    """The way chosen, and why it is the slow one if it is (annotation ``cdi.kubevirt.io/cloneFallbackReason``)."""

    strategy: CloneStrategy
    fallback: str = ""

    @property
    def reason(self) -> str:
        """The reason of the event that tells of the fallback; "" where the wanted way was taken."""
        return _REASONS.get(self.fallback, "")


def choose_claim_clone(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    *,
    source_class: Mapping[str, Any] | None,
    target_class: Mapping[str, Any],
    profile_status: Mapping[str, Any],
    override: str | None = None,
) -> CloneChoice:
    """The way to clone a claim.

    Args:
        source: the source PersistentVolumeClaim.
        target: the spec of the claim to make.
        source_class: the source's StorageClass, None if it is gone.
        target_class: the target's StorageClass.
        profile_status: the status of the target class's StorageProfile.
        override: the CDI object's ``cloneStrategyOverride``.
    """
    wanted = cast("CloneStrategy", override or profile_status.get("cloneStrategy") or "snapshot")
    if wanted == "copy":
        return CloneChoice("copy")
    if wanted == "snapshot" and not profile_status.get("snapshotClass"):
        return CloneChoice("copy", NO_SNAPSHOT_CLASS)
    if source_class is None or source_class.get("provisioner") != target_class.get("provisioner"):
        return CloneChoice("copy", INCOMPATIBLE_PROVISIONERS)
    if _volume_mode(source["spec"]) != _volume_mode(target):
        return CloneChoice("copy", INCOMPATIBLE_VOLUME_MODES)
    if _needs_expansion(claim_bytes(source), target) and not target_class.get("allowVolumeExpansion"):
        return CloneChoice("copy", NO_EXPANSION)
    return CloneChoice(wanted)


def choose_snapshot_clone(
    driver: str, restore_bytes: int, target: Mapping[str, Any], *, target_class: Mapping[str, Any]
) -> CloneChoice:
    """The way to make a claim from a VolumeSnapshot of ``driver`` that holds ``restore_bytes``."""
    if driver != target_class.get("provisioner"):
        return CloneChoice("copy", NO_PROVISIONER_MATCH)
    if _needs_expansion(restore_bytes, target) and not target_class.get("allowVolumeExpansion"):
        return CloneChoice("copy", NO_EXPANSION)
    return CloneChoice("snapshot")


def claim_bytes(claim: Mapping[str, Any]) -> int:
    """What a claim holds: its capacity, else what it asks for."""
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return parse_bytes(capacity if capacity is not None else claim["spec"]["resources"]["requests"]["storage"])


def _volume_mode(spec: Mapping[str, Any]) -> str:
    return str(spec.get("volumeMode") or "Filesystem")


def _needs_expansion(source_bytes: int, target: Mapping[str, Any]) -> bool:
    asked = ((target.get("resources") or {}).get("requests") or {}).get("storage")
    return asked is not None and parse_bytes(asked) > source_bytes
