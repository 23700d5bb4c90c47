"""Disk images, partition tables and file systems: what is read is what was written, whatever is around it."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
from pathlib import Path

import pytest

from tests.migrate.guests import Patched, build_ext4, build_xfs, convert, need, write_files, write_gpt
from vmkit.errors import DamagedImage, EvidenceError
from vmkit.migrate.disk.device import FileDevice, Segments, Slice
from vmkit.migrate.disk.image import Image, open_image
from vmkit.migrate.disk.partitions import read_table
from vmkit.migrate.disk.qcow2 import Qcow2Device
from vmkit.migrate.disk.volumes import disk_name, read_layout
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind, Volume

MANY = 1200


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what file systems find hard: many names, a long link, a large file, a sparse one, a bad name."""
    folder = tmp_path_factory.mktemp("content")
    write_files(folder, {f"/many/a-rather-long-name-{number}": str(number) for number in range(MANY)})
    (folder / "large").write_bytes(random.Random(1).randbytes(3_000_000))
    with (folder / "sparse").open("wb") as file:
        file.seek(6_000_000)
        file.write(b"end")
    (folder / "short-link").symlink_to("large")
    (folder / "long-link").symlink_to("../" * 40 + "large")
    (folder / "bad\nname").write_text("x")
    (folder / "tiny").write_text("tiny")
    (folder / "deep" / "er").mkdir(parents=True)
    return folder


def digest_of(volume: Volume, content: Path) -> None:
    """Compares a volume with the folder that it was made from."""
    tree = Tree(volume)
    for path in sorted(content.rglob("*")):
        place = "/" + str(path.relative_to(content))
        if path.is_symlink():
            assert tree.link_target(place) == str(path.readlink())
        elif path.is_dir():
            assert tree.is_directory(place)
            assert tree.names(place) == sorted(one.name for one in path.iterdir())
        else:
            location = tree.locate(place)
            assert location is not None, place
            found = hashlib.sha256()
            for piece in tree.pieces(location):
                found.update(piece)
            assert found.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest(), place
    assert tree.problems == []


EXT4_KINDS = {
    "ext4": (),
    "small-blocks": ("-b", "1024"),
    "ext2": ("-O", "^extents,^has_journal,^64bit,^flex_bg"),
    "inline": ("-O", "inline_data", "-I", "256"),
    "meta-bg": ("-O", "meta_bg,^resize_inode", "-b", "1024"),
}


@pytest.mark.parametrize("kind", EXT4_KINDS)
def test_every_form_of_ext4_reads_as_written(kind: str, content: Path, tmp_path: Path) -> None:
    image = build_ext4(tmp_path / "disk.img", content, size="40M", options=EXT4_KINDS[kind])
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None, volume.problem
    # mke2fs adds a folder of its own.
    (content / "lost+found").mkdir(exist_ok=True)
    digest_of(volume.files, content)
    (content / "lost+found").rmdir()


