"""Watches: what a client sees of the store's events, through its selectors, from the version it asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from vmkit.lab.clock import Clock
from vmkit.lab.http.lists import Selection, convert, parse_version
from vmkit.lab.http.media import Format
from vmkit.lab.resources import Object
from vmkit.lab.semantics.tables import build_table, to_partial
from vmkit.lab.status import ApiError, Cause, invalid
from vmkit.lab.store import Event, Store

_MAX_WAITING: Final = 50_000
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class Watch:
    """One client's watch: lines wait in ``pending`` until they are sent; ``wake`` is called when there are new
    ones.

    Args:
        selection: what is watched.
        version: the API version objects are written in.
        shape: the format asked for.

    Raises:
        ApiError: 422, the parameters contradict each other.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        selection: Selection,
        query: Mapping[str, str],
        *,
        version: str,
        shape: Format,
    ) -> None:
        _check_options(query)
        self._store = store
        self._clock = clock
        self._selection = selection
        self._version = version
        self._shape = shape
        self._query = query
        self.bookmarks = query.get("allowWatchBookmarks", "") in ("1", "true")
        self.pending: deque[bytes] = deque()
        self.wake: Callable[[], None] = lambda: None
        self.ended = False
        self.paused = False
        self._first = True
        self._sent = 0
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Queues what has happened since the version asked for, and follows from there."""
        asked = parse_version(self._query.get("resourceVersion", ""))
        initial = self._query.get("sendInitialEvents")
        text = self._query.get("resourceVersion", "")
        wants_state = initial in ("1", "true") or (initial is None and text in ("", "0"))
        if wants_state:
            for entry in tuple(self._store.entries(self._selection.rtype, self._selection.namespace)):
                if self._matches(entry.key.namespace, entry.key.name, entry.labels, entry.data):
                    self._queue("ADDED", entry.data, entry.decode)
            if initial is not None and self.bookmarks:
                self._bookmark(self._store.version, initial_end=True)
        elif text not in ("", "0"):
            try:
                missed = self._store.events_since(self._selection.rtype, asked)
            except ApiError as error:
                self.fail(error)
                return
            for event in missed:
                self._on_event(event)
        self._sent = self._store.version
        if asked > self._store.version:
            # Nothing is seen until the store has caught up with what the client claims to have seen.
            self._sent = asked
        self._end = self._store.subscribe(self._follow, self._selection.rtype)

    def stop(self) -> None:
        """Ends following."""
        if self._end is not None:
            self._end()
            self._end = None
        self.ended = True

    def bookmark(self) -> None:
        """Queues a bookmark at the present version, if the client wants them."""
        if self.bookmarks and not self.ended and not self.paused:
            self._bookmark(self._store.version)
            self.wake()

    def fail(self, error: ApiError) -> None:
        """Ends the watch with an ERROR event."""
        self._line("ERROR", msgspec.json.encode(error.to_dict()))
        self.stop()
        self.wake()

    def _follow(self, event: Event) -> None:
        if event.version <= self._sent or self.paused:
            return
        self._on_event(event)
        if len(self.pending) > _MAX_WAITING:
            # As in the real watch cache: a client that does not read is let go, and lists again.
            self.stop()
        self.wake()

    def _on_event(self, event: Event) -> None:
        key = event.key
        now = event.type != "DELETED" and self._matches(key.namespace, key.name, event.labels, event.object_bytes)
        before = event.old_bytes is not None and self._matches(
            key.namespace, key.name, event.old_labels or {}, event.old_bytes
        )
        if now:
            self._queue("MODIFIED" if before else "ADDED", event.object_bytes, lambda: event.object)
        elif before and event.old_bytes is not None:
            # What left the selection is reported as it was, with the version of the change.
            gone = event.object_bytes if event.type == "DELETED" else _with_version(event.old_bytes, event.version)
            self._queue("DELETED", gone, lambda: msgspec.json.decode(gone))

    def _matches(self, namespace: str, name: str, labels: Mapping[str, str], data: bytes) -> bool:
        return self._selection.matches(namespace, name, labels, lambda: msgspec.json.decode(data))

    def _queue(self, kind: str, data: bytes, decode: Callable[[], Object]) -> None:
        rtype = self._selection.rtype
        shape = self._shape.shape
        if shape == "Table":
            table = build_table(
                rtype,
                [self._present(decode())],
                at=self._clock.now(),
                metadata={"resourceVersion": decode()["metadata"]["resourceVersion"]},
                include=self._query.get("includeObject", "Metadata"),
                with_columns=self._first,
            )
            self._first = False
            self._line(kind, msgspec.json.encode(table))
        elif shape.startswith("PartialObjectMetadata"):
            self._line(kind, msgspec.json.encode(to_partial(decode())))
        else:
            self._line(kind, convert(rtype, self._version, data))

    def _present(self, obj: Object) -> Object:
        return {**obj, "apiVersion": self._selection.rtype.api_version_of(self._version)}

    def _bookmark(self, version: int, *, initial_end: bool = False) -> None:
        rtype = self._selection.rtype
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        obj: Object = {
            "kind": rtype.kind,
            "apiVersion": rtype.api_version_of(self._version),
            **({} if rtype.custom else {key: {} for key in rtype.empty if key != "metadata"}),
            "metadata": metadata,
        }
        if self._shape.shape == "Table":
            obj = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": None,
                "rows": [],
            }
        elif self._shape.shape:
            obj = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        self._line("BOOKMARK", msgspec.json.encode(obj))

    def _line(self, kind: str, data: bytes) -> None:
        self.pending.append(b'{"type":"' + kind.encode() + b'","object":' + data + b"}\n")


def _with_version(data: bytes, version: int) -> bytes:
    obj = msgspec.json.decode(data)
    obj["metadata"]["resourceVersion"] = str(version)
    return msgspec.json.encode(obj)


def _check_options(query: Mapping[str, str]) -> None:
    """Which watch parameters go together (apis/meta/internalversion/validation)."""
    causes: list[Cause] = []
    initial = query.get("sendInitialEvents")
    match = query.get("resourceVersionMatch", "")
    if initial is not None and match != "NotOlderThan":
        message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(Cause("FieldValueForbidden", message, "resourceVersionMatch"))
    if match and initial is None:
        message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(Cause("FieldValueForbidden", message, "resourceVersionMatch"))
    if match not in ("", "NotOlderThan"):
        message = f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        causes.append(Cause("FieldValueNotSupported", message, "resourceVersionMatch"))
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)
