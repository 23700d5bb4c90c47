"""What KubeVirt's parts share in one lab: its types, settings and the objects they look up."""

from __future__ import annotations

import uuid
from typing import Any, Final

from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context
from vmkit.lab.kubevirt.configuration import Configuration, read_configuration
from vmkit.lab.kubevirt.instancetypes.finding import Finder
from vmkit.lab.kubevirt.release import LATEST, RELEASES
from vmkit.lab.kubevirt.resources import GROUP, Types
from vmkit.lab.resources import ResourceType
from vmkit.lab.status import ApiError

Object = dict[str, Any]

VIRT_CONTROLLER: Final = "virt-controller"
VIRT_HANDLER: Final = "virt-handler"
VIRT_API: Final = "virt-api"
COMPONENT: Final = "virtualmachine-controller"
"""Who KubeVirt's Events say they come from, those about instances included."""
CONTROLLER_FINALIZER: Final = "kubevirt.io/virtualMachineControllerFinalize"
OBSERVED_VERSIONS: Final = {
    "kubevirt.io/latest-observed-api-version": "v1",
    "kubevirt.io/storage-observed-api-version": "v1",
}
CREATED_BY: Final = "kubevirt.io/created-by"
NODE_NAME: Final = "kubevirt.io/nodeName"
GENERATION: Final = "kubevirt.io/vm-generation"


class World:
    """The objects and settings of one lab, as KubeVirt's controllers and webhooks see them.

    Args:
        context: the lab's store, clock, registry and recorder; its option "kubevirt" names the release.
        types: KubeVirt's resource types, already in the registry.
    """

    def __init__(self, context: Context, types: Types) -> None:
        self.context: Final = context
        self.store: Final = context.store
        self.clock: Final = context.clock
        self.registry: Final = context.registry
        self.recorder: Final = context.recorder
        self.types: Final = types
        self.release: Final = RELEASES.get(str(context.options.get("kubevirt", "")), LATEST)
        self.finder: Final = Finder(self.store, self.registry, types.instancetypes)
        self._configuration: Configuration | None = None
        self._configured_by = ""
        self._addresses = 0

    @property
    def configuration(self) -> Configuration:
        """The present settings; they follow the KubeVirt object."""
        entry = next(self.store.entries(self.types.kubevirt), None)
        version = "" if entry is None else f"{entry.uid}/{entry.version}"
        if self._configuration is None or version != self._configured_by:
            self._configuration = read_configuration(None if entry is None else entry.decode(), self.release)
            self._configured_by = version
        return self._configuration

    def builtin(self, group: str, plural: str) -> ResourceType | None:
        """A type of another module, or None where that is not served."""
        return self.registry.find(group, plural)

    def look_up(self, group: str, plural: str, namespace: str, name: str) -> Object | None:
        """An object of another module, or None."""
        rtype = self.registry.find(group, plural)
        return None if rtype is None or not name else self.store.find(rtype, namespace, name)

    def now(self) -> str:
        """The present instant as Kubernetes writes it."""
        return format_time(self.clock.now())

    def new_uuid(self) -> str:
        """A UUID decided by the lab's seed."""
        return str(uuid.UUID(int=self.context.random.getrandbits(128), version=4))

    def new_address(self) -> str:
        """An address for a pod; addresses are given out in turn."""
        self._addresses += 1
        number = self._addresses
        return f"10.{244 + number // 65024 % 8}.{number // 254 % 256}.{number % 254 + 1}"

    def record(self, involved: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Writes an Event in the name of KubeVirt's controller."""
        self.recorder.record(
            involved, reason, message, component=COMPONENT, type="Warning" if warning else "Normal",
            manager=VIRT_CONTROLLER,
        )  # fmt: skip

    def save_instance(self, vmi: Object, *, manager: str = "") -> Object:
        """Writes an instance back (its status is no subresource).

        Without a manager its managedFields stay as they are: working them out costs more than all the rest of a
        step, and nobody applies instances.
        """
        return self.store.update(self.types.vmi, vmi, manager=manager)

    def save_vm_status(self, vm: Object, *, manager: str = VIRT_CONTROLLER, same_fields: bool = False) -> Object:
        """Writes a VM's status back; with ``same_fields`` no field came or went, and so no owner changed."""
        return self.store.update(self.types.vm, vm, manager="" if same_fields else manager, subresource="status")


def owner_reference(owner: Object, kind: str, *, api_version: str = f"{GROUP}/v1") -> Object:
    """A reference to the controller of an object."""
    return {
        "apiVersion": api_version,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def controller_of(obj: Object) -> Object | None:
    """The owner reference that controls an object, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def claim_of(volume: Object) -> str:
    """The claim behind a volume of a VM; "" for volumes without one (a DataVolume's claim has its name)."""
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"].get("claimName", ""))
    if "dataVolume" in volume:
        return str(volume["dataVolume"].get("name", ""))
    if "ephemeral" in volume:
        return str((volume["ephemeral"].get("persistentVolumeClaim") or {}).get("claimName", ""))
    if "memoryDump" in volume:
        return str(volume["memoryDump"].get("claimName", ""))
    return ""


def ignore_missing(error: ApiError) -> None:
    """Passes over a 404, for what may be gone already.

    Raises:
        ApiError: anything else.
    """
    if error.code != 404:
        raise error
