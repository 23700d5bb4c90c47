"""Namespaces that end: their content goes first, then they do (pkg/controller/namespace)."""

from __future__ import annotations

from typing import ClassVar

from vmkit.lab.builtin.types import NAMESPACES
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Controller
from vmkit.lab.resources import Object, ObjectKey, Registry, Response, SubresourceRequest
from vmkit.lab.semantics.decoding import decode_object
from vmkit.lab.status import method_not_allowed
from vmkit.lab.store import Event

_MANAGER = "kube-controller-manager"


class NamespaceController(Controller):
    """Deletes what is in a terminating namespace, tells what is left, and lets go of it when nothing is."""

    name: ClassVar[str] = "namespace-controller"

    def setup(self) -> None:
        """Looks at namespaces that are being deleted, and at every deletion inside them."""

        def ending(event: Event) -> list[ObjectKey]:
            return [event.key] if b'"deletionTimestamp"' in event.object_bytes and event.type != "DELETED" else []

        self.watch(NAMESPACES, ending)
        self._terminating: set[str] = set()

        def emptied(event: Event) -> None:
            if event.type == "DELETED" and event.key.namespace in self._terminating:
                self.enqueue(ObjectKey("", event.key.namespace))

        self._ends.append(self.store.subscribe_all(emptied))

    def reconcile(self, key: ObjectKey) -> None:
        """Empties one namespace."""
        namespace = self.store.find(NAMESPACES, "", key.name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            self._terminating.discard(key.name)
            return
        self._terminating.add(key.name)
        left: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        for rtype in self.registry:
            if not rtype.namespaced or "delete" not in rtype.verbs:
                continue
            for entry in tuple(self.store.entries(rtype, key.name)):
                obj = entry.decode()
                if "deletionTimestamp" not in obj["metadata"]:
                    self.store.delete(rtype, key.name, entry.key.name, propagation="Background")
            remaining = self.store.count(rtype, key.name)
            if remaining:
                left[rtype.resource] = remaining
                for entry in self.store.entries(rtype, key.name):
                    for finalizer in entry.decode()["metadata"].get("finalizers") or ():
                        finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        if left:
            self._tell(namespace, left, finalizers)
            return
        namespace["spec"] = {**namespace.get("spec", {}), "finalizers": []}
        self.store.update(NAMESPACES, namespace, subresource="finalize")
        self._terminating.discard(key.name)

    def _tell(self, namespace: Object, left: dict[str, int], finalizers: dict[str, int]) -> None:
        resources = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.items()))
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
        at = format_time(self.clock.now())
        conditions = [
            _condition(
                at,
                "NamespaceDeletionDiscoveryFailure",
                "False",
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            _condition(
                at,
                "NamespaceDeletionGroupVersionParsingFailure",
                "False",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            _condition(
                at,
                "NamespaceDeletionContentFailure",
                "False",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            _condition(
                at,
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                f"Some resources are remaining: {resources}",
            ),
        ]
        if held:
            conditions.append(
                _condition(
                    at,
                    "NamespaceFinalizersRemaining",
                    "True",
                    "SomeFinalizersRemain",
                    f"Some content in the namespace has finalizers remaining: {held}",
                )
            )
        known = {each["type"]: each for each in (namespace.get("status") or {}).get("conditions") or ()}
        for condition in conditions:
            before = known.get(condition["type"])
            if before is not None and before["status"] == condition["status"]:
                condition["lastTransitionTime"] = before["lastTransitionTime"]
        namespace["status"] = {**namespace.get("status", {}), "conditions": conditions}
        self.store.update(NAMESPACES, namespace, manager=_MANAGER, subresource="status")


def _condition(at: str, kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "lastTransitionTime": at, "reason": reason, "message": message}


def register(registry: Registry) -> None:
    """Serves ``namespaces/NAME/finalize``."""
    registry.handle("", "namespaces", "finalize", _finalize)


def _finalize(request: SubresourceRequest) -> Response:
    if request.method != "PUT":
        raise method_not_allowed()
    sent = decode_object(request.body, request.content_type, kind="Namespace", custom=False, api_version="v1")
    present = request.store.get(NAMESPACES, "", request.name)
    present["spec"] = {**present.get("spec", {}), "finalizers": (sent.get("spec") or {}).get("finalizers") or []}
    present["metadata"]["resourceVersion"] = sent["metadata"].get("resourceVersion", "")
    return Response(body=request.store.update(NAMESPACES, present, subresource="finalize"))
