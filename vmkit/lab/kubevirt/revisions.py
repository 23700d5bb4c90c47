"""ControllerRevisions: what a VM and its instance type looked like when an instance was started from them."""

from __future__ import annotations

import copy
from typing import Any

from vmkit.lab.kubevirt.instancetypes.catalogue import API_VERSION
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World, owner_reference
from vmkit.lab.status import ApiError

Object = dict[str, Any]


def revision_name(vm: Object) -> str:
    """The name of a VM's revision: of its identity and generation."""
    return f"revision-start-vm-{vm['metadata']['uid']}-{vm['metadata']['generation']}"


def store_vm_revision(world: World, vm: Object) -> str:
    """Writes down the spec an instance is started from, drops older ones, and returns the revision's name."""
    rtype = world.registry.get("apps", "controllerrevisions")
    name, prefix = revision_name(vm), f"revision-start-vm-{vm['metadata']['uid']}-"
    there = False
    for kind, key in world.store.dependents(vm["metadata"]["uid"]):
        if kind is not rtype or not key.name.startswith(prefix):
            continue
        if key.name == name:
            there = True
        else:
            world.store.delete(rtype, key.namespace, key.name)
    if not there:
        spec = copy.deepcopy(vm["spec"])
        for matcher in ("instancetype", "preference"):
            reference = ((vm.get("status") or {}).get(f"{matcher}Ref") or {}).get("controllerRevisionRef")
            if reference and matcher in spec:
                spec[matcher]["revisionName"] = reference["name"]
        world.store.create(
            rtype,
            {
                "metadata": {
                    "name": name,
                    "namespace": vm["metadata"]["namespace"],
                    "ownerReferences": [owner_reference(vm, "VirtualMachine")],
                },
                "data": {"spec": spec},
                "revision": vm["metadata"]["generation"],
            },
        )
    return name


def revision_spec(world: World, namespace: str, name: str) -> Object | None:
    """The VM spec that a revision holds, or None."""
    found = world.look_up("apps", "controllerrevisions", namespace, name)
    spec = ((found or {}).get("data") or {}).get("spec")
    return spec if isinstance(spec, dict) else None


def sync_instancetype(world: World, vm: Object) -> tuple[Object, tuple[str, str] | None]:
    """Pins the instance type and preference a VM names, as revisions.

    Returns:
        The VM (a newer one when its spec was written), and what failed: (reason, message) or None.
    """
    spec = vm["spec"]
    for matcher, word in (("instancetype", "Instancetype"), ("preference", "Preference")):
        wanted = spec.get(matcher)
        if not wanted or not wanted.get("name"):
            continue
        status_key = f"{matcher}Ref"
        try:
            found = world.finder.find(vm, matcher)
        except ApiError as error:
            return vm, (f"FailedFind{word}", error.message)
        if found is None:
            continue
        pinned = (vm.get("status") or {}).get(status_key) or {}
        if pinned.get("name") == wanted["name"] and "controllerRevisionRef" in pinned:
            continue
        if not world.release.instancetype_ref and wanted.get("revisionName"):
            continue
        obj, rtype = found
        name = _store_object_revision(world, vm, obj, rtype.kind)
        if world.release.instancetype_ref:
            vm.setdefault("status", {})[status_key] = {
                "controllerRevisionRef": {"name": name},
                "kind": rtype.kind,
                "name": wanted["name"],
            }
        else:
            wanted["revisionName"] = name
            status = vm.get("status")
            vm = world.store.update(world.types.vm, vm, manager=VIRT_CONTROLLER)
            if status is not None:
                vm["status"] = status
            spec = vm["spec"]
    for matcher in ("instancetype", "preference"):
        if not spec.get(matcher):
            (vm.get("status") or {}).pop(f"{matcher}Ref", None)
    return vm, None


def _store_object_revision(world: World, vm: Object, obj: Object, kind: str) -> str:
    metadata = obj.get("metadata") or {}
    name = (
        f"{vm['metadata']['name']}-{metadata.get('name', '')}-v1beta1-{metadata.get('uid', '')}-"
        f"{metadata.get('generation', 1)}"
    )
    rtype = world.registry.get("apps", "controllerrevisions")
    namespace = vm["metadata"]["namespace"]
    if world.store.exists(rtype, namespace, name):
        return name
    kept = {key: value for key, value in metadata.items() if key not in ("managedFields", "resourceVersion")}
    world.store.create(
        rtype,
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    "instancetype.kubevirt.io/object-generation": str(metadata.get("generation", 1)),
                    "instancetype.kubevirt.io/object-kind": kind,
                    "instancetype.kubevirt.io/object-name": str(metadata.get("name", "")),
                    "instancetype.kubevirt.io/object-uid": str(metadata.get("uid", "")),
                    "instancetype.kubevirt.io/object-version": "v1beta1",
                },
                "ownerReferences": [owner_reference(vm, "VirtualMachine")],
            },
            "data": {"apiVersion": API_VERSION, "kind": kind, "metadata": kept, "spec": obj.get("spec") or {}},
            "revision": 0,
        },
    )
    return name
