"""What a guest's own files say that can be asked of its workloads: pages of sites, paths in code, access logs."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final
from urllib.parse import quote

from vmkit.errors import VmkitError
from vmkit.migrate.services import Service
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind
from vmkit.migrate.verify.exchange import UNKNOWN_PATH, Request
from vmkit.migrate.verify.requests import is_target, parse_access_log

MOST: Final = 40
_LOG_BYTES: Final = 4 * 2**20
_SOURCE_BYTES: Final = 2**20
_SOURCES: Final = 200
_PAGES: Final = 2000
_LOGS: Final = {
    "nginx": ("/var/log/nginx/access.log", "/var/log/nginx/access.log.1"),
    "apache": ("/var/log/apache2/access.log", "/var/log/httpd/access_log"),
}  # fmt: skip
_ROUTE: Final = re.compile(r"/[A-Za-z0-9_.~/-]{0,200}")


def discover_requests(tree: Tree, service: Service, *, most: int = MOST) -> list[Request]:
    """GET requests for a workload that speaks HTTP; nothing for any other.

    First "/", then what its web server recorded, the files of its site, paths that its code names, and at last one
    that is not there.

    Args:
        tree: the guest's files.
        most: how many at the most.
    """
    if not speaks_http(service):
        return []
    found: dict[str, Request] = {"/": Request(service.name)}
    for request in (*_recorded(tree, service), *_pages(tree, service), *_routes(tree, service)):
        if len(found) >= most - 1:
            break
        if request.method == "GET":
            found.setdefault(request.path, request)
    found.setdefault(UNKNOWN_PATH, Request(service.name, path=UNKNOWN_PATH))
    return list(found.values())


def speaks_http(service: Service) -> bool:
    """Whether something is known that makes a workload a server of HTTP."""
    runtime = service.runtime
    return bool(service.ports) and (
        bool(service.sites)
        or any(one.http for one in service.listeners)
        or (runtime is not None and runtime.application in ("wsgi", "asgi", "fetch", "static"))
    )


def _recorded(tree: Tree, service: Service) -> Iterator[Request]:
    for path in _LOGS.get(service.program, ()):
        text = tree.read_text(path, limit=_LOG_BYTES)
        if text:
            yield from parse_access_log(text.splitlines(), service=service.name, origin=path, most=MOST)


def _pages(tree: Tree, service: Service) -> Iterator[Request]:
    for site in service.sites:
        try:
            files = (one.path for one in tree.walk(site.root) if one.kind is Kind.FILE)
            pages = sorted(islice((one for one in files if not posixpath.basename(one).startswith(".")), _PAGES))
        except VmkitError:
            return  # a damaged folder has no pages to ask for
        for page in pages:
            path = "/" + quote(posixpath.relpath(page, site.root), errors="surrogateescape")
            if is_target(path):
                yield Request(service.name, path=path)


def _routes(tree: Tree, service: Service) -> Iterator[Request]:
    """Texts of the application's Python code that look like paths of URLs: its routes are among them."""
    runtime = service.runtime
    if runtime is None or runtime.language != "python" or not runtime.root:
        return
    try:
        sources = [entry.location for entry in tree.walk(runtime.root) if entry.path.endswith(".py")]
    except VmkitError:
        return
    found: set[str] = set()
    for source in sources[:_SOURCES]:
        text = tree.read_at(source, limit=_SOURCE_BYTES)
        try:
            parsed = ast.parse(text or b"")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        texts = (node.value for node in ast.walk(parsed) if isinstance(node, ast.Constant))
        found |= {text for text in texts if isinstance(text, str) and _ROUTE.fullmatch(text) and is_target(text)}
    for route in sorted(found):
        # A path of the file system is no route.
        if tree.kind(route.rstrip("/") or "/") is None:
            yield Request(service.name, path=route)
