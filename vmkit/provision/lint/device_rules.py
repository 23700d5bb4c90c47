"""Rules about disks, volumes, interfaces and networks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from vmkit.provision.lint.model import Said, Severity, Subject, rule
from vmkit.provision.walk import as_mapping, as_text

_TEMPLATE: Final = "spec.template.spec"
_DISKS: Final = f"{_TEMPLATE}.domain.devices.disks"
_INTERFACES: Final = f"{_TEMPLATE}.domain.devices.interfaces"
_VOLUME_SOURCES: Final = frozenset({
    "cloudInitConfigDrive", "cloudInitNoCloud", "configMap", "containerDisk", "containerPath", "dataVolume",
    "downwardAPI", "downwardMetrics", "emptyDisk", "ephemeral", "hostDisk", "memoryDump", "persistentVolumeClaim",
    "secret", "serviceAccount", "sysprep",
})  # fmt: skip
_BINDINGS: Final = ("bridge", "masquerade", "sriov", "passtBinding", "slirp", "macvtap", "passt", "binding")
_MODELS: Final = frozenset({"e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio"})
_DISK_TARGETS: Final = ("disk", "cdrom", "lun")
_BUSES: Final = frozenset({"virtio", "sata", "scsi", "usb"})
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")
_NETWORK_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_STORAGE_ADMITTER: Final = "KubeVirt pkg/storage/admitters"
_NETWORK_ADMITTER: Final = "KubeVirt pkg/network/admitter"


def _names(items: Sequence[Mapping[str, Any]]) -> list[str]:
    return [as_text(item.get("name")) for item in items]


@rule("disk-without-volume", Severity.ERROR, "A disk names a volume that is not there", _STORAGE_ADMITTER)
def _disk_without_volume(vm: Subject) -> Iterator[Said]:
    volumes = _names(vm.volumes)
    for index, disk in enumerate(vm.disks):
        name = as_text(disk.get("name"))
        if name not in volumes:
            yield f"{_DISKS}[{index}]", f"disk {name!r} has no volume", f"add a volume called {name!r}"


@rule(
    "volume-without-disk",
    Severity.ERROR,
    "A volume that no disk or file system uses: the instance is refused",
    "KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/vmi-create-admitter.go",
)
def _volume_without_disk(vm: Subject) -> Iterator[Said]:
    used = {*_names(vm.disks), *_names(vm.filesystems)}
    for index, volume in enumerate(vm.volumes):
        name = as_text(volume.get("name"))
        # A memory dump, downward metrics and hot-plugged volumes need no disk.
        if name and name not in used and "memoryDump" not in volume and "downwardMetrics" not in volume:
            yield (
                f"{_TEMPLATE}.volumes[{index}]",
                f"volume {name!r} has no disk: the VM is accepted and never starts",
                f"add a disk called {name!r}, or remove the volume",
            )


@rule("duplicate-disk", Severity.ERROR, "Two disks of one name", _STORAGE_ADMITTER)
def _duplicate_disk(vm: Subject) -> Iterator[Said]:
    yield from _duplicates(_names(vm.disks), _DISKS, "disks")


@rule("duplicate-volume", Severity.ERROR, "Two volumes of one name", _STORAGE_ADMITTER)
def _duplicate_volume(vm: Subject) -> Iterator[Said]:
    yield from _duplicates(_names(vm.volumes), f"{_TEMPLATE}.volumes", "volumes")


def _duplicates(names: Sequence[str], path: str, what: str) -> Iterator[Said]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"{path}[{index}]", f"two {what} are called {name!r}", "rename one of them"


@rule("volume-source", Severity.ERROR, "A volume has exactly one source", _STORAGE_ADMITTER)
def _volume_source(vm: Subject) -> Iterator[Said]:
    for index, volume in enumerate(vm.volumes):
        sources = sorted(_VOLUME_SOURCES & set(volume))
        if len(sources) != 1:
            found = ", ".join(sources) if sources else "none"
            yield (
                f"{_TEMPLATE}.volumes[{index}]",
                f"volume {as_text(volume.get('name'))!r} has to have exactly one source; it has {found}",
                "keep one of dataVolume, containerDisk, cloudInitNoCloud ...",
            )


@rule(
    "disk-target", Severity.ERROR, "A disk is one of disk, cdrom and lun, on a bus KubeVirt has", _STORAGE_ADMITTER
)
def _disk_target(vm: Subject) -> Iterator[Said]:
    for index, disk in enumerate(vm.disks):
        targets = [target for target in _DISK_TARGETS if target in disk]
        if len(targets) > 1:
            yield f"{_DISKS}[{index}]", f"it is {' and '.join(targets)} at once", "keep one of them"
        for target in targets:
            bus = as_text(as_mapping(disk[target]).get("bus"))
            if bus and bus not in _BUSES:
                yield (
                    f"{_DISKS}[{index}].{target}.bus",
                    f"there is no bus {bus!r}",
                    "use virtio, scsi, sata or usb",
                )
            elif target == "cdrom" and bus == "virtio":
                yield f"{_DISKS}[{index}].cdrom.bus", "a CD-ROM cannot be on the virtio bus", "use sata or scsi"


@rule("boot-order", Severity.ERROR, "Boot orders are 1 or more, and each stands once", _STORAGE_ADMITTER)
def _boot_order(vm: Subject) -> Iterator[Said]:
    seen: set[int] = set()
    for path, items in ((_DISKS, vm.disks), (_INTERFACES, vm.interfaces)):
        for index, item in enumerate(items):
            order = item.get("bootOrder")
            if order is None:
                continue
            if isinstance(order, bool) or not isinstance(order, int) or order < 1:
                yield f"{path}[{index}].bootOrder", f"boot order {order!r} is not 1 or more", "count from 1"
            elif order in seen:
                yield f"{path}[{index}].bootOrder", f"boot order {order} is taken already", "give each its own"
            else:
                seen.add(order)


@rule("slow-disk-bus", Severity.INFO, "A hard disk that is not on virtio or scsi is slow", "KubeVirt user guide")
def _slow_disk_bus(vm: Subject) -> Iterator[Said]:
    for index, disk in enumerate(vm.disks):
        bus = as_text(as_mapping(disk.get("disk")).get("bus"))
        if bus in {"sata", "usb"}:
            yield f"{_DISKS}[{index}].disk.bus", f"bus {bus} is slow", "use virtio where the guest has its drivers"


@rule(
    "ephemeral-disk",
    Severity.INFO,
    "What is written to a container disk or an ephemeral volume is lost at every stop",
    "KubeVirt user guide, Disks and Volumes",
)
def _ephemeral_disk(vm: Subject) -> Iterator[Said]:
    for index, volume in enumerate(vm.volumes):
        for kind in ("containerDisk", "ephemeral", "emptyDisk"):
            if kind in volume:
                yield (
                    f"{_TEMPLATE}.volumes[{index}]",
                    f"{kind} {as_text(volume.get('name'))!r} is empty again after every stop",
                    "use a dataVolume for what has to stay",
                )


@rule("interface-without-network", Severity.ERROR, "Interfaces and networks go in pairs", _NETWORK_ADMITTER)
def _interface_without_network(vm: Subject) -> Iterator[Said]:
    networks, interfaces = _names(vm.networks), _names(vm.interfaces)
    for index, name in enumerate(interfaces):
        if name not in networks:
            yield f"{_INTERFACES}[{index}]", f"interface {name!r} has no network", f"add a network {name!r}"
    for index, name in enumerate(networks):
        if name not in interfaces:
            yield (
                f"{_TEMPLATE}.networks[{index}]",
                f"network {name!r} has no interface",
                f"add an interface {name!r}",
            )


@rule("interface-binding", Severity.ERROR, "An interface has one binding, and one that exists", _NETWORK_ADMITTER)
def _interface_binding(vm: Subject) -> Iterator[Said]:
    pod = {as_text(network.get("name")) for network in vm.networks if "pod" in network}
    for index, interface in enumerate(vm.interfaces):
        path, name = f"{_INTERFACES}[{index}]", as_text(interface.get("name"))
        bindings = [binding for binding in _BINDINGS if binding in interface]
        if len(bindings) > 1:
            yield path, f"interface {name!r} is bound twice: {' and '.join(bindings)}", "keep one of them"
        for gone in ("slirp", "macvtap", "passt"):
            if gone in bindings:
                yield path, f"KubeVirt has no {gone} binding since 1.3", "use masquerade, or a binding plugin"
        if "masquerade" in bindings and name not in pod:
            yield path, f"masquerade works on the pod network only, and {name!r} is none", "use bridge there"


@rule(
    "interface-shape", Severity.ERROR, "Interfaces have a known model, a MAC address and a name", _NETWORK_ADMITTER
)
def _interface_shape(vm: Subject) -> Iterator[Said]:
    for index, interface in enumerate(vm.interfaces):
        path = f"{_INTERFACES}[{index}]"
        model = as_text(interface.get("model"))
        if model and model not in _MODELS:
            yield (
                f"{path}.model",
                f"there is no interface model {model!r}",
                f"use one of {', '.join(sorted(_MODELS))}",
            )
        mac = interface.get("macAddress")
        if mac is not None and not (isinstance(mac, str) and _MAC.fullmatch(mac)):
            yield f"{path}.macAddress", f"{mac!r} is no MAC address", "six pairs of hexadecimal digits"
        elif isinstance(mac, str) and int(mac[:2], 16) & 1:
            yield f"{path}.macAddress", f"{mac} is a multicast address", "begin with 02"
        name = as_text(interface.get("name"))
        if name and not _NETWORK_NAME.fullmatch(name):
            yield f"{path}.name", f"{name!r} cannot name an interface", "letters, digits, '-' and '_'"
        for number, port in enumerate(interface.get("ports") or []):
            value = as_mapping(port).get("port")
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
                yield f"{path}.ports[{number}].port", f"{value!r} is no port", "1 to 65535"


@rule("network-source", Severity.ERROR, "A network has one source; one pod network at most", _NETWORK_ADMITTER)
def _network_source(vm: Subject) -> Iterator[Said]:
    pods = 0
    for index, network in enumerate(vm.networks):
        path, name = f"{_TEMPLATE}.networks[{index}]", as_text(network.get("name"))
        sources = [key for key in ("pod", "multus", "resourceClaim") if key in network]
        if len(sources) != 1:
            yield path, f"network {name!r} has to be either pod or multus", "keep one of them"
        if "multus" in network and not as_mapping(network["multus"]).get("networkName"):
            yield path, f"network {name!r} names no NetworkAttachmentDefinition", "give multus.networkName"
        pods += "pod" in network
        if "pod" in network and pods > 1:
            yield path, "a VM has one pod network at most", "use multus for the others"
    names = _names(vm.networks)
    yield from _duplicates(names, f"{_TEMPLATE}.networks", "networks")


@rule(
    "bridge-on-pod-network",
    Severity.WARNING,
    "A bridge on the pod network keeps a VM from live migration",
    "KubeVirt pkg/virt-handler; docs/network",
)
def _bridge_on_pod_network(vm: Subject) -> Iterator[Said]:
    pod = {as_text(network.get("name")) for network in vm.networks if "pod" in network}
    for index, interface in enumerate(vm.interfaces):
        if "bridge" in interface and as_text(interface.get("name")) in pod:
            yield (
                f"{_INTERFACES}[{index}].bridge", "bridged to the pod network, the VM cannot live-migrate",
                "use masquerade",
            )  # fmt: skip
    if not vm.interfaces and vm.devices.get("autoattachPodInterface") is not False and vm.domain:
        yield (
            _INTERFACES, "without interfaces KubeVirt bridges to the pod network: the VM cannot live-migrate",
            "add an interface with masquerade and the network pod: {}",
        )  # fmt: skip


@rule(
    "mac-not-pinned",
    Severity.WARNING,
    "A guest whose MAC address changes between stop and start can lose its network",
    "kubevirt#1251, #9993, #11585, #15028",
)
def _mac_not_pinned(vm: Subject) -> Iterator[Said]:
    for index, interface in enumerate(vm.interfaces):
        if "macAddress" not in interface and "sriov" not in interface:
            name = as_text(interface.get("name")) or "default"
            yield (
                f"{_INTERFACES}[{index}]", f"interface {name!r} gets a new MAC address at every start",
                f'write macAddress: {{{{ mac("{name}") }}}}',
            )  # fmt: skip
