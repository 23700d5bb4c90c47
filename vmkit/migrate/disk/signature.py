"""What stands on a volume, by its magic numbers, with its label and UUID: the part of blkid that is needed here.

Offsets are those of the formats' own documentation, as collected in util-linux's libblkid/src/superblocks.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Final

from vmkit.migrate.disk.device import Device

_PROBE_BYTES: Final = 0x12000


@dataclass(frozen=True, slots=True)
class Signature:
    """What a volume holds: ``kind`` is blkid's word ("ext4", "crypto_LUKS" ...), "" where nothing is known."""

    kind: str
    label: str = ""
    uuid: str = ""


def read_signature(volume: Device) -> Signature:
    """Looks at the first 72 KiB of a volume."""
    head = volume.read(0, min(volume.size, _PROBE_BYTES))
    head += bytes(max(0, 4096 - len(head)))
    for probe in (_luks, _bitlocker, _lvm, _raid, _xfs, _ext, _btrfs, _swap, _ntfs, _fat, _squashfs, _iso):
        found = probe(head)
        if found is not None:
            return found
    return Signature("")


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _luks(head: bytes) -> Signature | None:
    if head[:6] != b"LUKS\xba\xbe":
        return None
    # version 2 has a label at 24; both keep the UUID as text at 168
    label = _text(head[24:72]) if head[6:8] == b"\0\x02" else ""
    return Signature("crypto_LUKS", label, _text(head[168:208]))


def _bitlocker(head: bytes) -> Signature | None:
    return Signature("BitLocker") if head[3:11] == b"-FVE-FS-" else None


def _lvm(head: bytes) -> Signature | None:
    for sector in range(4):
        label = head[sector * 512 : sector * 512 + 32]
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            return Signature("LVM2_member")
    return None


def _raid(head: bytes) -> Signature | None:
    # metadata 1.1 at the start, 1.2 at 4 KiB; 0.90 and 1.0 stand at the end and show the file system at the start
    for at in (0, 4096):
        if head[at : at + 4] == b"\xfc\x4e\x2b\xa9":
            return Signature("linux_raid_member", _text(head[at + 32 : at + 64]))
    return None


def _xfs(head: bytes) -> Signature | None:
    if head[:4] != b"XFSB":
        return None
    return Signature("xfs", _text(head[108:120]), str(uuid.UUID(bytes=head[32:48])))


def _ext(head: bytes) -> Signature | None:
    block = head[1024:2048]
    if block[56:58] != b"\x53\xef":
        return None
    compatible, incompatible = struct.unpack_from("<II", block, 92)
    if incompatible & 0x8:
        return Signature("jbd")
    kind = "ext4" if incompatible & (0x40 | 0x80 | 0x200) else "ext3" if compatible & 0x4 else "ext2"
    return Signature(kind, _text(block[120:136]), str(uuid.UUID(bytes=block[104:120])))


def _btrfs(head: bytes) -> Signature | None:
    block = head[0x10000:0x11000]
    if block[64:72] != b"_BHRfS_M":
        return None
    return Signature("btrfs", _text(block[299:555]), str(uuid.UUID(bytes=block[32:48])))


def _swap(head: bytes) -> Signature | None:
    for page in (4096, 65536):
        if head[page - 10 : page] in (b"SWAPSPACE2", b"SWAP-SPACE"):
            return Signature("swap", _text(head[1052:1068]), str(uuid.UUID(bytes=head[1036:1052])))
    return None


def _ntfs(head: bytes) -> Signature | None:
    return Signature("ntfs", "", head[72:80][::-1].hex().upper()) if head[3:11] == b"NTFS    " else None


def _fat(head: bytes) -> Signature | None:
    if head[510:512] != b"\x55\xaa":
        return None
    for at, serial in ((82, 67), (54, 39)):
        if head[at : at + 5] in (b"FAT32", b"FAT16", b"FAT12"):
            number = head[serial : serial + 4][::-1].hex().upper()
            label = head[serial + 4 : serial + 15].decode("latin-1").strip()
            return Signature("vfat", "" if label == "NO NAME" else label, f"{number[:4]}-{number[4:]}")
    return None


def _squashfs(head: bytes) -> Signature | None:
    return Signature("squashfs") if head[:4] == b"hsqs" else None


def _iso(head: bytes) -> Signature | None:
    if head[0x8001:0x8006] != b"CD001":
        return None
    return Signature("iso9660", head[0x8028:0x8048].decode("latin-1").strip())
