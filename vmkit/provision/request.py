"""What is asked for: one request a VM, from the command line, from Python, or from a fleet file. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vmkit.errors import InputError, ManifestError, UsageError
from vmkit.provision.model import API_VERSION
from vmkit.provision.storage import AUTO
from vmkit.provision.yamlread import Document, DocumentReader, read_documents
from vmkit.units import parse_bytes
from vmkit.vm.reference import VmRef, check_vm_name

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NUMBERED: Final = re.compile(r"(?P<stem>.*-)(?P<number>[0-9]+)")
MAX_COUNT: Final = 10_000
"""The most VMs a supported cluster holds (OKD, virt supported limits)."""
_SMALLEST_DISK_BYTES: Final = 2**20
_REQUEST_KEYS: Final = (
    "template", "namespace", "set", "disks", "ssh_keys", "storage", "instancetype", "preference", "labels",
)  # fmt: skip
_VM_KEYS: Final = ("name", "count", *_REQUEST_KEYS)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """One VM to create.

    Attributes:
        name: the VM's name; empty where the template makes no VM and names its objects itself.
        namespace: its namespace; empty means the session's.
        template: a template's name, or the path of a template file.
        answers: answers to the template's parameters; texts are read by the parameter's type.
        disks: sizes by disk name: a disk the VM has gets that size, any other becomes a blank disk.
        ssh_keys: public keys, for the template's parameter that takes them.
        storage: a storage class, or "auto".
        instancetype: sets CPU and memory instead of the template; "NAME" is the cluster's, "namespaced/NAME" the
            namespace's.
        preference: likewise.
        labels: further labels of the VM.
        index: its number within the run, from 0.
    """

    name: str
    template: str
    namespace: str = ""
    answers: Mapping[str, Any] = field(default_factory=dict)
    disks: Mapping[str, str] = field(default_factory=dict)
    ssh_keys: tuple[str, ...] = ()
    storage: str = AUTO
    instancetype: str = ""
    preference: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    index: int = 0

    def ref(self, default_namespace: str) -> VmRef:
        """The VM it asks for."""
        return VmRef(self.namespace or default_namespace, self.name)


def expand_count(request: CreateRequest, count: int) -> list[CreateRequest]:
    """``count`` requests like this one: "web" gives web-1, web-2 ...; "web-08" goes on from there.

    Raises:
        UsageError: the count is not 1 to `MAX_COUNT`.
    """
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(
            f"a count of {count} is not 1 to {MAX_COUNT}", hint="leave it out for a single VM", where="--count"
        )
    if count == 1:
        return [request]
    match = _NUMBERED.fullmatch(request.name)
    stem, first, width = (match["stem"], int(match["number"]), len(match["number"])) if match else (
        f"{request.name}-", 1, 1,
    )  # fmt: skip
    return [
        dataclasses.replace(request, name=f"{stem}{first + offset:0{width}d}", index=request.index + offset)
        for offset in range(count)
    ]


def check_requests(requests: Sequence[CreateRequest], *, default_namespace: str) -> None:
    """Refuses what cannot be created, before anything is sent.

    Raises:
        InvalidName: a name is no DNS label.
        UsageError: two requests for one VM, or a disk with a bad name.
        QuantityError: a disk's size is no quantity.
    """
    seen: dict[VmRef, int] = {}
    for number, request in enumerate(requests, 1):
        check_vm_name(request.name, where=f"VM {number}" if len(requests) > 1 else "")
        ref = request.ref(default_namespace)
        if not _DNS_LABEL.fullmatch(ref.namespace):
            raise UsageError(
                f"{ref.namespace!r} cannot be a namespace",
                hint="lower-case letters, digits and '-', at most 63 characters",
                where=request.name,
            )
        if ref in seen:
            raise UsageError(
                f"{ref} is asked for twice (VM {seen[ref]} and VM {number})",
                hint="give each VM a name of its own; nothing was created",
            )
        seen[ref] = number
        for disk, size in request.disks.items():
            if not _DNS_LABEL.fullmatch(disk):
                raise UsageError(
                    f"{disk!r} cannot name a disk", hint="lower-case letters, digits and '-'", where=request.name
                )
            if parse_bytes(size, where=f"disk {disk}") < _SMALLEST_DISK_BYTES:
                raise UsageError(
                    f"disk {disk!r} would have {size} bytes", hint=f'did you mean "{size}Gi"?', where=request.name
                )


# --- fleet files -------------------------------------------------------------------------------------------------


def read_fleet(path: Path) -> list[CreateRequest]:
    """Reads a fleet file.

    Raises:
        ManifestError: it cannot be read, or is no fleet; with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ManifestError(
            f"{path} cannot be read: {problem.strerror}",
            hint="give -f the path of a fleet file that you may read",
            where=str(path),
        ) from None
    except UnicodeDecodeError:
        raise ManifestError(
            f"{path} is not UTF-8 text", hint="a fleet file is YAML, saved as UTF-8", where=str(path)
        ) from None
    return parse_fleet(text, where=str(path), base=path.parent)


