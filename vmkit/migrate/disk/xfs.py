"""XFS, read-only: versions 4 and 5, all directory forms, extents and their B-trees, remote links.

The layout is the one of "XFS Algorithms & Data Structures" (kernel.org) and fs/xfs/libxfs/xfs_format.h. Own code
for the same reason as ext4: the numbers are somebody else's. The log is not replayed; a dirty one is said.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict
from typing import Final

from vmkit.errors import DamagedImage, EvidenceError
from vmkit.migrate.disk.device import BlockCache, Device
from vmkit.migrate.disk.ext4 import MAX_DIRECTORY_BYTES, MAX_LINK_BYTES
from vmkit.migrate.disk.xfs_log import is_clean
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat, kind_of_entry_type, kind_of_mode

_MAX_EXTENTS: Final = 100_000
_MAX_TREE_DEPTH: Final = 9
_CACHE_BYTES: Final = 24 * 2**20
_KEPT_MAPS: Final = 64
_LOCAL, _EXTENTS, _BTREE = 1, 2, 3
_DIRECTORY_DATA_END: Final = 32 * 2**30
_KNOWN_INCOMPATIBLE: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80

_Extent = tuple[int, int, int]
"""(first block of the file, blocks, block of the file system; -1 where it reads as zeros)"""


class _Inode:
    __slots__ = (
        "blocks", "extents", "fork", "format", "gid", "links", "mode", "modified", "number", "size", "uid",
        "version",
    )  # fmt: skip

    def __init__(self, number: int, raw: bytes, where: str) -> None:
        magic, self.mode, self.version, self.format = struct.unpack_from(">2sHBB", raw)
        if magic != b"IN" or self.version not in (1, 2, 3):
            raise DamagedImage(f"inode {number} is damaged", where=where)
        (old_links,) = struct.unpack_from(">H", raw, 6)
        self.uid, self.gid, links = struct.unpack_from(">III", raw, 8)
        self.links = old_links if self.version == 1 else links
        self.size, self.blocks = struct.unpack_from(">QQ", raw, 56)
        (self.extents,) = struct.unpack_from(">I", raw, 76)
        (fork_offset,) = struct.unpack_from(">B", raw, 82)
        core = 100
        flags2 = 0
        if self.version == 3:
            core = 176
            (flags2,) = struct.unpack_from(">Q", raw, 120)
        if flags2 & 0x10:  # XFS_DIFLAG2_NREXT64
            (self.extents,) = struct.unpack_from(">Q", raw, 24)
        if flags2 & 0x8:  # XFS_DIFLAG2_BIGTIME: nanoseconds since the smallest 32-bit time
            (nanoseconds,) = struct.unpack_from(">Q", raw, 40)
            self.modified = nanoseconds // 10**9 - 2**31
        else:
            (self.modified,) = struct.unpack_from(">i", raw, 40)
        end = core + fork_offset * 8 if fork_offset else len(raw)
        self.number, self.fork = number, raw[core:end]


class XfsVolume:
    """An XFS file system.

    Args:
        device: the partition or logical volume.
        where: named in errors.

    Raises:
        DamagedImage: the superblock contradicts itself.
        EvidenceError: it needs a feature that is not known.
    """

    kind = "xfs"

    def __init__(self, device: Device, *, where: str = "") -> None:
        self._device, self.where = device, where
        if device.size < 4096:
            raise DamagedImage("too small for a file system", where=where)
        block = device.read(0, 512)
        if block[:4] != b"XFSB":
            raise DamagedImage("not an XFS file system", where=where)
        self._block, self._blocks = struct.unpack_from(">IQ", block, 4)
        (root,) = struct.unpack_from(">Q", block, 56)
        self._group_blocks, self._groups = struct.unpack_from(">II", block, 84)
        (version,) = struct.unpack_from(">H", block, 100)
        (self._inode_bytes,) = struct.unpack_from(">H", block, 104)
        block_log, _, inode_log, self._inodes_per_block_log, self._group_log = struct.unpack_from(
            ">BBBBB", block, 120
        )
        (directory_log,) = struct.unpack_from(">B", block, 192)
        (features2,) = struct.unpack_from(">I", block, 200)
        (incompatible,) = struct.unpack_from(">I", block, 216)
        self._v5 = version & 0xF == 5
        sound = (
            version & 0xF in (4, 5)
            and 9 <= block_log <= 16
            and self._block == 1 << block_log
            and 8 <= inode_log <= 11
            and self._inode_bytes == 1 << inode_log
            and self._inodes_per_block_log == block_log - inode_log
            and 0 < self._group_blocks <= 1 << self._group_log <= 2**32
            and 0 < self._groups <= 2**32
            and self._blocks <= 2**52
            and directory_log <= 16 - block_log + 4
        )
        if not sound:
            raise DamagedImage("its superblock makes no sense", where=where)
        unknown = incompatible & ~_KNOWN_INCOMPATIBLE if self._v5 else 0
        if unknown:
            raise EvidenceError(f"it needs XFS features that vmkit does not know (0x{unknown:x})", where=where)
        self._typed = bool(incompatible & 1) if self._v5 else bool(features2 & 0x200)
        self._directory_block = self._block << directory_log
        self.root: Node = int(root)
        self._cache = BlockCache(_CACHE_BYTES)
        self._maps: OrderedDict[int, tuple[list[int], list[_Extent]]] = OrderedDict()
        notes: list[str] = []
        if not self._log_is_clean(block):
            notes.append(
                "it was not unmounted and its log is not replayed: the newest changes may be missing, on a new"
                " file system all of them"
            )
        if self._v5 and incompatible & 0x10:
            notes.append("it is marked as needing repair")
        if self._blocks * self._block > device.size:
            notes.append("the file system is larger than its volume: the disk may have been cut off")
        self.notes = tuple(notes)

    def _log_is_clean(self, superblock: bytes) -> bool:
        (start,) = struct.unpack_from(">Q", superblock, 48)
        (blocks,) = struct.unpack_from(">I", superblock, 96)
        if start == 0 or blocks == 0:
            return False  # the log is on another device
        return is_clean(self._device, self._byte(start), blocks * self._block)

    # --- blocks and inodes ---

    def _byte(self, block: int) -> int:
        group, inside = block >> self._group_log, block & ((1 << self._group_log) - 1)
        if group >= self._groups or inside >= self._group_blocks:
            raise DamagedImage(f"something points to block {block}, which does not exist", where=self.where)
        return int((group * self._group_blocks + inside) * self._block)

    def _read_block(self, block: int) -> bytes:
        cached = self._cache.get(block)
        if cached is None:
            cached = self._device.read(self._byte(block), self._block)
            self._cache.put(block, cached)
        return cached

    def _inode(self, node: Node) -> _Inode:
        if not isinstance(node, int) or not 0 < node < 2**56:
            raise DamagedImage(f"something points to inode {node}, which does not exist", where=self.where)
        block, index = node >> self._inodes_per_block_log, node & ((1 << self._inodes_per_block_log) - 1)
        data = self._read_block(block)
        return _Inode(node, data[index * self._inode_bytes : (index + 1) * self._inode_bytes], self.where)

    # --- extents ---

    def _map(self, inode: _Inode) -> tuple[list[int], list[_Extent]]:
        known = self._maps.get(inode.number)
        if known is not None:
            self._maps.move_to_end(inode.number)
            return known
        if inode.extents > _MAX_EXTENTS:
            raise EvidenceError(f"inode {inode.number} is in {inode.extents} pieces, too many", where=self.where)
        if inode.format == _EXTENTS:
            extents = self._records(inode.fork, 0, inode.extents)
        elif inode.format == _BTREE:
            extents = self._tree(inode)
        else:
            raise DamagedImage(f"inode {inode.number} has no extents", where=self.where)
        extents.sort()
        known = ([first for first, _, _ in extents], extents)
        self._maps[inode.number] = known
        if len(self._maps) > _KEPT_MAPS:
            self._maps.popitem(last=False)
        return known

    def _records(self, data: bytes, start: int, count: int) -> list[_Extent]:
        if start + count * 16 > len(data):
            raise DamagedImage("a list of extents is longer than its place", where=self.where)
        found: list[_Extent] = []
        for at in range(start, start + count * 16, 16):
            high, low = struct.unpack_from(">QQ", data, at)
            first = high >> 9 & (1 << 54) - 1
            block = (high & 0x1FF) << 43 | low >> 21
            found.append((first, low & 0x1FFFFF, -1 if high >> 63 else block))
        return found

    def _tree(self, inode: _Inode) -> list[_Extent]:
        level, count = struct.unpack_from(">HH", inode.fork)
        most = (len(inode.fork) - 4) // 16
        if not 0 < level <= _MAX_TREE_DEPTH or count > most:
            raise DamagedImage(f"inode {inode.number} has a damaged extent tree", where=self.where)
        wanted = list(struct.unpack_from(f">{count}Q", inode.fork, 4 + most * 8))
        header = 72 if self._v5 else 24
        magic = b"BMA3" if self._v5 else b"BMAP"
        most = (self._block - header) // 16
        seen = 0
        extents: list[_Extent] = []
        while level > 0:
            level -= 1
            below: list[int] = []
            for pointer in wanted:
                seen += 1
                data = self._read_block(pointer)
                found_magic, found_level, count = struct.unpack_from(">4sHH", data)
                if found_magic != magic or found_level != level or count > most or seen > _MAX_EXTENTS:
                    raise DamagedImage(f"inode {inode.number} has a damaged extent tree", where=self.where)
                if level:
                    below += struct.unpack_from(f">{count}Q", data, header + most * 8)
                else:
                    extents += self._records(data, header, count)
                if len(extents) > _MAX_EXTENTS or len(below) > _MAX_EXTENTS:
                    raise EvidenceError(f"inode {inode.number} is in too many pieces", where=self.where)
            wanted = below
        return extents

    # --- content ---

    def _read_data(self, inode: _Inode, offset: int, length: int) -> bytes:
        length = max(0, min(length, inode.size - offset))
        if inode.format == _LOCAL:
            return inode.fork[offset : offset + length]
        firsts, extents = self._map(inode)
        parts: list[bytes] = []
        while length > 0:
            number, skip = divmod(offset, self._block)
            index = bisect_right(firsts, number) - 1
            first, count, start = extents[index] if index >= 0 else (0, 0, -1)
            if index >= 0 and number < first + count:
                size = min(length, (first + count - number) * self._block - skip)
                if start < 0:
                    parts.append(bytes(size))
                else:
                    parts.append(self._device.read(self._byte(start + number - first) + skip, size))
            else:
                following = firsts[index + 1] if index + 1 < len(firsts) else number + length // self._block + 2
                size = min(length, (following - number) * self._block - skip)
                parts.append(bytes(size))
            offset, length = offset + size, length - size
        return b"".join(parts)

    # --- what a Volume offers ---

    def stat(self, node: Node) -> Stat:
        inode = self._inode(node)
        return Stat(
            kind_of_mode(inode.mode), inode.mode & 0o7777, inode.uid, inode.gid, inode.size,
            inode.blocks * self._block, inode.modified, inode.links, inode.number,
        )  # fmt: skip

    def read(self, node: Node, offset: int, length: int) -> bytes:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.FILE:
            raise DamagedImage(f"inode {node} is not a regular file", where=self.where)
        return self._read_data(inode, offset, length)

    def read_link(self, node: Node) -> str:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.SYMLINK or inode.size > MAX_LINK_BYTES:
            raise DamagedImage(f"inode {node} is not a symbolic link", where=self.where)
        if inode.format == _LOCAL or not self._v5:
            raw = self._read_data(inode, 0, inode.size)
        else:
            # Version 5 puts a header of 56 bytes into every block of a remote link.
            _, extents = self._map(inode)
            blocks = [self._read_block(start + index) for _, count, start in extents for index in range(count)][
                :16
            ]
            if any(data[:4] != b"XSLM" for data in blocks):
                raise DamagedImage(f"inode {node} is a damaged link", where=self.where)
            raw = b"".join(data[56:] for data in blocks)[: inode.size]
        return raw.decode("utf-8", "surrogateescape")

    def children(self, node: Node) -> dict[str, Child]:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.DIRECTORY:
            raise DamagedImage(f"inode {node} is not a directory", where=self.where)
        found: dict[str, Child] = {}
        try:
            if inode.format == _LOCAL:
                self._parse_short(inode.fork[: inode.size], found)
            else:
                self._parse_blocks(inode, found)
        except (struct.error, IndexError) as error:
            raise DamagedImage(f"directory {node} is damaged", where=self.where) from error
        return found

    def _parse_short(self, data: bytes, found: dict[str, Child]) -> None:
        count, wide = data[0], data[1]
        size = 8 if wide else 4
        at = 2 + size
        for _ in range(count):
            length = data[at]
            name = data[at + 3 : at + 3 + length]
            at += 3 + length
            kind = Kind.UNKNOWN
            if self._typed:
                kind = kind_of_entry_type(data[at])
                at += 1
            if at + size > len(data):
                raise IndexError
            self._add(found, name, int.from_bytes(data[at : at + size], "big"), kind)
            at += size

    def _parse_blocks(self, inode: _Inode, found: dict[str, Child]) -> None:
        _, extents = self._map(inode)
        step = self._directory_block // self._block
        total = 0
        for first, count, start in extents:
            if first * self._block >= _DIRECTORY_DATA_END or start < 0:
                continue
            total += count * self._block
            if total > MAX_DIRECTORY_BYTES:
                raise DamagedImage(f"directory {inode.number} is larger than {MAX_DIRECTORY_BYTES} bytes")
            for number in range(first - first % step, first + count, step):
                # A directory block of several file system blocks may be in pieces: read it through the map.
                if number < first:
                    continue
                self._parse_data(self._directory_data(inode, number, step), found)

    def _directory_data(self, inode: _Inode, number: int, step: int) -> bytes:
        if step == 1:
            firsts, extents = self._map(inode)
            first, _, start = extents[bisect_right(firsts, number) - 1]
            return self._read_block(start + number - first)
        size = inode.size
        try:
            # Directory blocks are never holes, but the last one may lie behind the size that is counted in bytes.
            inode.size = max(size, (number + step) * self._block)
            return self._read_data(inode, number * self._block, step * self._block)
        finally:
            inode.size = size

    def _parse_data(self, data: bytes, found: dict[str, Child]) -> None:
        magic = data[:4]
        end = len(data)
        if magic in (b"XD2B", b"XDB3"):
            # One block holds it all: the entries end where the hash table before the tail begins.
            (count,) = struct.unpack_from(">I", data, end - 8)
            end -= 8 + count * 8
        elif magic not in (b"XD2D", b"XDD3"):
            raise DamagedImage("a directory block is damaged", where=self.where)
        at = 64 if magic in (b"XDB3", b"XDD3") else 16
        while at + 8 <= end:
            if data[at : at + 2] == b"\xff\xff":
                (length,) = struct.unpack_from(">H", data, at + 2)
                if length < 8:
                    raise DamagedImage("a directory block is damaged", where=self.where)
                at += length
                continue
            number, length = struct.unpack_from(">QB", data, at)
            name = data[at + 9 : at + 9 + length]
            kind = kind_of_entry_type(data[at + 9 + length]) if self._typed else Kind.UNKNOWN
            self._add(found, name, number, kind)
            at += (9 + length + (1 if self._typed else 0) + 2 + 7) & ~7

    def _add(self, found: dict[str, Child], raw: bytes, number: int, kind: Kind) -> None:
        if raw and raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw:
            found[raw.decode("utf-8", "surrogateescape")] = Child(number, kind)

    def close(self) -> None:
        """The device belongs to whoever opened it."""
