"""VirtualMachinePools and VirtualMachineInstanceReplicaSets: as many as asked for (watch/pool, replicaset)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.kubevirt.admission.defaults import default_vm
from vmkit.lab.kubevirt.admission.webhooks import Admission
from vmkit.lab.kubevirt.conditions import drop_condition, set_condition
from vmkit.lab.kubevirt.matching import BadSelector, matches
from vmkit.lab.kubevirt.power import is_final, is_true
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World, controller_of, owner_reference
from vmkit.lab.resources import ObjectKey, ResourceType
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event

Object = dict[str, Any]

POOL_LABEL: Final = "kubevirt.io/vmpool"
_POOL_VERSION: Final = "pool.kubevirt.io/v1beta1"
_ACCOUNT: Final = "system:serviceaccount:kubevirt:kubevirt-controller"


class _Replicas(Controller):
    """What pools and replica sets have in common."""

    kind: ClassVar[str] = ""
    api_version: ClassVar[str] = "kubevirt.io/v1"

    def __init__(self, world: World, admission: Admission, owners: ResourceType, owned: ResourceType) -> None:
        super().__init__(world.context)
        self._world = world
        self._admission = admission
        self._owners = owners
        self._owned = owned

    def setup(self) -> None:
        """Watches the owners and what they own."""
        self.watch(self._owners)
        self.watch(self._owned, self._owned_keys)

    def _owned_keys(self, event: Event) -> Iterable[ObjectKey]:
        if b'"ownerReferences"' not in event.object_bytes:
            return ()
        owner = controller_of(event.object)
        return (ObjectKey(event.key.namespace, owner["name"]),) if owner and owner.get("kind") == self.kind else ()

    def _members(self, owner: Object) -> list[Object]:
        members = [
            self.store.find(rtype, *key)
            for rtype, key in self.store.dependents(owner["metadata"]["uid"])
            if rtype is self._owned
        ]
        return [each for each in members if each is not None]

    def _report(self, owner: Object, members: list[Object], trouble: str) -> None:
        before = copy.deepcopy(owner.get("status"))
        status = owner.setdefault("status", {})
        _count(status, "replicas", len(members))
        _count(status, "readyReplicas", sum(is_true(each, "Ready") for each in members))
        selector = owner["spec"].get("selector") or {}
        labels = ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
        if labels:
            status["labelSelector"] = labels
        for kind, holds, reason in (
            ("ReplicaPaused", bool(owner["spec"].get("paused")), "Paused"),
            ("ReplicaFailure", bool(trouble), "FailedCreate"),
        ):
            if not holds:
                drop_condition(status, kind)
            elif not is_true(owner, kind):
                set_condition(
                    status,
                    {
                        "lastProbeTime": None,
                        "lastTransitionTime": self._world.now(),
                        "message": trouble or "Controller got paused",
                        "reason": reason,
                        "status": "True",
                        "type": kind,
                    },
                )
        if status != before:
            self.store.update(self._owners, owner, manager=VIRT_CONTROLLER, subresource="status")

    def _delete(self, owner: Object, member: Object) -> None:
        metadata = member["metadata"]
        self.store.delete(self._owned, metadata["namespace"], metadata["name"])
        self._world.record(owner, "SuccessfulDelete", f"Deleted VM {metadata['namespace']}/{metadata['name']}")


class PoolController(_Replicas):
    """Keeps a pool's VMs: named by number, made from its template, made again when deleted."""

    name: ClassVar[str] = "virt-controller-pool"
    kind: ClassVar[str] = "VirtualMachinePool"
    api_version: ClassVar[str] = _POOL_VERSION

    def __init__(self, world: World, admission: Admission) -> None:
        super().__init__(world, admission, world.types.pool, world.types.vm)

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one pool to its size."""
        pool = self.store.find(self._owners, key.namespace, key.name)
        if pool is None or "deletionTimestamp" in pool["metadata"]:
            return
        trouble = ""
        if not pool["spec"].get("paused"):
            try:
                self._scale(pool)
                self._roll_out(pool)
            except ApiError as error:
                trouble = error.message
                self._world.record(pool, "FailedCreate", f"Error creating VM: {trouble}", warning=True)
        self._report(pool, self._members(pool), trouble)

    def _scale(self, pool: Object) -> None:
        wanted = pool["spec"].get("replicas", 1)
        members = self._members(pool)
        staying = [each for each in members if "deletionTimestamp" not in each["metadata"]]
        if len(staying) > wanted:
            for each in sorted(staying, key=_ordinal, reverse=True)[: len(staying) - wanted]:
                self._delete(pool, each)
            return
        taken = {each["metadata"]["name"] for each in members}
        number = 0
        for _ in range(wanted - len(staying)):
            while f"{pool['metadata']['name']}-{number}" in taken or self.store.exists(
                self._owned, pool["metadata"]["namespace"], f"{pool['metadata']['name']}-{number}"
            ):
                number += 1
            self._create(pool, number)
            number += 1

    def _create(self, pool: Object, number: int) -> None:
        vm = build_member(pool, number)
        vm = default_vm(vm, self._world.configuration, creating=True, new_uuid=self._world.new_uuid)
        namespace = pool["metadata"]["namespace"]
        self._admission.check_vm(vm, None, namespace=namespace, user=_ACCOUNT)
        self.store.create(self._owned, vm, manager=VIRT_CONTROLLER)
        self._world.record(pool, "SuccessfulCreate", f"Created VM {namespace}/{vm['metadata']['name']}")

    def _roll_out(self, pool: Object) -> None:
        """Carries a changed template into the VMs; running ones take it up at their next start."""
        for member in self._members(pool):
            if "deletionTimestamp" in member["metadata"]:
                continue
            number = _ordinal(member)
            wanted = build_member(pool, number)["spec"]
            present = member["spec"]
            merged = _merge(present, wanted)
            if merged != present:
                member["spec"] = merged
                self.store.update(self._owned, member, manager=VIRT_CONTROLLER)


def build_member(pool: Object, number: int) -> Object:
    """The VM that a pool's template makes with a number: names of its disks carry the number too."""
    template = copy.deepcopy(pool["spec"]["virtualMachineTemplate"])
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), POOL_LABEL: pool["metadata"]["name"]}
    spec = template.get("spec") or {}
    renamed = {}
    for data_volume in spec.get("dataVolumeTemplates") or []:
        old = data_volume["metadata"]["name"]
        data_volume["metadata"]["name"] = renamed[old] = f"{old}-{number}"
    naming = pool["spec"].get("nameGeneration") or {}
    for volume in spec.get("template", {}).get("spec", {}).get("volumes") or []:
        for kind, key in (("dataVolume", "name"), ("persistentVolumeClaim", "claimName")):
            if kind in volume and volume[kind].get(key) in renamed:
                volume[kind][key] = renamed[volume[kind][key]]
        for kind, key, flag in (
            ("configMap", "name", "appendIndexToConfigMapRefs"),
            ("secret", "secretName", "appendIndexToSecretRefs"),
        ):
            if kind in volume and naming.get(flag):
                volume[kind][key] = f"{volume[kind][key]}-{number}"
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": f"{pool['metadata']['name']}-{number}",
            "namespace": pool["metadata"]["namespace"],
            "labels": labels,
            **({"annotations": metadata["annotations"]} if metadata.get("annotations") else {}),
            "ownerReferences": [owner_reference(pool, "VirtualMachinePool", api_version=_POOL_VERSION)],
        },
        "spec": spec,
    }


