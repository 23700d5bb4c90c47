"""Something with a size that can be read at any offset: a file, a part of another device, pieces put together."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from vmkit.errors import DamagedImage, EvidenceError

MAX_READ_BYTES: Final = 64 * 2**20
"""The most that one read may ask for: callers read large files in pieces."""


class Device(Protocol):
    """A read-only row of bytes."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises:
            DamagedImage: the range is not wholly inside the device, or is larger than `MAX_READ_BYTES`.
        """
        ...

    def close(self) -> None: ...


def check_range(offset: int, length: int, size: int, where: str) -> None:
    """Raises `DamagedImage` unless the range lies inside ``size`` and no larger than a read may be."""
    if offset < 0 or length < 0 or offset + length > size:
        raise DamagedImage(
            f"something points to bytes {offset} to {offset + length}, outside of its {size} bytes", where=where
        )
    if length > MAX_READ_BYTES:
        raise DamagedImage(f"something asks for {length} bytes at once", where=where)


class FileDevice:
    """A file of the host (or a block device of it), read with pread.

    A short file reads as zeros up to ``size``: sparse raw images are sometimes cut off behind their last data.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            # Block devices have no st_size; where they end is where seeking ends.
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise EvidenceError(
                f"cannot be opened: {error.strerror}", hint="check the path and its permissions", where=self.where
            ) from error

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self._size, self.where)
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise DamagedImage("it became shorter while it was read", where=self.where)
                data += more
        except OSError as error:
            raise EvidenceError(f"cannot be read: {error.strerror}", where=self.where) from error
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Slice:
    """A part of a device: a partition."""

    def __init__(self, device: Device, offset: int, size: int, *, where: str = "") -> None:
        self._device, self._offset, self._size, self.where = device, offset, size, where
        if offset < 0 or size < 0 or offset + size > device.size:
            raise DamagedImage("it ends behind the end of its disk", where=where)

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self._size, self.where)
        return self._device.read(self._offset + offset, length)

    def close(self) -> None:
        """The device belongs to whoever opened it."""


class Segments:
    """Pieces of devices, one after the other: a logical volume.

    Args:
        pieces: (device, offset in it, length); lengths are positive.
    """

    def __init__(self, pieces: Sequence[tuple[Device, int, int]], *, where: str = "") -> None:
        self.where = where
        self._pieces = tuple(pieces)
        self._starts: list[int] = []
        size = 0
        for device, offset, length in self._pieces:
            if length <= 0 or offset < 0 or offset + length > device.size:
                raise DamagedImage("one of its pieces lies outside of its disk", where=where)
            self._starts.append(size)
            size += length
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self._size, self.where)
        parts: list[bytes] = []
        index = bisect_right(self._starts, offset) - 1
        while length > 0:
            device, start, extent = self._pieces[index]
            inside = offset - self._starts[index]
            count = min(length, extent - inside)
            parts.append(device.read(start + inside, count))
            offset, length, index = offset + count, length - count, index + 1
        return b"".join(parts)

    def close(self) -> None:
        """The devices belong to whoever opened them."""


class BlockCache:
    """Keeps the blocks read last, up to a number of bytes: metadata is read again and again."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._held = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def get(self, key: int) -> bytes | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: int, block: bytes) -> None:
        old = self._blocks.pop(key, None)
        self._held += len(block) - (len(old) if old is not None else 0)
        self._blocks[key] = block
        while self._held > self._capacity and len(self._blocks) > 1:
            self._held -= len(self._blocks.popitem(last=False)[1])
