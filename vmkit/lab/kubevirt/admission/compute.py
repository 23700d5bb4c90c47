"""What KubeVirt demands of memory, processors, machine and firmware (vmi-create-admitter.go), in its words."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from vmkit.lab.kubevirt.admission.causes import NOT_SUPPORTED, REQUIRED, Cause
from vmkit.lab.kubevirt.admission.storage import validate_path
from vmkit.lab.kubevirt.quantities import BAD_FORMAT, BadQuantity, canonical, read, whole

Object = dict[str, Any]

_FEATURE_POLICIES: Final = frozenset({"", "force", "require", "optional", "disable", "forbid"})
_MACHINES: Final[dict[str, tuple[str, ...]]] = {
    "amd64": ("q35*", "pc-q35*"),
    "arm64": ("virt*",),
    "s390x": ("s390-ccw-virtio*",),
}
"""Emulated machines by architecture, as regular expressions (pkg/virt-config/virt-config.go)."""
_SERIAL: Final = re.compile(r"[A-Za-z0-9_.+-]+")


def _resources(spec: Object) -> tuple[Object, Object]:
    resources = spec.get("domain", {}).get("resources") or {}
    return resources.get("requests") or {}, resources.get("limits") or {}


def validate_memory(spec: Object, field: str, *, live_update: bool) -> list[Cause]:
    """Memory requests, limits, huge pages and the guest's share."""
    requests, limits = _resources(spec)
    memory = spec.get("domain", {}).get("memory") or {}
    request, limit = read(requests.get("memory")), read(limits.get("memory"))
    where = f"{field}.domain.resources"
    causes = []
    if request < 0:
        causes.append(
            Cause(
                f"{where}.requests.memory '{_text(requests)}': must be greater than or equal to 0.",
                f"{where}.requests.memory",
            )
        )
    elif 0 < request < 10**6:
        causes.append(
            Cause(
                f"{where}.requests.memory '{_text(requests)}': must be greater than or equal to 1M.",
                f"{where}.requests.memory",
            )
        )
    if limit < 0:
        causes.append(
            Cause(
                f"{where}.limits.memory '{_text(limits)}': must be greater than or equal to 0.",
                f"{where}.limits.memory",
            )
        )
    if 0 < limit < request:
        causes.append(
            Cause(
                f"{where}.requests.memory '{_text(requests)}' is greater than "
                f"{where}.limits.memory '{_text(limits)}'",
                f"{where}.requests.memory",
            )
        )
    causes += _huge_pages(memory, request, requests, field)
    guest = memory.get("guest")
    if guest is not None and limit and limit < read(guest) and not live_update:
        causes.append(
            Cause(
                f"{field}.domain.memory.guest '{guest}' must be equal to or less than the memory limit "
                f"{where}.limits.memory '{_text(limits)}'",
                f"{field}.domain.memory.guest",
            )
        )
    return causes


def _text(values: Object, key: str = "memory") -> str:
    return canonical(values[key]) if key in values else "0"


def _huge_pages(memory: Object, request: Decimal, requests: Object, field: str) -> list[Cause]:
    pages = memory.get("hugepages")
    if pages is None:
        return []
    size_text, at = str(pages.get("pageSize", "")), f"{field}.domain.hugepages.size"
    try:
        size = read(size_text)
        if not size_text or size <= 0:
            raise BadQuantity(BAD_FORMAT)
    except BadQuantity:
        return [Cause(f"{at} '{size_text}': {BAD_FORMAT}", at)]
    guest = memory.get("guest")
    # Without a request KubeVirt takes the guest's memory for one.
    amount, text = (request, _text(requests)) if request or guest is None else (read(guest), canonical(guest))
    where = f"{field}.domain.resources.requests.memory"
    if amount < size:
        return [Cause(f"{where} '{text}' must be equal to or larger than page size {at} '{size_text}'", where)]
    if amount % size:
        return [Cause(f"{where} '{text}' is not a multiple of the page size {at} '{size_text}'", where)]
    return []


def validate_machine(spec: Object, field: str) -> list[Cause]:
    """The machine type is one that the architecture emulates."""
    kind = (spec.get("domain", {}).get("machine") or {}).get("type", "")
    allowed = _MACHINES.get(spec.get("architecture") or "amd64", _MACHINES["amd64"])
    if not kind or any(re.search(pattern, kind) for pattern in allowed):
        return []
    at = f"{field}.domain.machine.type"
    return [Cause(f"{at} is not supported: {kind} (allowed values: [{' '.join(allowed)}])", at)]


def validate_serial(spec: Object, field: str) -> list[Cause]:
    """The firmware's serial number is something libvirt takes."""
    serial = (spec.get("domain", {}).get("firmware") or {}).get("serial", "")
    at = f"{field}.domain.firmware.serial"
    causes = []
    if len(serial) > 256:
        causes.append(Cause(f"{at} must be less than or equal to 256 in length, if specified", at))
    if serial and not _SERIAL.fullmatch(serial):
        causes.append(Cause(f"{at} must be made up of the following characters [A-Za-z0-9_.+-], if specified", at))
    return causes


