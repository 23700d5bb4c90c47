"""How large a VM is, how it says so, and what its instance could take while it runs.

Source: KubeVirt staging/src/kubevirt.io/api/core/v1/{types,schema}.go and pkg/virt-controller/services
(GetMemoryOverhead, renderresources.go).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import QuantityError
from vmkit.insight.recommender import Resources
from vmkit.units import parse_bytes, parse_quantity

DEFAULT_CPU_ALLOCATION_RATIO: Final = 10
"""Virtual CPUs for each requested core, unless the KubeVirt object says otherwise (pkg/virt-config)."""
DEFAULT_MAX_HOTPLUG_RATIO: Final = 4
"""How far sockets and memory may grow while a VM runs, likewise."""

_MIB: Final = 2**20
_FIXED_OVERHEAD: Final = 240 * _MIB
"""What the processes around a guest need, a graphics device included (seen with KubeVirt 1.9; earlier releases ask
for up to 30 MiB less)."""
_OVERHEAD_PER_VCPU: Final = 8 * _MIB
_PAGE_TABLE_SHARE: Final = 512
"""One part in so many of a guest's memory is needed for its page tables."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Sockets, cores a socket, threads a core."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1

    @property
    def vcpus(self) -> int:
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the KubeVirt object says that decides about sizes.

    Attributes:
        live_update: whether changes reach running VMs; None where nobody may read it.
        workload_updates: whether KubeVirt migrates VMs by itself to carry such a change out (LiveMigrate among the
            workloadUpdateMethods): without it a change of size waits.
        cpu_allocation_ratio: virtual CPUs for each requested core.
        memory_overcommit_percent: guest memory for each 100 of requested memory.
        max_hotplug_ratio: how far sockets and memory may grow, where a VM says nothing itself.
    """

    live_update: bool | None = None
    workload_updates: bool = False
    cpu_allocation_ratio: int = DEFAULT_CPU_ALLOCATION_RATIO
    memory_overcommit_percent: int = 100
    max_hotplug_ratio: int = DEFAULT_MAX_HOTPLUG_RATIO


@dataclass(frozen=True, slots=True)
class Instancetype:
    """A named size.

    Attributes:
        name: its name; cluster: whether it is of the whole cluster.
        vcpus, memory_bytes: what a guest gets.
        series: the part of the name before its last dot ("u1" of "u1.medium"), or its class label.
        fixed: what else it decides (GPUs, pinned CPUs, huge pages ...): two of a series may differ in it.
    """

    name: str
    vcpus: int
    memory_bytes: int
    cluster: bool = True
    series: str = ""
    fixed: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A VM's size.

    Attributes:
        topology: of its CPUs; None where nobody says.
        memory_bytes: of the guest; None where nobody says.
        instancetype: the size it refers to by name; None for a plain domain, or one that is not there.
        refers_to: the name it refers to, there or not; empty for none.
        declared_vcpus: whether its CPUs are in domain.cpu.
        declared_guest: whether its memory is in domain.memory.guest; else it is in the resource requests.
        requests_cpu, requests_memory_bytes: the requests it makes itself, or None.
        limits_cpu, limits_memory_bytes: likewise its limits.
        max_sockets, max_guest_bytes: what it may grow to while it runs; None where it says nothing.
        guest_at_boot_bytes: what the running instance started with; None where nobody says.
        migratable: whether the running instance can be migrated; None where nobody says.
        overhead_bytes: what KubeVirt says the launcher needs beside the guest; None where it does not say.
        fixed: why its size is not to be changed by recommendation; empty where it may be.
        problem: what is wrong with the object; empty for nothing.
    """

    topology: Topology | None = None
    memory_bytes: int | None = None
    instancetype: Instancetype | None = None
    refers_to: str = ""
    declared_vcpus: bool = False
    declared_guest: bool = False
    requests_cpu: float | None = None
    requests_memory_bytes: int | None = None
    limits_cpu: float | None = None
    limits_memory_bytes: int | None = None
    max_sockets: int | None = None
    max_guest_bytes: int | None = None
    guest_at_boot_bytes: int | None = None
    migratable: bool | None = None
    overhead_bytes: int | None = None
    fixed: str = ""
    problem: str = ""

    @property
    def vcpus(self) -> int | None:
        """How many CPUs the guest sees."""
        return None if self.topology is None else self.topology.vcpus

    @property
    def reserved(self) -> Resources | None:
        """The guest's size; None where a part of it is not known."""
        if self.topology is None or self.memory_bytes is None:
            return None
        return Resources(self.topology.vcpus * 1000, self.memory_bytes)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The instancetypes of a cluster, by ("" or namespace, name)."""

    entries: Mapping[tuple[str, str], Instancetype] = field(default_factory=dict)

    def find(self, namespace: str, name: str, *, cluster: bool) -> Instancetype | None:
        """One of them."""
        return self.entries.get(("" if cluster else namespace, name))

    def series_of(self, namespace: str, one: Instancetype) -> list[Instancetype]:
        """Those that differ from one in nothing but the size: same series, same kind, all else equal."""
        return [
            other
            for (where, _), other in self.entries.items()
            if where == ("" if one.cluster else namespace)
            and (other.series, other.cluster, other.fixed) == (one.series, one.cluster, one.fixed)
        ]


def read_instancetype(item: Mapping[str, Any]) -> Instancetype | None:
    """Reads a VirtualMachine(Cluster)Instancetype; None where it has no size that can be read."""
    metadata, spec = _mapping(item, "metadata"), _mapping(item, "spec")
    name, labels = metadata.get("name"), _mapping(metadata, "labels")
    vcpus = _count(_mapping(spec, "cpu").get("guest"))
    memory = _bytes(_mapping(spec, "memory").get("guest"))
    if not isinstance(name, str) or not vcpus or not memory:
        return None
    series = labels.get("instancetype.kubevirt.io/class")
    stem = name.rpartition(".")[0]
    rest = {
        **{key: value for key, value in spec.items() if key not in ("cpu", "memory")},
        "cpu": {key: value for key, value in _mapping(spec, "cpu").items() if key not in ("guest", "maxSockets")},
        "memory": {
            key: value for key, value in _mapping(spec, "memory").items() if key not in ("guest", "maxGuest")
        },
    }
    return Instancetype(
        name=name,
        vcpus=vcpus,
        memory_bytes=memory,
        cluster="namespace" not in metadata,
        series=stem or (series if isinstance(series, str) else ""),
        fixed=repr(_ordered(rest)),
    )


def read_rollout(kubevirt: Mapping[str, Any] | None) -> Rollout:
    """Reads the KubeVirt object; None where there is none, or nobody may read it.

    The rollout strategy is LiveUpdate where nothing is said, since KubeVirt 1.6; Stage before (virt-config.go).
    """
    if kubevirt is None:
        return Rollout()
    spec = _mapping(kubevirt, "spec")
    settings = _mapping(spec, "configuration")
    developer, live = _mapping(settings, "developerConfiguration"), _mapping(settings, "liveUpdateConfiguration")
    strategy = settings.get("vmRolloutStrategy")
    methods = _mapping(spec, "workloadUpdateStrategy").get("workloadUpdateMethods")
    if isinstance(strategy, str):
        live_update: bool | None = strategy == "LiveUpdate"
    else:
        version = _version(_mapping(kubevirt, "status").get("observedKubeVirtVersion"))
        live_update = None if version is None else version >= (1, 6)
    return Rollout(
        live_update=live_update,
        workload_updates=isinstance(methods, list) and "LiveMigrate" in methods,
        cpu_allocation_ratio=_count(developer.get("cpuAllocationRatio")) or DEFAULT_CPU_ALLOCATION_RATIO,
        memory_overcommit_percent=_count(developer.get("memoryOvercommit")) or 100,
        max_hotplug_ratio=_count(live.get("maxHotplugRatio")) or DEFAULT_MAX_HOTPLUG_RATIO,
    )


def read_shape(vm: Mapping[str, Any], vmi: Mapping[str, Any] | None, catalog: Catalog) -> Shape:
    """Reads a VM's size from the object, and from its instance where there is one. Never raises."""
    spec, metadata = _mapping(vm, "spec"), _mapping(vm, "metadata")
    template = _mapping(_mapping(spec, "template"), "spec")
    domain = _mapping(template, "domain")
    cpu, memory = _mapping(domain, "cpu"), _mapping(domain, "memory")
    resources = _mapping(domain, "resources")
    requests, limits = _mapping(resources, "requests"), _mapping(resources, "limits")
    matcher = _mapping(spec, "instancetype")
    refers_to = matcher.get("name") if isinstance(matcher.get("name"), str) else ""
    clustered = str(matcher.get("kind") or "").lower() != "virtualmachineinstancetype"
    namespace = metadata.get("namespace")
    named = catalog.find(str(namespace), str(refers_to), cluster=clustered) if refers_to else None
    running = _mapping(vmi or {}, "spec")
    status = _mapping(vmi or {}, "status")
    guest = _bytes(memory.get("guest"))
    topology, memory_bytes = _topology(cpu), guest or _bytes(requests.get("memory"))
    if refers_to:
        # An instancetype decides alone; where it cannot be read, the running instance shows what came of it.
        topology, memory_bytes = (
            (Topology(sockets=named.vcpus), named.memory_bytes) if named is not None else _running_size(running)
        )
    elif topology is None and not cpu:
        topology = Topology(sockets=max(math.ceil(_number(requests.get("cpu")) or 1.0), 1))
    current = _mapping(status, "memory")
    return Shape(
        topology=topology,
        memory_bytes=memory_bytes,
        instancetype=named,
        refers_to=str(refers_to),
        declared_vcpus=bool(cpu),
        declared_guest=guest is not None,
        requests_cpu=_number(requests.get("cpu")),
        requests_memory_bytes=_bytes(requests.get("memory")),
        limits_cpu=_number(limits.get("cpu")),
        limits_memory_bytes=_bytes(limits.get("memory")),
        max_sockets=_count(_mapping(_mapping(running, "domain"), "cpu").get("maxSockets")),
        max_guest_bytes=_bytes(_mapping(_mapping(running, "domain"), "memory").get("maxGuest")),
        guest_at_boot_bytes=_bytes(current.get("guestAtBoot")),
        migratable=_migratable(status),
        overhead_bytes=_bytes(current.get("memoryOverhead")),
        fixed=_why_fixed(vm, named, str(refers_to)),
        problem="" if domain or refers_to else "spec.template.spec.domain is missing",
    )


