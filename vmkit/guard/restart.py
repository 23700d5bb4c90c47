"""What a VM would lose, or might not get again, when it is stopped and started.

Sources: KubeVirt docs "Disks and Volumes" (containerDisk, ephemeral and emptyDisk live as long as the instance),
pkg/virt-controller/watch/vm (RestartRequired), pkg/network (an interface without a MAC
gets another one each time).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.plan.model import Reason

_LOST_WITH_THE_INSTANCE: Final[Mapping[str, str]] = {
    "containerDisk": "a containerDisk",
    "ephemeral": "an ephemeral copy",
    "emptyDisk": "an emptyDisk",
}
_HOSTNAME: Final = "kubernetes.io/hostname"


def find_restart_risks(vm: Mapping[str, Any], vmi: Mapping[str, Any] | None = None) -> tuple[Reason, ...]:
    """Why the VM might not come back as it was; empty where nothing is known to stand against it.

    Never raises: what is mistyped is `read_vm`'s to report.

    Args:
        vm: the VirtualMachine.
        vmi: its instance, if it has one.
    """
    guest = _mapping(_mapping(_mapping(vm, "spec"), "template"), "spec")
    devices = _mapping(_mapping(guest, "domain"), "devices")
    return (
        *_lost_disks(guest, devices),
        *_hotplugged(guest, _mapping(vmi or {}, "spec")),
        *_addresses(guest, devices),
        *_pending(vm),
        *_bound(guest, devices),
    )


def _lost_disks(guest: Mapping[str, Any], devices: Mapping[str, Any]) -> Iterator[Reason]:
    passing = [
        (volume, kind)
        for volume in _entries(guest.get("volumes"))
        if (kind := next((key for key in _LOST_WITH_THE_INSTANCE if key in volume), None)) is not None
    ]
    writable = {_name(disk) for disk in _entries(devices.get("disks")) if _is_writable(disk)} if passing else ()
    for volume, kind in passing:
        if _name(volume) in writable:
            text = (
                f"its disk {_name(volume)} is {_LOST_WITH_THE_INSTANCE[kind]}: what it wrote there would be lost"
            )
            yield Reason("DiskLost", text)


def _is_writable(disk: Mapping[str, Any]) -> bool:
    if "cdrom" in disk:
        return False
    device = disk.get("disk", disk.get("lun"))
    return not (isinstance(device, Mapping) and device.get("readonly") is True)


def _hotplugged(guest: Mapping[str, Any], running: Mapping[str, Any]) -> Iterator[Reason]:
    plain = guest.get("volumes")
    if running.get("volumes") == plain:
        return  # It runs with what it is defined with, as nearly all do.
    kept = {_name(volume) for volume in _entries(plain)}
    for volume in _entries(running.get("volumes")):
        source = volume.get("dataVolume", volume.get("persistentVolumeClaim"))
        plugged = isinstance(source, Mapping) and source.get("hotpluggable") is True
        if plugged and _name(volume) not in kept:
            yield Reason("HotpluggedVolume", f"its volume {_name(volume)} was plugged into the instance only")


def _addresses(guest: Mapping[str, Any], devices: Mapping[str, Any]) -> Iterator[Reason]:
    interfaces = list(_entries(devices.get("interfaces")))
    for interface in interfaces:
        if not interface.get("macAddress"):
            yield Reason(
                "MacAddressChanges", f"its interface {_name(interface)} names no macAddress: it gets another"
            )
    if not interfaces and not guest.get("networks") and devices.get("autoattachPodInterface") is not False:
        yield Reason("MacAddressChanges", "its interface is the one KubeVirt adds: it gets another macAddress")


def _pending(vm: Mapping[str, Any]) -> Iterator[Reason]:
    for condition in _entries(_mapping(vm, "status").get("conditions")):
        if condition.get("type") == "RestartRequired" and condition.get("status") == "True":
            yield Reason("RestartRequired", "changes to it wait for a restart: it would come back as another")


def _bound(guest: Mapping[str, Any], devices: Mapping[str, Any]) -> Iterator[Reason]:
    for key, word in (("gpus", "GPU"), ("hostDevices", "host device")):
        if any(_entries(devices.get(key))):
            yield Reason("ScarceDevice", f"it holds a {word}, which another may take meanwhile")
    if _HOSTNAME in _mapping(guest, "nodeSelector"):
        yield Reason("NodeBound", "it runs on one named node alone, which may have no room for it later")
    for volume in _entries(guest.get("volumes")):
        if "hostDisk" in volume:
            yield Reason("NodeBound", f"its disk {_name(volume)} is a file on one node")


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, Mapping))


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    return name if isinstance(name, str) else ""
