"""The claim that a DataVolume asks for: modes from the StorageProfile, size with the filesystem's overhead.

Source: CDI pkg/controller/datavolume/util.go (renderPvcSpec, getDefaultVolumeAndAccessMode, GetRequiredSpace).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from vmkit.units import format_bytes, parse_bytes

FILESYSTEM_OVERHEAD = 0.06
"""What CDI adds to a disk that becomes a file; CDIConfig.status.filesystemOverhead.global."""

_ALIGNMENT_BYTES = 1024 * 1024


class ClaimNotValidError(Exception):
    """The DataVolume cannot become a claim yet; the text is the message of the event ``ErrClaimNotValid``."""


def build_claim_spec(
    spec: Mapping[str, Any],
    *,
    storage_class: Mapping[str, Any] | None,
    profile_status: Mapping[str, Any] | None,
    source_bytes: int | None = None,
    overhead: float = FILESYSTEM_OVERHEAD,
) -> dict[str, Any]:
    """The PersistentVolumeClaim spec of a DataVolume.

    Args:
        spec: the DataVolume's spec.
        storage_class: the class it names, else the default one; None if there is none.
        profile_status: the status of that class's StorageProfile.
        source_bytes: the size of the claim or snapshot it clones; used where no size is asked for.
        overhead: the share of a file system that is not the disk's (0 to 1).

    Raises:
        ClaimNotValidError: modes are missing and no profile knows them, or there is no size.
    """
    if spec.get("pvc") is not None:
        claim: dict[str, Any] = copy.deepcopy(dict(spec["pvc"]))
        if "storageClassName" not in claim and storage_class is not None:
            claim["storageClassName"] = storage_class["metadata"]["name"]
        return claim
    storage = copy.deepcopy(dict(spec.get("storage") or {}))
    claim = storage
    if spec.get("contentType") == "archive":
        if claim.get("volumeMode") == "Block":
            raise ClaimNotValidError("DataVolume with ContentType Archive cannot have block volumeMode")
        claim["volumeMode"] = "Filesystem"
    if storage_class is None:
        if not claim.get("accessModes"):
            raise ClaimNotValidError(
                "DataVolume.storage spec is missing accessMode and no storageClass to choose profile"
            )
    else:
        claim["storageClassName"] = storage_class["metadata"]["name"]
        _fill_modes(claim, storage_class["metadata"]["name"], profile_status or {})
    _fill_size(claim, source_bytes, overhead)
    return claim


def _fill_modes(claim: dict[str, Any], class_name: str, profile_status: Mapping[str, Any]) -> None:
    sets = profile_status.get("claimPropertySets") or []
    modes, volume_mode = claim.get("accessModes"), claim.get("volumeMode")
    if not modes and not volume_mode:
        if not sets:
            raise ClaimNotValidError(
                "DataVolume.storage spec is missing accessMode and volumeMode,"
                f" cannot get access mode from StorageProfile {class_name}"
            )
        claim["accessModes"], claim["volumeMode"] = list(sets[0]["accessModes"]), sets[0]["volumeMode"]
    elif not modes:
        if not sets:
            raise ClaimNotValidError(
                "DataVolume.storage spec is missing accessMode"
                f" and cannot get access mode from StorageProfile {class_name}"
            )
        fitting = next((item for item in sets if item["volumeMode"] == volume_mode), sets[0])
        claim["accessModes"] = list(fitting["accessModes"])
    elif not volume_mode and sets:
        fitting = next((item for item in sets if set(item["accessModes"]) & set(modes)), sets[0])
        claim["volumeMode"] = fitting["volumeMode"]


def _fill_size(claim: dict[str, Any], source_bytes: int | None, overhead: float) -> None:
    requests = dict((claim.get("resources") or {}).get("requests") or {})
    asked = requests.get("storage")
    if asked is None:
        if source_bytes is None:
            raise ClaimNotValidError("Datavolume Spec is not valid - missing storage size")
        # A source's size already holds the overhead of its own file system.
        requests["storage"] = format_bytes(source_bytes)
    elif claim.get("volumeMode", "Filesystem") == "Filesystem":
        requests["storage"] = str(required_bytes(parse_bytes(asked), overhead))
    else:
        requests["storage"] = format_bytes(parse_bytes(asked))
    claim["resources"] = {**(claim.get("resources") or {}), "requests": requests}


def required_bytes(disk_bytes: int, overhead: float) -> int:
    """The size of a file system that holds a disk of ``disk_bytes``: aligned to 1 MiB, divided by what is left."""
    aligned = -(-disk_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return math.ceil(aligned / (1 - overhead))
