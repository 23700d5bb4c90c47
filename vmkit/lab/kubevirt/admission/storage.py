"""What KubeVirt demands of disks, volumes and data volume templates (pkg/storage/admitters), in its words."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from typing import Any, Final

from vmkit.lab.kubevirt.admission.causes import INVALID, NOT_FOUND, NOT_SUPPORTED, REQUIRED, Cause
from vmkit.lab.kubevirt.admission.network import PCI_ADDRESS

Object = dict[str, Any]

_LIMIT: Final = 256
_CLOUD_INIT_BYTES: Final = 2048
_BUSES: Final = ("virtio", "scsi", "sata", "usb")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERIAL: Final = re.compile(r"[A-Za-z0-9_.+-]+")
LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_LENGTH_TEXT: Final = "must be no more than 63 bytes"
_SOURCES: Final = (
    "persistentVolumeClaim", "sysprep", "cloudInitNoCloud", "cloudInitConfigDrive", "containerDisk", "ephemeral",
    "emptyDisk", "hostDisk", "dataVolume", "configMap", "secret", "downwardAPI", "serviceAccount",
    "downwardMetrics", "memoryDump",
)  # fmt: skip
_DATA_SOURCES: Final = (
    "http", "s3", "gcs", "registry", "pvc", "upload", "blank", "imageio", "vddk", "snapshot",
)  # fmt: skip


def label_faults(text: str) -> list[str]:
    """Why a text is no DNS label, in Kubernetes' words (k8s.io/apimachinery/pkg/util/validation)."""
    faults = [LABEL_LENGTH_TEXT] if len(text) > 63 else []
    if not _LABEL.fullmatch(text):
        faults.append(LABEL_TEXT)
    return faults


def validate_lists(spec: Object, field: str) -> list[Cause]:
    """The cause for more disks or volumes than KubeVirt looks at; nothing else is checked then."""
    disks = spec.get("domain", {}).get("devices", {}).get("disks") or []
    if len(disks) > _LIMIT:
        where = f"{field}.domain.devices.disks"
        return [Cause(f"{where} list exceeds the {_LIMIT} element limit in length", where)]
    if len(spec.get("volumes") or []) > _LIMIT:
        return [Cause(f"{field}.volumes list exceeds the {_LIMIT} element limit in length", f"{field}.volumes")]
    return []


def validate_boot_order(spec: Object, field: str) -> list[Cause]:
    """Disks have volumes, and no two devices the same boot order."""
    devices = spec.get("domain", {}).get("devices", {})
    volumes = {volume.get("name", ""): volume for volume in spec.get("volumes") or []}
    orders: set[int] = set()
    causes = []
    for index, disk in enumerate(devices.get("disks") or []):
        name, at = disk.get("name", ""), f"{field}.domain.devices.disks[{index}]"
        volume = volumes.get(name)
        # An empty CD-ROM drive is fine without a volume (gate DeclarativeHotplugVolumes).
        if volume is None and "cdrom" not in disk:
            causes.append(Cause(f"{at}.Name '{name}' not found.", f"{at}.name"))
        if "lun" in disk and volume is not None and not {"persistentVolumeClaim", "dataVolume"} & volume.keys():
            causes.append(
                Cause(f"{at}.lun can only be mapped to a DataVolume or PersistentVolumeClaim volume.", f"{at}.lun")
            )
        order = disk.get("bootOrder")
        if order is not None:
            if order in orders:
                causes.append(
                    Cause(f"Boot order for {at}.bootOrder already set for a different device.", f"{at}.bootOrder")
                )
            orders.add(order)
    for index, interface in enumerate(devices.get("interfaces") or []):
        order = interface.get("bootOrder")
        at = f"{field}.domain.devices.interfaces[{index}]"
        if order is None:
            continue
        if order < 1:
            causes.append(
                Cause(f"{field}[{index}] must have a boot order > 0, if supplied", f"{field}[{index}].bootOrder")
            )
            continue
        if order in orders:
            causes.append(
                Cause(f"Boot order for {at}.bootOrder already set for a different device.", f"{at}.bootOrder")
            )
        orders.add(order)
    return causes


