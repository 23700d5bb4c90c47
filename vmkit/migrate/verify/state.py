"""The VM's state for a proof: a copy of its data directories, with owners and modes, as a tar."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

MAX_STATE_BYTES: Final = 8 * 2**30


def write_state(tree: Tree, path: str, target: Path, *, max_bytes: int = MAX_STATE_BYTES) -> int:
    """Writes what is below a directory of the guest into a tar, relative to it.

    Sockets, pipes and devices are left out; links are kept as they are.

    Returns:
        How many files and directories there are; 0 where the guest has no such directory.

    Raises:
        EvidenceError: it holds more than ``max_bytes``, or cannot be read.
    """
    root = tree.real_path(path)
    if root is None or not tree.is_directory(root):
        with tarfile.open(target, "w"):
            return 0
    count = total = 0
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        top = tree.stat(root)
        if top is not None:
            member = tarfile.TarInfo("./")
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, top.mode, top.uid, top.gid
            member.mtime = top.modified
            archive.addfile(member)
            count += 1
        for entry in tree.walk(root):
            stat = tree.stat_at(entry.location)
            if stat is None or entry.path == root:
                continue
            member = tarfile.TarInfo("./" + posixpath.relpath(entry.path, root))
            member.mode, member.uid, member.gid, member.mtime = stat.mode, stat.uid, stat.gid, stat.modified
            if stat.kind is Kind.DIRECTORY:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            elif stat.kind is Kind.SYMLINK:
                member.type, member.linkname = tarfile.SYMTYPE, tree.link_target(entry.path) or ""
                archive.addfile(member)
            elif stat.kind is Kind.FILE:
                total += stat.size
                if total > max_bytes:
                    raise EvidenceError(
                        f"{path} holds more than {max_bytes // 2**30} GiB",
                        hint="prove this workload on the cluster, with a volume made from the VM's snapshot",
                    )
                member.size = stat.size
                archive.addfile(member, _Content(tree.pieces(entry.location), stat.size))
            else:
                continue
            count += 1
    return count


class _Content:
    """A file of the tree as tarfile reads it; where the disk has less of it than it says, zeros."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces, self._left, self._held = pieces, size, b""

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        while len(self._held) < wanted:
            self._held += next(self._pieces, b"") or bytes(wanted - len(self._held))
        found, self._held = self._held[:wanted], self._held[wanted:]
        self._left -= wanted
        return found
