"""Only console.py writes to stdout and stderr: every other way past it would escape -o, -q and escaping."""

from __future__ import annotations

import ast
from pathlib import Path

import vmkit

SOURCES = Path(vmkit.__file__).parent
WRITERS = {
    "cli/console.py",
    # Not vmkit at a terminal: the first speaks to the proof that started it, the others run inside a component.
    "migrate/verify/component_host.py",
    "migrate/wasm/guest/vmkit_main.py",
    "migrate/wasm/guest/vmkit_wsgi.py",
}


def _writes(tree: ast.AST) -> list[int]:
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            lines.append(node.lineno)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ("sys.stdout", "sys.stderr", "click.echo", "click.secho", "click.confirm", "click.prompt"):
                lines.append(node.lineno)
    return lines


def test_only_the_console_writes() -> None:
    found = {
        f"{path.relative_to(SOURCES)}:{line}"
        for path in SOURCES.rglob("*.py")
        if str(path.relative_to(SOURCES)) not in WRITERS
        for line in _writes(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()