def compute_overhead(vcpus: int, memory_bytes: int, *, known: int | None = None, of: Shape | None = None) -> int:
    """What a launcher requests beside its guest's memory.

    Args:
        vcpus, memory_bytes: the guest's size.
        known: what KubeVirt says for the size the VM has now (`Shape.overhead_bytes`) ...
        of: ... and that size: only the difference is then computed.
    """

    def estimate(vcpus: int, memory_bytes: int) -> int:
        return _FIXED_OVERHEAD + memory_bytes // _PAGE_TABLE_SHARE + _OVERHEAD_PER_VCPU * vcpus

    if known is not None and of is not None and of.topology is not None and of.memory_bytes is not None:
        return max(known + estimate(vcpus, memory_bytes) - estimate(of.topology.vcpus, of.memory_bytes), 0)
    return estimate(vcpus, memory_bytes)


def compute_requests(shape: Shape, rollout: Rollout, *, size: Resources | None = None) -> Resources | None:
    """What the launcher of a VM requests of a node; None where its size is not known.

    Args:
        shape: the VM.
        rollout: the cluster's ratios.
        size: the size it is to have; else the one it has.
    """
    size = size or shape.reserved
    if size is None:
        return None
    vcpus = math.ceil(size.cpu_millicores / 1000)
    if "dedicated" in shape.fixed:
        cpu = vcpus * 1000
    elif shape.requests_cpu is not None and size == shape.reserved:
        cpu = math.ceil(shape.requests_cpu * 1000)
    else:
        cpu = math.ceil(vcpus * 1000 / rollout.cpu_allocation_ratio)
    memory = size.memory_bytes * 100 // rollout.memory_overcommit_percent
    if shape.requests_memory_bytes is not None and size == shape.reserved:
        memory = shape.requests_memory_bytes
    overhead = compute_overhead(vcpus, size.memory_bytes, known=shape.overhead_bytes, of=shape)
    return Resources(cpu, memory + overhead)


