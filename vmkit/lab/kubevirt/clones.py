"""VirtualMachineClones: a snapshot of the source, and a new VM restored from it (watch/clone); not recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.conditions import set_condition
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World
from vmkit.lab.resources import ObjectKey
from vmkit.lab.store import Event

Object = dict[str, Any]

_OWN: Final = "clone.kubevirt.io/name"


class CloneController(Controller):
    """Carries out clones by way of a snapshot and a restore."""

    name: ClassVar[str] = "virt-controller-clone"

    def __init__(self, world: World) -> None:
        super().__init__(world.context)
        self._world = world
        self._rtype = world.types.clone

    def setup(self) -> None:
        """Watches clones and the snapshots and restores made for them."""
        self.watch(self._rtype)
        self.watch(self._world.types.snapshot, self._keys)
        self.watch(self._world.types.restore, self._keys)

    def _keys(self, event: Event) -> Iterable[ObjectKey]:
        name = event.labels.get(_OWN)
        if name:
            return (ObjectKey(event.key.namespace, name),)
        return [entry.key for entry in self.store.entries(self._rtype, event.key.namespace)]

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one clone a step further."""
        clone = self.store.find(self._rtype, key.namespace, key.name)
        if clone is None or "deletionTimestamp" in clone["metadata"]:
            return
        status = clone.setdefault("status", {})
        before = copy.deepcopy(status)
        if status.get("phase") in ("Succeeded", "Failed"):
            return
        self._step(key, clone, status)
        if status != before:
            self.store.update(self._rtype, clone, manager=VIRT_CONTROLLER, subresource="status")

    def _step(self, key: ObjectKey, clone: Object, status: Object) -> None:
        source, target = clone["spec"]["source"], clone["spec"]["target"]
        types = self._world.types
        at = self._world.now()
        if source["kind"] == "VirtualMachine":
            vm = self.store.find(types.vm, key.namespace, source["name"])
            if vm is None:
                self._tell(status, "Pending", "Source doesn't exist", at)
                self.requeue_after(key, 5)
                return
            name = status.get("snapshotName") or f"tmp-snapshot-{clone['metadata']['uid']}"
            snapshot = self.store.find(types.snapshot, key.namespace, name)
            if snapshot is None:
                snapshot = self.store.create(types.snapshot, self._snapshot(clone, name), manager=VIRT_CONTROLLER)
                self._world.record(clone, "SnapshotCreated", f"created snapshot {name} for clone {key.name}")
            status["snapshotName"] = name
            if not (snapshot.get("status") or {}).get("readyToUse"):
                self._tell(status, "SnapshotInProgress", "Snapshot is in progress", at)
                return
        else:
            name = source["name"]
            snapshot = self.store.find(types.snapshot, key.namespace, name)
            if snapshot is None or not (snapshot.get("status") or {}).get("readyToUse"):
                self._tell(status, "SnapshotInProgress", "Waiting for the snapshot to be ready", at)
                return
        restore_name = status.get("restoreName") or f"tmp-restore-{clone['metadata']['uid']}"
        restore = self.store.find(types.restore, key.namespace, restore_name)
        if restore is None:
            restore = self.store.create(
                types.restore, self._restore(clone, restore_name, name, target), manager=VIRT_CONTROLLER
            )
            self._world.record(clone, "RestoreCreated", f"created restore {restore_name} for clone {key.name}")
        status["restoreName"] = restore_name
        if not (restore.get("status") or {}).get("complete"):
            self._tell(status, "RestoreInProgress", "Restore is in progress", at)
            return
        self._finish(key, clone, status, at)

    def _finish(self, key: ObjectKey, clone: Object, status: Object, at: str) -> None:
        types, target = self._world.types, clone["spec"]["target"]["name"]
        vm = self.store.find(types.vm, key.namespace, target)
        if vm is not None:
            self._refine(clone, vm)
        status["targetName"] = target
        status["creationTime"] = at
        status["phase"] = "Succeeded"
        status["conditions"] = []
        for kind, value in (("Progressing", "False"), ("Ready", "True")):
            set_condition(status, _condition(kind, value, "Clone operation has completed", at))
        # What was made on the way is taken away again.
        for rtype, field in ((types.restore, "restoreName"), (types.snapshot, "snapshotName")):
            name = status.pop(field, None)
            if name and self.store.exists(rtype, key.namespace, name):
                self.store.delete(rtype, key.namespace, name)

    def _refine(self, clone: Object, vm: Object) -> None:
        """Gives the new VM an identity of its own."""
        spec = clone["spec"]
        metadata, template = vm["metadata"], vm["spec"].get("template") or {}
        for subject, prefix in (
            (metadata, spec),
            (template.setdefault("metadata", {}), spec.get("template") or {}),
        ):
            for field, filters in (("labels", "labelFilters"), ("annotations", "annotationFilters")):
                if subject.get(field):
                    subject[field] = filtered(subject[field], prefix.get(filters))
        domain = template.get("spec", {}).get("domain", {})
        addresses = spec.get("newMacAddresses") or {}
        for interface in (domain.get("devices") or {}).get("interfaces") or []:
            interface.pop("macAddress", None)
            if interface.get("name") in addresses:
                interface["macAddress"] = addresses[interface["name"]]
        domain["firmware"] = {
            **{
                key: value
                for key, value in (domain.get("firmware") or {}).items()
                if key not in ("uuid", "serial")
            },
            "uuid": self._world.new_uuid(),
            "serial": spec.get("newSMBiosSerial") or self._world.new_uuid(),
        }
        self.store.update(self._world.types.vm, vm, manager=VIRT_CONTROLLER)

    def _tell(self, status: Object, phase: str, reason: str, at: str) -> None:
        if status.get("phase") == phase:
            return
        status["phase"] = phase
        set_condition(status, _condition("Progressing", "True", reason, at))
        set_condition(status, _condition("Ready", "False", reason, at))

    def _snapshot(self, clone: Object, name: str) -> Object:
        return {
            "metadata": _metadata(clone, name),
            "spec": {"source": copy.deepcopy(clone["spec"]["source"])},
        }

    def _restore(self, clone: Object, name: str, snapshot: str, target: Object) -> Object:
        return {
            "metadata": _metadata(clone, name),
            "spec": {
                "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": target["name"]},
                "virtualMachineSnapshotName": snapshot,
                "patches": [json.dumps({"op": "replace", "path": "/spec/runStrategy", "value": "Halted"})],
            },
        }


def _metadata(clone: Object, name: str) -> Object:
    return {
        "name": name,
        "namespace": clone["metadata"]["namespace"],
        "labels": {_OWN: clone["metadata"]["name"][:63]},
        "ownerReferences": [
            {
                "apiVersion": "clone.kubevirt.io/v1beta1",
                "blockOwnerDeletion": True,
                "controller": True,
                "kind": "VirtualMachineClone",
                "name": clone["metadata"]["name"],
                "uid": clone["metadata"]["uid"],
            }
        ],
    }


def _condition(kind: str, status: str, reason: str, at: str) -> Object:
    return {"lastProbeTime": None, "lastTransitionTime": at, "reason": reason, "status": status, "type": kind}


def filtered(values: dict[str, str], filters: list[str] | None) -> dict[str, str]:
    """The labels or annotations a clone keeps: filters are keys, "prefix*" and "!..."; none keeps all."""
    if not filters:
        return values
    kept = {}
    for key, value in values.items():
        included = False
        for each in filters:
            pattern = each.removeprefix("!")
            hit = key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern
            if hit:
                included = not each.startswith("!")
        if included:
            kept[key] = value
    return kept
