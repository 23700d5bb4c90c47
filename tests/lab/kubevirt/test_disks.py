"""VMs with disks: DataVolumes, claims, hot-plug, memory dumps, snapshots, restores, clones."""

from __future__ import annotations

from typing import Any

import pytest

Object = dict[str, Any]


@pytest.fixture
def cluster(make_cluster: Any) -> Any:
    return make_cluster(storage=True)


def with_disk(make_vm: Any, name: str = "m", strategy: str = "Always", *, modes: str = "ReadWriteMany") -> Object:
    vm: Object = make_vm(name, strategy)
    spec = vm["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "root", "dataVolume": {"name": f"{name}-root"}}]
    vm["spec"]["dataVolumeTemplates"] = [
        {
            "metadata": {"name": f"{name}-root"},
            "spec": {
                "source": {"blank": {}},
                "storage": {
                    "storageClassName": "rook-ceph-block",
                    "accessModes": [modes],
                    "volumeMode": "Block",
                    "resources": {"requests": {"storage": "10Gi"}},
                },
            },
        }
    ]
    return vm


def claim(name: str, size: str = "5Gi", mode: str = "Filesystem") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": mode,
            "storageClassName": "rook-ceph-block",
            "resources": {"requests": {"storage": size}},
        },
    }


def test_a_vm_is_provisioned_before_it_starts(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm))
    assert cluster.status() == "Provisioning"
    assert cluster.vmi() is None
    cluster.advance(120)
    assert cluster.status() == "Running"
    [volume] = cluster.vmi()["status"]["volumeStatus"]
    assert volume["persistentVolumeClaimInfo"]["claimName"] == "m-root"
    assert cluster.condition(cluster.vmi(), "LiveMigratable")["status"] == "True"
    assert ("SuccessfulDataVolumeCreate", "VirtualMachine") in cluster.events()
    assert cluster.vm()["status"]["volumeSnapshotStatuses"] == [{"enabled": True, "name": "root"}]


def test_disks_are_made_for_a_halted_vm_too(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm, strategy="Halted"))
    cluster.advance(120)
    assert cluster.status() == "Stopped"
    assert cluster.store.exists(cluster.registry.get("cdi.kubevirt.io", "datavolumes"), "lab", "m-root")


def test_an_annotation_puts_off_making_disks_until_the_start(cluster: Any, make_vm: Any) -> None:
    vm = with_disk(make_vm, strategy="Halted")
    vm["metadata"]["annotations"] = {"kubevirt.io/immediate-data-volume-creation": "false"}
    cluster.create(vm)
    cluster.advance(60)
    volumes = cluster.registry.get("cdi.kubevirt.io", "datavolumes")
    assert not cluster.store.exists(volumes, "lab", "m-root")
    cluster.call("m", "start")
    cluster.advance(120)
    assert cluster.status() == "Running"


def test_disks_die_with_their_vm(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm))
    cluster.advance(120)
    cluster.request("DELETE", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines/m")
    cluster.advance(60)
    assert cluster.store.count(cluster.registry.get("", "persistentvolumeclaims"), "lab") == 0


def test_a_claim_that_is_not_shared_keeps_an_instance_in_place(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm, modes="ReadWriteOnce"))
    cluster.advance(120)
    told = cluster.condition(cluster.vmi(), "LiveMigratable")
    assert told["reason"] == "DisksNotLiveMigratable"
    assert told["message"] == (
        "cannot migrate VMI: PVC m-root is not shared, live migration requires that all PVCs must be shared "
        "(using ReadWriteMany access mode)"
    )


