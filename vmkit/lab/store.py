"""The practice cluster's objects, kept as encoded JSON, with versions, ownership and a log to watch.

Everything happens on the lab's loop thread, so there are no locks. Objects handed out are fresh copies.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from vmkit.lab.clock import Clock, format_time
from vmkit.lab.resources import Object, ObjectKey, ResourceType
from vmkit.lab.schemas import Schemas
from vmkit.lab.semantics.ownership import track_update
from vmkit.lab.shelf import Deleted, Entry, Event, Preconditions, Shelf, build_entry, encode, storage_order
from vmkit.lab.status import (
    ApiError,
    Cause,
    already_exists,
    conflict,
    expired,
    forbidden,
    not_found,
    not_found_named,
    stale,
)

__all__ = ["FOREGROUND", "ORPHAN", "Deleted", "Entry", "Event", "Preconditions", "Store"]

_FIRST_VERSION: Final = 10_000
"""Versions start high, as in a cluster that has been up for a while: version 1 is long gone."""
_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_BASE: Final = 58
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


class Store:
    """All objects of a lab.

    Args:
        clock: gives creation and deletion times.
        seed: decides uids and generated names.
        schemas: field types, for managedFields.
    """

    def __init__(self, clock: Clock, *, seed: int = 1, schemas: Schemas | None = None) -> None:
        self.clock = clock
        self.schemas = schemas or Schemas()
        self.random = random.Random(seed)
        self._version = _FIRST_VERSION
        self._shelves: dict[str, Shelf] = {}
        self._uids: dict[str, tuple[ResourceType, ObjectKey]] = {}
        self._dependents: dict[str, set[str]] = {}
        self._subscribers: list[Callable[[Event], None]] = []
        self._pending: deque[Event] = deque()
        self._dispatching = False
        self._namespaces: ResourceType | None = None

    # --- reading ---------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The version of the latest write."""
        return self._version

    def find(self, rtype: ResourceType, namespace: str, name: str) -> Object | None:
        """A fresh copy, or None."""
        entry = self._shelf(rtype).find(ObjectKey(namespace, name))
        return None if entry is None else entry.decode()

    def get(self, rtype: ResourceType, namespace: str, name: str) -> Object:
        """A fresh copy.

        Raises:
            ApiError: 404.
        """
        entry = self._shelf(rtype).find(ObjectKey(namespace, name))
        if entry is None:
            raise not_found(rtype, name)
        return entry.decode()

    def entry(self, rtype: ResourceType, namespace: str, name: str) -> Entry | None:
        """The stored entry (bytes and index), or None."""
        return self._shelf(rtype).find(ObjectKey(namespace, name))

    def exists(self, rtype: ResourceType, namespace: str, name: str) -> bool:
        """Whether it is there; decodes nothing."""
        return self._shelf(rtype).find(ObjectKey(namespace, name)) is not None

    def entries(self, rtype: ResourceType, namespace: str | None = None) -> Iterator[Entry]:
        """Entries in storage order; namespace None: all of them."""
        return self._shelf(rtype).walk(namespace)

    def list(
        self,
        rtype: ResourceType,
        namespace: str | None = None,
        *,
        labels: Callable[[Mapping[str, str]], bool] | Mapping[str, str] | None = None,
    ) -> Iterator[Object]:
        """Fresh copies in storage order.

        Args:
            labels: a predicate on labels (such as a parsed selector's ``matches``), or labels all of which
            must be there.
        """
        wanted = _predicate(labels)
        for entry in tuple(self._shelf(rtype).walk(namespace)):
            if wanted is None or wanted(entry.labels):
                yield entry.decode()

    def count(self, rtype: ResourceType, namespace: str | None = None) -> int:
        """How many there are."""
        shelf = self._shelf(rtype)
        if namespace is not None:
            return len(shelf.entries.get(namespace, ()))
        return sum(len(inner) for inner in shelf.entries.values())

    def entries_at(self, rtype: ResourceType, version: int, namespace: str | None = None) -> Sequence[Entry]:
        """Entries as they were at an earlier version, for pages of one consistent list.

        Raises:
            ApiError: 410, the log does not reach back so far.
        """
        shelf = self._shelf(rtype)
        if version >= self._version or not shelf.log or shelf.log[-1].version <= version:
            return list(shelf.walk(namespace))
        if version < shelf.compacted:
            raise expired("The resourceVersion for the provided list is too old.")
        undone: dict[ObjectKey, Entry | None] = {}
        for event in reversed(shelf.log):
            if event.version <= version:
                break
            undone[event.key] = None if event.old_bytes is None else build_entry(event.key, event.old_bytes)
        kept = [entry for entry in shelf.walk(namespace) if entry.key not in undone]
        kept.extend(
            entry
            for key, entry in undone.items()
            if entry is not None and (namespace is None or key.namespace == namespace)
        )
        kept.sort(key=lambda entry: (storage_order(entry.key.namespace), entry.key.name))
        return kept

    def events_since(self, rtype: ResourceType, version: int) -> Sequence[Event]:
        """Logged events after a version, oldest first.

        Raises:
            ApiError: 410, the log does not reach back so far.
        """
        shelf = self._shelf(rtype)
        if version < shelf.compacted:
            oldest = shelf.log[0].version if shelf.log else shelf.compacted
            raise expired(f"too old resource version: {version} ({oldest})")
        found: list[Event] = []
        for event in reversed(shelf.log):
            if event.version <= version:
                break
            found.append(event)
        found.reverse()
        return found

    def by_uid(self, uid: str) -> tuple[ResourceType, ObjectKey] | None:
        """Where the object of a uid is, or None."""
        return self._uids.get(uid)

    def dependents(self, uid: str) -> Sequence[tuple[ResourceType, ObjectKey]]:
        """Where the objects are that name a uid among their owners."""
        return [self._uids[each] for each in sorted(self._dependents.get(uid, ())) if each in self._uids]

    # --- writing ---------------------------------------------------------------------------------------

    def create(
        self,
        rtype: ResourceType,
        obj: Object,
        *,
        manager: str = "",
        subresource: str | None = None,
        dry_run: bool = False,
        with_status: bool = False,
        check: Callable[[Object], None] | None = None,
    ) -> Object:
        """Stores a new object and returns it as stored.

        Args:
            manager: who owns the fields; "" leaves managedFields as they are.
            check: sees the object as it would be stored, and raises when it must not be.
            with_status: keeps the given status although status is a subresource (for objects born settled).

        Raises:
            ApiError: 404 or 403 (its namespace), 409 (it exists).
        """
        metadata = dict(obj.get("metadata") or {})
        namespace = metadata.get("namespace", "") if rtype.namespaced else ""
        self.check_namespace(rtype, namespace, metadata.get("name", ""))
        base = metadata.get("generateName", "")
        name = metadata.get("name") or (self._generate_name(rtype, namespace, base) if base else "")
        key = ObjectKey(namespace, name)
        shelf = self._shelf(rtype)
        written_version = obj.get("apiVersion", rtype.api_version)
        for transient in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
            metadata.pop(transient, None)
        if not rtype.namespaced:
            metadata.pop("namespace", None)
        metadata.update(name=name, uid=self.new_uid(), creationTimestamp=self._now_text())
        if rtype.namespaced:
            metadata["namespace"] = namespace
        if rtype.generation:
            metadata["generation"] = 1
        else:
            metadata.pop("generation", None)
        new: Object = {"kind": rtype.kind, "apiVersion": rtype.api_version, "metadata": metadata}
        new.update((field, value) for field, value in obj.items() if field not in new)
        if "status" in rtype.subresources and rtype.custom and not with_status:
            new.pop("status", None)
        if rtype.prepare is not None:
            rtype.prepare(new, self.clock.now())
        if manager:
            self._track(rtype, None, new, manager, written_version, subresource or "")
        if check is not None:
            check(new)
        if shelf.find(key) is not None:
            raise already_exists(rtype, name)
        if dry_run:
            return new
        self._write(shelf, key, new, None)
        return new

    def update(
        self,
        rtype: ResourceType,
        obj: Object,
        *,
        manager: str = "",
        subresource: str | None = None,
        dry_run: bool = False,
        owned: bool = False,
        check: Callable[[Object, Object], None] | None = None,
    ) -> Object:
        """Replaces an object (or, with subresource "status", its status) and returns it as stored.

        A resourceVersion in ``obj`` must be the present one; without one the write is unconditional. A write that
        changes nothing keeps the version.

        Args:
            owned: managedFields in ``obj`` are final.
            check: sees the object as it would be stored and the present one, and raises when it must not be.

        Raises:
            ApiError: 404, or 409 (stale resourceVersion).
        """
        sent = obj["metadata"]
        key = ObjectKey(sent.get("namespace", "") if rtype.namespaced else "", sent["name"])
        shelf = self._shelf(rtype)
        entry = shelf.find(key)
        if entry is None:
            raise not_found(rtype, key.name)
        if sent.get("resourceVersion") not in (None, "", str(entry.version)):
            raise stale(rtype, key.name)
        old = entry.decode()
        part = subresource or ""
        new = self._merge_parts(rtype, old, obj, part)
        if rtype.prepare_update is not None:
            rtype.prepare_update(new, old, part)
        if rtype.generation and _asks_differ(rtype, old, new):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if owned:
            managed = sent.get("managedFields")
            new["metadata"].pop("managedFields", None)
            if managed:
                new["metadata"]["managedFields"] = managed
        elif manager:
            written_version = obj.get("apiVersion", rtype.api_version)
            self._track(rtype, old, new, manager, written_version, part)
        elif part and "managedFields" in old["metadata"]:
            new["metadata"]["managedFields"] = old["metadata"]["managedFields"]
        if check is not None:
            check(new, old)
        if new == old:
            return old
        if dry_run:
            return new
        ending = "deletionTimestamp" in new["metadata"] and not new["metadata"].get("deletionGracePeriodSeconds")
        if ending and not _held(rtype, new):
            self._remove(shelf, entry, new)
            return new
        self._write(shelf, key, new, entry)
        return new

    def delete(
        self,
        rtype: ResourceType,
        namespace: str,
        name: str,
        *,
        preconditions: Preconditions | None = None,
        propagation: str | None = None,
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> Deleted:
        """Deletes an object, or marks it for deletion while finalizers or grace hold it.

        Args:
            propagation: "Foreground", "Background" or "Orphan"; None is the type's own way (background).
            grace_seconds: for types that end gracefully (pods).

        Raises:
            ApiError: 404, or 409 (preconditions).
        """
        shelf = self._shelf(rtype)
        entry = shelf.find(ObjectKey(namespace, name))
        if entry is None:
            raise not_found(rtype, name)
        obj = entry.decode()
        metadata: dict[str, Any] = obj["metadata"]
        if preconditions is not None:
            _check_preconditions(rtype, entry, preconditions)
        before = (list(metadata.get("finalizers", ())), metadata.get("deletionTimestamp"))
        finalizers = [each for each in before[0] if each not in (FOREGROUND, ORPHAN)]
        if propagation is None:
            # Without a policy a mark left by an earlier request stays in force.
            finalizers = list(before[0])
        elif propagation == "Orphan":
            finalizers.append(ORPHAN)
        elif propagation == "Foreground":
            finalizers.append(FOREGROUND)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        grace = rtype.graceful_seconds(obj, grace_seconds) if rtype.graceful_seconds is not None else 0
        held = _held(rtype, obj)
        if not held and not grace:
            if not dry_run:
                self._remove(shelf, entry, obj)
            return Deleted(obj, gone=True)
        known_grace = metadata.get("deletionGracePeriodSeconds")
        if before[1] is None or (known_grace is not None and grace < known_grace):
            if before[1] is None and metadata.get("generation"):
                metadata["generation"] += 1
            metadata["deletionTimestamp"] = format_time(self.clock.now() + timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
            if rtype.on_delete is not None:
                rtype.on_delete(obj)
        elif finalizers == before[0]:
            return Deleted(obj, gone=False)
        if not dry_run:
            self._write(shelf, entry.key, obj, entry)
        return Deleted(obj, gone=False)

    def restore(self, rtype: ResourceType, obj: Object) -> None:
        """Puts an object in as it is: uid, times and managedFields included (for loading a saved state)."""
        metadata = obj["metadata"]
        key = ObjectKey(metadata.get("namespace", "") if rtype.namespaced else "", metadata["name"])
        shelf = self._shelf(rtype)
        new: Object = {"kind": rtype.kind, "apiVersion": rtype.api_version, **obj}
        metadata.setdefault("uid", self.new_uid())
        metadata.setdefault("creationTimestamp", self._now_text())
        self._write(shelf, key, new, shelf.find(key))

    def clear(self) -> None:
        """Forgets every object, telling subscribers."""
        for shelf in self._shelves.values():
            for entry in tuple(shelf.walk(None)):
                self._remove(shelf, entry, entry.decode())

    def purge(self, rtype: ResourceType) -> None:
        """Forgets every object of a type that is served no more."""
        shelf = self._shelf(rtype)
        for entry in tuple(shelf.walk(None)):
            self._remove(shelf, entry, entry.decode())

    def check_namespace(self, rtype: ResourceType, namespace: str, name: str) -> None:
        """Refuses new content in a namespace that is not there or on its way out.

        Raises:
            ApiError: 404 or 403 (k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle).
        """
        if not rtype.namespaced or self._namespaces is None:
            return
        entry = self._shelf(self._namespaces).find(ObjectKey("", namespace))
        if entry is None:
            raise not_found_named("", "namespaces", namespace)
        if b'"deletionTimestamp"' in entry.data and "deletionTimestamp" in entry.decode()["metadata"]:
            error = forbidden(
                rtype.group,
                rtype.plural,
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )
            cause = Cause(
                "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
            )
            error.details = {**(error.details or {}), "causes": [cause.to_dict()]}
            raise error

    def guard_namespaces(self, rtype: ResourceType) -> None:
        """Says which type namespaces are; from then on objects need theirs to exist."""
        self._namespaces = rtype

    def new_uid(self) -> str:
        """A uid, decided by the seed."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def new_suffix(self, length: int = 5) -> str:
        """Random letters as in generated names."""
        return "".join(self.random.choices(_NAME_ALPHABET, k=length))

    # --- being told ------------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[Event], None], *rtypes: ResourceType) -> Callable[[], None]:
        """Calls back on every change (of the given types), in order; returns what ends it.

        A callback may write: what that causes is reported after the present event.
        """
        lists = [self._shelf(rtype).subscribers for rtype in rtypes] or [self._subscribers]
        for subscribers in lists:
            subscribers.append(callback)

        def end() -> None:
            for subscribers in lists:
                if callback in subscribers:
                    subscribers.remove(callback)

        return end

    def subscribe_all(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Calls back on every change of anything, in order; returns what ends it."""
        return self.subscribe(callback)

    # --- inside ----------------------------------------------------------------------------------------

    def _shelf(self, rtype: ResourceType) -> Shelf:
        shelf = self._shelves.get(rtype.resource)
        if shelf is None:
            shelf = self._shelves[rtype.resource] = Shelf(rtype, _FIRST_VERSION)
        shelf.rtype = rtype
        return shelf

    def _now_text(self) -> str:
        return format_time(self.clock.now())

    def _generate_name(self, rtype: ResourceType, namespace: str, base: str) -> str:
        shelf = self._shelf(rtype)
        for _ in range(8):
            name = base[:_GENERATED_BASE] + self.new_suffix()
            if shelf.find(ObjectKey(namespace, name)) is None:
                return name
        raise already_exists(rtype, name)

    def _track(  # noqa: PLR0917 - one caller each for create and update
        self, rtype: ResourceType, old: Object | None, new: Object, manager: str, api_version: str, part: str
    ) -> None:
        track_update(
            self.schemas.of(rtype),
            old,
            new,
            empty={"metadata": {}, **rtype.empty},
            manager=manager,
            api_version=api_version,
            subresource=part,
            time=self._now_text(),
        )

    def _merge_parts(self, rtype: ResourceType, old: Object, obj: Object, part: str) -> Object:
        """The new object: what the caller may set from ``obj``, everything else from the stored one."""
        kept, sent = old["metadata"], obj["metadata"]
        if part == "status":
            # Custom resources take nothing but the status; built-in ones let annotations through as well.
            metadata = dict(kept)
            if not rtype.custom and "annotations" in sent:
                metadata["annotations"] = sent["annotations"]
            new: Object = {**old, "metadata": metadata}
            new.pop("status", None)
            if "status" in obj:
                new["status"] = obj["status"]
        else:
            metadata = dict(sent)
            for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
                metadata.pop(field, None)
            fixed = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
            metadata.update((field, kept[field]) for field in fixed if field in kept)
            new = {"kind": rtype.kind, "apiVersion": rtype.api_version, "metadata": metadata}
            new.update((field, value) for field, value in obj.items() if field not in new)
            if "status" in rtype.subresources:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
            if "managedFields" not in sent and "managedFields" in kept:
                metadata["managedFields"] = kept["managedFields"]
        metadata["name"], metadata["resourceVersion"] = kept["name"], kept["resourceVersion"]
        if rtype.namespaced:
            metadata["namespace"] = kept["namespace"]
        else:
            metadata.pop("namespace", None)
        for field in ("labels", "annotations", "finalizers", "ownerReferences"):
            if field in metadata and not metadata[field]:
                del metadata[field]
        return new

    def _write(self, shelf: Shelf, key: ObjectKey, obj: Object, before: Entry | None) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        entry = build_entry(key, encode(obj), obj, self._version)
        if before is not None:
            self._unlink(before)
        shelf.put(entry)
        self._uids[entry.uid] = (shelf.rtype, key)
        for owner in entry.owners:
            self._dependents.setdefault(owner, set()).add(entry.uid)
        self._publish(
            shelf,
            Event(
                "ADDED" if before is None else "MODIFIED",
                shelf.rtype,
                key,
                entry.data,
                None if before is None else before.data,
                self._version,
                entry.labels,
                None if before is None else before.labels,
            ),
        )

    def _remove(self, shelf: Shelf, entry: Entry, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        shelf.pop(entry.key)
        self._unlink(entry)
        labels = obj["metadata"].get("labels") or {}
        data = encode(obj)
        self._publish(
            shelf, Event("DELETED", shelf.rtype, entry.key, data, entry.data, self._version, labels, entry.labels)
        )

    def _unlink(self, entry: Entry) -> None:
        self._uids.pop(entry.uid, None)
        for owner in entry.owners:
            others = self._dependents.get(owner)
            if others is not None:
                others.discard(entry.uid)
                if not others:
                    del self._dependents[owner]

    def _publish(self, shelf: Shelf, event: Event) -> None:
        shelf.append(event)
        self._pending.append(event)
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._pending:
                current = self._pending.popleft()
                subscribers = self._shelves[current.rtype.resource].subscribers
                for callback in (*self._subscribers, *subscribers):
                    callback(current)
        finally:
            self._dispatching = False


def _predicate(
    labels: Callable[[Mapping[str, str]], bool] | Mapping[str, str] | None,
) -> Callable[[Mapping[str, str]], bool] | None:
    if labels is None or callable(labels):
        return labels
    wanted: Iterable[tuple[str, str]] = tuple(labels.items())
    return lambda present: all(present.get(key) == value for key, value in wanted)


def _asks_differ(rtype: ResourceType, old: Object, new: Object) -> bool:
    """Whether what is asked for changed: everything but metadata and, where it is a subresource, status."""
    apart = {"kind", "apiVersion", "metadata"} | ({"status"} if "status" in rtype.subresources else set())
    fields = (old.keys() | new.keys()) - apart
    return any(old.get(field) != new.get(field) for field in fields)


def _held(rtype: ResourceType, obj: Object) -> bool:
    if obj["metadata"].get("finalizers"):
        return True
    return rtype.finalizing is not None and rtype.finalizing(obj)


def _check_preconditions(rtype: ResourceType, entry: Entry, wanted: Preconditions) -> None:
    if wanted.uid and wanted.uid != entry.uid:
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({entry.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise _precondition_failed(rtype, entry, why)
    if wanted.resource_version and wanted.resource_version != str(entry.version):
        why = (
            f"the ResourceVersion in the precondition ({wanted.resource_version}) does not match the "
            f"ResourceVersion in record ({entry.version}). The object might have been modified"
        )
        raise _precondition_failed(rtype, entry, why)


def _precondition_failed(rtype: ResourceType, entry: Entry, why: str) -> ApiError:
    # Unlike other conflicts this one names the kind (registry/rest/delete.go).
    return conflict(rtype.group, rtype.kind, entry.key.name, why)