def validate_disks(disks: list[Object], field: str) -> list[Cause]:
    """Each disk by itself; ``field`` is the path of the list."""
    causes = []
    for index, disk in enumerate(disks):
        at = f"{field}[{index}]"
        causes += [
            Cause(f"{at} and {field}[{other}] must not have the same Name.", f"{at}.name")
            for other in range(index)
            if disks[other].get("name") == disk.get("name")
        ]
        if sum(kind in disk for kind in ("disk", "lun", "cdrom")) > 1:
            causes.append(Cause(f"{at} can only have a single target type defined", at))
        causes += _disk_address(disk, index, field)
        if disk.get("bootOrder") is not None and disk["bootOrder"] < 1:
            causes.append(Cause(f"{at} must have a boot order > 0, if supplied", f"{at}.bootOrder"))
        causes += _disk_bus(disk, index, field)
        causes += _disk_options(disk, index, field)
        causes += [
            Cause(fault, f"{field}.domain.devices.disks[{index}].name")
            for fault in label_faults(str(disk.get("name", "")))
        ]
        causes += _block_size(disk, at)
    return causes


def _disk_kind(disk: Object) -> str:
    return next((kind for kind in ("disk", "lun", "cdrom") if kind in disk), "")


def _disk_bus_name(disk: Object) -> str:
    return str((disk.get(_disk_kind(disk)) or {}).get("bus", ""))


def _disk_address(disk: Object, index: int, field: str) -> list[Cause]:
    target = disk.get("disk") or {}
    address = target.get("pciAddress", "")
    if not address:
        return []
    at = f"{field}.domain.devices.disks.disk[{index}]"
    causes = []
    if target.get("bus") != "virtio":
        causes.append(
            Cause(
                f"disk {at}.name - setting a PCI address is only possible with bus type virtio.",
                f"{at}.pciAddress",
            )
        )
    if not PCI_ADDRESS.fullmatch(address):
        causes.append(Cause(f"disk {at}.name has malformed PCI address ({address}).", f"{at}.pciAddress"))
    return causes


def _disk_bus(disk: Object, index: int, field: str) -> list[Cause]:
    kind, bus, at = _disk_kind(disk), _disk_bus_name(disk), f"{field}[{index}]"
    causes = []
    if bus == "ide":
        causes.append(Cause("IDE bus is not supported", f"{at}.{kind}.bus"))
    elif bus == "virtio" and kind == "cdrom":
        causes.append(Cause(f"Bus type {bus} is invalid for CD-ROM device", f"{at}.cdrom.bus"))
    elif bus == "sata" and kind == "disk" and disk["disk"].get("readonly"):
        causes.append(Cause(f"{bus} hard-disks do not support read-only.", f"{at}.disk.bus"))
    elif bus and bus not in _BUSES:
        causes.append(
            Cause(
                f"{at} is set with an unrecognized bus {bus}, must be one of: [{' '.join(_BUSES)}]",
                f"{at}.{kind}.bus",
            )
        )
    if bus and bus != "virtio" and disk.get("dedicatedIOThread"):
        causes.append(
            Cause(
                f"IOThreads are not supported for disks on a {bus} bus",
                f"{field}.domain.devices.disks[{index}]",
                NOT_SUPPORTED,
            )
        )
    lun = disk.get("lun") or {}
    if lun.get("reservation") and lun.get("bus") != "scsi":
        causes.append(
            Cause(
                f"Persistent reservation requires a SCSI bus, but {lun.get('bus', '')} was specified",
                f"{at}.lun.bus",
            )
        )
    return causes


def _disk_options(disk: Object, index: int, field: str) -> list[Cause]:
    at = f"{field}[{index}]"
    causes = []
    serial = disk.get("serial", "")
    if serial and not _SERIAL.fullmatch(serial):
        causes.append(
            Cause(
                f"{at} must be made up of the following characters [A-Za-z0-9_.+-], if specified", f"{at}.serial"
            )
        )
    if len(serial) > _LIMIT:
        causes.append(
            Cause(f"{at} must be less than or equal to {_LIMIT} in length, if specified", f"{at}.serial")
        )
    cache = disk.get("cache", "")
    if cache not in ("", "none", "writethrough", "writeback", "directsync"):
        causes.append(Cause(f"{at}.cache has invalid value {cache}", f"{at}.cache"))
    if disk.get("io", "") not in ("", "native", "threads"):
        causes.append(
            Cause(
                f"Disk IO mode for {field} is not supported. Supported modes are: native, threads.",
                f"{field}.domain.devices.disks[{index}].io",
                NOT_SUPPORTED,
            )
        )
    policy = disk.get("errorPolicy")
    if policy not in (None, "stop", "ignore", "report", "enospace"):
        causes.append(Cause(f'{at}.errorPolicy has invalid value "{policy}"', f"{at}.errorPolicy"))
    return causes


