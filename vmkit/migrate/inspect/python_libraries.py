"""Which libraries a Python application has beside it, which it lacks, and which of them are compiled."""

from __future__ import annotations

import ast
import posixpath
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

MAX_PLACES: Final = 50
MAX_FILE_BYTES: Final = 2**20
MAX_FILES: Final = 2000
SKIPPED_FOLDERS: Final = frozenset(
    {
        "__pycache__",
        ".git",
        "tests",
        "test",
        "node_modules",
        "docs",
        ".venv",
        "venv",
        "env",
        ".tox",
        "site-packages",
        "dist-packages",
        "migrations",
    }
)


def parse_source(text: str) -> ast.Module | None:
    """The syntax tree, or None where it is no Python of this version (or made to exhaust the parser)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def library_folders(tree: Tree, root: str, program: str, *, shared: bool) -> list[str]:
    """Where a program's libraries are: a virtual environment beside it, then the system's folders."""
    homes = [posixpath.join(root, name) for name in ("venv", ".venv", "env")] if not shared else []
    if program.startswith("/") and posixpath.basename(posixpath.dirname(program)) == "bin":
        homes.insert(0, posixpath.dirname(posixpath.dirname(program)))
    homes += ["/usr/local", "/usr"]
    found = ["/usr/lib/python3/dist-packages"]
    for home in dict.fromkeys(homes):
        for name in tree.names(f"{home}/lib"):
            if name.startswith("python3"):
                found += [f"{home}/lib/{name}/site-packages", f"{home}/lib/{name}/dist-packages"]
    return [folder for folder in found if tree.is_directory(folder)]


@dataclass(slots=True)
class Libraries:
    """What an application imports: found, not found, compiled; and what was not looked at."""

    found: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)
    native_modules: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def resolve_libraries(tree: Tree, folders: list[str], imports: Iterable[str]) -> Libraries:
    """Finds what is imported, and what that imports in turn; compiled modules on the way count."""
    result = Libraries()
    direct = set(imports) - sys.stdlib_module_names
    todo = sorted(direct)
    seen = set(todo)
    files = 0
    while todo:
        name = todo.pop()
        place = next((one for one in (f"{folder}/{name}" for folder in folders) if _is_library(tree, one)), "")
        if not place:
            # A library may ask for others that it can do without; what the application asks for it needs.
            if name in direct:
                result.unresolved.add(name)
            continue
        result.found.add(name)
        for path in _library_files(tree, place):
            if path.endswith(".so"):
                if len(result.native_modules) < MAX_PLACES:
                    result.native_modules.append(path)
                continue
            files += 1
            if files > MAX_FILES:
                result.problems.append(f"its libraries have more than {MAX_FILES} files: not all were read")
                return result
            for one in _imports_of(tree, path) - seen - sys.stdlib_module_names:
                seen.add(one)
                todo.append(one)
    return result


def _is_library(tree: Tree, place: str) -> bool:
    return tree.is_directory(place) or tree.is_file(f"{place}.py") or bool(_compiled(tree, place))


def _compiled(tree: Tree, place: str) -> list[str]:
    folder, name = posixpath.split(place)
    return [f"{folder}/{one}" for one in tree.names(folder) if one.startswith(f"{name}.") and one.endswith(".so")]


def _library_files(tree: Tree, place: str) -> Iterator[str]:
    if tree.is_file(f"{place}.py"):
        yield f"{place}.py"
    yield from _compiled(tree, place)
    for entry in tree.walk(place, enter=lambda path: posixpath.basename(path) not in SKIPPED_FOLDERS):
        if entry.kind is Kind.FILE and entry.path.endswith((".py", ".so")):
            yield entry.path


def _imports_of(tree: Tree, path: str) -> set[str]:
    raw = tree.read_bytes(path, limit=MAX_FILE_BYTES)
    module = parse_source(raw.decode("utf-8", "replace")) if raw else None
    if module is None:
        return set()
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(one.name.split(".", 1)[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".", 1)[0])
    return names
