import pytest

from tests.lab.storage_world import World
from vmkit.lab.status import ApiError

BLOCK = {
    "accessModes": ["ReadWriteMany"],
    "volumeMode": "Block",
    "storageClassName": "rook-ceph-block",
    "resources": {"requests": {"storage": "10Gi"}},
}
LOCAL = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "local-path",
    "resources": {"requests": {"storage": "1Gi"}},
}


@pytest.fixture
def world():
    return World()


def claim_of(world, name):
    return world.get("", "persistentvolumeclaims", name)


def test_a_claim_is_bound_to_a_new_volume(world):
    world.claim("disk", BLOCK)
    assert (claim_of(world, "disk").get("status") or {}).get("phase", "Pending") == "Pending"
    world.advance(2)
    claim = claim_of(world, "disk")
    assert claim["status"] == {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "10Gi"}, "phase": "Bound"}
    volume = world.get("", "persistentvolumes", claim["spec"]["volumeName"], "")
    assert volume["spec"]["claimRef"]["name"] == "disk"
    assert volume["spec"]["csi"]["driver"] == "rook-ceph.rbd.csi.ceph.com"
    assert volume["status"]["phase"] == "Bound"


def test_a_claim_without_a_class_gets_the_default_one(world):
    world.claim("disk", {key: value for key, value in LOCAL.items() if key != "storageClassName"})
    assert claim_of(world, "disk")["spec"]["storageClassName"] == "local-path"


def test_a_missing_class_is_waited_for(world):
    world.claim("disk", {**BLOCK, "storageClassName": "later"})
    world.advance(30)
    assert ("ProvisioningFailed", 'storageclass.storage.k8s.io "later" not found') in world.events("disk")
    rbd = world.get("storage.k8s.io", "storageclasses", "rook-ceph-block", "")
    later = {key: value for key, value in rbd.items() if key != "metadata"} | {"metadata": {"name": "later"}}
    world.make(later)
    world.advance(5)
    assert claim_of(world, "disk")["status"]["phase"] == "Bound"


def test_rbd_shares_block_devices_only(world):
    world.claim("disk", {**BLOCK, "volumeMode": "Filesystem"})
    world.advance(60)
    assert (claim_of(world, "disk").get("status") or {}).get("phase", "Pending") == "Pending"
    assert any("multi node access modes are only supported on rbd" in text for _, text in world.events("disk"))


def test_a_full_ceph_cluster_provisions_nothing_until_there_is_room(world):
    cluster = world.get("ceph.rook.io", "cephclusters", "rook-ceph", "rook-ceph")
    cluster["metadata"]["annotations"] = {"lab.vmkit.io/ceph-used": "96%"}
    world.update(cluster)
    world.claim("disk", BLOCK)
    world.advance(60)
    assert (claim_of(world, "disk").get("status") or {}).get("phase", "Pending") == "Pending"
    cluster = world.get("ceph.rook.io", "cephclusters", "rook-ceph", "rook-ceph")
    assert cluster["status"]["ceph"]["health"] == "HEALTH_ERR"
    cluster["metadata"]["annotations"] = {}
    world.update(cluster)
    world.advance(60)
    assert claim_of(world, "disk")["status"]["phase"] == "Bound"


def test_a_local_claim_waits_for_its_first_pod(world):
    world.claim("disk", LOCAL)
    world.advance(60)
    assert (claim_of(world, "disk").get("status") or {}).get("phase", "Pending") == "Pending"
    assert ("WaitForFirstConsumer", "waiting for first consumer to be created before binding") in world.events(
        "disk"
    )
    world.pod("user", "disk", nodeName="worker-2")
    world.advance(2)
    claim = claim_of(world, "disk")
    assert claim["status"]["phase"] == "Bound"
    volume = world.get("", "persistentvolumes", claim["spec"]["volumeName"], "")
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["worker-2"]


def test_a_claim_grows(world):
    world.claim("disk", BLOCK)
    world.advance(2)
    claim = claim_of(world, "disk")
    claim["spec"]["resources"]["requests"]["storage"] = "20Gi"
    world.update(claim)
    assert claim_of(world, "disk")["status"]["conditions"][0]["type"] == "Resizing"
    world.advance(5)
    claim = claim_of(world, "disk")
    assert claim["status"]["capacity"] == {"storage": "20Gi"}
    assert "conditions" not in claim["status"]
    volume = world.get("", "persistentvolumes", claim["spec"]["volumeName"], "")
    assert volume["spec"]["capacity"] == {"storage": "20Gi"}