def _block_size(disk: Object, at: str) -> list[Cause]:
    size = disk.get("blockSize") or {}
    custom = size.get("custom")
    if custom is None:
        return []
    match = size.get("matchVolume")
    if match is not None and match.get("enabled", True):
        return [Cause("Block size matching can't be enabled together with a custom value", f"{at}.blockSize")]
    logical, physical = custom.get("logical", 0), custom.get("physical", 0)
    where = f"{at}.blockSize.custom"
    if logical > physical:
        return [
            Cause(
                f"Logical size {logical} must be the same or less than the physical size of {physical}",
                f"{where}.logical",
            )
        ]
    if _disk_bus_name(disk) == "sata" and logical != 512:
        return [Cause(f"Logical size {logical} must be 512 for SATA devices", f"{where}.logical")]
    granularity = custom.get("discardGranularity")
    if granularity is not None and logical and granularity % logical:
        return [
            Cause(
                f"Discard granularity {granularity} must be multiples of logical size {logical}",
                f"{where}.discardGranularity",
            )
        ]
    causes = []
    for name, number in (("logical", logical), ("physical", physical)):
        if number < 512:
            text = f"Provided size of {number} is less than the supported minimum size of 512"
        elif number > 2097152:
            text = f"Provided size of {number} is greater than the supported maximum size of 2097152"
        elif number & (number - 1):
            text = f"Provided size of {number} is not a power of 2"
        else:
            continue
        causes.append(Cause(text, f"{where}.{name}"))
    return causes


def validate_volumes(volumes: list[Object], field: str, gates: frozenset[str]) -> list[Cause]:
    """Each volume by itself; ``field`` is the path of the list."""
    causes = []
    first: dict[str, int] = {}
    for index, volume in enumerate(volumes):
        at, name = f"{field}[{index}]", volume.get("name", "")
        if name in first:
            causes.append(Cause(f"{at} and {field}[{first[name]}] must not have the same Name.", f"{at}.name"))
        first.setdefault(name, index)
        if "dataVolume" in volume and not volume["dataVolume"].get("name"):
            causes.append(Cause("DataVolume 'name' must be set", f"{at}.name", REQUIRED))
        if sum(source in volume for source in _SOURCES) != 1:
            causes.append(Cause(f"{at} must have exactly one source type set", at))
        for kind in ("cloudInitNoCloud", "cloudInitConfigDrive"):
            if kind in volume:
                causes += _cloud_init(volume[kind], f"{at}.{kind}", kind)
                break
        if "downwardMetrics" in volume and "DownwardMetrics" not in gates:
            causes.append(
                Cause("downwardMetrics disks are not allowed: DownwardMetrics feature gate is not enabled.", at)
            )
        if "hostDisk" in volume:
            causes += _host_disk(volume["hostDisk"], at, gates)
        causes += [
            Cause(f"{at}.{kind}.{key} is a required field", f"{at}.{kind}.{key}")
            for kind, key in (
                ("configMap", "name"),
                ("secret", "secretName"),
                ("serviceAccount", "serviceAccountName"),
            )
            if kind in volume and not volume[kind].get(key)
        ]
    causes += [
        Cause(f"{field} must have max one {text} volume set", field)
        for kind, text in (
            ("serviceAccount", "serviceAccount"),
            ("downwardMetrics", "downwardMetric"),
            ("memoryDump", "memory dump"),
        )
        if sum(kind in volume for volume in volumes) > 1
    ]
    return causes


