"""btrfs, read-only: one device (single, DUP, or one of a mirror), subvolumes, inline and compressed extents.

The layout is fs/btrfs and include/uapi/linux/btrfs_tree.h of Linux. Own code for the same reason as ext4: the
numbers are somebody else's. The log tree is not replayed; one that is there is said. Integers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from vmkit.errors import DamagedImage, EvidenceError, MissingTool, VmkitError
from vmkit.migrate.disk.device import BlockCache, Device
from vmkit.migrate.disk.ext4 import MAX_DIRECTORY_BYTES, MAX_LINK_BYTES
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat, kind_of_entry_type, kind_of_mode

_SUPER_AT: Final = 0x10000
_MAGIC: Final = b"_BHRfS_M"
_HEADER: Final = 101
_KEY: Final = struct.Struct("<QBQ")
_MAX_LEVEL: Final = 8
_CACHE_BYTES: Final = 24 * 2**20
_MAX_CHUNKS: Final = 100_000
_MAX_EXTENT_BYTES: Final = 2**20  # BTRFS_MAX_COMPRESSED and _UNCOMPRESSED are 128 KiB
_TREES_KEPT: Final = 1024

# Objects and item types of btrfs_tree.h.
_ROOT_TREE_DIRECTORY, _TOP_LEVEL, _FIRST_INODE = 6, 5, 256
_INODE, _DIRECTORY_ITEM, _DIRECTORY_INDEX, _EXTENT, _ROOT, _CHUNK = 1, 84, 96, 108, 132, 228
_INLINE, _REGULAR, _PREALLOCATED = 0, 1, 2
# Chunks whose bytes lie in one piece on each device: single, DUP, RAID1, RAID1C3, RAID1C4. Striped ones do not.
_STRIPED: Final = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8
# MIXED_BACKREF, DEFAULT_SUBVOL, MIXED_GROUPS, COMPRESS_LZO, COMPRESS_ZSTD, BIG_METADATA, EXTENDED_IREF, RAID56,
# SKINNY_METADATA, NO_HOLES, METADATA_UUID, RAID1C34, ZONED, EXTENT_TREE_V2 (unknown), SIMPLE_QUOTA: none but the
# last-but-one changes what is read here.
_KNOWN_INCOMPATIBLE: Final = 0x1FFF | 1 << 14 | 1 << 16
_NAMES_OF_ROOTS: Final = ("root", "@", "@rootfs", "rootfs")

_Key = tuple[int, int, int]
_ABOVE: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class _Tree:
    number: int
    at: int
    level: int
    directory: int = _FIRST_INODE


@dataclass(frozen=True, slots=True)
class _Inode:
    size: int
    bytes_used: int
    links: int
    uid: int
    gid: int
    mode: int
    modified: int


class BtrfsVolume:
    """A btrfs file system, seen from one of its subvolumes.

    Nodes are inode numbers with the number of their subvolume above bit 64.

    Args:
        device: the partition or logical volume.
        where: named in errors.

    Raises:
        DamagedImage: the superblock contradicts itself.
        EvidenceError: it needs a feature that is not known.
    """

    kind = "btrfs"

    def __init__(self, device: Device, *, where: str = "") -> None:
        self._device, self.where = device, where
        if device.size < _SUPER_AT + 4096:
            raise DamagedImage("too small for a file system", where=where)
        block = device.read(_SUPER_AT, 4096)
        if block[64:72] != _MAGIC:
            raise DamagedImage("not a btrfs file system", where=where)
        root_at, chunk_at, log_at = struct.unpack_from("<QQQ", block, 80)
        (self._devices,) = struct.unpack_from("<Q", block, 136)
        self._sector, self._node = struct.unpack_from("<II", block, 144)
        (array_bytes,) = struct.unpack_from("<I", block, 160)
        (incompatible,) = struct.unpack_from("<Q", block, 188)
        root_level, chunk_level = block[198], block[199]
        (self._device_number,) = struct.unpack_from("<Q", block, 201)
        sound = (
            self._node in (4096, 8192, 16384, 32768, 65536)
            and self._sector in (4096, 8192, 16384, 32768, 65536)
            and array_bytes <= 2048
            and max(root_level, chunk_level) < _MAX_LEVEL
        )
        if not sound:
            raise DamagedImage("its superblock makes no sense", where=where)
        if incompatible & ~_KNOWN_INCOMPATIBLE:
            raise EvidenceError(
                f"it uses features of btrfs that vmkit does not know ({incompatible & ~_KNOWN_INCOMPATIBLE:#x})",
                hint="mount it read-only and inspect the folder",
                where=where,
            )
        self._nodes = BlockCache(_CACHE_BYTES)
        self._chunks: list[tuple[int, int, int]] = []
        self._trees: dict[int, _Tree] = {}
        self._read_system_chunks(block[811 : 811 + array_bytes])
        chunks = list(self._chunk_items(_Tree(3, chunk_at, chunk_level)))
        self._chunks = sorted(chunks)
        self._roots = _Tree(1, root_at, root_level)
        self.notes: tuple[str, ...] = ()
        if log_at:
            self.notes += ("its log is not replayed: what a running guest wrote last may be missing",)
        if self._devices > 1:
            self.notes += (f"it lies on {self._devices} devices; what is not mirrored on this one cannot be read",)
        self._top = self._find_top()
        self.root: Node = self._node_of(self._top, self._top.directory)

    # --- where things are ------------------------------------------------------------------------------------

    def _read_system_chunks(self, array: bytes) -> None:
        at = 0
        while at + 17 + 48 <= len(array):
            _, _, logical = _KEY.unpack_from(array, at)
            (stripes,) = struct.unpack_from("<H", array, at + 17 + 44)
            size = 48 + 32 * stripes
            self._chunks += self._parse_chunk(logical, array[at + 17 : at + 17 + size])
            at += 17 + size
        self._chunks.sort()

    def _chunk_items(self, tree: _Tree) -> Iterator[tuple[int, int, int]]:
        for number, ((_, kind, logical), data) in enumerate(self._items(tree, (0, 0, 0), (_ABOVE, 255, _ABOVE))):
            if number > _MAX_CHUNKS:
                raise DamagedImage("it has too many chunks", where=self.where)
            if kind == _CHUNK:
                yield from self._parse_chunk(logical, data)

    def _parse_chunk(self, logical: int, data: bytes) -> Iterator[tuple[int, int, int]]:
        """(first byte of the address space, bytes, where it is on this device), where it is on it in one piece."""
        (length,) = struct.unpack_from("<Q", data)
        (kind,) = struct.unpack_from("<Q", data, 24)
        (stripes,) = struct.unpack_from("<H", data, 44)
        if kind & _STRIPED and stripes > 1:
            return
        for index in range(stripes):
            device, physical = struct.unpack_from("<QQ", data, 48 + 32 * index)
            if device == self._device_number:
                yield logical, length, physical
                return

    def _read(self, logical: int, length: int) -> bytes:
        parts = []
        while length > 0:
            at = bisect_right(self._chunks, (logical, _ABOVE, _ABOVE)) - 1
            start, size, physical = self._chunks[at] if at >= 0 else (0, 0, 0)
            if not start <= logical < start + size:
                raise DamagedImage(
                    f"address {logical:#x} is on no device that was given",
                    hint="btrfs over several devices: mount it read-only and inspect the folder",
                    where=self.where,
                )
            count = min(length, start + size - logical)
            parts.append(self._device.read(physical + logical - start, count))
            logical += count
            length -= count
        return b"".join(parts)

    def _load(self, at: int, level: int) -> bytes:
        data = self._nodes.get(at)
        if data is None:
            data = self._read(at, self._node)
            self._nodes.put(at, data)
        (own,) = struct.unpack_from("<Q", data, 48)
        (count,) = struct.unpack_from("<I", data, 96)
        if own != at or data[100] != level or count > (self._node - _HEADER) // (33 if level else 25):
            raise DamagedImage(f"the tree node at {at:#x} is damaged", where=self.where)
        return data

    # --- trees -----------------------------------------------------------------------------------------------

    def _items(self, tree: _Tree, low: _Key, high: _Key) -> Iterator[tuple[_Key, bytes]]:
        """The items of a tree with keys from ``low`` to ``high``, in order."""
        yield from self._items_below(tree.at, tree.level, low, high, None)

    def _items_below(
        self, at: int, level: int, low: _Key, high: _Key, first: _Key | None
    ) -> Iterator[tuple[_Key, bytes]]:
        # Levels only fall, keys only grow, and a node begins with the key that leads to it: none is met twice.
        data = self._load(at, level)
        (count,) = struct.unpack_from("<I", data, 96)
        size = 33 if level else 25
        keys = [_KEY.unpack_from(data, _HEADER + size * index) for index in range(count)]
        if any(left >= right for left, right in pairwise(keys)):
            raise DamagedImage(f"the tree node at {at:#x} is out of order", where=self.where)
        if first is not None and keys[:1] != [first]:
            raise DamagedImage(f"the tree node at {at:#x} is not the one that was meant", where=self.where)
        for index in range(max(0, bisect_right(keys, low) - 1), count):
            if keys[index] > high:
                return
            if level:
                (below,) = struct.unpack_from("<Q", data, _HEADER + size * index + 17)
                last = min(high, keys[index + 1]) if index + 1 < count else high
                yield from self._items_below(below, level - 1, low, last, keys[index])
            elif keys[index] >= low:
                offset, length = struct.unpack_from("<II", data, _HEADER + size * index + 17)
                if _HEADER + offset + length > len(data):
                    raise DamagedImage(f"an item of the tree node at {at:#x} is damaged", where=self.where)
                yield keys[index], data[_HEADER + offset : _HEADER + offset + length]

    def _tree(self, number: int) -> _Tree:
        found = self._trees.get(number)
        if found is None:
            data = next(
                (one for _, one in self._items(self._roots, (number, _ROOT, 0), (number, _ROOT, _ABOVE))), None
            )
            if data is None or len(data) < 239:
                raise DamagedImage(f"subvolume {number} is not there", where=self.where)
            directory, at = struct.unpack_from("<QQ", data, 168)
            if data[238] >= _MAX_LEVEL:
                raise DamagedImage(f"subvolume {number} is damaged", where=self.where)
            found = _Tree(number, at, data[238], directory)
            if len(self._trees) < _TREES_KEPT:
                self._trees[number] = found
        return found

    def _find_top(self) -> _Tree:
        """The subvolume that holds the root: the default one; where that has no /etc, one with a root's name."""
        number = _TOP_LEVEL
        low = (_ROOT_TREE_DIRECTORY, _DIRECTORY_ITEM, 0)
        for _, data in self._items(self._roots, low, (*low[:2], _ABOVE)):
            for name, (objectid, kind, _), _ in _entries(data):
                if name == "default" and kind == _ROOT:
                    number = objectid
        tree = self._tree(number)
        names = self._children(tree, tree.directory)
        if "etc" not in names:
            for name in _NAMES_OF_ROOTS:
                if name in names:
                    child = self._tree(int(names[name].node) >> 64)
                    if child.number != tree.number and "etc" in self._children(child, child.directory):
                        return child
        return tree

    def subvolume(self, options: tuple[str, ...]) -> BtrfsVolume | None:
        """The file system seen from another subvolume, as mount's subvol= and subvolid= name it; None where there
        is none of that name."""
        wanted = dict(one.partition("=")[::2] for one in options)
        try:
            if wanted.get("subvolid", "").isdigit():
                tree = self._tree(int(wanted["subvolid"]) or _TOP_LEVEL)
            elif "subvol" in wanted:
                tree, at = self._tree(_TOP_LEVEL), 0
                at = tree.directory
                for name in (one for one in wanted["subvol"].split("/") if one):
                    child = self._children(tree, at).get(name)
                    if child is None:
                        return None
                    tree, at = self._split(child.node)
                if at != tree.directory:
                    return None
            else:
                return None
        except VmkitError:
            return None
        other = BtrfsVolume.__new__(BtrfsVolume)
        other.__dict__.update(self.__dict__)
        other._top, other.root, other.notes = tree, other._node_of(tree, tree.directory), ()
        return other

    # --- files -----------------------------------------------------------------------------------------------

    @staticmethod
    def _node_of(tree: _Tree, inode: int) -> int:
        return tree.number << 64 | inode

    def _split(self, node: Node) -> tuple[_Tree, int]:
        number = int(node)
        return self._tree(number >> 64), number & _ABOVE

    def _inode(self, node: Node) -> _Inode:
        tree, inode = self._split(node)
        data = next((one for _, one in self._items(tree, (inode, _INODE, 0), (inode, _INODE, _ABOVE))), None)
        if data is None or len(data) < 160:
            raise DamagedImage(f"inode {inode} is not there", where=self.where)
        size, used = struct.unpack_from("<QQ", data, 16)
        links, uid, gid, mode = struct.unpack_from("<IIII", data, 40)
        (modified,) = struct.unpack_from("<q", data, 136)
        return _Inode(size, used, links, uid, gid, mode, modified)

    def stat(self, node: Node) -> Stat:
        one = self._inode(node)
        kind = kind_of_mode(one.mode)
        return Stat(
            kind, one.mode & 0o7777, one.uid, one.gid, one.size, one.bytes_used, one.modified, one.links, node
        )

    def children(self, node: Node) -> dict[str, Child]:
        tree, inode = self._split(node)
        return self._children(tree, inode)

    def _children(self, tree: _Tree, inode: int) -> dict[str, Child]:
        found: dict[str, Child] = {}
        size = 0
        low, high = (inode, _DIRECTORY_INDEX, 0), (inode, _DIRECTORY_INDEX, _ABOVE)
        for _, data in self._items(tree, low, high):
            size += len(data)
            if size > MAX_DIRECTORY_BYTES:
                raise DamagedImage(f"directory {inode} is too large", where=self.where)
            for name, (objectid, kind, _), entry in _entries(data):
                if name in ("", ".", "..") or "/" in name or "\0" in name:
                    continue
                if kind == _ROOT:  # another subvolume: its first directory
                    found[name] = Child(objectid << 64 | _FIRST_INODE, Kind.DIRECTORY)
                elif kind == _INODE:
                    found[name] = Child(self._node_of(tree, objectid), kind_of_entry_type(entry))
        return found

    def read_link(self, node: Node) -> str:
        size = self._inode(node).size
        if size > MAX_LINK_BYTES:
            raise DamagedImage("a symbolic link is too long", where=self.where)
        return self.read(node, 0, size).decode("utf-8", "surrogateescape")

    def read(self, node: Node, offset: int, length: int) -> bytes:
        tree, inode = self._split(node)
        size = self._inode(node).size
        length = max(0, min(length, size - offset))
        found = bytearray(length)
        # An extent may begin before what is wanted: extents are no longer than 128 MiB (BTRFS_MAX_EXTENT_SIZE).
        low = (inode, _EXTENT, max(0, offset - 128 * 2**20))
        for (_, _, start), data in self._items(tree, low, (inode, _EXTENT, max(0, offset + length - 1))):
            self._copy(found, offset, start, data)
        return bytes(found)

    def _copy(self, found: bytearray, offset: int, start: int, item: bytes) -> None:
        """Puts what an extent has of the bytes from ``offset`` on into ``found``."""
        (ram_bytes,) = struct.unpack_from("<Q", item, 8)
        packing, encryption, kind = item[16], item[17], item[20]
        if encryption or kind > _PREALLOCATED:
            raise EvidenceError("a file is stored in a way that vmkit does not know", where=self.where)
        if kind == _INLINE:
            data = item[21:]
            if packing:
                data = self._unpack(data, packing, ram_bytes)
            self._place(found, offset, start, data[:ram_bytes])
            return
        at, stored, inside, count = struct.unpack_from("<QQQQ", item, 21)
        if at == 0 or kind == _PREALLOCATED:
            return
        first, last = max(offset, start), min(offset + len(found), start + count)
        if first >= last:
            return
        if packing:
            if stored > _MAX_EXTENT_BYTES:
                raise DamagedImage("a compressed extent is too large", where=self.where)
            data = self._unpack(self._read(at, stored), packing, ram_bytes)
            self._place(found, offset, start, data[inside : inside + count])
        else:
            self._place(found, offset, first, self._read(at + inside + first - start, last - first))

    @staticmethod
    def _place(found: bytearray, offset: int, start: int, data: bytes) -> None:
        first, last = max(offset, start), min(offset + len(found), start + len(data))
        if first < last:
            found[first - offset : last - offset] = data[first - start : last - start]

    def _unpack(self, data: bytes, packing: int, size: int) -> bytes:
        if size > _MAX_EXTENT_BYTES:
            raise DamagedImage("a compressed extent claims to be too large", where=self.where)
        if packing == 1:
            try:
                return zlib.decompressobj().decompress(data, size)
            except zlib.error as error:
                raise DamagedImage(f"a compressed extent is damaged: {error}", where=self.where) from error
        if packing == 3:
            return _unzstd(data, size, self.where)
        how = "LZO" if packing == 2 else f"method {packing}"
        raise EvidenceError(
            f"a file is compressed with {how}", hint="mount it read-only and inspect the folder", where=self.where
        )

    def close(self) -> None:
        """The device belongs to whoever opened it."""


def _entries(data: bytes) -> Iterator[tuple[str, _Key, int]]:
    """The entries in a directory item: name, what it leads to, and of what kind that is."""
    at = 0
    while at + 30 <= len(data):
        key = _KEY.unpack_from(data, at)
        extra, length, kind = struct.unpack_from("<HHB", data, at + 25)
        name = data[at + 30 : at + 30 + length]
        yield name.decode("utf-8", "surrogateescape"), key, kind
        at += 30 + length + extra


def _unzstd(data: bytes, size: int, where: str) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise MissingTool(
            "files are compressed with zstd", hint="pip install 'vmkit[migrate]'", where=where
        ) from error
    try:
        # What is behind the frame fills up the sector.
        return zstandard.ZstdDecompressor(max_window_size=2**21).stream_reader(data).read(size)
    except zstandard.ZstdError as error:
        raise DamagedImage(f"a compressed extent is damaged: {error}", where=where) from error
