"""Guests for tests: trees in memory, and small disks that are built without root."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from vmkit.migrate.disk.device import Device, check_range
from vmkit.migrate.facts import Facts, Source
from vmkit.migrate.inspect.guest import inspect_tree
from vmkit.migrate.tree.rooted import Limits, Tree
from vmkit.migrate.tree.volume import Child, Kind, Node, Stat


@dataclass(frozen=True)
class F:
    """A file with attributes; plain texts in a guest are files of root with mode 644."""

    content: str | bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int | None = None
    kind: Kind = Kind.FILE


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


FileSpec = str | bytes | F | Link
Files = Mapping[str, FileSpec]


class MemoryVolume:
    """A volume out of a mapping of absolute paths; parents come by themselves."""

    kind = "memory"
    root: Node = "/"

    def __init__(self, files: Files) -> None:
        self.notes: tuple[str, ...] = ()
        self._nodes: dict[str, F | Link | None] = {"/": None}
        self._children: dict[str, dict[str, Child]] = {"/": {}}
        for path, spec in files.items():
            self._add(path, spec if isinstance(spec, (F, Link)) else F(spec))

    def _add(self, path: str, spec: F | Link) -> None:
        parent = "/"
        *above, name = path.strip("/").split("/")
        for part in above:
            below = f"{parent.rstrip('/')}/{part}"
            if below not in self._nodes:
                self._nodes[below] = None
                self._children[below] = {}
                self._children[parent][part] = Child(below, Kind.DIRECTORY)
            parent = below
        if isinstance(spec, F) and spec.kind is Kind.DIRECTORY:
            self._nodes.setdefault(path, None)
            self._children.setdefault(path, {})
            self._children[parent][name] = Child(path, Kind.DIRECTORY)
            return
        self._nodes[path] = spec
        self._children[parent][name] = Child(path, Kind.SYMLINK if isinstance(spec, Link) else spec.kind)

    def children(self, node: Node) -> dict[str, Child]:
        return self._children[str(node)]

    def stat(self, node: Node) -> Stat:
        spec = self._nodes[str(node)]
        if isinstance(spec, Link):
            return Stat(Kind.SYMLINK, 0o777, 0, 0, len(spec.target), 0, 0, 1, node)
        if spec is None:
            return Stat(Kind.DIRECTORY, 0o755, 0, 0, 0, 0, 0, 2, node)
        size = len(spec.content) if spec.size is None else spec.size
        return Stat(spec.kind, spec.mode, spec.uid, spec.gid, size, len(spec.content), 0, 1, node)

    def read_link(self, node: Node) -> str:
        spec = self._nodes[str(node)]
        assert isinstance(spec, Link)
        return spec.target

    def read(self, node: Node, offset: int, length: int) -> bytes:
        spec = self._nodes[str(node)]
        assert isinstance(spec, F)
        raw = spec.content.encode() if isinstance(spec.content, str) else spec.content
        return raw[offset : offset + length]

    def close(self) -> None:
        pass


def tree_of(files: Files, *, limits: Limits | None = None) -> Tree:
    return Tree(MemoryVolume(files), limits=limits)


ELF_X86_64 = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(44)

# A Debian guest with nothing on it but what every one has.
DEBIAN: Files = {
    "/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "/etc/hostname": "old-web\n",
    "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
    "app:x:998:997::/srv/app:/usr/sbin/nologin\n",
    "/etc/group": "root:x:0:\nwww-data:x:33:\napp:x:997:www-data\n",
    "/etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "/usr/bin/sh": ELF_X86_64,
    "/bin": Link("usr/bin"),
    "/usr/lib/systemd/systemd": ELF_X86_64,
    "/sbin/init": Link("/usr/lib/systemd/systemd"),
    "/var/lib/dpkg/status": "Package: base-files\nStatus: install ok installed\nVersion: 12.4\nArchitecture: amd64\n\n",
    "/var/lib/dpkg/info/base-files.list": "/.\n/bin/sh\n/usr/lib/systemd/systemd\n/etc/os-release\n",
}


def unit(command: str, *lines: str, user: str = "app", install: str = "multi-user.target") -> str:
    who = f"User={user}\n" if user else ""
    return (
        f"[Service]\n{who}ExecStart={command}\n"
        + "".join(f"{line}\n" for line in lines)
        + (f"[Install]\nWantedBy={install}\n")
    )


def service(name: str, text: str) -> dict[str, FileSpec]:
    """A unit that is enabled."""
    path = f"/etc/systemd/system/{name}.service"
    return {path: text, f"/etc/systemd/system/multi-user.target.wants/{name}.service": Link(path)}


def guest(*parts: Files) -> dict[str, FileSpec]:
    files: dict[str, FileSpec] = dict(DEBIAN)
    for part in parts:
        files.update(part)
    return files


def facts_of(*parts: Files, bare: bool = False) -> Facts:
    """The facts of a Debian guest with these files on top (of nothing, when bare)."""
    files = guest(*parts) if not bare else {path: spec for part in parts for path, spec in part.items()}
    return inspect_tree(tree_of(files), Source(kind="directory", location="guest"))


def with_source(facts: Facts, **changes: object) -> Facts:
    import msgspec

    return msgspec.structs.replace(facts, source=msgspec.structs.replace(facts.source, **changes))


# --- disks ---------------------------------------------------------------------------------------------------


def need(program: str, package: str) -> str:
    """Where a program is; a test that needs it and finds none is skipped, or fails where nothing may be missing."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        message = f"{program} is not installed (Debian package {package})"
        if os.environ.get("VMKIT_REQUIRE_TOOLS"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def write_files(folder: Path, files: Files) -> Path:
    """Writes a guest's files into a folder of this machine (owners are left out: nobody here is root)."""
    for path, spec in files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(spec, Link):
            target.symlink_to(spec.target)
            continue
        content = spec.content if isinstance(spec, F) else spec
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        if isinstance(spec, F):
            target.chmod(spec.mode)
    return folder


def build_ext4(image: Path, folder: Path, *, size: str = "16M", options: Sequence[str] = ()) -> Path:
    """Makes an ext4 file system with a folder's content, without mounting anything."""
    mke2fs = need("mke2fs", "e2fsprogs")
    subprocess.run(
        [mke2fs, "-q", "-F", "-t", "ext4", "-d", str(folder), *options, str(image), size], check=True, timeout=60
    )
    return image


def build_xfs(image: Path, folder: Path, *, options: Sequence[str] = ()) -> Path:
    """Makes an XFS file system with a folder's content, by a prototype file: no root, no mount."""
    mkfs = need("mkfs.xfs", "xfsprogs")
    lines = ["/dummy", "0 0", "d--755 0 0"]

    def add(place: Path) -> None:
        for one in sorted(place.iterdir()):
            if one.is_symlink():
                lines.append(f"{one.name} l--777 0 0 {one.readlink()}")
            elif one.is_dir():
                lines.append(f"{one.name} d--755 0 0")
                add(one)
                lines.append("$")
            else:
                lines.append(f"{one.name} ---644 0 0 {one}")

    add(folder)
    lines.append("$")
    prototype = image.with_suffix(".proto")
    prototype.write_text("\n".join(lines) + "\n")
    subprocess.run(
        [mkfs, "-q", "-f", "-p", str(prototype), "-d", f"file=1,name={image},size=320m", *options],
        check=True, timeout=60, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return image


def build_btrfs(image: Path, folder: Path, *, options: Sequence[str] = ()) -> Path:
    """Makes a btrfs file system with a folder's content, without mounting anything."""
    mkfs = need("mkfs.btrfs", "btrfs-progs")
    with image.open("wb") as file:
        file.truncate(128 * 2**20)
    subprocess.run([mkfs, "-q", "--rootdir", str(folder), *options, str(image)],
                   check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return image


def write_gpt(disk: Path, parts: Sequence[Path], *, names: Sequence[str] = ()) -> Path:
    """Makes a disk with a GPT whose partitions are the given images, from 1 MiB on."""
    sectors: list[tuple[int, int]] = []
    start = 2048
    for part in parts:
        count = -(-part.stat().st_size // 512)
        sectors.append((start, start + count - 1))
        start = -(-(start + count) // 2048) * 2048
    total = start + 2048
    entries = bytearray(128 * 128)
    for index, (first, last) in enumerate(sectors):
        name = (names[index] if index < len(names) else "").encode("utf-16-le").ljust(72, b"\0")
        kind = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
        entries[index * 128 : (index + 1) * 128] = (
            kind + uuid.uuid5(uuid.NAMESPACE_DNS, str(index)).bytes_le + struct.pack("<QQQ", first, last, 0) + name
        )

    def header(own: int, other: int, table: int) -> bytes:
        def pack(checksum: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other, 34, total - 34,
                bytes(16), table, 128, 128, zlib.crc32(entries),
            )  # fmt: skip

        return pack(zlib.crc32(pack(0))).ljust(512, b"\0")

    with disk.open("wb") as file:
        file.truncate(total * 512)
        mbr = bytearray(512)
        mbr[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, total - 1)
        mbr[510:] = b"\x55\xaa"
        file.write(mbr + header(1, total - 1, 2) + entries)
        for (first, _), part in zip(sectors, parts, strict=True):
            file.seek(first * 512)
            file.write(part.read_bytes())
        file.seek((total - 33) * 512)
        file.write(bytes(entries) + header(total - 1, 1, total - 33))
    return disk


class Patched:
    """A device with some bytes changed, without a copy of it."""

    def __init__(self, device: Device, patches: dict[int, bytes]) -> None:
        self._device, self._patches = device, patches

    @property
    def size(self) -> int:
        return self._device.size

    def read(self, offset: int, length: int) -> bytes:
        check_range(offset, length, self.size, "")
        data = bytearray(self._device.read(offset, length))
        for at, patch in self._patches.items():
            for index, value in enumerate(patch):
                if offset <= at + index < offset + length:
                    data[at + index - offset] = value
        return bytes(data)

    def close(self) -> None:
        self._device.close()


def convert(source: Path, target: Path, kind: str, *options: str) -> Path:
    """qemu-img convert."""
    program = need("qemu-img", "qemu-utils")
    subprocess.run(
        [program, "convert", "-f", "raw", "-O", kind, *options, str(source), str(target)], check=True, timeout=60
    )
    return target
