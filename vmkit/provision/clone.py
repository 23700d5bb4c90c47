"""A VM like another one: its spec under a new name, its disks copied by the storage.

A stopped VM's disks are cloned from its claims. A running VM's are cloned from snapshots taken for the purpose,
one a disk: each is what the disk held at one instant, as after a power cut; the claims themselves could not be
cloned while they are in use (CDI waits for them to be released).
"""

from __future__ import annotations

import base64
import copy
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.cluster.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    SECRETS,
    STORAGE_CLASSES,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
    VOLUME_SNAPSHOT_CLASSES,
)
from vmkit.cluster.session import Session
from vmkit.errors import Forbidden, ManifestError, MissingApi, NotFound, Refused, UsageError
from vmkit.plan.model import ObjectRef
from vmkit.provision.create import Confirm, OnOutcome, apply_prepared
from vmkit.provision.importing import strip_server_fields
from vmkit.provision.options import CreateOptions, CreateResult
from vmkit.provision.preparing import Prepared
from vmkit.provision.request import CreateRequest, check_requests, expand_count
from vmkit.provision.waiting import OnProgress
from vmkit.provision.walk import as_list, as_mapping, as_text, dig
from vmkit.vm.mac import build_mac_address
from vmkit.vm.markers import TEMPLATE
from vmkit.vm.reference import VmRef

_RUNNING: Final = frozenset({"Pending", "Scheduling", "Scheduled", "Running", "WaitingForSync", "Unknown", ""})
_SECRET_FIELDS: Final = ("secretRef", "networkDataSecretRef")


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """What is to be cloned.

    Attributes:
        source: the VM to copy.
        name: the new VM's name; with ``count`` above 1 the stem of the names.
        namespace: the new VM's namespace; empty means the source's.
        count: how many.
        run_strategy: of the new VMs; empty means the source's. A clone that boots beside its source has the same
            host keys and the same host name inside.
    """

    source: VmRef
    name: str
    namespace: str = ""
    count: int = 1
    run_strategy: str = ""


@dataclass
class _Source:
    """What was read of the VM to copy."""

    vm: dict[str, Any]
    running: bool
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    snapshot_classes: dict[str, str] = field(default_factory=dict)


def run_clone(
    session: Session,
    request: CloneRequest,
    options: CreateOptions | None = None,
    *,
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_progress: OnProgress | None = None,
) -> CreateResult:
    """Clones a VM.

    Identities stay with the source: firmware UUID and serial, MAC addresses, labels of its template. Disks the VM
    does not keep (container disks, empty disks) need no copy. Secrets its cloud-init names are copied, as they go
    with their VM.

    Returns:
        One outcome for each clone; run again, clones that are there are "unchanged".

    Raises:
        NotFound: there is no such VM.
        Refused: a running VM whose disks cannot be snapshotted.
    """
    options = options or CreateOptions()
    namespace = request.namespace or request.source.namespace
    wanted = expand_count(CreateRequest(request.name, "", namespace), request.count)
    check_requests(wanted, default_namespace=namespace)
    if any(item.ref(namespace) == request.source for item in wanted):
        raise UsageError(f"{request.source} cannot be a clone of itself", hint="give the clone another name")
    source = _read_source(session, request.source)
    prepared = [_build_clone(source, request, item) for item in wanted]
    notices = ["inside, a clone has its source's host keys and machine id until they are made anew"]
    if source.running and source.claims:
        notices.insert(0, f"{request.source} is running: its disks are copied as after a power cut")
    return apply_prepared(
        session, prepared, options, storage={}, notices=notices,
        confirm=confirm, on_outcome=on_outcome, on_progress=on_progress, verb="clone",
    )  # fmt: skip


