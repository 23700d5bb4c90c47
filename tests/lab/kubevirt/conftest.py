"""A practice cluster without its HTTP server: requests go straight to what answers them, time stands still."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from vmkit.lab import builtin, cdi, rook
from vmkit.lab.access.tokens import Tokens
from vmkit.lab.clock import Clock, format_time
from vmkit.lab.controller import Context
from vmkit.lab.controllers import pods
from vmkit.lab.controllers.garbage import GarbageCollector
from vmkit.lab.events import EventRecorder
from vmkit.lab.http.dispatch import Dispatcher
from vmkit.lab.http.request import Request, parse_query
from vmkit.lab.kubevirt import install
from vmkit.lab.nodes import build_node, plan_nodes
from vmkit.lab.resources import Registry
from vmkit.lab.store import Store

Object = dict[str, Any]
_TOKEN = "admin"


class Reply:
    """What came back: status, headers, and the body decoded (text as {"text": ...})."""

    def __init__(self, status: int, headers: dict[str, str], raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw
        kind = headers.get("content-type", "")
        if not raw:
            self.body: Any = None
        elif "json" in kind:
            self.body = json.loads(raw)
        else:
            self.body = {"text": raw.decode()}


class Cluster:
    """A frozen practice cluster with KubeVirt, and CDI and Rook where asked for."""

    def __init__(
        self, *, kubevirt: str = "1.9", storage: bool = False, workers: int = 4, **options: object
    ) -> None:
        self.clock = Clock(start=datetime(2026, 3, 2, 8, tzinfo=UTC), frozen=True)
        self.store = Store(self.clock)
        self.registry = Registry()
        builtin.register(self.registry)
        pods.register(self.registry)
        self.store.guard_namespaces(self.registry.get("", "namespaces"))
        recorder = EventRecorder(self.store, self.clock, self.registry.get("", "events"))
        self.context = Context(
            self.store, self.clock, self.registry, recorder, random.Random(7), {"kubevirt": kubevirt, **options}
        )
        controllers: list[Any] = [GarbageCollector(self.context)]
        if storage:
            rook.register(self.registry)
            cdi.register(self.registry)
        self.kubevirt = install(self.context)
        seeds: list[Object] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}]
        if storage:
            seeds += [*rook.seed_objects(), *cdi.seed_objects()]
            controllers += [*rook.controllers(self.context), *cdi.controllers(self.context)]
        seeds += self.kubevirt.seed_objects()
        seeds += [
            build_node(shape, index, at=format_time(self.clock.now()))
            for index, shape in enumerate(plan_nodes(workers=workers))
        ]
        for obj in seeds:
            rtype = self.registry.find_kind(obj["apiVersion"], obj["kind"])
            assert rtype is not None, obj["kind"]
            self.store.create(rtype, obj, with_status=True)
        for controller in (*controllers, *self.kubevirt.controllers):
            controller.start()
        tokens = Tokens(self.store, self.clock, admin_token=_TOKEN, key=b"k" * 32)
        self.dispatcher = Dispatcher(
            self.store,
            self.registry,
            self.clock,
            tokens,
            address=lambda: "127.0.0.1:1",
            control=lambda request: (_ for _ in ()).throw(AssertionError(request.path)),
        )
        self.clock.settle()

    # --- asking ----------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
        raw: bytes | None = None,
    ) -> Reply:
        """Sends a request and lets everything that is due at once happen."""
        parts = urlsplit(path)
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {_TOKEN}", "accept": accept}
        if data:
            headers["content-type"] = content_type
        answer = self.dispatcher.answer(Request(method, parts.path, parse_query(parts.query), headers, data))
        reply = Reply(
            answer.status,
            {key.lower(): value for key, value in answer.headers}
            | ({"content-type": answer.content_type} if answer.content_type else {}),
            answer.body,
        )
        self.clock.settle()
        return reply

    def create(self, obj: Object, *, namespace: str = "lab") -> Object:
        """Creates an object, which must be accepted."""
        rtype = self.registry.find_kind(obj["apiVersion"], obj["kind"])
        assert rtype is not None
        scope = f"namespaces/{namespace}/" if rtype.namespaced else ""
        prefix = "api/v1" if not rtype.group else f"apis/{obj['apiVersion']}"
        reply = self.request("POST", f"/{prefix}/{scope}{rtype.plural}", obj)
        assert reply.status == 201, reply.body
        created: Object = reply.body
        return created

    def call(
        self, name: str, verb: str, body: Any = None, *, of: str = "virtualmachines", method: str = "PUT"
    ) -> Reply:
        """Calls a subresource."""
        return self.request(
            method,
            f"/apis/subresources.kubevirt.io/v1/namespaces/lab/{of}/{name}/{verb}",
            body,
            accept="*/*",
        )

    def instance_call(self, name: str, verb: str, body: Any = None, *, method: str = "PUT") -> Reply:
        """Calls a subresource of an instance."""
        return self.call(name, verb, body, of="virtualmachineinstances", method=method)

    def patch_vm(self, name: str, patch: Object) -> Reply:
        """Merges a patch into a VM."""
        return self.request(
            "PATCH",
            f"/apis/kubevirt.io/v1/namespaces/lab/virtualmachines/{name}",
            patch,
            content_type="application/merge-patch+json",
        )

    # --- looking ---------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.advance(timedelta(seconds=seconds))
        assert self.context.failures == []

    def vm(self, name: str = "m") -> Object:
        """The VM, which must be there."""
        return self.store.get(self.kubevirt.types.vm, "lab", name)

    def vmi(self, name: str = "m") -> Object | None:
        """The instance, or None."""
        return self.store.find(self.kubevirt.types.vmi, "lab", name)

    def status(self, name: str = "m") -> str:
        """The VM's printable status."""
        return str(self.vm(name).get("status", {}).get("printableStatus", ""))

    def pods(self) -> list[Object]:
        """All pods of the namespace."""
        return list(self.store.list(self.registry.get("", "pods"), "lab"))

    def events(self) -> list[tuple[str, str]]:
        """(reason, kind) of the Events of the namespace."""
        return [
            (event["reason"], event["involvedObject"]["kind"])
            for event in self.store.list(self.registry.get("", "events"), "lab")
        ]

    def condition(self, obj: Object | None, kind: str) -> Object | None:
        """A condition by type."""
        conditions = ((obj or {}).get("status") or {}).get("conditions") or []
        return next((each for each in conditions if each["type"] == kind), None)


