"""StorageProfiles as CDI computes them from a StorageClass.

Source: CDI pkg/controller/storageprofile-controller.go. What a person writes into a profile's ``spec`` wins over
what CDI knows about the provisioner (`vmkit.lab.cdi.capabilities`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from vmkit.lab.cdi.capabilities import (
    CAPABILITIES,
    CLONE_STRATEGIES,
    SOURCE_FORMATS,
    CloneStrategy,
    SourceFormat,
    provisioner_key,
)

CLONE_STRATEGY_ANNOTATION = "cdi.kubevirt.io/clone-strategy"


def choose_snapshot_class(
    provisioner: str, snapshot_classes: Iterable[Mapping[str, Any]], *, wanted: str = ""
) -> str:
    """The VolumeSnapshotClass that serves a provisioner, or "" if none does.

    One named ``wanted`` (from the profile's spec) is taken only if its driver fits; else the default class of
    the driver, else the first by name.
    """
    fitting = sorted(
        (item for item in snapshot_classes if item.get("driver") == provisioner),
        key=lambda item: str(item["metadata"]["name"]),
    )
    if wanted:
        return wanted if any(item["metadata"]["name"] == wanted for item in fitting) else ""
    for item in fitting:
        annotations = item["metadata"].get("annotations") or {}
        if annotations.get("snapshot.storage.kubernetes.io/is-default-class") == "true":
            return str(item["metadata"]["name"])
    return str(fitting[0]["metadata"]["name"]) if fitting else ""


def build_profile_status(
    storage_class: Mapping[str, Any],
    profile_spec: Mapping[str, Any],
    snapshot_classes: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """The status of the StorageProfile of a StorageClass, without its conditions.

    Args:
        storage_class: the StorageClass.
        profile_spec: the profile's ``spec`` as people wrote it; may be empty.
        snapshot_classes: every VolumeSnapshotClass of the cluster.
    """
    provisioner = str(storage_class.get("provisioner", ""))
    key = provisioner_key(storage_class)
    snapshot_class = choose_snapshot_class(
        provisioner, snapshot_classes, wanted=str(profile_spec.get("snapshotClass") or "")
    )
    status: dict[str, Any] = {
        "storageClass": storage_class["metadata"]["name"],
        "provisioner": provisioner,
        "cloneStrategy": profile_spec.get("cloneStrategy")
        or _advised_strategy(storage_class, key, snapshot_class),
        "dataImportCronSourceFormat": profile_spec.get("dataImportCronSourceFormat")
        or _advised_format(key, snapshot_class),
    }
    if snapshot_class:
        status["snapshotClass"] = snapshot_class
    written = [dict(item) for item in profile_spec.get("claimPropertySets") or ()]
    known = [
        {"accessModes": [capability.access_mode], "volumeMode": capability.volume_mode}
        for capability in CAPABILITIES.get(key, ())
    ]
    if sets := written or known:
        status["claimPropertySets"] = sets
    return status


def is_recognized(storage_class: Mapping[str, Any]) -> bool:
    """Whether CDI knows the class's provisioner (the profile's condition ``Recognized``)."""
    return provisioner_key(storage_class) in CAPABILITIES


def _advised_strategy(storage_class: Mapping[str, Any], key: str, snapshot_class: str) -> CloneStrategy:
    annotations = storage_class["metadata"].get("annotations") or {}
    annotated = annotations.get(CLONE_STRATEGY_ANNOTATION)
    if annotated in ("copy", "snapshot", "csi-clone"):
        return cast("CloneStrategy", annotated)
    strategy = CLONE_STRATEGIES.get(key) or ("snapshot" if snapshot_class else "copy")
    return "copy" if strategy == "snapshot" and not snapshot_class else strategy


def _advised_format(key: str, snapshot_class: str) -> SourceFormat:
    return SOURCE_FORMATS.get(key, "pvc") if snapshot_class else "pvc"
