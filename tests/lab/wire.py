"""Plain HTTP to a lab, for tests that care about the bytes."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vmkit.lab import Lab


@dataclass(frozen=True)
class Reply:
    """An answer; ``body`` is decoded JSON, a list of watch events under "stream", or {"text": ...}."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: bytes = b""


class Wire:
    """Requests to a lab, a connection each.

    Args:
        token: whose token; None: the lab's own; empty: none at all.
    """

    def __init__(self, lab: Lab, *, token: str | None = None, timeout: float = 20.0) -> None:
        split = urlsplit(lab.url)
        self._host, self._port, self._timeout = split.hostname, split.port, timeout
        self._token = lab.token if token is None else token
        self._tls = ssl.create_default_context(cadata=lab.authority) if split.scheme == "https" else None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "",
        accept: str = "application/json",
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Sends one request and reads the whole answer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Accept": accept, **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        if data is not None:
            sent["Content-Type"] = content_type or "application/json"
        connection = self._connect()
        try:
            connection.request(method, path, body=data, headers=sent)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, _decode(content, found.get("content-type", ""), path), content)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self._host or "", self._port, timeout=self._timeout, context=self._tls
            )
        return http.client.HTTPConnection(self._host or "", self._port, timeout=self._timeout)

    def get(self, path: str, **options: Any) -> Reply:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> Reply:
        return self.send("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Reply:
        return self.send("PUT", path, body, **options)

    def merge(self, path: str, body: Any, **options: Any) -> Reply:
        return self.send("PATCH", path, body, content_type="application/merge-patch+json", **options)

    def apply(self, path: str, body: Any, *, manager: str, force: bool = False, **options: Any) -> Reply:
        separator = "&" if "?" in path else "?"
        path = f"{path}{separator}fieldManager={manager}" + ("&force=true" if force else "")
        return self.send("PATCH", path, body, content_type="application/apply-patch+yaml", **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Reply:
        return self.send("DELETE", path, body, **options)


def _decode(content: bytes, content_type: str, path: str) -> Any:
    if content_type.startswith("application/json") and ("watch=1" in path or "watch=true" in path):
        lines = [line for line in content.split(b"\n") if line.strip()]
        events = [json.loads(line) for line in lines]
        if all("type" in event for event in events):
            return {"stream": events}
    if content_type.startswith("application/json"):
        return json.loads(content)
    return {"text": content.decode(errors="replace")}
