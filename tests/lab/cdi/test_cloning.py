import pytest

from vmkit.lab.cdi.cloning import choose_claim_clone, choose_snapshot_clone, claim_bytes

RBD = {"provisioner": "rook-ceph.rbd.csi.ceph.com", "allowVolumeExpansion": True}
FS = {"provisioner": "rook-ceph.cephfs.csi.ceph.com", "allowVolumeExpansion": True}
STIFF = {"provisioner": "rook-ceph.rbd.csi.ceph.com"}
PROFILE = {"cloneStrategy": "csi-clone", "snapshotClass": "s"}


def claim(mode="Block", size="10Gi"):
    return {"spec": {"volumeMode": mode}, "status": {"capacity": {"storage": size}}}


def target(mode="Block", size="10Gi"):
    return {"volumeMode": mode, "resources": {"requests": {"storage": size}}}


@pytest.mark.parametrize(
    ("source", "wanted", "source_class", "target_class", "profile", "override", "strategy", "reason"),
    [
        (claim(), target(), RBD, RBD, PROFILE, None, "csi-clone", ""),
        (claim(), target(), RBD, RBD, {**PROFILE, "cloneStrategy": "snapshot"}, None, "snapshot", ""),
        (claim(), target(), RBD, RBD, PROFILE, "copy", "copy", ""),
        (claim(), target(), RBD, FS, PROFILE, None, "copy", "IncompatibleProvisioners"),
        (claim(), target(), None, RBD, PROFILE, None, "copy", "IncompatibleProvisioners"),
        (claim("Filesystem"), target(), RBD, RBD, PROFILE, None, "copy", "IncompatibleVolumeModes"),
        (claim(), target(size="20Gi"), STIFF, STIFF, PROFILE, None, "copy", "NoVolumeExpansion"),
        (claim(), target(size="20Gi"), RBD, RBD, PROFILE, None, "csi-clone", ""),
        (claim(), target(), RBD, RBD, {"cloneStrategy": "snapshot"}, None, "copy", "NoVolumeSnapshotClass"),
    ],
)
def test_a_clone_takes_the_fastest_way_its_storage_allows(
    source, wanted, source_class, target_class, profile, override, strategy, reason
):
    choice = choose_claim_clone(
        source,
        wanted,
        source_class=source_class,
        target_class=target_class,
        profile_status=profile,
        override=override,
    )
    assert (choice.strategy, choice.reason) == (strategy, reason)


def test_a_snapshot_is_cloned_by_its_own_driver_only():
    fits = choose_snapshot_clone(RBD["provisioner"], 10, target(size="5"), target_class=RBD)
    differs = choose_snapshot_clone(RBD["provisioner"], 10, target(size="5"), target_class=FS)
    assert (fits.strategy, fits.fallback) == ("snapshot", "")
    assert (differs.strategy, differs.reason) == ("copy", "NoProvisionerMatch")


def test_a_claims_size_is_its_capacity_else_what_it_asks_for():
    assert claim_bytes(claim(size="1Ki")) == 1024
    assert claim_bytes({"spec": {"resources": {"requests": {"storage": "2Ki"}}}}) == 2048