def _merge(present: Any, wanted: Any) -> Any:
    """What is wanted, over what is there and was filled in."""
    if isinstance(present, dict) and isinstance(wanted, dict):
        return {**present, **{key: _merge(present.get(key), value) for key, value in wanted.items()}}
    return wanted


def _ordinal(member: Object) -> int:
    found = re.search(r"-(\d+)$", member["metadata"]["name"])
    return int(found[1]) if found else 0


class ReplicaSetController(_Replicas):
    """Keeps a replica set's instances running."""

    name: ClassVar[str] = "virt-controller-replicaset"
    kind: ClassVar[str] = "VirtualMachineInstanceReplicaSet"

    def __init__(self, world: World, admission: Admission) -> None:
        super().__init__(world, admission, world.types.replica_set, world.types.vmi)

    def reconcile(self, key: ObjectKey) -> None:
        """Brings one replica set to its size."""
        owner = self.store.find(self._owners, key.namespace, key.name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        members = self._members(owner)
        for member in members:
            if is_final(member) and "deletionTimestamp" not in member["metadata"]:
                self._delete(owner, member)
        alive = [each for each in members if not is_final(each) and "deletionTimestamp" not in each["metadata"]]
        wanted = owner["spec"].get("replicas", 1)
        trouble = ""
        if not owner["spec"].get("paused"):
            for member in sorted(alive, key=_youngest_first)[: max(len(alive) - wanted, 0)]:
                self._delete(owner, member)
            try:
                for _ in range(wanted - len(alive)):
                    self._create(owner)
            except ApiError as error:
                trouble = error.message
        self._report(owner, [each for each in self._members(owner) if not is_final(each)], trouble)

    def _create(self, owner: Object) -> None:
        template = copy.deepcopy(owner["spec"]["template"])
        metadata = template.get("metadata") or {}
        vmi: Object = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstance",
            "metadata": {
                "name": owner["metadata"]["name"] + self.store.new_suffix(),
                "namespace": owner["metadata"]["namespace"],
                "labels": metadata.get("labels") or {},
                "annotations": metadata.get("annotations") or {},
                "ownerReferences": [owner_reference(owner, self.kind)],
            },
            "spec": template.get("spec") or {},
        }
        if not _selects(owner, vmi):
            return
        self._admission.default_instance(vmi)
        self._admission.check_new_instance(vmi, user=_ACCOUNT)
        self.store.create(self._owned, vmi, manager=VIRT_CONTROLLER)
        self._world.record(
            owner, "SuccessfulCreate", f"Started the virtual machine by creating the new virtual machine instance "
            f"{vmi['metadata']['name']}"
        )  # fmt: skip


def _selects(owner: Object, member: Object) -> bool:
    try:
        return matches(owner["spec"].get("selector"), member["metadata"].get("labels") or {})
    except BadSelector:
        return False


def _youngest_first(member: Object) -> tuple[bool, str]:
    return is_true(member, "Ready"), "".join(
        chr(255 - ord(each)) for each in member["metadata"]["creationTimestamp"]
    )


def _count(status: Object, key: str, number: int) -> None:
    if number:
        status[key] = number
    else:
        status.pop(key, None)
