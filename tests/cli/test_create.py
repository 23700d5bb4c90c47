"""``vmkit create``, ``clone`` and ``template`` as a shell runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Run

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample1 ada@example"
HALTED = ("--set", "run_strategy=Halted", "--set", "image=blank")


def test_a_vm_is_created_seen_as_unchanged_and_shown_when_it_differs(vmkit: Run, namespace: str):
    first = vmkit("create", "web-1", "-t", "debian", *HALTED)
    assert (first.code, first.out) == (0, f"{namespace}/web-1 created: from debian on rook-ceph-block\n")
    assert "storage: rook-ceph-block" in first.err
    again = vmkit("create", "web-1", "-t", "debian", *HALTED)
    assert again.code == 0
    assert "unchanged" in again.out
    differs = vmkit("create", "web-1", "-t", "debian", *HALTED, "--set", "cpu=4")
    assert differs.code == 5
    assert "+          sockets: 4" in differs.err
    assert "--update" in differs.err
    updated = vmkit("create", "web-1", "-t", "debian", *HALTED, "--set", "cpu=4", "--update", "--diff")
    assert updated.code == 0
    assert "+          sockets: 4" in updated.out
    assert "updated" in updated.out


def test_waiting_shows_nothing_on_stdout_but_the_outcome(vmkit: Run):
    ran = vmkit("create", "web-1", "-t", "debian", "--wait", "--timeout", "1m")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert "running" in ran.out


def test_a_count_a_disk_a_key_and_a_label(vmkit: Run, tmp_path: Path):
    key = tmp_path / "id.pub"
    key.write_text(KEY + "\n")
    ran = vmkit(
        "create", "web", "-t", "debian", *HALTED, "--count", "3", "--disk", "data=5Gi", "--ssh-key", str(key),
        "--label", "team=blue", "-o", "name",
    )  # fmt: skip
    assert ran.code == 0
    assert ran.out.splitlines() == [f"virtualmachine.kubevirt.io/web-{number}" for number in (1, 2, 3)]
    shown = vmkit("get", "-l", "team=blue", "-o", "name")
    assert len(shown.out.splitlines()) == 3


def test_a_dry_run_as_yaml_is_manifests_that_kubectl_takes(vmkit: Run):
    ran = vmkit("create", "db", "-t", "database", "--set-file", "password=-", "--dry-run", "client", "-o", "yaml",
                stdin="hunter2hunter2\n")  # fmt: skip
    assert ran.code == 0
    kinds = [document["kind"] for document in yaml.safe_load_all(ran.out)]
    assert sorted(kinds) == ["DataVolume", "Secret", "Secret", "Service", "VirtualMachine"]
    assert "hunter2" not in ran.out + ran.err
    assert "left out: Secret" in ran.err


def test_json_is_the_envelope_with_the_manifests(vmkit: Run):
    ran = vmkit("create", "web-1", "-t", "debian", *HALTED, "-o", "json", "--dry-run", "server")
    document = json.loads(ran.out)
    assert (document["apiVersion"], document["command"], document["dryRun"]) == ("vmkit.io/v1", "create", "server")
    assert [item["status"] for item in document["items"]] == ["planned"]
    assert document["manifests"][0]["kind"] == "VirtualMachine"
    assert any("storage" in remark for remark in document["remarks"])


def test_a_fleet_file(vmkit: Run, tmp_path: Path):
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        "apiVersion: vmkit.io/v1\nkind: Fleet\ndefaults:\n  template: debian\n"
        "  set: {image: blank, run_strategy: Halted}\nvms:\n  - name: a\n  - {name: b, count: 2}\n"
    )
    ran = vmkit("create", "-f", str(fleet))
    assert ran.code == 0
    assert "3 created" in ran.err
    fleet.write_text("apiVersion: vmkit.io/v1\nkind: Fleet\nvms:\n  - name: Bad_Name\n    template: debian\n")
    bad = vmkit("create", "-f", str(fleet))
    assert bad.code == 2
    assert f"{fleet}:4:" in bad.err


def test_files_for_git(vmkit: Run, namespace: str, tmp_path: Path):
    ran = vmkit("create", "web-1", "-t", "debian", "--output-dir", str(tmp_path / "git"))
    assert ran.code == 0
    vm = yaml.safe_load((tmp_path / "git" / namespace / "web-1.yaml").read_text())
    assert vm["metadata"]["name"] == "web-1"
    assert vmkit("get", "web-1").code != 0


def test_a_clone(vmkit: Run):
    assert vmkit("create", "one", "-t", "debian", *HALTED, "--wait", "--timeout", "1m").code == 0
    ran = vmkit("clone", "one", "two", "--wait", "--timeout", "1m")
    assert ran.code == 0, ran.err
    assert "two cloned" in ran.out
    assert vmkit("clone", "gone", "three").code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("web-1",), "which template?"),
        (("-t", "debian"), "which VM?"),
        ((), "no VM is asked for"),
        (("web-1", "-t", "debain"), "did you mean 'debian'?"),
        (("web-1", "-t", "debian", "--set", "cpus=1"), "did you mean 'cpu'?"),
        (("web-1", "-t", "debian", "--set", "cpu"), "not KEY=VALUE"),
        (("web-1", "-t", "debian", "--set", "cpu=65"), "1 to 64"),
        (("web-1", "-t", "debian", "--set", "cpu=1", "--set", "cpu=2"), "twice"),
        (("Web_1", "-t", "debian"), 'did you mean "web-1"?'),
        (("web-1", "web-1", "-t", "debian"), "asked for twice"),
        (("web-1", "-t", "debian", "--disk", "data=100GB"), 'did you mean "100Gi"?'),
        (("web-1", "-t", "debian", "--ssh-key", "/nonexistent"), "cannot be read"),
        (("web-1", "-t", "debian", "--storage", "rook-ceph-blok"), "did you mean 'rook-ceph-block'?"),
        (("web-1", "-t", "debian", "--count", "0"), "a count of 0"),
        (("-f", "/nonexistent"), "cannot be read"),
        (("web-1", "-t", "database"), "needs an answer for 'password'"),
    ],
)
def test_what_is_written_wrong_is_told_with_exit_code_2_and_sends_nothing(
    vmkit: Run, arguments: tuple[str, ...], words: str
):
    ran = vmkit("create", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert vmkit("get", "-o", "name").out == ""


def test_a_private_key_is_not_sent_anywhere(vmkit: Run, tmp_path: Path):
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    ran = vmkit("create", "web-1", "-t", "debian", "--ssh-key", str(key))
    assert ran.code == 2
    assert "abc" not in ran.err


# --- templates ---------------------------------------------------------------------------------------------------


def test_templates_are_listed_without_a_cluster(run: Run):
    table = run("template", "list")
    assert table.code == 0
    assert "debian" in table.out
    assert "experimental" in next(line for line in table.out.splitlines() if line.startswith("edge"))
    items = json.loads(run("template", "list", "-o", "json").out)["items"]
    assert len(items) == 13


def test_a_template_is_shown(run: Run):
    shown = run("template", "show", "database")
    assert "(required)" in shown.out
    assert "(secret)" in shown.out
    assert run("template", "show", "debian", "--source").out.startswith("# A template of vmkit")
    assert run("template", "show", "nope").code == 2


def test_all_shipped_templates_pass_lint(run: Run):
    assert run("template", "lint", "--strict").code == 0


def test_lint_tells_file_line_and_rule_and_ends_with_2(run: Run, tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    head = "apiVersion: vmkit.io/v1\nkind: Template\nname: bad\ntitle: T\n"
    bad.write_text(head + "objects:\n  - name: x\n    body: |\n      a: {{ nme }}\n")
    ran = run("template", "lint", str(bad))
    assert ran.code == 2
    assert f"{bad}:8:13: error:" in ran.out
    assert "[does-not-render]" in ran.out
    vm = tmp_path / "vm.yaml"
    vm.write_text("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: x}\nspec: {running: true}\n")
    manifest = run("template", "lint", str(vm), "-o", "json")
    assert manifest.code == 2
    assert {"running-deprecated", "no-template"} <= {item["rule"] for item in json.loads(manifest.out)["items"]}


def test_a_diff_says_which_secret_it_leaves_out(vmkit: Run):
    ran = vmkit("create", "web-1", "-t", "debian", *HALTED, "--set", "password=correct-horse", "--diff")
    assert ran.code == 0
    assert "correct-horse" not in ran.out + ran.err
    assert "left out: Secret" in ran.err


def test_lint_of_a_file_that_holds_nothing_is_an_error(run: Run, tmp_path: Path):
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    ran = run("template", "lint", str(empty))
    assert ran.code == 2
    assert f"{empty}: error: the file holds neither a template nor a manifest" in ran.out


def test_lint_of_a_syntax_error_has_file_line_and_column(run: Run, tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    head = "apiVersion: vmkit.io/v1\nkind: Template\nname: bad\ntitle: T\n"
    bad.write_text(head + "objects:\n  - name: x\n    body: |\n      a: {{ name\n      b: 1\n")
    ran = run("template", "lint", str(bad), "-o", "json")
    (finding,) = [item for item in json.loads(ran.out)["items"] if item["rule"] == "does-not-render"]
    assert (ran.code, finding["where"]) == (2, str(bad))
    assert (finding["line"], finding["column"]) == (9, 7)


def test_a_namespace_that_is_missing_is_named(vmkit: Run):
    ran = vmkit("create", "a", "-t", "debian", *HALTED, "-n", "nosuch")
    assert ran.code == 3
    assert "namespace nosuch does not exist" in ran.err
    assert "kubectl create namespace nosuch" in ran.err


def test_a_syntax_error_has_file_line_and_column(run: Run, tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("apiVersion: vmkit.io/v1\nkind: Template\nname: bad\n title: T\n")
    ran = run("template", "show", str(bad))
    assert ran.code == 2
    assert f"{bad}:4:7" in ran.err


def test_rendering_needs_no_cluster(run: Run):
    ran = run("template", "render", "database", "db", "--set", "password=correct-horse", "--storage", "fast")
    assert ran.code == 0
    assert "correct-horse" not in ran.out
    assert "storageClassName: fast" in ran.out
    assert "left out" in ran.err
    assert "Y29ycmVjdC1ob3JzZQ==" in run(
        "template", "render", "database", "db", "--set", "password=correct-horse", "--show-secrets"
    ).out  # fmt: skip


def test_a_new_template_is_one_that_passes(run: Run, tmp_path: Path):
    folder = tmp_path / "mine"
    assert run("template", "new", "own", "--from", "web-server", "--folder", str(folder)).code == 0
    assert run("template", "lint", str(folder / "own.yaml"), "--strict").code == 0
    assert run("template", "new", "own", "--folder", str(folder)).code == 2
    listed = run("template", "list", "--template-dir", str(folder), "-o", "name")
    assert "own" in listed.out.splitlines()


def test_an_import_goes_to_stdout_or_to_a_folder(run: Run, tmp_path: Path):
    data = (Path(__file__).parent.parent / "data" / "vm-from-server.json").read_text()
    ran = run("template", "import", "-", stdin=data)
    assert ran.code == 0
    assert ran.out.startswith("apiVersion: vmkit.io/v1\nkind: Template\n")
    source = tmp_path / "vm.json"
    source.write_text(data)
    assert run("template", "import", str(source), "--name", "mine", "--folder", str(tmp_path / "t")).code == 0
    assert run("template", "render", str(tmp_path / "t" / "mine.yaml"), "x").code == 0
    assert run("template", "import", str(tmp_path)).code == 2


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("create", "web", "-t", "debian", "--count", "0"), "leave it out"),
        (("create", "web", "-t", "./none.yaml"), "vmkit template list"),
        (("create", "web", "-t", "./folder"), "a template file that you may read"),
        (("create", "web", "-t", "debian", "--ssh-key", "./none"), "a file that you may read"),
        (("create", "web", "-t", "debian", "--ssh-key", "./bytes"), "a text file"),
        (("create", "web", "-t", "debian", "--set-file", "cpu=./folder"), "a file that you may read"),
        (("create", "-f", "./none"), "a fleet file that you may read"),
        (("create", "-f", "./bytes"), "UTF-8"),
        (("get", "-f", "./none"), "a file that you may read"),
        (("get", "-f", "./bytes"), "one name a line"),
        (("create", "web", "-t", "debian", "--set", "cpu=1", "--set", "cpu=2"), "keep one of --set cpu=..."),
        (("create", "web", "-t", "debian", "--set", "cpu=100"), "write, for example, cpu="),
        (("get", "-l", "=="), "app=web,tier!=test"),
        (("stop", "-l", "a=b,", "--yes"), "app=web,tier!=test"),
    ],
)
def test_an_error_says_in_one_line_what_and_in_one_what_to_do(
    vmkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], hint: str
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    monkeypatch.chdir(tmp_path)
    ran = vmkit(*arguments)
    error, advice = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert error.startswith("error: ")
    assert advice.startswith("hint: ")
    assert hint in advice


def test_the_help_says_what_a_small_share_allows(vmkit: Run):
    assert "allows at least one" in " ".join(vmkit("stop", "--help").out.split())
