"""What the API server's storage plugins do to claims: the default class, protection, and the rules of resizing.

Source: kube-apiserver plugins DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize.
"""

from __future__ import annotations

from vmkit.errors import QuantityError
from vmkit.lab.resources import AdmissionRequest, Object, Registry
from vmkit.lab.rook.classes import find_default_class
from vmkit.lab.rook.csi import CLASSES, PROTECTION
from vmkit.lab.status import Cause, forbidden, invalid
from vmkit.units import parse_bytes


def default_claim(registry: Registry, request: AdmissionRequest, obj: Object) -> Object:
    """Gives a new claim without a class the cluster's default one, and protects it while pods use it."""
    if request.operation != "CREATE" or request.subresource:
        return obj
    spec = obj.setdefault("spec", {})
    if isinstance(spec, dict) and spec.get("storageClassName") is None:
        default = find_default_class(request.store.list(registry.get(*CLASSES)), for_vm_disks=False)
        if default is not None:
            spec["storageClassName"] = default["metadata"]["name"]
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if PROTECTION not in finalizers:
        finalizers.append(PROTECTION)
    return obj


def check_resize(registry: Registry, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Refuses to shrink a claim, and to grow one whose class cannot.

    Raises:
        ApiError: 422 or 403.
    """
    if request.operation != "UPDATE" or request.subresource or old is None:
        return
    before, after = _requested(old), _requested(obj)
    if before is None or after is None or before == after:
        return
    name = obj["metadata"]["name"]
    capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if after < before and (capacity is None or after < parse_bytes(capacity)):
        cause = Cause(
            "FieldValueForbidden",
            "Forbidden: field can not be less than status.capacity",
            "spec.resources.requests.storage",
        )
        raise invalid("", "PersistentVolumeClaim", name, [cause])
    if after > before:
        class_name = (old.get("spec") or {}).get("storageClassName") or ""
        storage_class = request.store.find(registry.get(*CLASSES), "", class_name) if class_name else None
        if storage_class is None or not storage_class.get("allowVolumeExpansion"):
            raise forbidden(
                "",
                "persistentvolumeclaims",
                name,
                "only dynamically provisioned pvc can be resized and "
                "the storageclass that provisions the pvc must support resize",
            )


def _requested(claim: Object) -> int | None:
    asked = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    try:
        return None if asked is None else parse_bytes(asked)
    except QuantityError:
        return None
