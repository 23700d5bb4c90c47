"""ext2, ext3 and ext4, read-only: extents and block maps, 64-bit, meta_bg, inline data, journal.

The layout is the one in the kernel's Documentation/filesystems/ext4. Own code rather than a library, so that
every number of a hostile file system is bounded where it is read, and so that the journal of a disk that was
copied from a running VM can be taken into account.
"""

from __future__ import annotations

import struct
from typing import Final

from vmkit.errors import DamagedImage, EvidenceError
from vmkit.migrate.disk.device import BlockCache, Device
from vmkit.migrate.disk.ext4_journal import Replay, read_journal
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat, kind_of_entry_type, kind_of_mode

MAX_DIRECTORY_BYTES: Final = 128 * 2**20
MAX_LINK_BYTES: Final = 4096
_CACHE_BYTES: Final = 24 * 2**20
_ROOT_INODE: Final = 2

# s_feature_incompat
_COMPRESSION, _FILETYPE, _RECOVER, _META_BG, _64BIT = 0x1, 0x2, 0x4, 0x10, 0x80
_KNOWN: Final = (
    0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
)
# i_flags
_ENCRYPTED, _EXTENTS, _INLINE = 0x800, 0x80000, 0x10000000

_EXTENT_MAGIC: Final = 0xF30A
_UNWRITTEN: Final = 32768
_XATTR_MAGIC: Final = 0xEA020000


class _Inode:
    __slots__ = ("blocks", "body", "flags", "gid", "links", "mode", "modified", "number", "root", "size", "uid")

    def __init__(self, number: int, raw: bytes) -> None:
        low = struct.unpack_from("<HHIIIIIHHII", raw)
        mode, uid, size, _access, _change, modified, _deleted, gid, links, blocks, flags = low
        (size_high,) = struct.unpack_from("<I", raw, 108)
        blocks_high, _acl_high, uid_high, gid_high = struct.unpack_from("<HHHH", raw, 116)
        self.number, self.mode, self.links, self.flags = number, mode, links, flags
        self.uid, self.gid = uid | uid_high << 16, gid | gid_high << 16
        self.size = size | size_high << 32
        self.blocks = blocks | blocks_high << 32
        # Two bits of the extra field extend the seconds beyond 2038.
        extra = struct.unpack_from("<I", raw, 136)[0] if len(raw) >= 140 else 0
        seconds = modified - 2**32 if modified >= 2**31 else modified
        self.modified = seconds + ((extra & 3) << 32)
        self.root = raw[40:100]
        self.body = raw


