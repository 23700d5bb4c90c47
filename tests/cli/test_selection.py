from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmkit.cli.selection import Chosen, parse_names
from vmkit.errors import ConfigError, InvalidName, ManifestError, UsageError, VmkitError
from vmkit.vm.reference import VmRef


def _names(text: str) -> tuple[str, ...]:
    return tuple(str(ref) for ref in parse_names(text, where="names", default_namespace="home"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1\nweb-2\n", ("home/web-1", "home/web-2")),
        ("# those two\nteam/web-1   # the first\n\n  web-2\n", ("team/web-1", "home/web-2")),
        ("virtualmachine.kubevirt.io/web-1\n", ("home/web-1",)),
        ("kind: VirtualMachine\nmetadata: {name: web-1, namespace: team}\n", ("team/web-1",)),
        (
            "kind: VirtualMachine\nmetadata: {name: a}\n---\nkind: VirtualMachine\nmetadata: {name: b}\n",
            ("home/a", "home/b"),
        ),
        ("kind: List\nitems:\n- kind: VirtualMachine\n  metadata: {name: a}\n", ("home/a",)),
        (json.dumps({"kind": "VirtualMachineList", "items": [{"namespace": "team", "name": "a"}]}), ("team/a",)),
        (json.dumps({"kind": "VirtualMachineList", "items": []}), ()),
        ("", ()),
    ],
)  # fmt: skip
def test_names_manifests_lists_and_envelopes_name_vms(text: str, expected: tuple[str, ...]) -> None:
    assert _names(text) == expected


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("Not A Name\n", InvalidName, "names no VM"),
        ("kind: Pod\nmetadata: {name: a}\n", ManifestError, "holds a Pod"),
        ("kind: VirtualMachine\nmetadata: {}\n", ManifestError, "without metadata.name"),
        ("- 2\n- x: 1\n", ManifestError, "no manifest"),
        ("kind: [broken\nx: y", ManifestError, "not YAML"),
        ('{"kind": "VirtualMachine", "metadata": {"name":', ManifestError, "not YAML"),
    ],
)
def test_what_names_no_vm_is_an_error_that_says_so(text: str, error: type[VmkitError], says: str) -> None:
    with pytest.raises(error, match=says):
        _names(text)


def _refs(chosen: Chosen, stdin: str = "") -> tuple[str, ...]:
    return tuple(str(ref) for ref in chosen.refs(namespace="home", stdin=lambda: stdin))


def test_each_vm_is_taken_once_in_the_order_asked(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("web-2\nweb-3\n")
    chosen = Chosen(names=("web-1", "web-2", "team/web-1"), files=(str(file),))
    assert _refs(chosen) == ("home/web-1", "home/web-2", "team/web-1", "home/web-3")


def test_a_dash_is_stdin_as_a_name_and_as_a_file() -> None:
    assert _refs(Chosen(names=("web-1", "-")), "web-2\n") == ("home/web-1", "home/web-2")
    assert _refs(Chosen(files=("-",)), "web-2\n") == ("home/web-2",)
    assert _refs(Chosen(names=("-",), files=("-",)), "web-2\n") == ("home/web-2",)


def test_an_empty_list_never_becomes_everything(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="standard input names no VM"):
        _refs(Chosen(names=("-",)), "\n# nothing\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere cannot be read: No such file"):
        _refs(Chosen(files=(str(tmp_path / "nowhere"),)))
    binary = tmp_path / "disk.img"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        _refs(Chosen(files=(str(binary),)))


@pytest.mark.parametrize(
    "chosen",
    [
        Chosen(names=("a",), selector="x=y"),
        Chosen(names=("a",), all_namespaces=True),
        Chosen(files=("-",), everything=True),
        Chosen(selector="x=y", everything=True),
    ],
)
def test_vms_are_chosen_in_one_way_at_a_time(chosen: Chosen) -> None:
    with pytest.raises(UsageError, match="not both"):
        chosen.check(may_be_empty=True)


def test_choosing_nothing_is_an_error_only_where_it_would_change_something() -> None:
    Chosen().check(may_be_empty=True)
    with pytest.raises(UsageError, match="no VM is named"):
        Chosen().check(may_be_empty=False)
    for chosen in (Chosen(names=("a",)), Chosen(selector="a=b", all_namespaces=True), Chosen(everything=True)):
        chosen.check(may_be_empty=False)


def test_a_reference_is_a_namespace_and_a_name() -> None:
    assert parse_names("a/b", where="x", default_namespace="c") == (VmRef("a", "b"),)
