"""btrfs: what is read is what was written, in every subvolume and however it is packed."""

from __future__ import annotations

import hashlib
import lzma
import struct
from pathlib import Path

import pytest

from tests.migrate.disk.test_images import content, digest_of  # noqa: F401 - a fixture
from tests.migrate.guests import Patched, build_btrfs
from vmkit.errors import DamagedImage, EvidenceError
from vmkit.migrate.disk.btrfs import BtrfsVolume
from vmkit.migrate.disk.device import FileDevice
from vmkit.migrate.disk.image import open_image
from vmkit.migrate.disk.volumes import read_layout
from vmkit.migrate.source import inspect_source, open_source

# Made with mkfs.btrfs 6.2 on Linux 6.18 as Fedora's installer does: subvolumes "root" (with another, "nested", in it)
# and "home"; files written with compress-force zlib, zstd, lzo and none, a sparse one, a hard link, 700 names.
PACKED = Path(__file__).parents[2] / "data" / "migrate" / "fedora-btrfs.img.xz"
TEXT = b"".join(b"line %d of text\n" % number for number in range(40000))


@pytest.fixture(scope="module")
def fedora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tmp_path_factory.mktemp("btrfs") / "disk.raw"
    with lzma.open(PACKED) as packed, image.open("wb") as plain:
        while piece := packed.read(2**20):
            if piece.strip(b"\0"):
                plain.write(piece)
            else:
                plain.seek(len(piece), 1)
        plain.truncate(120 * 2**20)
    return image


@pytest.mark.parametrize("options", [(), ("-n", "4096", "-s", "4096"), ("--mixed",), ("-m", "single")])
def test_every_form_of_btrfs_reads_as_written(options: tuple[str, ...], content: Path, tmp_path: Path) -> None:  # noqa: F811
    image = build_btrfs(tmp_path / "disk.img", content, options=options)
    [volume] = read_layout([open_image(image)]).volumes
    assert volume.files is not None, volume.problem
    digest_of(volume.files, content)


def test_a_fedora_is_mounted_from_its_subvolumes(fedora: Path) -> None:
    with open_source(fedora) as opened:
        tree = opened.tree
        assert tree is not None
        assert (
            tree.read_text("/etc/os-release", limit=100)
            == 'ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42"\n'
        )
        assert tree.names("/home") == ["alice", "zstd"]
        assert tree.read_bytes("/nested/in") == b"in\n"
        assert len(tree.names("/many")) == 700
        owner = tree.stat("/home/alice")
        assert owner is not None
        assert (owner.mode, owner.uid, owner.gid) == (0o4755, 998, 997)
    facts = inspect_source(fedora)
    assert facts.os is not None
    assert (facts.os.id, facts.os.family) == ("fedora", "rhel")


@pytest.mark.parametrize("name", ["zlib", "zstd", "hard", "plain", "sparse"])
def test_files_come_back_however_they_are_stored(name: str, fedora: Path) -> None:
    expected = {"plain": TEXT[:50000], "sparse": bytes(3_000_000) + b"end"}.get(name, TEXT)
    with open_source(fedora) as opened:
        assert opened.tree is not None
        place = opened.tree.locate(f"/{name}")
        assert place is not None
        found = b"".join(opened.tree.pieces(place))
        assert hashlib.sha256(found).digest() == hashlib.sha256(expected).digest()
        for offset in (0, 4095, 131_072 - 10, 262_144, len(expected) - 5):
            assert place.volume.read(place.node, offset, 5000) == expected[offset : offset + 5000]


def test_what_is_packed_with_lzo_is_said_and_not_guessed(fedora: Path) -> None:
    volume = BtrfsVolume(FileDevice(fedora))
    with pytest.raises(EvidenceError, match="LZO"):
        volume.read(volume.children(volume.root)["lzo"].node, 0, 100)


def test_a_subvolume_is_found_by_name_and_by_number_and_nothing_else_is(fedora: Path) -> None:
    volume = BtrfsVolume(FileDevice(fedora))
    for options in (("subvol=home",), ("rw", "subvol=/home", "compress=zstd:1"), ("subvolid=257",)):
        found = volume.subvolume(options)
        assert found is not None
        assert sorted(found.children(found.root)) == ["alice", "zstd"]
    nested = volume.subvolume(("subvol=/root/nested",))
    assert nested is not None
    assert list(nested.children(nested.root)) == ["in"]
    for options in (("subvol=missing",), ("subvol=root/etc",), ("subvolid=99",), ("defaults",), ()):
        assert volume.subvolume(options) is None


def test_an_address_on_another_device_is_said(fedora: Path) -> None:
    """The number of this device is changed in the superblock: no chunk lies on it any more."""
    device = Patched(FileDevice(fedora), {0x10000 + 201: struct.pack("<Q", 2)})
    with pytest.raises(DamagedImage, match="on no device that was given"):
        BtrfsVolume(device)


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (148, struct.pack("<I", 3), "makes no sense"), (198, b"\x09", "makes no sense"),
        (188, struct.pack("<Q", 1 << 40), "features of btrfs"), (64, b"x", "not a btrfs"),
        (80, struct.pack("<Q", 2**60), "on no device"),
    ],
)  # fmt: skip
def test_a_superblock_that_lies_is_refused_with_its_reason(
    offset: int, value: bytes, says: str, fedora: Path
) -> None:
    with pytest.raises(EvidenceError, match=says):
        BtrfsVolume(Patched(FileDevice(fedora), {0x10000 + offset: value}))
