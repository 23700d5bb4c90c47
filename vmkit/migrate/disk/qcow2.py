"""qcow2 images, read-only: versions 2 and 3, compressed clusters (zlib, zstd), extended L2 entries.

The format is QEMU's docs/interop/qcow2.txt. Own code, because the libraries that could be had read compressed
clusters wrongly or are no libraries; and because every number in an untrusted image has to be bounded.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from vmkit.errors import DamagedImage, EvidenceError, MissingTool
from vmkit.migrate.disk.device import BlockCache, Device, check_range

MAGIC: Final = b"QFI\xfb"

_HEADER_V2: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_MAX_L1_BYTES: Final = 32 * 2**20  # QEMU's QCOW_MAX_L1_SIZE
_MAX_IMAGE_BYTES: Final = 2**56
_CACHE_BYTES: Final = 48 * 2**20

_OFFSET: Final = 0x00FFFFFFFFFFFE00
_COMPRESSED: Final = 1 << 62
_READS_AS_ZEROS: Final = 1

# incompatible_features
_DIRTY, _CORRUPT, _EXTERNAL_DATA, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16
_ENCRYPTIONS: Final = {1: "AES", 2: "LUKS"}


class Qcow2Device:
    """The guest's view of a qcow2 image.

    Args:
        file: the image itself.
        backing: what unallocated clusters are read from; None reads them as zeros.
        where: named in errors.

    Attributes:
        backing_name: the backing file the header names, as written by whoever made the image; "" without one.
            It is never opened here: a hostile image could name any file of the host.
        dirty: the image was in use, or was not closed properly; reference counts do not matter to a reader.

    Raises:
        DamagedImage: the header contradicts itself.
        EvidenceError: encrypted, or a feature that is not known.
    """

    def __init__(self, file: Device, *, backing: Device | None = None, where: str = "") -> None:
        self._file, self._backing, self.where = file, backing, where
        if file.size < 72:
            raise DamagedImage("too short for a qcow2 header", where=where)
        fields = _HEADER_V2.unpack(file.read(0, _HEADER_V2.size))
        magic, version, backing_offset, backing_length, cluster_bits, size, crypt, l1_count, l1_offset = fields[:9]
        if magic != MAGIC or version not in (2, 3):
            raise DamagedImage(f"not a qcow2 image of version 2 or 3 (version {version})", where=where)
        if not 9 <= cluster_bits <= 21:
            raise DamagedImage(f"impossible cluster size 2^{cluster_bits}", where=where)
        if not 0 < size <= _MAX_IMAGE_BYTES:
            raise DamagedImage(f"impossible virtual size {size}", where=where)
        if crypt:
            raise EvidenceError(
                f"the image is encrypted ({_ENCRYPTIONS.get(crypt, 'unknown method')})",
                hint="decrypt it with qemu-img convert first; vmkit never asks for keys",
                where=where,
            )
        self._cluster_bits, self._cluster = cluster_bits, 1 << cluster_bits
        self._size: int = size
        self._zstd = False
        entry_bytes = 8
        self.dirty = False
        if version == 3:
            entry_bytes = self._read_v3(file)
        self._subclusters = entry_bytes == 16
        self._l2_count = self._cluster // entry_bytes
        needed = -(-size // (self._cluster * self._l2_count))
        if l1_count < needed or l1_count * 8 > _MAX_L1_BYTES:
            raise DamagedImage(f"its first-level table has {l1_count} entries, {needed} are needed", where=where)
        self._l1 = struct.unpack(f">{needed}Q", file.read(l1_offset, needed * 8))
        self.backing_name = ""
        if backing_offset:
            if backing_length > 1023:
                raise DamagedImage("the name of its backing file is too long", where=where)
            self.backing_name = file.read(backing_offset, backing_length).decode("utf-8", "backslashreplace")
        self._tables = BlockCache(_CACHE_BYTES // 4)
        self._clusters = BlockCache(_CACHE_BYTES)

    def _read_v3(self, file: Device) -> int:
        incompatible: int
        header_length: int
        incompatible, _compatible, _autoclear, _order, header_length = struct.unpack(">QQQII", file.read(72, 32))
        self.dirty = bool(incompatible & _DIRTY)
        if incompatible & _CORRUPT:
            raise DamagedImage(
                "the image is marked as corrupt",
                hint="qemu-img check -r all repairs a copy of it",
                where=self.where,
            )
        if incompatible & _EXTERNAL_DATA:
            raise EvidenceError(
                "the image keeps its data in another file",
                hint="qemu-img convert it to one file",
                where=self.where,
            )
        unknown = incompatible & ~(_DIRTY | _COMPRESSION | _EXTENDED_L2)
        if unknown:
            raise EvidenceError(
                f"the image needs qcow2 features that vmkit does not know (0x{unknown:x})",
                hint="qemu-img convert -O qcow2 makes a plain copy",
                where=self.where,
            )
        if incompatible & _COMPRESSION and header_length > 104:
            method = file.read(104, 1)[0]
            if method not in (0, 1):
                raise DamagedImage(f"unknown compression method {method}", where=self.where)
            self._zstd = method == 1
        extended = bool(incompatible & _EXTENDED_L2)
        return 16 if extended else 8

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self._size, self.where)
        parts: list[bytes] = []
        while length > 0:
            number, inside = divmod(offset, self._cluster)
            count = min(length, self._cluster - inside)
            parts.append(self._read_cluster(number, inside, count))
            offset, length = offset + count, length - count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_cluster(self, number: int, inside: int, count: int) -> bytes:
        entry, bitmap = self._entry(number)
        if entry & _COMPRESSED:
            return self._compressed(number, entry)[inside : inside + count]
        offset = entry & _OFFSET
        if self._subclusters:
            return self._read_subclusters(number, offset, bitmap, inside, count)
        if entry & _READS_AS_ZEROS:
            return bytes(count)
        if offset == 0:
            return self._unallocated(number, inside, count)
        return self._stored(offset + inside, count)

    def _stored(self, offset: int, count: int) -> bytes:
        # The last cluster of an image may be cut off where its file ends.
        available = max(0, min(count, self._file.size - offset))
        if available == 0:
            raise DamagedImage("a cluster lies behind the end of the file", where=self.where)
        return self._file.read(offset, available) + bytes(count - available)

    def _unallocated(self, number: int, inside: int, count: int) -> bytes:
        if self._backing is None:
            return bytes(count)
        offset = number * self._cluster + inside
        available = max(0, min(count, self._backing.size - offset))
        data = self._backing.read(offset, available) if available else b""
        return data + bytes(count - available)

    def _read_subclusters(self, number: int, offset: int, bitmap: int, inside: int, count: int) -> bytes:
        step = self._cluster // 32
        parts: list[bytes] = []
        while count > 0:
            index, skip = divmod(inside, step)
            length = min(count, step - skip)
            if bitmap >> (32 + index) & 1:
                parts.append(bytes(length))
            elif bitmap >> index & 1 and offset:
                parts.append(self._stored(offset + inside, length))
            else:
                parts.append(self._unallocated(number, inside, length))
            inside, count = inside + length, count - length
        return b"".join(parts)

    def _entry(self, number: int) -> tuple[int, int]:
        index, within = divmod(number, self._l2_count)
        table_offset = self._l1[index] & _OFFSET
        if table_offset == 0:
            return 0, 0
        table = self._tables.get(table_offset)
        if table is None:
            table = self._file.read(table_offset, self._cluster)
            self._tables.put(table_offset, table)
        if self._subclusters:
            entry, bitmap = struct.unpack_from(">QQ", table, within * 16)
            return entry, bitmap
        (entry,) = struct.unpack_from(">Q", table, within * 8)
        return entry, 0

    def _compressed(self, number: int, entry: int) -> bytes:
        cached = self._clusters.get(number)
        if cached is not None:
            return cached
        offset_bits = 62 - (self._cluster_bits - 8)
        offset = entry & ((1 << offset_bits) - 1)
        sectors = ((entry & (_COMPRESSED - 1)) >> offset_bits) + 1
        stored = min(sectors * 512 - (offset & 511), self._file.size - offset)
        if stored <= 0:
            raise DamagedImage("a compressed cluster lies behind the end of the file", where=self.where)
        packed = self._file.read(offset, stored)
        data = (
            _unzstd(packed, self._cluster, self.where)
            if self._zstd
            else _inflate(packed, self._cluster, self.where)
        )
        if len(data) != self._cluster:
            raise DamagedImage(f"cluster {number} unpacks to {len(data)} bytes", where=self.where)
        self._clusters.put(number, data)
        return data

    def close(self) -> None:
        self._file.close()
        if self._backing is not None:
            self._backing.close()


def _inflate(packed: bytes, cluster: int, where: str) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(packed, cluster)
    except zlib.error as error:
        raise DamagedImage(f"a compressed cluster cannot be unpacked: {error}", where=where) from error


def _unzstd(packed: bytes, cluster: int, where: str) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise MissingTool(
            "the image is compressed with zstd", hint="pip install 'vmkit[migrate]'", where=where
        ) from error
    try:
        # Frames may lie about their size; what comes out is bounded by how much is read.
        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(packed) as reader:
            return bytes(reader.read(cluster))
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedImage(f"a compressed cluster cannot be unpacked: {error}", where=where) from error
