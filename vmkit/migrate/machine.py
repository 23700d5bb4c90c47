"""A KubeVirt VM as the judge sees it: what its specification asks of the hardware. Pure: dicts in, a value out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmkit.errors import QuantityError
from vmkit.units import parse_bytes


@dataclass(frozen=True, slots=True)
class Machine:
    """What a VirtualMachine's specification says.

    Attributes:
        vcpus: cores times sockets times threads; None where an instance type decides.
        memory_bytes: guest memory; None where an instance type decides.
        demands: (kind, name) of what only a machine can have: "host-device", "gpu", "sriov", "dedicated-cpu" ...
        windows: it is set up for Windows.
    """

    namespace: str
    name: str
    vcpus: int | None
    memory_bytes: int | None
    demands: tuple[tuple[str, str], ...]
    windows: bool


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def read_machine(manifest: Mapping[str, Any]) -> Machine:
    """Reads a VirtualMachine object (kubevirt.io/v1); parts that make no sense count as absent."""
    metadata = _mapping(manifest.get("metadata"))
    spec = _mapping(_mapping(_mapping(manifest.get("spec")).get("template")).get("spec"))
    domain = _mapping(spec.get("domain"))
    cpu = _mapping(domain.get("cpu"))
    has_topology = any(key in cpu for key in ("cores", "sockets", "threads"))
    vcpus = (
        _count(cpu.get("cores")) * _count(cpu.get("sockets")) * _count(cpu.get("threads"))
        if has_topology
        else None
    )
    requests = _mapping(_mapping(domain.get("resources")).get("requests"))
    memory = _mapping(domain.get("memory")).get("guest") or requests.get("memory")
    labels = _mapping(_mapping(_mapping(manifest.get("spec")).get("template")).get("metadata")).get("labels")
    preference = str(_mapping(_mapping(manifest.get("spec")).get("preference")).get("name", ""))
    features = _mapping(domain.get("features"))
    windows = (
        "hyperv" in features
        or preference.lower().startswith("windows")
        or any("windows" in str(value).lower() for key, value in _mapping(labels).items() if "os" in str(key))
    )
    return Machine(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        vcpus=vcpus,
        memory_bytes=_bytes(memory),
        demands=tuple(_demands(spec, domain, cpu)),
        windows=windows,
    )


def _bytes(value: Any) -> int | None:
    if not isinstance(value, (str, int)):
        return None
    try:
        return parse_bytes(value)
    except QuantityError:
        return None


def _demands(spec: Mapping[str, Any], domain: Mapping[str, Any], cpu: Mapping[str, Any]) -> list[tuple[str, str]]:
    devices = _mapping(domain.get("devices"))
    found = [
        ("host-device", str(one.get("deviceName", one.get("name", ""))))
        for one in _mappings(devices.get("hostDevices"))
    ]
    found += [("gpu", str(one.get("deviceName", one.get("name", "")))) for one in _mappings(devices.get("gpus"))]
    found += [
        ("sriov", str(one.get("name", ""))) for one in _mappings(devices.get("interfaces")) if "sriov" in one
    ]
    if "clientPassthrough" in devices:
        found.append(("usb-redirection", "clientPassthrough"))
    for one in _mappings(devices.get("disks")):
        if "lun" in one:
            found.append(("lun", str(one.get("name", ""))))
        if one.get("shareable") is True:
            found.append(("shared-disk", str(one.get("name", ""))))
    if cpu.get("dedicatedCpuPlacement") is True:
        found.append(("dedicated-cpu", "dedicatedCpuPlacement"))
    if "realtime" in cpu:
        found.append(("realtime", "realtime"))
    if "numa" in cpu:
        found.append(("numa", "numa"))
    if "hugepages" in _mapping(domain.get("memory")):
        found.append(
            ("hugepages", str(_mapping(_mapping(domain.get("memory")).get("hugepages")).get("pageSize", "")))
        )
    if "tpm" in devices:
        found.append(("tpm", "tpm"))
    if "launchSecurity" in domain:
        found.append(("confidential", ", ".join(sorted(_mapping(domain.get("launchSecurity"))))))
    found += [
        ("second-network", str(_mapping(one.get("multus")).get("networkName", "")))
        for one in _mappings(spec.get("networks"))
        if "multus" in one
    ]
    return found
