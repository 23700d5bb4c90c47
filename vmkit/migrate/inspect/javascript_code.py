"""Node.js applications by their source: entry point, imports, ports, and what a sandbox could not do.

The source is searched, not parsed: what is found is a reason to look, and for wasm a reason to refuse.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from vmkit.migrate.facts import Evidence, Listener, Runtime, Unit
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

_SCRIPT_BYTES: Final = 2**20
_MAX_SCRIPTS: Final = 500
_IMPORT: Final = re.compile(
    r"""(?:\brequire\s*\(\s*|\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)['"](?:node:)?([^'"\n]{1,200})['"]"""
)
_FETCH_EVENT: Final = re.compile(
    r"addEventListener\s*\(\s*['\"]fetch['\"]|export\s+default\s*\{[^}]{0,2000}\bfetch\b"
)
_LISTEN: Final = re.compile(
    r"\.listen\s*\(\s*(?P<port>[0-9]{2,5}|process\.env\.(?P<name>\w+)(?:\s*\|\|\s*['\"]?(?P<or>[0-9]{2,5}))?)"
)
_FILE_WRITE: Final = re.compile(
    r"\b(?:writeFile|appendFile|createWriteStream|mkdir|unlink|rename|rmSync|openSync)(?:Sync)?\s*\("
)
_CHILD: Final = re.compile(r"\b(?:child_process|worker_threads|cluster)\b")
_EVAL: Final = re.compile(r"\beval\s*\(|\bnew\s+Function\s*\(")


def inspect_node(tree: Tree, unit: Unit, words: list[str]) -> tuple[Runtime, list[Listener]]:
    entry_word = next((word for word in words[1:] if not word.startswith("-")), "")
    folder = unit.working_directory or (posixpath.dirname(entry_word) if entry_word.startswith("/") else "")
    entry = (
        posixpath.normpath(posixpath.join(folder or "/", entry_word))
        if entry_word.endswith((".js", ".mjs", ".cjs"))
        else ""
    )
    root = folder or posixpath.dirname(entry)
    imports: set[str] = set()
    writes: list[Evidence] = []
    children: list[Evidence] = []
    evals: list[Evidence] = []
    native: list[str] = []
    ports: list[tuple[int, Evidence]] = []
    fetch = False
    size = 0
    variables = {one.name: one.value for one in unit.environment}
    for path in _sources(tree, root, native) if root not in ("", "/") else [entry]:
        text = tree.read_text(path, limit=_SCRIPT_BYTES) or ""
        size += len(text)
        fetch = fetch or (bool(_FETCH_EVENT.search(text)) and (path == entry or not entry))
        imports.update(one[1] for one in _IMPORT.finditer(text))
        for number, line in enumerate(text.splitlines(), 1):
            place = Evidence(path=path, line=number)
            for pattern, places in ((_FILE_WRITE, writes), (_CHILD, children), (_EVAL, evals)):
                if pattern.search(line) and len(places) < 50:
                    places.append(place)
            listen = _LISTEN.search(line)
            if listen:
                value = variables.get(listen["name"] or "") or listen["or"] or listen["port"]
                if value.isdigit():
                    ports.append((int(value[:5]), place))
    foreign = sorted(name for name in imports if not name.startswith((".", "/")))
    http = bool({"http", "https", "express", "fastify", "koa", "hono", "@hapi/hapi"} & set(foreign)) or fetch
    runtime = Runtime(
        service=unit.name,
        language="node",
        program=posixpath.basename(words[0]),
        entry_point=entry or entry_word,
        application="fetch" if fetch else "script",
        framework=next(
            (name for name in ("express", "fastify", "koa", "hono", "next", "@nestjs/core") if name in foreign), ""
        ),
        root=root,
        imports=foreign,
        native_modules=native,
        file_writes=writes,
        dynamic=evals,
        threads_or_processes=children,
        source_bytes=size,
        problems=[] if entry else ["its entry point is not named on the command line"],
        evidence=unit.evidence,
    )
    return runtime, [
        Listener(
            protocol="tcp", address="*", port=port, service=unit.name, program="node", http=http, evidence=[place]
        )
        for port, place in dict(ports).items()
        if 0 < port < 65536
    ]


def _sources(tree: Tree, root: str, native: list[str]) -> Iterator[str]:
    count = 0
    for entry in tree.walk(root, enter=lambda path: posixpath.basename(path) not in (".git", "test", "tests")):
        if entry.kind is not Kind.FILE:
            continue
        if entry.path.endswith(".node") and len(native) < 50:
            native.append(entry.path)
        if "/node_modules/" not in entry.path and entry.path.endswith((".js", ".mjs", ".cjs", ".ts")):
            count += 1
            if count > _MAX_SCRIPTS:
                return
            yield entry.path
