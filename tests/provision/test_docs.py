"""Every block of the documents about templates, storage and lint is what it says: files are read, commands run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmkit.cli.main import cli
from vmkit.lab import Lab
from vmkit.provision.filters import FILTERS
from vmkit.provision.lint import Severity, lint_template
from vmkit.provision.loader import parse_template
from vmkit.provision.parameters import ParameterType
from vmkit.provision.request import parse_fleet

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = ["templates.md", "storage.md", "lint.md"]
BLOCK = re.compile(r"(?:File `(?P<file>[^`]+)`:\n\n)?```(?P<language>[a-z]+)\n(?P<text>.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_blocks_of_a_document_hold(
    name: str, lab: Lab, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "templates").mkdir()
    for path in (ROOT / "templates").glob("*.yaml"):
        (tmp_path / "templates" / path.name).write_text(path.read_text())
    blocks = list(BLOCK.finditer((ROOT / "docs" / name).read_text()))
    assert blocks
    for block in blocks:
        text = block["text"]
        if block["file"]:
            (tmp_path / block["file"]).write_text(text)
        if block["language"] == "yaml" and "kind: Template" in text:
            findings = lint_template(parse_template(text))
            assert [f for f in findings if f.severity is not Severity.INFO] == []
        elif block["language"] == "yaml":
            assert parse_fleet(text, base=tmp_path)
        else:
            assert block["language"] == "console"
            for line in text.splitlines():
                run(line, lab, namespace)


def run(line: str, lab: Lab, namespace: str) -> None:
    prompt, *arguments = shlex.split(line)
    assert (prompt, arguments[0]) == ("$", "vmkit")
    ran = CliRunner().invoke(
        cli, arguments[1:], env={"VMKIT_KUBECONFIG": lab.kubeconfig, "VMKIT_CREATE_NAMESPACE": namespace}
    )
    assert ran.exit_code == 0, (line, ran.output, ran.exception)


def test_every_type_and_every_filter_is_explained():
    text = (ROOT / "docs" / "templates.md").read_text()
    for word in [*ParameterType, *FILTERS]:
        assert f"`{word}`" in text
