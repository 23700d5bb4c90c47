"""/etc/fstab: its lines, and which volume of a disk a line means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vmkit.migrate.disk.volumes import DiskVolume

_OCTAL = re.compile(r"\\([0-7]{3})")
_DISK_LETTER = re.compile(r"/dev/(?:x?vd|sd|hd)([a-z])([0-9]*)$")
_NVME = re.compile(r"/dev/nvme([0-9]+)n1(?:p([0-9]+))?$")


@dataclass(frozen=True, slots=True)
class FstabLine:
    """One line: the six fields' first four, and its number from 1."""

    source: str
    target: str
    kind: str
    options: tuple[str, ...]
    line: int


def parse_fstab(lines: Iterable[str]) -> list[FstabLine]:
    """Reads /etc/fstab; lines that are none are left out. Octal escapes (\\040 is a space) are undone."""
    found: list[FstabLine] = []
    for number, line in enumerate(lines, 1):
        fields = line.split("#", 1)[0].split() if line.lstrip().startswith("#") else line.split()
        if len(fields) >= 3:
            source, target, kind, *rest = (_unescape(one) for one in fields)
            options = tuple(rest[0].split(",")) if rest and not rest[0].startswith("#") else ("defaults",)
            found.append(FstabLine(_unquote(source), target, kind, options, number))
    return found


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _unquote(source: str) -> str:
    return source.replace('"', "")


def find_volume(source: str, volumes: Sequence[DiskVolume]) -> DiskVolume | None:
    """Which volume a source field means (UUID=, LABEL=, PARTUUID=, PARTLABEL=, /dev/...), or None.

    /dev/sda2 is taken by order: the first disk's second partition; buses name disks differently, the order stays.
    """
    tag, _, value = source.partition("=")
    if source.startswith("/dev/disk/by-"):
        tag, _, value = source.removeprefix("/dev/disk/by-").partition("/")
    tag = tag.upper()
    for volume in volumes:
        part = volume.partition
        matches = {
            "UUID": bool(volume.uuid) and volume.uuid.lower() == value.lower(),
            "LABEL": bool(volume.label) and volume.label == value,
            "PARTUUID": part is not None and bool(part.uuid) and part.uuid.lower() == value.lower(),
            "PARTLABEL": part is not None and bool(part.name) and part.name == value,
        }
        if matches.get(tag) or source in _device_names(volume):
            return volume
    return None


def _device_names(volume: DiskVolume) -> set[str]:
    if volume.disk < 0:  # a logical volume: /dev/group/name and /dev/mapper/group-name, dashes doubled there
        group, _, name = volume.name.partition("/")
        return {f"/dev/{group}/{name}", f"/dev/mapper/{group.replace('-', '--')}-{name.replace('-', '--')}"}
    return set()


def find_by_order(source: str, volumes: Sequence[DiskVolume]) -> DiskVolume | None:
    """Which volume /dev/sda2, /dev/vda2 or /dev/nvme0n1p2 is, counting disks in the order given."""
    letter = _DISK_LETTER.match(source)
    nvme = _NVME.match(source)
    if letter:
        disk, number = ord(letter[1]) - ord("a"), int(letter[2] or 0)
    elif nvme:
        disk, number = int(nvme[1]), int(nvme[2] or 0)
    else:
        return None
    for volume in volumes:
        own = volume.partition.number if volume.partition else 0
        if volume.disk == disk and own == number:
            return volume
    return None
