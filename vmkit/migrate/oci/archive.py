"""Entries of a tar, streamed: a header, then the content in the pieces in which it is read."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from typing import Final

from vmkit.migrate.tree.volume import Stat

_BLOCK: Final = tarfile.BLOCKSIZE
Write = Callable[[bytes], object]


def build_header(path: str, stat: Stat) -> tarfile.TarInfo:
    """The header of a guest's file, with its owner, mode and time; ``path`` is absolute."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, info.uid, info.gid, info.mtime = stat.mode & 0o7777, stat.uid, stat.gid, stat.modified
    return info


def write_entry(write: Write, info: tarfile.TarInfo, pieces: Iterable[bytes] = ()) -> None:
    """Writes one entry: exactly ``info.size`` bytes of content, filled up with zeros where it ends too early."""
    write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
    left = info.size if info.isreg() else 0
    for piece in pieces:
        if left <= 0:
            break
        write(piece[:left])
        left -= len(piece)
    while left > 0:
        count = min(left, 2**20)
        write(bytes(count))
        left -= count
    if info.isreg() and info.size % _BLOCK:
        write(bytes(_BLOCK - info.size % _BLOCK))


def write_end(write: Write) -> None:
    """Two empty blocks: the end of a tar."""
    write(bytes(2 * _BLOCK))
