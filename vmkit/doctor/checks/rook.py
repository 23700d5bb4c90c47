"""Rook's Ceph clusters: health, fullness, pools, what images can do, and snapshots.

Sources: rook pkg/apis/ceph.rook.io/v1/types.go; deploy/examples/csi/rbd/storageclass.yaml; the image features that
VMs profit from: ocs-operator pkg/util/storageclasses.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkit.cluster.resources import CEPH_BLOCK_POOLS, CEPH_CLUSTERS, STORAGE_CLASSES, VOLUME_SNAPSHOT_CLASSES
from vmkit.doctor.look import Look, Object, mapping, name_of, target_of
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.guard.storage import StorageHealth, decide_storage

FEATURES = ("exclusive-lock", "object-map", "fast-diff")
_RBD = ".rbd.csi.ceph.com"

OK = Kind("rook.healthy", Severity.OK, "A CephCluster is healthy.")
ABSENT = Kind(
    "rook.absent",
    Severity.INFO,
    "There is no CephCluster.",
    why="disks live on other storage, whose health vmkit cannot tell",
)
REFUSED = Kind(
    "rook.refuses",
    Severity.PROBLEM,
    "A CephCluster is in HEALTH_ERR, or more than 85 % full.",
    why="vmkit create refuses to put disks there; a full cluster stops every write, and VMs pause",
    mend="kubectl -n rook-ceph exec deploy/rook-ceph-tools -- ceph health detail",
)
WARNED = Kind(
    "rook.warns",
    Severity.WARNING,
    "A CephCluster is in HEALTH_WARN.",
    why="it works with less redundancy or room than it should",
    mend="kubectl -n rook-ceph exec deploy/rook-ceph-tools -- ceph health detail",
)
SILENT = Kind(
    "rook.silent",
    Severity.WARNING,
    "A CephCluster does not tell its health.",
    why="it may have been down for a while: Rook writes the health every minute",
    mend="kubectl -n rook-ceph logs deploy/rook-ceph-operator --tail=50",
)
POOL = Kind(
    "rook.pool-not-ready",
    Severity.PROBLEM,
    "A CephBlockPool is not Ready.",
    why="disks in that pool cannot be made",
    mend="kubectl -n rook-ceph describe cephblockpool",
)
FEATURELESS = Kind(
    "rook.image-features",
    Severity.INFO,
    "A storage class makes RBD images without exclusive-lock, object-map or fast-diff.",
    why="clones, snapshots and the size of disks take longer; images made before keep what they have",
    mend="make another storage class with imageFeatures: layering,fast-diff,object-map,deep-flatten,exclusive-lock"
    " (a class cannot be changed; kernels from 5.4 on)",
)
NO_SNAPSHOTS = Kind(
    "rook.no-snapshot-class",
    Severity.WARNING,
    "No VolumeSnapshotClass belongs to the driver of a storage class for RBD.",
    why="clones are copied byte by byte, which takes minutes in place of seconds; VMs cannot be snapshotted",
    mend="vmkit template render rook-storage, or rook deploy/examples/csi/rbd/snapshotclass.yaml",
)
NO_CLASS = Kind(
    "rook.no-class",
    Severity.WARNING,
    "There is a CephCluster, and no storage class uses RBD.",
    why="VMs cannot put disks on it",
    mend="rook deploy/examples/csi/rbd/storageclass.yaml",
)


def run(look: Look) -> Iterator[Finding]:
    clusters = look.list(CEPH_CLUSTERS)
    if not clusters:
        if look.knows(CEPH_CLUSTERS):
            yield ABSENT.found("there is no CephCluster in the cluster")
        return
    kinds = {
        StorageHealth.HEALTHY: OK,
        StorageHealth.DEGRADED: WARNED,
        StorageHealth.REFUSED: REFUSED,
        StorageHealth.UNKNOWN: SILENT,
    }
    for cluster in clusters:
        verdict = decide_storage([cluster], 0)
        target, text = target_of(cluster, "CephCluster"), verdict.reason.text
        if verdict.health is StorageHealth.HEALTHY:
            share = verdict.projected_ratio
            text = f"{target} is in HEALTH_OK, {'fullness unknown' if share is None else f'{share:.0%} full'}"
        yield kinds[verdict.health].found(text, target=target)
    for pool in look.list(CEPH_BLOCK_POOLS):
        phase = mapping(pool, "status").get("phase")
        if phase != "Ready":
            yield POOL.found(
                f"CephBlockPool {name_of(pool)} is in phase {phase or '(none)'}",
                target=target_of(pool, "CephBlockPool"),
            )
    yield from _classes(look)


def _classes(look: Look) -> Iterator[Finding]:
    classes = [one for one in look.list(STORAGE_CLASSES) if str(one.get("provisioner")).endswith(_RBD)]
    if not classes:
        if look.knows(STORAGE_CLASSES):
            yield NO_CLASS.found("no storage class uses RBD")
        return
    for one in classes:
        asked = str(mapping(one, "parameters").get("imageFeatures") or "").split(",")
        lacking = [feature for feature in FEATURES if feature not in asked]
        if lacking:
            yield FEATURELESS.found(
                f"storage class {name_of(one)} makes images without {', '.join(lacking)}",
                target=target_of(one, "StorageClass"),
            )
    snapshots = look.list(VOLUME_SNAPSHOT_CLASSES)
    if look.knows(VOLUME_SNAPSHOT_CLASSES):
        yield from _snapshots(classes, snapshots)


def _snapshots(classes: Sequence[Object], snapshots: Sequence[Object]) -> Iterator[Finding]:
    drivers = {one.get("driver") for one in snapshots}
    for driver in sorted({str(one["provisioner"]) for one in classes}):
        if driver not in drivers:
            yield NO_SNAPSHOTS.found(f"no VolumeSnapshotClass belongs to {driver}", target=f"CSIDriver {driver}")


CHECK = Check(
    "rook",
    "Health, fullness, pools, image features and snapshots of Rook's Ceph clusters.",
    (OK, ABSENT, REFUSED, WARNED, SILENT, POOL, FEATURELESS, NO_SNAPSHOTS, NO_CLASS),
    run,
)
