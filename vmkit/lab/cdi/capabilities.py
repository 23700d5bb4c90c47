"""What CDI knows about storage provisioners: the access and volume modes it offers, how it clones, how it keeps
golden images.

Source: CDI pkg/storagecapabilities/storagecapabilities.go. A provisioner that is not listed is unknown to CDI: its
StorageProfile stays empty until somebody fills in ``spec.claimPropertySets``. The keys are literal, so a Rook
operator that runs in a namespace other than ``rook-ceph`` (provisioner ``<namespace>.rbd.csi.ceph.com``) is
unknown too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]
VolumeMode = Literal["Block", "Filesystem"]
CloneStrategy = Literal["copy", "snapshot", "csi-clone"]
SourceFormat = Literal["pvc", "snapshot"]

RWO: AccessMode = "ReadWriteOnce"
ROX: AccessMode = "ReadOnlyMany"
RWX: AccessMode = "ReadWriteMany"
BLOCK: VolumeMode = "Block"
FILESYSTEM: VolumeMode = "Filesystem"


class Capability(NamedTuple):
    """One pair of modes a provisioner offers; the first of a list is the one CDI prefers."""

    access_mode: AccessMode
    volume_mode: VolumeMode


_SHARED_BLOCK = (Capability(RWX, BLOCK), Capability(RWO, BLOCK), Capability(RWO, FILESYSTEM))
_SINGLE_BLOCK = (Capability(RWO, BLOCK), Capability(RWO, FILESYSTEM))
_ALL_BUT_SHARED_FILES = (
    Capability(RWX, BLOCK),
    Capability(RWO, BLOCK),
    Capability(RWO, FILESYSTEM),
    Capability(ROX, BLOCK),
    Capability(ROX, FILESYSTEM),
)
_ALL_FILES = (Capability(RWX, FILESYSTEM), Capability(RWO, FILESYSTEM), Capability(ROX, FILESYSTEM))
_SHARED_FILES = (Capability(RWX, FILESYSTEM), Capability(RWO, FILESYSTEM))
_ONLY_SHARED_FILES = (Capability(RWX, FILESYSTEM),)
_ONLY_SINGLE_BLOCK = (Capability(RWO, BLOCK),)
_ONLY_SINGLE_FILES = (Capability(RWO, FILESYSTEM),)

CAPABILITIES: Mapping[str, tuple[Capability, ...]] = {
    "kubevirt.io.hostpath-provisioner": _ONLY_SINGLE_FILES,
    "kubevirt.io/hostpath-provisioner": _ONLY_SINGLE_FILES,
    "k8s.io/minikube-hostpath": _ONLY_SINGLE_FILES,
    "nfs.csi.k8s.io": _ONLY_SHARED_FILES,
    "k8s-sigs.io/nfs-subdir-external-provisioner": _ONLY_SHARED_FILES,
    "kubernetes.io/rbd": _SHARED_BLOCK,
    "rbd.csi.ceph.com": _SHARED_BLOCK,
    "rook-ceph.rbd.csi.ceph.com": _SHARED_BLOCK,
    "openshift-storage.rbd.csi.ceph.com": _SHARED_BLOCK,
    "cephfs.csi.ceph.com": _SHARED_FILES,
    "rook-ceph.cephfs.csi.ceph.com": _SHARED_FILES,
    "openshift-storage.cephfs.csi.ceph.com": _SHARED_FILES,
    "linstor.csi.linbit.com": _ALL_BUT_SHARED_FILES,
    "csi-isilon.dellemc.com": _ALL_FILES,
    "kubernetes.io/aws-ebs": _ONLY_SINGLE_BLOCK,
    "ebs.csi.aws.com": _ONLY_SINGLE_BLOCK,
    "efs.csi.aws.com": _SHARED_FILES,
    "kubernetes.io/azure-disk": _ONLY_SINGLE_BLOCK,
    "disk.csi.azure.com": _ONLY_SINGLE_BLOCK,
    "file.csi.azure.com": _ONLY_SHARED_FILES,
    "kubernetes.io/gce-pd": _ONLY_SINGLE_BLOCK,
    "pd.csi.storage.gke.io": _ONLY_SINGLE_BLOCK,
    "csi.hpe.com": _SHARED_BLOCK,
    "hspc.csi.hitachi.com": _SHARED_BLOCK,
    "spectrumscale.csi.ibm.com": _SHARED_FILES,
    "block.csi.ibm.com": _SHARED_BLOCK,
    "topolvm.io": _SINGLE_BLOCK,
    "topolvm.cybozu.com": _SINGLE_BLOCK,
    "cinder.csi.openstack.org": _SINGLE_BLOCK,
    "manila.csi.openstack.org": _ONLY_SHARED_FILES,
    "csi.vsphere.vmware.com": _SINGLE_BLOCK,
    "kubesan.gitlab.io": (
        Capability(RWX, BLOCK),
        Capability(ROX, BLOCK),
        Capability(RWO, BLOCK),
        Capability(RWO, FILESYSTEM),
    ),
    "driver.longhorn.io": _ONLY_SINGLE_BLOCK,
    "driver.longhorn.io/migratable": (Capability(RWX, BLOCK), Capability(RWO, BLOCK)),
    "blockvolume.csi.oraclecloud.com": _SHARED_BLOCK,
}

CLONE_STRATEGIES: Mapping[str, CloneStrategy] = {
    "rook-ceph.rbd.csi.ceph.com": "csi-clone",
    "openshift-storage.rbd.csi.ceph.com": "csi-clone",
    "cephfs.csi.ceph.com": "csi-clone",
    "rook-ceph.cephfs.csi.ceph.com": "csi-clone",
    "openshift-storage.cephfs.csi.ceph.com": "csi-clone",
    "csi.hpe.com": "csi-clone",
    "hspc.csi.hitachi.com": "csi-clone",
    "spectrumscale.csi.ibm.com": "csi-clone",
    "block.csi.ibm.com": "csi-clone",
    "kubesan.gitlab.io": "csi-clone",
    "topolvm.io": "copy",
    "topolvm.cybozu.com": "copy",
    "pd.csi.storage.gke.io": "snapshot",
}

SOURCE_FORMATS: Mapping[str, SourceFormat] = {
    "rook-ceph.rbd.csi.ceph.com": "snapshot",
    "openshift-storage.rbd.csi.ceph.com": "snapshot",
    "pd.csi.storage.gke.io": "snapshot",
}


def provisioner_key(storage_class: Mapping[str, Any]) -> str:
    """The key of these tables for a StorageClass: its provisioner, refined by its parameters where the driver's
    modes hang on them."""
    provisioner = str(storage_class.get("provisioner", ""))
    if provisioner == "driver.longhorn.io":
        parameters = storage_class.get("parameters") or {}
        if parameters.get("migratable") == "true":
            return "driver.longhorn.io/migratable"
    return provisioner
