"""Puts a fleet into a lab: settled objects as they are, unsettled ones for the controllers to go on with."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vmkit.lab.clock import format_time
from vmkit.lab.fleet.disks import CLASS, build_data_volume, build_disk, build_golden_images, held_bytes
from vmkit.lab.fleet.identity import make_uid, owner_reference, vm_uid
from vmkit.lab.fleet.instances import build_instance, build_pod, reserved_bytes, total_memory
from vmkit.lab.fleet.machines import build_start_revision, build_vm
from vmkit.lab.fleet.owners import build_applications, build_pools
from vmkit.lab.fleet.plan import VmPlan, plan_fleet
from vmkit.lab.kubevirt.configuration import Configuration, read_configuration
from vmkit.lab.kubevirt.release import LATEST, RELEASES
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
    for obj in (*build_pools(plans, seed=seed, at=at), *build_applications(plans, seed=seed, at=at)):
        _put(context, obj)
    pins = Pins(context, seed=seed)
    configuration = read_configuration(None, RELEASES.get(str(context.options.get("kubevirt", "")), LATEST))
    places = _place(context, plans)
    for plan in plans:
        place = places.get(plan.index)
        for obj in build_objects(
            plan, storage_class, place, seed=seed, at=at, configuration=configuration, pins=pins
        ):
            _put(context, obj)
    return plans


def build_objects(
    plan: VmPlan,
    storage_class: Object,
    place: tuple[str, str] | None,
    *,
    seed: int,
    at: datetime,
    configuration: Configuration,
    pins: Pins,
) -> Iterator[Object]:
    """Every object of one VM, owners after what they own, so that no controller finds something missing.

    Args:
        plan: the VM.
        storage_class: the class of its disks.
        place: (node, pod address) if it runs.
        configuration: KubeVirt's settings.
        pins: gives the revisions of instance types.
    """
    for disk in plan.disks:
        if disk.source == "container":
            continue
        if plan.state != "provisioning":
            yield from reversed(build_disk(plan, disk, storage_class, seed=seed))
        else:
            yield build_data_volume(plan, disk, seed=seed)
    references, revisions = pins.pin(plan)
    vm = build_vm(plan, seed=seed, at=at, pinned=references)
    yield from revisions
    if place is not None and plan.state in ("running", "paused"):
        node, address = place
        instance = build_instance(plan, seed=seed, node=node, address=address, configuration=configuration)
        yield build_pod(plan, instance, seed=seed, configuration=configuration)
        yield instance
        yield build_start_revision(vm)
    yield vm


class Pins:
    """Pins the instance types and preferences of VMs as KubeVirt does since 1.5: as ControllerRevisions beside
    them."""

    def __init__(self, context: Context, *, seed: int) -> None:
        self._context = context
        self._seed = seed
        self._known: dict[tuple[str, str], Object | None] = {}
        release = RELEASES.get(str(context.options.get("kubevirt", "")), LATEST)
        self._pins = release.instancetype_ref

    def pin(self, plan: VmPlan) -> tuple[dict[str, Object], list[Object]]:
        """The references of a VM's status, and the revisions they name."""
        references: dict[str, Object] = {}
        revisions: list[Object] = []
        for matcher, plural, name in (
            ("instancetype", "virtualmachineclusterinstancetypes", plan.instancetype),
            ("preference", "virtualmachineclusterpreferences", plan.preference),
        ):
            found = self._find(plural, name) if name and self._pins else None
            if found is None:
                continue
            metadata = found["metadata"]
            revision = f"{plan.name}-{name}-v1beta1-{metadata['uid']}-{metadata.get('generation', 1)}"
            references[f"{matcher}Ref"] = {
                "controllerRevisionRef": {"name": revision},
                "kind": found["kind"],
                "name": name,
            }
            revisions.append(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ControllerRevision",
                    "metadata": {
                        "name": revision,
                        "namespace": plan.namespace,
                        "labels": {
                            "instancetype.kubevirt.io/object-generation": str(metadata.get("generation", 1)),
                            "instancetype.kubevirt.io/object-kind": found["kind"],
                            "instancetype.kubevirt.io/object-name": name,
                            "instancetype.kubevirt.io/object-uid": metadata["uid"],
                            "instancetype.kubevirt.io/object-version": "v1beta1",
                        },
                        "ownerReferences": [
                            owner_reference(
                                "kubevirt.io/v1", "VirtualMachine", plan.name, vm_uid(self._seed, plan)
                            )
                        ],
                    },
                    "data": {key: found[key] for key in ("apiVersion", "kind", "metadata", "spec")},
                    "revision": 0,
                }
            )
        return references, revisions

    def _find(self, plural: str, name: str) -> Object | None:
        if (plural, name) not in self._known:
            rtype = self._context.registry.find("instancetype.kubevirt.io", plural)
            found = None if rtype is None else self._context.store.find(rtype, "", name)
            if found is not None:
                for field in ("managedFields", "resourceVersion"):
                    found["metadata"].pop(field, None)
            self._known[plural, name] = found
        return self._known[plural, name]


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
        heapq.heapreplace(free, (used + reserved_bytes(plan), number, name, range_))
        hosts[name] += 1
        places[plan.index] = (name, f"{range_.rsplit('.', 1)[0]}.{hosts[name]}")
    return places
