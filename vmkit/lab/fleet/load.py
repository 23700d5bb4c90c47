"""Puts a fleet into a lab: settled objects as they are, unsettled ones for the controllers to go on with."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.disks import CLASS, build_data_volume, build_disk, build_golden_images, held_bytes
from vmkit.lab.fleet.objects import (
    build_instance,
    build_pod,
    build_vm,
    make_uid,
    overhead_bytes,
    total_memory,
)
from vmkit.lab.fleet.plan import VmPlan, plan_fleet
from vmkit.lab.nodes import build_node, plan_nodes_for
from vmkit.lab.rook.classes import NAMESPACE
from vmkit.lab.rook.clusters import CAPACITY_ANNOTATION, REPLICAS
from vmkit.lab.rook.csi import CLASSES, CLUSTERS
from vmkit.units import format_bytes

if TYPE_CHECKING:
    from vmkit.lab.controller import Context
    from vmkit.lab.resources import Object

_FULLNESS = 0.6
"""How full a fleet's Ceph cluster is once the fleet is in."""

_MINIMUM_CAPACITY = 40 * 1024**4


def load_fleet(context: Context, count: int, *, seed: int) -> list[VmPlan]:
    """Fills a lab with ``count`` VMs and what belongs to them; returns the plans they were made from.

    Nodes and the Ceph cluster are made large enough. Must run on the lab's loop thread.
    """
    at = context.clock.now().replace(microsecond=0)
    plans = plan_fleet(count, seed=seed, at=at)
    _ensure_nodes(context, plans, at)
    _size_ceph(context, plans)
    for namespace, team, environment in sorted({(plan.namespace, plan.team, plan.environment) for plan in plans}):
        _put(context, _build_namespace(namespace, team, environment, at))
    storage_class = context.store.get(context.registry.get(*CLASSES), "", CLASS)
    for obj in build_golden_images(storage_class, at - timedelta(days=60), seed=seed):
        _put(context, obj)
    places = _place(context, plans)
    for plan in plans:
        for obj in build_objects(plan, storage_class, places.get(plan.index), seed=seed, at=at):
            _put(context, obj)
    return plans


def build_objects(
    plan: VmPlan, storage_class: Object, place: tuple[str, str] | None, *, seed: int, at: datetime
) -> Iterator[Object]:
    """Every object of one VM, owners after what they own, so that no controller finds something missing.

    Args:
        plan: the VM.
        storage_class: the class of its disks.
        place: (node, pod address) if it runs.
    """
    settled = plan.state != "provisioning"
    for disk in plan.disks:
        if disk.source == "container":
            continue
        if settled:
            yield from reversed(build_disk(plan, disk, storage_class, seed=seed))
        else:
            yield build_data_volume(plan, disk, seed=seed)
    if place is not None and plan.state in ("running", "paused"):
        node, address = place
        yield build_pod(plan, seed=seed, node=node, address=address)
        yield build_instance(plan, seed=seed, node=node, address=address)
    yield build_vm(plan, seed=seed, at=at)


def _put(context: Context, obj: Object) -> None:
    rtype = context.registry.find_kind(obj["apiVersion"], obj["kind"])
    if rtype is None:
        raise LookupError(f"the lab does not serve {obj['apiVersion']} {obj['kind']}")
    metadata = obj["metadata"]
    if context.store.exists(rtype, metadata.get("namespace", ""), metadata["name"]):
        return
    context.store.restore(rtype, obj)


def _build_namespace(name: str, team: str, environment: str, at: datetime) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": make_uid(0, "namespace", name),
            "creationTimestamp": format_time(at - timedelta(days=900)),
            "labels": {"kubernetes.io/metadata.name": name, "team": team, "env": environment},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _ensure_nodes(context: Context, plans: list[VmPlan], at: datetime) -> None:
    nodes = context.registry.get("", "nodes")
    wanted = plan_nodes_for(*total_memory(plans))
    present = {entry.key.name for entry in context.store.entries(nodes)}
    for index, shape in enumerate(wanted):
        if shape.name not in present:
            _put(context, build_node(shape, index, at=format_time(at)))


def _size_ceph(context: Context, plans: list[VmPlan]) -> None:
    rtype = context.registry.get(*CLUSTERS)
    cluster = next(context.store.list(rtype, NAMESPACE), None)
    if cluster is None:
        return
    held = sum(held_bytes(disk) for plan in plans for disk in plan.disks if disk.source != "container")
    capacity = max(_MINIMUM_CAPACITY, int(held * REPLICAS / _FULLNESS))
    cluster["metadata"].setdefault("annotations", {})[CAPACITY_ANNOTATION] = format_bytes(capacity)
    context.store.update(rtype, cluster)


def _place(context: Context, plans: list[VmPlan]) -> dict[int, tuple[str, str]]:
    """Spreads what runs over the workers, the emptiest first; gives each an address of its node's range."""
    nodes = context.registry.get("", "nodes")
    free: list[tuple[int, int, str, str]] = []
    for number, node in enumerate(context.store.list(nodes)):
        if not node["spec"].get("taints") and "node-role.kubernetes.io/edge" not in node["metadata"].get(
            "labels", {}
        ):
            free.append((0, number, node["metadata"]["name"], node["spec"].get("podCIDR", "10.64.0.0/24")))
    heapq.heapify(free)
    hosts = {entry[2]: 3 for entry in free}
    places: dict[int, tuple[str, str]] = {}
    for plan in plans:
        if plan.state not in ("running", "paused") or not free:
            continue
        used, number, name, range_ = free[0]
        heapq.heapreplace(free, (used + plan.memory_bytes + overhead_bytes(plan), number, name, range_))
        hosts[name] += 1
        places[plan.index] = (name, f"{range_.rsplit('.', 1)[0]}.{hosts[name]}")
    return places
