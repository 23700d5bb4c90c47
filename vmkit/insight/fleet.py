"""Reads what sizes depend on from a cluster: VMs with their instances, named sizes, servers and what fills them.

Every list is read once, page by page. What may not be read, or is not there, becomes a notice and a value that
says so: a report stays right about the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.cluster.resources import (
    CLUSTER_INSTANCETYPES,
    INSTANCETYPES,
    KUBEVIRTS,
    NODES,
    PODS,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
    Resource,
)
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, NotFound, VmkitError
from vmkit.insight.servers import Servers, read_servers
from vmkit.insight.shape import Catalog, Rollout, Shape, read_instancetype, read_rollout, read_shape
from vmkit.vm.markers import TEMPLATE
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

HA_GROUP: Final = "vmkit.io/ha-group"
"""Label: VMs of one namespace with the same value stand in for each other."""
HA_TOLERATES: Final = "vmkit.io/ha-tolerates"
"""Annotation: how many of the group may be down at once; 1 where it says nothing."""
OWNER_LABEL: Final = "vmkit.io/owner"
_NAMED_ONE_BY_ONE: Final = 4
_SCHEDULE: Final = "vmkit.io/schedule"


@dataclass(frozen=True, slots=True)
class VmFacts:
    """One VM as far as its size is concerned.

    Attributes:
        view: its state; ``view.ref`` names it.
        shape: its size.
        running: whether a guest runs in it now; None where nobody knows.
        owner, template, schedule: whose it is, what it was made from, when it runs; empty where it does not say.
        redundancy: the share of its size that its group holds for failures.
    """

    view: VmView
    shape: Shape
    running: bool | None
    owner: str = ""
    template: str = ""
    schedule: str = ""
    redundancy: float = 0.0

    @property
    def ref(self) -> VmRef:
        return self.view.ref


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """A cluster as far as sizes are concerned.

    Attributes:
        vms: those asked for.
        catalog, rollout: the named sizes, and what the cluster does with changes.
        servers: the nodes and what is on them; empty where nodes may not be read.
        errors: VMs that were named and are not there, or cannot be understood.
        notices: what could not be read.
    """

    vms: tuple[VmFacts, ...] = ()
    catalog: Catalog = field(default_factory=Catalog)
    rollout: Rollout = field(default_factory=Rollout)
    servers: Servers = field(default_factory=Servers)
    errors: tuple[VmkitError, ...] = ()
    notices: tuple[str, ...] = ()


class _Reader:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.notices: list[str] = []

    def list(self, resource: Resource, namespace: str | None, what: str, **more: Any) -> Iterator[dict[str, Any]]:
        """The objects; a list that may not be read is empty, and a notice."""
        try:
            yield from self.session.list(resource, namespace, **more)
        except ClusterError as error:
            self.notices.append(f"{what}: {error.message}")

    def find_instances(self, refs: Collection[VmRef]) -> dict[VmRef, dict[str, Any]]:
        """The instances of a few VMs; where one may not be read, none, and a notice."""
        found: dict[VmRef, dict[str, Any]] = {}
        try:
            for ref in refs:
                item = self.session.find(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
                if item is not None:
                    found[ref] = item
        except ClusterError as error:
            self.notices.append(f"instances cannot be read: {error.message}")
        return found


def read_fleet(
    session: Session,
    *,
    names: Collection[VmRef] = (),
    namespace: str | None = None,
    label_selector: str = "",
    servers: bool = True,
) -> FleetFacts:
    """Reads everything.

    Args:
        session: with the cluster.
        names: only these VMs; empty for all that the other arguments let through.
        namespace: of this namespace; None for all. Not used with ``names``.
        label_selector: of the VMs. Not used with ``names``.
        servers: whether nodes and pods are read as well.

    Raises:
        ClusterError: the VMs themselves cannot be read.
    """
    reader = _Reader(session)
    spaces = sorted({ref.namespace for ref in names}) if names else [namespace]
    wanted = set(names)
    # A few names cost less one by one; whoever asks about servers needs the others of their groups as well.
    one_by_one = bool(wanted) and not servers and len(wanted) <= _NAMED_ONE_BY_ONE
    listed: dict[VmRef, dict[str, Any]] = {}
    if one_by_one:
        found_vms = ((ref, session.find(VIRTUAL_MACHINES, ref.name, ref.namespace)) for ref in sorted(wanted))
        listed = {ref: item for ref, item in found_vms if item is not None}
    else:
        for space in spaces:
            for item in session.list(VIRTUAL_MACHINES, space, label_selector="" if names else label_selector):
                listed[_ref(item)] = item
    documents = {ref: item for ref, item in listed.items() if not wanted or ref in wanted}
    before = len(reader.notices)
    if one_by_one:
        instances = reader.find_instances(documents)
    else:
        instances = {
            _ref(item): item
            for space in (spaces if documents else [])
            for item in reader.list(VIRTUAL_MACHINE_INSTANCES, space, "instances cannot be read")
            if _ref(item) in documents
        }
    seen = len(reader.notices) == before
    catalog, rollout = _read_catalog(reader, spaces, documents), _read_rollout(reader)
    groups = _count_groups(listed)
    vms: list[VmFacts] = []
    errors: list[VmkitError] = [
        NotFound(
            f"there is no VM {ref.name} in namespace {ref.namespace}",
            hint=f"vmkit get -n {ref.namespace} lists those there are",
            where=str(ref),
            status=404,
            reason="NotFound",
        )
        for ref in sorted(wanted - documents.keys())
    ]
    for ref, document in documents.items():
        vmi = instances.get(ref)
        view = read_vm(document, vmi)
        running = view.alive if seen or vmi is not None else (view.alive or None)
        vms.append(
            VmFacts(
                view=view,
                shape=read_shape(document, vmi, catalog),
                running=running,
                owner=view.labels.get(OWNER_LABEL) or view.annotations.get(OWNER_LABEL, ""),
                template=view.labels.get(TEMPLATE) or view.annotations.get(TEMPLATE, ""),
                schedule=view.annotations.get(_SCHEDULE, ""),
                redundancy=_redundancy(view, groups),
            )
        )
    found = _read_servers(reader) if servers else Servers()
    return FleetFacts(tuple(vms), catalog, rollout, found, tuple(errors), tuple(dict.fromkeys(reader.notices)))


def _read_servers(reader: _Reader) -> Servers:
    nodes = list(reader.list(NODES, None, "nodes cannot be read"))
    if not nodes:
        return Servers()
    before = len(reader.notices)
    pods = list(reader.list(PODS, None, "pods cannot be read"))
    return read_servers(nodes, pods, blind=len(reader.notices) > before)


def _read_catalog(
    reader: _Reader, spaces: list[str | None] | list[str], documents: Mapping[VmRef, Mapping[str, Any]]
) -> Catalog:
    kinds = {
        str(matcher.get("kind") or "").lower()
        for document in documents.values()
        if (matcher := _mapping(_mapping(document, "spec"), "instancetype"))
    }
    found = {}
    if kinds - {"virtualmachineinstancetype"}:
        for item in reader.list(CLUSTER_INSTANCETYPES, None, "instancetypes of the cluster cannot be read"):
            one = read_instancetype(item)
            if one is not None:
                found["", one.name] = one
    for space in spaces if "virtualmachineinstancetype" in kinds else []:
        for item in reader.list(INSTANCETYPES, space, "instancetypes cannot be read"):
            one = read_instancetype(item)
            if one is not None:
                found[_ref(item).namespace, one.name] = one
    return Catalog(found)


def _read_rollout(reader: _Reader) -> Rollout:
    return read_rollout(next(reader.list(KUBEVIRTS, None, "the KubeVirt object cannot be read"), None))


def _count_groups(documents: Mapping[VmRef, Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for ref, document in documents.items():
        group = _mapping(_mapping(document, "metadata"), "labels").get(HA_GROUP)
        if isinstance(group, str) and group:
            counts[ref.namespace, group] = counts.get((ref.namespace, group), 0) + 1
    return counts


def _redundancy(view: VmView, groups: Mapping[tuple[str, str], int]) -> float:
    members = groups.get((view.ref.namespace, view.labels.get(HA_GROUP, "")), 0)
    text = view.annotations.get(HA_TOLERATES, "1")
    tolerated = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    # A group of one stands in for nobody.
    return min(tolerated, members - 1) / members if members > 1 else 0.0


def _ref(item: Mapping[str, Any]) -> VmRef:
    metadata = _mapping(item, "metadata")
    return VmRef(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}
