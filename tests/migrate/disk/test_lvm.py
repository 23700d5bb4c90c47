"""LVM: volumes come out as they were put together, over one disk or several."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.migrate.guests import build_ext4, write_files
from vmkit.errors import DamagedImage
from vmkit.migrate.disk.device import FileDevice
from vmkit.migrate.disk.image import open_image
from vmkit.migrate.disk.lvm import parse_metadata, read_groups
from vmkit.migrate.disk.volumes import read_layout
from vmkit.migrate.source import inspect_source
from vmkit.migrate.tree.rooted import Tree

EXTENT = 64 * 1024  # LVM's default is 4 MiB; small ones keep the disks of tests small
START = 1024 * 1024
MDA = 4096
MDA_SIZE = 512 * 1024


def identifier(number: int) -> str:
    return f"{number:032d}"


def dashed(text: str) -> str:
    return "-".join((text[:6], text[6:10], text[10:14], text[14:18], text[18:22], text[22:26], text[26:]))


def metadata(physical: Sequence[str], logical: Mapping[str, str]) -> str:
    volumes = "\n".join(
        f'pv{index} {{ id = "{dashed(one)}" device = "/dev/vda" status = ["ALLOCATABLE"] pe_start = {START // 512} '
        f"pe_count = 100 }}"
        for index, one in enumerate(physical)
    )
    logicals = "\n".join(
        f'{name} {{ id = "x" status = ["READ", "WRITE", "VISIBLE"] {body} }}' for name, body in logical.items()
    )
    return (
        f'vg0 {{\n# a comment\nid = "abc" seqno = 3 format = "lvm2"\nstatus = ["RESIZEABLE", "READ", "WRITE"]\n'
        f"extent_size = {EXTENT // 512}\nphysical_volumes {{\n{volumes}\n}}\nlogical_volumes {{\n{logicals}\n}}\n}}\n"
        'contents = "Text Format Volume Group"\nversion = 1\ncreation_time = 1700000000\n'
    )


def write_physical(
    path: Path, number: int, text: str, extents: Mapping[int, bytes], *, wrap: bool = False
) -> Path:
    size = START + 100 * EXTENT
    with path.open("wb") as file:
        file.truncate(size)
        label = struct.pack("<8sQII8s", b"LABELONE", 1, 0, 32, b"LVM2 001")
        header = identifier(number).encode() + struct.pack("<Q", size)
        header += struct.pack("<QQQQ", START, 0, 0, 0) + struct.pack("<QQQQ", MDA, MDA_SIZE, 0, 0)
        file.seek(512)
        file.write(label + header)
        raw = text.encode()
        # The metadata area is a ring: late versions may begin near its end.
        offset = MDA_SIZE - 100 if wrap else 512
        file.seek(MDA)
        magic = b"\x20\x4c\x56\x4d\x32\x20\x78\x5b\x35\x41\x25\x72\x30\x4e\x2a\x3e"
        file.write(
            struct.pack("<I16sIQQ", 0, magic, 1, MDA, MDA_SIZE) + struct.pack("<QQII", offset, len(raw), 0, 0)
        )
        file.seek(MDA + offset)
        first = raw[: MDA_SIZE - offset]
        file.write(first)
        file.seek(MDA + 512)
        file.write(raw[len(first) :])
        for index, data in extents.items():
            file.seek(START + index * EXTENT)
            file.write(data)
    return path


LINEAR = (
    'segment_count = 2 segment1 { start_extent = 0 extent_count = 2 type = "striped" stripe_count = 1 '
    'stripes = ["pv0", 4] } segment2 { start_extent = 2 extent_count = 1 type = "striped" stripe_count = 1 '
    'stripes = ["pv0", 1] }'
)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_linear_volume_in_pieces(wrap: bool, tmp_path: Path) -> None:
    text = metadata([identifier(1)], {"data": LINEAR})
    path = write_physical(
        tmp_path / "disk", 1, text, {1: b"C" * EXTENT, 4: b"A" * EXTENT, 5: b"B" * EXTENT}, wrap=wrap
    )
    device = FileDevice(path)
    [volume] = read_groups([device])
    assert (volume.group, volume.name, volume.problem) == ("vg0", "data", "")
    assert volume.device is not None
    assert volume.device.size == 3 * EXTENT
    assert volume.device.read(0, 3 * EXTENT) == b"A" * EXTENT + b"B" * EXTENT + b"C" * EXTENT
    device.close()


def test_stripes_over_two_disks(tmp_path: Path) -> None:
    body = (
        'segment_count = 1 segment1 { start_extent = 0 extent_count = 2 type = "striped" stripe_count = 2 '
        'stripe_size = 8 stripes = ["pv0", 0, "pv1", 3] }'
    )
    text = metadata([identifier(1), identifier(2)], {"striped": body})
    first = FileDevice(write_physical(tmp_path / "one", 1, text, {0: b"1" * EXTENT}))
    second = FileDevice(write_physical(tmp_path / "two", 2, text, {3: b"2" * EXTENT}))
    [volume] = read_groups([first, second])
    assert volume.device is not None
    assert volume.device.read(0, 3 * 4096) == b"1" * 4096 + b"2" * 4096 + b"1" * 4096
    [alone] = read_groups([first])
    assert alone.device is None
    assert alone.problem == "a physical volume of it is on a disk that was not given"
    first.close()
    second.close()


@pytest.mark.parametrize("kind", ["thin", "raid1", "cache"])
def test_kinds_that_need_the_kernel_say_so(kind: str, tmp_path: Path) -> None:
    body = f'segment_count = 1 segment1 {{ start_extent = 0 extent_count = 2 type = "{kind}" }}'
    device = FileDevice(write_physical(tmp_path / "disk", 1, metadata([identifier(1)], {"v": body}), {}))
    [volume] = read_groups([device])
    assert volume.problem == f"volumes of type '{kind}' cannot be read without the kernel"
    device.close()


@pytest.mark.parametrize(
    "text",
    [
        "vg { ",
        "vg } ",
        "vg = [1, ",
        "vg",
        "{ }",
        'vg { a = "x }',
        "a = {",
        "a { " * 20 + "} " * 20,
        "a ; b",
        "= 1",
    ],
)
def test_broken_metadata_is_damage(text: str) -> None:
    with pytest.raises(DamagedImage):
        parse_metadata(text)


def test_metadata_keeps_texts_numbers_and_lists() -> None:
    assert parse_metadata('a { b = 1 c = -2.5 d = "x \\"y\\"" e = ["p", 3] f = [] }') == {
        "a": {"b": 1, "c": -2.5, "d": 'x "y"', "e": ["p", 3], "f": []}
    }


def test_a_root_on_lvm_is_inspected(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "root", {"/etc/os-release": "ID=rocky\nID_LIKE=rhel\n", "/etc/hostname": "db\n"}
    )
    image = build_ext4(tmp_path / "ext4", folder, size="4M").read_bytes()
    body = (
        f'segment_count = 1 segment1 {{ start_extent = 0 extent_count = {len(image) // EXTENT} type = "striped" '
        'stripe_count = 1 stripes = ["pv0", 0] }'
    )
    disk = write_physical(tmp_path / "disk", 1, metadata([identifier(1)], {"ro-ot": body}), {0: image})
    layout = read_layout([open_image(disk)])
    assert [(one.name, one.signature) for one in layout.volumes] == [("vda", "LVM2_member"), ("vg0/ro-ot", "ext4")]
    assert layout.volumes[1].files is not None
    assert Tree(layout.volumes[1].files).read_text("/etc/hostname") == "db\n"
    layout.close()
    facts = inspect_source(disk)
    assert facts.os is not None
    assert (facts.os.family, facts.os.hostname) == ("rhel", "db")