def validate_cpu(spec: Object, field: str) -> list[Cause]:
    """Processor requests, limits, pinning, NUMA, features and topology."""
    requests, limits = _resources(spec)
    cpu = spec.get("domain", {}).get("cpu") or {}
    request, limit = read(requests.get("cpu")), read(limits.get("cpu"))
    where = f"{field}.domain.resources"
    causes = [
        Cause(
            f"{where}.{kind}.cpu '{_text(values, 'cpu')}': must be greater than or equal to 0.",
            f"{where}.{kind}.cpu",
        )
        for kind, values, amount in (("requests", requests, request), ("limits", limits, limit))
        if amount < 0
    ]
    if 0 < limit < request:
        causes.append(
            Cause(
                f"{where}.requests.cpu '{_text(requests, 'cpu')}' is greater than {where}.limits.cpu "
                f"'{_text(limits, 'cpu')}'",
                f"{where}.requests.cpu",
            )
        )
    if cpu.get("dedicatedCpuPlacement"):
        causes += _pinning(spec, cpu, field)
    causes += _numa(spec, cpu, field)
    if cpu.get("isolateEmulatorThread") and not cpu.get("dedicatedCpuPlacement"):
        causes.append(
            Cause(
                "IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement",
                f"{field}.domain.cpu.isolateEmulatorThread",
            )
        )
    causes += [
        Cause(
            f"CPU feature {feature.get('name', '')} uses policy {feature.get('policy')} that is not supported.",
            f"{field}.domain.cpu.features[{index}].policy",
            NOT_SUPPORTED,
        )
        for index, feature in enumerate(cpu.get("features") or [])
        if feature.get("policy", "") not in _FEATURE_POLICIES
    ]
    sockets, most = cpu.get("sockets", 0), cpu.get("maxSockets", 0)
    if most and sockets > most:
        causes.append(
            Cause(
                "Number of sockets in CPU topology is greater than the maximum sockets allowed",
                f"{field}.domain.cpu.sockets",
            )
        )
    return causes


def vcpus(cpu: Object) -> int:
    """The number of vCPUs of a topology; what is absent counts as one, nothing at all as none."""
    parts = [cpu.get(part, 0) for part in ("sockets", "cores", "threads")]
    if not any(parts):
        return 0
    count = 1
    for part in parts:
        count *= part or 1
    return count


def _pinning(spec: Object, cpu: Object, field: str) -> list[Cause]:
    requests, limits = _resources(spec)
    where, at = f"{field}.domain.resources", f"{field}.domain.cpu.dedicatedCpuPlacement"
    memory_request, memory_limit = whole(requests.get("memory")), whole(limits.get("memory"))
    causes = []
    if not memory_limit and not memory_request and not (spec["domain"].get("memory") or {}).get("guest"):
        causes.append(
            Cause(f"{where}.requests.memory or {where}.limits.memory should be provided", f"{where}.limits.memory")
        )
    for kind, values in (("requests", requests), ("limits", limits)):
        amount = read(values.get("cpu"))
        if amount > 0 and amount != amount.to_integral_value():
            causes.append(Cause(f"provided resources CPU {kind} must be an interger", f"{where}.{kind}.cpu"))
    if memory_request > 0 and memory_limit > 0 and memory_request != memory_limit:
        causes.append(
            Cause(f"{where}.requests.memory must be equal to {where}.limits.memory", f"{where}.requests.memory")
        )
    request, limit, count = whole(requests.get("cpu")), whole(limits.get("cpu")), vcpus(cpu)
    cores = f"{field}.domain.cpu.cores"
    if not request and not limit and not count:
        causes.append(
            Cause(
                f"either {where}.requests.cpu or {where}.limits.cpu or {cores} must be provided when "
                "DedicatedCPUPlacement is true ",
                at,
            )
        )
    if request > 0 and limit > 0 and request != limit:
        causes.append(
            Cause(
                f"{where}.requests.cpu or {where}.limits.cpu must be equal when DedicatedCPUPlacement is true ", at
            )
        )
    if (request > 0 or limit > 0) and count > 0 and count not in (request, limit):
        causes.append(
            Cause(
                f"{where}.requests.cpu or {where}.limits.cpu must not be provided at the same time with {cores} "
                "when DedicatedCPUPlacement is true ",
                at,
            )
        )
    threads = cpu.get("threads", 0)
    if threads > 1 and spec.get("architecture") == "arm64":
        causes.append(
            Cause(
                f"threads must not be greater than 1 at {field}.domain.cpu.threads (got {threads}) when "
                f"{field}.architecture is arm64",
                f"{field}.architecture",
            )
        )
    if threads > 2:
        causes.append(
            Cause(
                f"Not more than two threads must be provided at {field}.domain.cpu.threads (got {threads}) when "
                "DedicatedCPUPlacement is true",
                at,
            )
        )
    return causes


