import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.cdi.claims import ClaimNotValidError, build_claim_spec, required_bytes

BLOCK = {"metadata": {"name": "blk"}}
PROFILE = {
    "claimPropertySets": [
        {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"},
        {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"},
    ]
}


def build(storage, *, spec=None, profile=PROFILE, storage_class=BLOCK, source_bytes=None):
    return build_claim_spec(
        {"storage": storage, **(spec or {})},
        storage_class=storage_class,
        profile_status=profile,
        source_bytes=source_bytes,
    )


SIZED = {"resources": {"requests": {"storage": "10Gi"}}}


def test_modes_come_from_the_profile():
    claim = build(SIZED)
    assert (claim["accessModes"], claim["volumeMode"]) == (["ReadWriteMany"], "Block")
    assert claim["storageClassName"] == "blk"
    assert claim["resources"]["requests"]["storage"] == "10Gi"


def test_a_given_volume_mode_picks_the_access_modes_that_go_with_it():
    assert build({**SIZED, "volumeMode": "Filesystem"})["accessModes"] == ["ReadWriteOnce"]


def test_given_access_modes_pick_the_volume_mode_that_goes_with_them():
    assert build({**SIZED, "accessModes": ["ReadWriteOnce"]})["volumeMode"] == "Filesystem"


def test_a_file_system_is_made_larger_than_the_disk_in_it():
    claim = build({**SIZED, "volumeMode": "Filesystem"})
    assert int(claim["resources"]["requests"]["storage"]) == required_bytes(10 * 1024**3, 0.06)


@pytest.mark.parametrize(
    ("storage", "profile", "message"),
    [
        (
            SIZED,
            {},
            "DataVolume.storage spec is missing accessMode and volumeMode,"
            " cannot get access mode from StorageProfile blk",
        ),
        (
            {**SIZED, "volumeMode": "Block"},
            {},
            "DataVolume.storage spec is missing accessMode and cannot get access mode from StorageProfile blk",
        ),
        ({}, PROFILE, "Datavolume Spec is not valid - missing storage size"),
    ],
)
def test_what_cannot_become_a_claim_says_why(storage, profile, message):
    with pytest.raises(ClaimNotValidError) as caught:
        build(storage, profile=profile)
    assert str(caught.value) == message


def test_without_any_class_the_modes_must_be_given():
    with pytest.raises(ClaimNotValidError, match="no storageClass to choose profile"):
        build(SIZED, storage_class=None)
    claim = build({**SIZED, "accessModes": ["ReadWriteOnce"]}, storage_class=None)
    assert "storageClassName" not in claim


def test_an_archive_is_never_a_block_device():
    assert build(SIZED, spec={"contentType": "archive"})["volumeMode"] == "Filesystem"
    with pytest.raises(ClaimNotValidError, match="Archive cannot have block volumeMode"):
        build({**SIZED, "volumeMode": "Block"}, spec={"contentType": "archive"})


def test_a_clone_without_a_size_takes_its_sources():
    assert build({}, source_bytes=5 * 1024**3)["resources"]["requests"]["storage"] == "5Gi"


def test_a_pvc_section_is_taken_as_it_is():
    pvc = {"accessModes": ["ReadWriteOnce"], **SIZED}
    claim = build_claim_spec({"pvc": pvc}, storage_class=BLOCK, profile_status={})
    assert claim == {**pvc, "storageClassName": "blk"}


@given(st.integers(1, 2**50), st.floats(0, 0.5))
def test_what_is_left_of_a_file_system_holds_the_disk(disk, overhead):
    assert required_bytes(disk, overhead) * (1 - overhead) >= disk * 0.999999
