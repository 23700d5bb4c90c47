"""Kubernetes Events: recorded, counted and let go as client-go's recorder and the API server do."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.lab.clock import Clock, format_time, parse_time
from vmkit.lab.resources import ObjectKey, ResourceType
from vmkit.lab.status import ApiError
from vmkit.lab.store import Store

_LIFETIME: Final = timedelta(hours=1)
"""kube-apiserver's --event-ttl default."""

_Identity = tuple[str, str, str, str, str]


class EventRecorder:
    """Writes Events into a store.

    Args:
        events: the ``events`` resource type.
    """

    def __init__(self, store: Store, clock: Clock, events: ResourceType) -> None:
        self._store = store
        self._clock = clock
        self._events = events
        self._known: dict[_Identity, ObjectKey] = {}
        # Every Event lives equally long, so they fall due in the order they are made: one timer is enough.
        self._due: deque[tuple[datetime, _Identity, ObjectKey]] = deque()

    def record(
        self,
        involved: Mapping[str, Any],
        reason: str,
        message: str,
        *,
        component: str,
        type: str = "Normal",  # noqa: A002 - the field's own name
        manager: str = "",
        host: str = "",
    ) -> None:
        """Records that something happened to an object; the same again is counted on the same Event.

        Args:
            involved: the object it is about.
            component: who says so ("virtualmachine-controller").
            type: "Normal" or "Warning".
            manager: owner of the fields; empty: the component.
            host: the node it was seen on.
        """
        metadata = involved["metadata"]
        now = format_time(self._clock.now())
        identity = (metadata.get("uid", ""), reason, message, type, component)
        namespace = metadata.get("namespace") or "default"
        known = self._known.get(identity)
        if known is not None:
            event = self._store.find(self._events, known.namespace, known.name)
            if event is not None:
                event["count"] = event.get("count", 1) + 1
                event["lastTimestamp"] = now
                self._store.update(self._events, event, manager=manager or component)
                return
        reference = {
            "kind": involved.get("kind", ""),
            "namespace": metadata.get("namespace", ""),
            "name": metadata.get("name", ""),
            "uid": metadata.get("uid", ""),
            "apiVersion": involved.get("apiVersion", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        source = {"component": component, **({"host": host} if host else {})}
        event = {
            "metadata": {
                "name": f"{metadata.get('name', '')}.{self._store.random.getrandbits(64):016x}",
                "namespace": namespace,
            },
            "involvedObject": {key: value for key, value in reference.items() if value},
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": type,
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": host,
        }
        try:
            stored = self._store.create(self._events, event, manager=manager or component)
        except ApiError:
            # The namespace is going or gone; nobody could read the Event anyway.
            return
        key = ObjectKey(namespace, stored["metadata"]["name"])
        self._known[identity] = key
        self._wait(identity, key, self._clock.now() + _LIFETIME)

    def start_over(self) -> None:
        """Forgets what it has recorded and takes up the Events in the store (after a state was loaded)."""
        self._known.clear()
        self._due.clear()
        found = [
            (parse_time(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]), event)
            for event in self._store.list(self._events)
        ]
        for last, event in sorted(found, key=lambda pair: pair[0]):
            metadata, involved = event["metadata"], event.get("involvedObject") or {}
            component = (event.get("source") or {}).get("component", "")
            identity = (
                involved.get("uid", ""),
                event.get("reason", ""),
                event.get("message", ""),
                event.get("type", ""),
                component,
            )
            key = ObjectKey(metadata["namespace"], metadata["name"])
            self._known[identity] = key
            self._wait(identity, key, last + _LIFETIME)

    def _wait(self, identity: _Identity, key: ObjectKey, due: datetime) -> None:
        self._due.append((due, identity, key))
        if len(self._due) == 1:
            self._clock.call_at(due, self._let_go)

    def _let_go(self) -> None:
        """Lets go of every Event that has not been counted up for its lifetime."""
        now = self._clock.now()
        due, self._due = self._due, deque()
        while due and due[0][0] <= now:
            _, identity, key = due.popleft()
            event = self._store.find(self._events, key.namespace, key.name)
            seen = None if event is None else event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]
            last = None if seen is None else parse_time(seen) + _LIFETIME
            if last is not None and last > now:
                due.append((last, identity, key))
                continue
            if event is not None:
                self._store.delete(self._events, key.namespace, key.name)
            if self._known.get(identity) == key:
                del self._known[identity]
        self._due = deque(sorted(due, key=lambda each: each[0]))
        if self._due:
            self._clock.call_at(self._due[0][0], self._let_go)
