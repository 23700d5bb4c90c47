"""The rule about fields that do not exist, and the fields that do."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.provision.lint.model import Said, Severity, Subject, rule

# From the OpenAPI schema of KubeVirt 1.9 (kubevirt.io/v1, VirtualMachine): the levels people write by hand.
_SPEC: Final = frozenset(
    [
        "dataVolumeTemplates",
        "instancetype",
        "preference",
        "runStrategy",
        "running",
        "template",
        "updateVolumesStrategy",
    ]
)
_GUEST: Final = frozenset(
    [
        "accessCredentials",
        "affinity",
        "architecture",
        "dnsConfig",
        "dnsPolicy",
        "domain",
        "evictionStrategy",
        "hostname",
        "livenessProbe",
        "networks",
        "nodeSelector",
        "priorityClassName",
        "readinessProbe",
        "resourceClaims",
        "schedulerName",
        "serviceAccountName",
        "startStrategy",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "utilityVolumes",
        "volumes",
    ]
)
_DOMAIN: Final = frozenset(
    [
        "chassis",
        "clock",
        "cpu",
        "devices",
        "features",
        "firmware",
        "ioThreads",
        "ioThreadsPolicy",
        "launchSecurity",
        "machine",
        "memory",
        "rebootPolicy",
        "resources",
    ]
)
_DEVICES: Final = frozenset(
    [
        "autoattachGraphicsDevice",
        "autoattachInputDevice",
        "autoattachMemBalloon",
        "autoattachPodInterface",
        "autoattachSerialConsole",
        "autoattachVSOCK",
        "blockMultiQueue",
        "clientPassthrough",
        "disableHotplug",
        "disks",
        "downwardMetrics",
        "filesystems",
        "gpus",
        "hostDevices",
        "inputs",
        "interfaces",
        "logSerialConsole",
        "networkInterfaceMultiqueue",
        "panicDevices",
        "rng",
        "sound",
        "tpm",
        "useVirtioTransitional",
        "video",
        "watchdog",
    ]
)
_DISK: Final = frozenset(
    [
        "blockSize",
        "bootOrder",
        "cache",
        "cdrom",
        "changedBlockTracking",
        "dedicatedIOThread",
        "disk",
        "errorPolicy",
        "io",
        "lun",
        "name",
        "serial",
        "shareable",
        "tag",
    ]
)
_INTERFACE: Final = frozenset(
    [
        "acpiIndex",
        "binding",
        "bootOrder",
        "bridge",
        "dhcpOptions",
        "macAddress",
        "macvtap",
        "masquerade",
        "model",
        "name",
        "passt",
        "passtBinding",
        "pciAddress",
        "portRanges",
        "ports",
        "slirp",
        "sriov",
        "state",
        "tag",
    ]
)
_VOLUME: Final = frozenset(
    [
        "cloudInitConfigDrive",
        "cloudInitNoCloud",
        "configMap",
        "containerDisk",
        "containerPath",
        "dataVolume",
        "downwardAPI",
        "downwardMetrics",
        "emptyDisk",
        "ephemeral",
        "hostDisk",
        "memoryDump",
        "name",
        "persistentVolumeClaim",
        "secret",
        "serviceAccount",
        "sysprep",
    ]
)
_CPU: Final = frozenset(
    [
        "cores",
        "dedicatedCpuPlacement",
        "features",
        "isolateEmulatorThread",
        "maxSockets",
        "model",
        "numa",
        "realtime",
        "sockets",
        "threads",
    ]
)
_MEMORY: Final = frozenset(["guest", "hugepages", "maxGuest", "reservedOverhead"])


@rule(
    "unknown-field",
    Severity.ERROR,
    "A field that VirtualMachines do not have",
    "KubeVirt pkg/util/openapi; the schema of KubeVirt 1.9",
)
def _unknown_field(vm: Subject) -> Iterator[Said]:
    template = "spec.template.spec"
    levels: list[tuple[str, Any, frozenset[str]]] = [
        ("spec", vm.spec, _SPEC),
        (template, vm.guest, _GUEST),
        (f"{template}.domain", vm.domain, _DOMAIN),
        (f"{template}.domain.cpu", vm.domain.get("cpu"), _CPU),
        (f"{template}.domain.memory", vm.domain.get("memory"), _MEMORY),
        (f"{template}.domain.devices", vm.devices, _DEVICES),
    ]
    for path, items, known in (
        (f"{template}.domain.devices.disks", vm.disks, _DISK),
        (f"{template}.domain.devices.interfaces", vm.interfaces, _INTERFACE),
        (f"{template}.volumes", vm.volumes, _VOLUME),
    ):
        levels += [(f"{path}[{index}]", item, known) for index, item in enumerate(items)]
    for path, value, known in levels:
        if value is not None and not isinstance(value, Mapping):
            yield path, "it has to be a mapping", "write the fields below it"
            continue
        for key in value or {}:
            if key not in known:
                close = difflib.get_close_matches(key, sorted(known), 1)
                yield (
                    f"{path}.{key}",
                    f"there is no field {key!r}",
                    f"did you mean {close[0]}?" if close else "remove it",
                )
