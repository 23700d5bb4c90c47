"""How a claim becomes a volume: pure builders of PersistentVolumes and of a bound claim's fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkit.lab.rook.classes import CEPHFS, LOCAL_PATH, NAMESPACE

Object = dict[str, Any]

ALLOCATED = "lab.vmkit.io/allocated-bytes"
"""On a PersistentVolume: the bytes it really holds in Ceph, before replication."""

_PROVISIONER_KEYS = ("volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner")


def is_rbd(provisioner: str) -> bool:
    """Whether a provisioner is a Ceph block driver, whatever namespace its operator lives in."""
    return provisioner.endswith("rbd.csi.ceph.com")


def is_ceph(provisioner: str) -> bool:
    """Whether a provisioner stores in Ceph."""
    return provisioner.endswith((".rbd.csi.ceph.com", ".cephfs.csi.ceph.com"))


def find_refusal(claim_spec: Mapping[str, Any], provisioner: str) -> str:
    """Why a provisioner would not make the volume a claim asks for, in its own words; "" if it would.

    Source: ceph-csi internal/rbd/controllerserver.go, internal/cephfs/controllerserver.go; rancher
    local-path-provisioner.
    """
    modes = set(claim_spec.get("accessModes") or ())
    shared = bool(modes & {"ReadWriteMany", "ReadOnlyMany"})
    volume_mode = claim_spec.get("volumeMode") or "Filesystem"
    if is_rbd(provisioner) and "ReadWriteMany" in modes and volume_mode == "Filesystem":
        return (
            "rpc error: code = InvalidArgument desc = "
            "multi node access modes are only supported on rbd `block` type volumes"
        )
    if provisioner.endswith("cephfs.csi.ceph.com") and volume_mode == "Block":
        return "rpc error: code = InvalidArgument desc = block volume not supported"
    if provisioner == LOCAL_PATH:
        if shared:
            return "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
        if volume_mode == "Block":
            return "block volume mode is not supported by this provisioner"
    return ""


def build_volume(
    claim: Mapping[str, Any], storage_class: Mapping[str, Any], *, allocated: int, node: str = ""
) -> Object:
    """The PersistentVolume that a driver makes for a claim.

    Args:
        claim: the claim, with its uid.
        storage_class: its class.
        allocated: what the volume holds at once, in bytes.
        node: the machine a local volume lives on.
    """
    metadata, spec = claim["metadata"], claim["spec"]
    provisioner = str(storage_class["provisioner"])
    uid = metadata["uid"]
    name = f"pvc-{uid}"
    volume_mode = spec.get("volumeMode") or "Filesystem"
    built: Object = {
        "accessModes": list(spec.get("accessModes") or ()),
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "resourceVersion": metadata.get("resourceVersion", ""),
            "uid": uid,
        },
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": volume_mode,
    }
    if provisioner == LOCAL_PATH:
        built["hostPath"] = {
            "path": f"/opt/local-path-provisioner/{name}_{metadata['namespace']}_{metadata['name']}",
            "type": "DirectoryOrCreate",
        }
        built["nodeAffinity"] = {
            "required": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                ]
            }
        }
    else:
        built["csi"] = _csi_source(provisioner, storage_class, uid, volume_mode)
    annotations = {"pv.kubernetes.io/provisioned-by": provisioner}
    if is_ceph(provisioner):
        annotations[ALLOCATED] = str(allocated)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations, "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": built,
        "status": {"phase": "Bound"},
    }


def _csi_source(provisioner: str, storage_class: Mapping[str, Any], uid: str, volume_mode: str) -> Object:
    parameters = storage_class.get("parameters") or {}
    attributes = {key: value for key, value in parameters.items() if not key.startswith("csi.storage.k8s.io/")} | {
        "storage.kubernetes.io/csiProvisionerIdentity": f"1-{provisioner}"
    }
    if provisioner == CEPHFS or provisioner.endswith("cephfs.csi.ceph.com"):
        attributes["subvolumeName"] = f"csi-vol-{uid}"
    else:
        attributes |= {"imageName": f"csi-vol-{uid}", "journalPool": parameters.get("pool", "")}
    part = "rbd" if is_rbd(provisioner) else "cephfs"
    namespace = parameters.get("csi.storage.k8s.io/node-stage-secret-namespace", NAMESPACE)
    source: Object = {
        "driver": provisioner,
        "nodeStageSecretRef": {
            "name": parameters.get("csi.storage.k8s.io/node-stage-secret-name", f"rook-csi-{part}-node"),
            "namespace": namespace,
        },
        "volumeAttributes": attributes,
        "volumeHandle": f"0001-0009-{NAMESPACE}-0000000000000002-{uid}",
    }
    if part == "rbd" and volume_mode == "Filesystem":
        source["fsType"] = parameters.get("csi.storage.k8s.io/fstype", "ext4")
    return source


def bind(claim: Object, volume: Mapping[str, Any], provisioner: str) -> Object:
    """Fills in what binding a claim to a volume sets on the claim, in place, and returns it."""
    annotations = claim["metadata"].setdefault("annotations", {})
    annotations["pv.kubernetes.io/bind-completed"] = "yes"
    annotations["pv.kubernetes.io/bound-by-controller"] = "yes"
    for key in _PROVISIONER_KEYS:
        annotations[key] = provisioner
    claim["spec"]["volumeName"] = volume["metadata"]["name"]
    claim["status"] = {
        "accessModes": list(volume["spec"]["accessModes"]),
        "capacity": {"storage": volume["spec"]["capacity"]["storage"]},
        "phase": "Bound",
    }
    return claim
