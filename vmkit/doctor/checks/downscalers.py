"""Other software that turns workloads off, and whether two would act on one VM.

Sources: py-kube-downscaler and GoKubeDownscaler (annotations ``downscaler/*``; neither handles VMs), kube-green
api/v1alpha1/sleepinfo_types.go (``patches`` may be aimed at any kind), keda apis/keda/v1alpha1
(``scaleTargetRef``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from vmkit.cluster.resources import DEPLOYMENTS, NAMESPACES, VIRTUAL_MACHINES, Resource
from vmkit.doctor.look import Look, Object, entries, mapping, target_of
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.schedule.downscaler import PREFIX
from vmkit.schedule.sources import SCHEDULE

SLEEP_INFOS: Final = Resource("kube-green.com", "v1alpha1", "sleepinfos", "SleepInfo")
SCALED_OBJECTS: Final = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
_IMAGES: Final[Mapping[str, str]] = {
    "kube-downscaler": "kube-downscaler",
    "py-kube-downscaler": "py-kube-downscaler",
    "gokubedownscaler": "GoKubeDownscaler",
    "kube-green": "kube-green",
    "keda": "KEDA",
}
"""The last part of an image's name, and whose it is."""

NONE = Kind("downscalers.none", Severity.OK, "Nothing else in the cluster turns VMs off.")
PRESENT = Kind(
    "downscalers.present",
    Severity.INFO,
    "Software runs that turns workloads off on schedules.",
    why="none of it handles VMs by itself; schedules of both should agree where VMs and workloads belong together",
)
ANNOTATED = Kind(
    "downscalers.annotations",
    Severity.INFO,
    "VMs, or namespaces with VMs, carry annotations of kube-downscaler.",
    why="no downscaler obeys them for VMs; vmkit does when it is told to",
    mend="vmkit schedule run --honour-downscaler python",
)
TWO = Kind(
    "downscalers.two-controllers",
    Severity.PROBLEM,
    "VMs have a schedule of vmkit, and kube-green patches VMs in their namespace.",
    why="each turns on or off what the other did, and neither remembers the run strategy from before",
    mend="remove the patches for VirtualMachine from the SleepInfo, or the annotation vmkit.io/schedule",
)
SCALES = Kind(
    "downscalers.scales-vms",
    Severity.WARNING,
    "A ScaledObject of KEDA is aimed at VMs.",
    why="it changes how many VMs a pool has: a schedule for the same VMs acts against it",
    mend="keep VMs of that pool out of schedules: label or annotate only VMs outside of it",
)


def run(look: Look) -> Iterator[Finding]:
    vms = look.list(VIRTUAL_MACHINES)
    found = [*_present(look), *_annotated(look, vms), *_sleeping(look, vms), *_scaled(look)]
    known = look.knows(VIRTUAL_MACHINES, NAMESPACES, DEPLOYMENTS, SLEEP_INFOS, SCALED_OBJECTS)
    yield from found
    if not found and known:
        yield NONE.found("nothing else in the cluster turns VMs off")


def _present(look: Look) -> Iterator[Finding]:
    for item in look.list(DEPLOYMENTS):
        images = [
            str(one.get("image", "")) for one in entries(mapping(item, "spec", "template", "spec"), "containers")
        ]
        names = {image.rpartition("/")[2].partition("@")[0].partition(":")[0].lower() for image in images}
        for name in sorted(names & _IMAGES.keys()):
            target = target_of(item, "Deployment")
            yield PRESENT.found(f"{_IMAGES[name]} runs as {target}", target=target)


def _annotated(look: Look, vms: Sequence[Object]) -> Iterator[Finding]:
    spaces = {mapping(one, "metadata").get("namespace") for one in vms}
    marked = [one for one in vms if _has_prefix(one)]
    marked_spaces = [
        one for one in look.list(NAMESPACES) if _has_prefix(one) and mapping(one, "metadata").get("name") in spaces
    ]
    if marked or marked_spaces:
        yield ANNOTATED.found(
            f"annotations {PREFIX}* stand on {len(marked)} VMs and {len(marked_spaces)} namespaces with VMs"
        )


def _has_prefix(item: Object) -> bool:
    return any(str(key).startswith(PREFIX) for key in mapping(item, "metadata", "annotations"))


def _sleeping(look: Look, vms: Sequence[Object]) -> Iterator[Finding]:
    scheduled_spaces = {
        mapping(one, "metadata").get("name")
        for one in look.list(NAMESPACES)
        if SCHEDULE in mapping(one, "metadata", "annotations")
    }
    for item in look.list(SLEEP_INFOS):
        namespace = mapping(item, "metadata").get("namespace")
        targets = [mapping(patch, "target") for patch in entries(mapping(item, "spec"), "patches")]
        if not any(target.get("kind") == "VirtualMachine" for target in targets):
            continue
        both = [
            one
            for one in vms
            if mapping(one, "metadata").get("namespace") == namespace
            and (namespace in scheduled_spaces or SCHEDULE in mapping(one, "metadata", "annotations"))
        ]
        if both:
            target = target_of(item, "SleepInfo")
            yield TWO.found(f"{target} patches VMs; {len(both)} of them have a schedule of vmkit", target=target)


def _scaled(look: Look) -> Iterator[Finding]:
    for item in look.list(SCALED_OBJECTS):
        aim = mapping(item, "spec", "scaleTargetRef")
        if str(aim.get("kind") or "").startswith("VirtualMachine"):
            target = target_of(item, "ScaledObject")
            yield SCALES.found(f"{target} is aimed at {aim['kind']} {aim.get('name', '')}", target=target)


CHECK = Check(
    "downscalers",
    "Other software that turns workloads off, and whether two would act on one VM.",
    (NONE, PRESENT, ANNOTATED, TWO, SCALES),
    run,
)