def _cloud_init(source: Object, at: str, kind: str) -> list[Cause]:
    causes = []
    counts = {}
    for what, reference, title, noun in (
        ("userData", "secretRef", "UserDataSecretRef", "userdatasource"),
        ("networkData", "networkDataSecretRef", "NetworkDataSecretRef", "networkdata source"),
    ):
        count = length = 0
        if (source.get(reference) or {}).get("name"):
            count += 1
        encoded = source.get(f"{what}Base64", "")
        if encoded:
            count += 1
            try:
                length = len(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                causes.append(
                    Cause(
                        f"{at}.{what}Base64.{kind}.{what}Base64 is not a valid base64 value.", f"{at}.{what}Base64"
                    )
                )
        plain = source.get(what, "")
        if plain:
            count += 1
            length = len(plain.encode())
        if count > 1:
            causes.append(Cause(f"{at} must have only one {noun} set.", at))
        if length > _CLOUD_INIT_BYTES:
            causes.append(
                Cause(
                    f"{at} {what.lower()} exceeds {_CLOUD_INIT_BYTES} byte limit. "
                    f"Should use {title} for larger data.",
                    at,
                )
            )
        counts[what] = count
    if not any(counts.values()):
        causes.append(Cause(f"{at} must have at least one userdatasource or one networkdatasource set.", at))
    return causes


def _host_disk(disk: Object, at: str, gates: frozenset[str]) -> list[Cause]:
    causes = []
    if "HostDisk" not in gates:
        causes.append(Cause("HostDisk feature gate is not enabled", at))
    if not disk.get("path"):
        where = f"{at}.hostDisk.path"
        causes.append(Cause(f"{where} is required for hostDisk volume", where, NOT_FOUND))
    kind, where = disk.get("type", ""), f"{at}.hostDisk"
    if kind not in ("Disk", "DiskOrCreate"):
        causes.append(
            Cause(
                f"{where}.type has invalid value '{kind}', allowed are 'Disk' or 'DiskOrCreate'",
                f"{where}.type",
            )
        )
    if kind == "Disk" and disk.get("capacity", "0") not in ("0", 0):
        causes.append(
            Cause(
                f"{where}.capacity is allowed to pass only with {where}.type equal to 'DiskOrCreate'",
                f"{where}.capacity",
            )
        )
    return causes


def validate_container_disks(volumes: list[Object], field: str) -> list[Cause]:
    """The path inside a container disk is absolute and plain."""
    causes: list[Cause] = []
    for index, volume in enumerate(volumes):
        path = (volume.get("containerDisk") or {}).get("path", "")
        if path:
            causes += validate_path(path, f"{field}[{index}].containerDisk")
    return causes


def validate_path(path: str, at: str) -> list[Cause]:
    """An absolute path to a file, nothing relative in it."""
    if path == "/":
        return [Cause(f"{at} must not point to root", at)]
    if posixpath.normpath("/" + path.lstrip("/")) != path.removesuffix("/"):
        return [Cause(f"{at} must be an absolute path to a file without relative components", at)]
    return []


def validate_data_volume_templates(spec: Object, field: str) -> list[Cause]:
    """The VM's dataVolumeTemplates; KubeVirt writes the path without its last letter."""
    causes = []
    volumes = spec.get("template", {}).get("spec", {}).get("volumes") or []
    for index, template in enumerate(spec.get("dataVolumeTemplates") or []):
        at = f"{field}.dataVolumeTemplate[{index}]"
        fault = _data_volume_fault(template, at)
        if fault is not None:
            causes.append(fault)
            continue
        name = (template.get("metadata") or {}).get("name")
        referenced = any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == name
            or (volume.get("dataVolume") or {}).get("name") == name
            for volume in volumes
        )
        if not referenced:
            causes.append(
                Cause(
                    f"DataVolumeTemplate entry {at} must be referenced in the VMI template's 'volumes' list",
                    at,
                    REQUIRED,
                )
            )
    return causes


def _data_volume_fault(template: Object, at: str) -> Cause | None:
    spec = template.get("spec") or {}
    if not (template.get("metadata") or {}).get("name"):
        return Cause(
            f"'name' field must not be empty for DataVolumeTemplate entry {at}.name.", f"{at}.name", REQUIRED
        )
    if "pvc" not in spec and "storage" not in spec:
        return Cause("Missing Data volume PVC or Storage", f"{at}.PVC.Storage")
    if "pvc" in spec and "storage" in spec:
        return Cause(
            "Duplicate storage definition, both target storage and target pvc defined",
            f"{at}.PVC.Storage",
            INVALID,
        )
    target = spec.get("pvc") or spec.get("storage") or {}
    external = "dataSourceRef" in target or "dataSource" in target
    sourced = "source" in spec or "sourceRef" in spec
    if external and sourced:
        return Cause("External population is incompatible with Source and SourceRef", f"{at}.source")
    if not external and not sourced:
        return Cause(
            "Data volume should have either Source, SourceRef, or be externally populated",
            f"{at}.source.sourceRef",
        )
    if "source" in spec:
        sources = sum(kind in (spec["source"] or {}) for kind in _DATA_SOURCES)
        if sources == 0:
            return Cause("Missing dataVolume valid source", f"{at}.source")
        if sources > 1:
            return Cause("Multiple dataVolume sources", f"{at}.source")
    return None
