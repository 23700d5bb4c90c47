"""The way of a request: sent, tried again where that may help, and its answer read or its refusal understood."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import urllib3

from vmkit.cluster.failures import Asked, error_from_reply, explain_unauthorized, malformed
from vmkit.cluster.kubeconfig import Credentials, read_token_expiry
from vmkit.cluster.retry import RetryPolicy, may_repeat, repeat
from vmkit.cluster.transport import Reply, Request, Transport
from vmkit.errors import ClusterError, Unauthorized, Unreachable

JSON: Final = "application/json"
encode_json: Final = msgspec.json.Encoder().encode
_SILENCE_SECONDS: Final = 1.0
"""A request that took so long, or the whole of a shorter timeout, without an answer is worth a word."""
_decode: Final = msgspec.json.Decoder().decode


class Exchange:
    """Requests and answers with one cluster. Thread-safe."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int,
        request_timeout_seconds: float,
        policy: RetryPolicy,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.policy = policy
        self.transport = Transport(
            credentials, connections=connections, request_timeout_seconds=request_timeout_seconds
        )
        self._credentials = credentials
        self._on_warning = on_warning
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self._date = ""

    @property
    def server_time(self) -> datetime | None:
        """What the server's clock said with its last answer, to the second; None where it did not say."""
        try:
            at = parsedate_to_datetime(self._date)
        except ValueError:
            return None
        return at if at.tzinfo is not None else None

    def call(
        self,
        method: str,
        target: str,
        asked: Asked,
        body: bytes | None = None,
        *,
        content_type: str = "",
        accept: str = "",
        idempotent: bool | None = None,
    ) -> Reply:
        """Sends a request until it succeeds, fails for good or patience ends.

        Args:
            method: "GET" ...
            target: path and query.
            asked: what it means, for messages.
            body, content_type: what is sent.
            accept: the media types wanted; JSON where empty.
            idempotent: whether it may be sent again when nobody knows whether it was carried out; None: GETs may.

        Raises:
            ClusterError: the answer is no, or there is none.
        """
        safe = method == "GET" if idempotent is None else idempotent
        send = self.transport.send
        request = Request(method, target, asked, body, content_type, accept)

        def once() -> Reply:
            reply = send(request)
            if reply.status < 500:  # A fault may come from a proxy, with a clock of its own.
                self._date = reply.headers.get("date", "")
            if 200 <= reply.status < 300:
                if "warning" in reply.headers:
                    self._warn(reply)
                return reply
            raise self._error(reply, asked)

        began = time.monotonic()
        try:
            return once()
        except ClusterError as error:
            attempts = self.policy.attempts if self.transport.contacted else self.policy.first_contact_attempts
            if attempts <= 1 or not may_repeat(error, idempotent=safe):
                raise
            timeout_seconds = self.transport.timeout_seconds
            silent = time.monotonic() - began >= min(_SILENCE_SECONDS, timeout_seconds)
            if silent and isinstance(error, Unreachable):
                self._tell(f"no answer from {self.transport.server} yet; trying again")
            return repeat(
                error,
                once,
                policy=self.policy,
                idempotent=safe,
                attempts=attempts,
                began=began,
                timeout_seconds=timeout_seconds,
            )

    def call_for_object(
        self,
        method: str,
        target: str,
        asked: Asked,
        document: Any = None,
        *,
        content_type: str = JSON,
        idempotent: bool | None = None,
    ) -> dict[str, Any]:
        """Sends a JSON document (None: nothing) and returns the object that comes back.

        Raises:
            ClusterError: as `call`. MalformedReply: it is no object.
        """
        body = None if document is None else encode_json(document)
        return read_object(
            self.call(method, target, asked, body, content_type=content_type, idempotent=idempotent), asked
        )

    def open_stream(self, target: str, asked: Asked, *, timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        """Opens a GET whose body is read as it comes.

        Raises:
            ClusterError: it was refused.
        """
        response = self.transport.stream(target, asked, timeout_seconds=timeout_seconds)
        if response.status != 200:
            body = response.read()
            response.close()
            raise self._error(Reply(response.status, response.headers, body), asked)
        return response

    def _error(self, reply: Reply, asked: Asked) -> ClusterError:
        now = datetime.now(UTC)
        error = error_from_reply(reply.status, reply.headers, reply.body, asked, now=now)
        if isinstance(error, Unauthorized):
            return explain_unauthorized(
                error,
                origin=self._credentials.place.origin,
                expiry=read_token_expiry(self._credentials.header()),
                now=now,
            )
        return error

    def _warn(self, reply: Reply) -> None:
        # RFC 7234 5.5: 299 - "text", possibly several.
        text = reply.headers["warning"].partition('"')[2].rpartition('"')[0].replace('\\"', '"')
        self._tell(text)

    def _tell(self, text: str) -> None:
        """Passes on each different warning once."""
        if self._on_warning is None or not text:
            return
        with self._lock:
            new = text not in self._warned
            self._warned.add(text)
        if new:
            self._on_warning(text)


def read_object(reply: Reply, asked: Asked) -> dict[str, Any]:
    """The object of a reply.

    Raises:
        MalformedReply: it is none.
    """
    try:
        document = _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(asked, "the answer is no JSON") from error
    if not isinstance(document, dict):
        raise malformed(asked, "the answer is no object")
    return document


def read_optional_object(reply: Reply) -> dict[str, Any] | None:
    """The object of a reply, or None where its body is empty, no JSON or no object."""
    if not reply.body or "json" not in reply.headers.get("content-type", "json"):
        return None
    try:
        document = _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return document if isinstance(document, dict) else None


def build_query(**parameters: str) -> str:
    """The query of a target, from those parameters that are not empty."""
    given: Mapping[str, str] = {key: value for key, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""
