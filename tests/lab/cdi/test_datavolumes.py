import pytest

from tests.lab.storage_world import World, phases, size
from vmkit.lab.cdi.uploads import finish_upload, make_token, read_token

HTTP = {"http": {"url": "https://images/debian.qcow2"}}


@pytest.fixture
def world():
    return World()


def volume_of(world, name):
    return world.get("cdi.kubevirt.io", "datavolumes", name)


def conditions(volume):
    return {each["type"]: (each["status"], each.get("reason", "")) for each in volume["status"]["conditions"]}


def test_an_import_passes_through_cdis_phases_with_progress(world):
    states = world.trace("datavolumes", "disk")
    world.data_volume("disk", {"source": HTTP, "storage": size()})
    world.advance(120)
    assert phases(states) == ["Pending", "ImportScheduled", "ImportInProgress", "Succeeded"]
    shown = [
        state["status"]["progress"]
        for state in states
        if (state.get("status") or {}).get("phase") == "ImportInProgress"
    ]
    values = [float(text.removesuffix("%")) for text in shown]
    assert values == sorted(values)
    assert len(set(values)) > 5
    done = volume_of(world, "disk")
    assert done["status"]["progress"] == "100.0%"
    assert conditions(done) == {
        "Bound": ("True", "Bound"),
        "Ready": ("True", ""),
        "Running": ("False", "Completed"),
    }
    reasons = [reason for reason, _ in world.events("disk")]
    assert [each for each in reasons if each.startswith("Import")] == [
        "ImportScheduled",
        "ImportInProgress",
        "ImportSucceeded",
    ]
    claim = world.get("", "persistentvolumeclaims", "disk")
    assert (claim["spec"]["accessModes"], claim["spec"]["volumeMode"]) == (["ReadWriteMany"], "Block")
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "DataVolume"


def test_nothing_arrives_while_the_clock_stands(world):
    world.data_volume("disk", {"source": HTTP, "storage": size()})
    world.advance(0)
    assert volume_of(world, "disk")["status"]["phase"] == "ImportScheduled"


def test_a_failing_import_is_restarted_and_succeeds_in_the_end(world):
    states = world.trace("datavolumes", "disk")
    world.data_volume("disk", {"source": {"http": {"url": "https://x/lab-fail-2.img"}}, "storage": size("1Gi")})
    world.advance(600)
    done = volume_of(world, "disk")
    assert (done["status"]["phase"], done["status"]["restartCount"]) == ("Succeeded", 2)
    assert any(conditions(state)["Running"] == ("False", "Error") for state in states if "status" in state)


def test_an_import_that_never_works_keeps_being_restarted(world):
    world.data_volume("disk", {"source": {"http": {"url": "https://x/404/y.img"}}, "storage": size("1Gi")})
    world.advance(3600)
    found = volume_of(world, "disk")
    assert found["status"]["phase"] == "ImportInProgress"
    assert found["status"]["restartCount"] > 8
    assert any("expected status code 200, got 404" in text for _, text in world.events("disk"))


def test_an_import_that_gives_up_fails(world):
    world.data_volume("disk", {"source": {"http": {"url": "https://x/lab-fail.img"}}, "storage": size("1Gi")})
    world.advance(600)
    assert volume_of(world, "disk")["status"]["phase"] == "Failed"
    assert ("ImportFailed", "Failed to import into PVC disk") in world.events("disk")
    assert (world.get("", "persistentvolumeclaims", "disk").get("status") or {}).get("phase") != "Bound"


def test_without_modes_and_without_a_known_provisioner_there_is_no_claim(world):
    world.data_volume("disk", {"source": {"blank": {}}, "storage": size(storageClassName="local-path")})
    world.advance(10)
    found = volume_of(world, "disk")
    assert "phase" not in found["status"]
    assert conditions(found)["Bound"] == ("False", "ErrClaimNotValid")
    assert world.find("", "persistentvolumeclaims", "disk") is None
    profile = world.get("cdi.kubevirt.io", "storageprofiles", "local-path", "")
    profile["spec"] = {"claimPropertySets": [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}]}
    world.update(profile)
    world.advance(10)
    assert volume_of(world, "disk")["status"]["phase"] == "WaitForFirstConsumer"


def test_local_storage_is_bound_first_and_filled_then(world):
    states = world.trace("datavolumes", "disk")
    local = size(storageClassName="local-path", accessModes=["ReadWriteOnce"])
    world.data_volume("disk", {"source": HTTP, "storage": local})
    world.advance(60)
    assert phases(states) == ["Pending", "WaitForFirstConsumer"]
    world.pod("user", "disk", nodeName="worker-1")
    world.advance(300)
    assert phases(states)[2:] == ["ImportScheduled", "ImportInProgress", "Succeeded"]


