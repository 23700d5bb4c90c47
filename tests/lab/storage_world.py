"""A lab without HTTP for tests of storage: a frozen clock, a store, and the controllers of Rook and CDI."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from vmkit.lab import argocd, builtin, cdi, edge, rook, spinkube
from vmkit.lab.access.users import User
from vmkit.lab.clock import Clock
from vmkit.lab.controller import Context, Controller
from vmkit.lab.events import EventRecorder
from vmkit.lab.kubevirt.plugin import KubeVirt
from vmkit.lab.nodes import build_node, plan_nodes
from vmkit.lab.resources import AdmissionRequest, Registry
from vmkit.lab.store import Store

Object = dict[str, Any]
START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ADMIN = User("admin", groups=("system:masters",))


class World:
    """Everything in one place, with short ways to do things."""

    def __init__(
        self, *, kubevirt: bool = False, extra: Callable[[Context], list[Controller]] | None = None
    ) -> None:
        self.registry = Registry()
        builtin.register(self.registry)
        self.clock = Clock(start=START, frozen=True)
        self.store = Store(self.clock)
        recorder = EventRecorder(self.store, self.clock, self.registry.get("", "events"))
        self.context = Context(self.store, self.clock, self.registry, recorder)
        controllers: list[Controller] = []
        seeds: list[Object] = []
        if kubevirt:
            virt = KubeVirt(self.context)
            controllers += virt.controllers
            seeds += virt.seed_objects()
        for part in (rook, cdi, argocd, spinkube, edge):
            part.register(self.registry)
        for part in (rook, cdi, argocd, spinkube):
            seeds += part.seed_objects()
            controllers += part.controllers(self.context)
        controllers += extra(self.context) if extra is not None else []
        for obj in seeds:
            self.store.create(self.type(obj), obj, with_status=True)
        for number, shape in enumerate(plan_nodes()):
            node = build_node(shape, number, at="2026-11-23T10:00:00Z")
            self.store.create(self.registry.get("", "nodes"), node, with_status=True)
        for controller in controllers:
            controller.start()
        self.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        self.advance(1)

    def type(self, obj: Object):
        rtype = self.registry.find_kind(obj["apiVersion"], obj["kind"])
        assert rtype is not None, obj["kind"]
        return rtype

    def make(self, obj: Object) -> Object:
        """Stores an object as a user's create would, with its admission."""
        rtype = self.type(obj)
        obj = self.admit("CREATE", obj)
        made = self.store.create(rtype, obj, manager="test")
        self.clock.settle()
        return made

    def admit(self, operation: str, obj: Object, old: Object | None = None, *, user: User = ADMIN) -> Object:
        rtype = self.type(obj)
        metadata = obj["metadata"]
        request = AdmissionRequest(
            operation=operation,
            rtype=rtype,
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            user=user,
            dry_run=False,
            subresource="",
            store=self.store,
            clock=self.clock,
            old=old,
        )
        for mutate in rtype.mutate:
            obj = mutate(request, obj)
        for validate in rtype.validate:
            validate(request, obj, old)
        return obj

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        assert self.context.failures == []

    def find(self, group: str, plural: str, name: str, namespace: str = "a") -> Object | None:
        return self.store.find(self.registry.get(group, plural), namespace, name)

    def get(self, group: str, plural: str, name: str, namespace: str = "a") -> Object:
        found = self.find(group, plural, name, namespace)
        assert found is not None, f"{plural}/{name}"
        return found

    def list(self, group: str, plural: str, namespace: str | None = "a") -> list[Object]:
        return list(self.store.list(self.registry.get(group, plural), namespace))

    def update(self, obj: Object, *, subresource: str | None = None) -> Object:
        made = self.store.update(self.type(obj), obj, manager="test", subresource=subresource)
        self.clock.settle()
        return made

    def delete(self, group: str, plural: str, name: str, namespace: str = "a") -> None:
        self.store.delete(self.registry.get(group, plural), namespace, name)
        self.clock.settle()

    def events(self, name: str, namespace: str = "a") -> list[tuple[str, str]]:
        """(reason, message) of the Events about an object, as they were recorded."""
        return [
            (event["reason"], event["message"])
            for event in sorted(
                self.list("", "events", namespace), key=lambda each: int(each["metadata"]["resourceVersion"])
            )
            if event["involvedObject"]["name"] == name
        ]

    # --- storage -----------------------------------------------------------------------------------------------

    def data_volume(self, name: str, spec: Object, **annotations: str) -> Object:
        metadata: Object = {"name": name, "namespace": "a"}
        if annotations:
            metadata["annotations"] = annotations
        return self.make(
            {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": metadata, "spec": spec}
        )

    def claim(self, name: str, spec: Object) -> Object:
        return self.make(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": "a"},
                "spec": spec,
            }
        )

    def pod(self, name: str, claim: str, **spec: Any) -> Object:
        volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}]
        return self.make(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "a"},
                "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, **spec},
            }
        )

    def trace(self, plural: str, name: str) -> list[Object]:
        """Collects the states of a DataVolume from now on: a list that grows."""
        states: list[Object] = []

        def on_event(event) -> None:
            if event.key.name == name and event.type != "DELETED":
                states.append(event.object)

        self.store.subscribe(on_event, self.registry.get("cdi.kubevirt.io", plural))
        return states


def phases(states: list[Object]) -> list[str]:
    """The distinct phases of a trace, in order."""
    found: list[str] = []
    for state in states:
        phase = (state.get("status") or {}).get("phase", "")
        if phase and (not found or found[-1] != phase):
            found.append(phase)
    return found


def size(text: str = "10Gi", **storage: Any) -> Object:
    """A ``storage`` section."""
    return {"resources": {"requests": {"storage": text}}, **storage}
