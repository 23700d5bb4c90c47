"""All volumes of a machine's disks: partitions, logical volumes, whole disks; opened where possible."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from vmkit.errors import DamagedImage, VmkitError
from vmkit.migrate.disk.btrfs import BtrfsVolume
from vmkit.migrate.disk.device import Device, Slice
from vmkit.migrate.disk.ext4 import Ext4Volume
from vmkit.migrate.disk.image import Image
from vmkit.migrate.disk.lvm import read_groups
from vmkit.migrate.disk.partitions import Partition, Table, read_table
from vmkit.migrate.disk.signature import read_signature
from vmkit.migrate.disk.xfs import XfsVolume
from vmkit.migrate.tree.volume import Child, Node, Stat, Volume

Result = TypeVar("Result")

_READERS: dict[str, Callable[..., Volume]] = {
    "ext2": Ext4Volume,
    "ext3": Ext4Volume,
    "ext4": Ext4Volume,
    "xfs": XfsVolume,
    "btrfs": BtrfsVolume,
}

# What a volume is that cannot be read, and what helps.
_UNREADABLE = {
    "crypto_LUKS": "encrypted with LUKS: only the running guest can say what is on it (guest agent or SSH)",
    "BitLocker": "encrypted with BitLocker: only the running guest can say what is on it",
    "ntfs": "a Windows file system: vmkit judges Linux guests",
    "linux_raid_member": "part of a software RAID: assemble it read-only and inspect the folder it is mounted on",
    "squashfs": "squashfs is not read directly: mount it read-only and inspect the folder",
    "iso9660": "an installation medium, or cloud-init's configuration drive",
}
_WITHOUT_FILES = frozenset({"swap", "LVM2_member", "vfat", "jbd", ""})


@dataclass(frozen=True, slots=True)
class DiskVolume:
    """One volume of a disk.

    Attributes:
        disk: which disk, from 0.
        name: as Linux would call it on a disk of KubeVirt's virtio bus ("vda2"), or "group/name" for LVM.
        size: bytes.
        signature: blkid's word for what it holds, or "".
        label, uuid: of the file system.
        partition: its entry in the partition table, or None.
        files: the open file system, or None.
        problem: why it cannot be read, or "".
    """

    disk: int
    name: str
    size: int
    signature: str
    label: str = ""
    uuid: str = ""
    partition: Partition | None = None
    files: Volume | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """The disks and everything on them."""

    images: tuple[Image, ...]
    tables: tuple[Table, ...]
    volumes: tuple[DiskVolume, ...]

    def close(self) -> None:
        for image in self.images:
            image.close()


class GuardedVolume:
    """A volume whose reader may trip over a structure that ends too early: that is damage like any other."""

    def __init__(self, volume: Volume, where: str) -> None:
        self._volume, self._where = volume, where
        self.kind, self.root, self.notes = volume.kind, volume.root, volume.notes

    def _guard(self, call: Callable[..., Result], *arguments: object) -> Result:
        try:
            return call(*arguments)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            raise DamagedImage(f"the file system is damaged: {error}", where=self._where) from error

    def children(self, node: Node) -> Mapping[str, Child]:
        return self._guard(self._volume.children, node)

    def stat(self, node: Node) -> Stat:
        return self._guard(self._volume.stat, node)

    def read_link(self, node: Node) -> str:
        return self._guard(self._volume.read_link, node)

    def read(self, node: Node, offset: int, length: int) -> bytes:
        return self._guard(self._volume.read, node, offset, length)

    def subvolume(self, options: tuple[str, ...]) -> GuardedVolume | None:
        """Another part of it that mount's options name (subvol=, subvolid=); None where it has no such parts."""
        if not isinstance(self._volume, BtrfsVolume):
            return None
        found = self._guard(self._volume.subvolume, options)
        return None if found is None else GuardedVolume(found, self._where)

    def close(self) -> None:
        self._volume.close()


def disk_name(index: int, partition: int = 0) -> str:
    """ "vda", "vdb2" ...: the names that virtio disks get, in order; only the order is certain."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"vd{letters}{partition or ''}"


def read_layout(images: Sequence[Image]) -> DiskLayout:
    """Finds and opens every volume; one that cannot be read says why and stops nothing."""
    tables: list[Table] = []
    volumes: list[DiskVolume] = []
    members: list[Device] = []
    for index, image in enumerate(images):
        table = _table(image)
        tables.append(table)
        if table.scheme == "none":
            volumes.append(_volume(index, disk_name(index), image.device, members))
        for partition in table.partitions:
            name = disk_name(index, partition.number)
            part = Slice(image.device, partition.offset, partition.size, where=name)
            volumes.append(replace(_volume(index, name, part, members), partition=partition))
    for logical in read_groups(members) if members else ():
        name = f"{logical.group}/{logical.name}"
        if logical.device is None:
            volumes.append(DiskVolume(-1, name, 0, "", problem=logical.problem))
        else:
            volumes.append(_volume(-1, name, logical.device, []))
    return DiskLayout(tuple(images), tuple(tables), tuple(volumes))


def _table(image: Image) -> Table:
    # A file system on the whole disk may carry bytes that look like a partition table: what it is comes first.
    signature = read_signature(image.device)
    if signature.kind and signature.kind not in ("vfat", "ntfs", "iso9660"):
        return Table("none")
    return read_table(image.device)


def _volume(disk: int, name: str, device: Device, members: list[Device]) -> DiskVolume:
    try:
        signature = read_signature(device)
    except (VmkitError, struct.error, ValueError) as error:
        return DiskVolume(disk, name, device.size, "", problem=str(error))
    found = DiskVolume(disk, name, device.size, signature.kind, signature.label, signature.uuid)
    if signature.kind == "LVM2_member":
        members.append(device)
    if signature.kind in _UNREADABLE:
        return replace(found, problem=_UNREADABLE[signature.kind])
    if signature.kind in _WITHOUT_FILES:
        return found
    try:
        reader = _READERS[signature.kind](device, where=name)
        files = GuardedVolume(reader, name)
        files.stat(files.root)
    except VmkitError as error:
        return replace(found, problem=error.message)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        return replace(found, problem=f"the file system is damaged: {error}")
    return replace(found, files=files)
