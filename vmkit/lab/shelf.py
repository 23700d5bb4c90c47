"""What stands behind the store: entries kept as encoded JSON, one shelf a kind, each with a log of its changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import msgspec

from vmkit.lab.resources import Object, ObjectKey, ResourceType

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_LOG_EVENTS: Final = 8_000
_LOG_BYTES: Final = 12 << 20
"""How much each kind remembers of its changes: enough for a watch that fell behind, little beside the objects."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class Entry:
    """A stored object and what is looked up without decoding it."""

    __slots__ = ("data", "key", "labels", "owners", "uid", "version")

    def __init__(  # noqa: PLR0917 - a record, made in one place
        self,
        key: ObjectKey,
        uid: str,
        version: int,
        labels: Mapping[str, str],
        owners: tuple[str, ...],
        data: bytes,
    ) -> None:
        self.key = key
        self.uid = uid
        self.version = version
        self.labels = labels
        self.owners = owners
        self.data = data

    def decode(self) -> Object:
        """The object, as a fresh copy."""
        obj: Object = decode(self.data)
        return obj


class Event(NamedTuple):
    """A change: what `Store.subscribe` reports and watches replay.

    ``object_bytes`` of a DELETED event is the last state, with the version of the deletion.
    """

    type: EventType
    rtype: ResourceType
    key: ObjectKey
    object_bytes: bytes
    old_bytes: bytes | None
    version: int
    labels: Mapping[str, str]
    old_labels: Mapping[str, str] | None

    @property
    def object(self) -> Object:
        """The object now, decoded."""
        obj: Object = decode(self.object_bytes)
        return obj

    @property
    def old(self) -> Object | None:
        """The object before, decoded; None when it is new."""
        return None if self.old_bytes is None else decode(self.old_bytes)


class Deleted(NamedTuple):
    """What a deletion came to: the object, and whether it is gone (or still held by finalizers or grace)."""

    object: Object
    gone: bool


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What must hold for a deletion; empty parts are not checked."""

    uid: str = ""
    resource_version: str = ""


class Shelf:
    """The objects of one resource type, and the log of their changes."""

    __slots__ = ("compacted", "entries", "log", "log_bytes", "order", "prefix", "rtype", "subscribers")

    def __init__(self, rtype: ResourceType, compacted: int) -> None:
        self.rtype = rtype
        self.entries: dict[str, dict[str, Entry]] = {}
        self.order: dict[str, list[str]] = {}
        self.log: deque[Event] = deque()
        self.log_bytes = 0
        self.compacted = compacted
        self.subscribers: list[Callable[[Event], None]] = []

    def find(self, key: ObjectKey) -> Entry | None:
        inner = self.entries.get(key.namespace)
        return None if inner is None else inner.get(key.name)

    def put(self, entry: Entry) -> None:
        namespace, name = entry.key
        inner = self.entries.setdefault(namespace, {})
        if name not in inner:
            self.order.pop(namespace, None)
        inner[name] = entry

    def pop(self, key: ObjectKey) -> None:
        inner = self.entries[key.namespace]
        del inner[key.name]
        self.order.pop(key.namespace, None)
        if not inner:
            del self.entries[key.namespace]

    def names(self, namespace: str) -> list[str]:
        ordered = self.order.get(namespace)
        if ordered is None:
            ordered = self.order[namespace] = sorted(self.entries.get(namespace, ()))
        return ordered

    def walk(self, namespace: str | None) -> Iterator[Entry]:
        """Entries in the order of their storage keys ("namespace/name")."""
        namespaces = sorted(self.entries, key=storage_order) if namespace is None else [namespace]
        for each in namespaces:
            inner = self.entries.get(each)
            if inner:
                for name in self.names(each):
                    yield inner[name]

    def append(self, event: Event) -> None:
        self.log.append(event)
        self.log_bytes += len(event.object_bytes)
        while len(self.log) > _LOG_EVENTS or (self.log_bytes > _LOG_BYTES and len(self.log) > 1):
            gone = self.log.popleft()
            self.log_bytes -= len(gone.object_bytes)
            self.compacted = gone.version


def storage_order(namespace: str) -> str:
    return namespace + "/"


_NO_LABELS: Final[Mapping[str, str]] = {}


def build_entry(key: ObjectKey, data: bytes, obj: Object | None = None, version: int = 0) -> Entry:
    obj = decode(data) if obj is None else obj
    metadata = obj["metadata"]
    labels = metadata.get("labels")
    owners = metadata.get("ownerReferences")
    return Entry(
        key,
        metadata["uid"],
        version or int(metadata["resourceVersion"]),
        dict(labels) if labels else _NO_LABELS,
        tuple(owner["uid"] for owner in owners if owner.get("uid")) if owners else (),
        data,
    )
