"""From a Debian's disk to proof: container and component answer as the VM does that boots from the disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.migrate.debian_disk import EXAMPLE, DebianDisk, build_base_image, build_debian_disk
from tests.migrate.debian_disk.podman import own_storage, run
from tests.migrate.guests import need
from vmkit.cli.main import cli

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1800)]
REGISTRY = "localhost/old-web"


def migrate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["migrate", *(str(one) for one in arguments)])


@pytest.fixture(scope="module")
def disk() -> DebianDisk:
    need("qemu-system-x86_64", "qemu-system-x86")
    return build_debian_disk()


@pytest.fixture(scope="module")
def storage() -> Iterator[None]:
    with own_storage():
        run("podman", "import", "--quiet", str(build_base_image()), "docker.io/library/debian:12-slim")
        yield


@pytest.fixture(scope="module")
def artifacts(disk: DebianDisk, storage: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What generate writes for the disk, with its images and a component built."""
    folder = tmp_path_factory.mktemp("generated") / "old-web"
    disks = (disk.disk, "--disk", disk.data)
    done = migrate("generate", *disks, "--out", folder, "--registry", REGISTRY)
    assert done.exit_code == 0, done.output
    for name in ("notes", "greeter"):
        image = f"{REGISTRY}/{name}:latest"
        run("podman", "build", "--quiet", "--network=host", "--pull-never", "--tag", image, str(folder / name))
    # The third is the guest's root as it is, out of an OCI layout.
    frozen = folder.parent / "frozen"
    done = migrate(
        "generate", *disks, "--out", frozen, "--registry", REGISTRY, "--service", "nginx", "--image", "frozen"
    )
    assert done.exit_code == 0, done.output
    shutil.rmtree(folder / "nginx")
    (frozen / "nginx").rename(folder / "nginx")
    done = migrate("build", folder)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def proof(disk: DebianDisk, artifacts: Path) -> tuple[Result, dict[str, Any]]:
    """One run that boots the disk; the tests look at what it left."""
    disks = [disk.disk, disk.data]
    before = [hashlib.sha256(one.read_bytes()).digest() for one in disks]
    done = migrate("verify", artifacts, "--source", disk.disk, "--disk", disk.data, "--vm-memory", "512Mi")
    assert [hashlib.sha256(one.read_bytes()).digest() for one in disks] == before
    assert (artifacts / "proof.json").exists(), done.output
    return done, json.loads((artifacts / "proof.json").read_text())


def test_container_and_component_answer_as_the_vm_does(proof: tuple[Result, dict[str, Any]]) -> None:
    done, document = proof
    found = {(one["service"], one["target"]): (one["outcome"], one["reason"]) for one in document["targets"]}
    for which in (
        ("greeter", "container"), ("greeter", "wasm"), ("nginx", "container"), ("nginx", "wasm"), ("notes", "container"),
    ):  # fmt: skip
        assert found[which][0] == "proven", (which, found[which])
    assert found["cron-notes-1", "container"][0] == "not proven"
    assert done.exit_code == 6  # because of the job
    paths = {row["path"] for one in document["targets"] if one["service"] == "nginx" for row in one["requests"]}
    assert {"/", "/index.html", "/style.css"} <= paths


def test_all_three_are_measured_side_by_side(proof: tuple[Result, dict[str, Any]]) -> None:
    _, document = proof
    measured = {(one["service"], one["target"]): one["measured"] for one in document["targets"]}
    vm, container, component = (
        document["vm"]["greeter"],
        measured["greeter", "container"],
        measured["greeter", "wasm"],
    )
    for one in (vm, container, component):
        assert all(one[key] > 0 for key in ("coldSeconds", "warmSeconds", "imageBytes", "memoryBytes")), one
    assert container["coldSeconds"] < vm["coldSeconds"]
    assert component["coldSeconds"] < vm["coldSeconds"]
    assert component["memoryBytes"] < vm["memoryBytes"]
    assert component["imageBytes"] < container["imageBytes"]