def parse_fleet(text: str, *, where: str = "fleet", base: Path | None = None) -> list[CreateRequest]:
    """Reads a fleet from its text: ``defaults`` for all, ``vms`` one by one.

    Args:
        base: the directory that templates written as relative paths ("./own.yaml") are relative to.

    Raises:
        ManifestError: it is no fleet; with line and column.
    """
    documents = read_documents(text, where=where)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise ManifestError("a fleet file holds one mapping", where=where, line=1, column=1)
    reader = _FleetReader(documents[0], where, base)
    value = documents[0].value
    if value.get("kind") != "Fleet" or value.get("apiVersion") != API_VERSION:
        raise reader.error("not a fleet", hint=f"a fleet begins with apiVersion: {API_VERSION} and kind: Fleet")
    reader.check_keys(value, ("apiVersion", "kind", "defaults", "vms"))
    defaults = value.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise reader.error("'defaults' has to be a mapping", "defaults")
    reader.check_keys(defaults, _REQUEST_KEYS, "defaults")
    items = value.get("vms")
    if not isinstance(items, list) or not items:
        raise reader.error("'vms' has to be a list of VMs", "vms")
    base_request = reader.request(CreateRequest("", ""), defaults, "defaults")
    requests: list[CreateRequest] = []
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise reader.error("a VM is a mapping with a name", "vms", number)
        reader.check_keys(item, _VM_KEYS, "vms", number)
        request = reader.request(base_request, item, "vms", number)
        name = item.get("name")
        if not isinstance(name, str):
            raise reader.error(
                "a VM needs a name", "vms", number, "name", hint=f'quote it: "{name}"' if name else ""
            )
        if not request.template:
            raise reader.error(f"VM {name!r} names no template", "vms", number, hint="add template: NAME")
        count = item.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
            raise reader.error(f"a count of {count!r} is not 1 to {MAX_COUNT}", "vms", number, "count")
        try:
            check_vm_name(name)
            expanded = expand_count(dataclasses.replace(request, name=name, index=len(requests)), count)
            check_requests(expanded, default_namespace=request.namespace or "default")
        except InputError as problem:
            raise reader.error(problem.message, "vms", number, hint=problem.hint) from None
        requests += expanded
    return requests


class _FleetReader(DocumentReader):
    """A fleet's document, and the directory that its templates are relative to."""

    def __init__(self, document: Document, where: str, base: Path | None) -> None:
        super().__init__(document, where)
        self.base = base

    def request(self, base: CreateRequest, item: Mapping[str, Any], *path: str | int) -> CreateRequest:
        """``base`` with what ``item`` says; answers, disks and labels are added to those of ``base``."""
        changes: dict[str, Any] = {}
        for key in ("template", "namespace", "storage", "instancetype", "preference"):
            if key in item:
                changes[key] = self._text(item, key, *path)
        if changes.get("template", "").startswith(("./", "../")) and self.base is not None:
            changes["template"] = str(self.base / changes["template"])
        for key, attribute in (("set", "answers"), ("disks", "disks"), ("labels", "labels")):
            value = item.get(key)
            if value is None:
                continue
            if not isinstance(value, dict):
                raise self.error(f"{key!r} has to be a mapping", *path, key)
            if key != "set":
                value = {
                    name: self._text(value, name, *path, key) if value[name] is not None else None
                    for name in value
                }
            merged = {**getattr(base, attribute), **value}
            # null takes a default of the fleet back.
            changes[attribute] = {name: item for name, item in merged.items() if item is not None}
        keys = item.get("ssh_keys")
        if keys is not None:
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise self.error("'ssh_keys' has to be a list of public keys", *path, "ssh_keys")
            changes["ssh_keys"] = tuple(keys)
        return dataclasses.replace(base, **changes)

    def _text(self, item: Mapping[str, Any], key: str, *path: str | int) -> str:
        value = item[key]
        if not isinstance(value, str):
            raise self.error(f"{key!r} has to be a text", *path, key, hint=f'quote it: "{value}"')
        return value
