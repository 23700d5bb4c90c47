"""Storage is chosen, not typed; and says why."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.errors import UsageError
from vmkit.provision.storage import StorageChoice, choose_offline, decide_storage_class, requested_bytes

VIRT = "storageclass.kubevirt.io/is-default-virt-class"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def storage_class(name: str, provisioner: str, *annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": dict.fromkeys(annotations, "true")},
        "provisioner": provisioner,
        "parameters": {"clusterID": "rook-ceph"},
    }


def profile(name: str, *sets: tuple[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"claimPropertySets": [{"accessModes": [mode], "volumeMode": volume} for mode, volume in sets]},
    }


LOCAL = storage_class("local", "rancher.io/local-path", DEFAULT)
RBD = storage_class("block", "rook-ceph.rbd.csi.ceph.com")
OTHER_RBD = storage_class("another", "storage.rbd.csi.ceph.com")
CEPHFS = storage_class("files", "rook-ceph.cephfs.csi.ceph.com")
VIRTUAL = storage_class("virtual", "rook-ceph.rbd.csi.ceph.com", VIRT)


@pytest.mark.parametrize(
    ("classes", "chosen", "code"),
    [
        ([LOCAL, RBD, VIRTUAL], "virtual", "DefaultVirtualizationClass"),
        ([LOCAL, RBD, CEPHFS], "block", "RbdClass"),
        ([RBD, OTHER_RBD], "another", "RbdClass"),
        ([OTHER_RBD, storage_class("z", "x.rbd.csi.ceph.com", DEFAULT)], "z", "RbdClass"),
        ([LOCAL, CEPHFS], "local", "DefaultClass"),
    ],
)
def test_auto_chooses_and_says_why(classes: list[Any], chosen: str, code: str):
    choice = decide_storage_class(classes, [])
    assert (choice.class_name, choice.reason.code) == (chosen, code)
    assert chosen in choice.reason.text


def test_a_named_class_is_taken_and_a_misspelt_one_is_proposed():
    assert decide_storage_class([LOCAL, RBD], [], "local").reason.code == "Asked"
    with pytest.raises(UsageError) as caught:
        decide_storage_class([LOCAL, RBD], [], "blok")
    assert caught.value.hint == "did you mean 'block'?"


def test_nothing_to_choose_from_is_an_error_that_says_what_to_do():
    for classes in ([], [storage_class("x", "example.com")]):
        with pytest.raises(UsageError) as caught:
            decide_storage_class(classes, [])
        assert caught.value.hint


@pytest.mark.parametrize(
    ("storage", "modes"),
    [
        (RBD, (("ReadWriteMany",), "Block")),
        (storage_class("odd", "my-rook.rbd.csi.ceph.com"), (("ReadWriteMany",), "Block")),
        (CEPHFS, (("ReadWriteMany",), "Filesystem")),
        (LOCAL, (("ReadWriteOnce",), "Filesystem")),
    ],
)
def test_modes_are_written_out_where_the_profile_is_empty(storage: dict[str, Any], modes: tuple[Any, str]):
    for profiles in ([], [profile(storage["metadata"]["name"])]):
        choice = decide_storage_class([storage], profiles, storage["metadata"]["name"])
        assert (choice.access_modes, choice.volume_mode) == modes


def test_modes_are_cdis_where_it_knows_them():
    choice = decide_storage_class([RBD], [profile("block", ("ReadWriteMany", "Block"))])
    assert (choice.access_modes, choice.volume_mode) == ((), "")
    once = decide_storage_class([RBD], [profile("block", ("ReadWriteOnce", "Block"))])
    assert any("live-migrate" in warning for warning in once.warnings)


def test_the_snapshot_class_has_the_same_driver():
    snapshots = [
        {"metadata": {"name": "a"}, "driver": "other"},
        {"metadata": {"name": "b"}, "driver": RBD["provisioner"]},
    ]
    assert decide_storage_class([RBD], [], snapshot_classes=snapshots).snapshot_class == "b"
    assert any("VolumeSnapshotClass" in warning for warning in decide_storage_class([RBD], []).warnings)


def test_without_a_cluster_nothing_is_guessed():
    assert choose_offline("auto") == StorageChoice()
    assert choose_offline("fast").to_value() == {
        "class_name": "fast", "access_modes": None, "volume_mode": None, "snapshot_class": None,
    }  # fmt: skip


def test_mistyped_objects_are_passed_over():
    strange: list[Any] = [{}, {"metadata": 3}, {"metadata": {"name": 7}}, RBD]
    assert decide_storage_class(strange, strange, snapshot_classes=strange).class_name == "block"


def test_what_is_asked_of_the_class_is_counted():
    def volume(size: Any, name: str | None = None) -> dict[str, Any]:
        return {"spec": {"storage": {"storageClassName": name, "resources": {"requests": {"storage": size}}}}}

    vm = {"kind": "VirtualMachine", "spec": {"dataVolumeTemplates": [
        volume("1Gi", "block"), volume("2Gi"), volume("4Gi", "elsewhere"), volume("huge", "block"),
    ]}}  # fmt: skip
    data = {"kind": "DataVolume", **volume("8Gi", "block")}
    assert requested_bytes([vm, data, {"kind": "Secret"}], StorageChoice("block")) == 11 * 2**30


# --- images ------------------------------------------------------------------------------------------------------


def test_an_image_that_may_not_be_read_is_not_called_missing():
    from vmkit.provision.images import Image, decide_image

    candidates = ["datasource:golden/debian-13", "docker://quay.io/containerdisks/debian:13"]
    golden = Image("datasource", "golden", "debian-13")
    unread = decide_image(candidates, namespace="a", present={golden: None})
    assert "(it may not be read)" in unread.reason.text
    gone = decide_image(candidates, namespace="a", present={golden: False})
    assert "may not be read" not in gone.reason.text
    assert unread.image == gone.image == Image("registry", url="docker://quay.io/containerdisks/debian:13")
