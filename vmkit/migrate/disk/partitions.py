"""GPT and MBR partition tables, with the chain of logical partitions."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import Final

from vmkit.migrate.disk.device import Device

SECTOR: Final = 512
_MAX_PARTITIONS: Final = 256
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_GPT_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")

# UEFI and systemd's discoverable partitions; the name says what people call it.
_GPT_TYPES: Final[dict[str, str]] = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "Linux root (arm64)",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
}
_MBR_TYPES: Final[dict[int, str]] = {
    0x07: "Microsoft basic data", 0x0B: "FAT", 0x0C: "FAT", 0x0E: "FAT", 0x82: "Linux swap", 0x83: "Linux",
    0x8E: "Linux LVM", 0xEF: "EFI system", 0xFD: "Linux RAID",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition.

    Attributes:
        number: as Linux counts: sda1 is 1; logical ones start at 5.
        offset: bytes from the start of the disk.
        size: bytes.
        kind: what its table says it is ("Linux", "EFI system"), or the raw type.
        uuid: PARTUUID, lower case; "" where there is none.
        name: PARTLABEL; "" where there is none.
    """

    number: int
    offset: int
    size: int
    kind: str
    uuid: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What a disk's partition table says: ``scheme`` is "gpt", "mbr", or "none" for a file system on all of it."""

    scheme: str
    partitions: tuple[Partition, ...] = ()
    notes: tuple[str, ...] = ()


def read_table(disk: Device) -> Table:
    """Reads a disk's partition table; damage in it becomes a note, never an error: the rest may still be read."""
    if disk.size < SECTOR:
        return Table("none")
    first = disk.read(0, SECTOR)
    if first[510:] != b"\x55\xaa":
        return _read_gpt(disk, ()) or Table("none")
    entries = _mbr_entries(first)
    if any(kind == 0xEE for kind, _, _ in entries):
        return _read_gpt(disk, ()) or Table("gpt", (), ("both copies of its partition table are damaged",))
    if not _looks_like_mbr(first, entries, disk.size):
        return Table("none")
    return _read_mbr(disk, first, entries)


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]]:
    return [(sector[start + 4], *struct.unpack_from("<II", sector, start + 8)) for start in range(446, 510, 16)]


def _looks_like_mbr(sector: bytes, entries: list[tuple[int, int, int]], size: int) -> bool:
    # A FAT or NTFS boot sector ends with the same two bytes; its boot indicators are text or code.
    if any(sector[start] not in (0x00, 0x80) for start in range(446, 510, 16)):
        return False
    used = [(start, count) for kind, start, count in entries if kind]
    return bool(used) and all(start > 0 and count > 0 and start * SECTOR < size for start, count in used)


def _read_mbr(disk: Device, sector: bytes, entries: list[tuple[int, int, int]]) -> Table:
    (signature,) = struct.unpack_from("<I", sector, 440)
    notes: list[str] = []
    found: list[Partition] = []
    logical_number = 5
    for number, (kind, start, count) in enumerate(entries, 1):
        if kind in _EXTENDED:
            logical, problem = _read_logical(disk, start, signature, logical_number)
            found += logical
            logical_number += len(logical)
            notes += [problem] if problem else []
        elif kind:
            found.append(_mbr_partition(number, kind, start, count, signature))
    fitting = _fitting(found, disk.size, notes)
    return Table("mbr", tuple(sorted(fitting, key=lambda one: one.number)), tuple(notes))


def _read_logical(disk: Device, base: int, signature: int, number: int) -> tuple[list[Partition], str]:
    found: list[Partition] = []
    seen: set[int] = set()
    at = base
    while len(found) < _MAX_PARTITIONS:
        if at in seen or (at + 1) * SECTOR > disk.size:
            return found, "the chain of logical partitions is broken"
        seen.add(at)
        sector = disk.read(at * SECTOR, SECTOR)
        if sector[510:] != b"\x55\xaa":
            return found, "the chain of logical partitions is broken"
        (kind, start, count), (next_kind, next_start, _), *_rest = _mbr_entries(sector)
        if kind and count:
            found.append(_mbr_partition(number + len(found), kind, at + start, count, signature))
        if next_kind not in _EXTENDED or next_start == 0:
            return found, ""
        at = base + next_start
    return found, f"more than {_MAX_PARTITIONS} logical partitions"


def _mbr_partition(number: int, kind: int, start: int, count: int, signature: int) -> Partition:
    identifier = f"{signature:08x}-{number:02x}" if signature else ""
    return Partition(
        number, start * SECTOR, count * SECTOR, _MBR_TYPES.get(kind, f"type 0x{kind:02x}"), identifier
    )


def _read_gpt(disk: Device, notes: tuple[str, ...]) -> Table | None:
    # The backup header in the last sector stands in for a damaged first one. Sectors may have 4096 bytes.
    for sector in (SECTOR, 4096):
        for at in (sector, disk.size - sector):
            if at < sector or at + sector > disk.size or at % SECTOR:
                continue
            table = _gpt_at(disk, at, sector)
            if table is not None:
                first = at == sector
                return Table("gpt", table, notes if first else (*notes, "the first partition table is damaged"))
    return None


def _gpt_at(disk: Device, at: int, sector: int) -> tuple[Partition, ...] | None:
    header = disk.read(at, _GPT_HEADER.size)
    magic, _rev, length, checksum, _, _own, _backup, _first, _last, _disk, lba, count, entry_size, _ = (
        _GPT_HEADER.unpack(header)
    )
    if magic != b"EFI PART" or not 92 <= length <= sector or not 128 <= entry_size <= 4096:
        return None
    whole = disk.read(at, length)
    if zlib.crc32(whole[:16] + bytes(4) + whole[20:]) != checksum:
        return None
    count = min(count, _MAX_PARTITIONS)
    start, total = lba * sector, count * entry_size
    if start + total > disk.size:
        return None
    raw = disk.read(start, total)
    found: list[Partition] = []
    for index in range(count):
        entry = raw[index * entry_size : (index + 1) * entry_size]
        kind = uuid.UUID(bytes_le=entry[:16])
        first, last = struct.unpack_from("<QQ", entry, 32)
        if kind.int == 0 or last < first:
            continue
        name = entry[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
        found.append(
            Partition(
                index + 1,
                first * sector,
                (last - first + 1) * sector,
                _GPT_TYPES.get(str(kind), f"type {kind}"),
                str(uuid.UUID(bytes_le=entry[16:32])),
                name,
            )
        )
    return tuple(_fitting(found, disk.size, []))


def _fitting(partitions: list[Partition], size: int, notes: list[str]) -> list[Partition]:
    fitting = [one for one in partitions if one.size > 0 and one.offset + one.size <= size]
    if len(fitting) < len(partitions):
        notes.append(
            f"{len(partitions) - len(fitting)} partitions end behind the end of the disk and are left out"
        )
    return fitting
