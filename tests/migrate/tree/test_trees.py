"""One rooted view: links stay inside, whatever they say; limits hold; a folder and a tar look alike."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.migrate.guests import F, Files, Link, MemoryVolume, need, tree_of, write_files
from vmkit.errors import DamagedImage, EvidenceError
from vmkit.migrate.disk.partitions import Partition
from vmkit.migrate.disk.volumes import DiskVolume
from vmkit.migrate.tree.assemble import assemble
from vmkit.migrate.tree.directory import DirectoryVolume
from vmkit.migrate.tree.fstab import find_by_order, find_volume, parse_fstab
from vmkit.migrate.tree.rooted import Limits, Tree
from vmkit.migrate.tree.tar import TarVolume, is_tar
from vmkit.migrate.tree.volume import Kind


def test_links_are_resolved_inside_the_root() -> None:
    tree = tree_of(
        {
            "/etc/passwd": "guest",
            "/a": Link("/etc"),
            "/b": Link("../../../../etc/passwd"),
            "/c/d": Link("../a/passwd"),
            "/e": Link("/nowhere"),
        }
    )
    assert tree.read_text("/a/passwd") == "guest"
    assert tree.read_text("/b") == "guest"
    assert tree.read_text("/c/d") == "guest"
    assert tree.real_path("/c/d") == "/etc/passwd"
    assert tree.kind("/e") is None
    assert tree.link_target("/e") == "/nowhere"
    assert tree.read_text("/../../etc/passwd") == "guest"


def test_links_that_loop_lead_nowhere() -> None:
    tree = tree_of({"/a": Link("b"), "/b": Link("a"), "/c": Link("c/c/c"), "/d/e": Link(".")})
    assert tree.kind("/a") is None
    assert tree.kind("/c") is None
    assert tree.is_directory("/d/e/e/e")


@given(st.lists(st.sampled_from(["..", "a", "b", "l", ".", "", "x"]), max_size=12))
def test_no_path_leaves_the_root(parts: list[str]) -> None:
    tree = tree_of({"/a/b/l": Link("/a/../.."), "/a/x": "1", "/l": Link("../..")})
    found = tree.locate("/" + "/".join(parts))
    assert found is None or found.path.startswith("/")
    assert found is None or ".." not in found.path.split("/")


def test_a_walk_meets_links_and_never_follows_them() -> None:
    tree = tree_of({"/a/file": "1", "/b": Link("/a"), "/a/up": Link("..")})
    assert sorted((one.path, one.kind) for one in tree.walk()) == [
        ("/a", Kind.DIRECTORY),
        ("/a/file", Kind.FILE),
        ("/a/up", Kind.SYMLINK),
        ("/b", Kind.SYMLINK),
    ]


def test_a_walk_ends_at_its_limits_and_says_so() -> None:
    tree = tree_of({f"/many/{number}": "" for number in range(100)}, limits=Limits(entries=10))
    assert len(list(tree.walk())) == 10
    assert tree.problems == ["more than 10 files: the rest was not looked at"]
    deep = tree_of({"/" + "/".join(["d"] * 30): ""}, limits=Limits(depth=5))
    assert len(list(deep.walk())) == 5
    assert deep.problems == ["/d/d/d/d/d: too many directories below each other"]


def test_directories_that_contain_themselves_are_entered_once() -> None:
    volume = MemoryVolume({"/a/file": "1"})
    volume._children["/a"]["again"] = volume._children["/"]["a"]
    tree = Tree(volume)
    assert [one.path for one in tree.walk()] == ["/a", "/a/file", "/a/again"]
    assert tree.problems == ["/a/again: a directory that was met before"]


def test_time_and_bytes_are_limited() -> None:
    seconds = iter(range(0, 1000, 10))
    tree = Tree(MemoryVolume({"/a/b": "1"}), limits=Limits(seconds=15), clock=lambda: float(next(seconds)))
    with pytest.raises(EvidenceError, match="longer than 15 s"):
        for _ in range(10):
            tree.names("/a")
            list(tree.walk())
    greedy = tree_of({f"/{number}": "x" * 100 for number in range(10)}, limits=Limits(total_bytes=250))
    with pytest.raises(EvidenceError, match="more than 250 bytes"):
        for number in range(10):
            greedy.read_bytes(f"/{number}")


def test_only_regular_files_have_content() -> None:
    tree = tree_of({"/pipe": F(kind=Kind.FIFO), "/disk": F(kind=Kind.BLOCK_DEVICE), "/file": "x"})
    assert tree.read_bytes("/pipe") is None
    assert tree.read_bytes("/disk") is None
    assert tree.files("/") == ["/file"]


def test_text_that_is_not_utf8_shows_as_escapes() -> None:
    assert tree_of({"/a": b"caf\xe9"}).read_text("/a") == "caf\\xe9"


# --- a folder ------------------------------------------------------------------------------------------------


def test_a_folder_never_leads_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret of the host")
    root = write_files(
        tmp_path / "root", {"/etc/name": "guest", "/abs": Link(str(outside)), "/rel": Link("../outside")}
    )
    (root / "pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(root / "pipe")
    tree = Tree(DirectoryVolume(root))
    assert tree.read_text("/etc/name") == "guest"
    assert tree.read_text("/abs") is None
    assert tree.read_text("/rel") is None
    begun = time.monotonic()
    assert tree.read_text("/pipe") is None
    assert time.monotonic() - begun < 1, "a pipe must not be waited for"


def test_a_folder_that_changes_into_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"/file": "host"})
    root = write_files(tmp_path / "root", {"/sub/file": "guest"})
    volume = DirectoryVolume(root)
    node = volume.children("sub")["file"].node
    (root / "sub" / "file").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(EvidenceError):
        volume.read(node, 0, 10)
    with pytest.raises(EvidenceError):
        volume.children("sub")
    volume.close()


@pytest.fixture
def opened() -> Iterator[Callable[[Path], TarVolume]]:
    """Opens tars, and closes them afterwards."""
    volumes: list[TarVolume] = []

    def open_tar(path: Path) -> TarVolume:
        volumes.append(TarVolume(path))
        return volumes[-1]

    yield open_tar
    for one in volumes:
        one.close()


# --- a tar ---------------------------------------------------------------------------------------------------


def tar_of(path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return path


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_reads_like_the_folder_it_was(
    mode: str, opened: Callable[[Path], TarVolume], tmp_path: Path
) -> None:
    root = write_files(tmp_path / "root", {"/etc/name": "guest", "/link": Link("etc/name"), "/big": "x" * 100_000})
    os.link(root / "big", root / "hard")
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, mode) as file:  # type: ignore[call-overload]
        file.add(root, arcname=".")
    assert is_tar(archive)
    tree = Tree(opened(archive))
    folder = Tree(DirectoryVolume(root))
    assert tree.names("/") == folder.names("/")
    for path in ("/etc/name", "/link", "/big", "/hard"):
        assert tree.read_bytes(path) == folder.read_bytes(path)
        assert tree.is_file(path)


def test_members_that_would_leave_the_root_are_left_out_and_counted(
    opened: Callable[[Path], TarVolume], tmp_path: Path
) -> None:
    archive = tar_of(
        tmp_path / "evil.tar",
        [
            ("../../etc/cron.d/evil", b"* * * * * root evil"),
            ("/absolute", b"inside"),
            member("hard", tarfile.LNKTYPE, "../../etc/shadow"),
            member("ring1", tarfile.LNKTYPE, "ring2"),
            member("ring2", tarfile.LNKTYPE, "ring1"),
            member("etc", tarfile.SYMTYPE, "/tmp"),
            ("etc/passwd", b"through a link"),
            member("disk", tarfile.BLKTYPE),
        ],
    )
    volume = opened(archive)
    tree = Tree(volume)
    assert volume.notes == ("1 members of the tar have impossible names or kinds and are left out",)
    assert tree.read_text("/absolute") == "inside"
    assert tree.read_text("/hard") is None
    assert tree.read_text("/ring1") is None
    assert tree.read_text("/disk") is None
    assert len(tree.problems) == 2


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo("zeros")
    info.size = 50 * 2**20
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        file.write(info.tobuf())
        for _ in range(50):
            file.write(bytes(2**20))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(EvidenceError, match="unpacks to more than"):
        TarVolume(bomb, max_unpacked_bytes=10 * 2**20)


def test_an_extended_header_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 5 * 2**30
    path = tmp_path / "pax.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(6 * 2**30)
    with pytest.raises(DamagedImage, match="claims 5368709120 bytes"):
        TarVolume(path)


def test_a_tar_that_ends_early_says_so(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", [("a", b"1" * 5000), ("b", b"2" * 5000)])
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:7000])
    with pytest.raises(DamagedImage):
        TarVolume(cut)
    assert not is_tar(tmp_path / "nothing")


def test_sparse_members_read_with_their_holes(opened: Callable[[Path], TarVolume], tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    archive = tmp_path / "sparse.tar"
    subprocess.run(
        [need("tar", "tar"), "--sparse", "-cf", str(archive), "-C", str(tmp_path), "sparse"],
        check=True,
        timeout=60,
    )
    assert archive.stat().st_size < 100_000
    tree = Tree(opened(archive))
    assert tree.read_bytes("/sparse") == sparse.read_bytes()


# --- from volumes to one tree --------------------------------------------------------------------------------


def volume(name: str, files: Files, **attributes: object) -> DiskVolume:
    disk, size = int(attributes.pop("disk", 0)), int(attributes.pop("size", 10))  # type: ignore[call-overload]
    return DiskVolume(disk, name, size, "ext4", files=MemoryVolume(files), **attributes)  # type: ignore[arg-type]


def test_volumes_are_mounted_as_fstab_says() -> None:
    root = volume(
        "vda1",
        {
            "/etc/os-release": "ID=debian\n",
            "/etc/fstab": "UUID=AA-1 / ext4\nLABEL=data /srv/data ext4\n/dev/sdb /var/log ext4\n/dev/sdz1 /gone ext4\n",
            "/srv/data/below": "hidden",
            "/var/log/x": "",
        },
        uuid="aa-1",
    )
    data = volume("vdb1", {"/file": "on the second disk", "/up": Link("../../etc/os-release")}, label="data", disk=1,
                  partition=Partition(1, 0, 10, "Linux"))  # fmt: skip
    log = volume("vdb", {"/syslog": "line"}, disk=1)
    found = assemble([root, data, log])
    assert found.tree is not None
    assert found.mount_points == {"vda1": "/", "vdb1": "/srv/data", "vdb": "/var/log"}
    assert found.tree.read_text("/srv/data/file") == "on the second disk"
    assert found.tree.read_text("/srv/data/below") is None
    assert found.tree.read_text("/srv/data/up") == "ID=debian\n"
    assert found.tree.read_text("/var/log/syslog") == "line"
    assert found.notes == (
        "/dev/sdb on /var/log was matched to vdb by the order of the disks",
        "/gone (/dev/sdz1) is on no disk that was given",
    )


def test_the_volume_that_looks_most_like_a_root_is_taken() -> None:
    old = volume("vda3", {"/etc/fstab": "", "/etc/passwd": ""}, size=100)
    new = volume("vda2", {"/usr/lib/os-release": "ID=x\n", "/etc/passwd": ""}, size=10)
    found = assemble([old, new, volume("vda1", {"/grub/grub.cfg": ""})])
    assert found.mount_points == {"vda2": "/"}
    assert found.notes == ("vda2 was taken as the root; vda3 look like root file systems too",)
    assert assemble([volume("vda1", {"/grub/grub.cfg": ""})]).tree is None


def test_fstab_lines() -> None:
    lines = ["# comment", 'UUID="ab" / ext4 rw,noatime 0 1', "//host/a\\040b /mnt/a\\040b cifs", "short", ""]
    assert [(one.source, one.target, one.kind, one.options, one.line) for one in parse_fstab(lines)] == [
        ("UUID=ab", "/", "ext4", ("rw", "noatime"), 2),
        ("//host/a b", "/mnt/a b", "cifs", ("defaults",), 3),
    ]


def test_device_names_are_matched_by_what_they_mean() -> None:
    logical = DiskVolume(-1, "vg-a/root", 1, "ext4")
    first = DiskVolume(0, "vda", 1, "ext4")
    assert find_volume("/dev/mapper/vg--a-root", [first, logical]) is logical
    assert find_volume("/dev/vg-a/root", [first, logical]) is logical
    assert find_volume("/dev/mapper/other", [first, logical]) is None
    assert find_by_order("/dev/nvme0n1", [first]) is first
    assert find_by_order("/dev/sdb", [first]) is None
    assert find_by_order("tmpfs", [first]) is None
