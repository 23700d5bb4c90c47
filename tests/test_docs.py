"""The documentation is held to the code: what is generated is current, what is shown can be run or read."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from tests import reference
from vmkit.cli.main import COMMANDS, cli
from vmkit.errors import ExitCode, NotFound, TemplateError
from vmkit.inventory.description import Description, Descriptions
from vmkit.inventory.listing import Inventory
from vmkit.plan.model import ObjectRef, Outcome, Reason, Result, Status, failed
from vmkit.report.envelope import build_envelope
from vmkit.vm.state import read_vm

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/**/*.md")])


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> Iterator[Block]:
    fence = re.compile(
        r"^(?P<indent> *)```(?P<language>[\w+-]*).*?\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
    )
    text = page.read_text(encoding="utf-8")
    for match in fence.finditer(text):
        indent = match["indent"]
        body = "\n".join(line.removeprefix(indent) for line in match["text"].split("\n"))
        yield Block(page, text.count("\n", 0, match.start()) + 1, match["language"], body)


BLOCKS = [block for page in PAGES for block in _blocks(page)]


@pytest.mark.parametrize("name", reference.GENERATED)
def test_what_is_generated_is_current(name: str) -> None:
    current = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert current.splitlines() == reference.GENERATED[name](current).splitlines(), "make docs writes it"


def test_every_command_is_documented_with_its_help() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"\n## vmkit {name}\n" in text


def test_every_exit_code_is_explained() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert explained == {int(code) for code in ExitCode}


# --- blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_what_it_says_it_is(block: Block) -> None:
    language = block.language
    if language == "json":
        json.loads(block.text)
    elif language in ("yaml", "yml"):
        list(yaml.compose_all(block.text, Loader=yaml.SafeLoader))
    elif language == "toml":
        tomllib.loads(block.text)
    elif language == "ini":
        configparser.ConfigParser().read_string(block.text)
    elif language == "python":
        compile(block.text, str(block), "exec")
    elif language in ("sh", "bash", "console"):
        script = _script(block)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)
    else:
        assert language in ("text", "promql", "diff", "jinja", "dockerfile", "make", "mermaid"), (
            f"{block}: a block has to say what it is"
        )


def _script(block: Block) -> str:
    if block.language != "console":
        return block.text
    # Lines that people type begin with "$ "; the others are what they see.
    return "\n".join(line.removeprefix("$ ") for line in block.text.split("\n") if line.startswith("$ "))


def _command_lines() -> Iterator[tuple[str, list[str]]]:
    for block in BLOCKS:
        if block.language in ("sh", "bash", "console"):
            script = _script(block).replace("\\\n", " ")
            for line in script.split("\n"):
                for words in _commands_of(line):
                    yield f"{block} {' '.join(words)}", words


def _commands_of(line: str) -> Iterator[list[str]]:
    """The vmkit commands of a line of shell: split at pipes, lists and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if set(token) <= set("|&;()"):
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            if words[:1] == ["vmkit"]:
                yield words
            words, skip = [], False
        elif set(token) <= set("<>&"):
            skip = True
        elif skip:
            skip = False
        else:
            words.append(token)


COMMAND_LINES = list(_command_lines())


@pytest.mark.parametrize("words", [words for _, words in COMMAND_LINES], ids=[where for where, _ in COMMAND_LINES])
def test_every_command_shown_is_one_that_vmkit_takes(words: list[str]) -> None:
    ctx = click.Context(cli, info_name="vmkit")
    command: click.Command = cli
    arguments = words[1:]
    while True:
        # A context made this way parses the arguments and runs no command.
        try:
            ctx = command.make_context(ctx.info_name or "vmkit", arguments, parent=ctx if ctx.parent else None)
        except click.exceptions.Exit:
            return  # --help, --version
        except click.BadParameter as error:
            # The reader's own files and folders are not here; everything else has to be right.
            if not isinstance(error.param and error.param.type, click.Path | click.File):
                raise
            return
        if not isinstance(command, click.Group):
            return
        rest = [*ctx._protected_args, *ctx.args]
        name, found, arguments = command.resolve_command(ctx, rest)
        assert found is not None
        command = found
        ctx = click.Context(found, info_name=name, parent=ctx)


# --- the envelope ------------------------------------------------------------------------------------------------

SCHEMA = json.loads((ROOT / "docs/schemas/output.json").read_text(encoding="utf-8"))
VM = ObjectRef("VirtualMachine", "default", "web-1")
SOUND = read_vm(
    {
        "metadata": {"name": "web-1", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"runStrategy": "Manual", "template": {"spec": {"volumes": [{"name": "x", "emptyDisk": {}}]}}},
    }
)
MISSING = NotFound("there is none", hint="look", where="default/web-9", status=404)
ENVELOPES = [
    Result("stop", (Outcome(VM, "stop", Status.CHANGED, Reason("Running", "it was running"), seconds=1.0),)),
    Result("stop", (failed(VM, "stop", MISSING),), notices=("careful",), dry_run="server"),
    Inventory((SOUND, read_vm({})), errors=(MISSING,)),
    Inventory(()),
    Descriptions((Description(SOUND),)),
]


@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda envelope: type(envelope).__name__)
def test_envelopes_are_as_the_schema_says(envelope: Result | Inventory | Descriptions) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(envelope.to_dict(), SCHEMA)


def test_the_envelope_of_a_failure_is_as_the_schema_says() -> None:
    error = TemplateError("bad", where="a.yaml", line=1, column=2)
    jsonschema.validate(build_envelope("Result", "create", errors=[error], exit_code=2), SCHEMA)


def test_the_schema_and_the_page_know_every_key() -> None:
    page = (ROOT / "docs/output.md").read_text(encoding="utf-8")
    keys = {key for envelope in ENVELOPES for key in envelope.to_dict()}
    assert keys == set(SCHEMA["properties"])
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= keys
    row = Inventory((SOUND,)).to_dict()["items"][0]
    assert set(row) == set(SCHEMA["$defs"]["virtualMachine"]["properties"])
    assert all(f'"{key}"' in page for key in row)
    assert set(SCHEMA["$defs"]["outcomeStatus"]["enum"]) == {str(status) for status in Status}


def test_the_items_shown_on_the_page_are_as_the_schema_says() -> None:
    outcome, row = (
        json.loads(block.text) for block in BLOCKS if block.page.name == "output.md" and block.language == "json"
    )
    for name, item in (("outcome", outcome), ("virtualMachine", row)):
        jsonschema.validate(item, {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
