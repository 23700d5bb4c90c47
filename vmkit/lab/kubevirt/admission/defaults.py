"""What KubeVirt's mutating webhooks fill in (pkg/defaults, vm-mutator.go, vmi-mutator.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vmkit.lab.kubevirt.configuration import Configuration
from vmkit.lab.kubevirt.quantities import binary, canonical, read, whole

Object = dict[str, Any]

PCI_TOPOLOGY: Final = "kubevirt.io/pci-topology-version"
FOREGROUND_FINALIZER: Final = "kubevirt.io/foregroundDeleteVirtualMachine"
_RUNTIME_USER: Final = 107
_MACHINES: Final = {"arm64": "virt", "s390x": "s390-ccw-virtio"}


def default_vm(
    vm: Object,
    configuration: Configuration,
    *,
    creating: bool,
    new_uuid: Callable[[], str],
    preference: Object | None = None,
) -> Object:
    """Fills in a VirtualMachine as the VM mutator does; changes and returns its argument.

    Args:
        vm: the object, decoded and in Go's form.
        configuration: the cluster's settings.
        creating: whether it is being created (some things are filled in then only).
        new_uuid: makes the firmware's identity.
        preference: the spec of the preference it names, if any.
    """
    spec = vm.setdefault("spec", {})
    template = spec.get("template")
    if not isinstance(template, dict):
        return vm
    if not configuration.release.live_update:
        for matcher in ("instancetype", "preference"):
            if spec.get(matcher, {}).get("name"):
                spec[matcher].setdefault("kind", f"VirtualMachineCluster{matcher.capitalize()}")
    metadata = template.setdefault("metadata", {})
    instance = template.setdefault("spec", {})
    domain = instance.setdefault("domain", {})
    domain.setdefault("devices", {})
    domain.setdefault("resources", {})
    machine = (preference or {}).get("machine") or {}
    _default_architecture(instance, configuration, preference)
    _default_machine(domain, instance["architecture"], configuration, machine.get("preferredMachineType"))
    storage_class = ((preference or {}).get("volumes") or {}).get("preferredStorageClassName")
    if storage_class:
        _prefer_storage_class(spec, storage_class)
    if creating:
        metadata.setdefault("annotations", {}).setdefault(PCI_TOPOLOGY, "v3")
        firmware = domain.setdefault("firmware", {})
        firmware.setdefault("uuid", new_uuid())
        firmware.setdefault("serial", new_uuid())
    return vm


def _default_architecture(spec: Object, configuration: Configuration, preference: Object | None) -> None:
    preferred = (preference or {}).get("preferredArchitecture")
    if not spec.get("architecture"):
        spec["architecture"] = preferred or configuration.architecture


def _default_machine(
    domain: Object, architecture: str, configuration: Configuration, preferred: str | None
) -> None:
    machine = domain.setdefault("machine", {})
    if not machine.get("type"):
        machine["type"] = preferred or _MACHINES.get(architecture, configuration.machine_type)


def _prefer_storage_class(spec: Object, name: str) -> None:
    for template in spec.get("dataVolumeTemplates") or []:
        target = template.get("spec", {}).get("storage") or template.get("spec", {}).get("pvc")
        if isinstance(target, dict):
            target.setdefault("storageClassName", name)


def default_instance_spec(spec: Object, configuration: Configuration) -> Object:
    """Fills in a VMI spec; changes and returns its argument."""
    domain = spec.setdefault("domain", {})
    domain.setdefault("devices", {})
    resources = domain.setdefault("resources", {})
    _default_architecture(spec, configuration, None)
    _default_machine(domain, spec["architecture"], configuration, None)
    _default_requests(resources)
    _default_topology(domain, resources)
    for volume in spec.get("volumes") or []:
        disk = volume.get("containerDisk")
        if disk is not None and not disk.get("imagePullPolicy"):
            image = str(disk.get("image", ""))
            newest = image.endswith(":latest") or not {":", "@"} & set(image)
            disk["imagePullPolicy"] = "Always" if newest else "IfNotPresent"
    if "evictionStrategy" not in spec:
        spec["evictionStrategy"] = configuration.eviction_strategy
    _default_network(spec, configuration)
    _default_disks(spec)
    _default_features(domain)
    if spec["architecture"] == "amd64":
        domain["cpu"].setdefault("model", configuration.cpu_model)
    if configuration.live_update:
        _default_growth(spec, configuration)
    return spec


def _default_requests(resources: Object) -> None:
    limits = resources.get("limits") or {}
    for kind in ("cpu", "memory"):
        requests = resources.get("requests") or {}
        if read(limits.get(kind)) and not read(requests.get(kind)):
            resources.setdefault("requests", {})[kind] = limits[kind]


def _default_topology(domain: Object, resources: Object) -> None:
    cpu = domain.setdefault("cpu", {})
    if any(cpu.get(part) for part in ("sockets", "cores", "threads")):
        for part in ("sockets", "cores", "threads"):
            cpu[part] = cpu.get(part) or 1
        return
    count = whole((resources.get("limits") or {}).get("cpu")) or whole(
        (resources.get("requests") or {}).get("cpu")
    )
    cpu.update(cores=1, sockets=max(count, 1), threads=1)


def _default_network(spec: Object, configuration: Configuration) -> None:
    devices = spec["domain"]["devices"]
    if devices.get("autoattachPodInterface") is False:
        return
    if spec.get("networks") or devices.get("interfaces"):
        return
    devices["interfaces"] = [{configuration.network_interface: {}, "name": "default"}]
    spec["networks"] = [{"name": "default", "pod": {}}]


def _default_disks(spec: Object) -> None:
    devices = spec["domain"]["devices"]
    named = {item.get("name") for kind in ("disks", "filesystems") for item in devices.get(kind) or []}
    for volume in spec.get("volumes") or []:
        if volume.get("name") not in named and not {"memoryDump", "downwardMetrics"} & volume.keys():
            devices.setdefault("disks", []).append({"name": volume.get("name", "")})
    bus = "virtio" if spec.get("architecture") in ("arm64", "s390x") else "sata"
    for disk in devices.get("disks") or []:
        kind = next((kind for kind in ("disk", "lun", "cdrom") if kind in disk), None)
        if kind is None:
            disk["disk"] = {"bus": bus}
            continue
        target = disk[kind] = disk[kind] or {}
        target.setdefault("bus", bus)
        if kind == "cdrom":
            target.setdefault("readonly", True)
            target.setdefault("tray", "closed")


def _default_features(domain: Object) -> None:
    features = domain.setdefault("features", {})
    features.setdefault("acpi", {}).setdefault("enabled", True)
    for name in ("apic", "smm", "kvm", "pvspinlock"):
        if name in features:
            features[name].setdefault("enabled", True)
    for state in (features.get("hyperv") or {}).values():
        if isinstance(state, dict):
            state.setdefault("enabled", True)


def _default_growth(spec: Object, configuration: Configuration) -> None:
    """How far processors and memory may grow while running (pkg/liveupdate, pkg/defaults)."""
    domain = spec["domain"]
    cpu, memory = domain["cpu"], domain.get("memory") or {}
    if not cpu.get("dedicatedCpuPlacement") or cpu.get("maxSockets"):
        cpu.setdefault("maxSockets", cpu["sockets"] * configuration.max_sockets_ratio)
    guest = memory.get("guest")
    if guest is None or "maxGuest" in memory or "hugepages" in memory:
        return
    size = whole(guest)
    special = (
        cpu.get("realtime") or cpu.get("numa") or cpu.get("dedicatedCpuPlacement") or "launchSecurity" in domain
    )
    if spec["architecture"] == "amd64" and size >= 2**30 and size % 2**21 == 0 and not special:
        memory["maxGuest"] = canonical(binary(size * configuration.max_sockets_ratio))


def default_instance(vmi: Object, configuration: Configuration, *, at: str) -> Object:
    """Fills in a new VirtualMachineInstance: spec, finalizer and first status.

    Args:
        vmi: the object, decoded and in Go's form.
        configuration: the cluster's settings.
        at: the present instant as Kubernetes writes it.
    """
    spec = default_instance_spec(vmi.setdefault("spec", {}), configuration)
    metadata = vmi.setdefault("metadata", {})
    finalizers = metadata.setdefault("finalizers", [])
    if FOREGROUND_FINALIZER not in finalizers:
        finalizers.append(FOREGROUND_FINALIZER)
    metadata.setdefault("annotations", {}).setdefault(PCI_TOPOLOGY, "v3")
    status = vmi.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("phaseTransitionTimestamps", [{"phase": status["phase"], "phaseTransitionTimestamp": at}])
    status.setdefault("guestOSInfo", {})
    status.setdefault("runtimeUser", _RUNTIME_USER)
    cpu = spec["domain"]["cpu"]
    status.setdefault("currentCPUTopology", {part: cpu[part] for part in ("cores", "sockets", "threads")})
    guest = (spec["domain"].get("memory") or {}).get("guest")
    if guest is not None:
        status.setdefault("memory", {"guestAtBoot": guest, "guestCurrent": guest, "guestRequested": guest})
    return vmi
