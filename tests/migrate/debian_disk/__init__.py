"""A whole Debian that boots, built once and kept for as long as what builds it stays the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.migrate.guests import need

EXAMPLE = Path(__file__).parents[3] / "examples" / "migrate"
BUILD_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class DebianDisk:
    """The machine's two disks; ``size_bytes`` is what the files take together."""

    disk: Path
    data: Path

    @property
    def size_bytes(self) -> int:
        return self.disk.stat().st_size + self.data.stat().st_size


def build_debian_disk() -> DebianDisk:
    """Builds the disk, or takes the one that was built from the same files before."""
    for program, package in (
        ("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("sgdisk", "gdisk"), ("qemu-img", "qemu-utils"),
    ):  # fmt: skip
        need(program, package)
    place = _cache_folder()
    made = DebianDisk(place / "disk.qcow2", place / "data.qcow2")
    with (place / "lock").open("w") as lock:
        # Several test processes may ask at once: one builds, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.data.exists():
            with tempfile.TemporaryDirectory(dir=place) as folder:
                new = [Path(folder) / made.disk.name, Path(folder) / made.data.name]
                done = subprocess.run(
                    [sys.executable, EXAMPLE / "build_debian.py", *new],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    timeout=BUILD_TIMEOUT_SECONDS, check=False,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout.decode(errors="replace")
                for one, target in zip(new, (made.disk, made.data), strict=True):
                    one.rename(target)
    return made


def build_base_image() -> Path:
    """The root file system that stands in for Debian's public image, which tests cannot fetch, as a tar."""
    program = need("mmdebstrap", "mmdebstrap")
    place = _cache_folder()
    made = place / "base.tar"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            new = place / "base.new.tar"
            new.unlink(missing_ok=True)
            done = subprocess.run(
                [program, "--quiet", "--variant=minbase", "bookworm", new],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=BUILD_TIMEOUT_SECONDS, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout.decode(errors="replace")
            new.rename(made)
    return made


def _cache_folder() -> Path:
    """A folder of this user's own, named by what the disk is built from; those of older states are thrown away."""
    parts = sorted([EXAMPLE / "build_debian.py", *(one for one in (EXAMPLE / "guest").iterdir() if one.is_file())])
    digest = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in parts)).hexdigest()[:16]
    above = Path(tempfile.gettempdir()) / f"vmkit-test-disks-{os.getuid()}"
    above.mkdir(mode=0o700, exist_ok=True)
    status = above.lstat()
    assert status.st_uid == os.getuid(), f"{above} belongs to somebody else"
    assert status.st_mode & 0o777 == 0o700, f"{above} is open to others"
    for other in above.iterdir():
        if other.name != digest and other.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(other, ignore_errors=True)
    place = above / digest
    place.mkdir(exist_ok=True)
    return place
