"""Restores of VMs from snapshots, in place or as new VMs (pkg/storage/snapshot); no recording covers them.

A restore makes claims from the VolumeSnapshots of a snapshot's content and puts them into the VM.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.kubevirt.admission.machine import run_strategy
from vmkit.lab.kubevirt.conditions import set_condition
from vmkit.lab.kubevirt.snapshot_objects import (
    AboutMachines,
    content_name,
    state_condition,
)
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World, claim_of, owner_reference
from vmkit.lab.resources import ObjectKey
from vmkit.lab.store import Event

Object = dict[str, Any]

_RESTORE_LABEL: Final = "restore.kubevirt.io/name"


class RestoreController(AboutMachines):
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
        set_condition(status, state_condition("Progressing", False, "Operation complete", at))
        set_condition(status, state_condition("Ready", True, "Operation complete", at))
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
        return self.store.find(self._world.types.snapshot_content, namespace, content_name(snapshot))

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
        told = state_condition(kind, holds, reason, at)
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
        if not isinstance(operation, dict):
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