def test_a_missing_claim_is_an_error_until_it_appears(cluster: Any, make_vm: Any) -> None:
    vm = make_vm()
    vm["spec"]["template"]["spec"]["volumes"] = [{"name": "root", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.create(vm)
    cluster.advance(10)
    assert cluster.status() == "ErrorPvcNotFound"
    cluster.create(claim("data"))
    cluster.advance(30)
    assert cluster.status() == "Running"


def test_hot_plugging_a_volume_and_pulling_it_again(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.create(claim("extra"))
    cluster.advance(20)
    options = {
        "name": "extra",
        "disk": {"disk": {"bus": "scsi"}},
        "volumeSource": {"persistentVolumeClaim": {"claimName": "extra"}},
    }
    assert cluster.call("m", "addvolume", {}).status == 400
    assert (
        cluster.call("m", "addvolume", {"name": "x"}).body["message"].startswith("AddVolumeOptions requires disk")
    )
    assert cluster.call("m", "addvolume", options).status == 202
    cluster.advance(2)
    assert [volume["name"] for volume in cluster.vm()["spec"]["template"]["spec"]["volumes"]] == ["root", "extra"]
    assert [volume["name"] for volume in cluster.vmi()["spec"]["volumes"]] == ["root", "extra"]
    assert cluster.condition(cluster.vm(), "RestartRequired") is None
    reply = cluster.call("m", "addvolume", options)
    assert (reply.status, "already exists" in reply.body["message"]) == (409, True)
    reply = cluster.call("m", "removevolume", {"name": "root"})
    assert (reply.status, "not hotpluggable" in reply.body["message"]) == (409, True)
    reply = cluster.call("m", "removevolume", {"name": "nothing"})
    assert (reply.status, "does not exist" in reply.body["message"]) == (409, True)
    assert cluster.call("m", "removevolume", {"name": "extra"}).status == 202
    cluster.advance(2)
    assert [volume["name"] for volume in cluster.vmi()["spec"]["volumes"]] == ["root"]


def test_a_volume_of_the_instance_alone_is_gone_after_a_restart(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.create(claim("extra"))
    cluster.advance(20)
    options = {
        "name": "extra",
        "disk": {"disk": {"bus": "scsi"}},
        "volumeSource": {"persistentVolumeClaim": {"claimName": "extra"}},
    }
    assert cluster.instance_call("m", "addvolume", options).status == 202
    assert len(cluster.vmi()["spec"]["volumes"]) == 2
    cluster.call("m", "restart")
    cluster.advance(20)
    assert len(cluster.vmi()["spec"]["volumes"]) == 1


def test_without_its_gate_hot_plugging_is_refused(make_cluster: Any, make_vm: Any) -> None:
    cluster = make_cluster(kubevirt="1.5", storage=True)
    cluster.create(make_vm())
    reply = cluster.call("m", "addvolume", {"name": "x"})
    assert (reply.status, "feature gate" in reply.body["message"]) == (400, True)


def test_dumping_memory_onto_a_claim(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.create(claim("small", "500Mi"))
    cluster.create(claim("dump", "5Gi"))
    cluster.advance(20)
    assert cluster.call("m", "memorydump", {"claimName": "none"}).status == 404
    assert "should be bigger" in cluster.call("m", "memorydump", {"claimName": "small"}).body["message"]
    assert cluster.call("m", "memorydump", {"claimName": "dump"}).status == 202
    cluster.advance(2)
    request = cluster.vm()["status"]["memoryDumpRequest"]
    assert (request["phase"], request["claimName"]) == ("Completed", "dump")
    assert cluster.call("m", "removememorydump").status == 202
    cluster.advance(2)
    assert "memoryDumpRequest" not in cluster.vm()["status"]


def snapshot(name: str = "snap", vm: str = "m") -> Object:
    return {
        "apiVersion": "snapshot.kubevirt.io/v1beta1",
        "kind": "VirtualMachineSnapshot",
        "metadata": {"name": name},
        "spec": {"source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": vm}},
    }


def test_a_snapshot_of_a_running_vm(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm))
    cluster.advance(120)
    cluster.create(snapshot())
    assert cluster.vm()["status"]["snapshotInProgress"] == "snap"
    reply = cluster.call("m", "stop")
    assert reply.status == 500
    assert 'Cannot update VM running state until snapshot "snap" completes' in reply.body["message"]
    cluster.advance(60)
    taken = cluster.store.get(cluster.kubevirt.types.snapshot, "lab", "snap")
    assert (taken["status"]["phase"], taken["status"]["readyToUse"]) == ("Succeeded", True)
    assert taken["status"]["indications"] == ["Online", "GuestAgent"]
    assert taken["status"]["snapshotVolumes"]["includedVolumes"] == ["root"]
    assert "snapshotInProgress" not in cluster.vm()["status"]
    assert cluster.call("m", "stop").status == 202


def test_a_restore_waits_for_the_vm_to_stop_and_puts_its_disk_back(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm))
    cluster.advance(120)
    cluster.create(snapshot())
    cluster.advance(60)
    cluster.patch_vm("m", {"spec": {"template": {"spec": {"domain": {"memory": {"guest": "2Gi"}}}}}})
    cluster.create(
        {
            "apiVersion": "snapshot.kubevirt.io/v1beta1",
            "kind": "VirtualMachineRestore",
            "metadata": {"name": "back"},
            "spec": {
                "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "m"},
                "virtualMachineSnapshotName": "snap",
            },
        }
    )
    cluster.advance(10)
    restores = cluster.kubevirt.types.restore
    assert cluster.store.get(restores, "lab", "back")["status"]["complete"] is False
    cluster.call("m", "stop")
    cluster.advance(60)
    done = cluster.store.get(restores, "lab", "back")
    assert done["status"]["complete"] is True
    assert cluster.vm()["spec"]["template"]["spec"]["domain"]["memory"]["guest"] == "1Gi"
    [volume] = cluster.vm()["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"].startswith("restore-")
    assert "restoreInProgress" not in cluster.vm()["status"]
    assert cluster.call("m", "start").status == 202
    cluster.advance(30)
    assert cluster.status() == "Running"


def test_a_clone_is_a_vm_of_its_own(cluster: Any, make_vm: Any) -> None:
    cluster.create(with_disk(make_vm))
    cluster.advance(120)
    cluster.create(
        {
            "apiVersion": "clone.kubevirt.io/v1beta1",
            "kind": "VirtualMachineClone",
            "metadata": {"name": "copy"},
            "spec": {
                "source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "m"},
                "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "m2"},
            },
        }
    )
    cluster.advance(120)
    clone = cluster.store.get(cluster.kubevirt.types.clone, "lab", "copy")
    assert clone["status"]["phase"] == "Succeeded"
    assert clone["status"]["targetName"] == "m2"
    copied = cluster.vm("m2")
    assert copied["spec"]["runStrategy"] == "Halted"
    original = cluster.vm("m")["spec"]["template"]["spec"]["domain"]["firmware"]["uuid"]
    assert copied["spec"]["template"]["spec"]["domain"]["firmware"]["uuid"] != original
    assert cluster.call("m2", "start").status == 202
    cluster.advance(60)
    assert cluster.status("m2") == "Running"


def test_snapshots_are_of_virtual_machines_only(cluster: Any) -> None:
    wrong = snapshot()
    wrong["spec"]["source"]["kind"] = "Pod"
    path = "/apis/snapshot.kubevirt.io/v1beta1/namespaces/lab/virtualmachinesnapshots"
    reply = cluster.request("POST", path, wrong)
    assert (reply.status, reply.body["details"]["causes"][0]["message"]) == (422, "invalid kind")
