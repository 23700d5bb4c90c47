"""nginx: its configuration language, and what its servers do."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vmkit.migrate.tree.rooted import Tree

MAIN: Final = "/etc/nginx/nginx.conf"
_MAX_FILES: Final = 500
_MAX_DEPTH: Final = 16
_MAX_DIRECTIVES: Final = 100_000

# What makes a server more than a folder of files.
_DYNAMIC: Final = frozenset(
    {"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass", "perl", "js_content",
     "content_by_lua", "content_by_lua_block", "content_by_lua_file", "passenger_enabled", "auth_basic",
     "auth_request",
     "dav_methods", "ssi", "autoindex", "xslt_stylesheet", "image_filter", "mirror", "secure_link", "auth_jwt",
     "limit_req", "limit_conn", "sub_filter", "rewrite", "proxy_redirect", "allow", "deny", "geoip_country",
     "stub_status"}
)  # fmt: skip


@dataclass(slots=True)
class Directive:
    """One directive: its words, its block's directives (None without one), and where it stands."""

    words: list[str]
    block: list[Directive] | None
    path: str
    line: int


@dataclass(slots=True)
class Server:
    """One server block."""

    path: str
    line: int
    listens: list[tuple[str, int, bool]] = field(default_factory=list)
    """(address, port, TLS)"""
    names: list[str] = field(default_factory=list)
    root: str = ""
    dynamic: list[tuple[str, str, int]] = field(default_factory=list)
    """(directive with its argument, path, line)"""


def read_servers(tree: Tree) -> list[Server]:
    """The servers of /etc/nginx/nginx.conf and what it includes; empty without it."""
    if not tree.is_file(MAIN):
        return []
    reader = _Reader(tree)
    servers: list[Server] = []
    for directive in reader.read(MAIN, 0):
        if directive.words[0] == "http" and directive.block is not None:
            root = _find_root(directive.block)
            servers += [
                _server(one, root) for one in directive.block if one.words[0] == "server" and one.block is not None
            ]
    return servers


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._files = 0
        self._directives = 0

    def read(self, path: str, depth: int) -> list[Directive]:
        self._files += 1
        if depth > _MAX_DEPTH or self._files > _MAX_FILES:
            self._tree.note_problem(f"{path}: nginx includes too many files")
            return []
        text = self._tree.read_text(path, limit=2**20) or ""
        return self._block(tokenize(text), path, depth, 0)

    def _block(self, tokens: Iterator[tuple[str, int]], path: str, depth: int, nesting: int) -> list[Directive]:
        found: list[Directive] = []
        words: list[str] = []
        first = 0
        for token, line in tokens:
            self._directives += 1
            if self._directives > _MAX_DIRECTIVES:
                break
            if token == "}":
                break
            if token in (";", "{"):
                if token == "{":
                    inner = self._block(tokens, path, depth, nesting + 1) if nesting < _MAX_DEPTH else []
                    if words:
                        found.append(Directive(words, inner, path, first))
                elif words and words[0] == "include" and len(words) > 1:
                    found += self._include(words[1], depth)
                elif words:
                    found.append(Directive(words, None, path, first))
                words = []
                continue
            if not words:
                first = line
            words.append(token)
        return found

    def _include(self, pattern: str, depth: int) -> list[Directive]:
        pattern = posixpath.join("/etc/nginx", pattern)
        folder, name = posixpath.split(pattern)
        if "*" not in name and "?" not in name:
            return self.read(pattern, depth + 1) if self._tree.is_file(pattern) else []
        return [
            one
            for path in self._tree.files(folder)
            if fnmatch.fnmatchcase(posixpath.basename(path), name)
            for one in self.read(path, depth + 1)
        ]


def tokenize(text: str) -> Iterator[tuple[str, int]]:
    """nginx's words and marks with their lines; comments left out, quotes undone."""
    at, line = 0, 1
    while at < len(text):
        character = text[at]
        if character == "\n":
            line += 1
            at += 1
        elif character.isspace():
            at += 1
        elif character == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif character in ";{}":
            yield character, line
            at += 1
        elif character in "\"'":
            end = at + 1
            while end < len(text) and text[end] != character:
                end += 2 if text[end] == "\\" else 1
            word = text[at + 1 : end]
            yield word, line
            line += word.count("\n")
            at = end + 1
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in ";{}":
                # "${name}" belongs to its word
                if text.startswith("${", end):
                    closing = text.find("}", end)
                    end = closing if closing > 0 else end
                end += 1
            yield text[at:end], line
            at = end


def _find_root(block: list[Directive]) -> str:
    return next((one.words[1] for one in block if one.words[0] == "root" and len(one.words) > 1), "")


def _server(directive: Directive, inherited_root: str) -> Server:
    block = directive.block or []
    server = Server(directive.path, directive.line, root=_find_root(block) or inherited_root)
    for one in block:
        if one.words[0] == "listen" and len(one.words) > 1:
            parsed = parse_listen(one.words[1])
            if parsed is not None:
                server.listens.append((*parsed, "ssl" in one.words))
        elif one.words[0] == "server_name":
            server.names += [name for name in one.words[1:] if name != "_"]
    if not server.listens:
        server.listens.append(("*", 80, False))
    for one in _flatten(block):
        roots_below = one.words[0] in ("root", "alias") and one.words[1:2] != [server.root]
        if (one.words[0] in _DYNAMIC and one.words[1:2] != ["off"]) or roots_below:
            server.dynamic.append((" ".join(one.words[:2]), one.path, one.line))
    return server


def _flatten(block: list[Directive]) -> Iterator[Directive]:
    todo = list(reversed(block))
    while todo:
        one = todo.pop()
        yield one
        todo += reversed(one.block or [])


def parse_listen(text: str) -> tuple[str, int] | None:
    """Address and port of a listen directive; None for a socket ("unix:...")."""
    if text.startswith("unix:"):
        return None
    if text.isdigit():
        return ("*", int(text)) if 0 < int(text[:6]) < 65536 else None
    address, colon, port = text.rpartition(":")
    if colon and port.isdigit() and len(port) <= 5:
        return address or "*", int(port)
    return text, 80
