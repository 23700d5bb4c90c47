"""A folder of files as a WSGI application: what a web server with nothing but ``root`` and ``index`` answers."""

from __future__ import annotations

import email.utils
import mimetypes
from collections.abc import Callable, Iterable
from typing import Any

# No tables of the machine it runs on: the same site gives the same types everywhere.
_TYPES = mimetypes.MimeTypes()
_TYPES.types_map = (dict(mimetypes.types_map), dict(mimetypes.types_map))


class Site:
    """Serves files from memory.

    Args:
        files: content by path ("/index.html"); folders end in "/" and have no content.
        indexes: names that stand for their folder.
        modified: when each file was changed, in seconds of Unix time.
        types: content types by ending, where they differ from the usual ones.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        *,
        indexes: Iterable[str] = ("index.html",),
        modified: dict[str, int] | None = None,
        types: dict[str, str] | None = None,
    ) -> None:
        self._files, self._indexes, self._modified = files, tuple(indexes), modified or {}
        self._types = types or {}
        self._folders = {path[: end + 1] for path in files for end in _ends(path)}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start_response, "405 Not Allowed", [("Allow", "GET, HEAD")])
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
        path = _without_dots(path)
        if path is None:
            return _refuse(start_response, "400 Bad Request")
        if path in self._folders:
            found = next((path + name for name in self._indexes if path + name in self._files), None)
            if found is None:
                return _refuse(start_response, "403 Forbidden")
            path = found
        elif path + "/" in self._folders:
            target = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', 'localhost')}{path}/"
            return _refuse(start_response, "301 Moved Permanently", [("Location", target)])
        content = self._files.get(path)
        if content is None:
            return _refuse(start_response, "404 Not Found")
        headers = [("Content-Type", self._type_of(path)), ("Content-Length", str(len(content)))]
        if path in self._modified:
            changed = self._modified[path]
            headers += [
                ("Last-Modified", email.utils.formatdate(changed, usegmt=True)),
                ("ETag", f'"{changed:x}-{len(content):x}"'),
            ]
            if _is_unchanged(environ, headers):
                start_response("304 Not Modified", headers[2:])
                return []
        start_response("200 OK", headers)
        return [content]

    def _type_of(self, path: str) -> str:
        ending = path.rpartition("/")[2].rpartition(".")[2].lower()
        if ending in self._types:
            return self._types[ending]
        return _TYPES.guess_type(path)[0] or "application/octet-stream"


def _ends(path: str) -> list[int]:
    return [at for at, letter in enumerate(path) if letter == "/"]


def _without_dots(path: str) -> str | None:
    """The path without "." and ".." in it, as a web server takes it; None where it leads out of the site."""
    kept: list[str] = []
    parts = path.split("/")
    for part in parts[1:]:
        if part == "..":
            if not kept:
                return None
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    tail = "/" if parts[-1] in ("", ".", "..") and kept else ""
    return "/" + "/".join(kept) + tail


def _is_unchanged(environ: dict[str, Any], headers: list[tuple[str, str]]) -> bool:
    known = dict(headers)
    if "HTTP_IF_NONE_MATCH" in environ:
        return known["ETag"] in environ["HTTP_IF_NONE_MATCH"].replace("W/", "")
    return bool(environ.get("HTTP_IF_MODIFIED_SINCE") == known["Last-Modified"])


def _refuse(
    start_response: Callable[..., Any], status: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    body = f"{status}\n".encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), *headers])
    return [body]
