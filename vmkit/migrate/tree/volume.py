"""What every source of files offers: nodes with children, attributes, content. No paths, no links followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a directory entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CHARACTER_DEVICE = "character-device"
    BLOCK_DEVICE = "block-device"
    FIFO = "fifo"
    SOCKET = "socket"
    UNKNOWN = "unknown"


_BY_MODE = {
    0x8000: Kind.FILE, 0x4000: Kind.DIRECTORY, 0xA000: Kind.SYMLINK, 0x2000: Kind.CHARACTER_DEVICE,
    0x6000: Kind.BLOCK_DEVICE, 0x1000: Kind.FIFO, 0xC000: Kind.SOCKET,
}  # fmt: skip
_BY_ENTRY_TYPE = (
    Kind.UNKNOWN, Kind.FILE, Kind.DIRECTORY, Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE, Kind.FIFO, Kind.SOCKET,
    Kind.SYMLINK,
)  # fmt: skip


def kind_of_mode(mode: int) -> Kind:
    """The kind in the upper bits of st_mode."""
    return _BY_MODE.get(mode & 0xF000, Kind.UNKNOWN)


def kind_of_entry_type(number: int) -> Kind:
    """The kind in a directory entry; ext4 and XFS number them alike."""
    return _BY_ENTRY_TYPE[number] if number < len(_BY_ENTRY_TYPE) else Kind.UNKNOWN


Node = int | str
"""A file inside its volume: an inode number, or a path where the source has no numbers."""


@dataclass(frozen=True, slots=True)
class Child:
    """One directory entry; ``kind`` is UNKNOWN where the directory does not say."""

    node: Node
    kind: Kind


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's attributes.

    Attributes:
        mode: permission bits with set-uid, set-gid and sticky (07777).
        size: bytes as the guest sees them.
        allocated: bytes that it takes; less than ``size`` for sparse files.
        modified: seconds since 1970, UTC.
        links: how many names it has.
        node: the same for every name of one file.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    allocated: int
    modified: int
    links: int
    node: Node


class Volume(Protocol):
    """One readable file system."""

    kind: str
    """"ext4", "xfs", "directory", "tar"."""
    root: Node
    notes: tuple[str, ...]
    """What a reader of the result should know ("its journal was replayed in memory")."""

    def children(self, node: Node) -> Mapping[str, Child]:
        """A directory's entries by name, without "." and ".."; bytes that are not UTF-8 are surrogate-escaped."""
        ...

    def stat(self, node: Node) -> Stat: ...

    def read_link(self, node: Node) -> str: ...

    def read(self, node: Node, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; fewer only at the end of the file."""
        ...

    def close(self) -> None: ...
