"""What a restart would lose."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.guard.restart import find_restart_risks

MAC = {"name": "default", "macAddress": "02:00:00:00:00:01"}


def vm(volume: dict[str, Any], *, disk: dict[str, Any] | None = None, **guest: Any) -> dict[str, Any]:
    device = {"name": "root", **(disk or {"disk": {"bus": "virtio"}})}
    devices = {"disks": [device], "interfaces": [MAC], **guest.pop("devices", {})}
    spec = {"domain": {"devices": devices}, "volumes": [{"name": "root", **volume}], **guest}
    return {"spec": {"template": {"spec": spec}}}


CLAIM = {"persistentVolumeClaim": {"claimName": "root"}}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (vm(CLAIM), []),
        (vm({"containerDisk": {"image": "x"}}), ["DiskLost"]),
        (vm({"containerDisk": {"image": "x"}}, disk={"cdrom": {"bus": "sata"}}), []),
        (vm({"containerDisk": {"image": "x"}}, disk={"disk": {"readonly": True}}), []),
        (vm({"emptyDisk": {"capacity": "1Gi"}}), ["DiskLost"]),
        (vm({"ephemeral": {"persistentVolumeClaim": {"claimName": "x"}}}), ["DiskLost"]),
        (vm({"hostDisk": {"path": "/x"}}), ["NodeBound"]),
        (vm(CLAIM, devices={"interfaces": [{"name": "default"}]}), ["MacAddressChanges"]),
        (vm(CLAIM, devices={"interfaces": []}), ["MacAddressChanges"]),
        (vm(CLAIM, devices={"interfaces": [], "autoattachPodInterface": False}), []),
        (vm(CLAIM, devices={"gpus": [{"name": "g"}]}), ["ScarceDevice"]),
        (vm(CLAIM, devices={"hostDevices": [{"name": "g"}]}), ["ScarceDevice"]),
        (vm(CLAIM, nodeSelector={"kubernetes.io/hostname": "n1"}), ["NodeBound"]),
        ({"spec": 3}, ["MacAddressChanges"]),
    ],
)
def test_each_risk_is_found_where_it_is(document: dict[str, Any], expected: list[str]) -> None:
    assert [risk.code for risk in find_restart_risks(document)] == expected


def test_what_only_the_instance_or_the_status_tells_is_found_too() -> None:
    document = {**vm(CLAIM), "status": {"conditions": [{"type": "RestartRequired", "status": "True"}]}}
    plugged = {"name": "extra", "persistentVolumeClaim": {"claimName": "x", "hotpluggable": True}}
    risks = find_restart_risks(document, {"spec": {"volumes": [plugged]}})
    assert [risk.code for risk in risks] == ["HotpluggedVolume", "RestartRequired"]
