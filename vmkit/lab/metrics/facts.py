"""Reads from the store what the series of each VM depend on; objects with fields missing still count as VMs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from vmkit.errors import QuantityError
from vmkit.lab.clock import parse_time
from vmkit.lab.metrics.energy import NodePower
from vmkit.lab.metrics.history import HORIZON_DAYS, PowerHistory
from vmkit.lab.metrics.load import DAY, choose_shape
from vmkit.lab.metrics.model import Drive, Guest
from vmkit.lab.resources import Object, ObjectKey, Registry
from vmkit.lab.store import Store
from vmkit.units import parse_bytes, parse_quantity

LOAD_ANNOTATION = "lab.vmkit.io/load"
"""On a VM: the name of its load shape (`vmkit.lab.metrics.load.SHAPES`); else one is drawn."""

_GI = 1024**3


class FactReader:
    """Turns the VMs of a lab into `Guest`s."""

    def __init__(self, store: Store, registry: Registry, history: PowerHistory, *, seed: int) -> None:
        self._store, self._registry, self._history, self._seed = store, registry, history, seed
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}

    def read_guests(self, *, namespace: str | None = None) -> Iterator[Guest]:
        """Every VM, in the order of namespaces and names."""
        vms = self._registry.get("kubevirt.io", "virtualmachines")
        instances = self._registry.get("kubevirt.io", "virtualmachineinstances")
        for vm in self._store.list(vms, namespace):
            key = ObjectKey(vm["metadata"]["namespace"], vm["metadata"]["name"])
            yield self._read(key, vm, self._store.find(instances, key.namespace, key.name))

    def read_nodes(self) -> list[NodePower]:
        """The machines that can run guests."""
        found = []
        for node in self._store.list(self._registry.get("", "nodes")):
            capacity = (node.get("status") or {}).get("capacity") or {}
            # A machine was there before the lab was: what guests did in the past, they did on it.
            since = (_seconds(node["metadata"].get("creationTimestamp")) or 0.0) - HORIZON_DAYS * DAY
            found.append(NodePower(node["metadata"]["name"], int(_number(capacity.get("cpu"), 1.0)), since))
        return found

    def _read(self, key: ObjectKey, vm: Object, instance: Object | None) -> Guest:
        metadata, spec = vm["metadata"], _mapping(vm.get("spec"))
        template = _mapping(spec.get("template"))
        guest_spec = _mapping((instance or {}).get("spec")) or _mapping(template.get("spec"))
        status = _mapping(vm.get("status"))
        annotations = _mapping(metadata.get("annotations"))
        vcpus, memory = self._size(key, spec, guest_spec)
        created = _seconds(metadata.get("creationTimestamp")) or 0.0
        changed = _last_transition(status)
        printable = str(status.get("printableStatus") or "Stopped")
        stopped = changed if instance is None and printable not in ("Provisioning", "Starting") else None
        instance_status = _mapping((instance or {}).get("status"))
        instancetype = _mapping(spec.get("instancetype")).get("name")
        return Guest(
            namespace=key.namespace,
            name=key.name,
            vcpus=vcpus,
            memory_bytes=memory,
            drives=tuple(self._drives(key.namespace, guest_spec)),
            interfaces=tuple(str(each.get("name", "")) for each in _items(guest_spec.get("networks")))
            or ("default",),
            labels=_texts(_mapping(template.get("metadata")).get("labels")),
            vm_labels=_texts(metadata.get("labels")),
            shape=choose_shape(
                self._seed, f"{key.namespace}/{key.name}", str(annotations.get(LOAD_ANNOTATION, ""))
            ),
            agent=_has_agent(instance_status, annotations),
            operating_system=_texts(instance_status.get("guestOSInfo")),
            instancetype=str(instancetype or ""),
            preference=str(_mapping(spec.get("preference")).get("name") or ""),
            machine=str(_mapping(_mapping(guest_spec.get("domain")).get("machine")).get("type") or "q35"),
            created=created,
            status=printable,
            phase=str(instance_status.get("phase") or ""),
            evictable=guest_spec.get("evictionStrategy") in ("LiveMigrate", "LiveMigrateIfPossible"),
            plain_domain=not instancetype,
            runs=self._history.runs(key, created=created, stopped=stopped),
            changed={"status": changed or created},
        )

    def _size(self, key: ObjectKey, spec: Mapping[str, Any], guest_spec: Mapping[str, Any]) -> tuple[int, int]:
        domain = _mapping(guest_spec.get("domain"))
        cpu, memory = _mapping(domain.get("cpu")), _mapping(domain.get("memory")).get("guest")
        vcpus = int(_number(cpu.get("cores"), 1) * _number(cpu.get("sockets"), 1) * _number(cpu.get("threads"), 1))
        matcher = _mapping(spec.get("instancetype"))
        if matcher.get("name") and not (cpu and memory):
            sized = self._instancetype_size(key.namespace, str(matcher.get("kind") or ""), str(matcher["name"]))
            if sized is not None:
                return sized
        if memory is None:
            memory = _mapping(_mapping(domain.get("resources")).get("requests")).get("memory")
        return max(1, vcpus), _bytes(memory) or _GI

    def _instancetype_size(self, namespace: str, kind: str, name: str) -> tuple[int, int] | None:
        clustered = kind.lower() != "virtualmachineinstancetype"
        where = ("" if clustered else namespace, name)
        if where not in self._sizes:
            plural = "virtualmachineclusterinstancetypes" if clustered else "virtualmachineinstancetypes"
            rtype = self._registry.find("instancetype.kubevirt.io", plural)
            found = None if rtype is None else self._store.find(rtype, *where)
            if found is None:
                return None
            size = _mapping(found.get("spec"))
            vcpus = int(_number(_mapping(size.get("cpu")).get("guest"), 1))
            self._sizes[where] = max(1, vcpus), _bytes(_mapping(size.get("memory")).get("guest")) or _GI
        return self._sizes[where]

    def _drives(self, namespace: str, guest_spec: Mapping[str, Any]) -> Iterator[Drive]:
        volumes = {str(each.get("name")): each for each in _items(guest_spec.get("volumes"))}
        claims = self._registry.get("", "persistentvolumeclaims")
        disks = _items(_mapping(_mapping(guest_spec.get("domain")).get("devices")).get("disks"))
        for index, disk in enumerate(disks):
            name = str(disk.get("name", ""))
            volume = volumes.get(name, {})
            if "cloudInitNoCloud" in volume or "cloudInitConfigDrive" in volume or "cdrom" in disk:
                continue
            source = _mapping(volume.get("dataVolume")) or _mapping(volume.get("persistentVolumeClaim"))
            claim_name = str(source.get("name") or source.get("claimName") or "")
            claim = self._store.find(claims, namespace, claim_name) if claim_name else None
            capacity = _mapping(_mapping((claim or {}).get("status")).get("capacity")).get("storage")
            mode = str(_mapping((claim or {}).get("spec")).get("volumeMode") or "Filesystem")
            device = f"vd{chr(ord('a') + index % 26)}"
            yield Drive(name, device, claim_name, _bytes(capacity) or 10 * _GI, mode)


def _has_agent(instance_status: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    if instance_status:
        conditions = _items(instance_status.get("conditions"))
        return any(each.get("type") == "AgentConnected" and each.get("status") == "True" for each in conditions)
    return annotations.get("lab.vmkit.io/guest-agent") != "false"


def _last_transition(status: Mapping[str, Any]) -> float | None:
    for condition in _items(status.get("conditions")):
        if condition.get("type") == "Ready":
            return _seconds(condition.get("lastTransitionTime"))
    return None


# --- fields of objects that may be anything -------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(each) for key, each in _mapping(value).items() if isinstance(each, str)}


def _seconds(text: Any) -> float | None:
    try:
        at: datetime = parse_time(text)
    except (TypeError, ValueError):
        return None
    return at.timestamp()


def _number(value: Any, default: float) -> float:
    try:
        return float(parse_quantity(value)) if value is not None else default
    except QuantityError:
        return default


def _bytes(value: Any) -> int | None:
    try:
        return parse_bytes(value) if value is not None else None
    except QuantityError:
        return None
