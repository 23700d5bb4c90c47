"""Finding templates, and reading their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmkit.errors import TemplateError
from vmkit.provision.catalog import Catalog
from vmkit.provision.loader import parse_template, read_template

MINIMAL = """apiVersion: vmkit.io/v1
kind: Template
name: NAME
title: Tiny
objects:
  - name: c
    body: |
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: {{ name }}
"""


def put(directory: Path, name: str, title: str = "Tiny") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.yaml"
    path.write_text(MINIMAL.replace("NAME", name).replace("Tiny", title))
    return path


def test_the_nearest_template_wins(tmp_path: Path):
    put(tmp_path / "given", "debian", "given")
    put(tmp_path / "project" / "templates", "debian", "project")
    put(tmp_path / "user", "own", "user")
    catalog = Catalog([tmp_path / "given"], project=tmp_path / "project", user=tmp_path / "user")
    assert catalog.find("debian").title == "given"
    assert catalog.find("own").origin == "user"
    assert catalog.find("fedora").origin == "shipped"
    assert [entry.shadowed for entry in catalog.entries() if entry.name == "debian"] == [False, True, True]
    templates, errors = catalog.read_all()
    assert errors == []
    assert [t.name for t in templates].count("debian") == 1


def test_a_path_is_a_template_too(tmp_path: Path):
    assert Catalog(project=tmp_path, user=tmp_path).find(str(put(tmp_path, "mine"))).name == "mine"


def test_a_misspelt_name_is_proposed(tmp_path: Path):
    with pytest.raises(TemplateError) as caught:
        Catalog(project=tmp_path, user=tmp_path).find("debain")
    assert caught.value.hint == "did you mean 'debian'?"


def test_a_broken_file_stops_no_listing(tmp_path: Path):
    put(tmp_path, "good")
    (tmp_path / "bad.yaml").write_text("a: b: c")
    templates, errors = Catalog([tmp_path], project=tmp_path / "x", user=tmp_path / "x").read_all()
    assert "good" in [template.name for template in templates]
    assert [error.where for error in errors] == [str(tmp_path / "bad.yaml")]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(TemplateError):
        Catalog([tmp_path / "gone"])


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("kind: Template", "kind: Secret", 2, 1, "not a template"),
        ("title: Tiny", "titel: Tiny", 4, 1, "unknown key 'titel'"),
        ("title: Tiny\n", "", None, None, "'title' is missing"),
        ("title: Tiny", "title: 5", 4, 1, "has to be a text"),
        ("name: NAME", "name: Not_A_Name", 3, 1, "cannot name a template"),
        ("body: |", "body: >", 7, 5, "literal block"),
        ("objects:", "parameters:\n  - {name: cpu, type: integr}\nobjects:", 6, 17, "unknown type 'integr'"),
        ("objects:", "parameters:\n  - {name: n, type: integer, default: x}\nobjects:", 6, 30, "its own default"),
        ("objects:", "parameters:\n  - {name: name}\nobjects:", 6, 6, "bodies know that word"),
        ("objects:", "parameters:\n  - {name: a}\n  - {name: a}\nobjects:", 7, 6, "stands here twice"),
        ("objects:", "parameters:\n  - {name: a, minimum: 1}\nobjects:", 6, 15, "belongs to numbers"),
        ("objects:", "parameters:\n  - {name: a, type: integer, minimum: 5, maximum: 1}\nobjects:", 6, 30, "larg"),
        ("objects:", "parameters:\n  - {name: a, type: choice}\nobjects:", 6, 5, "needs 'choices'"),
        ("objects:", "parameters:\n  - {name: a, pattern: '('}\nobjects:", 6, 15, "regular expression"),
        ("objects:", "parameters:\n  - {name: a, default: x, required: true}\nobjects:", 6, 27, "never required"),
        ("objects:", "parameters: 5\nobjects:", 5, 1, "has to be a list"),
        ("  - name: c", "  - nam: c", 6, 5, "unknown key 'nam'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_file_has_its_place(
    old: str, new: str, line: int | None, column: int | None, words: str
):
    text = MINIMAL.replace(old, new, 1).replace("name: NAME", "name: tiny")
    with pytest.raises(TemplateError) as caught:
        parse_template(text, where="t.yaml")
    assert words in caught.value.message
    if line is not None:
        assert (caught.value.line, caught.value.column) == (line, column)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path):
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(TemplateError):
            read_template(path)
    (tmp_path / "latin.yaml").write_bytes(b"title: \xff")
    with pytest.raises(TemplateError, match="UTF-8"):
        read_template(tmp_path / "latin.yaml")


def test_a_virtual_machine_is_pointed_to_the_import():
    with pytest.raises(TemplateError) as caught:
        parse_template("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n")
    assert "vmkit template import" in caught.value.hint
