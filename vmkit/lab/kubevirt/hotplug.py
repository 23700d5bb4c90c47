"""Volumes plugged into a running guest and pulled out again, and memory dumps onto a claim."""

from __future__ import annotations

import copy
from typing import Any, Final

from vmkit.lab.kubevirt.liveupdate import is_hotplugged
from vmkit.lab.kubevirt.quantities import binary, whole
from vmkit.lab.kubevirt.world import VIRT_CONTROLLER, World

Object = dict[str, Any]

_DUMP_OVERHEAD_BYTES: Final = 100 * 2**20
_FILESYSTEM_OVERHEAD: Final = 0.06


def carry_volumes(vmi: Object, vm_spec: Object) -> list[str]:
    """Makes an instance's hot-plugged volumes those of its VM, in place; ["volumes"] when something changed."""
    template = (vm_spec.get("template") or {}).get("spec") or {}
    wanted = {volume["name"]: volume for volume in template.get("volumes") or [] if is_hotplugged(volume)}
    disks = {disk["name"]: disk for disk in (template.get("domain") or {}).get("devices", {}).get("disks") or []}
    spec, status = vmi["spec"], vmi["status"]
    present = {volume["name"]: volume for volume in spec.get("volumes") or []}
    gone = [name for name, volume in present.items() if is_hotplugged(volume) and name not in wanted]
    new = [name for name in wanted if name not in present]
    if not gone and not new:
        return []
    spec["volumes"] = [volume for name, volume in present.items() if name not in gone]
    devices = spec["domain"].setdefault("devices", {})
    devices["disks"] = [disk for disk in devices.get("disks") or [] if disk["name"] not in gone]
    status["volumeStatus"] = [each for each in status.get("volumeStatus") or [] if each["name"] not in gone]
    for name in new:
        plug(vmi, wanted[name], disks.get(name) or {"name": name, "disk": {"bus": "scsi"}})
    return ["volumes"]


def plug(vmi: Object, volume: Object, disk: Object) -> None:
    """Adds a volume and its disk to an instance, in place."""
    spec, status = vmi["spec"], vmi["status"]
    spec.setdefault("volumes", []).append(copy.deepcopy(volume))
    spec["domain"].setdefault("devices", {}).setdefault("disks", []).append(copy.deepcopy(disk))
    status.setdefault("volumeStatus", []).append(
        {
            "hotplugVolume": {},
            "message": "Successfully attach hotplugged volume " + volume["name"] + " to VM",
            "name": volume["name"],
            "phase": "Ready",
            "reason": "VolumeReady",
            "target": f"sd{'abcdefghijklmnopqrstuvwxyz'[len(status['volumeStatus']) % 26]}",
        }
    )


def with_volume(spec: Object, options: Object) -> Object:
    """A VMI spec with the volume of AddVolumeOptions in it."""
    changed = copy.deepcopy(spec)
    source = copy.deepcopy(options["volumeSource"])
    for kind in ("persistentVolumeClaim", "dataVolume"):
        if kind in source:
            source[kind]["hotpluggable"] = True
    disk = {**copy.deepcopy(options["disk"]), "name": options["name"]}
    if not {"disk", "lun", "cdrom"} & disk.keys():
        disk["disk"] = {"bus": "scsi"}
    changed.setdefault("volumes", []).append({"name": options["name"], **source})
    changed.setdefault("domain", {}).setdefault("devices", {}).setdefault("disks", []).append(disk)
    return changed


def without_volume(spec: Object, name: str) -> Object:
    """A VMI spec without a volume and its disk."""
    changed = copy.deepcopy(spec)
    names = {volume["name"] for volume in changed.get("volumes") or [] if names_volume(volume, name)}
    changed["volumes"] = [volume for volume in changed.get("volumes") or [] if volume["name"] not in names]
    devices = changed.get("domain", {}).get("devices", {})
    devices["disks"] = [disk for disk in devices.get("disks") or [] if disk["name"] not in names]
    return changed


def names_volume(volume: Object, name: str) -> bool:
    """Whether a volume, or the claim or DataVolume behind it, has a name."""
    return name in (
        volume.get("name"),
        (volume.get("dataVolume") or {}).get("name"),
        (volume.get("persistentVolumeClaim") or {}).get("claimName"),
    )


def dump_bytes(vmi: Object) -> int:
    """What a claim must hold for a memory dump: the guest's memory, a margin, and the file system's share."""
    memory = whole((vmi["spec"]["domain"].get("memory") or {}).get("guest"))
    return int((memory + _DUMP_OVERHEAD_BYTES) * (1 + _FILESYSTEM_OVERHEAD))


def follow_memory_dump(world: World, vm: Object, vmi: Object) -> None:
    """Carries out a memory dump request: the claim is attached, written, and detached again, at once."""
    request = (vm.get("status") or {}).get("memoryDumpRequest")
    if not request:
        return
    phase = request.get("phase")
    if phase == "Associating":
        request["phase"] = "Completed"
        now = world.now()
        stamp = now.replace("-", "").replace(":", "")
        request.update(
            startTimestamp=now,
            endTimestamp=now,
            fileName=f"{vm['metadata']['name']}-{request['claimName']}-{stamp}.memory.dump",
        )
        claim = world.look_up("", "persistentvolumeclaims", vm["metadata"]["namespace"], request["claimName"])
        if claim is not None:
            claim["metadata"].setdefault("annotations", {})["kubevirt.io/memory-dump"] = request["fileName"]
            world.store.update(world.registry.get("", "persistentvolumeclaims"), claim, manager=VIRT_CONTROLLER)
    elif phase == "Dissociating":
        del vm["status"]["memoryDumpRequest"]


def size_text(size: int) -> str:
    """Bytes as KubeVirt writes them in messages."""
    return binary(size)
