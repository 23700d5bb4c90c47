"""The Containerized Data Importer, and what it knows of storage classes.

Source: CDI staging/src/kubevirt.io/containerized-data-importer-api/pkg/apis/core/v1beta1/types.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkit.cluster.resources import CDIS, STORAGE_CLASSES, STORAGE_PROFILES
from vmkit.doctor.look import Look, condition, entries, mapping, name_of, target_of
from vmkit.doctor.model import Check, Finding, Kind, Severity

_DEFAULTS = ("storageclass.kubevirt.io/is-default-virt-class", "storageclass.kubernetes.io/is-default-class")

OK = Kind("cdi.deployed", Severity.OK, "CDI is deployed.")
ABSENT = Kind(
    "cdi.absent",
    Severity.WARNING,
    "There is no CDI object.",
    why="disks cannot be imported or cloned: templates with data volumes fail",
    mend="install CDI: https://github.com/kubevirt/containerized-data-importer",
)
PHASE = Kind(
    "cdi.not-deployed",
    Severity.PROBLEM,
    "CDI's phase is not Deployed, or it is degraded.",
    why="imports and clones of disks wait",
    mend="kubectl -n cdi get pods; kubectl describe cdi",
)
UNRECOGNIZED = Kind(
    "cdi.profile-unknown",
    Severity.WARNING,
    "A StorageProfile names no access mode: CDI does not know the provisioner.",
    why="data volumes that leave the access mode to CDI are refused there",
    mend="kubectl patch storageprofile NAME --type=merge -p "
    '\'{"spec":{"claimPropertySets":[{"accessModes":["ReadWriteOnce"],"volumeMode":"Filesystem"}]}}\'',
)
NO_DEFAULT = Kind(
    "cdi.no-default-class",
    Severity.WARNING,
    "No storage class is the default.",
    why="disks that name no class stay pending",
    mend="kubectl annotate storageclass NAME storageclass.kubevirt.io/is-default-virt-class=true",
)


def run(look: Look) -> Iterator[Finding]:
    items = look.list(CDIS)
    if not items and look.knows(CDIS):
        yield ABSENT.found("there is no CDI object in the cluster")
    for item in items:
        target, phase = target_of(item, "CDI"), mapping(item, "status").get("phase")
        if phase != "Deployed" or condition(item, "Degraded") == "True":
            yield PHASE.found(f"{target} is in phase {phase or '(none)'}", target=target)
        else:
            yield OK.found(f"CDI {mapping(item, 'status').get('observedVersion', '')} is deployed", target=target)
    for profile in look.list(STORAGE_PROFILES):
        name = name_of(profile)
        if not any(entries(mapping(profile, part), "claimPropertySets") for part in ("spec", "status")):
            yield UNRECOGNIZED.found(
                f"CDI knows no access mode for storage class {name}",
                target=target_of(profile, "StorageProfile"),
                mend=UNRECOGNIZED.mend.replace("NAME", name),
            )
    classes = look.list(STORAGE_CLASSES)
    annotated = (mapping(one, "metadata", "annotations") for one in classes)
    if look.knows(STORAGE_CLASSES) and not any(
        marks.get(key) == "true" for marks in annotated for key in _DEFAULTS
    ):
        yield NO_DEFAULT.found(f"none of {len(classes)} storage classes is the default")


CHECK = Check(
    "cdi", "CDI, its StorageProfiles, and the default class.", (OK, ABSENT, PHASE, UNRECOGNIZED, NO_DEFAULT), run
)
