"""A tar of a root file system as a volume: plain, or compressed with gzip, bzip2, xz or zstd."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from vmkit.errors import DamagedImage, EvidenceError, MissingTool
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat

MAX_ENTRIES: Final = 1_000_000
MAX_UNPACKED_BYTES: Final = 64 * 2**30
_MAX_HEADER_BYTES: Final = 2**20
_MAX_DEPTH: Final = 128
_MAX_HARD_LINKS: Final = 8

_KINDS: Final = {
    tarfile.REGTYPE: Kind.FILE, tarfile.AREGTYPE: Kind.FILE, tarfile.CONTTYPE: Kind.FILE,
    tarfile.GNUTYPE_SPARSE: Kind.FILE, tarfile.LNKTYPE: Kind.FILE, tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK, tarfile.CHRTYPE: Kind.CHARACTER_DEVICE, tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
    tarfile.FIFOTYPE: Kind.FIFO,
}  # fmt: skip
_LONG: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)


class _BoundedHeader(tarfile.TarInfo):
    """Extended headers are read into memory whole: a header that claims gigabytes is refused first."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        if found.type in _LONG and found.size > _MAX_HEADER_BYTES:
            raise DamagedImage(f"an extended header of the tar claims {found.size} bytes")
        return found


class _Member:
    __slots__ = ("gid", "kind", "link", "mode", "modified", "offset", "size", "sparse", "uid")

    def __init__(self, info: tarfile.TarInfo, kind: Kind) -> None:
        self.kind, self.mode, self.uid, self.gid = kind, info.mode & 0o7777, info.uid, info.gid
        self.size, self.modified, self.offset = info.size, int(info.mtime), info.offset_data
        self.link = info.linkname if info.issym() or info.islnk() else ""
        # pairs (offset in the file, bytes); what is between them reads as zeros
        self.sparse = cast("list[tuple[int, int]] | None", info.sparse) if info.issparse() else None


class TarVolume:
    """The members of a tar. Nodes are their paths without a leading "/" or "./"; "" is the root.

    Names with ".." and links to members that are not there lead nowhere; the last of several members with one
    name counts, as when it is unpacked.

    Args:
        path: the archive.
        max_unpacked_bytes: the most a compressed archive may grow to on disk, in an unnamed temporary file.
        scratch: where that file is made.

    Raises:
        EvidenceError: it cannot be opened, or grows too large.
        DamagedImage: it is no tar, or a damaged one.
    """

    kind = "tar"
    root: Node = ""

    def __init__(
        self, path: Path, *, max_unpacked_bytes: int = MAX_UNPACKED_BYTES, scratch: Path | None = None
    ) -> None:
        self.where = str(path)
        self._members: dict[str, _Member] = {}
        self._folders: dict[str, dict[str, Child]] = {"": {}}
        self.notes: tuple[str, ...] = ()
        self._file = _open_plain(path, max_unpacked_bytes, scratch)
        self._length = os.fstat(self._file.fileno()).st_size
        try:
            self._index()
        except (tarfile.TarError, DamagedImage, ValueError, OverflowError, EOFError) as error:
            self._file.close()
            raise DamagedImage(f"not a readable tar: {error}", where=self.where) from error

    def _index(self) -> None:
        left_out = 0
        with tarfile.open(
            fileobj=self._file, mode="r:", tarinfo=_BoundedHeader, encoding="utf-8", errors="surrogateescape"
        ) as archive:
            while (info := archive.next()) is not None:
                # The module keeps every member for later; the index below is what is needed, and smaller.
                archive.members.clear()  # type: ignore[attr-defined]
                parts = [part for part in info.name.split("/") if part not in ("", ".")]
                kind = _KINDS.get(info.type)
                if ".." in parts or kind is None or len(parts) > _MAX_DEPTH or info.size < 0:
                    left_out += 1
                    continue
                self._add(parts, _Member(info, kind))
                if len(self._members) > MAX_ENTRIES:
                    raise DamagedImage(f"more than {MAX_ENTRIES} members")
        if left_out:
            self.notes = (f"{left_out} members of the tar have impossible names or kinds and are left out",)

    def _add(self, parts: list[str], member: _Member) -> None:
        name = "/".join(parts)
        self._members[name] = member
        if not parts:
            return
        parent = ""
        for part in parts[:-1]:
            # Archives may leave out the directories above a member.
            below = f"{parent}/{part}" if parent else part
            self._folders.setdefault(parent, {}).setdefault(part, Child(below, Kind.DIRECTORY))
            parent = below
        self._folders.setdefault(parent, {})[parts[-1]] = Child(name, member.kind)

    def _member(self, node: Node) -> _Member:
        name = str(node)
        for _ in range(_MAX_HARD_LINKS):
            member = self._members.get(name)
            if member is None:
                raise DamagedImage("a hard link of the tar leads nowhere", where=f"{self.where}:{node}")
            if member.kind is not Kind.FILE or not member.link:
                return member
            name = "/".join(part for part in member.link.split("/") if part not in ("", "."))
        raise DamagedImage("hard links of the tar lead in a circle", where=f"{self.where}:{node}")

    def children(self, node: Node) -> dict[str, Child]:
        return self._folders.get(str(node), {})

    def stat(self, node: Node) -> Stat:
        if str(node) not in self._members:
            return Stat(Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0, 1, node)
        one = self._member(node)
        allocated = sum(length for _, length in one.sparse) if one.sparse is not None else one.size
        return Stat(one.kind, one.mode, one.uid, one.gid, one.size, allocated, one.modified, 1, node)

    def read_link(self, node: Node) -> str:
        return self._member(node).link

    def read(self, node: Node, offset: int, length: int) -> bytes:
        member = self._member(node)
        if member.kind is not Kind.FILE:
            raise DamagedImage("not a regular file", where=f"{self.where}:{node}")
        length = max(0, min(length, member.size - offset))
        if member.sparse is None:
            if length and member.offset + offset + length > self._length:
                raise DamagedImage("the tar ends in the middle of a file", where=f"{self.where}:{node}")
            return os.pread(self._file.fileno(), length, member.offset + offset)
        return self._read_sparse(member, offset, length)

    def _read_sparse(self, member: _Member, offset: int, length: int) -> bytes:
        data = bytearray(length)
        stored = member.offset
        for start, count in member.sparse or ():
            first, last = max(start, offset), min(start + count, offset + length)
            if first < last:
                piece = os.pread(self._file.fileno(), last - first, stored + first - start)
                data[first - offset : first - offset + len(piece)] = piece
            stored += count
        return bytes(data)

    def close(self) -> None:
        self._file.close()


