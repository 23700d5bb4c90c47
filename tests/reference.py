"""Writes the parts of docs/ that come from the code: ``python -m tests.reference --write``.

    docs/cli.md            every command's help, whole
    docs/environment.md    the table of variables
    docs/exit-codes.md     the table of error codes

Without --write it says which of them are not current, and fails. The test suite does the same.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from vmkit import errors
from vmkit.cli.main import COMMANDS, cli
from vmkit.cli.options import Option
from vmkit.doctor.checks import CHECKS

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 100


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command with a context to ask it in, groups before what they hold, in the order of help."""
    root = _context(cli, "vmkit", None)
    yield root, cli
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None, name
        yield from _inner(command, name, root)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = command.context_settings | {"max_content_width": WIDTH, "terminal_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _inner(
    command: click.Command, name: str, parent: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    ctx = _context(command, name, parent)
    yield ctx, command
    if isinstance(command, click.Group):
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            assert found is not None
            yield from _inner(found, inner, ctx)


def render_cli(_: str) -> str:
    """docs/cli.md."""
    text = (
        "# Commands\n\n"
        "What `vmkit COMMAND --help` says, for every command. This page is generated: `make docs` writes it.\n"
    )
    for ctx, command in commands():
        help_text = "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines())
        text += f"\n## {ctx.command_path}\n\n```text\n{help_text}\n```\n"
    return text


def render_environment(current: str) -> str:
    """docs/environment.md: the table between its marks."""
    rows: dict[str, tuple[str, str]] = {}
    for ctx, command in commands():
        for param in command.params:
            if isinstance(param, Option) and param.show_envvar:
                name = param.env_names(ctx)[-1]
                shared = param.everywhere or ctx.parent is None
                option = f"`{max(param.opts, key=len)}`" + ("" if shared else f" of `{ctx.command_path}`")
                rows.setdefault(name, (option, (param.help or "").replace("|", "\\|")))
    table = "| variable | option | what it says |\n|---|---|---|\n"
    table += "".join(f"| `{name}` | {option} | {says} |\n" for name, (option, says) in sorted(rows.items()))
    return _between_marks(current, table)


def render_exit_codes(current: str) -> str:
    """docs/exit-codes.md: the table of errors between its marks."""
    table = "| code | exit code | what it is |\n|---|---|---|\n"
    summaries = _summaries()
    kinds = sorted(
        (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.VmkitError)),
        key=lambda kind: (int(kind.exit_code), kind.code),
    )
    for kind in kinds:
        if kind.__name__ in summaries:
            table += f"| `{kind.code}` | {int(kind.exit_code)} | {summaries[kind.__name__]} |\n"
    return _between_marks(current, table)


def _summaries() -> dict[str, str]:
    """What the tree in the docstring of vmkit/errors.py says about each class."""
    tree = re.findall(r"[├└]── (\w+) +(.*)", errors.__doc__ or "")
    return {name: re.sub(r"\s+exit \d+$", "", text) for name, text in tree}


def _between_marks(current: str, table: str) -> str:
    begin, end = "<!-- generated: make docs -->\n", "<!-- end -->\n"
    before, _, rest = current.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}"


def render_doctor(current: str) -> str:
    """docs/doctor.md: each check's findings, between its marks."""

    def cell(text: str) -> str:
        return " ".join(text.replace("|", "\\|").split()) or "-"

    text = ""
    for check in CHECKS:
        text += f"### {check.name}\n\n{check.summary}\n\n"
        text += "| finding | severity | what it means | why it matters | what mends it |\n|---|---|---|---|---|\n"
        for kind in (*check.kinds, check.unknown):
            cells = (f"`{kind.id}`", str(kind.severity), kind.meaning, kind.why, kind.mend)
            text += f"| {' | '.join(map(cell, cells))} |\n"
        text += "\n"
    return _between_marks(current, text)


GENERATED: dict[str, Callable[[str], str]] = {
    "cli.md": render_cli,
    "doctor.md": render_doctor,
    "environment.md": render_environment,
    "exit-codes.md": render_exit_codes,
}


def stale(*, write: bool) -> list[str]:
    """The names of files that are not current; with ``write`` they are afterwards."""
    found = []
    for name, render in GENERATED.items():
        path = DOCS / name
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = render(current)
        if wanted != current:
            found.append(name)
            if write:
                path.write_text(wanted, encoding="utf-8")
    return found


def main() -> int:
    """Prints what is not current; 1 if anything was, and was not written."""
    write = "--write" in sys.argv[1:]
    found = stale(write=write)
    for name in found:
        print(f"docs/{name} {'written' if write else 'is not current: make docs writes it'}")
    return 0 if write or not found else 1


if __name__ == "__main__":
    sys.exit(main())