@pytest.mark.parametrize(
    ("spec", "size", "code", "message"),
    [
        (BLOCK, "5Gi", 422, "field can not be less than status.capacity"),
        (LOCAL, "9Gi", 403, "only dynamically provisioned pvc can be resized"),
    ],
)
def test_a_claim_does_not_shrink_nor_grow_where_its_class_cannot(world, spec, size, code, message):
    world.claim("disk", spec)
    world.pod("user", "disk", nodeName="worker-1")
    world.advance(2)
    old = claim_of(world, "disk")
    new = {**old, "spec": {**old["spec"], "resources": {"requests": {"storage": size}}}}
    with pytest.raises(ApiError, match=message) as caught:
        world.admit("UPDATE", new, old)
    assert caught.value.code == code


def test_a_claim_in_use_outlives_its_deletion_until_its_pod_ends(world):
    world.claim("disk", BLOCK)
    world.advance(2)
    world.pod("user", "disk", nodeName="worker-1")
    volume = claim_of(world, "disk")["spec"]["volumeName"]
    world.delete("", "persistentvolumeclaims", "disk")
    world.advance(10)
    assert claim_of(world, "disk")["metadata"]["deletionTimestamp"]
    world.store.delete(world.registry.get("", "pods"), "a", "user", grace_seconds=0)
    world.advance(10)
    assert world.find("", "persistentvolumeclaims", "disk") is None
    assert world.find("", "persistentvolumes", volume, "") is None


def test_what_claims_really_hold_shows_in_cephs_capacity(world):
    def used():
        cluster = world.get("ceph.rook.io", "cephclusters", "rook-ceph", "rook-ceph")
        return cluster["status"]["ceph"]["capacity"]["bytesUsed"]

    empty = used()
    world.data_volume(
        "disk",
        {"source": {"http": {"url": "https://x/y"}}, "storage": {"resources": {"requests": {"storage": "100Gi"}}}},
    )
    world.advance(300)
    full = used()
    # Thin and threefold: more than a tenth of the disk, less than three times its size.
    assert 10 * 1024**3 < full - empty < 300 * 1024**3
    world.delete("cdi.kubevirt.io", "datavolumes", "disk")
    world.delete("", "persistentvolumeclaims", "disk")
    world.advance(30)
    assert used() == empty


def snapshot(name, **spec):
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": "a"},
        "spec": spec,
    }


def test_a_snapshot_gets_a_content_and_is_ready_a_little_later(world):
    world.claim("disk", BLOCK)
    world.advance(2)
    world.make(snapshot("cut", source={"persistentVolumeClaimName": "disk"}))
    assert world.get("snapshot.storage.k8s.io", "volumesnapshots", "cut")["status"]["readyToUse"] is False
    world.advance(3)
    cut = world.get("snapshot.storage.k8s.io", "volumesnapshots", "cut")
    assert cut["status"]["readyToUse"] is True
    assert cut["status"]["restoreSize"] == "10Gi"
    assert cut["spec"]["volumeSnapshotClassName"] == "csi-rbdplugin-snapclass"
    name = cut["status"]["boundVolumeSnapshotContentName"]
    content = world.get("snapshot.storage.k8s.io", "volumesnapshotcontents", name, "")
    assert content["status"]["readyToUse"] is True
    assert [reason for reason, _ in world.events("cut")] == [
        "CreatingSnapshot",
        "SnapshotCreated",
        "SnapshotReady",
    ]
    world.delete("snapshot.storage.k8s.io", "volumesnapshots", "cut")
    world.advance(1)
    assert world.find("snapshot.storage.k8s.io", "volumesnapshotcontents", name, "") is None


def test_a_snapshot_of_nothing_says_so(world):
    world.make(snapshot("cut", source={"persistentVolumeClaimName": "none"}))
    world.advance(3)
    status = world.get("snapshot.storage.k8s.io", "volumesnapshots", "cut")["status"]
    assert status["readyToUse"] is False
    assert '"persistentvolumeclaim \\"none\\" not found"' in status["error"]["message"]


def test_a_claim_restores_a_snapshot(world):
    world.claim("disk", BLOCK)
    world.advance(2)
    world.make(snapshot("cut", source={"persistentVolumeClaimName": "disk"}))
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "cut"}
    world.claim("copy", {**BLOCK, "dataSource": source})
    world.advance(60)
    assert claim_of(world, "copy")["status"]["phase"] == "Bound"


def test_pools_file_systems_and_object_stores_are_ready(world):
    for plural in ("cephblockpools", "cephfilesystems", "cephobjectstores"):
        (found,) = world.list("ceph.rook.io", plural, None)
        assert found["status"]["phase"] == "Ready"
