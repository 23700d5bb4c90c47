"""The disks of a fleet's VMs as API objects: DataVolume, claim and volume, all settled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.objects import claim_name, make_uid, vm_uid
from vmkit.lab.fleet.plan import Disk, VmPlan
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
    volume_object = build_data_volume(plan, disk, seed=seed)
    name, created = claim_name(plan, disk.name), format_time(plan.created)
    annotations = {
        "cdi.kubevirt.io/storage.contentType": "kubevirt",
        "cdi.kubevirt.io/storage.pod.phase": "Succeeded",
        "cdi.kubevirt.io/storage.usePopulator": "true",
    }
    if disk.source == "clone":
        annotations |= {"cdi.kubevirt.io/cloneType": "csi-clone", "cdi.kubevirt.io/clonePhase": "Succeeded"}
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": plan.namespace,
            "uid": make_uid(seed, "pvc", plan.namespace, name),
            "creationTimestamp": created,
            "labels": dict(_LABELS),
            "annotations": annotations,
            "finalizers": ["kubernetes.io/pvc-protection"],
            "ownerReferences": [
                {
                    "apiVersion": "cdi.kubevirt.io/v1beta1",
                    "blockOwnerDeletion": True,
                    "controller": True,
                    "kind": "DataVolume",
                    "name": name,
                    "uid": volume_object["metadata"]["uid"],
                }
            ],
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": format_bytes(disk.size_bytes)}},
            "storageClassName": CLASS,
            "volumeMode": "Block",
        },
    }
    held = allocated_bytes(disk.size_bytes, _origin(disk))
    volume = build_volume(claim, storage_class, allocated=held)
    volume["metadata"] |= {"uid": make_uid(seed, "pv", plan.namespace, name), "creationTimestamp": created}
    bind(claim, volume, str(storage_class["provisioner"]))
    volume_object["status"] = _finished_status(name, created)
    return volume_object, claim, volume


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


def _origin(disk: Disk) -> str:
    # A grown disk holds more than a fresh one: a clone has diverged from its image, a data disk has data on it.
    return "clone" if disk.source == "clone" else "import"


def _finished_status(name: str, at: str) -> Object:
    return {
        "claimName": name,
        "conditions": [
            {"type": "Bound", "status": "True", "reason": "Bound", "message": f"PVC {name} Bound", "lastTransitionTime": at, "lastHeartbeatTime": at},
            {"type": "Ready", "status": "True", "lastTransitionTime": at, "lastHeartbeatTime": at},
            {"type": "Running", "status": "False", "reason": "Completed", "message": "Import Complete", "lastTransitionTime": at, "lastHeartbeatTime": at},
        ],
        "phase": "Succeeded",
        "progress": "100.0%",
    }  # fmt: skip


def build_golden_images(at: datetime) -> list[Object]:
    """The claims' origin: a DataSource for each image, over a claim of its own that blank storage stands in for."""
    created = format_time(at)
    images = ("debian-13", "ubuntu-24-04", "fedora-43", "centos-stream-10", "windows-2025")
    built: list[Object] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": IMAGES}}]
    for image in images:
        size = "60Gi" if image.startswith("windows") else "10Gi"
        built.append(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataVolume",
                "metadata": {"name": image, "namespace": IMAGES, "creationTimestamp": created},
                "spec": {
                    "source": {"registry": {"url": f"docker://quay.io/containerdisks/{image}"}},
                    "storage": {"resources": {"requests": {"storage": size}}, "storageClassName": CLASS},
                },
            }
        )
        built.append(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": image, "namespace": IMAGES, "creationTimestamp": created},
                "spec": {"source": {"pvc": {"name": image, "namespace": IMAGES}}},
            }
        )
    return built
