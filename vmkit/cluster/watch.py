"""Watching: what changes, as it changes, without gaps."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import urllib3
import urllib3.exceptions as http

from vmkit.cluster.failures import Asked, error_from_status
from vmkit.cluster.listing import Listing
from vmkit.cluster.retry import RetryPolicy, may_repeat
from vmkit.errors import ClusterError, Expired

_ROUND_SECONDS: Final = 60.0
"""One request watches so long at most. The next resumes where it ended, so that a connection that died silently
costs no more than this."""
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change: ``type`` is ADDED, MODIFIED or DELETED; ``object`` as it is now (for DELETED: as it was last).

    After a gap the server cannot fill, changes are found by listing again: then an object in a DELETED event
    carries only its metadata's name, namespace and uid.
    """

    type: str
    object: dict[str, Any]


class Source(Protocol):
    """What a watch needs of a session."""

    def open(self, resource_version: str, seconds: float) -> urllib3.BaseHTTPResponse:
        """Opens the stream of changes since ``resource_version``, to end after ``seconds``.

        Raises:
            ClusterError: it was refused.
        """
        ...

    def relist(self) -> Listing:
        """The objects as they are now."""
        ...


class Watch:
    """An iterator over the changes. `close` may be called from another thread and ends it.

    Raises while iterated:
        ClusterError: the watch was refused, or the cluster stayed away for longer than the policy's patience.
    """

    def __init__(
        self,
        source: Source,
        asked: Asked,
        *,
        resource_version: str,
        timeout_seconds: float | None,
        policy: RetryPolicy,
        on_listed: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._asked = asked
        self._version = resource_version
        self._deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._policy = policy
        self._on_listed = on_listed
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}
        self._response: urllib3.BaseHTTPResponse | None = None
        self._closed = threading.Event()
        self._events = self._run()

    @property
    def resource_version(self) -> str:
        """Up to where changes have been seen."""
        return self._version

    def __iter__(self) -> Iterator[WatchEvent]:
        return self

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the watch; its iterator stops soon, also one that waits in another thread."""
        self._closed.set()
        response = self._response
        if response is not None:
            # Its reader may have ended, or given the connection back, at this very moment.
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                response.shutdown()
        with contextlib.suppress(ValueError):  # It runs in another thread, and will see the flag.
            self._events.close()

    def _run(self) -> Generator[WatchEvent, None, None]:
        failures, first_failure = 0, 0.0
        while not self._closed.is_set() and time.monotonic() < self._deadline:
            try:
                if not self._version:
                    yield from self._relist()
                    if self._on_listed is not None:
                        self._on_listed()
                seen = False
                for event in self._round():
                    failures, seen = 0, True
                    yield event
                if not seen:
                    # A server that ends every watch at once must not be asked in a tight loop.
                    self._closed.wait(min(0.05 * 2**failures, 1.0))
                    failures = min(failures + 1, 5)
                else:
                    failures = 0
            except Expired:
                self._version = ""
            except ClusterError as error:
                first_failure = first_failure if failures else time.monotonic()
                failures += 1
                patient = time.monotonic() - first_failure < self._policy.deadline_seconds
                if self._closed.is_set():
                    return
                if not may_repeat(error, idempotent=True) or not patient or failures >= self._policy.attempts:
                    raise
                backoff = min(self._policy.base_seconds * 2**failures, self._policy.cap_seconds)
                self._closed.wait(max(backoff, error.retry_after_seconds or 0.0))

    def _round(self) -> Iterator[WatchEvent]:
        seconds = max(1.0, min(_ROUND_SECONDS, self._deadline - time.monotonic()))
        response = self._response = self._source.open(self._version, seconds)
        try:
            if self._closed.is_set():
                return  # While it was being opened there was nothing to shut down.
            for line in _lines(response):
                if self._closed.is_set():
                    return
                event = self._read(line)
                if event is not None:
                    yield event
        except (http.HTTPError, OSError):
            return  # Cut off, or silent for too long: the next round resumes.
        finally:
            self._response = None
            response.close()

    def _read(self, line: bytes) -> WatchEvent | None:
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # A line cut short at the end of a broken connection: its change comes again.
        kind, body = (document.get("type"), document.get("object")) if isinstance(document, dict) else (None, None)
        if not isinstance(body, dict) or not isinstance(kind, str):
            return None
        if kind == "ERROR":
            raise error_from_status(body, self._asked)
        metadata = body.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        version = metadata.get("resourceVersion")
        if isinstance(version, str) and version:
            self._version = version
        if kind == "BOOKMARK":
            return None
        self._remember(kind, metadata)
        return WatchEvent(kind, body)

    def _remember(self, kind: str, metadata: dict[str, Any]) -> None:
        uid = metadata.get("uid")
        if not isinstance(uid, str):
            return
        if kind == "DELETED":
            self._known.pop(uid, None)
            return
        stub: dict[str, Any] = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
        self._known[uid] = (str(metadata.get("resourceVersion")), stub)

    def _relist(self) -> Iterator[WatchEvent]:
        before, self._known = self._known, {}
        listing = self._source.relist()
        for item in listing:
            metadata = item.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            was = before.pop(str(metadata.get("uid")), None)
            kind = "ADDED" if was is None else "MODIFIED"
            self._remember(kind, metadata)
            if was is None or was[0] != str(metadata.get("resourceVersion")):
                yield WatchEvent(kind, item)
        for _, stub in before.values():
            yield WatchEvent("DELETED", {"metadata": stub})
        self._version = listing.resource_version


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    chunks = response.read_chunked() if response.chunked else iter(lambda: response.read1(65536), b"")
    for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            yield from (line for line in lines if line.strip())
