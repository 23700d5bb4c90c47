"""Applying an instance type and a preference to a VMI spec (pkg/instancetype/apply, .../preference)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.kubevirt.admission.causes import INVALID, Cause
from vmkit.lab.kubevirt.quantities import binary, canonical, read, whole

Object = dict[str, Any]

_THREADS_PER_CORE: Final = 2


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Fields of a VM that its instance type wants to set: ``paths`` in the order found."""

    paths: tuple[str, ...]
    message: str = ""

    def __bool__(self) -> bool:
        return bool(self.paths)

    def error(self) -> str:
        """One text for all of them."""
        return self.message or _conflict_text(", ".join(self.paths))

    def causes(self) -> list[Cause]:
        """One cause each."""
        return [Cause(self.message or _conflict_text(path), path, INVALID) for path in self.paths]


def _conflict_text(paths: str) -> str:
    return f"VM field(s) {paths} conflicts with selected instance type"


def topology(preference: Object | None) -> str:
    """The preferred topology: sockets, cores, threads, spread or any."""
    chosen = str(((preference or {}).get("cpu") or {}).get("preferredCPUTopology", "sockets"))
    name = chosen.removeprefix("prefer").lower()
    return "sockets" if name in ("any", "") else name


def _spread(preference: Object | None) -> tuple[int, str]:
    spec = preference or {}
    options = (spec.get("cpu") or {}).get("spreadOptions") or {}
    ratio = options.get("ratio") or spec.get("preferSpreadSocketToCoreRatio") or 2
    return int(ratio), str(options.get("across", "SocketsCores"))


