"""How fast a disk is inspected and written as an image, and in how much memory; beside what others take for it.

    python -m tests.bench.bench_migrate [--disk DISK] [--rounds 3]

Without --disk a whole Debian is built by examples/migrate/build_debian.py (which needs mmdebstrap and takes a
minute or two), or the small example where that cannot be. Goals: an inspection under 5 s and 300 MB, at least 5
times as fast as virt-inspector on the same disk in the same run; an OCI layout of a folder within twice the time
of tar with gzip on the same folder at the same level.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS_ALLOWED = 5.0
MEGABYTES_ALLOWED = 300
TIMES_FASTER = 5.0
TIMES_OF_TAR = 2.0


def build(folder: Path) -> Path:
    disk = folder / "old-web.qcow2"
    example = ROOT / "examples" / "migrate"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in ("mmdebstrap", "mke2fs", "sgdisk", "qemu-img")):
        data = folder / "data.qcow2"
        subprocess.run(
            [sys.executable, example / "build_debian.py", disk, data], check=True, stderr=subprocess.DEVNULL
        )
    else:
        print("mmdebstrap, gdisk or qemu-utils is not installed: the small example is measured instead")
        subprocess.run([sys.executable, example / "build_small.py", disk], check=True, stderr=subprocess.DEVNULL)
    return disk


def compare_with_tar(folder: Path, rounds: int) -> bool:
    """Writes Python's own library as an OCI layout and with tar; says whether the goal is met."""
    from vmkit.migrate.oci.frozen import write_frozen
    from vmkit.migrate.oci.layout import ImageConfig
    from vmkit.migrate.tree.directory import DirectoryVolume
    from vmkit.migrate.tree.rooted import Tree

    # Like a guest's root in what counts: some thousand files, texts and programs, a few hundred megabytes.
    source = folder / "root"
    shutil.copytree(sysconfig.get_path("stdlib"), source / "usr/lib/python", symlinks=True)
    ours, theirs = [], []
    for number in range(rounds):
        started = time.perf_counter()
        write_frozen(
            Tree(DirectoryVolume(source)), folder / f"layout-{number}", ImageConfig(command=("/bin/true",))
        )
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        # The digest of what is in the layer is part of an image as well; here the shell makes it.
        command = 'tar -C "$1" -cf - . | tee "$2" | gzip -1 | sha256sum >/dev/null; sha256sum "$2" >/dev/null'
        subprocess.run(["sh", "-c", command, "sh", source, folder / "root.tar"], check=True)
        theirs.append(time.perf_counter() - started)
    times = min(ours) / min(theirs)
    print(
        f"OCI layout: {min(ours):.2f} s, {times:.1f} times as long as tar and gzip (goal {TIMES_OF_TAR:g} times)"
    )
    return times <= TIMES_OF_TAR


def timed(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds of wall time, and the largest resident size in MB of this child."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command[0]} failed with {child.returncode}")
    assert isinstance(used, resource.struct_rusage)
    return seconds, used.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--disk", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        disk = options.disk or build(Path(folder))
        command = [sys.executable, "-m", "vmkit", "migrate", "inspect", str(disk), "-o", "json"]
        runs = [timed(command) for _ in range(options.rounds)]
        seconds, megabytes = min(run[0] for run in runs), max(run[1] for run in runs)
        print(f"inspect: {seconds:.2f} s, {megabytes:.0f} MB (goals {SECONDS_ALLOWED:g} and {MEGABYTES_ALLOWED})")
        failed = seconds > SECONDS_ALLOWED or megabytes > MEGABYTES_ALLOWED
        virt_inspector = shutil.which("virt-inspector")
        if virt_inspector is None:
            print("virt-inspector is not installed (Debian package libguestfs-tools): nothing to compare with")
        else:
            # KVM inside of VMs is not always what it claims to be; emulation is the same for everybody.
            guestfs = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
            other, _ = timed([virt_inspector, "-a", str(disk)], guestfs)
            print(
                f"virt-inspector: {other:.1f} s, {other / seconds:.0f} times as long (goal {TIMES_FASTER:g} times)"
            )
            failed = failed or other < TIMES_FASTER * seconds
        failed = not compare_with_tar(Path(folder), options.rounds) or failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