def _read_source(session: Session, ref: VmRef) -> _Source:
    vm = session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)
    instance = session.find(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
    running = instance is not None and as_text(dig(instance, "status", "phase")) in _RUNNING
    source = _Source(vm, running)
    for volume in _volumes(vm):
        name = _claim_name(volume)
        if name:
            claim = session.find(PERSISTENT_VOLUME_CLAIMS, name, ref.namespace)
            if claim is None:
                raise NotFound(
                    f"{ref}: the claim {name} of its disk is not there", where=str(ref),
                    hint="a VM whose disks are not filled yet cannot be cloned",
                )  # fmt: skip
            source.claims[name] = claim
        for secret in _secret_names(volume):
            source.secrets[secret] = session.get(SECRETS, secret, ref.namespace)
    if running and source.claims:
        source.snapshot_classes = _read_snapshot_classes(session, ref, source)
    return source


def _read_snapshot_classes(session: Session, ref: VmRef, source: _Source) -> dict[str, str]:
    """For each claim, a VolumeSnapshotClass of its driver."""
    try:
        drivers = {
            as_text(item.get("driver")): as_text(dig(item, "metadata", "name"))
            for item in session.list(VOLUME_SNAPSHOT_CLASSES)
        }
    except (MissingApi, Forbidden):
        drivers = {}
    found: dict[str, str] = {}
    for name, claim in source.claims.items():
        class_name = as_text(dig(claim, "spec", "storageClassName"))
        storage = session.find(STORAGE_CLASSES, class_name) if class_name else None
        snapshot_class = drivers.get(as_text(as_mapping(storage).get("provisioner")))
        if not snapshot_class:
            raise Refused(
                f"{ref} is running, and its disk {name} ({class_name or 'no class'}) cannot be snapshotted",
                hint=f"stop it first: vmkit stop {ref.name} -n {ref.namespace}",
                where=str(ref),
            )
        found[name] = snapshot_class
    return found


def _volumes(vm: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in as_list(dig(vm, "spec", "template", "spec", "volumes")) if isinstance(item, dict)]


def _claim_name(volume: dict[str, Any]) -> str:
    return as_text(dig(volume, "dataVolume", "name") or dig(volume, "persistentVolumeClaim", "claimName"))


def _secret_names(volume: dict[str, Any]) -> list[str]:
    names = [
        as_text(dig(volume, kind, key, "name"))
        for kind in ("cloudInitNoCloud", "cloudInitConfigDrive")
        for key in _SECRET_FIELDS
    ]
    names.append(as_text(dig(volume, "sysprep", "secret", "name")))
    return [name for name in dict.fromkeys(names) if name]


def _build_clone(source: _Source, request: CloneRequest, wanted: CreateRequest) -> Prepared:
    old = request.source
    new = wanted.ref(request.source.namespace)
    vm = strip_server_fields(source.vm)
    template = dig(vm, "spec", "template")
    if not isinstance(template, dict) or not isinstance(dig(template, "spec", "domain"), dict):
        raise ManifestError(f"{old} has no template that could be copied", where=str(old))
    vm["metadata"] = {**vm["metadata"], "name": new.name, "namespace": new.namespace}
    labels = as_mapping(source.vm["metadata"].get("labels"))
    if TEMPLATE in labels:
        vm["metadata"]["labels"] = {**as_mapping(vm["metadata"].get("labels")), TEMPLATE: labels[TEMPLATE]}
    if request.run_strategy:
        vm["spec"].pop("running", None)
        vm["spec"]["runStrategy"] = request.run_strategy
    _renew_identity(vm, new)
    renamed: dict[str, str] = {}
    snapshots: list[dict[str, Any]] = []
    templates: list[dict[str, Any]] = []
    for volume in _volumes(vm):
        name = _claim_name(volume)
        if not name:
            _rename_secrets(volume, old, new, renamed)
            continue
        made = _disk_name(name, old, new, as_text(volume.get("name")))
        templates.append(_build_disk(source, name, made, old=old, new=new, snapshots=snapshots))
        for kind in ("dataVolume", "persistentVolumeClaim"):
            volume.pop(kind, None)
        volume["dataVolume"] = {"name": made}
    vm["spec"].pop("dataVolumeTemplates", None)
    if templates:
        vm["spec"]["dataVolumeTemplates"] = templates
    secrets = [_build_secret(source.secrets[old_name], made, new) for old_name, made in renamed.items()]
    return Prepared(
        request=wanted,
        target=ObjectRef("VirtualMachine", new.namespace, new.name),
        manifests=[*secrets, *snapshots, vm],
        secret_texts=tuple(_decoded(value) for secret in source.secrets.values() for value in _values(secret)),
    )


def _values(secret: dict[str, Any]) -> list[str]:
    return [value for value in as_mapping(secret.get("data")).values() if isinstance(value, str)]


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode()
    except ValueError:
        return text


def _renew_identity(vm: dict[str, Any], new: VmRef) -> None:
    guest = vm["spec"]["template"]["spec"]
    domain = guest["domain"]
    firmware = domain.get("firmware")
    if isinstance(firmware, dict):
        for key in ("uuid", "serial"):
            firmware.pop(key, None)
        if not firmware:
            del domain["firmware"]
    for interface in as_list(dig(domain, "devices", "interfaces")):
        if isinstance(interface, dict) and "sriov" not in interface:
            interface["macAddress"] = build_mac_address(new, as_text(interface.get("name")) or "default")
    if guest.get("hostname"):
        guest["hostname"] = new.name


def _disk_name(name: str, old: VmRef, new: VmRef, volume: str) -> str:
    suffix = name.removeprefix(f"{old.name}-") if name.startswith(f"{old.name}-") else volume or name
    return f"{new.name}-{suffix}"


def _rename_secrets(volume: dict[str, Any], old: VmRef, new: VmRef, renamed: dict[str, str]) -> None:
    holders = [
        dig(volume, kind, key) for kind in ("cloudInitNoCloud", "cloudInitConfigDrive") for key in _SECRET_FIELDS
    ]
    holders.append(dig(volume, "sysprep", "secret"))
    for holder in holders:
        if isinstance(holder, dict) and as_text(holder.get("name")):
            made = _disk_name(holder["name"], old, new, holder["name"])
            renamed[holder["name"]] = made
            holder["name"] = made


def _build_disk(
    source: _Source, name: str, made: str, *, old: VmRef, new: VmRef, snapshots: list[dict[str, Any]]
) -> dict[str, Any]:
    spec = as_mapping(source.claims[name].get("spec"))
    storage: dict[str, Any] = {
        "resources": {"requests": {"storage": dig(spec, "resources", "requests", "storage")}}
    }
    for key in ("storageClassName", "volumeMode"):
        if spec.get(key):
            storage[key] = spec[key]
    if spec.get("accessModes"):
        storage["accessModes"] = list(spec["accessModes"])
    origin: dict[str, Any] = {"pvc": {"namespace": old.namespace, "name": name}}
    if name in source.snapshot_classes:
        # Snapshots live beside what they show; one for each clone, so that each says what it was made for.
        snapshot = f"{made}-source" if old.namespace == new.namespace else f"{new.namespace}-{made}-source"
        snapshots.append({
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": snapshot, "namespace": old.namespace},
            "spec": {
                "volumeSnapshotClassName": source.snapshot_classes[name],
                "source": {"persistentVolumeClaimName": name},
            },
        })  # fmt: skip
        origin = {"snapshot": {"namespace": old.namespace, "name": snapshot}}
    return {"metadata": {"name": made}, "spec": {"source": origin, "storage": storage}}


def _build_secret(secret: dict[str, Any], name: str, new: VmRef) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": new.namespace},
        "type": as_text(secret.get("type")) or "Opaque",
        "data": copy.deepcopy(dict(as_mapping(secret.get("data")))),
    }
