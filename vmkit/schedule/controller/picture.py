"""The VMs as they were last heard of, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

import msgspec

from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.subjects import Subject, Surroundings, read_annotations, trim_instance

Key = tuple[str, str]
"""Namespace (empty for a Namespace itself) and name."""


class Kind(StrEnum):
    """What is watched, in the order in which it has to be known."""

    NAMESPACES = "namespaces"
    INSTANCES = "instances"
    VMS = "vms"


class Picture:
    """What watches tell, put together. Thread-safe.

    Objects are kept as compact JSON, of which thousands fit into little memory; what was made of them is kept too,
    and made anew only where one of them changes.

    Args:
        settings: what holds where VMs and namespaces say nothing.
        on_change: told when something changed that a decision may depend on; from any thread.
    """

    def __init__(self, settings: Settings, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._on_change = on_change
        self._lock = threading.RLock()
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._objects: dict[Kind, dict[Key, bytes]] = {Kind.INSTANCES: {}, Kind.VMS: {}}
        self._subjects: dict[Key, Subject] = {}
        self._surroundings = Surroundings(settings, {})
        self._listed: set[Kind] = set()

    @property
    def complete(self) -> bool:
        """Whether everything has been heard of, and nothing is known to be missed."""
        with self._lock:
            return len(self._listed) == len(Kind)

    def look(self) -> tuple[Surroundings, tuple[Subject, ...]]:
        """All VMs as they are known now."""
        with self._lock:
            vms = self._objects[Kind.VMS]
            if len(self._subjects) != len(vms):
                for key in vms.keys() - self._subjects.keys():
                    self._subjects[key] = self._build(key)
            return self._surroundings, tuple(self._subjects.values())

    def set_settings(self, settings: Settings) -> None:
        """Other settings hold from now on."""
        with self._lock:
            self._settings = settings
            self._surround()
        self._on_change()

    def lose(self, kind: Kind) -> None:
        """Nobody tells any more what becomes of these: nothing may be decided by them."""
        with self._lock:
            self._listed.discard(kind)

    def replace_all(self, kind: Kind, objects: Mapping[Key, dict[str, Any]]) -> None:
        """These are all there are."""
        with self._lock:
            known = (
                {("", name) for name in self._namespaces} if kind is Kind.NAMESPACES else set(self._objects[kind])
            )
            changed = kind not in self._listed
            for key in known - objects.keys():
                changed |= self._drop(kind, key)
            for key, document in objects.items():
                changed |= self._put(kind, key, document)
            self._listed.add(kind)
            changed &= self.complete
        if changed:
            self._on_change()

    def put(self, kind: Kind, key: Key, document: dict[str, Any]) -> None:
        """This one is so now."""
        with self._lock:
            changed = self._put(kind, key, document) and self.complete
        if changed:
            self._on_change()

    def drop(self, kind: Kind, key: Key) -> None:
        """This one is gone."""
        with self._lock:
            changed = self._drop(kind, key) and self.complete
        if changed:
            self._on_change()

    # --- one object, under the lock; each says whether it matters ----------------------------------

    def _put(self, kind: Kind, key: Key, document: dict[str, Any]) -> bool:
        if kind is Kind.NAMESPACES:
            annotations = read_annotations(document)
            if self._namespaces.get(key[1]) == annotations:
                return False
            self._namespaces[key[1]] = annotations
            self._surround(key[1])
            return True
        if kind is Kind.INSTANCES:
            document = trim_instance(document)
        encoded = msgspec.json.encode(document)
        if self._objects[kind].get(key) == encoded:
            return False
        self._objects[kind][key] = encoded
        return self._refresh(key)

    def _drop(self, kind: Kind, key: Key) -> bool:
        if kind is Kind.NAMESPACES:
            if self._namespaces.pop(key[1], None) is None:
                return False
            self._surround(key[1])
            return True
        if self._objects[kind].pop(key, None) is None:
            return False
        return self._refresh(key)

    def _refresh(self, key: Key) -> bool:
        before = self._subjects.pop(key, None)
        if key not in self._objects[Kind.VMS]:
            return before is not None
        if before is None and not self.complete:
            return True  # Made once, when all of it is there.
        self._subjects[key] = after = self._build(key)
        return before is None or _essence(before) != _essence(after)

    def _surround(self, namespace: str | None = None) -> None:
        """Something changed around the VMs of a namespace, or of all."""
        self._surroundings = Surroundings(self._settings, dict(self._namespaces))
        stale = [key for key in self._subjects if namespace in (None, key[0])]
        for key in stale:
            del self._subjects[key]

    def _build(self, key: Key) -> Subject:
        instance = self._objects[Kind.INSTANCES].get(key)
        vm: Any = msgspec.json.decode(self._objects[Kind.VMS][key])
        return self._surroundings.subject(vm, None if instance is None else msgspec.json.decode(instance))


def _essence(subject: Subject) -> tuple[Any, ...]:
    """What a decision may depend on: not the count of writes."""
    view = subject.view
    instance = None if view.instance is None else replace(view.instance, resource_version="")
    return replace(view, instance=instance, resource_version=""), subject.risks