class Ext4Volume:
    """A file system of the ext family.

    Args:
        device: the partition or logical volume.
        where: named in errors.

    Raises:
        DamagedImage: the superblock contradicts itself.
        EvidenceError: it needs a feature that is not known.
    """

    kind = "ext4"
    root: Node = _ROOT_INODE

    def __init__(self, device: Device, *, where: str = "") -> None:
        self._device, self.where = device, where
        if device.size < 4096:
            raise DamagedImage("too small for a file system", where=where)
        block = device.read(1024, 1024)
        if block[56:58] != b"\x53\xef":
            raise DamagedImage("not an ext2, ext3 or ext4 file system", where=where)
        self._inodes, blocks_low = struct.unpack_from("<II", block)
        self._first_block, log_size = struct.unpack_from("<II", block, 20)
        (self._group_blocks,) = struct.unpack_from("<I", block, 32)
        (self._group_inodes,) = struct.unpack_from("<I", block, 40)
        (revision,) = struct.unpack_from("<I", block, 76)
        (inode_bytes,) = struct.unpack_from("<H", block, 88)
        _, self._incompatible, self._compatible_ro = struct.unpack_from("<III", block, 92)
        (journal_inode,) = struct.unpack_from("<I", block, 224)
        (descriptor_bytes,) = struct.unpack_from("<H", block, 254)
        (self._first_meta_group,) = struct.unpack_from("<I", block, 260)
        (blocks_high,) = struct.unpack_from("<I", block, 336)
        wide = bool(self._incompatible & _64BIT)
        self._inode_bytes = inode_bytes if revision else 128
        self._descriptor_bytes = descriptor_bytes if wide else 32
        if log_size > 6 or self._group_blocks == 0 or self._group_inodes == 0 or self._inodes == 0:
            raise DamagedImage("its superblock makes no sense", where=where)
        self._block = 1024 << log_size
        self._blocks = blocks_low | (blocks_high << 32 if wide else 0)
        sound = (
            128 <= self._inode_bytes <= self._block
            and self._inode_bytes & (self._inode_bytes - 1) == 0
            and 32 <= self._descriptor_bytes <= self._block
            and self._descriptor_bytes & (self._descriptor_bytes - 1) == 0
            and 0 < self._blocks <= 2**48
            and self._first_block in (0, 1)
            and self._group_blocks <= 8 * self._block
        )
        if not sound:
            raise DamagedImage("its superblock makes no sense", where=where)
        unknown = self._incompatible & ~_KNOWN
        if unknown:
            raise EvidenceError(f"it needs ext4 features that vmkit does not know (0x{unknown:x})", where=where)
        self._cache = BlockCache(_CACHE_BYTES)
        self._replay = Replay()
        notes: list[str] = []
        if self._blocks * self._block > device.size:
            notes.append("the file system is larger than its volume: the disk may have been cut off")
        if self._incompatible & _RECOVER:
            notes += self._recover(journal_inode)
        self.notes = tuple(notes)

    def _recover(self, journal_inode: int) -> list[str]:
        if journal_inode == 0:
            return ["it was not unmounted and its journal is on another device: the newest changes may be missing"]
        try:
            inode = self._inode(journal_inode)
            replay = read_journal(
                lambda number: self._map(inode, number)[0],
                self._read_block,
                block_bytes=self._block,
                blocks=min(-(-inode.size // self._block), self._blocks),
                where=self.where,
            )
        except DamagedImage:
            return ["it was not unmounted and its journal is damaged: the newest changes may be missing"]
        self._replay = replay
        self._cache = BlockCache(_CACHE_BYTES)
        return ["it was not unmounted; its journal was replayed in memory", *replay.notes]

    # --- blocks ---

    def _read_block(self, number: int) -> bytes:
        cached = self._cache.get(number)
        if cached is None:
            replayed = self._replay.block(number)
            if replayed is None:
                cached = self._device.read(number * self._block, self._block)
            else:
                source, escaped = replayed
                cached = self._device.read(source * self._block, self._block)
                if escaped:
                    cached = b"\xc0\x3b\x39\x98" + cached[4:]
            self._cache.put(number, cached)
        return cached

    def _read_run(self, start: int, skip: int, length: int) -> bytes:
        if not self._replay:
            return self._device.read(start * self._block + skip, length)
        # Some of its blocks may lie in the journal.
        count = -(-(skip + length) // self._block)
        return b"".join(self._read_block(start + index) for index in range(count))[skip : skip + length]

    # --- inodes ---

    def _inode(self, number: Node) -> _Inode:
        if not isinstance(number, int) or not 1 <= number <= self._inodes:
            raise DamagedImage(f"something points to inode {number}, which does not exist", where=self.where)
        group, index = divmod(number - 1, self._group_inodes)
        table = self._inode_table(group)
        block, inside = divmod(index * self._inode_bytes, self._block)
        data = self._read_block(table + block)
        return _Inode(number, data[inside : inside + self._inode_bytes])

    def _inode_table(self, group: int) -> int:
        per_block = self._block // self._descriptor_bytes
        meta_group, index = divmod(group, per_block)
        if self._incompatible & _META_BG and meta_group >= self._first_meta_group:
            first = meta_group * per_block
            block = self._first_block + first * self._group_blocks + (1 if self._has_superblock(first) else 0)
        else:
            block = self._first_block + 1 + meta_group
        descriptor = self._read_block(block)[index * self._descriptor_bytes : (index + 1) * self._descriptor_bytes]
        (low,) = struct.unpack_from("<I", descriptor, 8)
        high = struct.unpack_from("<I", descriptor, 40)[0] if self._descriptor_bytes >= 64 else 0
        table: int = low | high << 32
        return table

    def _has_superblock(self, group: int) -> bool:
        if group <= 1 or not self._compatible_ro & 0x1:  # RO_COMPAT_SPARSE_SUPER
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    # --- block maps ---

    def _map(self, inode: _Inode, number: int) -> tuple[int, int]:
        """Where a file's block lies, and for how many blocks this goes on; block 0 is a hole."""
        if inode.flags & _EXTENTS:
            return self._map_extent(inode, number)
        return self._map_indirect(inode, number), 1

    def _map_extent(self, inode: _Inode, number: int) -> tuple[int, int]:
        node = inode.root
        depth_left = 6
        hole_end = 2**32
        while True:
            magic, count, _most, depth = struct.unpack_from("<HHHH", node)
            if magic != _EXTENT_MAGIC or 12 + count * 12 > len(node) or depth >= depth_left:
                raise DamagedImage(f"inode {inode.number} has a damaged extent tree", where=self.where)
            if depth == 0:
                return self._find_extent(node, count, number, hole_end)
            child = 0
            for index in range(count):
                first, low, high = struct.unpack_from("<IIH", node, 12 + index * 12)
                if first > number:
                    hole_end = min(hole_end, first)
                    break
                child = low | high << 32
            if child == 0:
                return 0, max(1, hole_end - number)
            node, depth_left = self._read_block(child), depth

    def _find_extent(self, node: bytes, count: int, number: int, hole_end: int) -> tuple[int, int]:
        for index in range(count):
            first, length, high, low = struct.unpack_from("<IHHI", node, 12 + index * 12)
            unwritten = length > _UNWRITTEN
            length -= _UNWRITTEN if unwritten else 0
            if first <= number < first + length:
                run = first + length - number
                return (0 if unwritten else (low | high << 32) + number - first), run
            if first > number:
                return 0, max(1, min(hole_end, first) - number)
        return 0, max(1, hole_end - number)

    def _map_indirect(self, inode: _Inode, number: int) -> int:
        per_block = self._block // 4
        if number < 12:
            return int(struct.unpack_from("<I", inode.root, number * 4)[0])
        number -= 12
        for level in range(1, 4):
            span = per_block**level
            if number < span:
                (block,) = struct.unpack_from("<I", inode.root, (11 + level) * 4)
                while level and block:
                    level -= 1
                    index, number = divmod(number, per_block**level)
                    (block,) = struct.unpack_from("<I", self._read_block(block), index * 4)
                return int(block)
            number -= span
        raise DamagedImage(f"inode {inode.number} is larger than its block map", where=self.where)

    # --- content ---

    def _read_data(self, inode: _Inode, offset: int, length: int) -> bytes:
        length = max(0, min(length, inode.size - offset))
        if length == 0:
            return b""
        if inode.flags & _INLINE:
            return self._inline(inode)[offset : offset + length]
        parts: list[bytes] = []
        while length > 0:
            number, skip = divmod(offset, self._block)
            start, run = self._map(inode, number)
            count = min(length, run * self._block - skip)
            parts.append(self._read_run(start, skip, count) if start else bytes(count))
            offset, length = offset + count, length - count
        return b"".join(parts)

    def _inline(self, inode: _Inode) -> bytes:
        # The first 60 bytes stand in the block map; what does not fit is the attribute "system.data".
        return inode.root + self._inline_rest(inode)

    def _inline_rest(self, inode: _Inode) -> bytes:
        body = inode.body
        if len(body) < 132:
            return b""
        (extra,) = struct.unpack_from("<H", body, 128)
        start = 128 + extra
        if start + 4 > len(body) or struct.unpack_from("<I", body, start)[0] != _XATTR_MAGIC:
            return b""
        at = first = start + 4
        while at + 16 <= len(body) and body[at : at + 4] != bytes(4):
            name_length, space, value, _inode, size = struct.unpack_from("<BBHII", body, at)
            if space == 7 and body[at + 16 : at + 16 + name_length] == b"data":
                return body[first + value : first + value + size]
            at += (16 + name_length + 3) & ~3
        return b""

    # --- what a Volume offers ---

    def stat(self, node: Node) -> Stat:
        inode = self._inode(node)
        return Stat(
            kind_of_mode(inode.mode), inode.mode & 0o7777, inode.uid, inode.gid, inode.size, inode.blocks * 512,
            inode.modified, inode.links, inode.number,
        )  # fmt: skip

    def read(self, node: Node, offset: int, length: int) -> bytes:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.FILE:
            raise DamagedImage(f"inode {node} is not a regular file", where=self.where)
        if inode.flags & _ENCRYPTED:
            raise EvidenceError(f"inode {node} is encrypted by the file system", where=self.where)
        return self._read_data(inode, offset, length)

    def read_link(self, node: Node) -> str:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.SYMLINK or inode.size > MAX_LINK_BYTES:
            raise DamagedImage(f"inode {node} is not a symbolic link", where=self.where)
        if inode.flags & _ENCRYPTED:
            raise EvidenceError(f"inode {node} is encrypted by the file system", where=self.where)
        fast = inode.size < 60 and not inode.flags & (_EXTENTS | _INLINE)
        raw = inode.root[: inode.size] if fast else self._read_data(inode, 0, inode.size)
        return raw.decode("utf-8", "surrogateescape")

    def children(self, node: Node) -> dict[str, Child]:
        inode = self._inode(node)
        if kind_of_mode(inode.mode) is not Kind.DIRECTORY:
            raise DamagedImage(f"inode {node} is not a directory", where=self.where)
        if inode.flags & _ENCRYPTED:
            raise EvidenceError(f"directory {node} is encrypted by the file system", where=self.where)
        if inode.size > MAX_DIRECTORY_BYTES:
            raise DamagedImage(f"directory {node} claims {inode.size} bytes", where=self.where)
        found: dict[str, Child] = {}
        if inode.flags & _INLINE:
            # The four bytes before the entries are the number of the parent.
            self._parse_entries(inode.root[4:], found)
            self._parse_entries(self._inline_rest(inode), found)
            return found
        for number in range(inode.size // self._block):
            start, _ = self._map(inode, number)
            if start:
                self._parse_entries(self._read_block(start), found)
        return found

    def _parse_entries(self, data: bytes, found: dict[str, Child]) -> None:
        at = 0
        typed = self._incompatible & _FILETYPE
        while at + 8 <= len(data):
            number, length, name_length, kind = struct.unpack_from("<IHBB", data, at)
            if length in (0, 0xFFFF) and self._block == 65536:
                length = 65536
            if length < 8 or at + length > len(data) or name_length > length - 8:
                raise DamagedImage("a directory is damaged", where=self.where)
            raw = data[at + 8 : at + 8 + name_length]
            if number and raw and raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw:
                name = raw.decode("utf-8", "surrogateescape")
                found[name] = Child(number, kind_of_entry_type(kind) if typed else Kind.UNKNOWN)
            at += length

    def close(self) -> None:
        """The device belongs to whoever opened it."""


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1
