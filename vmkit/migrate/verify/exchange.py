"""What is asked and what is answered. Pure values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
"""The methods that a live VM is asked unless a request file says otherwise."""

UNKNOWN_PATH: Final = "/vmkit-proof-of-what-is-not-there"
"""A path that no application knows: what is not there must be not there on every side."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to a workload.

    Attributes:
        service: the workload's name.
        method: in capitals.
        path: with its query, beginning with "/".
        headers: (name, value) pairs.
        body: bytes.
        origin: where it comes from: "given", "discovered", or the access log it was recorded in.
    """

    service: str
    method: str = "GET"
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    origin: str = "discovered"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, or why there was none.

    Attributes:
        status: the HTTP status; 0 where there was no answer.
        headers: (name in small letters, value) pairs, in order.
        body: bytes, as they came: not decoded.
        seconds: from the request's first byte to the body's last.
        problem: why there was no answer, or "".
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    problem: str = ""

    def header(self, name: str) -> str | None:
        """All values of a header, joined as RFC 9110 5.3 allows; None where it is missing."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    @property
    def digest(self) -> str:
        """The body's SHA-256."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"