def build_vm(
    name: str = "m",
    strategy: str | None = "Always",
    *,
    guest: dict[str, str] | None = None,
    memory: str | None = "1Gi",
    spec: Object | None = None,
    **more: Any,
) -> Object:
    """A VM with a container disk; ``guest`` are its guest annotations, ``spec`` changes the template's spec."""
    template: Object = {
        "domain": {
            "devices": {
                "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
                "interfaces": [{"name": "default", "masquerade": {}}],
            }
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "root", "containerDisk": {"image": "registry.example/disk:1"}}],
    }
    if memory is not None:
        template["domain"]["memory"] = {"guest": memory}
    template.update(spec or {})
    vm: Object = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": {"app": "test"}},
        "spec": {"template": {"metadata": {"labels": {"app": "test"}}, "spec": template}, **more},
    }
    if strategy is not None:
        vm["spec"]["runStrategy"] = strategy
    if guest:
        vm["metadata"]["annotations"] = {f"lab.vmkit.io/guest-{key}": value for key, value in guest.items()}
    return vm


@pytest.fixture
def cluster() -> Cluster:
    """A practice cluster of the newest KubeVirt."""
    return Cluster()


@pytest.fixture(scope="module")
def empty_cluster() -> Cluster:
    """A practice cluster that its module's tests share: they create nothing."""
    return Cluster()


@pytest.fixture
def make_cluster() -> type[Cluster]:
    """Makes practice clusters with settings of their own."""
    return Cluster


@pytest.fixture
def make_vm() -> Any:
    """Makes VM manifests."""
    return build_vm