@pytest.mark.parametrize(
    "options",
    [(), ("-m", "crc=0"), ("-b", "size=1024", "-n", "size=8192"), ("-i", "nrext64=0,size=1024")],
    ids=["v5", "v4", "small-blocks", "large-inodes"],
)
def test_every_form_of_xfs_reads_as_written(options: tuple[str, ...], content: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for path in content.rglob("*"):
        if path.name == "bad\nname":  # a prototype file has one name a line
            continue
        target = plain / path.relative_to(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    image = build_xfs(tmp_path / "disk.img", plain, options=options)
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None, volume.problem
    digest_of(volume.files, plain)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("qcow2", ()),
        ("qcow2", ("-c",)),
        ("qcow2", ("-c", "-o", "compression_type=zstd")),
        ("qcow2", ("-o", "compat=0.10")),
        ("qcow2", ("-o", "extended_l2=on,cluster_size=128k")),
        ("qcow2", ("-c", "-o", "cluster_size=4k")),
        ("vmdk", ()),
        ("vpc", ()),
        ("vhdx", ()),
        ("vdi", ()),
    ],
)
def test_every_image_format_gives_the_same_bytes(kind: str, options: tuple[str, ...], tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    source = random.Random(2)
    with raw.open("wb") as file:
        for number in range(40):
            file.seek(number * 211_111)
            file.write(source.randbytes(5000) + b"text " * 3000)
        file.truncate(9 * 2**20)
    image = open_image(convert(raw, tmp_path / "disk.img", kind, *options))
    try:
        assert image.format == kind
        expected = raw.read_bytes()
        size = image.device.size
        assert size >= len(expected)
        for offset in range(0, len(expected), 777_777):
            count = min(100_001, len(expected) - offset)
            assert image.device.read(offset, count) == expected[offset : offset + count]
        assert image.device.read(0, len(expected)) == expected
    finally:
        image.close()


def test_a_backing_file_is_followed_only_when_asked(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"below" * 50_000)
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(
        [need("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", str(overlay)],
        check=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    with pytest.raises(EvidenceError, match=r"overlay of another file, 'base\.raw'"):
        open_image(overlay)
    image = open_image(overlay, follow_backing=True)
    assert image.device.read(0, 10) == b"belowbelow"
    assert image.backing == (str(base),)
    image.close()


def test_a_raw_disk_that_pretends_to_be_qcow2_can_be_declared_raw(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"QFI\xfb" + bytes(2**20))
    with pytest.raises(DamagedImage):
        open_image(disk)
    image = open_image(disk, declared_format="raw")
    assert image.format == "raw"
    image.close()


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (20, struct.pack(">I", 40), "impossible cluster size"),
        (24, struct.pack(">Q", 2**60), "impossible virtual size"),
        (32, struct.pack(">I", 1), r"encrypted \(AES\)"),
        (32, struct.pack(">I", 2), r"encrypted \(LUKS\)"),
        (36, struct.pack(">I", 0), "first-level table"),
        (40, struct.pack(">Q", 2**50), "outside of its"),
        (72, struct.pack(">Q", 2), "marked as corrupt"),
        (72, struct.pack(">Q", 4), "data in another file"),
        (72, struct.pack(">Q", 1 << 40), "features that vmkit does not know"),
        (4, struct.pack(">I", 9), "version 9"),
    ],
)
def test_a_qcow2_header_that_lies_is_refused_with_its_reason(
    offset: int, value: bytes, says: str, tmp_path: Path
) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(2**20))
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2")
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    device = FileDevice(image)
    with pytest.raises(EvidenceError, match=says):
        Qcow2Device(device)
    device.close()


# --- partition tables ----------------------------------------------------------------------------------------


@pytest.fixture
def two_parts(tmp_path: Path) -> list[Path]:
    parts = []
    for name in ("root", "data"):
        part = tmp_path / f"{name}.img"
        folder = write_files(
            tmp_path / name, {"/name": name, "/etc/os-release": "ID=x\n"} if name == "root" else {"/name": name}
        )
        parts.append(build_ext4(part, folder, size="4M", options=("-L", name)))
    return parts


def test_gpt_partitions_are_found_with_their_names(two_parts: list[Path], tmp_path: Path) -> None:
    layout = read_layout([open_image(write_gpt(tmp_path / "disk", two_parts, names=["first", "second"]))])
    assert layout.tables[0].scheme == "gpt"
    assert [(one.name, one.label, one.partition and one.partition.name) for one in layout.volumes] == [
        ("vda1", "root", "first"),
        ("vda2", "data", "second"),
    ]
    layout.close()


def test_the_second_copy_of_a_gpt_stands_in_for_a_damaged_first(two_parts: list[Path], tmp_path: Path) -> None:
    disk = write_gpt(tmp_path / "disk", two_parts)
    with disk.open("r+b") as file:
        file.seek(512 + 40)
        file.write(b"\xff" * 16)
    device = FileDevice(disk)
    table = read_table(device)
    assert len(table.partitions) == 2
    assert table.notes == ("the first partition table is damaged",)
    device.close()


