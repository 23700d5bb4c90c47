"""Keeps the disks of a VM that is deleted.

A disk made from a VM's dataVolumeTemplates names the VM as its owner and is collected with it. Taking that
reference off is not enough while the VM lists the template: KubeVirt's controller would take the disk back at its
next look (ClaimMatchedDataVolumes in pkg/virt-controller/watch/vm/vm.go). So the templates go first, then the
references, and the VM last. Each step can be repeated: a run that was killed anywhere is completed by the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.cluster.resources import DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS, VIRTUAL_MACHINES, Resource
from vmkit.cluster.session import Session
from vmkit.errors import Conflict, MissingApi, NotFound
from vmkit.vm.markers import KEPT_FROM
from vmkit.vm.state import VmView

_MAX_TRIES: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class Disk:
    """A DataVolume or a claim."""

    kind: str
    name: str

    @property
    def resource(self) -> Resource:
        return DATA_VOLUMES if self.kind == DATA_VOLUMES.kind else PERSISTENT_VOLUME_CLAIMS

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(slots=True)
class OwnedDisks:
    """The disks of one namespace by the uid of the VM that owns them."""

    by_owner: dict[str, list[Disk]] = field(default_factory=dict)

    def of(self, view: VmView) -> list[Disk]:
        """The disks that would go with this VM: those that name it, and those its templates make."""
        found = set(self.by_owner.get(view.uid, ()))
        found |= {Disk(DATA_VOLUMES.kind, volume.source) for volume in view.volumes if volume.templated}
        return sorted(found)


def read_owned_disks(session: Session, namespace: str) -> OwnedDisks:
    """Who owns the DataVolumes and claims of a namespace.

    Raises:
        ClusterError: they cannot be read; then nobody knows what a deletion would take with it.
    """
    owned = OwnedDisks()
    for resource in (DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS):
        try:
            for document in session.list(resource, namespace):
                for uid in _owner_uids(document):
                    disk = Disk(resource.kind, document["metadata"]["name"])
                    owned.by_owner.setdefault(uid, []).append(disk)
        except MissingApi:
            continue  # Without the importer there are no DataVolumes.
    return owned


def _owner_uids(document: Mapping[str, Any]) -> list[str]:
    metadata = document.get("metadata")
    references = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    if not isinstance(references, list):
        return []
    return [
        reference["uid"]
        for reference in references
        if isinstance(reference, Mapping)
        and reference.get("kind") == VIRTUAL_MACHINES.kind
        and isinstance(reference.get("uid"), str)
    ]


def release_disks(session: Session, view: VmView, disks: list[Disk]) -> list[Disk]:
    """Makes the disks independent of their VM; returns those that are there.

    Raises:
        ClusterError: one could not be released. Then the VM must not be deleted.
    """
    if any(volume.templated for volume in view.volumes):
        body = {"metadata": {"uid": view.uid}, "spec": {"dataVolumeTemplates": None}}
        session.patch(VIRTUAL_MACHINES, view.ref.name, body, view.ref.namespace)
    kept = [disk for disk in disks if _release(session, view, disk)]
    for disk in kept:
        # A look of the controller that was under way may have taken it back meanwhile.
        _release(session, view, disk)
    return kept


def _release(session: Session, view: VmView, disk: Disk) -> bool:
    for _ in range(_MAX_TRIES):
        document = session.find(disk.resource, disk.name, view.ref.namespace)
        if document is None:
            return False
        if view.uid not in _owner_uids(document):
            return True
        metadata = document["metadata"]
        others = [reference for reference in metadata["ownerReferences"] if reference.get("uid") != view.uid]
        change = {
            "resourceVersion": metadata.get("resourceVersion"),
            "ownerReferences": others or None,
            "annotations": {KEPT_FROM: str(view.ref)},
        }
        try:
            session.patch(disk.resource, disk.name, {"metadata": change}, view.ref.namespace)
        except Conflict:
            continue  # It changed between the look and the patch.
        except NotFound:
            return False
        return True
    raise Conflict(
        f"{disk.kind} {view.ref.namespace}/{disk.name} keeps changing: the VM's owner reference cannot be removed",
        hint="try again; until then the VM is not deleted",
        where=f"{view.ref.namespace}/{disk.name}",
    )