def spread_conflict(instancetype: Object | None, preference: Object | None) -> Conflicts:
    """A number of vCPUs that cannot be spread as the preference wants."""
    if instancetype is None or topology(preference) != "spread":
        return Conflicts(())
    count = int((instancetype.get("cpu") or {}).get("guest", 0))
    ratio, across = _spread(preference)
    start = f"{count} vCPUs provided by the instance type are not divisible by the "
    owner = "Spec.PreferSpreadSocketToCoreRatio or Spec.CPU.PreferSpreadOptions.Ratio of"
    text = ""
    if across == "SocketsCores" and count % ratio:
        text = f"{start}{owner} {ratio} provided by the preference"
    elif across == "CoresThreads" and count % ratio:
        text = f"{start}number of threads per core {ratio}"
    elif across == "SocketsCoresThreads" and (count % _THREADS_PER_CORE or count // _THREADS_PER_CORE % ratio):
        text = f"{start}number of threads per core {_THREADS_PER_CORE} and {owner} {ratio}"
    return Conflicts(("spec.instancetype",), text) if text else Conflicts(())


def apply(
    spec: Object,
    instancetype: Object | None,
    preference: Object | None,
    *,
    field: str,
    metadata: Object | None = None,
) -> Conflicts:
    """Applies both to a VMI spec, in place; when there are conflicts the spec is not to be used.

    Args:
        spec: the VMI spec.
        instancetype, preference: their specs, or None.
        field: the path of the spec, for conflicts.
        metadata: the template's metadata; annotations of both are added to it.
    """
    spread = spread_conflict(instancetype, preference)
    if spread:
        return spread
    if instancetype is not None:
        conflicts = _apply_instancetype(spec, instancetype, preference, field)
        if conflicts:
            return Conflicts(tuple(conflicts))
    if preference is not None:
        _apply_preference(spec, preference)
    for source in (instancetype, preference):
        annotations = (source or {}).get("annotations")
        if annotations and metadata is not None:
            existing = metadata.setdefault("annotations", {})
            for key, value in annotations.items():
                existing.setdefault(key, value)
    return Conflicts(())


def _apply_instancetype(spec: Object, instancetype: Object, preference: Object | None, field: str) -> list[str]:
    domain = spec.setdefault("domain", {})
    given = _given(spec, domain, instancetype)
    if given:
        return [f"{field}.{path}" for path in given]
    source = instancetype.get("cpu") or {}
    cpu = domain.setdefault("cpu", {})
    for theirs, ours in (
        ("model", "model"), ("dedicatedCPUPlacement", "dedicatedCpuPlacement"),
        ("isolateEmulatorThread", "isolateEmulatorThread"), ("numa", "numa"), ("realtime", "realtime"),
        ("maxSockets", "maxSockets"),
    ):  # fmt: skip
        if theirs in source:
            cpu[ours] = copy.deepcopy(source[theirs])
    cpu.update(_topology(int(source.get("guest", 1)), preference))
    _apply_memory(domain, instancetype.get("memory") or {})
    for theirs in ("ioThreads", "ioThreadsPolicy", "launchSecurity"):
        if theirs in instancetype:
            domain[theirs] = copy.deepcopy(instancetype[theirs])
    for theirs in ("gpus", "hostDevices"):
        if theirs in instancetype:
            domain.setdefault("devices", {})[theirs] = copy.deepcopy(instancetype[theirs])
    for theirs in ("nodeSelector", "schedulerName"):
        if theirs in instancetype:
            spec[theirs] = copy.deepcopy(instancetype[theirs])
    return []


def _given(spec: Object, domain: Object, instancetype: Object) -> list[str]:
    resources, cpu, memory = domain.get("resources") or {}, domain.get("cpu") or {}, domain.get("memory") or {}
    source = instancetype.get("cpu") or {}
    paths = [
        f"domain.resources.{kind}.cpu" for kind in ("requests", "limits") if "cpu" in (resources.get(kind) or {})
    ]
    paths += [f"domain.cpu.{part}" for part in ("sockets", "cores", "threads") if cpu.get(part)]
    paths += [
        f"domain.cpu.{theirs}"
        for theirs, ours in (
            ("model", "model"), ("dedicatedCPUPlacement", "dedicatedCpuPlacement"),
            ("isolateEmulatorThread", "isolateEmulatorThread"), ("numa", "numa"), ("realtime", "realtime"),
        )
        if cpu.get(ours) and theirs in source
    ]  # fmt: skip
    paths += [f"domain.memory.{part}" for part in ("guest", "hugepages") if part in memory]
    paths += [
        f"domain.resources.{kind}.memory"
        for kind in ("requests", "limits")
        if "memory" in (resources.get(kind) or {})
    ]
    paths += [
        f"domain.{part}"
        for part in ("ioThreadsPolicy", "launchSecurity")
        if part in domain and part in instancetype
    ]
    devices = domain.get("devices") or {}
    paths += [
        f"domain.devices.{part}" for part in ("gpus", "hostDevices") if part in devices and part in instancetype
    ]
    paths += [part for part in ("nodeSelector", "schedulerName") if spec.get(part) and part in instancetype]
    return paths


def _topology(count: int, preference: Object | None) -> Object:
    result = {"cores": 1, "sockets": 1, "threads": 1}
    if count <= 1:
        return result
    kind = topology(preference)
    if kind != "spread":
        result[kind] = count
        return result
    ratio, across = _spread(preference)
    if across == "CoresThreads":
        result.update(threads=ratio, cores=count // ratio)
    elif across == "SocketsCoresThreads":
        result.update(threads=_THREADS_PER_CORE, cores=ratio, sockets=count // _THREADS_PER_CORE // ratio)
    else:
        result.update(cores=ratio, sockets=count // ratio)
    return result


def _apply_memory(domain: Object, source: Object) -> None:
    memory = domain.setdefault("memory", {})
    if "guest" in source:
        memory["guest"] = canonical(source["guest"])
    for part in ("hugepages", "maxGuest"):
        if part in source:
            memory[part] = copy.deepcopy(source[part])
    percent = int(source.get("overcommitPercent", 0))
    if percent and "guest" in source:
        requested = whole(source["guest"]) * (100 - percent) // 100
        domain.setdefault("resources", {}).setdefault("requests", {})["memory"] = binary(requested)


def _apply_preference(spec: Object, preference: Object) -> None:
    domain = spec.setdefault("domain", {})
    devices = domain.setdefault("devices", {})
    wanted = preference.get("devices") or {}
    for disk in devices.get("disks") or []:
        _prefer_disk(disk, wanted)
    for interface in devices.get("interfaces") or []:
        if wanted.get("preferredInterfaceModel") and "sriov" not in interface and "binding" not in interface:
            interface.setdefault("model", wanted["preferredInterfaceModel"])
    for device in devices.get("inputs") or []:
        for theirs, ours in (("preferredInputBus", "bus"), ("preferredInputType", "type")):
            if wanted.get(theirs):
                device.setdefault(ours, wanted[theirs])
    for theirs, ours in (
        ("preferredAutoattachGraphicsDevice", "autoattachGraphicsDevice"),
        ("preferredAutoattachMemBalloon", "autoattachMemBalloon"),
        ("preferredAutoattachPodInterface", "autoattachPodInterface"),
        ("preferredAutoattachSerialConsole", "autoattachSerialConsole"),
        ("preferredAutoattachInputDevice", "autoattachInputDevice"),
        ("preferredDisableHotplug", "disableHotplug"), ("preferredBlockMultiQueue", "blockMultiQueue"),
        ("preferredNetworkInterfaceMultiQueue", "networkInterfaceMultiqueue"),
        ("preferredUseVirtioTransitional", "useVirtioTransitional"), ("preferredRng", "rng"),
        ("preferredTPM", "tpm"),
    ):  # fmt: skip
        if theirs in wanted:
            devices.setdefault(ours, copy.deepcopy(wanted[theirs]))
    sound = wanted.get("preferredSoundModel")
    if sound and "sound" in devices:
        devices["sound"].setdefault("model", sound)
    for name, value in (preference.get("features") or {}).items():
        ours = name.removeprefix("preferred")
        ours = ours[:1].lower() + ours[1:] if not ours.isupper() else ours.lower()
        domain.setdefault("features", {}).setdefault(ours, copy.deepcopy(value))
    clock = preference.get("clock") or {}
    if clock:
        _prefer_clock(domain, clock)
    _prefer_firmware(domain, preference.get("firmware") or {})
    kind = (preference.get("machine") or {}).get("preferredMachineType")
    if kind:
        machine = domain.setdefault("machine", {})
        if not machine.get("type"):
            machine["type"] = kind
    for theirs, ours in (
        ("preferredTerminationGracePeriodSeconds", "terminationGracePeriodSeconds"),
        ("preferredSubdomain", "subdomain"), ("preferredArchitecture", "architecture"),
    ):  # fmt: skip
        if theirs in preference and not spec.get(ours):
            spec[ours] = preference[theirs]


def _prefer_disk(disk: Object, wanted: Object) -> None:
    if not {"disk", "lun", "cdrom"} & disk.keys():
        disk["disk"] = {}
    for kind, theirs in (("disk", "Disk"), ("lun", "Lun"), ("cdrom", "Cdrom")):
        if kind in disk:
            target = disk[kind] = disk[kind] or {}
            bus = wanted.get(f"preferred{theirs}Bus")
            if bus and not target.get("bus"):
                target["bus"] = bus
    for theirs, ours in (
        ("preferredDiskCache", "cache"), ("preferredDiskIO", "io"), ("preferredDiskBlockSize", "blockSize"),
    ):  # fmt: skip
        if wanted.get(theirs) and "disk" in disk:
            disk.setdefault(ours, copy.deepcopy(wanted[theirs]))
    if wanted.get("preferredDiskDedicatedIoThread") and (disk.get("disk") or {}).get("bus") == "virtio":
        disk.setdefault("dedicatedIOThread", True)


def _prefer_clock(domain: Object, clock: Object) -> None:
    ours = domain.setdefault("clock", {})
    offset = clock.get("preferredClockOffset")
    if offset and not {"utc", "timezone"} & ours.keys():
        ours.update(copy.deepcopy(offset))
    if "preferredTimer" in clock:
        ours.setdefault("timer", copy.deepcopy(clock["preferredTimer"]))


def _prefer_firmware(domain: Object, wanted: Object) -> None:
    firmware = domain.setdefault("firmware", {}) if wanted else domain.get("firmware", {})
    loader = firmware.get("bootloader") or {}
    if "efi" in loader or "bios" in loader:
        return
    if wanted.get("preferredEfi") is not None:
        firmware["bootloader"] = {"efi": copy.deepcopy(wanted["preferredEfi"])}
    elif wanted.get("preferredUseEfi"):
        efi: Object = {}
        if wanted.get("preferredUseSecureBoot") is not None:
            efi["secureBoot"] = wanted["preferredUseSecureBoot"]
        firmware["bootloader"] = {"efi": efi}
    elif wanted.get("preferredUseBios"):
        bios: Object = {}
        if wanted.get("preferredUseBiosSerial"):
            bios["useSerial"] = True
        firmware["bootloader"] = {"bios": bios}


def check_requirements(
    spec: Object, instancetype: Object | None, preference: Object | None
) -> tuple[str, tuple[str, ...]] | None:
    """What a preference requires and the VM does not have: (text, fields), or None.

    ``spec`` is the VMI spec with everything applied and defaults filled in.
    """
    required = (preference or {}).get("requirements") or {}
    wanted = int((required.get("cpu") or {}).get("guest", 0))
    if wanted:
        text = "insufficient CPU resources of {} vCPU provided by {}, preference requires {} vCPU"
        if instancetype is not None:
            provided = int((instancetype.get("cpu") or {}).get("guest", 0))
            if provided < wanted:
                return text.format(provided, "instance type", wanted), ("spec.instancetype",)
        else:
            cpu = spec["domain"].get("cpu") or {}
            kind = topology(preference)
            if kind == "spread":
                provided = (cpu.get("sockets") or 1) * (cpu.get("cores") or 1)
                parts: tuple[str, ...] = ("sockets", "cores")
            else:
                provided, parts = cpu.get(kind) or 0, (kind,)
            if provided < wanted:
                fields = tuple(f"spec.template.spec.domain.cpu.{part}" for part in parts)
                return text.format(provided, "VirtualMachine", wanted), fields
    memory = (required.get("memory") or {}).get("guest")
    if memory is not None:
        text = "insufficient Memory resources of {} provided by {}, preference requires {}"
        given = (
            (instancetype.get("memory") or {}).get("guest")
            if instancetype is not None
            else (spec["domain"].get("memory") or {}).get("guest")
        )
        if read(given) < read(memory):
            owner = "instance type" if instancetype is not None else "VirtualMachine"
            field = "spec.instancetype" if instancetype is not None else "spec.template.spec.domain.memory"
            return text.format(canonical(given or "0"), owner, canonical(memory)), (field,)
    architecture = required.get("architecture")
    if architecture and spec.get("architecture") != architecture:
        return (
            f"preference requires architecture {architecture} but {spec.get('architecture')} is being requested",
            ("spec.template.spec.architecture",),
        )
    return None
