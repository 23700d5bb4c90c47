"""The one view that inspectors get: paths inside a root, links resolved inside it, everything bounded."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vmkit.errors import EvidenceError, VmkitError
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat, Volume

MAX_LINKS: Final = 40  # Linux's own limit on links in one path
_CACHED_CHILDREN: Final = 200_000
_MAX_PROBLEMS: Final = 50
_PIECE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What an inspection may cost, whatever the guest's disk claims.

    Attributes:
        entries: directory entries looked at in one walk.
        depth: directories below each other.
        file_bytes: the most that is read of one file.
        total_bytes: the most that is read of all files together.
        seconds: wall time of the whole inspection.
    """

    entries: int = 2_000_000
    depth: int = 64
    file_bytes: int = 8 * 2**20
    total_bytes: int = 4 * 2**30
    seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Location:
    """Where a path leads: the volume, the node in it, its kind, and the path without links in it."""

    volume: Volume
    node: Node
    kind: Kind
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file met on a walk."""

    path: str
    kind: Kind
    location: Location


def join(folder: str, name: str) -> str:
    return f"/{name}" if folder == "/" else f"{folder}/{name}"


class Tree:
    """A guest's files.

    Paths are absolute and start with "/". A symbolic link is resolved inside the tree: "/" is the guest's root and
    ".." stops there, so that nothing of this machine can be reached.

    Args:
        root: the volume with the guest's "/".
        mounts: further volumes by the path they are mounted on.
        limits: what may be spent.
        clock: seconds that only grow; for the time limit.
    """

    def __init__(
        self,
        root: Volume,
        *,
        mounts: Mapping[str, Volume] | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.problems: list[str] = []
        """What could not be read, in words; bounded."""
        self._root = root
        self._mounts = dict(mounts or {})
        self._clock, self._started = clock, clock()
        self._read_bytes = 0
        self._children: OrderedDict[tuple[int, Node], Mapping[str, Child]] = OrderedDict()
        self._cached = 0

    # --- bounds ---

    def _check_time(self) -> None:
        if self._clock() - self._started > self.limits.seconds:
            raise EvidenceError(
                f"the inspection took longer than {self.limits.seconds:g} s", hint="--max-seconds allows more"
            )

    def note_problem(self, text: str) -> None:
        """Remembers that something could not be read; the first 50 are kept."""
        if len(self.problems) < _MAX_PROBLEMS and text not in self.problems:
            self.problems.append(text)

    # --- paths ---

    def _entries(self, volume: Volume, node: Node) -> Mapping[str, Child]:
        key = (id(volume), node)
        known = self._children.get(key)
        if known is not None:
            self._children.move_to_end(key)
            return known
        self._check_time()
        known = volume.children(node)
        self._children[key] = known
        self._cached += len(known) + 1
        while self._cached > _CACHED_CHILDREN and len(self._children) > 1:
            self._cached -= len(self._children.popitem(last=False)[1]) + 1
        return known

    def locate(self, path: str, *, follow: bool = True) -> Location | None:
        """Where a path leads; None where nothing is, where a link loops, or where a directory cannot be read.

        Args:
            follow: also resolve the last component when it is a link.
        """
        try:
            return self._locate(path, follow)
        except VmkitError as error:
            self._check_time()
            self.note_problem(f"{path}: {error.message}")
            return None

    def _locate(self, path: str, follow: bool) -> Location | None:
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        # The way down, so that ".." can go back over mount points.
        way = [Location(self._root, self._root.root, Kind.DIRECTORY, "/")]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                if len(way) > 1:
                    way.pop()
                continue
            here = way[-1]
            if here.kind is not Kind.DIRECTORY:
                return None
            child = self._entries(here.volume, here.node).get(name)
            if child is None:
                return None
            kind = child.kind if child.kind is not Kind.UNKNOWN else here.volume.stat(child.node).kind
            below = join(here.path, name)
            if kind is Kind.SYMLINK and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    return None
                target = here.volume.read_link(child.node)
                if target.startswith("/"):
                    del way[1:]
                todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
                continue
            mounted = self._mounts.get(below) if kind is Kind.DIRECTORY else None
            if mounted is not None:
                way.append(Location(mounted, mounted.root, Kind.DIRECTORY, below))
            else:
                way.append(Location(here.volume, child.node, kind, below))
        return way[-1]

    def kind(self, path: str) -> Kind | None:
        """What a path leads to, links resolved; None where there is nothing."""
        found = self.locate(path)
        return found.kind if found else None

    def is_file(self, path: str) -> bool:
        return self.kind(path) is Kind.FILE

    def is_directory(self, path: str) -> bool:
        return self.kind(path) is Kind.DIRECTORY

    def real_path(self, path: str) -> str | None:
        """The path without links in it, or None."""
        found = self.locate(path)
        return found.path if found else None

    def stat(self, path: str, *, follow: bool = True) -> Stat | None:
        found = self.locate(path, follow=follow)
        return self.stat_at(found) if found else None

    def stat_at(self, location: Location) -> Stat | None:
        try:
            return location.volume.stat(location.node)
        except VmkitError as error:
            self.note_problem(f"{location.path}: {error.message}")
            return None

    def link_target(self, path: str) -> str | None:
        """Where a symbolic link points, as written; None when it is none."""
        found = self.locate(path, follow=False)
        if found is None or found.kind is not Kind.SYMLINK:
            return None
        try:
            return found.volume.read_link(found.node)
        except VmkitError as error:
            self.note_problem(f"{path}: {error.message}")
            return None

    # --- content ---

    def names(self, folder: str) -> list[str]:
        """The names in a directory, sorted; empty where there is none."""
        found = self.locate(folder)
        if found is None or found.kind is not Kind.DIRECTORY:
            return []
        try:
            return sorted(self._entries(found.volume, found.node))
        except VmkitError as error:
            self._check_time()
            self.note_problem(f"{folder}: {error.message}")
            return []

    def files(self, folder: str, *, suffix: str = "") -> list[str]:
        """The paths of the regular files (also behind links) directly in a directory, sorted."""
        paths = (join(folder, name) for name in self.names(folder) if name.endswith(suffix))
        return [path for path in paths if self.is_file(path)]

    def read_bytes(self, path: str, *, limit: int | None = None) -> bytes | None:
        """A regular file's content, at most ``limit`` bytes of it (else the limits' own); None without one."""
        found = self.locate(path)
        return self.read_at(found, limit=limit) if found else None

    def read_at(self, location: Location, *, limit: int | None = None) -> bytes | None:
        if location.kind is not Kind.FILE:
            return None
        limit = self.limits.file_bytes if limit is None else limit
        parts: list[bytes] = []
        offset = 0
        try:
            while offset < limit:
                piece = self._read(location, offset, min(_PIECE_BYTES, limit - offset))
                if not piece:
                    break
                parts.append(piece)
                offset += len(piece)
        except VmkitError as error:
            self._check_budget()
            self.note_problem(f"{location.path}: {error.message}")
            return None
        return b"".join(parts)

    def pieces(self, location: Location) -> Iterator[bytes]:
        """A regular file's whole content in pieces of 1 MiB.

        Raises:
            VmkitError: it cannot be read, or the limits are spent.
        """
        offset = 0
        while piece := self._read(location, offset, _PIECE_BYTES):
            yield piece
            offset += len(piece)

    def _read(self, location: Location, offset: int, length: int) -> bytes:
        self._check_budget()
        piece = location.volume.read(location.node, offset, length)
        self._read_bytes += len(piece)
        return piece

    def _check_budget(self) -> None:
        self._check_time()
        if self._read_bytes > self.limits.total_bytes:
            raise EvidenceError(
                f"more than {self.limits.total_bytes} bytes would have to be read",
                hint="the disk is damaged, or made to keep its reader busy",
            )

    def read_text(self, path: str, *, limit: int | None = None) -> str | None:
        """A text file as UTF-8; what is not UTF-8 shows as escapes. None where there is no such file."""
        raw = self.read_bytes(path, limit=limit)
        return None if raw is None else raw.decode("utf-8", "backslashreplace")

    def read_lines(self, path: str) -> list[str]:
        """A text file's lines, without line ends; empty where there is none."""
        return (self.read_text(path) or "").splitlines()

    # --- walking ---

    def walk(self, start: str = "/", *, enter: Callable[[str], bool] | None = None) -> Iterator[Entry]:
        """Every file below a directory, each directory before its content. Links are met, never followed.

        A directory that is reached twice (a loop, a hard-linked directory) is entered once.

        Args:
            enter: asked for each directory; False leaves its content out.
        """
        top = self.locate(start)
        if top is None or top.kind is not Kind.DIRECTORY:
            return
        todo = [(top, 0)]
        seen = {(id(top.volume), top.node)}
        count = 0
        while todo:
            folder, depth = todo.pop()
            self._check_time()
            try:
                children = folder.volume.children(folder.node)
            except VmkitError as error:
                self.note_problem(f"{folder.path}: {error.message}")
                continue
            for name, child in children.items():
                count += 1
                if count > self.limits.entries:
                    self.note_problem(f"more than {self.limits.entries} files: the rest was not looked at")
                    return
                found = self._step(folder, name, child)
                if found is None:
                    continue
                yield Entry(found.path, found.kind, found)
                if found.kind is not Kind.DIRECTORY or (enter is not None and not enter(found.path)):
                    continue
                key = (id(found.volume), found.node)
                if key in seen:
                    self.note_problem(f"{found.path}: a directory that was met before")
                elif depth + 1 >= self.limits.depth:
                    self.note_problem(f"{found.path}: too many directories below each other")
                else:
                    seen.add(key)
                    todo.append((found, depth + 1))

    def _step(self, folder: Location, name: str, child: Child) -> Location | None:
        path = join(folder.path, name)
        kind = child.kind
        if kind is Kind.UNKNOWN:
            try:
                kind = folder.volume.stat(child.node).kind
            except VmkitError as error:
                self.note_problem(f"{path}: {error.message}")
                return None
        mounted = self._mounts.get(path) if kind is Kind.DIRECTORY else None
        if mounted is not None:
            return Location(mounted, mounted.root, Kind.DIRECTORY, path)
        return Location(folder.volume, child.node, kind, path)
