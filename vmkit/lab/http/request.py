"""A request taken apart the way the API server does (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from vmkit.lab.status import bad_request

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(slots=True)
class Request:
    """One HTTP request. Header names are in lower case; ``query`` holds the first value of each parameter."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def accept(self) -> str:
        """The Accept header."""
        return self.headers.get("accept", "")

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        return self.headers.get("content-type", "")

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes: all but "false" and "0" do (apimachinery runtime/converter.go)."""
        value = self.query.get(name)
        return value is not None and value.lower() != "false" and value != "0"

    def number(self, name: str) -> int:
        """A query parameter that is an integer; 0 when it is absent or empty.

        Raises:
            ApiError: 400, it is none.
        """
        text = self.query.get(name, "")
        if not text:
            return 0
        if not _INTEGER.fullmatch(text):
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)


def parse_query(text: str) -> dict[str, str]:
    """A query string as its first values."""
    query: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(key, value)
    return query


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. ``resource`` is empty for paths that name none (discovery, health)."""

    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def is_resource(self) -> bool:
        """Whether it is about a resource."""
        return bool(self.resource)


def parse_target(request: Request) -> Target:
    """Finds group, version, namespace, resource, name and subresource in a path, and the verb."""
    parts = [unquote(part) for part in request.path.strip("/").split("/") if part]
    plain = Target(path=request.path, verb=request.method.lower())
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return plain
    namespace = ""
    verb = _VERBS.get(request.method, request.method.lower())
    if rest[0] == "watch" and len(rest) > 1:
        # The old way to watch: /api/v1/watch/...
        rest, verb = rest[1:], "watch"
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in ("status", "finalize"):
            rest = rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = "/".join(rest[2:])
    if not name:
        if verb == "get":
            verb = "watch" if request.flag("watch") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    elif verb == "get" and request.flag("watch") and not subresource:
        verb = "watch"
    return Target(request.path, verb, group, version, namespace, resource, name, subresource)
