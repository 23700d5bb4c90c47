import pytest

from vmkit.lab.cdi.profiles import build_profile_status, choose_snapshot_class, is_recognized
from vmkit.lab.rook.classes import build_snapshot_classes, build_storage_classes, find_default_class

CLASSES = {each["metadata"]["name"]: each for each in build_storage_classes()}
SNAPSHOTS = build_snapshot_classes()


def storage_class(provisioner, **extra):
    return {"metadata": {"name": "x", **extra.pop("metadata", {})}, "provisioner": provisioner, **extra}


def test_rbd_prefers_shared_blocks_and_clones_by_csi():
    status = build_profile_status(CLASSES["rook-ceph-block"], {}, SNAPSHOTS)
    assert status["claimPropertySets"] == [
        {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"},
        {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block"},
        {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"},
    ]
    assert status["cloneStrategy"] == "csi-clone"
    assert status["dataImportCronSourceFormat"] == "snapshot"
    assert status["snapshotClass"] == "csi-rbdplugin-snapclass"


def test_cephfs_offers_files_only():
    status = build_profile_status(CLASSES["rook-cephfs"], {}, SNAPSHOTS)
    assert {each["volumeMode"] for each in status["claimPropertySets"]} == {"Filesystem"}
    assert status["dataImportCronSourceFormat"] == "pvc"


def test_a_rook_operator_in_another_namespace_is_unknown_to_cdi():
    unknown = storage_class("storage-team.rbd.csi.ceph.com")
    status = build_profile_status(unknown, {}, SNAPSHOTS)
    assert "claimPropertySets" not in status
    assert status["cloneStrategy"] == "copy"
    assert not is_recognized(unknown)
    assert is_recognized(CLASSES["rook-ceph-block"])


def test_what_people_write_into_a_profile_wins():
    spec = {
        "claimPropertySets": [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}],
        "cloneStrategy": "copy",
        "dataImportCronSourceFormat": "pvc",
    }
    status = build_profile_status(CLASSES["rook-ceph-block"], spec, SNAPSHOTS)
    assert {key: status[key] for key in spec} == spec


@pytest.mark.parametrize("annotated", ["copy", "snapshot", "csi-clone"])
def test_an_annotation_of_the_class_chooses_the_clone_strategy(annotated):
    annotations = {"cdi.kubevirt.io/clone-strategy": annotated}
    chosen = storage_class("rook-ceph.rbd.csi.ceph.com", metadata={"annotations": annotations})
    assert build_profile_status(chosen, {}, SNAPSHOTS)["cloneStrategy"] == annotated


def test_without_a_snapshot_class_nothing_is_kept_as_snapshots():
    status = build_profile_status(CLASSES["rook-ceph-block"], {}, [])
    assert status["dataImportCronSourceFormat"] == "pvc"
    assert "snapshotClass" not in status


def test_the_default_snapshot_class_of_a_driver_is_preferred():
    default = {
        "metadata": {"name": "z", "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}},
        "driver": "d",
    }
    plain = {"metadata": {"name": "a"}, "driver": "d"}
    assert choose_snapshot_class("d", [plain, default]) == "z"
    assert choose_snapshot_class("d", [plain, default], wanted="a") == "a"
    assert choose_snapshot_class("d", [plain, default], wanted="other") == ""
    assert choose_snapshot_class("e", [plain, default]) == ""


def test_vm_disks_go_to_the_virtualization_class_and_others_to_the_plain_default():
    classes = list(CLASSES.values())
    assert find_default_class(classes)["metadata"]["name"] == "rook-ceph-block"
    assert find_default_class(classes, for_vm_disks=False)["metadata"]["name"] == "local-path"
    assert find_default_class([CLASSES["rook-cephfs"]]) is None