def is_tar(path: Path) -> bool:
    """Whether a file is a tar, plain or compressed, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            opener = _opener(head)
            if opener is not None:
                file.seek(0)
                try:
                    head = opener(file).read(512)
                except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MissingTool):
                    return False
    except OSError:
        return False
    return head[257:262] == b"ustar"


def _opener(head: bytes) -> Callable[[IO[bytes]], Any] | None:
    if head[:2] == b"\x1f\x8b":
        return lambda file: gzip.GzipFile(fileobj=file)
    if head[:3] == b"BZh":
        return bz2.BZ2File
    if head[:6] == b"\xfd7zXZ\0":
        return lzma.LZMAFile
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return _open_zstd
    return None


def _open_zstd(file: IO[bytes]) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise MissingTool("the archive is compressed with zstd", hint="pip install 'vmkit[migrate]'") from error
    return zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)


def _open_plain(path: Path, limit: int, scratch: Path | None) -> IO[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise EvidenceError(f"cannot be opened: {error.strerror}", where=str(path)) from error
    opener = _opener(file.read(16))
    file.seek(0)
    if opener is None:
        return file
    plain = tempfile.TemporaryFile(dir=scratch, prefix="vmkit-tar-")  # noqa: SIM115 (kept open for reading)
    try:
        with file:
            _unpack(opener(file), plain, limit, str(path))
    except BaseException:
        plain.close()
        raise
    plain.seek(0)
    return plain


def _unpack(source: Any, plain: IO[bytes], limit: int, where: str) -> None:
    written = 0
    free = shutil.disk_usage(tempfile.gettempdir()).free
    while True:
        try:
            piece = source.read(2**20)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise DamagedImage(f"it cannot be unpacked: {error}", where=where) from error
        if not piece:
            return
        written += len(piece)
        if written > limit or written > free // 2:
            raise EvidenceError(
                f"it unpacks to more than {min(limit, free // 2)} bytes", hint="unpack it yourself", where=where
            )
        plain.write(piece)
