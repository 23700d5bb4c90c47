"""``vmkit migrate`` as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.migrate.guests import (
    ELF_X86_64,
    Link,
    build_ext4,
    build_xfs,
    convert,
    guest,
    service,
    unit,
    write_files,
    write_gpt,
)
from vmkit.cli.main import cli

APP = {
    **service("app", unit("/srv/app/run --port 8080", "StateDirectory=app", "Environment=API_TOKEN=hunter2")),
    "/srv/app/run": ELF_X86_64,
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["migrate", *(str(one) for one in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = guest(APP)
    files["/sbin/init"] = Link("../usr/lib/systemd/systemd")
    files["/etc/fstab"] = "LABEL=root / ext4 defaults 0 1\nLABEL=data /srv/data xfs defaults 0 2\n"
    return write_files(tmp_path / "root", files)


@pytest.fixture
def disk(folder: Path, tmp_path: Path) -> Path:
    data = write_files(tmp_path / "data", {"/file": "on the second disk"})
    root = build_ext4(tmp_path / "root.img", folder, options=("-L", "root"))
    second = build_xfs(tmp_path / "data.img", data, options=("-L", "data"))
    write_gpt(tmp_path / "disk.raw", [root, second])
    return convert(tmp_path / "disk.raw", tmp_path / "disk.qcow2", "qcow2", "-c")


def test_a_disk_is_inspected_and_judged(disk: Path, tmp_path: Path) -> None:
    shown = run("inspect", disk)
    assert shown.exit_code == 0, shown.output
    assert "Debian GNU/Linux 12 (bookworm) x86_64" in shown.stdout
    assert "vda2     320 MiB   xfs     /srv/data" in shown.stdout
    assert "API_TOKEN" in shown.stdout
    assert "hunter2" not in shown.stdout
    document = run("inspect", disk, "-o", "json")
    facts = json.loads(document.stdout)
    assert facts["source"]["disks"][0]["format"] == "qcow2"
    saved = tmp_path / "facts.json"
    saved.write_text(document.stdout)
    from_disk, from_facts = run("assess", disk), run("assess", saved)
    assert from_disk.exit_code == from_facts.exit_code == 0
    assert from_disk.stdout.splitlines()[1:] == from_facts.stdout.splitlines()[1:]
    assert "Good fit with findings (90)" in from_disk.stdout


def test_a_folder_gives_the_same_facts_as_its_disk(disk: Path, folder: Path) -> None:
    def facts(source: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run("inspect", source, "-o", "json").stdout)
        return found

    one, other = facts(disk), facts(folder)
    for key in ("os", "packages", "units", "listeners", "runtimes", "secrets", "users", "mounts"):
        assert one[key] == other[key], key


def test_yaml_is_the_same_document(folder: Path) -> None:
    import yaml

    assert yaml.safe_load(run("inspect", folder, "-o", "yaml").stdout) == json.loads(
        run("inspect", folder, "-o", "json").stdout
    )


def test_a_disk_without_a_root_says_why_and_exits_6(tmp_path: Path) -> None:
    disk = tmp_path / "luks.img"
    disk.write_bytes(b"LUKS\xba\xbe\0\2" + bytes(2**20))
    found = run("inspect", disk)
    assert found.exit_code == 6
    assert "no Linux root file system could be read on it" in found.stderr
    assert "encrypted with LUKS" in found.stderr
    judged = run("assess", disk)
    assert judged.exit_code == 6
    assert "Insufficient data" in judged.stdout


def test_a_windows_disk_is_no_fit(tmp_path: Path) -> None:
    disk = tmp_path / "windows.img"
    disk.write_bytes((b"\xebR\x90NTFS    ").ljust(510, b"\0") + b"\x55\xaa" + bytes(2**20))
    assert run("inspect", disk).exit_code == 6
    judged = run("assess", disk)
    assert judged.exit_code == 1
    assert "No fit (Windows workloads need Windows nodes" in judged.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says", "hint"),
    [
        (("inspect", "/nowhere/disk.img"), 6, "there is no such file", "give a disk image"),
        (("assess",), 2, "give SOURCES, or -A or -l", "vmkit migrate assess web-1.qcow2"),
        (("assess", "x.img", "-A"), 2, "not both", "vmkit migrate assess"),
        (("assess", "x.img", "--override", "container.nonsense"), 2, "there is no rule", "vmkit migrate rules"),
        (("assess", "x", "y", "--vm", "z"), 2, "--vm belongs to one source", "give one"),
        (("web-1",), 2, "'web-1' is none", "vmkit live-migrate web-1"),
    ],
)
def test_mistakes_get_an_error_and_a_hint(arguments: tuple[str, ...], code: int, says: str, hint: str) -> None:
    found = run(*arguments)
    assert found.exit_code == code, found.output
    lines = found.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert says in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert len(lines) == 2


def test_a_folder_with_further_disks_is_refused(folder: Path) -> None:
    assert run("inspect", folder, "--disk", "x").exit_code == 2


@pytest.mark.parametrize("text", ["{", "kind: Pod\n", "- 1\n", "\x00", "a: &a [*a]\n"])
def test_a_manifest_that_is_none_is_an_error(text: str, folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "vm.yaml"
    manifest.write_text(text)
    found = run("assess", folder, "--vm", manifest)
    assert found.exit_code == 2
    assert "Traceback" not in found.output


def test_the_manifest_of_the_vm_counts(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "vm.yaml"
    manifest.write_text(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web-1, namespace: shop}\nspec:\n"
        "  template: {spec: {domain: {devices: {hostDevices: [{name: card, deviceName: vendor.com/card}]}}}}\n"
    )
    assert run("assess", folder).exit_code == 0
    found = run("assess", folder, "--vm", manifest)
    assert found.exit_code == 1
    assert "host-device: vendor.com/card" in found.stdout
    assert run("assess", folder, "--vm", manifest, "--override", "container.passthrough").exit_code == 0


def test_several_sources_are_a_fleet(folder: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text(run("inspect", folder, "-o", "json").stdout)
    found = run("assess", folder, facts, "-o", "json")
    document = json.loads(found.stdout)
    assert document["kind"] == "FleetAssessment"
    assert len(document["items"]) == 2
    table = run("assess", folder, facts)
    assert "Wave 1: 2 VMs give back" in table.stdout


def test_rules_are_listed() -> None:
    assert "container.kernel-module" in run("rules").stdout
    rules = json.loads(run("rules", "-o", "json").stdout)
    assert {one["category"] for one in rules} == {"blocker", "major", "minor", "info"}


def test_the_clusters_vms_are_judged_by_what_is_known(
    lab: Any, namespace: str, folder: Path, tmp_path: Path
) -> None:
    from vmkit.cluster import Session
    from vmkit.cluster.resources import VIRTUAL_MACHINES

    def manifest(name: str, devices: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": namespace, "labels": {"team": "shop"}},
            "spec": {
                "runStrategy": "Halted",
                "template": {
                    "spec": {
                        "domain": {"cpu": {"cores": 2}, "memory": {"guest": "2Gi"}, "devices": devices},
                        "volumes": [{"name": "root", "emptyDisk": {"capacity": "1Gi"}}],
                    }
                },
            },
        }

    with Session.connect(kubeconfig=lab.kubeconfig) as session:
        session.create(
            VIRTUAL_MACHINES, manifest("known", {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]})
        )
        session.create(
            VIRTUAL_MACHINES, manifest("unknown", {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]})
        )
        session.create(
            VIRTUAL_MACHINES, manifest("tpm", {"disks": [{"name": "root", "disk": {"bus": "virtio"}}], "tpm": {}})
        )
    facts = tmp_path / "facts"
    facts.mkdir()
    (facts / f"{namespace}.known.json").write_text(run("inspect", folder, "-o", "json").stdout)
    found = CliRunner().invoke(
        cli,
        ["migrate", "assess", "-l", "team=shop", "-n", namespace, "--kubeconfig", str(lab.kubeconfig), "--facts",
         str(facts), "-o", "json"],
    )  # fmt: skip
    assert found.exit_code == 6, found.output
    document = json.loads(found.stdout)
    assert [(one["name"].split("/")[1], one["fit"]) for one in document["items"]] == [
        ("known", "Good fit with findings"), ("tpm", "Insufficient data"), ("unknown", "Insufficient data"),
    ]  # fmt: skip
    assert document["waves"][0]["memoryBytes"] == 2 * 2**30