def _why_fixed(vm: Mapping[str, Any], named: Instancetype | None, refers_to: str) -> str:
    template = _mapping(_mapping(_mapping(vm, "spec"), "template"), "spec")
    cpu, memory = (_mapping(_mapping(template, "domain"), key) for key in ("cpu", "memory"))
    devices = _mapping(_mapping(template, "domain"), "devices")
    owners = _mapping(vm, "metadata").get("ownerReferences")
    pool = isinstance(owners, list) and any(
        isinstance(owner, dict) and owner.get("kind") == "VirtualMachinePool" for owner in owners
    )
    inside = named.fixed if named is not None else ""
    if pool:
        return "its pool decides its size"
    if cpu.get("dedicatedCpuPlacement") is True or "'dedicatedCPUPlacement', True" in inside:
        return "its CPUs are dedicated to it: use says nothing about how many it needs"
    if cpu.get("realtime") is not None or "'realtime'" in inside:
        return "it is a realtime guest"
    if memory.get("hugepages") is not None or "'hugepages'" in inside:
        return "its memory is in huge pages"
    if devices.get("gpus") or devices.get("hostDevices"):
        return "it has a host device, whose work no metric shows"
    if refers_to and named is None:
        return f"its instancetype {refers_to} cannot be read"
    return ""


def _running_size(running: Mapping[str, Any]) -> tuple[Topology | None, int | None]:
    domain = _mapping(running, "domain")
    return _topology(_mapping(domain, "cpu")), _bytes(_mapping(domain, "memory").get("guest"))


def _topology(cpu: Mapping[str, Any]) -> Topology | None:
    if not cpu:
        return None
    counts = [_count(cpu.get(key, 1)) for key in ("sockets", "cores", "threads")]
    sockets, cores, threads = (1 if count == 0 else count for count in counts)
    if sockets is None or cores is None or threads is None:
        return None
    return Topology(sockets, cores, threads)


def _migratable(status: Mapping[str, Any]) -> bool | None:
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == "LiveMigratable":
            return condition.get("status") == "True"
    return None


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted((str(key), _ordered(item)) for key, item in value.items())
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _version(text: Any) -> tuple[int, int] | None:
    parts = text.lstrip("v").split(".") if isinstance(text, str) else []
    if len(parts) < 2 or not parts[0].isdigit() or not parts[1].isdigit():
        return None
    return int(parts[0]), int(parts[1])


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        found = float(parse_quantity(value))
    except QuantityError:
        return None
    return found if found >= 0 else None


def _bytes(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return parse_bytes(value) or None
    except QuantityError:
        return None
