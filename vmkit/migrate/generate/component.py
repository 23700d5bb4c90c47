"""What a workload's component is built of: its modules and libraries, or a site's files, and how it is built."""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vmkit.errors import EvidenceError, ManifestError
from vmkit.migrate.facts import Facts
from vmkit.migrate.inspect.python_code import library_folders_of
from vmkit.migrate.inspect.python_libraries import SKIPPED_FOLDERS
from vmkit.migrate.inspect.unit_files import split_words
from vmkit.migrate.rules.wasm import MAX_SITE_BYTES, MAX_SOURCE_BYTES
from vmkit.migrate.services import Service
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

RECIPE: Final = "build.json"
SOURCES: Final = "app"
_SITE: Final = "vmkit_site"
_TYPE_LINE: Final = re.compile(r"^\s*([\w.+-]+/[\w.+-]+)\s+([\w .+-]+);\s*$")
_LIBRARY_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a component is built from the folder beside it."""

    entry_point: str
    environment: Mapping[str, str]
    secrets: tuple[str, ...]


def find_obstacle(service: Service) -> str:
    """Why no component can be built of a workload that fits wasm; "" where one can."""
    runtime = service.runtime
    kind = (runtime.application, runtime.language) if runtime is not None else ("", "")
    if kind[0] == "static" or kind == ("wsgi", "python"):
        return ""
    if kind[0] == "fetch":
        return "vmkit builds components of Python and of files; for a fetch handler use jco componentize (npm)"
    return "it is neither a WSGI application nor a folder of files"


def write_component_sources(tree: Tree, facts: Facts, service: Service, folder: Path) -> tuple[Recipe, list[str]]:
    """Copies what the component is built of into ``folder``/app, and writes the recipe.

    Returns:
        The recipe, and what should be known of it, in words.

    Raises:
        EvidenceError: the guest's files cannot be read, or are too large.
    """
    sources = folder / SOURCES
    sources.mkdir(parents=True)
    variables = {one.name: one.value for one in service.unit.environment} if service.unit else {}
    plain = {name: value for name, value in variables.items() if value is not None}
    secrets = tuple(sorted(name for name, value in variables.items() if value is None))
    runtime = service.runtime
    notes: list[str] = []
    obstacle = find_obstacle(service)
    if obstacle or runtime is None:
        raise EvidenceError(f"no component can be built: {obstacle}", where=service.name)
    if runtime.application == "static":
        entry, plain, secrets = f"{_SITE}:application", {}, ()
        _write_site(tree, service, sources)
    else:
        entry = runtime.entry_point
        hidden = {one.evidence[0].path for one in facts.secrets if one.evidence}
        notes += _write_modules(tree, service, sources, hidden)
    recipe = Recipe(entry, plain, secrets)
    document = {"entryPoint": entry, "environment": dict(sorted(plain.items())), "secrets": list(secrets)}
    (folder / RECIPE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return recipe, notes


def read_recipe(path: Path) -> Recipe:
    """Reads what `write_component_sources` wrote.

    Raises:
        ManifestError: it is something else.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        environment = {str(key): str(value) for key, value in document["environment"].items()}
        return Recipe(str(document["entryPoint"]), environment, tuple(map(str, document["secrets"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"is no recipe of a component: {error!r}", where=str(path)) from error


def _write_site(tree: Tree, service: Service, sources: Path) -> None:
    root = service.sites[0].root
    files: dict[str, bytes] = {}
    modified: dict[str, int] = {}
    total = 0
    top = tree.real_path(root) or root
    for entry in tree.walk(root):
        if entry.kind is not Kind.FILE:
            continue
        stat = tree.stat_at(entry.location)
        total += stat.size if stat else 0
        if total > MAX_SITE_BYTES:
            raise EvidenceError(f"the site is larger than {MAX_SITE_BYTES} bytes", where=root)
        content = tree.read_at(entry.location, limit=MAX_SITE_BYTES)
        if stat is None or content is None:
            raise EvidenceError("it cannot be read", hint="the disk may be damaged", where=entry.path)
        path = "/" + posixpath.relpath(entry.path, top)
        files[path], modified[path] = content, stat.modified
    lines = ["from base64 import b64decode", "", "from vmkit_static import Site", "", "FILES = {"]
    lines += [f'    {path!r}: b64decode("{base64.b64encode(files[path]).decode()}"),' for path in sorted(files)]
    lines += ["}", "", f"MODIFIED = {dict(sorted(modified.items()))!r}", f"TYPES = {_types(tree)!r}"]
    lines += ["application = Site(FILES, modified=MODIFIED, types=TYPES)", ""]
    (sources / f"{_SITE}.py").write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")


def _types(tree: Tree) -> dict[str, str]:
    """The content types that the guest's nginx gives, by ending."""
    found: dict[str, str] = {}
    for line in tree.read_lines("/etc/nginx/mime.types")[:2000]:
        match = _TYPE_LINE.match(line)
        if match:
            found |= dict.fromkeys(match[2].split(), match[1])
    return dict(sorted(found.items()))


def _write_modules(tree: Tree, service: Service, sources: Path, hidden: set[str]) -> list[str]:
    runtime = service.runtime
    assert runtime is not None
    notes: list[str] = []
    other = 0
    for path, relative in _python_files(tree, runtime.root, keep=lambda path: path not in hidden):
        _copy(tree, path, sources / relative, MAX_SOURCE_BYTES)
    for entry in tree.walk(runtime.root, enter=lambda path: posixpath.basename(path) not in SKIPPED_FOLDERS):
        other += entry.kind is Kind.FILE and not entry.path.endswith((".py", ".pyc"))
    if other:
        notes.append(f"{other} files beside its code are not in the component: it can open no files")
    left = _LIBRARY_BYTES
    folders = library_folders_of(tree, runtime.root, _program(service))
    for name in runtime.libraries:
        place = next((f"{one}/{name}" for one in folders if _is_there(tree, f"{one}/{name}")), "")
        if tree.is_file(f"{place}.py"):
            left -= _copy(tree, f"{place}.py", sources / f"{name}.py", left)
        for path, relative in _python_files(tree, place) if tree.is_directory(place) else ():
            left -= _copy(tree, path, sources / name / relative, left)
    return notes


def _program(service: Service) -> str:
    """The path of what the unit starts: a virtual environment is found beside it."""
    words = split_words(service.unit.commands[-1]) if service.unit and service.unit.commands else []
    return words[0] if words else ""


def _is_there(tree: Tree, place: str) -> bool:
    return tree.is_directory(place) or tree.is_file(f"{place}.py")


def _python_files(tree: Tree, root: str, *, keep: Any = None) -> Iterator[tuple[str, str]]:
    top = tree.real_path(root) or root
    for entry in tree.walk(root, enter=lambda path: posixpath.basename(path) not in SKIPPED_FOLDERS):
        relative = posixpath.relpath(entry.path, top)
        # Names come out of a guest: only what Python could import goes onto this machine's disk.
        if entry.kind is Kind.FILE and _is_module(relative) and (keep is None or keep(entry.path)):
            yield entry.path, relative


def _is_module(relative: str) -> bool:
    return relative.endswith(".py") and all(part.isidentifier() for part in relative[:-3].split("/"))


def _copy(tree: Tree, path: str, target: Path, limit: int) -> int:
    content = tree.read_bytes(path, limit=limit + 1)
    if content is None:
        raise EvidenceError("it cannot be read", hint="the disk may be damaged", where=path)
    if len(content) > limit:
        raise EvidenceError("with it the component's source is too large", where=path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return len(content)
