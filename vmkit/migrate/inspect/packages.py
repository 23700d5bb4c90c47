"""Installed packages and which files they own: dpkg, rpm (sqlite), apk."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vmkit.errors import VmkitError
from vmkit.migrate.facts import ChangedFile, Evidence, Package, Packages
from vmkit.migrate.tree.rooted import Tree

_DPKG_STATUS: Final = "/var/lib/dpkg/status"
_DPKG_INFO: Final = "/var/lib/dpkg/info"
_APK: Final = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM_FOLDERS: Final = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_DATABASE_BYTES: Final = 64 * 2**20
_RPM_BYTES: Final = 512 * 2**20
_MAX_PACKAGES: Final = 50_000
_MAX_OWNED: Final = 3_000_000
_RPM_STEPS: Final = 20_000

# Since the /usr merge these are links, while older package lists still name them.
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(slots=True)
class Ownership:
    """Which package put a file there.

    Attributes:
        owners: path -> package.
        configuration: path -> (package, hex digest of the file as it was installed).
        known: False where no package database could be read: nothing is "unowned" then.
    """

    owners: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, tuple[str, str]] = field(default_factory=dict)
    known: bool = False

    def package_of(self, path: str) -> str:
        return self.owners.get(path, "")


def inspect_packages(tree: Tree) -> tuple[Packages, Ownership]:
    """Reads the first package database there is."""
    if tree.is_file(_DPKG_STATUS):
        return _read_dpkg(tree)
    for path in _APK:
        if tree.is_file(path):
            return _read_apk(tree, path)
    for folder in _RPM_FOLDERS:
        if tree.is_file(f"{folder}/rpmdb.sqlite"):
            return _read_rpm(tree, f"{folder}/rpmdb.sqlite")
        for name in ("Packages.db", "Packages"):
            if tree.is_file(f"{folder}/{name}"):
                problem = (
                    "the rpm database is in an older format (Berkeley DB, ndb): only the guest's own rpm reads it"
                )
                return Packages(
                    manager="rpm", problem=problem, evidence=[Evidence(path=f"{folder}/{name}")]
                ), Ownership()
    return Packages(manager="", problem="no package database was found"), Ownership()


def find_changed(tree: Tree, ownership: Ownership) -> list[ChangedFile]:
    """Configuration files that differ from what their package installed."""
    changed: list[ChangedFile] = []
    for path, (package, digest) in sorted(ownership.configuration.items()):
        found = tree.locate(path)
        if found is None:
            continue
        algorithm = {32: "md5", 40: "sha1", 64: "sha256"}.get(len(digest))
        data = tree.read_at(found) if algorithm else None
        if algorithm and data is not None:
            actual = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
            if actual != digest:
                changed.append(ChangedFile(path=path, package=package))
    return changed


class _Normaliser:
    """Writes paths as the tree has them: /bin/ls is /usr/bin/ls where /bin is a link."""

    def __init__(self, tree: Tree) -> None:
        self._moved = {
            f"/{name}": f"/usr/{name}" for name in _MERGED if tree.real_path(f"/{name}") == f"/usr/{name}"
        }

    def __call__(self, path: str) -> str:
        second = path.find("/", 1)
        top = path if second < 0 else path[:second]
        moved = self._moved.get(top)
        return path if moved is None else moved + path[len(top) :]


# --- dpkg ----------------------------------------------------------------------------------------------------


def _read_dpkg(tree: Tree) -> tuple[Packages, Ownership]:
    text = tree.read_text(_DPKG_STATUS, limit=_DATABASE_BYTES) or ""
    # Distroless-like images keep one file a package instead.
    extra = [tree.read_text(path) or "" for path in tree.files("/var/lib/dpkg/status.d")[:_MAX_PACKAGES]]
    normalise = _Normaliser(tree)
    ownership = Ownership(known=True)
    packages: list[Package] = []
    for fields in parse_control("\n\n".join([text, *extra])):
        if not fields.get("Status", "install ok installed").endswith(" installed"):
            continue
        name = fields.get("Package", "")
        packages.append(
            Package(name=name, version=fields.get("Version", ""), architecture=fields.get("Architecture", ""))
        )
        for line in fields.get("Conffiles", "").splitlines():
            words = line.split()
            if len(words) >= 2 and "obsolete" not in words[2:]:
                ownership.configuration[normalise(words[0])] = (name, words[1])
        if len(packages) >= _MAX_PACKAGES:
            tree.note_problem(f"more than {_MAX_PACKAGES} packages: the rest was not read")
            break
    for path in tree.names(_DPKG_INFO):
        if path.endswith(".list"):
            package = path.removesuffix(".list").split(":", 1)[0]
            for line in (tree.read_text(f"{_DPKG_INFO}/{path}") or "").split("\n"):
                if line.startswith("/") and len(ownership.owners) < _MAX_OWNED:
                    ownership.owners[normalise(line)] = package
    evidence = [Evidence(path=_DPKG_STATUS)]
    return Packages(manager="dpkg", items=sorted(packages, key=_by_name), evidence=evidence), ownership


def parse_control(text: str) -> Iterator[dict[str, str]]:
    """Reads deb822 paragraphs; a folded field keeps its lines."""
    fields: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if not line.strip():
            if "Package" in fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t":
            if last:
                fields[last] += f"\n{line.strip()}"
        else:
            last, _, value = line.partition(":")
            fields[last] = value.strip()
    if "Package" in fields:
        yield fields


def _by_name(package: Package) -> str:
    return package.name


# --- apk -----------------------------------------------------------------------------------------------------


def _read_apk(tree: Tree, path: str) -> tuple[Packages, Ownership]:
    packages: list[Package] = []
    ownership = Ownership(known=True)
    normalise = _Normaliser(tree)
    fields: dict[str, str] = {}
    folder = ""
    for line in [*(tree.read_text(path, limit=_DATABASE_BYTES) or "").split("\n"), ""]:
        if not line:
            if fields.get("P"):
                packages.append(
                    Package(name=fields["P"], version=fields.get("V", ""), architecture=fields.get("A", ""))
                )
            fields, folder = {}, ""
            continue
        key, _, value = line.partition(":")
        if key == "F":
            folder = value
        elif key == "R" and len(ownership.owners) < _MAX_OWNED:
            ownership.owners[normalise(f"/{folder}/{value}" if folder else f"/{value}")] = fields.get("P", "")
        else:
            fields[key] = value
    items = sorted(packages[:_MAX_PACKAGES], key=_by_name)
    return Packages(manager="apk", items=items, evidence=[Evidence(path=path)]), ownership


# --- rpm -----------------------------------------------------------------------------------------------------

# Tags of rpm's include/rpm/rpmtag.h
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_DIGESTS, _FLAGS, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = 1035, 1037, 1116, 1117, 1118
_INT32, _STRING, _STRING_ARRAY, _I18N = 4, 6, 8, 9
_CONFIGURATION_FLAG: Final = 1
_MAX_INDEX: Final = 65536

_TagValue = str | list[int] | list[str]


def parse_rpm_header(blob: bytes) -> dict[int, _TagValue]:
    """Reads the tags of an rpm header that are needed here; broken entries are left out.

    Layout: entry count, data size, entries (tag, type, offset, count), data; all big-endian (rpm's lib/header.c).
    """
    if len(blob) < 8:
        return {}
    entries, size = struct.unpack_from(">II", blob)
    start = 8 + entries * 16
    if entries > _MAX_INDEX or start + size > len(blob):
        return {}
    data = blob[start : start + size]
    wanted = {
        _NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _DIGESTS, _FLAGS, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES,
    }  # fmt: skip
    found: dict[int, _TagValue] = {}
    for index in range(entries):
        tag, kind, offset, count = struct.unpack_from(">IIII", blob, 8 + index * 16)
        if tag not in wanted or offset > len(data):
            continue
        if kind == _INT32 and offset + 4 * count <= len(data):
            found[tag] = list(struct.unpack_from(f">{count}I", data, offset))
        elif kind == _STRING:
            found[tag] = data[offset:].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
        elif kind in (_STRING_ARRAY, _I18N):
            pieces = data[offset:].split(b"\0", count)[:count]
            found[tag] = [piece.decode("utf-8", "surrogateescape") for piece in pieces]
    return found


def _read_rpm(tree: Tree, path: str) -> tuple[Packages, Ownership]:
    evidence = [Evidence(path=path)]
    packages: list[Package] = []
    ownership = Ownership(known=True)
    normalise = _Normaliser(tree)
    try:
        for blob in _rpm_blobs(tree, path):
            tags = parse_rpm_header(blob)
            name = tags.get(_NAME)
            if not isinstance(name, str) or name == "gpg-pubkey":
                continue
            packages.append(Package(name=name, version=_rpm_version(tags), architecture=str(tags.get(_ARCH, ""))))
            _own_rpm_files(tags, name, ownership, normalise)
    except (sqlite3.Error, VmkitError, OSError, struct.error) as error:
        tree.note_problem(f"{path}: {error}")
        problem = f"the rpm database cannot be read: {error}"
        return Packages(manager="rpm", problem=problem, evidence=evidence), Ownership()
    return Packages(manager="rpm", items=sorted(packages, key=_by_name), evidence=evidence), ownership


def _rpm_blobs(tree: Tree, path: str) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="vmkit-rpm-") as folder:
        copy = Path(folder) / "rpmdb.sqlite"
        # Changes that were not folded in yet stand in the write-ahead log beside it.
        for suffix in ("", "-wal"):
            found = tree.locate(path + suffix)
            if found is not None:
                _copy(tree, path + suffix, copy.with_name(copy.name + suffix))
        database = sqlite3.connect(copy)
        try:
            # A hostile database may define views and triggers that never end.
            database.execute("PRAGMA trusted_schema=OFF")
            database.execute("PRAGMA cell_size_check=ON")
            steps = iter(range(_RPM_STEPS))
            database.set_progress_handler(lambda: next(steps, None) is None, 100_000)
            kind = database.execute("SELECT type FROM sqlite_master WHERE name='Packages'").fetchone()
            if kind != ("table",):
                raise sqlite3.DatabaseError("it has no table of packages")
            for count, (blob,) in enumerate(database.execute("SELECT blob FROM Packages")):
                if isinstance(blob, bytes):
                    yield blob
                if count >= _MAX_PACKAGES:
                    break
        finally:
            database.close()


def _copy(tree: Tree, path: str, target: Path) -> None:
    found = tree.locate(path)
    if found is None:
        return
    written = 0
    with target.open("wb") as file:
        for piece in tree.pieces(found):
            written += len(piece)
            if written > _RPM_BYTES:
                raise sqlite3.DatabaseError(f"it is larger than {_RPM_BYTES} bytes")
            file.write(piece)


def _rpm_version(tags: dict[int, _TagValue]) -> str:
    epoch = tags.get(_EPOCH)
    version = f"{tags.get(_VERSION, '')}-{tags.get(_RELEASE, '')}"
    return f"{epoch[0]}:{version}" if isinstance(epoch, list) and epoch else version


def _own_rpm_files(tags: dict[int, _TagValue], name: str, ownership: Ownership, normalise: _Normaliser) -> None:
    folders, names, indexes = tags.get(_DIR_NAMES), tags.get(_BASE_NAMES), tags.get(_DIR_INDEXES)
    if not isinstance(folders, list) or not isinstance(names, list) or not isinstance(indexes, list):
        return
    flags, digests = tags.get(_FLAGS), tags.get(_DIGESTS)
    for position, (base, index) in enumerate(zip(names, indexes, strict=False)):
        if not isinstance(index, int) or index >= len(folders) or len(ownership.owners) >= _MAX_OWNED:
            continue
        path = normalise(f"{folders[index]}{base}")
        ownership.owners[path] = name
        flag = flags[position] if isinstance(flags, list) and position < len(flags) else 0
        digest = digests[position] if isinstance(digests, list) and position < len(digests) else ""
        if isinstance(flag, int) and flag & _CONFIGURATION_FLAG and re.fullmatch(r"[0-9a-f]{32,64}", str(digest)):
            ownership.configuration[path] = (name, str(digest))