def _numa(spec: Object, cpu: Object, field: str) -> list[Cause]:
    at = f"{field}.domain.cpu.numa.guestMappingPassthrough"
    if "guestMappingPassthrough" not in (cpu.get("numa") or {}):
        return []
    causes = []
    if not cpu.get("dedicatedCpuPlacement"):
        causes.append(
            Cause(
                f"{field}.domain.cpu.dedicatedCpuPlacement must be set to true when NUMA topology strategy is set "
                f"in {at}",
                at,
            )
        )
    if not (spec["domain"].get("memory") or {}).get("hugepages"):
        causes.append(
            Cause(
                f"{field}.domain.memory.hugepages must be requested when NUMA topology strategy is set in {at}", at
            )
        )
    return causes


def validate_realtime(spec: Object, field: str) -> list[Cause]:
    """A real-time guest has its own processors and NUMA mapping."""
    cpu = spec.get("domain", {}).get("cpu") or {}
    if "realtime" not in cpu:
        return []
    where = f"{field}.domain.cpu"
    causes = []
    if not cpu.get("dedicatedCpuPlacement"):
        at = f"{where}.dedicatedCpuPlacement"
        causes.append(Cause(f"{at} must be set to true when {where}.realtime is used", at, REQUIRED))
    if "guestMappingPassthrough" not in (cpu.get("numa") or {}):
        at = f"{where}.numa.guestMappingPassthrough"
        causes.append(Cause(f"{at} must be defined when {where}.realtime is used", at, REQUIRED))
    return causes


def validate_firmware(domain: Object, field: str) -> list[Cause]:
    """Boot loader and kernel boot; ``field`` is the path of the domain."""
    firmware = domain.get("firmware") or {}
    loader = firmware.get("bootloader") or {}
    causes = []
    if "efi" in loader and "bios" in loader:
        at = f"{field}.firmware.bootloader"
        causes.append(Cause(f"{at} has both EFI and BIOS configured, but they are mutually exclusive.", at))
    causes += _kernel_boot(firmware.get("kernelBoot"), f"{field}.firmware.kernelBoot")
    smm = (domain.get("features") or {}).get("smm")
    if (
        "efi" in loader
        and (loader["efi"] or {}).get("secureBoot", True)
        and (smm is None or smm.get("enabled") is False)
    ):
        causes.append(
            Cause(
                f"{field} has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.", field
            )
        )
    return causes


def _kernel_boot(boot: Object | None, at: str) -> list[Cause]:
    if boot is None:
        return []
    container = boot.get("container")
    if container is None:
        if boot.get("kernelArgs"):
            return [Cause("kernel arguments cannot be provided without an external kernel", f"{at}.kernelArgs")]
        return []
    where = f"{at}.container"
    causes = []
    if not container.get("image"):
        causes.append(Cause(f"{where} must be defined with an image", f"{where}.image", REQUIRED))
    if not container.get("initrdPath") and not container.get("kernelPath"):
        causes.append(
            Cause(
                f"{where} must be defined with at least one of the following: kernelPath, initrdPath",
                where,
                REQUIRED,
            )
        )
    for key in ("kernelPath", "initrdPath"):
        if container.get(key):
            causes += validate_path(container[key], f"{where}.{key}")
    return causes


def validate_hotplug_memory(domain: Object, architecture: str, field: str) -> list[Cause]:
    """Memory that can grow while the guest runs, where maxGuest asks for it (pkg/liveupdate/memory).

    ``field`` is the path of the VMI spec.
    """
    memory, cpu = domain.get("memory") or {}, domain.get("cpu") or {}
    at = f"{field}.domain"
    causes = [
        Cause(f"Memory hotplug is not compatible with {what}", where)
        for holds, what, where in (
            ("realtime" in cpu, "realtime VMs", f"{at}.cpu.realtime"),
            (
                "guestMappingPassthrough" in (cpu.get("numa") or {}),
                "guest mapping passthrough",
                f"{at}.cpu.numa.guestMappingPassthrough",
            ),
            ("launchSecurity" in domain, "encrypted VMs", f"{at}.launchSecurity"),
            (bool(cpu.get("dedicatedCpuPlacement")), "dedicated CPUs", f"{at}.cpu.dedicatedCpuPlacement"),
        )
        if holds
    ]
    most, guest = whole(memory["maxGuest"]), memory.get("guest")
    where = f"{at}.memory.guest"
    if guest is None:
        causes.append(Cause("Guest memory must be configured when memory hotplug is enabled", where))
    elif whole(guest) > most:
        causes.append(Cause("Guest memory is greater than the configured maxGuest memory", where))
    elif whole(guest) % 2**21:
        causes.append(Cause("Guest memory must be 2Mi aligned", where))
    if most % 2**21:
        causes.append(Cause("MaxGuest must be 2Mi aligned", f"{at}.memory.maxGuest"))
    if architecture not in ("amd64", ""):
        causes.append(Cause("Memory hotplug is only available for x86_64 VMs", f"{field}.architecture"))
    elif guest is not None and whole(guest) < 2**30:
        causes.append(Cause("Memory hotplug is only available for VMs with at least 1Gi of guest memory", where))
    return causes
