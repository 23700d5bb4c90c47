"""An OCI layout of a guest's root: what others read of it, what must not be in it, the same bytes every time."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.migrate.guests import F, Link, build_ext4, guest, need, tree_of
from vmkit.errors import EvidenceError, Refused
from vmkit.migrate.oci.frozen import Frozen, write_frozen
from vmkit.migrate.oci.layout import ImageConfig, read_layout
from vmkit.migrate.source import open_source

CONFIG = ImageConfig(
    command=["/srv/app/run", "--port", "80"], user="998:997", working_directory="/srv/app", stop_signal="SIGINT",
    ports=[80], environment={"COLOR": "blue"},
)  # fmt: skip
FILES = {
    "/srv/app/run": F("#!/bin/sh\n", mode=0o4755, uid=998, gid=997),
    "/srv/app/current": Link("run"),
    "/srv/app/a b\n\u00e9": "odd",
    "/srv/app/.wh.run": "no whiteout",
    "/srv/app/env": "TOKEN=hunter2",
    "/var/lib/app/data.db": "hunter2",
    "/var/log/app/old.log": "hunter2",
    "/etc/shadow": F("root:$6$hunter2:19000:0:99999:7:::\napp:!:19000::::::\n", mode=0o640, gid=42),
    "/etc/ssh/ssh_host_rsa_key": "hunter2",
    "/etc/machine-id": "hunter2",
    "/root/.bash_history": "hunter2",
    "/home/alice/.ssh/id_rsa": "hunter2",
    "/boot/vmlinuz": "hunter2",
    "/tmp/x": "hunter2",
}


def freeze(tmp_path: Path, name: str = "image") -> tuple[Frozen, Path]:
    target = tmp_path / name
    made = write_frozen(
        tree_of(guest(FILES)), target, CONFIG, secrets=["/srv/app/env"], state=["/var/lib/app"], reference="1.0"
    )
    return made, target


def members(folder: Path) -> dict[str, tarfile.TarInfo]:
    layout = read_layout(folder)
    with tarfile.open(layout.path(layout.layers[0])) as archive:
        return {one.name: one for one in archive}


def test_owners_modes_links_and_names_are_kept(tmp_path: Path) -> None:
    made, target = freeze(tmp_path)
    found = members(target)
    run = found["srv/app/run"]
    assert (run.mode, run.uid, run.gid) == (0o4755, 998, 997)
    assert found["srv/app/current"].linkname == "run"
    assert "srv/app/a b\n\u00e9" in found
    assert made.withheld == ("/srv/app/env",)
    assert made.size_bytes == read_layout(target).layers[0].size


def test_what_is_the_machines_own_secret_or_state_is_not_in_it_but_folders_are(tmp_path: Path) -> None:
    _, target = freeze(tmp_path)
    found = members(target)
    assert {"var/log/app", "var/lib/app", "tmp", "boot", "etc/ssh"} <= set(found)
    layout = read_layout(target)
    with tarfile.open(layout.path(layout.layers[0])) as archive:
        content = {one.name: archive.extractfile(one).read() for one in archive if one.isreg()}  # type: ignore[union-attr]
    assert not [name for name, data in content.items() if b"hunter2" in data]
    assert content["etc/shadow"] == b"root:*:19000:0:99999:7:::\napp:*:19000::::::\n"
    assert not [name for name in content if ".wh." in name]


def test_the_same_guest_gives_the_same_digest(tmp_path: Path) -> None:
    first, one = freeze(tmp_path, "a")
    second, two = freeze(tmp_path, "b")
    assert first == second
    assert (one / "index.json").read_bytes() == (two / "index.json").read_bytes()


def test_other_programs_read_it(tmp_path: Path) -> None:
    made, target = freeze(tmp_path)
    skopeo = need("skopeo", "skopeo")
    done = subprocess.run(
        [skopeo, "inspect", "--config", f"oci:{target}:1.0"], capture_output=True, timeout=60, check=True
    )
    config = json.loads(done.stdout)["config"]
    assert config["Cmd"] == ["/srv/app/run", "--port", "80"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("998:997", "/srv/app", "SIGINT")
    copy = tmp_path / "copy"
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", "-q", f"oci:{target}:1.0", f"dir:{copy}"], timeout=60, check=True
    )
    digest = subprocess.run(
        [skopeo, "manifest-digest", str(copy / "manifest.json")], capture_output=True, timeout=60, check=True
    )
    assert digest.stdout.decode().strip() == made.manifest.digest


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text("ID=debian\n")
    (root / "one").write_bytes(b"x" * 5000)
    (root / "two").hardlink_to(root / "one")
    disk = build_ext4(tmp_path / "disk.raw", root)
    with open_source(disk) as opened:
        assert opened.tree is not None
        write_frozen(opened.tree, tmp_path / "image", CONFIG)
    found = members(tmp_path / "image")
    assert found["one"].size == 5000
    assert (found["two"].islnk(), found["two"].linkname) == (True, "one")


def test_an_image_without_end_is_refused(tmp_path: Path) -> None:
    tree = tree_of(guest({"/srv/huge": F("x", size=2**40)}))
    with pytest.raises(EvidenceError, match="more than they may be"):
        write_frozen(tree, tmp_path / "image", CONFIG, max_bytes=10**6)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(Refused):
        write_frozen(tree_of(guest()), tmp_path, CONFIG)


@pytest.mark.parametrize(
    "index",
    [b"", b"[]", b'{"manifests":[]}', b'{"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}',
     b'{"manifests":[{"mediaType":"x","digest":"sha256:' + b"0" * 64 + b'","size":1}]}'],
)  # fmt: skip
def test_what_is_no_layout_is_an_error(index: bytes, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(index)
    with pytest.raises(EvidenceError):
        read_layout(tmp_path)
