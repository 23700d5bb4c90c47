"""Which storage class VM disks go on, with which modes, and why. Pure.

Sources: CDI pkg/storagecapabilities/storagecapabilities.go (what each provisioner can do), CDI doc/datavolumes.md
(default classes), Rook deploy/examples/csi (names and provisioners).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import InputError, UsageError
from vmkit.plan.model import Reason
from vmkit.provision.walk import as_list, as_mapping, as_text
from vmkit.units import parse_bytes

RBD_SUFFIX: Final = ".rbd.csi.ceph.com"
"""Rook's provisioners begin with the operator's namespace or driver name: "rook-ceph", "openshift-storage" ..."""
CEPHFS_SUFFIX: Final = ".cephfs.csi.ceph.com"
VIRT_DEFAULT: Final = "storageclass.kubevirt.io/is-default-virt-class"
KUBERNETES_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
AUTO: Final = "auto"

_READ_WRITE_MANY: Final = "ReadWriteMany"
_READ_WRITE_ONCE: Final = "ReadWriteOnce"


_CLUSTER_DEFAULT: Final = Reason("ClusterDefault", "the cluster's own default class, at the time of creation")


@dataclass(frozen=True, slots=True)
class StorageChoice:
    """The storage VM disks go on.

    Attributes:
        class_name: the StorageClass; empty means the cluster's own default at the time.
        access_modes, volume_mode: to be written into the claim; empty means CDI takes them from the
        StorageProfile. provisioner: of the class; empty where no cluster was asked.
        parameters: of the class.
        snapshot_class: a VolumeSnapshotClass of the same driver; empty where there is none.
        reason: why this one.
        warnings: what people should know about it.
    """

    class_name: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: str = ""
    provisioner: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    snapshot_class: str = ""
    reason: Reason = _CLUSTER_DEFAULT
    warnings: tuple[str, ...] = ()

    @property
    def is_rbd(self) -> bool:
        return self.provisioner.endswith(RBD_SUFFIX)

    @property
    def is_ceph(self) -> bool:
        return self.is_rbd or self.provisioner.endswith(CEPHFS_SUFFIX)

    @property
    def can_live_migrate(self) -> bool | None:
        """Whether a VM on such disks can move while running; None where the modes are CDI's choice."""
        return _READ_WRITE_MANY in self.access_modes if self.access_modes else None

    def to_value(self) -> dict[str, Any]:
        """What bodies see as ``storage``; what is not chosen is none, and so left out."""
        return {
            "class_name": self.class_name or None,
            "access_modes": list(self.access_modes) or None,
            "volume_mode": self.volume_mode or None,
            "snapshot_class": self.snapshot_class or None,
        }


def choose_offline(requested: str) -> StorageChoice:
    """The choice where no cluster is asked: the class named, or the cluster's default; modes are CDI's."""
    if requested in {"", AUTO}:
        return StorageChoice()
    return StorageChoice(requested, reason=Reason("Asked", f"{requested} was asked for; no cluster was looked at"))


def decide_storage_class(
    classes: Iterable[Mapping[str, Any]],
    profiles: Iterable[Mapping[str, Any]],
    requested: str = AUTO,
    *,
    snapshot_classes: Iterable[Mapping[str, Any]] = (),
) -> StorageChoice:
    """Chooses a storage class for VM disks.

    "auto" takes, in this order: the default class for virtualization, a class of an RBD provisioner (the cluster's
    default if it is one, else the first by name), the cluster's default class.

    Args:
        classes: StorageClass objects.
        profiles: CDI's StorageProfile objects.
        requested: a class's name, or "auto".
        snapshot_classes: VolumeSnapshotClass objects.

    Raises:
        UsageError: no class has the name asked for, or "auto" finds none.
    """
    by_name = {name: item for item in classes if (name := _name(item))}
    found, reason = _choose(by_name, requested)
    provisioner = as_text(found.get("provisioner"))
    name = _name(found)
    profile = next((item for item in profiles if _name(item) == name), None)
    access_modes, volume_mode, warnings = _decide_modes(name, provisioner, profile)
    snapshot_class = _snapshot_class(snapshot_classes, provisioner)
    if provisioner.endswith((RBD_SUFFIX, CEPHFS_SUFFIX)) and not snapshot_class:
        warnings.append(
            f"no VolumeSnapshotClass for {provisioner}: no snapshots, and golden images are copied, not cloned"
        )
    return StorageChoice(
        class_name=name,
        access_modes=access_modes,
        volume_mode=volume_mode,
        provisioner=provisioner,
        parameters={key: as_text(value) for key, value in as_mapping(found.get("parameters")).items()},
        snapshot_class=snapshot_class,
        reason=reason,
        warnings=tuple(warnings),
    )


