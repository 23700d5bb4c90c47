"""Snapshots of VMs (pkg/storage/snapshot); no recording covers them.

A snapshot freezes the guest, has a VolumeSnapshot made of every volume that can have one, and keeps the VM's spec
in its content.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, ClassVar

from vmkit.lab.kubevirt.conditions import set_condition
from vmkit.lab.kubevirt.power import condition
from vmkit.lab.kubevirt.snapshot_objects import (
    VOLUME_SNAPSHOTS,
    AboutMachines,
    content_name,
    snapshot_owner,
    state_condition,
)
from vmkit.lab.kubevirt.volumes import snapshot_statuses, vm_volumes
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World, claim_of
from vmkit.lab.resources import ObjectKey
from vmkit.lab.store import Event

Object = dict[str, Any]


class SnapshotController(AboutMachines):
    """Takes snapshots."""

    name: ClassVar[str] = "virt-controller-snapshot"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.types.snapshot)

    def setup(self) -> None:
        """Watches snapshots and the VolumeSnapshots made for them."""
        self.watch(self._rtype)
        volume_snapshots = self._world.builtin(*VOLUME_SNAPSHOTS)
        if volume_snapshots is not None:
            self.watch(volume_snapshots, self._volume_keys)

    def _volume_keys(self, event: Event) -> Iterable[ObjectKey]:
        if not event.key.name.startswith("vmsnapshot-"):
            return ()
        return [entry.key for entry in self.store.entries(self._rtype, event.key.namespace)]

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one snapshot a step further."""
        snapshot = self.store.find(self._rtype, key.namespace, key.name)
        if snapshot is None or "deletionTimestamp" in snapshot["metadata"]:
            return
        status = snapshot.setdefault("status", {})
        before = copy.deepcopy(status)
        if status.get("phase") in ("Succeeded", "Failed"):
            return
        vm = self._find_vm(key.namespace, snapshot["spec"].get("source") or {})
        at = self._world.now()
        if vm is None:
            set_condition(status, state_condition("Progressing", False, "Source does not exist", at))
            set_condition(status, state_condition("Ready", False, "Not ready", at))
            status.update(phase="InProgress", readyToUse=False)
            self._save(snapshot, before)
            self.requeue_after(key, 5)
            return
        content = self._content(snapshot, vm)
        if "phase" not in status:
            self._begin(snapshot, vm)
        self._follow(snapshot, vm, content)
        self._save(snapshot, before)

    def _begin(self, snapshot: Object, vm: Object) -> None:
        status, at = snapshot["status"], self._world.now()
        running = self.store.find(self._world.types.vmi, vm["metadata"]["namespace"], vm["metadata"]["name"])
        indications = []
        if running is not None:
            indications.append("Online")
            agent = condition(running, "AgentConnected") is not None
            indications.append("GuestAgent" if agent else "NoGuestAgent")
        included = [each["name"] for each in snapshot_statuses(self._world, vm) if each["enabled"]]
        excluded = [volume["name"] for volume in vm_volumes(vm) if volume["name"] not in included]
        status.update(
            phase="InProgress",
            readyToUse=False,
            sourceUID=vm["metadata"]["uid"],
            virtualMachineSnapshotContentName=content_name(snapshot),
            snapshotVolumes={
                **({"includedVolumes": included} if included else {}),
                **({"excludedVolumes": excluded} if excluded else {}),
            },
        )
        if indications:
            status["indications"] = indications
        set_condition(status, state_condition("Progressing", True, "Source locked and operation in progress", at))
        set_condition(status, state_condition("Ready", False, "Not ready", at))
        self._mark(vm, "snapshotInProgress", snapshot["metadata"]["name"])

    def _content(self, snapshot: Object, vm: Object) -> Object:
        rtype = self._world.types.snapshot_content
        namespace = snapshot["metadata"]["namespace"]
        found = self.store.find(rtype, namespace, content_name(snapshot))
        if found is not None:
            return found
        enabled = {each["name"] for each in snapshot_statuses(self._world, vm) if each["enabled"]}
        backups = []
        for volume in vm_volumes(vm):
            if volume["name"] not in enabled:
                continue
            claim = self._world.look_up("", "persistentvolumeclaims", namespace, claim_of(volume))
            if claim is None:
                continue
            name = f"vmsnapshot-{snapshot['metadata']['uid']}-volume-{volume['name']}"
            backups.append(
                {
                    "persistentVolumeClaim": {
                        "metadata": {
                            "name": claim["metadata"]["name"],
                            "labels": claim["metadata"].get("labels") or {},
                        },
                        "spec": {
                            k: v
                            for k, v in claim["spec"].items()
                            if k not in ("volumeName", "dataSource", "dataSourceRef")
                        },
                    },
                    "volumeName": volume["name"],
                    "volumeSnapshotName": name,
                }
            )
        kept = {
            key: value
            for key, value in vm["metadata"].items()
            if key in ("annotations", "labels", "name", "namespace", "uid")
        }
        content = {
            "metadata": {
                "name": content_name(snapshot),
                "namespace": namespace,
                "ownerReferences": [snapshot_owner(snapshot, "VirtualMachineSnapshot")],
            },
            "spec": {
                "source": {"virtualMachine": {"metadata": kept, "spec": copy.deepcopy(vm["spec"]), "status": {}}},
                "virtualMachineSnapshotName": snapshot["metadata"]["name"],
                **({"volumeBackups": backups} if backups else {}),
            },
        }
        return self.store.create(rtype, content, manager=VIRT_CONTROLLER)

    def _follow(self, snapshot: Object, vm: Object, content: Object) -> None:
        rtype = self._world.builtin(*VOLUME_SNAPSHOTS)
        namespace, at = snapshot["metadata"]["namespace"], self._world.now()
        states = []
        for backup in content["spec"].get("volumeBackups") or []:
            if rtype is None:
                break
            name = backup["volumeSnapshotName"]
            volume_snapshot = self.store.find(rtype, namespace, name)
            if volume_snapshot is None:
                volume_snapshot = self.store.create(
                    rtype, self._volume_snapshot(content, backup), manager=VIRT_CONTROLLER
                )
            own = volume_snapshot.get("status") or {}
            states.append({"volumeSnapshotName": name, "readyToUse": bool(own.get("readyToUse"))})
        ready = all(state["readyToUse"] for state in states)
        content_before = copy.deepcopy(content.get("status"))
        content_status = content.setdefault("status", {})
        content_status["readyToUse"] = ready
        if states:
            content_status["volumeSnapshotStatus"] = states
        if ready:
            content_status.setdefault("creationTime", at)
        if content_status != content_before:
            self.store.update(
                self._world.types.snapshot_content, content, manager=VIRT_CONTROLLER, subresource="status"
            )
        if not ready:
            return
        status = snapshot["status"]
        status.update(phase="Succeeded", readyToUse=True, creationTime=at)
        set_condition(status, state_condition("Progressing", False, "Operation complete", at))
        set_condition(status, state_condition("Ready", True, "Operation complete", at))
        self._mark(vm, "snapshotInProgress", None)
        self._world.record(
            snapshot, "SuccessfulVirtualMachineSnapshotContentCreate",
            f"Successfully created VirtualMachineSnapshotContent {content['metadata']['name']}",
        )  # fmt: skip

    def _volume_snapshot(self, content: Object, backup: Object) -> Object:
        claim = backup["persistentVolumeClaim"]
        spec: Object = {"source": {"persistentVolumeClaimName": claim["metadata"]["name"]}}
        chosen = self._snapshot_class(claim["spec"].get("storageClassName", ""))
        if chosen:
            spec["volumeSnapshotClassName"] = chosen
        return {
            "metadata": {
                "name": backup["volumeSnapshotName"],
                "namespace": content["metadata"]["namespace"],
                "labels": {
                    "snapshot.kubevirt.io/source-vm-name": content["spec"]["source"]["virtualMachine"]["metadata"][
                        "name"
                    ]
                },
                "ownerReferences": [snapshot_owner(content, "VirtualMachineSnapshotContent")],
            },
            "spec": spec,
        }

    def _snapshot_class(self, storage_class: str) -> str:
        found = self._world.look_up("storage.k8s.io", "storageclasses", "", storage_class)
        classes = self._world.builtin("snapshot.storage.k8s.io", "volumesnapshotclasses")
        if found is None or classes is None:
            return ""
        for each in self.store.list(classes):
            if each.get("driver") == found.get("provisioner"):
                return str(each["metadata"]["name"])
        return ""
