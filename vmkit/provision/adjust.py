"""What a request changes in the manifests a template gave: disks, instancetype, labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmkit.errors import AnswerError
from vmkit.provision.model import Template
from vmkit.provision.parameters import ParameterType
from vmkit.provision.request import CreateRequest
from vmkit.provision.storage import StorageChoice
from vmkit.provision.walk import as_list, as_mapping, as_text, dig
from vmkit.vm import markers

_SIZING: Final = ("cpu", "memory")
"""The parameters an instancetype replaces, by convention."""


def merge_answers(template: Template, request: CreateRequest) -> dict[str, Any]:
    """The request's answers, its SSH keys among them.

    Raises:
        AnswerError: keys for a template that takes none, or CPU and memory beside an instancetype.
    """
    answers = dict(request.answers)
    if request.ssh_keys:
        takers = template.of_type(ParameterType.SSH_KEYS, ParameterType.SSH_KEY)
        if not takers:
            raise AnswerError(
                f"template {template.name!r} takes no SSH keys",
                hint="leave --ssh-key out, or add a parameter of type ssh-keys",
                where="--ssh-key",
            )
        taker = takers[0]
        given = answers.get(taker.name)
        if taker.type is ParameterType.SSH_KEY:
            if len(request.ssh_keys) > 1:
                raise AnswerError(f"template {template.name!r} takes one SSH key", where="--ssh-key")
            answers[taker.name] = request.ssh_keys[0]
        else:
            before = given.splitlines() if isinstance(given, str) else list(given or [])
            answers[taker.name] = [*before, *(key for key in request.ssh_keys if key not in before)]
    if request.instancetype:
        both = [name for name in _SIZING if answers.get(name) is not None]
        if both:
            raise AnswerError(
                f"{' and '.join(both)} cannot be set beside an instancetype, which sets CPU and memory",
                hint="leave one of them out",
                where="--instancetype",
            )
    return answers


def adjust_manifests(
    manifests: Sequence[dict[str, Any]], request: CreateRequest, template: Template, storage: StorageChoice | None
) -> None:
    """Changes the manifests in place.

    Raises:
        AnswerError: disks or an instancetype for a template without a VM.
    """
    vms = [manifest for manifest in manifests if manifest["kind"] == "VirtualMachine"]
    if not vms and (request.disks or request.instancetype or request.preference or request.labels):
        raise AnswerError(f"template {template.name!r} makes no VM: disks, sizes and labels have no place")
    for vm in vms:
        if request.instancetype:
            _set_instancetype(vm, request.instancetype)
        if request.preference:
            vm["spec"]["preference"] = _matcher(request.preference, "Preference")
        for name, size in request.disks.items():
            _set_disk(vm, manifests, name, size, storage or StorageChoice())
        labels = vm["metadata"].setdefault("labels", {})
        labels.update(request.labels)
        labels[markers.TEMPLATE] = template.name


def _matcher(text: str, what: str) -> dict[str, str]:
    scope, _, name = text.rpartition("/")
    kind = f"VirtualMachine{what}" if scope == "namespaced" else f"VirtualMachineCluster{what}"
    return {"kind": kind, "name": name}


def _set_instancetype(vm: dict[str, Any], text: str) -> None:
    vm["spec"]["instancetype"] = _matcher(text, "Instancetype")
    domain = dig(vm, "spec", "template", "spec", "domain")
    if not isinstance(domain, dict):
        return
    for key in _SIZING:
        domain.pop(key, None)
    resources = domain.get("resources")
    if isinstance(resources, dict):
        for part in ("requests", "limits"):
            for key in _SIZING:
                as_dict(resources.get(part)).pop(key, None)


def as_dict(value: Any) -> dict[str, Any]:
    """The value if it is a dict, else an empty one."""
    return value if isinstance(value, dict) else {}


def _set_disk(
    vm: dict[str, Any], manifests: Sequence[Mapping[str, Any]], name: str, size: str, storage: StorageChoice
) -> None:
    """Gives a disk of the VM that size, or adds a blank one."""
    spec = vm["spec"]
    guest = spec["template"]["spec"]
    volumes = guest.setdefault("volumes", [])
    volume = next((item for item in volumes if as_mapping(item).get("name") == name), None)
    if volume is not None:
        claim = _claim_of(vm, manifests, volume)
        if claim is None:
            raise AnswerError(
                f"disk {name!r} of the template has no size that could be set", where=f"--disk {name}={size}"
            )
        claim.setdefault("resources", {}).setdefault("requests", {})["storage"] = size
        return
    full_name = f"{vm['metadata']['name']}-{name}"
    claim_spec: dict[str, Any] = {}
    if storage.class_name:
        claim_spec["storageClassName"] = storage.class_name
    if storage.access_modes:
        claim_spec["accessModes"] = list(storage.access_modes)
    if storage.volume_mode:
        claim_spec["volumeMode"] = storage.volume_mode
    claim_spec["resources"] = {"requests": {"storage": size}}
    spec.setdefault("dataVolumeTemplates", []).append(
        {"metadata": {"name": full_name}, "spec": {"source": {"blank": {}}, "storage": claim_spec}}
    )
    volumes.append({"name": name, "dataVolume": {"name": full_name}})
    devices = guest["domain"].setdefault("devices", {})
    devices.setdefault("disks", []).append({"name": name, "serial": name[:20], "disk": {"bus": "virtio"}})


def _claim_of(
    vm: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]], volume: Mapping[str, Any]
) -> dict[str, Any] | None:
    wanted = as_text(dig(volume, "dataVolume", "name") or dig(volume, "persistentVolumeClaim", "claimName"))
    candidates = [*as_list(dig(vm, "spec", "dataVolumeTemplates"))]
    candidates += [manifest for manifest in manifests if manifest.get("kind") == "DataVolume"]
    for item in candidates:
        if wanted and dig(item, "metadata", "name") == wanted:
            for part in ("storage", "pvc"):
                claim = dig(item, "spec", part)
                if isinstance(claim, dict):
                    return claim
    return None
