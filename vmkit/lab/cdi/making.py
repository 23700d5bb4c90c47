"""Makes the claim of a DataVolume: its class, its modes and size, its marks, and the way it is cloned."""

from __future__ import annotations

from dataclasses import dataclass

from vmkit.lab.cdi.cloning import CloneChoice, choose_claim_clone, choose_snapshot_clone, claim_bytes
from vmkit.lab.cdi.resources import GROUP
from vmkit.lab.controller import Context
from vmkit.lab.resources import Object
from vmkit.lab.rook.classes import find_default_class
from vmkit.lab.rook.csi import CLASSES
from vmkit.units import parse_bytes

MANAGER = "virt-cdi-controller"
STARTED = "lab.vmkit.io/transfer-started"
"""On a claim: when its content began to arrive."""

UPLOADED = "cdi.kubevirt.io/storage.pod.phase"
IMMEDIATE = "cdi.kubevirt.io/storage.bind.immediate.requested"
POPULATOR = "cdi.kubevirt.io/storage.usePopulator"
POPULATED_FOR = "cdi.kubevirt.io/storage.populatedFor"
PREPOPULATED = "cdi.kubevirt.io/storage.prePopulated"
CLONE_TYPE = "cdi.kubevirt.io/cloneType"
CLONE_PHASE = "cdi.kubevirt.io/clonePhase"
FALLBACK = "cdi.kubevirt.io/cloneFallbackReason"

_LABELS = {
    "alerts.k8s.io/KubePersistentVolumeFillingUp": "disabled",
    "app": "containerized-data-importer",
    "app.kubernetes.io/component": "storage",
    "app.kubernetes.io/managed-by": "cdi-controller",
}
_POPULATORS = {
    "upload": ("VolumeUploadSource", "volume-upload-source"),
    "pvc": ("VolumeCloneSource", "volume-clone-source"),
    "snapshot": ("VolumeCloneSource", "volume-clone-source"),
}
_IMPORT = ("VolumeImportSource", "volume-import-source")


@dataclass(frozen=True)
class Source:
    """Where a DataVolume's content comes from: ``kind`` is "import", "blank", "upload", "pvc", "snapshot" or
    "external"."""

    kind: str
    namespace: str = ""
    name: str = ""
    found: Object | None = None
    """The claim or snapshot to clone; None while it does not exist."""

    @property
    def is_clone(self) -> bool:
        """Whether its content is that of another volume."""
        return self.kind in ("pvc", "snapshot")


def populator_reference(source: Source, uid: str) -> Object:
    """The ``dataSourceRef`` by which a claim names the populator that fills it."""
    kind, prefix = _POPULATORS.get(source.kind, _IMPORT)
    return {"apiGroup": GROUP, "kind": kind, "name": f"{prefix}-{uid}"}


def build_claim(volume: Object, spec: Object, annotations: dict[str, str]) -> Object:
    """The claim of a DataVolume, which owns it."""
    metadata = volume["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), **_LABELS},
            "annotations": annotations,
            "finalizers": ["kubernetes.io/pvc-protection"],
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/v1beta1",
                    "blockOwnerDeletion": True,
                    "controller": True,
                    "kind": "DataVolume",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": spec,
        "status": {"phase": "Pending"},
    }


def build_annotations(volume: Object, source: Source) -> dict[str, str]:
    """The annotations a DataVolume hands on to its claim, and those that say how it is filled."""
    annotations = {
        key: value
        for key, value in (volume["metadata"].get("annotations") or {}).items()
        if key != "kubectl.kubernetes.io/last-applied-configuration"
    }
    annotations["cdi.kubevirt.io/storage.contentType"] = volume["spec"].get("contentType", "kubevirt")
    annotations["cdi.kubevirt.io/storage.preallocation.requested"] = str(
        bool(volume["spec"].get("preallocation"))
    ).lower()
    if source.kind == "upload":
        annotations["cdi.kubevirt.io/storage.upload.target"] = ""
    return annotations


def source_bytes(source: Source) -> int | None:
    """The size of what is cloned; None where there is nothing to clone, or it is not known yet."""
    if source.found is None:
        return None
    if source.kind == "pvc":
        return claim_bytes(source.found)
    size = (source.found.get("status") or {}).get("restoreSize")
    return parse_bytes(size) if size else None


class StorageReader:
    """Looks up what a claim depends on: classes, profiles, drivers, CDI's settings."""

    def __init__(self, context: Context) -> None:
        registry = context.registry
        self._store = context.store
        self._registry = registry
        self._classes = registry.get(*CLASSES)
        self._profiles = registry.get(GROUP, "storageprofiles")
        self._cdis = registry.get(GROUP, "cdis")
        self._drivers = registry.get("storage.k8s.io", "csidrivers")

    def find_class(self, spec: Object) -> Object | str | None:
        """The class it names or the default one; the name of one that does not exist; None if there is none at
        all."""
        name = (spec.get("storage") or spec.get("pvc") or {}).get("storageClassName")
        if name:
            return self._store.find(self._classes, "", name) or str(name)
        found = find_default_class(
            self._store.list(self._classes), for_vm_disks=spec.get("contentType") != "archive"
        )
        return dict(found) if found is not None else None

    def find_profile(self, storage_class: Object | None) -> Object:
        """The status of a class's StorageProfile; empty where there is none."""
        if storage_class is None:
            return {}
        profile = self._store.find(self._profiles, "", storage_class["metadata"]["name"])
        return (profile or {}).get("status") or {}

    def has_driver(self, storage_class: Object) -> bool:
        """Whether a CSI driver provides a class: CDI fills its claims by populators then."""
        return self._store.exists(self._drivers, "", storage_class["provisioner"])

    def choose_clone(self, source: Source, claim_spec: Object, storage_class: Object) -> CloneChoice:
        """The way to clone a source into a claim of a class."""
        assert source.found is not None
        if source.kind == "snapshot":
            contents = self._registry.get("snapshot.storage.k8s.io", "volumesnapshotcontents")
            name = (source.found.get("status") or {}).get("boundVolumeSnapshotContentName", "")
            content = self._store.find(contents, "", name)
            driver = ((content or {}).get("spec") or {}).get("driver", "")
            return choose_snapshot_clone(driver, source_bytes(source) or 0, claim_spec, target_class=storage_class)
        source_class = self._store.find(self._classes, "", source.found["spec"].get("storageClassName") or "")
        cdi = self._store.find(self._cdis, "", "cdi") or {}
        return choose_claim_clone(
            source.found,
            claim_spec,
            source_class=source_class,
            target_class=storage_class,
            profile_status=self.find_profile(storage_class),
            override=(cdi.get("spec") or {}).get("cloneStrategyOverride"),
        )
