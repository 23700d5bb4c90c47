"""Rules about data volumes, claims, storage classes and snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vmkit.errors import InputError
from vmkit.provision.lint.model import Said, Severity, Subject, rule
from vmkit.provision.storage import RBD_SUFFIX
from vmkit.provision.walk import as_list, as_mapping, as_text, dig
from vmkit.units import parse_bytes

_CLAIMS: Final = ("VirtualMachine", "DataVolume", "PersistentVolumeClaim", "DataImportCron")
_CDI_WEBHOOK: Final = "CDI pkg/apiserver/webhooks/datavolume-validate.go"
_DVT_ADMITTER: Final = "KubeVirt pkg/storage/admitters/data-volume-template.go"
_SOURCES: Final = ("blank", "gcs", "http", "imageio", "pvc", "registry", "s3", "snapshot", "upload", "vddk")


@rule(
    "rbd-rwx-filesystem",
    Severity.ERROR,
    "ReadWriteMany with volume mode Filesystem on Ceph RBD corrupts data",
    "ceph-csi; CDI pkg/storagecapabilities",
    kinds=_CLAIMS,
)
def _rbd_rwx_filesystem(subject: Subject) -> Iterator[Said]:
    for path, _, claim in subject.claims():
        class_name = as_text(claim.get("storageClassName"))
        modes = as_list(claim.get("accessModes"))
        # A claim without volumeMode is a file system; in "storage" CDI would take the mode from the
        # StorageProfile.
        mode = claim.get("volumeMode") or ("" if path.endswith(".storage") else "Filesystem")
        if subject.surroundings.is_rbd(class_name) and "ReadWriteMany" in modes and mode == "Filesystem":
            yield (
                path, f"{class_name} is Ceph RBD: a file system there must not be mounted on two nodes",
                "use volumeMode: Block with ReadWriteMany, or ReadWriteOnce",
            )  # fmt: skip


@rule("claim-size", Severity.ERROR, "A volume asks for a size of 1 MiB or more", _CDI_WEBHOOK, kinds=_CLAIMS)
def _claim_size(subject: Subject) -> Iterator[Said]:
    for path, spec, claim in subject.claims():
        size = dig(claim, "resources", "requests", "storage")
        field = f"{path}.resources.requests.storage"
        if size is None:
            clones = (
                any(key in as_mapping(spec.get("source")) for key in ("pvc", "snapshot")) or "sourceRef" in spec
            )
            if not (clones and path.endswith(".storage")):
                yield field, "no size is asked for", "add resources: {requests: {storage: 20Gi}}"
            continue
        try:
            if parse_bytes(size) < 2**20:
                yield field, f"{size!r} is less than 1 MiB", 'did you forget the unit? Write "20Gi"'
        except InputError as problem:
            yield field, problem.message, problem.hint


@rule(
    "claim-modes",
    Severity.ERROR,
    "Access modes and volume modes have known values",
    "Kubernetes core/v1",
    kinds=_CLAIMS,
)
def _claim_modes(subject: Subject) -> Iterator[Said]:
    known = ("ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod")
    for path, _, claim in subject.claims():
        for mode in as_list(claim.get("accessModes")):
            if mode not in known:
                yield f"{path}.accessModes", f"there is no access mode {mode!r}", f"use one of {', '.join(known)}"
        if len(as_list(claim.get("accessModes"))) > 1:
            yield f"{path}.accessModes", "CDI takes one access mode only", "keep one of them"
        if claim.get("volumeMode") not in {None, "Block", "Filesystem"}:
            yield (
                f"{path}.volumeMode",
                f"there is no volume mode {claim.get('volumeMode')!r}",
                "use Block or Filesystem",
            )
        if path.endswith(".pvc") and not as_list(claim.get("accessModes")):
            yield (
                f"{path}.accessModes",
                "a pvc needs an access mode",
                "use storage: instead, where CDI fills it in",
            )


def _data_volumes(subject: Subject) -> Iterator[tuple[str, Any]]:
    if subject.kind == "DataVolume":
        yield "spec", subject.spec
    for index, item in enumerate(subject.data_volume_templates):
        yield f"spec.dataVolumeTemplates[{index}].spec", as_mapping(item.get("spec"))


@rule(
    "data-volume-source",
    Severity.ERROR,
    "A data volume has one source, and one of storage and pvc",
    _CDI_WEBHOOK,
    kinds=("VirtualMachine", "DataVolume"),
)
def _data_volume_source(subject: Subject) -> Iterator[Said]:
    for path, spec in _data_volumes(subject):
        source, reference = spec.get("source"), spec.get("sourceRef")
        sources = [key for key in _SOURCES if key in as_mapping(source)]
        if source is not None and reference is not None:
            yield path, "it has both source and sourceRef", "keep one of them"
        elif source is None and reference is None:
            yield (
                path,
                "it has neither source nor sourceRef",
                "add source: {blank: {}}, or where the image comes from",
            )
        elif source is not None and len(sources) != 1:
            yield f"{path}.source", "it has to have exactly one source", f"use one of {', '.join(_SOURCES)}"
        if reference is not None and as_mapping(reference).get("kind") != "DataSource":
            yield f"{path}.sourceRef.kind", "CDI knows references to a DataSource only", "write kind: DataSource"
        if reference is not None and not as_mapping(reference).get("name"):
            yield f"{path}.sourceRef.name", "the reference names no DataSource", "add its name"
        if ("storage" in spec) == ("pvc" in spec):
            yield path, "it has to have either storage or pvc", "keep storage"


@rule(
    "data-volume-template",
    Severity.ERROR,
    "dataVolumeTemplates are named, used, and in the VM's namespace",
    _DVT_ADMITTER,
)
def _data_volume_template(vm: Subject) -> Iterator[Said]:
    used = {dig(volume, "dataVolume", "name") for volume in vm.volumes}
    used |= {dig(volume, "persistentVolumeClaim", "claimName") for volume in vm.volumes}
    for index, item in enumerate(vm.data_volume_templates):
        path = f"spec.dataVolumeTemplates[{index}]"
        metadata = as_mapping(item.get("metadata"))
        name = as_text(metadata.get("name"))
        if not name:
            yield f"{path}.metadata.name", "it has no name", "add metadata.name"
        elif name not in used:
            yield path, f"no volume uses {name!r}", f"add a volume with dataVolume: {{name: {name}}}"
        namespace = metadata.get("namespace")
        if namespace and vm.namespace and namespace != vm.namespace:
            yield f"{path}.metadata.namespace", f"{namespace} is not the VM's namespace", "remove it"


@rule(
    "data-volume-name",
    Severity.ERROR,
    "A dataVolume volume names its DataVolume",
    "KubeVirt pkg/storage/admitters",
)
def _data_volume_name(vm: Subject) -> Iterator[Said]:
    for index, volume in enumerate(vm.volumes):
        if "dataVolume" in volume and not dig(volume, "dataVolume", "name"):
            yield f"spec.template.spec.volumes[{index}].dataVolume", "it names no DataVolume", "add its name"


@rule(
    "not-migratable",
    Severity.WARNING,
    "LiveMigrate needs ReadWriteMany disks",
    "KubeVirt pkg/virt-handler/vm.go; #3908, #11737",
)
def _not_migratable(vm: Subject) -> Iterator[Said]:
    if vm.guest.get("evictionStrategy") != "LiveMigrate":
        return
    for path, _, claim in vm.claims():
        modes = as_list(claim.get("accessModes"))
        if modes and "ReadWriteMany" not in modes:
            yield (
                f"{path}.accessModes", f"{modes[0]} disks cannot move: a drain waits for this VM for ever",
                "use ReadWriteMany (Block on RBD), or LiveMigrateIfPossible",
            )  # fmt: skip


@rule(
    "windows-on-rbd",
    Severity.WARNING,
    "Windows on Ceph RBD needs mapOptions krbd:rxbounce",
    "kubevirt/monitoring runbook VMStorageClassWarning",
)
def _windows_on_rbd(vm: Subject) -> Iterator[Said]:
    if not vm.is_windows:
        return
    for path, _, claim in vm.claims():
        name = as_text(claim.get("storageClassName"))
        facts = vm.surroundings.classes.get(name)
        if not name or not vm.surroundings.is_rbd(name):
            continue
        if facts is None or "rxbounce" not in facts.parameters.get("mapOptions", ""):
            known = "has no krbd:rxbounce" if facts is not None else "may lack krbd:rxbounce"
            yield (
                f"{path}.storageClassName", f"{name} {known}: Windows then meets checksum errors on RBD",
                "use a class with mapOptions: krbd:rxbounce (template rook-block with windows=true)",
            )  # fmt: skip


@rule(
    "pvc-verbatim",
    Severity.INFO,
    "pvc is taken literally; storage lets CDI fill in modes and overhead",
    "CDI doc/datavolumes.md",
    kinds=("VirtualMachine", "DataVolume"),
)
def _pvc_verbatim(subject: Subject) -> Iterator[Said]:
    for path, _, _ in subject.claims():
        if path.endswith(".pvc"):
            yield path, "pvc is taken literally: no overhead is added for a file system", "use storage"


@rule(
    "rbd-class-features",
    Severity.WARNING,
    "RBD classes for VMs want exclusive-lock, object-map and fast-diff",
    "ocs-operator pkg/util/storageclasses.go; Rook deploy/examples",
    kinds=("StorageClass",),
)
def _rbd_class_features(subject: Subject) -> Iterator[Said]:
    manifest = subject.manifest
    if not as_text(manifest.get("provisioner")).endswith(RBD_SUFFIX):
        return
    features = {part.strip() for part in as_text(dig(manifest, "parameters", "imageFeatures")).split(",")}
    missing = [
        part for part in ("exclusive-lock", "object-map", "fast-diff", "deep-flatten") if part not in features
    ]
    if missing:
        yield (
            "parameters.imageFeatures", f"without {', '.join(missing)} clones and snapshots are slower",
            "use layering,fast-diff,object-map,deep-flatten,exclusive-lock (kernel 5.4 or newer)",
        )  # fmt: skip
    if manifest.get("allowVolumeExpansion") is not True:
        yield "allowVolumeExpansion", "disks on this class cannot grow", "write allowVolumeExpansion: true"


@rule(
    "one-replica",
    Severity.WARNING,
    "A pool with one replica loses data with the first broken disk",
    "Rook CephBlockPool",
    kinds=("CephBlockPool",),
)
def _one_replica(subject: Subject) -> Iterator[Said]:
    if dig(subject.spec, "replicated", "size") == 1:
        yield "spec.replicated.size", "one replica: the first broken disk loses data", "use 3"


@rule(
    "snapshot-class-driver",
    Severity.WARNING,
    "A VolumeSnapshotClass has the driver of a StorageClass beside it",
    "kubernetes-csi external-snapshotter",
    kinds=("VolumeSnapshotClass",),
)
def _snapshot_class_driver(subject: Subject) -> Iterator[Said]:
    drivers = {
        as_text(manifest.get("provisioner"))
        for manifest in subject.surroundings.manifests
        if manifest.get("kind") == "StorageClass"
    }
    driver = as_text(subject.manifest.get("driver"))
    if drivers and driver not in drivers:
        yield "driver", f"no StorageClass here has the provisioner {driver}", "use the provisioner's name"
