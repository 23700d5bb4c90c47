"""LVM2 volume groups, read-only: linear and striped logical volumes, over one or several physical volumes.

The on-disk format is the one in LVM2's lib/format_text (label, header, metadata area) and its text metadata.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import DamagedImage
from vmkit.migrate.disk.device import Device, Segments, check_range

_SECTOR: Final = 512
_MDA_MAGIC: Final = b"\x20\x4c\x56\x4d\x32\x20\x78\x5b\x35\x41\x25\x72\x30\x4e\x2a\x3e"
_MAX_METADATA_BYTES: Final = 4 * 2**20
_MAX_SEGMENTS: Final = 10_000
_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """One logical volume: ``device`` is None where it cannot be read, and ``problem`` says why."""

    group: str
    name: str
    device: Device | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _PhysicalVolume:
    identifier: str
    device: Device
    metadata: str


def read_groups(members: Sequence[Device]) -> list[LogicalVolume]:
    """The logical volumes of all groups that these physical volumes belong to.

    Damage makes the volumes it concerns unreadable, with a problem; it raises nothing.
    """
    volumes: list[_PhysicalVolume] = []
    found: list[LogicalVolume] = []
    for member in members:
        try:
            volumes.append(_read_member(member))
        except (DamagedImage, struct.error, ValueError) as error:
            found.append(LogicalVolume("", "", None, f"a physical volume is damaged: {error}"))
    by_identifier = {volume.identifier: volume.device for volume in volumes}
    seen: set[str] = set()
    for volume in volumes:
        try:
            groups = parse_metadata(volume.metadata)
            for name, group in groups.items():
                if isinstance(group, Mapping) and "logical_volumes" in group and name not in seen:
                    seen.add(name)
                    found += _group_volumes(name, group, by_identifier)
        except DamagedImage as error:
            found.append(LogicalVolume("", "", None, f"the metadata of a volume group is damaged: {error}"))
    return found


def _read_member(device: Device) -> _PhysicalVolume:
    for sector in range(4):
        at = sector * _SECTOR
        label = device.read(at, _SECTOR)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            (header,) = struct.unpack_from("<I", label, 20)
            identifier = label[header : header + 32].decode("ascii", "replace")
            return _PhysicalVolume(identifier, device, _read_metadata(device, label, header + 40))
    raise DamagedImage("it has no label")


def _read_metadata(device: Device, label: bytes, at: int) -> str:
    lists: list[list[tuple[int, int]]] = [[], []]
    for places in lists:  # data areas, then metadata areas; each list ends with zeros
        while at + 16 <= len(label):
            offset, size = struct.unpack_from("<QQ", label, at)
            at += 16
            if offset == 0:
                break
            places.append((offset, size))
    for offset, size in lists[1]:
        header = device.read(offset, _SECTOR)
        if header[4:20] != _MDA_MAGIC or size <= _SECTOR:
            continue
        start, length = struct.unpack_from("<QQ", header, 40)
        if start == 0 or length > min(size, _MAX_METADATA_BYTES):
            continue
        # The area is a ring behind its header.
        first = min(length, size - start) if start < size else 0
        text = device.read(offset + start, first) + device.read(offset + _SECTOR, length - first)
        return text.rstrip(b"\0").decode("utf-8", "replace")
    return ""


# --- the text format -----------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r'\s+|#[^\n]*|(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![\w.+-])|(?P<name>[\w.+-]+)'
    r"|(?P<mark>[{}\[\]=,])"
)


def parse_metadata(text: str) -> dict[str, Any]:
    """Reads LVM's text metadata: sections become mappings, lists lists, numbers int or float.

    Raises:
        DamagedImage: it is no such text, or nests too deeply.
    """
    tokens = _tokens(text)
    return _section(tokens, 0)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise DamagedImage(f"unexpected character at {at}")
        at = match.end()
        if match.lastgroup:
            yield match.lastgroup, match[0]


def _section(tokens: Iterator[tuple[str, str]], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise DamagedImage("it nests too deeply")
    found: dict[str, Any] = {}
    for kind, text in tokens:
        if text == "}" and kind == "mark":
            if depth == 0:
                raise DamagedImage("a brace too many")
            return found
        if kind not in ("name", "number"):
            raise DamagedImage(f"a name is missing before {text[:20]!r}")
        _, mark = next(tokens, ("", ""))
        if mark == "{":
            found[text] = _section(tokens, depth + 1)
        elif mark == "=":
            found[text] = _value(tokens)
        else:
            raise DamagedImage(f"neither a value nor a section follows {text[:20]!r}")
    if depth:
        raise DamagedImage("a brace is missing")
    return found


def _value(tokens: Iterator[tuple[str, str]]) -> Any:
    kind, text = next(tokens, ("", ""))
    if text != "[":
        return _scalar(kind, text)
    items: list[Any] = []
    for kind, text in tokens:
        if kind == "mark":
            if text == "]":
                return items
            if text != ",":
                break
        else:
            items.append(_scalar(kind, text))
    raise DamagedImage("a list does not end")


def _scalar(kind: str, text: str) -> Any:
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if kind == "number" and len(text) <= 20:
        return float(text) if "." in text else int(text)
    raise DamagedImage(f"unexpected {text[:20]!r}")


# --- from metadata to devices --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    extent_bytes: int
    members: dict[str, tuple[Device, int]] = field(default_factory=dict)  # device, start of its first extent


def _group_volumes(name: str, metadata: Mapping[str, Any], devices: Mapping[str, Device]) -> list[LogicalVolume]:
    group = _Group(_count(metadata, "extent_size", 2**22) * _SECTOR)
    for key, physical in _mapping(metadata, "physical_volumes").items():
        if isinstance(physical, Mapping):
            device = devices.get(str(physical.get("id", "")).replace("-", ""))
            if device is not None:
                group.members[key] = (device, _count(physical, "pe_start", 2**50) * _SECTOR)
    found: list[LogicalVolume] = []
    for key, logical in _mapping(metadata, "logical_volumes").items():
        if not isinstance(logical, Mapping) or "VISIBLE" not in logical.get("status", ()):
            continue
        try:
            found.append(LogicalVolume(name, key, _volume_device(f"{name}/{key}", logical, group)))
        except DamagedImage as error:
            found.append(LogicalVolume(name, key, None, error.message))
    return found


def _volume_device(where: str, logical: Mapping[str, Any], group: _Group) -> Device:
    count = _count(logical, "segment_count", _MAX_SEGMENTS)
    pieces: list[tuple[Device, int, int]] = []
    for number in range(1, count + 1):
        segment = _mapping(logical, f"segment{number}")
        kind = segment.get("type")
        if kind != "striped":
            raise DamagedImage(
                f"volumes of type {str(kind)[:20]!r} cannot be read without the kernel", where=where
            )
        size = _count(segment, "extent_count", 2**40) * group.extent_bytes
        stripes = _stripes(segment, group, where)
        if len(stripes) == 1:
            pieces.append((*stripes[0], size))
        else:
            stripe_bytes = _count(segment, "stripe_size", 2**20) * _SECTOR
            pieces.append((Striped(stripes, stripe_bytes, size, where=where), 0, size))
    return Segments(pieces, where=where)


def _stripes(segment: Mapping[str, Any], group: _Group, where: str) -> list[tuple[Device, int]]:
    raw = segment.get("stripes")
    if not isinstance(raw, list) or len(raw) % 2 or not 2 <= len(raw) <= 256:
        raise DamagedImage("a segment has no stripes", where=where)
    found: list[tuple[Device, int]] = []
    for key, extent in zip(raw[::2], raw[1::2], strict=True):
        member = group.members.get(str(key))
        if member is None:
            raise DamagedImage("a physical volume of it is on a disk that was not given", where=where)
        if not isinstance(extent, int) or not 0 <= extent < 2**40:
            raise DamagedImage("a stripe starts nowhere", where=where)
        device, start = member
        found.append((device, start + extent * group.extent_bytes))
    return found


def _mapping(section: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = section.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(section: Mapping[str, Any], key: str, most: int) -> int:
    value = section.get(key)
    if not isinstance(value, int) or not 0 < value <= most:
        raise DamagedImage(f"its {key} makes no sense")
    return value


class Striped:
    """Stripes of several devices, taken in turn."""

    def __init__(
        self, stripes: Sequence[tuple[Device, int]], stripe_bytes: int, size: int, *, where: str = ""
    ) -> None:
        self._stripes, self._stripe_bytes, self._size, self.where = tuple(stripes), stripe_bytes, size, where

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self._size, self.where)
        parts: list[bytes] = []
        while length > 0:
            number, inside = divmod(offset, self._stripe_bytes)
            row, column = divmod(number, len(self._stripes))
            device, start = self._stripes[column]
            count = min(length, self._stripe_bytes - inside)
            parts.append(device.read(start + row * self._stripe_bytes + inside, count))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def close(self) -> None:
        """The devices belong to whoever opened them."""