def test_the_container_works_on_a_copy_of_the_vms_state(proof: tuple[Result, dict[str, Any]]) -> None:
    """notes counts its visits in a database: equal counts mean equal state and the same requests in the same order."""
    _, document = proof
    [notes] = [one for one in document["targets"] if one["service"] == "notes"]
    rows = {row["path"]: row for row in notes["requests"]}
    assert rows["/"]["expected"]["digest"] == rows["/"]["found"]["digest"]
    other = rows["/vmkit-proof-of-what-is-not-there"]
    assert other["found"]["digest"] != rows["/"]["found"]["digest"]
    assert notes["notes"] == ["ran with empty secrets (DB_PASSWORD): fill in notes/secret.yaml"]


def test_nothing_is_left_running(proof: tuple[Result, dict[str, Any]]) -> None:
    assert run("podman", "ps", "--all", "--quiet") == ""
    assert run("podman", "volume", "ls", "--quiet") == ""
    mine = [
        path.name
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and _parent(path) == os.getpid() and b"qemu-system" in _command(path)
    ]
    assert mine == []


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_what_was_proven_goes_to_a_registry_and_comes_back(
    proof: tuple[Result, dict[str, Any]], artifacts: Path, tmp_path: Path
) -> None:
    """The frozen image is pulled from there, run again, and answers as before."""
    from tests.migrate.registry.server import run_registry
    from tests.migrate.verify.servers import serving

    page = (EXAMPLE / "guest" / "index.html").read_bytes()
    with run_registry(tmp_path / "registry") as registry, serving({"/": (200, "text/html", page)}) as server:
        image = f"{registry}/old-web/nginx:latest"
        assert migrate("push", artifacts / "nginx" / "image", image).exit_code == 0
        component = f"{registry}/old-web/greeter:latest"
        assert migrate("push", artifacts / "greeter" / "wasm", component).exit_code == 0
        layers = json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{component}"))[
            "layers"
        ]
        wasm = hashlib.sha256((artifacts / "greeter" / "wasm" / "component.wasm").read_bytes()).hexdigest()
        assert f"sha256:{wasm}" in {one["digest"] for one in layers}
        run("podman", "pull", "--quiet", "--tls-verify=false", image)
        pulled = tmp_path / "pulled"
        shutil.copytree(artifacts / "nginx", pulled / "nginx", ignore=shutil.ignore_patterns("image", "wasm"))
        manifest = pulled / "nginx" / "manifests.yaml"
        manifest.write_text(manifest.read_text().replace(f"{REGISTRY}/nginx:latest", image))
        done = migrate("verify", pulled, "--vm-url", f"http://127.0.0.1:{server.port}")
    assert done.exit_code == 0, done.output


def test_a_container_that_answers_otherwise_is_found_out(
    proof: tuple[Result, dict[str, Any]], artifacts: Path, tmp_path: Path
) -> None:
    """Against a VM whose page was changed the container's answer differs, and the report says where."""
    from tests.migrate.verify.servers import serving

    page = (EXAMPLE / "guest" / "index.html").read_bytes().replace(b"old VM", b"other VM")
    with serving({"/": (200, "text/html", page)}) as server:
        url = f"http://127.0.0.1:{server.port}"
        done = migrate("verify", artifacts, "--vm-url", url, "--service", "nginx", "--runner", "container")
    assert done.exit_code == 1, done.output
    [target] = json.loads((artifacts / "proof.json").read_text())["targets"]
    assert target["outcome"] == "differs"
    [difference] = target["requests"][0]["differences"]
    assert "other VM" in difference["expected"]
    assert "old VM" in difference["found"]


def test_a_container_that_ends_says_its_last_words(
    artifacts: Path, proof: tuple[Result, dict[str, Any]], tmp_path: Path
) -> None:
    from tests.migrate.verify.servers import serving

    folder = tmp_path / "broken"
    shutil.copytree(artifacts / "notes", folder / "notes")
    manifest = folder / "notes" / "manifests.yaml"
    manifest.write_text(
        manifest.read_text()
        .replace("NOTES_DB: /var/lib/notes", "NOTES_DB: /nowhere")
        .replace("PORT: '8080'", "PORT: none")
    )
    with serving({"/": (200, "application/json", b"{}")}) as server:
        done = migrate("verify", folder, "--vm-url", f"http://127.0.0.1:{server.port}")
    assert done.exit_code == 6, done.output
    assert "the container ended with 1: ValueError" in done.stdout
    assert run("podman", "ps", "--all", "--quiet") == ""
