"""Garbage collection: what its owners have left behind goes (pkg/controller/garbagecollector)."""

from __future__ import annotations

from typing import ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.resources import Object, ObjectKey, ResourceType
from vmkit.lab.store import FOREGROUND, ORPHAN, Event

_BY_UID: Final = "\0uid"


class GarbageCollector(Controller):
    """Acts on uids: an owner that is gone, one that waits for its dependents, or an object whose owners are to
    be found.

    Keys are made of uids: ``ObjectKey("\\0uid", uid)``.
    """

    name: ClassVar[str] = "garbage-collector"

    def setup(self) -> None:
        """Looks at every change of anything that owns or is owned."""

        def on_event(event: Event) -> None:
            if event.type == "DELETED":
                gone = event.object["metadata"]
                for rtype, key in self.store.dependents(gone["uid"]):
                    self._look(rtype, key)
                # An owner that waits in foreground deletion may be free now.
                for owner in gone.get("ownerReferences") or ():
                    self.enqueue(ObjectKey(_BY_UID, owner["uid"]))
            elif b'"ownerReferences"' in event.object_bytes or b'"deletionTimestamp"' in event.object_bytes:
                self._look(event.rtype, event.key)

        self._ends.append(self.store.subscribe_all(on_event))
        for rtype in self.registry:
            for entry in tuple(self.store.entries(rtype)):
                if entry.owners or b'"deletionTimestamp"' in entry.data:
                    self._look(rtype, entry.key)

    def _look(self, rtype: ResourceType, key: ObjectKey) -> None:
        entry = self.store.entry(rtype, key.namespace, key.name)
        if entry is not None:
            self.enqueue(ObjectKey(_BY_UID, entry.uid))

    def reconcile(self, key: ObjectKey) -> None:
        """Looks at one object, found by its uid."""
        place = self.store.by_uid(key.name)
        if place is None:
            return
        rtype, where = place
        obj = self.store.find(rtype, where.namespace, where.name)
        if obj is None or obj["metadata"]["uid"] != key.name:
            return
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata:
            finalizers = metadata.get("finalizers") or ()
            if ORPHAN in finalizers:
                self._orphan(rtype, obj)
            elif FOREGROUND in finalizers:
                self._foreground(rtype, obj)
            return
        if metadata.get("ownerReferences"):
            self._check_owners(rtype, obj)

    def _check_owners(self, rtype: ResourceType, obj: Object) -> None:
        metadata = obj["metadata"]
        alive: list[Object] = []
        waiting: list[Object] = []
        gone: list[Object] = []
        for owner in metadata["ownerReferences"]:
            found = self._find_owner(owner, metadata.get("namespace", ""))
            if found is None:
                gone.append(owner)
            elif (
                FOREGROUND in (found["metadata"].get("finalizers") or ())
                and "deletionTimestamp" in found["metadata"]
            ):
                waiting.append(owner)
            else:
                alive.append(owner)
        if not gone and not waiting:
            return
        if alive:
            metadata["ownerReferences"] = alive
            self.store.update(rtype, obj, manager="kube-controller-manager")
            return
        policy = "Foreground" if waiting and self.store.dependents(metadata["uid"]) else "Background"
        finalizers = metadata.get("finalizers") or ()
        if ORPHAN in finalizers:
            policy = "Orphan"
        self.store.delete(rtype, metadata.get("namespace", ""), metadata["name"], propagation=policy)

    def _find_owner(self, owner: Object, namespace: str) -> Object | None:
        place = self.store.by_uid(owner.get("uid", ""))
        if place is None:
            return None
        rtype, key = place
        # An owner in another namespace is none, whatever its uid says.
        if rtype.namespaced and key.namespace != namespace:
            return None
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        if (rtype.group, rtype.kind, key.name) != (group, owner.get("kind"), owner.get("name")):
            return None
        return self.store.find(rtype, key.namespace, key.name)

    def _orphan(self, rtype: ResourceType, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        for other, key in self.store.dependents(uid):
            dependent = self.store.find(other, key.namespace, key.name)
            if dependent is not None:
                metadata = dependent["metadata"]
                metadata["ownerReferences"] = [each for each in metadata["ownerReferences"] if each["uid"] != uid]
                self.store.update(other, dependent, manager="kube-controller-manager")
        self._release(rtype, obj, ORPHAN)

    def _foreground(self, rtype: ResourceType, obj: Object) -> None:
        metadata = obj["metadata"]
        blocking = False
        for other, key in self.store.dependents(metadata["uid"]):
            dependent = self.store.find(other, key.namespace, key.name)
            if dependent is None:
                continue
            owners = dependent["metadata"].get("ownerReferences") or ()
            blocking = blocking or any(
                each["uid"] == metadata["uid"] and each.get("blockOwnerDeletion") for each in owners
            )
            if "deletionTimestamp" not in dependent["metadata"]:
                self.enqueue(ObjectKey(_BY_UID, dependent["metadata"]["uid"]))
        if not blocking:
            self._release(rtype, obj, FOREGROUND)

    def _release(self, rtype: ResourceType, obj: Object, finalizer: str) -> None:
        metadata = obj["metadata"]
        metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != finalizer]
        self.store.update(rtype, obj, manager="kube-controller-manager")
