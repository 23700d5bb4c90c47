"""The storage a fresh practice cluster offers: Rook's block and file classes, and a plain local one.

Source of names, parameters and secrets: Rook deploy/examples/csi/{rbd,cephfs}/{storageclass,snapshotclass}.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAMESPACE = "rook-ceph"
RBD = "rook-ceph.rbd.csi.ceph.com"
CEPHFS = "rook-ceph.cephfs.csi.ceph.com"
LOCAL_PATH = "rancher.io/local-path"
BLOCK_POOL = "replicapool"
FILESYSTEM = "myfs"
OBJECT_STORE = "my-store"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
DEFAULT_VIRT_CLASS = "storageclass.kubevirt.io/is-default-virt-class"

Object = dict[str, Any]


def build_storage_classes() -> list[Object]:
    """rook-ceph-block (the default for VMs), rook-cephfs, and local-path (the cluster's plain default)."""
    return [
        _storage_class(
            "rook-ceph-block",
            RBD,
            {
                "clusterID": NAMESPACE,
                "pool": BLOCK_POOL,
                "imageFormat": "2",
                "imageFeatures": "layering,fast-diff,object-map,deep-flatten,exclusive-lock",
                **_secrets("rbd"),
                "csi.storage.k8s.io/fstype": "ext4",
            },
            annotations={DEFAULT_VIRT_CLASS: "true"},
        ),
        _storage_class(
            "rook-cephfs",
            CEPHFS,
            {
                "clusterID": NAMESPACE,
                "fsName": FILESYSTEM,
                "pool": f"{FILESYSTEM}-replicated",
                **_secrets("cephfs"),
            },
        ),
        _storage_class(
            "local-path",
            LOCAL_PATH,
            {},
            annotations={DEFAULT_CLASS: "true"},
            binding="WaitForFirstConsumer",
            expandable=False,
        ),
    ]


def build_snapshot_classes() -> list[Object]:
    """One VolumeSnapshotClass for each of Rook's drivers."""
    return [
        {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotClass",
            "metadata": {"name": name},
            "driver": driver,
            "parameters": {
                "clusterID": NAMESPACE,
                "csi.storage.k8s.io/snapshotter-secret-name": f"rook-csi-{part}-provisioner",
                "csi.storage.k8s.io/snapshotter-secret-namespace": NAMESPACE,
            },
            "deletionPolicy": "Delete",
        }
        for name, driver, part in (
            ("csi-rbdplugin-snapclass", RBD, "rbd"),
            ("csi-cephfsplugin-snapclass", CEPHFS, "cephfs"),
        )
    ]


def build_csi_drivers() -> list[Object]:
    """The CSIDriver objects of both drivers; local-path is none, which is why CDI fills its claims without
    populators."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": name},
            "spec": {
                "attachRequired": True,
                "fsGroupPolicy": "File",
                "podInfoOnMount": False,
                "requiresRepublish": False,
                "seLinuxMount": True,
                "storageCapacity": False,
                "volumeLifecycleModes": ["Persistent"],
            },
        }
        for name in (RBD, CEPHFS)
    ]


def _storage_class(
    name: str,
    provisioner: str,
    parameters: dict[str, str],
    *,
    annotations: dict[str, str] | None = None,
    binding: str = "Immediate",
    expandable: bool = True,
) -> Object:
    metadata: Object = {"name": name}
    if annotations:
        metadata["annotations"] = annotations
    built: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": metadata,
        "provisioner": provisioner,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": binding,
    }
    if parameters:
        built["parameters"] = parameters
    if expandable:
        built["allowVolumeExpansion"] = True
    return built


def _secrets(part: str) -> dict[str, str]:
    secrets = {}
    for stage, who in (
        ("provisioner", "provisioner"),
        ("controller-expand", "provisioner"),
        ("controller-publish", "provisioner"),
        ("node-stage", "node"),
    ):
        secrets[f"csi.storage.k8s.io/{stage}-secret-name"] = f"rook-csi-{part}-{who}"
        secrets[f"csi.storage.k8s.io/{stage}-secret-namespace"] = NAMESPACE
    return secrets


def find_default_class(
    storage_classes: Iterable[Mapping[str, Any]], *, for_vm_disks: bool = True
) -> Mapping[str, Any] | None:
    """The class a disk gets when none is named: the default virtualization class, else the cluster's default.

    Of several marked ones the newest wins, then the first by name (CDI pkg/controller/common
    GetStorageClassByNameWithVirtFallback).
    """
    classes = list(storage_classes)
    for annotation in (DEFAULT_VIRT_CLASS, DEFAULT_CLASS) if for_vm_disks else (DEFAULT_CLASS,):
        marked = [
            item for item in classes if (item["metadata"].get("annotations") or {}).get(annotation) == "true"
        ]
        marked.sort(key=lambda item: str(item["metadata"]["name"]))
        marked.sort(key=lambda item: str(item["metadata"].get("creationTimestamp", "")), reverse=True)
        if marked:
            return marked[0]
    return None
