"""Snapshots of VMs and restores from them (pkg/storage/snapshot); no recording covers them.

A snapshot freezes the guest, has a VolumeSnapshot made of every volume that can have one, and keeps the VM's spec
in its content. A restore makes claims from those and puts them into the VM.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.admission.machine import run_strategy
from vmkit.lab.kubevirt.conditions import set_condition
from vmkit.lab.kubevirt.power import condition
from vmkit.lab.kubevirt.volumes import snapshot_statuses, vm_volumes
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World, claim_of, owner_reference
from vmkit.lab.resources import ObjectKey, ResourceType
from vmkit.lab.store import Event

Object = dict[str, Any]

GROUP: Final = "snapshot.kubevirt.io"
_VERSION: Final = f"{GROUP}/v1beta1"
_VOLUME_SNAPSHOTS: Final = ("snapshot.storage.k8s.io", "volumesnapshots")
_RESTORE_LABEL: Final = "restore.kubevirt.io/name"


def _reference(owner: Object, kind: str) -> Object:
    return {
        "apiVersion": _VERSION,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def _state(kind: str, holds: bool, reason: str, at: str) -> Object:
    return {
        "lastProbeTime": None,
        "lastTransitionTime": at,
        "reason": reason,
        "status": "True" if holds else "False",
        "type": kind,
    }


class _OfMachines(Controller):
    """A controller of objects that are about a VM of their namespace."""

    def __init__(self, world: World, rtype: ResourceType) -> None:
        super().__init__(world.context)
        self._world = world
        self._rtype = rtype

    def _save(self, obj: Object, before: Object) -> None:
        if obj.get("status") != before:
            self.store.update(self._rtype, obj, manager=VIRT_CONTROLLER, subresource="status")

    def _find_vm(self, namespace: str, reference: Object) -> Object | None:
        return self.store.find(self._world.types.vm, namespace, str(reference.get("name", "")))

    def _mark(self, vm: Object, key: str, value: str | None) -> None:
        """Sets or removes a field of the VM's status."""
        stored = self.store.find(self._world.types.vm, vm["metadata"]["namespace"], vm["metadata"]["name"])
        if stored is None:
            return
        status = stored.setdefault("status", {})
        if value is None:
            status.pop(key, None)
        else:
            status[key] = value
        self._world.save_vm_status(stored)


class SnapshotController(_OfMachines):
    """Takes snapshots."""

    name: ClassVar[str] = "virt-controller-snapshot"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.types.snapshot)

    def setup(self) -> None:
        """Watches snapshots and the VolumeSnapshots made for them."""
        self.watch(self._rtype)
        volume_snapshots = self._world.builtin(*_VOLUME_SNAPSHOTS)
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
            set_condition(status, _state("Progressing", False, "Source does not exist", at))
            set_condition(status, _state("Ready", False, "Not ready", at))
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
            virtualMachineSnapshotContentName=_content_name(snapshot),
            snapshotVolumes={
                **({"includedVolumes": included} if included else {}),
                **({"excludedVolumes": excluded} if excluded else {}),
            },
        )
        if indications:
            status["indications"] = indications
        set_condition(status, _state("Progressing", True, "Source locked and operation in progress", at))
        set_condition(status, _state("Ready", False, "Not ready", at))
        self._mark(vm, "snapshotInProgress", snapshot["metadata"]["name"])

    def _content(self, snapshot: Object, vm: Object) -> Object:
        rtype = self._world.types.snapshot_content
        namespace = snapshot["metadata"]["namespace"]
        found = self.store.find(rtype, namespace, _content_name(snapshot))
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
                "name": _content_name(snapshot),
                "namespace": namespace,
                "ownerReferences": [_reference(snapshot, "VirtualMachineSnapshot")],
            },
            "spec": {
                "source": {"virtualMachine": {"metadata": kept, "spec": copy.deepcopy(vm["spec"]), "status": {}}},
                "virtualMachineSnapshotName": snapshot["metadata"]["name"],
                **({"volumeBackups": backups} if backups else {}),
            },
        }
        return self.store.create(rtype, content, manager=VIRT_CONTROLLER)

    def _follow(self, snapshot: Object, vm: Object, content: Object) -> None:
        rtype = self._world.builtin(*_VOLUME_SNAPSHOTS)
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
        set_condition(status, _state("Progressing", False, "Operation complete", at))
        set_condition(status, _state("Ready", True, "Operation complete", at))
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
                "ownerReferences": [_reference(content, "VirtualMachineSnapshotContent")],
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


