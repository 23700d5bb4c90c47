"""Requests that somebody wrote down, or that a web server recorded. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from vmkit.errors import ManifestError
from vmkit.migrate.verify.exchange import SAFE_METHODS, Request

MAX_REQUESTS: Final = 10_000
_KEYS: Final = frozenset({"service", "method", "path", "headers", "body", "bodyBase64"})
_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
# The common and the combined log format of Apache and nginx: ... [time] "GET /path HTTP/1.1" 200 ...
_LOGGED: Final = re.compile(
    r'^\S+ \S+ .{0,200}?\[[^\]]{1,64}\] "(?P<method>[A-Z]{1,10}) (?P<path>/[^\s"]*) HTTP/[0-9.]+" '
)


def parse_requests(document: Any, *, where: str) -> list[Request]:
    """Reads a request file: ``requests:`` with one mapping each, docs/migrate.md says with what keys.

    Raises:
        ManifestError: something in it cannot be a request.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("requests"), list):
        raise ManifestError("has no list under the key requests", hint=_EXAMPLE, where=where)
    unknown = sorted(str(key) for key in document if key != "requests")
    if unknown:
        raise ManifestError(f"has keys that are not known: {', '.join(unknown)}", hint=_EXAMPLE, where=where)
    rows = document["requests"]
    if len(rows) > MAX_REQUESTS:
        raise ManifestError(f"has more than {MAX_REQUESTS} requests", where=where)
    return [_parse_request(row, where=f"{where}, request {number}") for number, row in enumerate(rows, 1)]


_EXAMPLE: Final = 'requests: [{service: web, method: GET, path: "/"}]'


def _parse_request(row: Any, *, where: str) -> Request:
    if not isinstance(row, Mapping):
        raise ManifestError("is no mapping", hint=_EXAMPLE, where=where)
    unknown = sorted(str(key) for key in row if key not in _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise ManifestError(
            f"has keys that are not known: {', '.join(unknown)}", hint=f"known: {known}", where=where
        )
    service, method, path = row.get("service"), row.get("method", "GET"), row.get("path", "/")
    if not isinstance(service, str) or not service:
        raise ManifestError("names no service", hint=_EXAMPLE, where=where)
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise ManifestError(f"method {method!r} is no HTTP method", where=where)
    if not isinstance(path, str) or not is_target(path):
        raise ManifestError(
            f"path {path!r} is no path",
            hint="it begins with / and has neither blanks nor control characters",
            where=where,
        )
    headers = row.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise ManifestError("headers is no mapping", where=where)
    pairs = []
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ManifestError(f"{name!r} is no name of a header", where=where)
        if not isinstance(value, str | int) or re.search(r"[\r\n\0]", str(value)):
            raise ManifestError(f"header {name} is no text of one line", where=where)
        pairs.append((name, str(value)))
    return Request(service, method.upper(), path, tuple(pairs), _parse_body(row, where), "given")


def _parse_body(row: Mapping[str, Any], where: str) -> bytes:
    text, encoded = row.get("body"), row.get("bodyBase64")
    if text is not None and encoded is not None:
        raise ManifestError("has body and bodyBase64", hint="give one of them", where=where)
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ManifestError("bodyBase64 is no base64", where=where) from error
    if text is None:
        return b""
    if not isinstance(text, str):
        raise ManifestError("body is no text", hint="for bytes there is bodyBase64", where=where)
    return text.encode()


def is_target(path: str) -> bool:
    """Whether a text can stand in a request line as a path with a query (RFC 9112 3.2.1)."""
    return len(path) <= 8192 and re.fullmatch(r"/[\x21-\x7e]*", path) is not None and not path.startswith("//")


def parse_access_log(lines: Iterable[str], *, service: str, origin: str, most: int = 50) -> list[Request]:
    """The different GET and HEAD requests of a log in the common or combined format, in order of appearance.

    Args:
        lines: the log; lines of other forms are passed over.
        service: the workload that answered.
        origin: what the requests say of where they come from.
        most: how many at the most.
    """
    found: dict[tuple[str, str], Request] = {}
    for line in lines:
        match = _LOGGED.match(line)
        if match is None or match["method"] not in SAFE_METHODS:
            continue
        path = quote(match["path"], safe="/?#[]@!$&'()*+,;=:%-._~")
        if is_target(path):
            found.setdefault((match["method"], path), Request(service, match["method"], path, origin=origin))
        if len(found) >= most:
            break
    return list(found.values())
