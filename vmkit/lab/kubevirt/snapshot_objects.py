"""What the controllers of snapshots and restores share: finding their VM, marking it, telling their state."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World
from vmkit.lab.resources import ResourceType

Object = dict[str, Any]

GROUP: Final = "snapshot.kubevirt.io"
SNAPSHOT_VERSION: Final = f"{GROUP}/v1beta1"
VOLUME_SNAPSHOTS: Final = ("snapshot.storage.k8s.io", "volumesnapshots")


def snapshot_owner(owner: Object, kind: str) -> Object:
    """An owner reference to an object of snapshot.kubevirt.io."""
    return {
        "apiVersion": SNAPSHOT_VERSION,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def state_condition(kind: str, holds: bool, reason: str, at: str) -> Object:
    """A condition of a snapshot or a restore."""
    return {
        "lastProbeTime": None,
        "lastTransitionTime": at,
        "reason": reason,
        "status": "True" if holds else "False",
        "type": kind,
    }


def content_name(snapshot: Object) -> str:
    """What a snapshot's content is called."""
    return f"vmsnapshot-content-{snapshot['metadata']['uid']}"


class AboutMachines(Controller):
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
