"""The disks of a fleet's VMs as API objects: DataVolume, claim and volume, all settled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.identity import claim_name, make_uid, vm_uid
from vmkit.lab.fleet.plan import GI, Disk, VmPlan
from vmkit.lab.rook.ceph import allocated_bytes
from vmkit.lab.rook.provisioning import bind, build_volume
from vmkit.units import format_bytes

Object = dict[str, Any]

IMAGES = "golden-images"
"""The namespace of the fleet's golden images."""

CLASS = "rook-ceph-block"
_LABELS = {
    "alerts.k8s.io/KubePersistentVolumeFillingUp": "disabled",
    "app": "containerized-data-importer",
    "app.kubernetes.io/component": "storage",
    "app.kubernetes.io/managed-by": "cdi-controller",
}


def build_data_volume_spec(disk: Disk) -> Object:
    """The spec of a disk's DataVolume, as its VM's dataVolumeTemplate has it."""
    storage: Object = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": format_bytes(disk.size_bytes)}},
        "storageClassName": CLASS,
        "volumeMode": "Block",
    }
    if disk.source == "clone":
        return {"sourceRef": {"kind": "DataSource", "name": disk.image, "namespace": IMAGES}, "storage": storage}
    if disk.source == "import":
        url = f"https://images.example.com/{disk.image}.qcow2"
        return {"source": {"http": {"url": url}}, "storage": storage}
    return {"source": {"blank": {}}, "storage": storage}


def describe_claim(plan: VmPlan, disk: Disk) -> Object:
    """What an instance's volumeStatus says of a disk's claim."""
    size = format_bytes(disk.size_bytes)
    return {
        "accessModes": ["ReadWriteMany"],
        "capacity": {"storage": size},
        "claimName": claim_name(plan, disk.name),
        "filesystemOverhead": "0",
        "requests": {"storage": size},
        "volumeMode": "Block",
    }


def build_disk(plan: VmPlan, disk: Disk, storage_class: Object, *, seed: int) -> tuple[Object, Object, Object]:
    """A finished disk: its DataVolume, its bound claim, its volume."""
    return _finish_disk(build_data_volume(plan, disk, seed=seed), disk, storage_class, seed=seed)


def _finish_disk(
    data_volume: Object, disk: Disk, storage_class: Object, *, seed: int
) -> tuple[Object, Object, Object]:
    metadata = data_volume["metadata"]
    name, namespace, created = metadata["name"], metadata["namespace"], metadata["creationTimestamp"]
    annotations = {
        "cdi.kubevirt.io/storage.contentType": "kubevirt",
        "cdi.kubevirt.io/storage.pod.phase": "Succeeded",
        "cdi.kubevirt.io/storage.usePopulator": "true",
    }
    if disk.source == "clone":
        annotations |= {"cdi.kubevirt.io/cloneType": "csi-clone", "cdi.kubevirt.io/clonePhase": "Succeeded"}
    owner = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": "DataVolume",
        "name": name,
        "uid": metadata["uid"],
    }
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": make_uid(seed, "pvc", namespace, name),
            "creationTimestamp": created,
            "labels": dict(_LABELS),
            "annotations": annotations,
            "finalizers": ["kubernetes.io/pvc-protection"],
            "ownerReferences": [owner],
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": format_bytes(disk.size_bytes)}},
            "storageClassName": CLASS,
            "volumeMode": "Block",
        },
    }
    volume = build_volume(claim, storage_class, allocated=held_bytes(disk))
    volume["metadata"] |= {"uid": make_uid(seed, "pv", namespace, name), "creationTimestamp": created}
    bind(claim, volume, str(storage_class["provisioner"]))
    data_volume["status"] = _finished_status(name, created)
    return data_volume, claim, volume


def held_bytes(disk: Disk) -> int:
    """What a grown disk really holds: a clone has diverged from its image, a data disk has data on it."""
    return allocated_bytes(disk.size_bytes, "clone" if disk.source == "clone" else "import")


def build_data_volume(plan: VmPlan, disk: Disk, *, seed: int) -> Object:
    """A disk's DataVolume without any status, as the VM controller creates it."""
    name = claim_name(plan, disk.name)
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {
            "name": name,
            "namespace": plan.namespace,
            "uid": make_uid(seed, "dv", plan.namespace, name),
            "creationTimestamp": format_time(plan.created),
            "generation": 1,
            "labels": {"kubevirt.io/created-by": vm_uid(seed, plan)},
            "annotations": {"cdi.kubevirt.io/storage.usePopulator": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "kubevirt.io/v1",
                    "blockOwnerDeletion": True,
                    "controller": True,
                    "kind": "VirtualMachine",
                    "name": plan.name,
                    "uid": vm_uid(seed, plan),
                }
            ],
        },
        "spec": build_data_volume_spec(disk),
    }


def _finished_status(name: str, at: str) -> Object:
    times = {"lastTransitionTime": at, "lastHeartbeatTime": at}
    bound = {"type": "Bound", "status": "True", "reason": "Bound", "message": f"PVC {name} Bound"}
    running = {"type": "Running", "status": "False", "reason": "Completed", "message": "Import Complete"}
    return {
        "claimName": name,
        "conditions": [bound | times, {"type": "Ready", "status": "True"} | times, running | times],
        "phase": "Succeeded",
        "progress": "100.0%",
    }


GOLDEN = ("debian-13", "ubuntu-24-04", "fedora-43", "centos-stream-10", "windows-2025")
"""The images that a fleet's clones come from."""


def build_golden_images(storage_class: Object, at: datetime, *, seed: int) -> list[Object]:
    """The namespace of the golden images, and of each its finished disk and the DataSource that stands for it."""
    created = format_time(at)
    built: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": IMAGES,
                "creationTimestamp": created,
                "labels": {"kubernetes.io/metadata.name": IMAGES},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
    ]
    for image in GOLDEN:
        disk = Disk("", 60 * GI if image.startswith("windows") else 10 * GI, "import", image)
        volume, claim, persistent = _finish_disk(
            _build_image_volume(image, disk, created, seed), disk, storage_class, seed=seed
        )
        source: Object = {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataSource",
            "metadata": {"name": image, "namespace": IMAGES, "creationTimestamp": created},
            "spec": {"source": {"pvc": {"name": image, "namespace": IMAGES}}},
        }
        built += [persistent, claim, volume, source]
    return built


def _build_image_volume(image: str, disk: Disk, created: str, seed: int) -> Object:
    spec = build_data_volume_spec(disk)
    spec["source"] = {"registry": {"url": f"docker://quay.io/containerdisks/{image}"}}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {
            "name": image,
            "namespace": IMAGES,
            "uid": make_uid(seed, "dv", IMAGES, image),
            "creationTimestamp": created,
            "generation": 1,
            "annotations": {"cdi.kubevirt.io/storage.usePopulator": "true"},
        },
        "spec": spec,
    }
