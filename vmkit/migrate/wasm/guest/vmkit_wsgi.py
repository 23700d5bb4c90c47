"""From a request to a WSGI call and back to a response (PEP 3333), without a server."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

Header = tuple[str, str]
Answer = tuple[int, list[Header], list[bytes]]

# Headers that only a server may set (PEP 3333, "Hop-by-hop"); the component's host is the server.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers",
     "transfer-encoding", "upgrade"}
)  # fmt: skip


def build_environ(
    *, method: str, target: str, scheme: str, authority: str, headers: Iterable[tuple[str, bytes]], body: bytes
) -> dict[str, Any]:
    """The environment of one request; ``target`` is the path with its query."""
    path, _, query = target.partition("?")
    host, _, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not host or not port.isdigit():
        host, port = authority or "localhost", "443" if scheme == "https" else "80"
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        # Bytes as latin-1, as PEP 3333 has it.
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        joined = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{joined}{text}" if key in environ and key.startswith("HTTP_") else text
    if authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = authority
    # What came is what there is, also where it was sent in chunks.
    if body and "CONTENT_LENGTH" not in environ:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def call_application(application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> Answer:
    """Calls a WSGI application: the status, the headers and the parts of the body.

    Raises:
        RuntimeError: it answered without start_response.
    """
    told: list[tuple[str, list[Header]]] = []
    parts: list[bytes] = []

    def start_response(status: str, headers: list[Header], exc_info: Any = None) -> Callable[[bytes], None]:
        if told and exc_info is None:
            raise AssertionError("start_response was called twice")
        told[:] = [(status, list(headers))]
        return parts.append

    result = application(environ, start_response)
    try:
        parts.extend(part for part in result if part)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    if not told:
        raise RuntimeError("the application answered without calling start_response")
    status, headers = told[0]
    kept = [(name.lower(), value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
    if environ["REQUEST_METHOD"] == "HEAD":
        parts = []
    return int(status.split(" ", 1)[0]), kept, parts
