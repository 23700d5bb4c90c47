"""Which changes of a running VM's spec reach its instance, and which need a restart (vm.go, pkg/liveupdate)."""

from __future__ import annotations

import copy
from typing import Any, Final

from vmkit.lab.kubevirt.quantities import read, whole

Object = dict[str, Any]

RESTART_MESSAGE: Final = "a non-live-updatable field was changed in the template spec"
_ALWAYS_LIVE: Final = ("nodeSelector", "affinity", "tolerations")


def needs_restart(started_from: Object, vm_spec: Object, *, live_update: bool) -> bool:
    """Whether a template differs from the one its instance was started from in what cannot change while it runs.

    Args:
        started_from: the VM spec of the instance's revision, instance type applied.
        vm_spec: the VM's spec now, instance type applied.
        live_update: whether vmRolloutStrategy is LiveUpdate.
    """
    before = copy.deepcopy((started_from.get("template") or {}).get("spec") or {})
    now = copy.deepcopy((vm_spec.get("template") or {}).get("spec") or {})
    for each in (before, now):
        devices = each.setdefault("domain", {}).setdefault("devices", {})
        hotplugged = {volume["name"] for volume in each.get("volumes") or [] if is_hotplugged(volume)}
        each["volumes"] = [volume for volume in each.get("volumes") or [] if volume["name"] not in hotplugged]
        devices["disks"] = [disk for disk in devices.get("disks") or [] if disk.get("name") not in hotplugged]
        if live_update:
            (each["domain"].get("cpu") or {}).pop("sockets", None)
            (each["domain"].get("memory") or {}).pop("guest", None)
            for key in _ALWAYS_LIVE:
                each.pop(key, None)
        for key in ("cpu", "memory"):
            if not each["domain"].get(key):
                each["domain"].pop(key, None)
    if live_update:
        absent = {
            interface["name"]
            for interface in now["domain"]["devices"].get("interfaces") or []
            if interface.get("state") == "absent"
        }
        _ignore_bridge_interfaces(before, now, absent)
    return before != now


def _ignore_bridge_interfaces(before: Object, now: Object, absent: set[str]) -> None:
    """Secondary interfaces with a bridge binding come and go while a guest runs."""
    for each in (before, now):
        networks = {network["name"]: network for network in each.get("networks") or []}
        live = {
            interface["name"]
            for interface in each["domain"]["devices"].get("interfaces") or []
            if interface["name"] in absent
            or ("bridge" in interface and "multus" in networks.get(interface["name"], {}))
        }
        devices = each["domain"]["devices"]
        devices["interfaces"] = [one for one in devices.get("interfaces") or [] if one["name"] not in live]
        each["networks"] = [one for one in each.get("networks") or [] if one["name"] not in live]


def is_hotplugged(volume: Object) -> bool:
    """Whether a volume was plugged in while the guest ran."""
    source = volume.get("persistentVolumeClaim") or volume.get("dataVolume") or {}
    return bool(source.get("hotpluggable"))


def apply_live(vmi: Object, vm_spec: Object) -> list[str]:
    """Carries what may change into an instance, in place; returns what changed ("cpu", "memory", "volumes" ...).

    A size beyond what the instance was started with room for stays for the next start.
    """
    template = (vm_spec.get("template") or {}).get("spec") or {}
    spec, status = vmi["spec"], vmi["status"]
    changed = []
    cpu, wanted = spec["domain"].setdefault("cpu", {}), (template.get("domain") or {}).get("cpu") or {}
    sockets = wanted.get("sockets")
    if sockets and cpu.get("sockets") and sockets != cpu["sockets"] and sockets <= cpu.get("maxSockets", 0):
        cpu["sockets"] = sockets
        status["currentCPUTopology"] = {**(status.get("currentCPUTopology") or {}), "sockets": sockets}
        changed.append("cpu")
    memory = spec["domain"].get("memory") or {}
    guest = ((template.get("domain") or {}).get("memory") or {}).get("guest")
    if guest is not None and memory.get("guest") is not None and read(guest) != read(memory["guest"]):
        boot = (status.get("memory") or {}).get("guestAtBoot", memory["guest"])
        if whole(boot) <= whole(guest) <= whole(memory.get("maxGuest") or "0"):
            memory["guest"] = guest
            status["memory"] = {**(status.get("memory") or {}), "guestCurrent": guest, "guestRequested": guest}
            changed.append("memory")
    for key in _ALWAYS_LIVE:
        if template.get(key) != spec.get(key):
            if template.get(key):
                spec[key] = copy.deepcopy(template[key])
            else:
                spec.pop(key, None)
            changed.append(key)
    return changed


def beyond_reach(vmi: Object, vm_spec: Object) -> bool:
    """Whether processors or memory were changed to what the running instance cannot take."""
    template = (vm_spec.get("template") or {}).get("spec") or {}
    domain = template.get("domain") or {}
    cpu, memory = vmi["spec"]["domain"].get("cpu") or {}, vmi["spec"]["domain"].get("memory") or {}
    sockets = (domain.get("cpu") or {}).get("sockets")
    if sockets and cpu.get("sockets") and sockets > cpu.get("maxSockets", cpu["sockets"]):
        return True
    guest = (domain.get("memory") or {}).get("guest")
    if guest is None or memory.get("guest") is None or read(guest) == read(memory["guest"]):
        return False
    boot = ((vmi.get("status") or {}).get("memory") or {}).get("guestAtBoot", memory["guest"])
    return not whole(boot) <= whole(guest) <= whole(memory.get("maxGuest") or "0")
