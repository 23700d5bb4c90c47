"""Opens a disk image by what it is, not by its name: raw, qcow2, and through qemu-img VMDK, VHD, VHDX, VDI."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmkit.errors import DamagedImage, EvidenceError, MissingTool, VmkitError
from vmkit.migrate.disk import qcow2
from vmkit.migrate.disk.device import Device, FileDevice

CONVERT_TIMEOUT_SECONDS: Final = 3600
_MAX_BACKING_DEPTH: Final = 16
_CONVERT_MEMORY_BYTES: Final = 2 * 2**30

# (format as qemu-img calls it, offset, magic). A fixed VHD keeps its only mark in the last 512 bytes.
_MAGICS: Final[tuple[tuple[str, int, bytes], ...]] = (
    ("qcow2", 0, qcow2.MAGIC),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vmdk", 0, b"# Disk DescriptorFile"),
    ("vhdx", 0, b"vhdxfile"),
    ("vpc", 0, b"conectix"),
    ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
)


@dataclass(frozen=True, slots=True)
class Image:
    """An open disk image.

    Attributes:
        path: the file.
        format: "raw", "qcow2", "vmdk", "vpc", "vhdx" or "vdi" (qemu-img's words).
        device: its content as the guest sees it.
        backing: the backing files that were read, nearest first.
        notes: what a reader of the result should know.
    """

    path: Path
    format: str
    device: Device
    backing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def close(self) -> None:
        self.device.close()


def detect_format(device: Device) -> str:
    """The format of an image by its magic numbers; "raw" when none fits."""
    for name, offset, magic in _MAGICS:
        if device.size >= offset + len(magic) and device.read(offset, len(magic)) == magic:
            return name
    if device.size >= 512 and device.read(device.size - 512, 8) == b"conectix":
        return "vpc"
    return "raw"


def open_image(
    path: Path, *, follow_backing: bool = False, declared_format: str = "", scratch: Path | None = None
) -> Image:
    """Opens a disk image for reading.

    Args:
        path: the image, or a block device.
        follow_backing: also read the backing files that a qcow2 image names. Off, because the names come out of
            the image: a hostile one would name a file of this machine.
        declared_format: take this format ("raw", "qcow2") instead of looking. A raw disk whose guest wrote a
            qcow2 header into its first sector would otherwise be read as what the guest wants.
        scratch: where foreign formats are unpacked to; None takes the system's temporary directory.

    Raises:
        EvidenceError: it cannot be opened, is encrypted, or names a backing file that may not be followed.
        DamagedImage: it contradicts itself.
        MissingTool: qemu-img is needed and not installed.
    """
    return _open(path, follow_backing, declared_format, scratch, 0)


def _open(path: Path, follow_backing: bool, declared_format: str, scratch: Path | None, depth: int) -> Image:
    where = str(path)
    file = FileDevice(path)
    try:
        if file.size == 0:
            raise EvidenceError("the file is empty", where=where)
        kind = declared_format or detect_format(file)
        if kind == "raw":
            return Image(path, "raw", file)
        if kind == "qcow2":
            return _open_qcow2(path, file, follow_backing, scratch, depth)
    except VmkitError:
        file.close()
        raise
    file.close()
    return _convert(path, kind, scratch)


def _open_qcow2(path: Path, file: FileDevice, follow_backing: bool, scratch: Path | None, depth: int) -> Image:
    where = str(path)
    device = qcow2.Qcow2Device(file, where=where)
    notes = ["the image is marked as in use: it may have been copied from a running VM"] if device.dirty else []
    if not device.backing_name:
        return Image(path, "qcow2", device, notes=tuple(notes))
    if not follow_backing:
        raise EvidenceError(
            f"the image is an overlay of another file, {device.backing_name!r}",
            hint="--follow-backing reads that file too; do this only with images you trust",
            where=where,
        )
    if depth >= _MAX_BACKING_DEPTH:
        raise DamagedImage(f"its chain of backing files is longer than {_MAX_BACKING_DEPTH}", where=where)
    if device.backing_name.startswith("json:") or "://" in device.backing_name:
        raise EvidenceError(
            f"its backing file {device.backing_name!r} is not a plain file",
            hint="qemu-img convert makes one image of the chain",
            where=where,
        )
    below = _open(path.parent / device.backing_name, follow_backing, "", scratch, depth + 1)
    device = qcow2.Qcow2Device(file, backing=below.device, where=where)
    return Image(path, "qcow2", device, (str(below.path), *below.backing), (*notes, *below.notes))


def _convert(path: Path, kind: str, scratch: Path | None) -> Image:
    program = shutil.which("qemu-img")
    if program is None:
        raise MissingTool(
            f"reading a {kind} image takes qemu-img, which is not installed",
            hint="apt install qemu-utils, or dnf install qemu-img",
            where=str(path),
        )
    with tempfile.TemporaryDirectory(prefix="vmkit-image-", dir=scratch) as folder:
        raw = Path(folder) / "disk.raw"
        # The option form keeps a path with a colon or a leading "json:" from being read as a protocol.
        source = [
            "--image-opts",
            f"driver={kind},file.driver=file,file.filename={_escape_option(path.absolute())}",
        ]
        _run_limited([program, "convert", *source, "-O", "raw", str(raw)], str(path))
        device = FileDevice(raw)
    # The name is gone, the open descriptor keeps the data: nothing is left behind however the process ends.
    return Image(path, kind, device, notes=("unpacked with qemu-img",))


def _escape_option(path: Path) -> str:
    return str(path).replace(",", ",,")


def _run_limited(command: Sequence[str], where: str) -> None:
    # qemu-img parses untrusted bytes: bounded in time, and in memory where the shell can say so.
    shell = shutil.which("sh")
    if shell is not None:
        limit = f'ulimit -v {_CONVERT_MEMORY_BYTES // 1024} 2>/dev/null; exec "$@"'
        command = [shell, "-c", limit, "sh", *command]
    try:
        done = subprocess.run(  # noqa: S603 (the program is found by name on PATH, the arguments are ours)
            command, capture_output=True, timeout=CONVERT_TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise EvidenceError(f"qemu-img took longer than {CONVERT_TIMEOUT_SECONDS} s", where=where) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        raise DamagedImage(f"qemu-img cannot read it: {said[-1] if said else 'it gave no reason'}", where=where)
