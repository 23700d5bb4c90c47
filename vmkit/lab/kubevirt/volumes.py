"""A VM's disks: making its DataVolumes, and knowing how far they and their claims are."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.kubevirt.world import CREATED_BY, VIRT_CONTROLLER, World, claim_of, owner_reference

Object = dict[str, Any]

_READY: Final = ("Succeeded", "WaitForFirstConsumer", "PendingPopulation")
IMMEDIATE: Final = "kubevirt.io/immediate-data-volume-creation"
_SNAPSHOT_CLASSES: Final = ("snapshot.storage.k8s.io", "volumesnapshotclasses")


@dataclass(frozen=True, slots=True)
class Disks:
    """How far a VM's disks are.

    Attributes:
        data_volumes: the DataVolumes that its volumes refer to.
        unbound: whether a claim is there and not bound.
        ready: whether every DataVolume of its templates is far enough to start.
    """

    data_volumes: tuple[Object, ...]
    unbound: bool
    ready: bool


def vm_volumes(vm: Object) -> list[Object]:
    """The volumes of a VM's template."""
    return (vm["spec"].get("template") or {}).get("spec", {}).get("volumes") or []


def survey(world: World, vm: Object) -> Disks:
    """Looks at the DataVolumes and claims behind a VM's volumes."""
    namespace = vm["metadata"]["namespace"]
    found: list[Object] = []
    unbound = False
    for volume in vm_volumes(vm):
        name = claim_of(volume)
        if not name:
            continue
        data_volume = world.look_up("cdi.kubevirt.io", "datavolumes", namespace, name)
        if data_volume is not None:
            found.append(data_volume)
        claim = world.look_up("", "persistentvolumeclaims", namespace, name)
        if claim is not None and (claim.get("status") or {}).get("phase") != "Bound":
            unbound = True
    by_name = {each["metadata"]["name"]: each for each in found}
    ready = True
    for template in vm["spec"].get("dataVolumeTemplates") or []:
        name = (template.get("metadata") or {}).get("name", "")
        data_volume = by_name.get(name) or world.look_up("cdi.kubevirt.io", "datavolumes", namespace, name)
        if data_volume is not None:
            ready = ready and (data_volume.get("status") or {}).get("phase", "") in _READY
        else:
            # A finished DataVolume may have been collected; its claim is what counts.
            claim = world.look_up("", "persistentvolumeclaims", namespace, name)
            ready = ready and claim is not None and (claim.get("status") or {}).get("phase") == "Bound"
    return Disks(tuple(found), unbound, ready)


def create_data_volumes(world: World, vm: Object) -> None:
    """Makes the DataVolumes of a VM's templates that are not there yet."""
    rtype = world.builtin("cdi.kubevirt.io", "datavolumes")
    namespace = vm["metadata"]["namespace"]
    if rtype is None:
        return
    for template in vm["spec"].get("dataVolumeTemplates") or []:
        metadata = template.get("metadata") or {}
        name = metadata.get("name", "")
        if not name or world.store.exists(rtype, namespace, name):
            continue
        if world.look_up("", "persistentvolumeclaims", namespace, name) is not None:
            continue
        annotations = {**(metadata.get("annotations") or {}), "cdi.kubevirt.io/allowClaimAdoption": "true"}
        labels = {**(metadata.get("labels") or {}), CREATED_BY: vm["metadata"]["uid"]}
        world.store.create(
            rtype,
            {
                "apiVersion": rtype.api_version,
                "kind": rtype.kind,
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": labels,
                    "annotations": annotations,
                    "ownerReferences": [owner_reference(vm, "VirtualMachine")],
                },
                "spec": copy.deepcopy(template.get("spec") or {}),
            },
            manager=VIRT_CONTROLLER,
        )
        world.record(vm, "SuccessfulDataVolumeCreate", f"Created DataVolume {name}")


def snapshot_statuses(world: World, vm: Object) -> list[Object]:
    """status.volumeSnapshotStatuses: which volumes a snapshot can include, and why not (pkg/storage/snapshot)."""
    namespace = vm["metadata"]["namespace"]
    found = []
    for volume in vm_volumes(vm):
        name = volume.get("name", "")
        enabled, reason = _snapshot_status(world, namespace, volume, name)
        entry: Object = {"enabled": enabled, "name": name}
        if reason:
            entry["reason"] = reason
        found.append(entry)
    return found


def _snapshot_status(world: World, namespace: str, volume: Object, name: str) -> tuple[bool, str]:
    claim_name = claim_of(volume) if "persistentVolumeClaim" in volume or "dataVolume" in volume else ""
    if not claim_name:
        return False, f"Snapshot is not supported for this volumeSource type [{name}]"
    storage_class = ""
    claim = world.look_up("", "persistentvolumeclaims", namespace, claim_name)
    if claim is not None:
        storage_class = str((claim.get("spec") or {}).get("storageClassName", ""))
    else:
        data_volume = world.look_up("cdi.kubevirt.io", "datavolumes", namespace, claim_name)
        if data_volume is None:
            return False, f"PVC not found [{name}]"
        spec = data_volume.get("spec") or {}
        storage_class = str((spec.get("storage") or spec.get("pvc") or {}).get("storageClassName", ""))
    if not storage_class:
        return False, f"Cannot determine StorageClass [{name}]"
    found = world.look_up("storage.k8s.io", "storageclasses", "", storage_class)
    classes = world.builtin(*_SNAPSHOT_CLASSES)
    if found is not None and classes is not None:
        for entry in world.store.entries(classes):
            if entry.decode().get("driver") == found.get("provisioner"):
                return True, ""
    return (
        False,
        "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass "
        f"[{storage_class}] [{name}]",
    )
