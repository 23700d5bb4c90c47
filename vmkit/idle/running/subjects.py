"""The VMs of a run, with everything but their use: from lists alone, whose number does not grow with the VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.cluster.resources import (
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    SERVICES,
    VIRTUAL_MACHINE_INSTANCE_MIGRATIONS,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
)
from vmkit.cluster.session import Session
from vmkit.errors import Forbidden, QuantityError, UsageError
from vmkit.idle.decide import Noted, is_opted_in, is_opted_out, read_noted
from vmkit.idle.facts import IdleFacts
from vmkit.idle.mark import GROUP, LABEL, OWNER
from vmkit.idle.report import Size
from vmkit.idle.running.hands import Guard, Hands
from vmkit.plan import Reason
from vmkit.units import parse_bytes
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm

_NEEDING: Final = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.MIGRATING, PowerState.STARTING})


@dataclass(frozen=True, slots=True)
class Scope:
    """Which VMs a run is about; opt-out labels win over all of it.

    Attributes:
        names: these; or
        label_selector: those with such labels; or
        everything: all there are; or, with none of these, those that are labelled, or whose namespace is.
        namespace: where to look; None looks in all. Names bring their own.
    """

    names: tuple[VmRef, ...] = ()
    label_selector: str = ""
    everything: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        if sum((bool(self.names), bool(self.label_selector), self.everything)) > 1:
            raise UsageError("give names, a selector or everything: one of these")

    def __str__(self) -> str:
        where = "in all namespaces" if self.namespace is None else f"of namespace {self.namespace}"
        if self.names:
            shown = ", ".join(map(str, self.names[:5]))
            return f"{shown} and {len(self.names) - 5} more" if len(self.names) > 5 else shown
        if self.label_selector:
            return f"VMs {where} with {self.label_selector}"
        return f"all VMs {where}" if self.everything else f"VMs {where} labelled {LABEL}=enabled"

    @property
    def namespaces(self) -> tuple[str | None, ...]:
        """Where to read lists; None is all namespaces."""
        if self.names:
            return tuple(sorted({ref.namespace for ref in self.names}))
        return (self.namespace,)


@dataclass(frozen=True, slots=True)
class Subject:
    """A VM with everything but its use.

    Attributes:
        view: the VM with its instance.
        facts: what the verdict needs; ``noted``: what it says about itself.
        owner: whose it is.
        size: what stopping it returns, without energy.
        in_scope: the run is about it.
    """

    view: VmView
    facts: IdleFacts
    noted: Noted
    owner: str
    size: Size
    in_scope: bool

    @property
    def ref(self) -> VmRef:
        return self.view.ref


@dataclass(slots=True)
class Fleet:
    """What a run sees of the cluster.

    Attributes:
        at: the instant of the run, by the cluster's clock.
        subjects: every VM of the namespaces looked at, in scope or not.
        missing: VMs that were named and are not there.
        around: what surrounds VMs, to read one of them again.
    """

    at: datetime
    subjects: dict[VmRef, Subject]
    missing: tuple[VmRef, ...]
    around: Surroundings


@dataclass(slots=True)
class Surroundings:
    """What surrounds VMs, from lists read once a run."""

    guard: Guard
    namespace_labels: Mapping[str, Mapping[str, str]]
    silent_nodes: frozenset[str] = frozenset()
    migrating: Mapping[VmRef, str] = field(default_factory=dict)
    services: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]] = field(default_factory=dict)
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unread: tuple[Reason, ...] = ()
    """What may not be read: VMs are judged without it, and none is stopped."""

    def subject(
        self,
        vm: Mapping[str, Any],
        vmi: Mapping[str, Any] | None,
        at: datetime,
        *,
        in_scope: Callable[[VmView], bool],
    ) -> Subject:
        """The VM with everything but its use, and its dependants."""
        view = read_vm(vm, vmi)
        instance = vmi if vmi is not None else {}
        around = self.namespace_labels.get(view.ref.namespace, {})
        generation = _mapping(vm, "metadata").get("generation")
        noted = read_noted(
            view.uid,
            generation if isinstance(generation, int) else 0,
            view.annotations,
            opted_out=is_opted_out(view.labels) or is_opted_out(around),
        )
        size = _size(view, instance)
        facts = IdleFacts(
            ref=view.ref,
            power=view.power,
            vcpus=size.vcpus,
            created_at=view.created_at,
            running_since=view.instance.started_at if view.instance is not None else None,
            agent=view.instance is not None
            and any(each.type == "AgentConnected" and each.is_true for each in view.instance.conditions),
            gpu=_has_devices(_mapping(_mapping(vm, "spec"), "template")) or _has_devices(instance),
            node_silent=view.node in self.silent_nodes,
            services=tuple(self._services(view, vm, instance)),
            group=view.labels.get(GROUP, ""),
            vetoes=(*self._own_vetoes(view), *self.guard.vetoes(vm, vmi, at)),
        )
        owner = view.labels.get(OWNER) or view.annotations.get(OWNER) or view.ref.namespace
        return Subject(view, facts, noted, owner, size, in_scope(view))

    def _own_vetoes(self, view: VmView) -> Iterator[Reason]:
        if view.problem:
            yield Reason("BadObject", view.problem)
        if view.ref in self.migrating:
            yield Reason("Busy", f"migration {self.migrating[view.ref]} is asked for")
        yield from self.unread

    def _services(self, view: VmView, vm: Mapping[str, Any], instance: Mapping[str, Any]) -> Iterator[str]:
        labels = _mapping(_mapping(instance, "metadata"), "labels") or _mapping(
            _mapping(_mapping(_mapping(vm, "spec"), "template"), "metadata"), "labels"
        )
        # What the launcher's pod carries besides its instance's labels (KubeVirt pkg/virt-controller/services).
        labels = {
            **labels,
            "kubevirt.io": "virt-launcher",
            "vm.kubevirt.io/name": view.ref.name,
            "kubevirt.io/created-by": view.instance.uid if view.instance is not None else "",
            "kubevirt.io/nodeName": view.node,
        }
        for name, selector in self.services.get(view.ref.namespace, ()):
            if all(labels.get(key) == value for key, value in selector.items()):
                yield name
        for address in view.addresses:
            yield from self.addresses.get(address, ())


def read_fleet(session: Session, hands: Hands, scope: Scope) -> Fleet:
    """Reads what a run is about.

    Raises:
        ClusterError: a list is refused.
    """
    namespaces = scope.namespaces
    unread: list[Reason] = []
    labels: dict[str, Mapping[str, str]] = {}
    annotations: dict[str, Mapping[str, str]] = {}
    try:
        documents = (
            session.list(NAMESPACES)
            if namespaces == (None,)
            else [session.get(NAMESPACES, name) for name in namespaces if name is not None]
        )
        for document in documents:
            metadata = _mapping(document, "metadata")
            name = str(metadata.get("name", ""))
            labels[name], annotations[name] = _texts(metadata, "labels"), _texts(metadata, "annotations")
    except Forbidden:
        if namespaces == (None,):
            raise
        unread.append(Reason("NamespaceUnread", "you may not read its namespace, which may keep it out of this"))
    around = Surroundings(hands.guard(annotations), labels)
    try:
        around.silent_nodes = _read_silent_nodes(session)
    except Forbidden:
        unread.append(Reason("NodesUnread", "you may not list nodes, so nobody knows whether its node answers"))
    around.unread = tuple(unread)
    around.migrating = _read_migrating(session, namespaces)
    around.services, around.addresses = _read_services(session, namespaces)
    at = session.server_time or datetime.now(UTC)
    chosen = _chooser(session, scope, labels)
    subjects: dict[VmRef, Subject] = {}
    for namespace in namespaces:
        instances = {_key(vmi): _trimmed(vmi) for vmi in session.list(VIRTUAL_MACHINE_INSTANCES, namespace)}
        for vm in session.list(VIRTUAL_MACHINES, namespace):
            subject = around.subject(vm, instances.pop(_key(vm), None), at, in_scope=chosen)
            subjects[subject.ref] = subject
    _link(subjects, around.guard)
    missing = tuple(ref for ref in scope.names if ref not in subjects)
    return Fleet(at, subjects, missing, around)


def read_again(session: Session, fleet: Fleet, before: Subject, at: datetime) -> Subject:
    """One VM as it is now.

    Raises:
        NotFound: there is none any more.
    """
    ref = before.ref
    vm = session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)
    # A list of one: so that whoever may list instances needs no further right.
    found = session.list(VIRTUAL_MACHINE_INSTANCES, ref.namespace, field_selector=f"metadata.name={ref.name}")
    subject = fleet.around.subject(vm, next(iter(found), None), at, in_scope=lambda _: before.in_scope)
    return replace(subject, facts=replace(subject.facts, dependants=before.facts.dependants))


def _chooser(session: Session, scope: Scope, labels: Mapping[str, Mapping[str, str]]) -> Callable[[VmView], bool]:
    if scope.names:
        named = frozenset(scope.names)
        return lambda view: view.ref in named
    if scope.label_selector:
        found = session.list(VIRTUAL_MACHINES, scope.namespace, label_selector=scope.label_selector)
        keys = frozenset(_key(each) for each in found)
        return lambda view: (view.ref.namespace, view.ref.name) in keys
    if scope.everything:
        return lambda _: True
    return lambda view: is_opted_in(view.labels) or is_opted_in(labels.get(view.ref.namespace, {}))


def _link(subjects: dict[VmRef, Subject], guard: Guard) -> None:
    """Tells VMs who needs them."""
    needed: dict[VmRef, list[VmRef]] = {}
    for subject in subjects.values():
        if subject.facts.power in _NEEDING:
            for other in guard.needs(subject.view):
                needed.setdefault(other, []).append(subject.ref)
    for ref, dependants in needed.items():
        if ref in subjects:
            facts = replace(subjects[ref].facts, dependants=tuple(sorted(dependants)))
            subjects[ref] = replace(subjects[ref], facts=facts)


# --- lists ----------------------------------------------------------------------------------------------------


def _read_silent_nodes(session: Session) -> frozenset[str]:
    silent = set()
    for node in session.list(NODES):
        conditions = _mapping(node, "status").get("conditions")
        ready = any(
            isinstance(one, dict) and one.get("type") == "Ready" and one.get("status") == "True"
            for one in (conditions if isinstance(conditions, list) else ())
        )
        if not ready:
            silent.add(str(_mapping(node, "metadata").get("name", "")))
    return frozenset(silent)


def _read_migrating(session: Session, namespaces: Iterable[str | None]) -> dict[VmRef, str]:
    found = {}
    for namespace in namespaces:
        for migration in session.list(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, namespace):
            metadata, spec, status = (_mapping(migration, key) for key in ("metadata", "spec", "status"))
            if status.get("phase") not in {"Succeeded", "Failed"}:
                ref = VmRef(str(metadata.get("namespace", "")), str(spec.get("vmiName", "")))
                found[ref] = str(metadata.get("name", ""))
    return found


def _read_services(
    session: Session, namespaces: Iterable[str | None]
) -> tuple[dict[str, list[tuple[str, Mapping[str, str]]]], dict[str, tuple[str, ...]]]:
    selecting: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    addresses: dict[str, tuple[str, ...]] = {}
    for namespace in namespaces:
        by_hand = set()
        for service in session.list(SERVICES, namespace):
            place, name = _key(service)
            spec = _mapping(service, "spec")
            selector = _texts(spec, "selector")
            if selector:
                selecting.setdefault(place, []).append((name, selector))
            elif spec.get("type") != "ExternalName" and (place, name) != ("default", "kubernetes"):
                by_hand.add((place, name))
        if not by_hand:
            continue
        # Somebody writes these Services' endpoints himself: they may be VMs' addresses.
        for piece in session.list(ENDPOINT_SLICES, namespace):
            place = _key(piece)[0]
            name = _texts(_mapping(piece, "metadata"), "labels").get("kubernetes.io/service-name", "")
            endpoints = piece.get("endpoints")
            for endpoint in endpoints if (place, name) in by_hand and isinstance(endpoints, list) else ():
                several = endpoint.get("addresses") if isinstance(endpoint, dict) else None
                for address in several if isinstance(several, list) else ():
                    addresses[str(address)] = (*addresses.get(str(address), ()), name)
    return selecting, addresses


# --- reading ----------------------------------------------------------------------------------------------------


def _size(view: VmView, vmi: Mapping[str, Any]) -> Size:
    """Of the instance, in which an instancetype has been filled in; else of the VM."""
    domain = _mapping(_mapping(vmi, "spec"), "domain")
    cpu = _mapping(domain, "cpu")
    vcpus = view.cpu_cores or 0
    if cpu:
        vcpus = 1
        for key in ("cores", "sockets", "threads"):
            count = cpu.get(key)
            vcpus *= count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1
    memory = view.memory_bytes or 0
    guest = _mapping(domain, "memory").get("guest")
    if isinstance(guest, str):
        try:
            memory = parse_bytes(guest)
        except QuantityError:
            memory = 0
    return Size(vcpus, memory)


def _trimmed(vmi: dict[str, Any]) -> dict[str, Any]:
    """Thousands are kept in memory at once."""
    metadata = vmi.get("metadata")
    if isinstance(metadata, dict):
        for key in ("managedFields", "annotations"):
            metadata.pop(key, None)
    return vmi


def _has_devices(parent: Mapping[str, Any]) -> bool:
    devices = _mapping(_mapping(_mapping(parent, "spec"), "domain"), "devices")
    return bool(devices.get("gpus") or devices.get("hostDevices"))


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    metadata = _mapping(document, "metadata")
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(parent: Mapping[str, Any], key: str) -> dict[str, str]:
    return {name: text for name, text in _mapping(parent, key).items() if isinstance(text, str)}