def _choose(by_name: Mapping[str, Mapping[str, Any]], requested: str) -> tuple[Mapping[str, Any], Reason]:
    if requested not in {"", AUTO}:
        if requested in by_name:
            return by_name[requested], Reason("Asked", f"{requested} was asked for")
        close = difflib.get_close_matches(requested, by_name, 1)
        raise UsageError(
            f"there is no storage class {requested!r}",
            hint=f"did you mean {close[0]!r}?" if close
            else f"there are {', '.join(sorted(by_name))}" if by_name else "the cluster has no storage classes",
            where="--storage",
        )  # fmt: skip
    virtual = _annotated(by_name, VIRT_DEFAULT)
    if virtual:
        return by_name[virtual[0]], Reason(
            "DefaultVirtualizationClass", f"{virtual[0]} is the default class for virtualization"
        )
    default = _annotated(by_name, KUBERNETES_DEFAULT)
    rbd = sorted(name for name, item in by_name.items() if as_text(item.get("provisioner")).endswith(RBD_SUFFIX))
    if rbd:
        name = next((name for name in default if name in rbd), rbd[0])
        others = [other for other in rbd if other != name]
        more = f" (others: {', '.join(others)})" if others else ""
        return by_name[name], Reason("RbdClass", f"{name} is on Ceph RBD, which VMs can migrate on{more}")
    if default:
        return by_name[default[0]], Reason(
            "DefaultClass", f"{default[0]} is the cluster's default class, and none is on Ceph RBD"
        )
    raise UsageError(
        "no storage class could be chosen: none is marked as default and none is on Ceph RBD",
        hint=f"name one with --storage: {', '.join(sorted(by_name))}" if by_name
        else "vmkit template show rook-block creates storage on Rook",
        where="--storage",
    )  # fmt: skip


def _annotated(by_name: Mapping[str, Mapping[str, Any]], annotation: str) -> list[str]:
    # Kubernetes takes the newest of several defaults; age says nothing to people, so the name decides here.
    return sorted(
        name
        for name, item in by_name.items()
        if as_text(as_mapping(as_mapping(item.get("metadata")).get("annotations")).get(annotation)) == "true"
    )


def _decide_modes(
    name: str, provisioner: str, profile: Mapping[str, Any] | None
) -> tuple[tuple[str, ...], str, list[str]]:
    """What to write into claims: nothing where CDI's StorageProfile knows the class."""
    warnings: list[str] = []
    sets = as_list(as_mapping((profile or {}).get("status")).get("claimPropertySets"))
    if sets and as_list(as_mapping(sets[0]).get("accessModes")):
        best = as_mapping(sets[0])
        if _READ_WRITE_MANY not in as_list(best.get("accessModes")):
            warnings.append(
                f"{name} gives {as_list(best.get('accessModes'))[0]} volumes: such VMs cannot live-migrate"
            )
        return (), "", warnings
    if provisioner.endswith(RBD_SUFFIX):
        # RBD shares block devices between nodes, and never a file system on one: that would corrupt it.
        return (_READ_WRITE_MANY,), "Block", warnings
    if provisioner.endswith(CEPHFS_SUFFIX):
        return (_READ_WRITE_MANY,), "Filesystem", warnings
    warnings.append(
        f"CDI does not know what {name} ({provisioner or 'no provisioner'}) can do: ReadWriteOnce and Filesystem "
        "are written out, and such VMs cannot live-migrate"
    )
    return (_READ_WRITE_ONCE,), "Filesystem", warnings


def _snapshot_class(snapshot_classes: Iterable[Mapping[str, Any]], driver: str) -> str:
    matching = sorted(_name(item) for item in snapshot_classes if driver and item.get("driver") == driver)
    return matching[0] if matching else ""


def requested_bytes(manifests: Sequence[Mapping[str, Any]], choice: StorageChoice) -> int:
    """How much the disks of these manifests ask of the chosen class, in bytes.

    Counted are DataVolumes, claims and dataVolumeTemplates that name the class, or none. A size that is no
    quantity counts nothing: lint says so.
    """
    total = 0
    for claim in _claims(manifests):
        class_name = claim.get("storageClassName")
        if class_name not in {None, "", choice.class_name}:
            continue
        size = as_mapping(as_mapping(claim.get("resources")).get("requests")).get("storage")
        if isinstance(size, str | int):
            try:
                total += parse_bytes(size)
            except InputError:
                continue
    return total


def _claims(manifests: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for manifest in manifests:
        spec = as_mapping(manifest.get("spec"))
        if manifest.get("kind") == "PersistentVolumeClaim":
            yield spec
        elif manifest.get("kind") == "DataVolume":
            yield from _volume_claims(spec)
        elif manifest.get("kind") == "VirtualMachine":
            for item in as_list(spec.get("dataVolumeTemplates")):
                yield from _volume_claims(as_mapping(as_mapping(item).get("spec")))


def _volume_claims(spec: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for key in ("storage", "pvc"):
        if isinstance(spec.get(key), Mapping):
            yield spec[key]


def _name(item: Mapping[str, Any]) -> str:
    return as_text(as_mapping(item.get("metadata")).get("name"))