@pytest.fixture
def gold(world):
    world.data_volume("gold", {"source": HTTP, "storage": size()})
    world.advance(120)
    return world


def test_a_clone_within_rbd_is_made_by_the_storage(gold):
    states = gold.trace("datavolumes", "copy")
    gold.data_volume("copy", {"source": {"pvc": {"namespace": "a", "name": "gold"}}, "storage": {}})
    gold.advance(30)
    assert phases(states) == ["Pending", "CloneScheduled", "CSICloneInProgress", "RebindInProgress", "Succeeded"]
    copy = gold.get("", "persistentvolumeclaims", "copy")
    assert copy["metadata"]["annotations"]["cdi.kubevirt.io/cloneType"] == "csi-clone"
    assert copy["metadata"]["annotations"]["cdi.kubevirt.io/clonePhase"] == "Succeeded"
    assert copy["spec"]["resources"]["requests"]["storage"] == "10Gi"


def test_a_larger_clone_is_prepared_as_well(gold):
    states = gold.trace("datavolumes", "copy")
    gold.data_volume("copy", {"source": {"pvc": {"namespace": "a", "name": "gold"}}, "storage": size("20Gi")})
    gold.advance(30)
    assert "PrepClaimInProgress" in phases(states)


def test_a_clone_to_another_class_is_copied_and_says_why(gold):
    states = gold.trace("datavolumes", "copy")
    target = size("12Gi", storageClassName="rook-cephfs")
    gold.data_volume("copy", {"source": {"pvc": {"namespace": "a", "name": "gold"}}, "storage": target})
    gold.advance(600)
    assert phases(states) == ["Pending", "CloneScheduled", "CloneInProgress", "Succeeded"]
    annotations = volume_of(gold, "copy")["metadata"]["annotations"]
    assert annotations["cdi.kubevirt.io/cloneType"] == "copy"
    assert annotations["cdi.kubevirt.io/cloneFallbackReason"] == "Provisioners are incompatible"
    assert ("IncompatibleProvisioners", "Provisioners are incompatible") in gold.events("copy")


def test_a_clone_waits_until_its_source_is_let_go(gold):
    gold.pod("user", "gold", nodeName="worker-1")
    gold.data_volume("copy", {"source": {"pvc": {"namespace": "a", "name": "gold"}}, "storage": {}})
    gold.advance(120)
    assert volume_of(gold, "copy")["status"]["phase"] == "CloneScheduled"
    assert ("CloneSourceInUse", "pod a/user using PersistentVolumeClaim gold") in gold.events("copy")
    gold.store.delete(gold.registry.get("", "pods"), "a", "user", grace_seconds=0)
    gold.advance(30)
    assert volume_of(gold, "copy")["status"]["phase"] == "Succeeded"


def test_a_clone_waits_for_its_source_to_be_there_and_complete(world):
    world.data_volume("copy", {"source": {"pvc": {"namespace": "a", "name": "gold"}}, "storage": {}})
    world.advance(10)
    assert volume_of(world, "copy")["status"]["phase"] == "Pending"
    assert ("CloneWithoutSource", "The source pvc gold doesn't exist") in world.events("copy")
    world.data_volume("gold", {"source": HTTP, "storage": size()})
    world.advance(10)
    assert volume_of(world, "copy")["status"]["phase"] == "CloneScheduled"
    world.advance(120)
    assert volume_of(world, "copy")["status"]["phase"] == "Succeeded"


def test_a_data_volume_follows_a_data_source_and_that_another_one(gold):
    for name, source in (
        ("image", {"pvc": {"namespace": "a", "name": "gold"}}),
        ("alias", {"dataSource": {"namespace": "a", "name": "image"}}),
    ):
        gold.make(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": name, "namespace": "a"},
                "spec": {"source": source},
            }
        )
    gold.advance(1)
    ready = gold.get("cdi.kubevirt.io", "datasources", "alias")["status"]["conditions"][0]
    assert (ready["type"], ready["status"]) == ("Ready", "True")
    gold.data_volume("copy", {"sourceRef": {"kind": "DataSource", "name": "alias"}, "storage": size()})
    gold.advance(30)
    assert volume_of(gold, "copy")["status"]["phase"] == "Succeeded"


def test_a_data_volume_waits_for_its_data_source(gold):
    gold.data_volume("copy", {"sourceRef": {"kind": "DataSource", "name": "image"}, "storage": size()})
    gold.advance(10)
    assert volume_of(gold, "copy")["status"]["phase"] == "Pending"
    gold.make(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataSource",
            "metadata": {"name": "image", "namespace": "a"},
            "spec": {"source": {"pvc": {"namespace": "a", "name": "gold"}}},
        }
    )
    gold.advance(30)
    assert volume_of(gold, "copy")["status"]["phase"] == "Succeeded"


