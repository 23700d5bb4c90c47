"""The garbage collector: what an owner's end means for the objects that name it as their owner.

As k8s.io/kubernetes/pkg/controller/garbagecollector does: background deletion (dependents go once no owner is
left), foreground deletion (the owner waits for the dependents that block it), orphaning (references are taken off
first), and dependents whose owner never was.
"""

from __future__ import annotations

from typing import ClassVar, Final

from vmkit.lab.controller import Controller
from vmkit.lab.resources import Object, ObjectKey, ResourceType
from vmkit.lab.status import ApiError
from vmkit.lab.store import FOREGROUND, ORPHAN, Event, Preconditions

_MANAGER: Final = "kube-controller-manager"


class GarbageController(Controller):
    """Keys are uids, each as the name of an `ObjectKey` without namespace: objects of any type come this way."""

    name: ClassVar[str] = "garbage-collector"

    def setup(self) -> None:
        self._ends.append(self.store.subscribe(self._on_event))
        for rtype in self.registry:
            for entry in self.store.entries(rtype):
                if entry.owners:
                    self._enqueue_uid(entry.uid)

    def _enqueue_uid(self, uid: str) -> None:
        self.enqueue(ObjectKey("", uid))

    def _on_event(self, event: Event) -> None:
        # The bytes are looked at first: most objects have neither owners nor anything waiting for them.
        data = event.object_bytes
        owned = b'"ownerReferences"' in data
        if event.type == "DELETED":
            metadata = event.object["metadata"]
            for rtype, key in self.store.dependents(metadata["uid"]):
                entry = self.store.entry(rtype, key.namespace, key.name)
                if entry is not None:
                    self._enqueue_uid(entry.uid)
            for owner in metadata.get("ownerReferences") or ():
                # It may have been the last one that a foreground deletion waited for.
                self._enqueue_uid(str(owner.get("uid", "")))
        elif owned or (b'"deletionTimestamp"' in data and (FOREGROUND.encode() in data or b'"orphan"' in data)):
            self._enqueue_uid(event.object["metadata"]["uid"])

    def reconcile(self, key: ObjectKey) -> None:
        place = self.store.by_uid(key.name)
        if place is None:
            return
        rtype, where = place
        obj = self.store.find(rtype, where.namespace, where.name)
        if obj is None or obj["metadata"]["uid"] != key.name:
            return
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or ()
        if "deletionTimestamp" in metadata:
            if ORPHAN in finalizers:
                self._orphan(rtype, obj)
            elif FOREGROUND in finalizers:
                self._delete_dependents(rtype, obj)
            return
        if metadata.get("ownerReferences"):
            self._check_owners(rtype, obj)

    def _orphan(self, rtype: ResourceType, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for dependent_type, key in self.store.dependents(uid):
            dependent = self.store.find(dependent_type, key.namespace, key.name)
            if dependent is not None:
                self._drop_references(dependent_type, dependent, {uid})
        self._drop_finalizer(rtype, owner, ORPHAN)

    def _delete_dependents(self, rtype: ResourceType, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        blocked = False
        for dependent_type, key in self.store.dependents(uid):
            dependent = self.store.find(dependent_type, key.namespace, key.name)
            if dependent is None:
                continue
            references = dependent["metadata"].get("ownerReferences") or ()
            blocking = any(each.get("uid") == uid and each.get("blockOwnerDeletion") for each in references)
            if "deletionTimestamp" not in dependent["metadata"]:
                # Its own dependents go before it, all the way down.
                self._delete(dependent_type, dependent, "Foreground" if blocking else "Background")
                dependent = self.store.find(dependent_type, key.namespace, key.name)
            blocked = blocked or (blocking and dependent is not None)
        if not blocked:
            self._drop_finalizer(rtype, owner, FOREGROUND)

    def _check_owners(self, rtype: ResourceType, obj: Object) -> None:
        gone: set[str] = set()
        waiting: set[str] = set()
        solid = False
        for reference in obj["metadata"]["ownerReferences"]:
            state = self._owner_state(obj, reference)
            if state == "solid":
                solid = True
            elif state == "waiting":
                waiting.add(reference["uid"])
            else:
                gone.add(reference.get("uid", ""))
        if solid:
            if gone or waiting:
                self._drop_references(rtype, obj, gone | waiting)
        elif waiting and self.store.dependents(obj["metadata"]["uid"]):
            self._delete(rtype, obj, "Foreground")
        else:
            self._delete(rtype, obj, None)

    def _owner_state(self, obj: Object, reference: Object) -> str:
        place = self.store.by_uid(str(reference.get("uid", "")))
        if place is None:
            return "gone"
        rtype, key = place
        same_object = key.name == reference.get("name") and rtype.kind == reference.get("kind")
        same_namespace = not rtype.namespaced or key.namespace == obj["metadata"].get("namespace", "")
        if not same_object or not same_namespace:
            return "gone"
        owner = self.store.find(rtype, key.namespace, key.name)
        if owner is None:
            return "gone"
        ending = "deletionTimestamp" in owner["metadata"]
        if ending and FOREGROUND in (owner["metadata"].get("finalizers") or ()):
            return "waiting"
        return "solid"

    def _delete(self, rtype: ResourceType, obj: Object, propagation: str | None) -> None:
        metadata = obj["metadata"]
        same = Preconditions(uid=metadata["uid"])
        try:
            self.store.delete(
                rtype,
                metadata.get("namespace", ""),
                metadata["name"],
                preconditions=same,
                propagation=propagation,
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _drop_references(self, rtype: ResourceType, obj: Object, uids: set[str]) -> None:
        metadata = obj["metadata"]
        metadata["ownerReferences"] = [
            each for each in metadata.get("ownerReferences") or () if each.get("uid", "") not in uids
        ]
        self.store.update(rtype, obj, manager=_MANAGER)

    def _drop_finalizer(self, rtype: ResourceType, obj: Object, finalizer: str) -> None:
        metadata = obj["metadata"]
        metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != finalizer]
        self.store.update(rtype, obj, manager=_MANAGER)