def mbr(entries: list[tuple[int, int, int]]) -> bytes:
    table = b"".join(
        struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), start, count) for kind, start, count in entries
    )
    return (bytes(440) + b"\x78\x56\x34\x12\0\0" + table).ljust(510, b"\0") + b"\x55\xaa"


def test_mbr_partitions_and_the_chain_of_logical_ones(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(10_000 * 512)
        file.write(mbr([(0x83, 63, 100), (0x05, 1000, 5000)]))
        file.seek(1000 * 512)
        file.write(mbr([(0x83, 10, 200), (0x05, 500, 400)]))
        file.seek(1500 * 512)
        file.write(mbr([(0x82, 10, 300)]))
    device = FileDevice(disk)
    found = read_table(device)
    assert found.scheme == "mbr"
    assert [(one.number, one.offset // 512, one.size // 512, one.kind) for one in found.partitions] == [
        (1, 63, 100, "Linux"),
        (5, 1010, 200, "Linux"),
        (6, 1510, 300, "Linux swap"),
    ]
    assert found.partitions[0].uuid == "12345678-01"
    device.close()


def test_a_chain_of_logical_partitions_that_loops_ends(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(10_000 * 512)
        file.write(mbr([(0x05, 1000, 5000)]))
        file.seek(1000 * 512)
        file.write(mbr([(0x83, 10, 20), (0x05, 500, 400)]))
        file.seek(1500 * 512)
        file.write(mbr([(0x83, 10, 20), (0x05, 500, 400)]))
    device = FileDevice(disk)
    found = read_table(device)
    assert [one.number for one in found.partitions] == [5, 6]
    assert found.notes == ("the chain of logical partitions is broken",)
    device.close()


def test_partitions_behind_the_end_of_the_disk_are_left_out_with_a_note(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(mbr([(0x83, 63, 100), (0x83, 200, 2**31)]) + bytes(1000 * 512))
    device = FileDevice(disk)
    found = read_table(device)
    assert [one.number for one in found.partitions] == [1]
    assert found.notes
    device.close()


def test_disks_are_named_as_virtio_names_them() -> None:
    assert [disk_name(0), disk_name(1, 2), disk_name(25), disk_name(26), disk_name(27, 1)] == [
        "vda", "vdb2", "vdz", "vdaa", "vdab1",
    ]  # fmt: skip


# --- the journal ---------------------------------------------------------------------------------------------


def test_what_stands_only_in_the_journal_is_read(tmp_path: Path) -> None:
    """A disk copied from a running VM: the newest directory block was committed to the journal and not yet home."""
    debugfs = need("debugfs", "e2fsprogs")
    folder = write_files(tmp_path / "content", {"/file": "old content", "/other": "x"})
    image = build_ext4(tmp_path / "disk.img", folder, size="16M", options=("-b", "4096"))

    def run(*commands: str) -> str:
        script = tmp_path / "commands"
        script.write_text("\n".join(commands) + "\n")
        done = subprocess.run(
            [debugfs, "-w", "-f", str(script), str(image)], check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    block = int(run("bmap /file 0").splitlines()[-1])
    newer = tmp_path / "newer"
    newer.write_bytes(b"new content".ljust(4096, b"\0"))
    run("jo", f"jw -b {block} {newer}", "jc")
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None
    assert volume.files.notes == ("it was not unmounted; its journal was replayed in memory",)
    assert Tree(volume.files).read_text("/file") == "new content"
    assert image.read_bytes()[block * 4096 :][:11] == b"old content", "reading must not write"


def test_a_revoked_block_does_not_come_back(tmp_path: Path) -> None:
    debugfs = need("debugfs", "e2fsprogs")
    folder = write_files(tmp_path / "content", {"/file": "old content"})
    image = build_ext4(tmp_path / "disk.img", folder, size="16M", options=("-b", "4096"))
    script = tmp_path / "commands"
    script.write_text("bmap /file 0\n")
    listed = subprocess.run(
        [debugfs, "-f", str(script), str(image)], check=True, capture_output=True, text=True, timeout=60
    )
    block = int(listed.stdout.splitlines()[-1])
    newer = tmp_path / "newer"
    newer.write_bytes(b"new content".ljust(4096, b"\0"))
    script.write_text(f"jo\njw -b {block} {newer}\njw -r {block}\njc\n")
    subprocess.run([debugfs, "-w", "-f", str(script), str(image)], check=True, capture_output=True, timeout=60)
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None
    assert Tree(volume.files).read_text("/file") == "old content"


# --- devices -------------------------------------------------------------------------------------------------


def test_segments_read_across_their_borders(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    device = FileDevice(path)
    joined = Segments([(device, 100, 20), (device, 0, 5), (device, 50, 10)])
    assert joined.size == 35
    assert joined.read(15, 15) == bytes([115, 116, 117, 118, 119, 0, 1, 2, 3, 4, 50, 51, 52, 53, 54])
    with pytest.raises(DamagedImage):
        joined.read(30, 6)
    with pytest.raises(DamagedImage):
        Slice(device, 190, 20)
    device.close()


def test_kinds_and_attributes_survive(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "content", {"/run.sh": "#!/bin/sh\n"})
    (folder / "run.sh").chmod(0o4755)
    image = build_ext4(tmp_path / "disk.img", folder)
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None
    stat = Tree(volume.files).stat("/run.sh")
    assert stat is not None
    assert (stat.kind, stat.mode, stat.size, stat.links) == (Kind.FILE, 0o4755, 10, 1)
    assert stat.uid == (folder / "run.sh").stat().st_uid
    assert abs(stat.modified - (folder / "run.sh").stat().st_mtime) < 2


def test_qemu_agrees_about_a_real_qcow2(tmp_path: Path) -> None:
    """The size that qemu-img reports is the size that is read."""
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"x" * 1_234_432)
    image = convert(raw, tmp_path / "disk.qcow2", "qcow2", "-c")
    said = json.loads(
        subprocess.run(
            [need("qemu-img", "qemu-utils"), "info", "--output=json", str(image)],
            check=True, capture_output=True, timeout=60,
        ).stdout
    )  # fmt: skip
    opened = open_image(image)
    assert opened.device.size == said["virtual-size"]
    opened.close()


# --- the log of XFS ------------------------------------------------------------------------------------------


def test_an_xfs_that_was_not_unmounted_says_what_may_be_missing(tmp_path: Path) -> None:
    """Its log is not replayed; a file system copied from a running VM may look empty, and must not pass for it."""
    folder = write_files(tmp_path / "content", {"/file": "x"})
    image = build_xfs(tmp_path / "disk.img", folder)
    device = FileDevice(image)
    superblock = device.read(0, 512)
    block, group_blocks = struct.unpack_from(">I", superblock, 4)[0], struct.unpack_from(">I", superblock, 84)[0]
    start = struct.unpack_from(">Q", superblock, 48)[0]
    group, inside = start >> superblock[124], start & ((1 << superblock[124]) - 1)
    record = (group * group_blocks + inside) * block
    assert device.read(record, 4) == b"\xfe\xed\xba\xbe"
    assert device.read(record + 512 + 9, 1) == b"\x20", "mkfs leaves a log that says unmounted"
    [clean] = read_layout([Image(image, "raw", device)]).volumes
    assert clean.files is not None
    assert clean.files.notes == ()
    [dirty] = read_layout([Image(image, "raw", Patched(device, {record + 512 + 9: b"\0"}))]).volumes
    assert dirty.files is not None
    [note] = dirty.files.notes
    assert "its log is not replayed" in note
    device.close()