def test_an_upload_is_ready_and_done_when_the_bytes_have_come(world):
    states = world.trace("datavolumes", "disk")
    world.data_volume("disk", {"source": {"upload": {}}, "storage": size()})
    claim = world.get("", "persistentvolumeclaims", "disk")
    token = make_token("a", "disk", claim["metadata"]["uid"])
    assert finish_upload(world.context, token)[0] == 503
    world.advance(60)
    assert volume_of(world, "disk")["status"]["phase"] == "UploadReady"
    assert finish_upload(world.context, token)[0] == 200
    world.advance(1)
    assert phases(states) == ["Pending", "UploadScheduled", "UploadReady", "Succeeded"]
    assert finish_upload(world.context, token)[0] == 409


def test_a_forged_upload_token_opens_nothing(world):
    token = make_token("a", "disk", "uid")
    assert read_token(token) == ("a", "disk", "uid")
    assert read_token(token[:-1] + ("0" if token[-1] != "0" else "1")) is None
    assert finish_upload(world.context, "nonsense")[0] == 401
    assert finish_upload(world.context, token)[0] == 404


def test_a_claim_that_may_be_adopted_is_taken_over(world):
    world.claim(
        "disk",
        {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Block",
            "storageClassName": "rook-ceph-block",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    )
    world.advance(2)
    world.data_volume(
        "disk", {"source": {"blank": {}}, "storage": size("1Gi")}, **{"cdi.kubevirt.io/allowClaimAdoption": "true"}
    )
    world.advance(5)
    assert volume_of(world, "disk")["status"]["phase"] == "Succeeded"
    owners = world.get("", "persistentvolumeclaims", "disk")["metadata"]["ownerReferences"]
    assert [owner["kind"] for owner in owners] == ["DataVolume"]


def test_a_thousand_imports_at_once_cost_in_proportion(world):
    for number in range(100):
        world.data_volume(f"d{number}", {"source": {"blank": {}}, "storage": size("1Gi")})
    world.advance(60)
    assert all(each["status"]["phase"] == "Succeeded" for each in world.list("cdi.kubevirt.io", "datavolumes"))


CRON = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataImportCron",
    "metadata": {"name": "debian", "namespace": "a"},
    "spec": {
        "schedule": "0 3 * * *",
        "managedDataSource": "debian",
        "importsToKeep": 2,
        "template": {"spec": {"source": {"registry": {"url": "docker://images/debian"}}, "storage": size()}},
    },
}


def test_a_cron_imports_at_once_and_keeps_snapshots_on_rbd(world):
    world.make(CRON)
    world.advance(300)
    cron = world.get("cdi.kubevirt.io", "dataimportcrons", "debian")
    assert cron["status"]["sourceFormat"] == "snapshot"
    assert {each["type"]: each["status"] for each in cron["status"]["conditions"]} == {
        "Progressing": "False",
        "UpToDate": "True",
    }
    (image,) = world.list("snapshot.storage.k8s.io", "volumesnapshots")
    assert world.list("cdi.kubevirt.io", "datavolumes") == []
    source = world.get("cdi.kubevirt.io", "datasources", "debian")
    assert source["spec"]["source"]["snapshot"]["name"] == image["metadata"]["name"]
    assert source["status"]["conditions"][0]["status"] == "True"
    world.data_volume("disk", {"sourceRef": {"kind": "DataSource", "name": "debian"}, "storage": size("20Gi")})
    world.advance(30)
    assert volume_of(world, "disk")["status"]["phase"] == "Succeeded"


def test_a_cron_finds_new_images_and_lets_old_ones_go(world):
    world.make(CRON)
    world.advance(300)
    first = world.get("cdi.kubevirt.io", "dataimportcrons", "debian")["status"]["currentImports"]
    world.advance(40 * 86400)
    cron = world.get("cdi.kubevirt.io", "dataimportcrons", "debian")
    assert cron["status"]["currentImports"] != first
    images = world.list("snapshot.storage.k8s.io", "volumesnapshots")
    assert len(images) == 2
    source = world.get("cdi.kubevirt.io", "datasources", "debian")
    assert source["spec"]["source"]["snapshot"]["name"] == cron["status"]["currentImports"][0]["DataVolumeName"]


def test_profiles_follow_their_classes(world):
    names = {each["metadata"]["name"] for each in world.list("cdi.kubevirt.io", "storageprofiles", None)}
    assert names == {"rook-ceph-block", "rook-cephfs", "local-path"}
    local = world.get("cdi.kubevirt.io", "storageprofiles", "local-path", "")
    assert [(each["type"], each["status"]) for each in local["status"]["conditions"]] == [("Recognized", "False")]
    world.delete("storage.k8s.io", "storageclasses", "rook-cephfs", "")
    world.advance(1)
    assert world.find("cdi.kubevirt.io", "storageprofiles", "rook-cephfs", "") is None
