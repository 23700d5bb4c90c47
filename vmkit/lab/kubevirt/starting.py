"""The instance that starts a VM: its template, with what requests, instance type and preference add."""

from __future__ import annotations

import copy
from typing import Any

from vmkit.lab.kubevirt.instancetypes.expansion import apply
from vmkit.lab.kubevirt.world import (
    CONTROLLER_FINALIZER,
    GENERATION,
    World,
    owner_reference,
)

Object = dict[str, Any]


class Trouble(Exception):
    """What keeps a VM from doing what it should: the Failure condition's reason and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def build_instance(world: World, vm: Object) -> Object:
    """The instance that a VM's template, requests and instance type ask for.

    Raises:
        Trouble: the instance type contradicts the template.
        ApiError: it cannot be found.
    """
    template: Object = copy.deepcopy(vm["spec"]["template"])
    metadata = {
        key: value
        for key, value in (template.get("metadata") or {}).items()
        if key in ("labels", "annotations") and value
    }
    annotations = metadata.setdefault("annotations", {})
    metadata.update(
        name=vm["metadata"]["name"],
        namespace=vm["metadata"]["namespace"],
        ownerReferences=[owner_reference(vm, "VirtualMachine")],
        finalizers=[CONTROLLER_FINALIZER],
    )
    annotations[GENERATION] = str(vm["metadata"].get("generation", 1))
    spec = template.setdefault("spec", {})
    waiting = vm["status"].get("stateChangeRequests") or []
    if waiting and waiting[0].get("action") == "Start" and (waiting[0].get("data") or {}).get("paused") == "true":
        spec["startStrategy"] = "Paused"
    firmware = spec.setdefault("domain", {}).setdefault("firmware", {})
    firmware.setdefault("uuid", world.new_uuid())
    _apply_instancetype(world, vm, spec, metadata)
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": metadata,
        "spec": spec,
    }


def _apply_instancetype(world: World, vm: Object, spec: Object, metadata: Object) -> None:
    found = {}
    for matcher in ("instancetype", "preference"):
        each = world.finder.find(vm, matcher)
        if each is None:
            continue
        obj, rtype = each
        found[matcher] = obj.get("spec") or {}
        scope = "cluster-" if not rtype.namespaced else ""
        key = f"kubevirt.io/{scope}{matcher}-name"
        metadata["annotations"][key] = vm["spec"][matcher]["name"]
    if not found:
        return
    conflicts = apply(spec, found.get("instancetype"), found.get("preference"), field="spec", metadata=metadata)
    if conflicts:
        paths = ", ".join(conflicts.paths)
        raise Trouble(
            "FailedCreate",
            f"Failure while starting VMI: VMI conflicts with instancetype spec in fields: [{paths}]",
        )
