"""What a lab is made of: its parts' types, controllers and first objects, in the order they build on each
other.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.access import escalation, reviews, roles
from vmkit.lab.access.tokens import Tokens
from vmkit.lab.builtin import register as register_builtin
from vmkit.lab.builtin.types import EVENTS, NAMESPACES
from vmkit.lab.clock import Clock, format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.events import EventRecorder
from vmkit.lab.resources import Object, Registry
from vmkit.lab.store import Store

_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclass(slots=True)
class World:
    """A lab without its server: everything that lives on the loop thread."""

    store: Store
    clock: Clock
    registry: Registry
    context: Context
    tokens: Tokens
    controllers: list[Controller]
    parts: dict[str, Any]

    def start(self) -> None:
        """Sets the controllers to work."""
        for controller in self.controllers:
            controller.start()

    def stop(self) -> None:
        """Ends the controllers' work."""
        for controller in self.controllers:
            controller.stop()


def build_world(clock: Clock, *, seed: int, token: str, options: dict[str, object]) -> World:
    """Puts a lab together and fills it with what a fresh cluster has.

    Args:
        token: the lab's own user's.
        options: settings for the parts: "kubevirt" (a release), "nodes" (how many workers), "edge" (whether one
            KubeEdge node is among them), "run_jobs" (whether Jobs run their commands here), "server" (its
            address).
    """
    registry = Registry()
    store = Store(clock, seed=seed)
    recorder = EventRecorder(store, clock, EVENTS)
    context = Context(store, clock, registry, recorder, random.Random(seed), options)
    tokens = Tokens(store, clock, admin_token=token, key=store.random.randbytes(32))
    register_builtin(registry)
    reviews.register(registry, tokens)
    escalation.register(registry)
    from vmkit.lab import argocd, cdi, edge, kubevirt, metrics, policies, rook, spinkube
    from vmkit.lab.cdi.uploads import UploadProxy
    from vmkit.lab.controllers import build_controllers, register_handlers
    from vmkit.lab.controllers.definitions import build_bundled
    from vmkit.lab.importing import Intake
    from vmkit.lab.node_health import NodeController

    register_handlers(context, tokens)
    rook.register(registry)
    machines = kubevirt.install(context)
    cdi.register(registry)
    argocd.register(registry)
    spinkube.register(registry)
    edge.register(registry)
    policies.register(registry, store)
    controllers: list[Controller] = [
        *build_controllers(context, tokens),
        NodeController(context),
        *rook.controllers(context),
        *cdi.controllers(context),
        *machines.controllers,
        *argocd.controllers(context),
        *spinkube.controllers(context),
    ]
    world = World(
        store,
        clock,
        registry,
        context,
        tokens,
        controllers,
        {
            "kubevirt": machines,
            "metrics": metrics.install(context),
            "intake": Intake(context),
            "uploads": UploadProxy(context),
        },
    )
    _seed(
        world,
        [
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in _NAMESPACES),
            *roles.seed_objects(),
            *build_bundled(registry),
            *_nodes(clock, options),
            *rook.seed_objects(),
            *machines.seed_objects(),
            *cdi.seed_objects(),
            *argocd.seed_objects(),
            *spinkube.seed_objects(),
        ],
    )
    return world


def _nodes(clock: Clock, options: dict[str, object]) -> Iterable[Object]:
    from vmkit.lab.nodes import build_node, plan_nodes

    workers = options.get("nodes")
    shapes = plan_nodes(workers=workers if isinstance(workers, int) else 4, edge=bool(options.get("edge")))
    at = format_time(clock.now())
    return [build_node(shape, index, at=at) for index, shape in enumerate(shapes)]


def _seed(world: World, objects: Iterable[Object]) -> None:
    store, registry = world.store, world.registry
    store.guard_namespaces(NAMESPACES)
    for obj in objects:
        rtype = registry.find_kind(obj["apiVersion"], obj["kind"])
        if rtype is None:
            raise LookupError(f"nothing serves {obj['kind']} of {obj['apiVersion']}")
        metadata = obj["metadata"]
        if not store.exists(rtype, metadata.get("namespace", ""), metadata["name"]):
            store.create(rtype, obj, with_status=True)
