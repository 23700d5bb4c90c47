"""Disks that somebody made to hurt their reader, and disks that just broke: an error or a note, soon, never a crash."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.migrate.disk.test_lvm import LINEAR, identifier, metadata, write_physical
from tests.migrate.guests import Patched, build_btrfs, build_ext4, build_xfs, convert, write_files, write_gpt
from vmkit.errors import EvidenceError, VmkitError
from vmkit.migrate.disk.device import Device, FileDevice
from vmkit.migrate.disk.image import Image
from vmkit.migrate.disk.qcow2 import Qcow2Device
from vmkit.migrate.disk.volumes import read_layout
from vmkit.migrate.source import inspect_source
from vmkit.migrate.tree.assemble import assemble
from vmkit.migrate.tree.rooted import Limits
from vmkit.migrate.tree.volume import Kind

LIMITS = Limits(entries=20_000, total_bytes=64 * 2**20, seconds=20)


def look(device: Device) -> None:
    """Reads everything that a disk offers, as an inspection would."""
    layout = read_layout([Image(Path("disk"), "raw", device)])
    tree = assemble(layout.volumes, limits=LIMITS).tree
    if tree is None:
        return
    for entry in tree.walk():
        if entry.kind is Kind.FILE:
            tree.stat_at(entry.location)
            tree.read_at(entry.location, limit=2**16)
        elif entry.kind is Kind.SYMLINK:
            tree.locate(entry.path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("guest")
    write_files(place, {f"/srv/many/file-{number}": "x" * number for number in range(60)})
    write_files(
        place, {"/etc/os-release": "ID=debian\n", "/etc/fstab": "LABEL=root / ext4\n", "/large": b"y" * 70_000}
    )
    (place / "loop").symlink_to("loop")
    return place


@pytest.fixture(scope="module")
def disks(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[int]]]:
    """A disk of each kind, and where its metadata lies."""
    place = tmp_path_factory.mktemp("disks")
    ext4 = build_ext4(place / "ext4", folder, size="4M", options=("-b", "1024"))
    ext2 = build_ext4(place / "ext2", folder, size="4M", options=("-O", "^extents,^has_journal,^64bit"))
    xfs = build_xfs(place / "xfs", folder)
    btrfs = build_btrfs(place / "btrfs", folder)
    gpt = write_gpt(place / "gpt", [ext4])
    lvm = write_physical(place / "lvm", 1, metadata([identifier(1)], {"data": LINEAR}), {})
    qcow2 = convert(gpt, place / "qcow2", "qcow2", "-c")

    def used(path: Path) -> list[int]:
        data = path.read_bytes()
        step = 512
        return [at for at in range(0, len(data), step) if data[at : at + step].strip(b"\0")]

    return {path.name: (path, used(path)) for path in (ext4, ext2, xfs, btrfs, gpt, lvm, qcow2)}


OPENERS: dict[str, Callable[[Device], Device]] = {"qcow2": Qcow2Device}


KINDS = ["ext4", "ext2", "xfs", "btrfs", "gpt", "lvm", "qcow2"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_change_of_bytes_makes_a_reader_crash_or_hang(
    kind: str, disks: dict[str, tuple[Path, list[int]]]
) -> None:
    assert damage(kind, disks, seed=f"vmkit {kind}", rounds=120, seconds=4) >= 5


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_no_change_of_bytes_in_thousands_makes_a_reader_crash_or_hang(
    kind: str, disks: dict[str, tuple[Path, list[int]]]
) -> None:
    assert damage(kind, disks, seed=f"thorough {kind}", rounds=4000, seconds=10) >= 5


def damage(kind: str, disks: dict[str, tuple[Path, list[int]]], *, seed: str, rounds: int, seconds: float) -> int:
    """Changes bytes where a disk has any, and reads it; returns how often."""
    path, places = disks[kind]
    source = random.Random(seed)
    started = time.monotonic()
    done = 0
    while done < rounds and (done < 5 or time.monotonic() - started < seconds):
        done += 1
        patches: dict[int, bytes] = {}
        for _ in range(source.choice((1, 1, 2, 8))):
            at = source.choice(places) + source.randrange(512)
            patches[at] = source.choice((
                source.randbytes(1), b"\0", b"\xff" * 4, b"\xff" * 8, source.randbytes(8), struct.pack("<I", 2**31 - 1),
                struct.pack(">Q", 2**63 - 1),
            ))  # fmt: skip
        patches = {at: patch[: max(0, path.stat().st_size - at)] for at, patch in patches.items()}
        device: Device = Patched(FileDevice(path), patches)
        begun = time.monotonic()
        try:
            look(OPENERS[kind](device) if kind in OPENERS else device)
        except VmkitError:
            pass
        finally:
            device.close()
        assert time.monotonic() - begun < 60, patches
    return done


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=8192), st.sampled_from([b"", b"QFI\xfb", b"XFSB", b"LABELONE", b"EFI PART"]))
def test_noise_is_no_disk_and_no_crash(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, magic: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "disk"
    path.write_bytes(magic + noise + b"\x55\xaa")
    try:
        facts = inspect_source(path, limits=LIMITS)
    except EvidenceError:
        return
    assert facts.os is None


def test_a_file_that_claims_exabytes_costs_nothing(folder: Path, tmp_path: Path) -> None:
    """The size field of a small file is set to 2^62: reading stops at the limit, walking is not slowed."""
    image = build_ext4(tmp_path / "disk", folder, size="4M", options=("-b", "1024", "-O", "^metadata_csum"))
    device = FileDevice(image)
    layout = read_layout([Image(image, "raw", device)])
    assert layout.volumes[0].files is not None
    node = layout.volumes[0].files.children(layout.volumes[0].files.root)["large"].node
    raw = bytearray(image.read_bytes())
    wanted = struct.pack("<I", 70_000)
    found = [
        at
        for at in range(0, len(raw) - 200, 128)
        if raw[at + 4 : at + 8] == wanted and raw[at : at + 2] == b"\xa4\x81"
    ]
    assert found, f"inode {node} was not found"
    patched = Patched(device, {found[0] + 108: struct.pack("<I", 2**30)})
    tree = assemble(read_layout([Image(image, "raw", patched)]).volumes, limits=LIMITS).tree
    assert tree is not None
    begun = time.monotonic()
    data = tree.read_bytes("/large", limit=2**20)
    assert data is not None
    assert data[:70_000] == b"y" * 70_000
    assert len(data) == 2**20
    assert time.monotonic() - begun < 5
    device.close()
