"""The journal of ext3 and ext4 (jbd2), replayed in memory: which newer copies of blocks it holds.

The layout is the one in the kernel's Documentation/filesystems/ext4/journal.rst. Nothing is written: the result
says where in the journal the newest committed copy of a block lies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from vmkit.errors import DamagedImage

_MAGIC: Final = 0xC03B3998
_DESCRIPTOR, _COMMIT, _SUPERBLOCK_V1, _SUPERBLOCK_V2, _REVOKE = 1, 2, 3, 4, 5
_FEATURE_64BIT, _CHECKSUM_V2, _CHECKSUM_V3, _FAST_COMMIT = 0x2, 0x8, 0x10, 0x20
_ESCAPED, _SAME_UUID, _LAST_TAG = 1, 2, 8


@dataclass(frozen=True, slots=True)
class Replay:
    """Newer copies of blocks: file system block -> (block that holds it, whether its magic was taken out)."""

    blocks: dict[int, tuple[int, bool]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def block(self, number: int) -> tuple[int, bool] | None:
        return self.blocks.get(number)

    def __bool__(self) -> bool:
        return bool(self.blocks)


def read_journal(
    locate: Callable[[int], int],
    read_block: Callable[[int], bytes],
    *,
    block_bytes: int,
    blocks: int,
    where: str,
) -> Replay:
    """Walks the journal's committed transactions.

    Args:
        locate: block of the journal file -> block of the file system.
        read_block: a block of the file system.
        block_bytes: the size of both.
        blocks: how long the journal file is.
        where: named in errors.

    Raises:
        DamagedImage: the journal's superblock makes no sense.
    """
    head = read_block(locate(0))
    magic, kind, _, size, length, first, sequence, start = struct.unpack_from(">IIIIIIII", head)
    if magic != _MAGIC or kind not in (_SUPERBLOCK_V1, _SUPERBLOCK_V2) or size != block_bytes:
        raise DamagedImage("the journal has no superblock", where=where)
    features = struct.unpack_from(">I", head, 40)[0] if kind == _SUPERBLOCK_V2 else 0
    length = min(length, blocks)
    notes: tuple[str, ...] = ()
    if features & _FAST_COMMIT:
        (fast_blocks,) = struct.unpack_from(">I", head, 84)
        length -= min(fast_blocks or 256, length)
        notes = ("fast commits of its journal are not replayed: changes of the last seconds may be missing",)
    if start == 0:
        return Replay(notes=notes)
    if not 0 < first < length or not first <= start < length:
        raise DamagedImage("the journal's superblock makes no sense", where=where)
    walk = _Walk(locate, read_block, features, first, length)
    return Replay(walk.run(start, sequence), notes)


class _Walk:
    def __init__(
        self,
        locate: Callable[[int], int],
        read_block: Callable[[int], bytes],
        features: int,
        first: int,
        length: int,
    ) -> None:
        self._locate, self._read_block = locate, read_block
        self._features, self._first, self._length = features, first, length
        self._wide = bool(features & _FEATURE_64BIT)

    def run(self, start: int, sequence: int) -> dict[int, tuple[int, bool]]:
        committed: list[tuple[int, list[tuple[int, int, bool]]]] = []
        revoked: dict[int, int] = {}
        pending: list[tuple[int, int, bool]] = []
        pending_revokes: list[int] = []
        at, left = start, self._length
        while left > 0:
            left -= 1
            data = self._read_block(self._locate(at))
            magic, kind, number = struct.unpack_from(">III", data)
            if magic != _MAGIC or number != sequence:
                break
            at = self._next(at)
            if kind == _DESCRIPTOR:
                for target, escaped in self._tags(data):
                    pending.append((target, at, escaped))
                    at = self._next(at)
                    left -= 1
            elif kind == _REVOKE:
                pending_revokes += self._revoked(data)
            elif kind == _COMMIT:
                committed.append((sequence, pending))
                for target in pending_revokes:
                    revoked[target] = sequence
                pending, pending_revokes = [], []
                sequence = (sequence + 1) & 0xFFFFFFFF
            else:
                break
        found: dict[int, tuple[int, bool]] = {}
        for number, writes in committed:
            for target, source, escaped in writes:
                # A block that was freed and revoked later must not come back.
                if revoked.get(target, -1) < number:
                    found[target] = (self._locate(source), escaped)
        return found

    def _next(self, at: int) -> int:
        return at + 1 if at + 1 < self._length else self._first

    def _tags(self, data: bytes) -> list[tuple[int, bool]]:
        if self._features & _CHECKSUM_V3:
            size = 16
        else:
            size = 8 + (2 if self._features & _CHECKSUM_V2 else 0) + (4 if self._wide else 0)
        end = len(data) - (4 if self._features & (_CHECKSUM_V2 | _CHECKSUM_V3) else 0)
        tags: list[tuple[int, bool]] = []
        at = 12
        while at + size <= end:
            if size == 16:
                target, flags, high, _ = struct.unpack_from(">IIII", data, at)
            else:
                target, _, flags = struct.unpack_from(">IHH", data, at)
                high = struct.unpack_from(">I", data, at + 8)[0] if self._wide else 0
            tags.append((target | (high << 32 if self._wide else 0), bool(flags & _ESCAPED)))
            at += size
            if not flags & _SAME_UUID:
                at += 16
            if flags & _LAST_TAG:
                break
        return tags

    def _revoked(self, data: bytes) -> list[int]:
        (used,) = struct.unpack_from(">I", data, 12)
        step = 8 if self._wide else 4
        end = min(used, len(data))
        return [int.from_bytes(data[at : at + step], "big") for at in range(16, end - step + 1, step)]
