"""A directory of this machine as a volume: a mounted root. Every component is opened without following links."""

from __future__ import annotations

import os
import stat as host_stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat, kind_of_mode

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO put in place of a file must not make the reader wait.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class DirectoryVolume:
    """The files below a directory. Nodes are paths relative to it; "" is the directory itself.

    Raises:
        EvidenceError: it is no directory, or may not be read.
    """

    kind = "directory"
    root: Node = ""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.notes: tuple[str, ...] = ()
        try:
            # The starting point itself may be a link: the person who typed it meant where it leads.
            self._top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise EvidenceError(f"cannot be opened: {error.strerror}", where=self.where) from error

    @contextmanager
    def _folder(self, parts: list[str]) -> Iterator[int]:
        descriptor = os.dup(self._top)
        try:
            for part in parts:
                following = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
            yield descriptor
        finally:
            os.close(descriptor)

    @staticmethod
    def _split(node: Node) -> tuple[list[str], str]:
        parts = str(node).split("/") if node else []
        return parts[:-1], parts[-1] if parts else ""

    def _failed(self, node: Node, error: OSError) -> EvidenceError:
        return EvidenceError(f"cannot be read: {error.strerror}", where=f"{self.where}/{node}")

    def children(self, node: Node) -> dict[str, Child]:
        try:
            with (
                self._folder(str(node).split("/") if node else []) as descriptor,
                os.scandir(descriptor) as entries,
            ):
                return {entry.name: Child(self._below(node, entry.name), _kind(entry)) for entry in entries}
        except OSError as error:
            raise self._failed(node, error) from error

    @staticmethod
    def _below(node: Node, name: str) -> str:
        return f"{node}/{name}" if node else name

    def stat(self, node: Node) -> Stat:
        parents, name = self._split(node)
        try:
            with self._folder(parents) as descriptor:
                found = os.stat(name or ".", dir_fd=descriptor, follow_symlinks=False)
        except OSError as error:
            raise self._failed(node, error) from error
        return Stat(
            kind_of_mode(found.st_mode), found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_size,
            found.st_blocks * 512, int(found.st_mtime), found.st_nlink, f"{found.st_dev}:{found.st_ino}",
        )  # fmt: skip

    def read_link(self, node: Node) -> str:
        parents, name = self._split(node)
        try:
            with self._folder(parents) as descriptor:
                return os.readlink(name, dir_fd=descriptor)
        except OSError as error:
            raise self._failed(node, error) from error

    def read(self, node: Node, offset: int, length: int) -> bytes:
        parents, name = self._split(node)
        try:
            with self._folder(parents) as descriptor:
                file = os.open(name, _FILE, dir_fd=descriptor)
            try:
                if not host_stat.S_ISREG(os.fstat(file).st_mode):
                    raise EvidenceError("not a regular file", where=f"{self.where}/{node}")
                return os.pread(file, length, offset)
            finally:
                os.close(file)
        except OSError as error:
            raise self._failed(node, error) from error

    def close(self) -> None:
        if self._top >= 0:
            os.close(self._top)
            self._top = -1


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.SYMLINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.DIRECTORY
    if entry.is_file(follow_symlinks=False):
        return Kind.FILE
    return Kind.UNKNOWN