def _content_name(snapshot: Object) -> str:
    return f"vmsnapshot-content-{snapshot['metadata']['uid']}"


class RestoreController(_OfMachines):
    """Restores VMs from snapshots, in place or as new VMs."""

    name: ClassVar[str] = "virt-controller-restore"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.types.restore)

    def setup(self) -> None:
        """Watches restores, and what they wait for."""
        self.watch(self._rtype)
        self.watch(self._world.types.snapshot, self._open_keys)
        self.watch(self._world.types.vmi, self._open_keys)
        claims = self._world.builtin("", "persistentvolumeclaims")
        if claims is not None:
            self.watch(claims, self._claim_keys)

    def _open_keys(self, event: Event) -> Iterable[ObjectKey]:
        if not self.store.count(self._rtype, event.key.namespace):
            return ()
        return [entry.key for entry in self.store.entries(self._rtype, event.key.namespace)]

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        name = event.labels.get(_RESTORE_LABEL)
        return (ObjectKey(event.key.namespace, name),) if name else ()

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one restore a step further."""
        restore = self.store.find(self._rtype, key.namespace, key.name)
        if restore is None or "deletionTimestamp" in restore["metadata"]:
            return
        status = restore.setdefault("status", {})
        before = copy.deepcopy(status)
        if status.get("complete"):
            return
        status.setdefault("complete", False)
        at = self._world.now()
        content = self._ready_content(restore)
        if content is None:
            _waits(status, "VirtualMachineSnapshot is not ready yet", at)
            self._save(restore, before)
            return
        vm = self._find_vm(key.namespace, restore["spec"]["target"])
        if vm is not None:
            if (vm.get("status") or {}).get("restoreInProgress") is None:
                self._mark(vm, "restoreInProgress", restore["metadata"]["name"])
            running = self.store.exists(self._world.types.vmi, key.namespace, vm["metadata"]["name"])
            if running or run_strategy(vm) not in ("Halted", "Manual", "RerunOnFailure", "Once"):
                _waits(status, "Waiting for target to be ready", at)
                self._save(restore, before)
                return
        claims_ready = self._claims(restore, content)
        if not claims_ready:
            _waits(status, "Creating new PVCs", at)
            self._save(restore, before)
            return
        self._put_back(restore, content, vm)
        status.update(complete=True, restoreTime=at)
        set_condition(status, _state("Progressing", False, "Operation complete", at))
        set_condition(status, _state("Ready", True, "Operation complete", at))
        self._save(restore, before)
        self._world.record(
            restore, "VirtualMachineRestoreComplete",
            f"Successfully completed VirtualMachineRestore {restore['metadata']['name']}",
        )  # fmt: skip

    def _ready_content(self, restore: Object) -> Object | None:
        namespace = restore["metadata"]["namespace"]
        snapshot = self.store.find(
            self._world.types.snapshot, namespace, str(restore["spec"].get("virtualMachineSnapshotName", ""))
        )
        if snapshot is None or not (snapshot.get("status") or {}).get("readyToUse"):
            return None
        return self.store.find(self._world.types.snapshot_content, namespace, _content_name(snapshot))

    def _claims(self, restore: Object, content: Object) -> bool:
        """Makes a claim from each VolumeSnapshot; True when all are bound or wait for their consumer."""
        rtype = self._world.builtin("", "persistentvolumeclaims")
        backups = content["spec"].get("volumeBackups") or []
        if rtype is None or not backups:
            return True
        namespace = restore["metadata"]["namespace"]
        entries = []
        ready = True
        for backup in backups:
            name = f"restore-{restore['metadata']['uid']}-{backup['volumeName']}"
            entries.append(
                {
                    "persistentVolumeClaim": name,
                    "volumeName": backup["volumeName"],
                    "volumeSnapshotName": backup["volumeSnapshotName"],
                }
            )
            claim = self.store.find(rtype, namespace, name)
            if claim is None:
                spec = copy.deepcopy(backup["persistentVolumeClaim"]["spec"])
                spec["dataSource"] = {
                    "apiGroup": "snapshot.storage.k8s.io",
                    "kind": "VolumeSnapshot",
                    "name": backup["volumeSnapshotName"],
                }
                claim = self.store.create(
                    rtype,
                    {
                        "metadata": {
                            "name": name,
                            "namespace": namespace,
                            "labels": {_RESTORE_LABEL: restore["metadata"]["name"]},
                            "annotations": {_RESTORE_LABEL: restore["metadata"]["name"]},
                        },
                        "spec": spec,
                    },
                    manager=VIRT_CONTROLLER,
                )
            ready = ready and (claim.get("status") or {}).get("phase") == "Bound"
        restore["status"]["restores"] = entries
        return ready

    def _put_back(self, restore: Object, content: Object, vm: Object | None) -> None:
        source = content["spec"]["source"]["virtualMachine"]
        spec = copy.deepcopy(source["spec"])
        names = {
            each["volumeName"]: each["persistentVolumeClaim"] for each in restore["status"].get("restores") or []
        }
        replaced = set()
        for volume in spec.get("template", {}).get("spec", {}).get("volumes") or []:
            if volume["name"] in names:
                replaced.add(claim_of(volume))
                volume.pop("dataVolume", None)
                volume["persistentVolumeClaim"] = {"claimName": names[volume["name"]]}
        templates = [
            each for each in spec.get("dataVolumeTemplates") or [] if each["metadata"]["name"] not in replaced
        ]
        spec.pop("dataVolumeTemplates", None)
        if templates:
            spec["dataVolumeTemplates"] = templates
        target = restore["spec"]["target"]["name"]
        if vm is not None:
            for key in ("running", "runStrategy"):
                spec.pop(key, None)
                if key in vm["spec"]:
                    spec[key] = vm["spec"][key]
            stored = self.store.get(self._world.types.vm, vm["metadata"]["namespace"], vm["metadata"]["name"])
            stored["spec"] = spec
            self.store.update(self._world.types.vm, stored, manager=VIRT_CONTROLLER)
            self._mark(vm, "restoreInProgress", None)
            restored = stored
        else:
            spec.pop("running", None)
            spec["runStrategy"] = "Halted"
            new: Object = {
                "apiVersion": "kubevirt.io/v1",
                "kind": "VirtualMachine",
                "metadata": {
                    "name": target,
                    "namespace": restore["metadata"]["namespace"],
                    **{
                        key: source["metadata"][key]
                        for key in ("labels", "annotations")
                        if source["metadata"].get(key)
                    },
                },
                "spec": spec,
            }
            apply_patches(new, restore["spec"].get("patches") or [])
            restored = self.store.create(self._world.types.vm, new, manager=VIRT_CONTROLLER)
        self._own_claims(restored, names)

    def _own_claims(self, vm: Object, names: dict[str, str]) -> None:
        rtype = self._world.builtin("", "persistentvolumeclaims")
        for name in names.values():
            claim = None if rtype is None else self.store.find(rtype, vm["metadata"]["namespace"], name)
            if claim is not None and rtype is not None:
                claim["metadata"]["ownerReferences"] = [owner_reference(vm, "VirtualMachine")]
                self.store.update(rtype, claim, manager=VIRT_CONTROLLER)


def _waits(status: Object, reason: str, at: str) -> None:
    for kind, holds in (("Progressing", reason != "Waiting for target to be ready"), ("Ready", False)):
        told = _state(kind, holds, reason, at)
        present = next((each for each in status.get("conditions") or [] if each["type"] == kind), None)
        if present is None or (present["status"], present["reason"]) != (told["status"], told["reason"]):
            set_condition(status, told)


def apply_patches(obj: Object, patches: list[str]) -> None:
    """Applies JSON patch operations (add, replace, remove) given as texts; what does not fit is left out."""
    for text in patches:
        try:
            operation = json.loads(text)
        except ValueError:
            continue
        parts = [
            part.replace("~1", "/").replace("~0", "~") for part in str(operation.get("path", "")).split("/")[1:]
        ]
        if not parts:
            continue
        parent: Any = obj
        for part in parts[:-1]:
            if isinstance(parent, list) and part.isdigit() and int(part) < len(parent):
                parent = parent[int(part)]
            elif isinstance(parent, dict):
                parent = parent.setdefault(part, {})
            else:
                parent = None
                break
        last: Any = int(parts[-1]) if isinstance(parent, list) and parts[-1].isdigit() else parts[-1]
        if isinstance(parent, list) and not (isinstance(last, int) and last < len(parent)):
            continue
        if not isinstance(parent, (dict, list)):
            continue
        if operation.get("op") == "remove":
            if isinstance(parent, list) or last in parent:
                del parent[last]
        elif operation.get("op") in ("add", "replace"):
            parent[last] = operation.get("value")
