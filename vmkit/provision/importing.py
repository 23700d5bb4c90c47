"""Making templates of what people have: KubeVirt's VirtualMachineTemplate, OpenShift's Template, a VM's manifest.

KubeVirt (kubevirt/virt-template) and OpenShift write ``${KEY}`` for a text and ``${{KEY}}`` for a whole value of
any type. Both become ``{{ key }}``. What a server fills in is left out; values people are likely to change become
parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vmkit.errors import InputError, ManifestError
from vmkit.provision.model import API_VERSION, BUILT_IN_NAMES, KIND
from vmkit.provision.walk import as_list, as_mapping, as_text, dig
from vmkit.provision.yamlwrite import quote, write_scalar, write_yaml
from vmkit.units import parse_quantity

_REFERENCE: Final = re.compile(r"\$\{\{([A-Za-z0-9_]+)\}\}|\$\{([A-Za-z0-9_]+)\}")
_WHOLE: Final = re.compile(r"\$\{\{([A-Za-z0-9_]+)\}\}")
_NEEDS_PRINTING: Final = re.compile(r"\{[{%#]|[%#}]\}|[\ue000-\ue003]")
_UNWRITABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ue000-\ue003\ufeff\ufffe\uffff]")
_SERVER_METADATA: Final = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
    "generation",
    "managedFields", "namespace", "ownerReferences", "resourceVersion", "selfLink", "uid",
)  # fmt: skip
_SERVER_ANNOTATIONS: Final = re.compile(
    r"kubectl\.kubernetes\.io/last-applied-configuration|kubevirt\.io/(?:latest|storage)-observed-api-version"
    r"|kubevirt\.io/pci-topology-version|kubemacpool\.io/transaction-timestamp|vmkit\.io/.*"
)
_SERVER_LABELS: Final = re.compile(r"vmkit\.io/.*|kubevirt\.io/vm-?.*name|template\.kubevirt\.io/.*")


@dataclass(frozen=True, slots=True)
class Imported:
    """A template made from something else.

    Attributes:
        name: the template's name.
        text: the template file.
        notices: what could not be carried over, and what to look at.
    """

    name: str
    text: str
    notices: tuple[str, ...]


class _Expression(str):
    """A text that stands in the body as it is: a Jinja2 expression, or a text around some."""

    __slots__ = ()


@dataclass
class _Draft:
    """A template while it is made."""

    name: str
    title: str
    description: str
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def finish(self) -> Imported:
        header = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "title": self.title or self.name,
            "description": self.description or "Imported.\n",
        }
        lines = [write_yaml(header)]
        if self.parameters:
            items = [{"name": name, **parameter} for name, parameter in self.parameters.items()]
            lines.append("\n" + write_yaml({"parameters": items}))
        lines.append("\nobjects:\n")
        for name, manifest in self.objects:
            lines.append(f"  - name: {write_scalar(name)}\n    body: |\n")
            body = write_yaml(manifest, scalar=_write_expression)
            lines += [f"      {line}\n" if line else "\n" for line in body.splitlines()]
        return Imported(self.name, "".join(lines), tuple(self.notices))


def _write_expression(value: Any) -> str | None:
    if isinstance(value, _Expression):
        return str(value)
    if isinstance(value, str) and _NEEDS_PRINTING.search(value):
        # Braces that Jinja2 would take for its own, and what bodies reserve, are printed as a value.
        return "{{ " + _jinja_text(value) + " }}"
    return None


def _jinja_text(text: str) -> str:
    """The text as a string of the body language; what ends lines, or is reserved, as an escape."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + _UNWRITABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped) + '"'


def import_manifest(manifest: Mapping[str, Any], *, where: str, name: str = "") -> Imported:
    """Makes a template.

    Args:
        manifest: a VirtualMachine, a VirtualMachineTemplate (template.kubevirt.io), or a Template
            (template.openshift.io).
        where: the file, for messages.
        name: the template's name; by default the manifest's.

    Raises:
        ManifestError: it is none of these.
    """
    kind = as_text(manifest.get("kind"))
    group = as_text(manifest.get("apiVersion")).partition("/")[0]
    found = _template_name(name or as_text(dig(manifest, "metadata", "name")) or "imported")
    if kind == "VirtualMachine" and group == "kubevirt.io":
        return _import_vm(manifest, found)
    if kind == "VirtualMachineTemplate" and group == "template.kubevirt.io":
        vm = dig(manifest, "spec", "virtualMachine")
        if not isinstance(vm, Mapping):
            raise ManifestError("the VirtualMachineTemplate has no spec.virtualMachine", where=where)
        return _import_template(manifest, [vm], as_list(dig(manifest, "spec", "parameters")), found)
    if kind == "Template" and group in {"template.openshift.io", "v1"}:
        objects = [item for item in as_list(manifest.get("objects")) if isinstance(item, Mapping)]
        if not objects:
            raise ManifestError("the Template has no objects", where=where)
        return _import_template(manifest, objects, as_list(manifest.get("parameters")), found)
    raise ManifestError(
        f"{kind or 'this'} of {as_text(manifest.get('apiVersion')) or 'no apiVersion'} cannot be imported",
        hint="give a VirtualMachine, a VirtualMachineTemplate of KubeVirt, or a Template of OpenShift",
        where=where,
    )


def _template_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-") or "imported"


# --- VirtualMachineTemplate and Template -------------------------------------------------------------------------


def _import_template(
    manifest: Mapping[str, Any], objects: list[Mapping[str, Any]], parameters: list[Any], name: str
) -> Imported:
    annotations = as_mapping(dig(manifest, "metadata", "annotations"))
    draft = _Draft(
        name,
        as_text(annotations.get("openshift.io/display-name")) or name,
        as_text(annotations.get("description")),
    )
    message = as_text(dig(manifest, "spec", "message")) or as_text(manifest.get("message"))
    if message:
        draft.notices.append("its message is not carried over; put it into the description")
    known = {as_text(as_mapping(item).get("name")): as_mapping(item) for item in parameters}
    known.pop("", None)
    whole = {match[1] for match in _WHOLE.finditer(repr(objects))}
    vm = next((item for item in objects if item.get("kind") == "VirtualMachine"), objects[0])
    names = _rename(known, as_text(dig(vm, "metadata", "name")), draft)
    for key, item in known.items():
        if names[key] not in BUILT_IN_NAMES:
            draft.parameters[names[key]] = _convert_parameter(key, item, draft, typed=key in whole)
    referenced = {match[1] or match[2] for match in _REFERENCE.finditer(repr(objects))}
    for key in sorted(referenced - set(known)):
        raise ManifestError(f"${{{key}}} is used, and there is no such parameter", hint="add it to its parameters")
    labels: dict[str, int] = {}
    for item in objects:
        stripped = strip_server_fields(item)
        label = _template_name(as_text(item.get("kind")) or "object")
        labels[label] = labels.get(label, 0) + 1
        draft.objects.append(
            (label if labels[label] == 1 else f"{label}-{labels[label]}", _convert(stripped, names))
        )
    if not any(value == "name" for value in names.values()):
        _name_after_vm(draft, vm)
    return draft.finish()


def _rename(known: Mapping[str, Any], vm_name: str, draft: _Draft) -> dict[str, str]:
    """What each parameter is called: lower case; the one that names the VM is the built-in ``name``."""
    names: dict[str, str] = {}
    for key in known:
        lower = re.sub(r"[^a-z0-9_]+", "_", key.lower()).strip("_") or "parameter"
        lower = lower if lower[0].isalpha() else f"p_{lower}"
        if vm_name in {f"${{{key}}}", f"${{{{{key}}}}}"}:
            names[key] = "name"
            draft.notices.append(f"parameter {key} names the VM: it is the name given to vmkit create")
            continue
        while lower in BUILT_IN_NAMES or lower in names.values():
            lower += "_value"
        names[key] = lower
    return names


def _convert_parameter(key: str, item: Mapping[str, Any], draft: _Draft, *, typed: bool) -> dict[str, Any]:
    parameter: dict[str, Any] = {}
    value = item.get("value")
    if typed and isinstance(value, str):
        value = _typed(value)
    kind = _type_of(value)
    if kind != "string":
        parameter["type"] = kind
    words = as_text(item.get("description")) or as_text(item.get("displayName"))
    if words:
        parameter["help"] = " ".join(words.split())
    if re.search(r"(?i)password|secret|token", key):
        parameter["secret"] = True
    if value not in (None, ""):
        parameter["default"] = value
    elif as_text(item.get("generate")):
        draft.notices.append(
            f"parameter {key} was generated ({as_text(item.get('from'))}): vmkit makes no random values, so that "
            "a run can be repeated; give it with --set"
        )
    elif item.get("required") is not True:
        parameter["default"] = ""
    return parameter


def _typed(text: str) -> Any:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,17})", text) else text


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str) and re.fullmatch(r"[0-9]+[KMGT]i", value):
        return "quantity"
    return "string"


def _convert(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {_convert_key(str(key), names): _convert(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_convert(item, names) for item in value]
    if isinstance(value, str) and _REFERENCE.search(value):
        whole = _WHOLE.fullmatch(value)
        if whole is not None:
            return _Expression("{{ " + names[whole[1]] + " }}")
        return _mixed(value, names)
    return value


def _convert_key(key: str, names: Mapping[str, str]) -> str:
    return _mixed(key, names) if _REFERENCE.search(key) else key


def _mixed(text: str, names: Mapping[str, str]) -> _Expression:
    """A text with references inside: one expression, so that no character in it can matter."""
    whole = _REFERENCE.fullmatch(text)
    if whole is not None:
        return _Expression('"{{ ' + names[whole[1] or whole[2]] + ' }}"')
    pieces: list[str] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > position:
            pieces.append(_jinja_text(text[position : match.start()]))
        pieces.append(names[match[1] or match[2]])
        position = match.end()
    if position < len(text):
        pieces.append(_jinja_text(text[position:]))
    return _Expression("{{ " + " ~ ".join(pieces) + " }}")


# --- VirtualMachine ----------------------------------------------------------------------------------------------


def _import_vm(manifest: Mapping[str, Any], name: str) -> Imported:
    vm_name = as_text(dig(manifest, "metadata", "name"))
    draft = _Draft(
        name, f"Made from the VM {vm_name or name}", f"Imported from the VirtualMachine {vm_name or name}.\n"
    )
    vm = strip_server_fields(manifest)
    spec = vm.get("spec")
    if not isinstance(spec, dict):
        raise ManifestError("the VirtualMachine has no spec")
    if "running" in spec and "runStrategy" not in spec:
        spec["runStrategy"] = "Always" if spec.pop("running") is True else "Halted"
    domain = dig(vm, "spec", "template", "spec", "domain")
    if isinstance(domain, dict):
        firmware = domain.get("firmware")
        if isinstance(firmware, dict):
            # Identities of the one VM: each VM gets its own.
            for key in ("uuid", "serial"):
                firmware.pop(key, None)
            if not firmware:
                del domain["firmware"]
    _parametrise_vm(vm, draft)
    vm = _rename_vm(vm, vm_name)
    draft.objects.append(("vm", vm))
    _name_after_vm(draft, vm)
    for volume in as_list(dig(vm, "spec", "template", "spec", "volumes")):
        for kind in ("secret", "configMap", "persistentVolumeClaim"):
            if kind in as_mapping(volume):
                draft.notices.append(
                    f"volume {as_mapping(volume).get('name')} refers to a {kind} that has to exist"
                )
    return draft.finish()


def _parametrise_vm(vm: dict[str, Any], draft: _Draft) -> None:
    def put(parent: Any, key: str, name: str, words: str, **more: Any) -> None:
        if isinstance(parent, dict) and parent.get(key) is not None and not isinstance(parent[key], _Expression):
            value = parent[key]
            type_ = more.pop("type", None) or _type_of(value)
            if type_ == "quantity":
                try:
                    parse_quantity(value)
                except InputError:
                    return
            parameter = {"type": type_, **more, "default": value, "help": words}
            draft.parameters[name] = {key: item for key, item in parameter.items() if item != "string"}
            parent[key] = _Expression("{{ " + name + " }}")

    spec = vm["spec"]
    guest = dig(vm, "spec", "template", "spec")
    domain = dig(guest, "domain")
    strategies = ["Always", "Manual", "RerunOnFailure", "Halted", "Once"]
    if spec.get("runStrategy") in strategies:
        put(spec, "runStrategy", "run_strategy", "When it runs", type="choice", choices=strategies)
    cpu = dig(domain, "cpu")
    for key in ("sockets", "cores"):
        if isinstance(dig(cpu, key), int) and (cpu[key] > 1 or key == "cores") and "cpu" not in draft.parameters:
            put(cpu, key, "cpu", f"How many virtual CPUs, as {key}", minimum=1, maximum=512)
    memory = dig(domain, "memory")
    put(memory, "guest", "memory", "Memory of the guest", type="quantity")
    if dig(memory, "guest") is None:
        put(dig(domain, "resources", "requests"), "memory", "memory", "Memory of the guest", type="quantity")
    for key in ("instancetype", "preference"):
        put(spec.get(key), "name", key, f"The {key} it takes")
    for item in as_list(spec.get("dataVolumeTemplates")):
        _parametrise_disk(as_mapping(item), as_text(dig(vm, "metadata", "name")), put)
    for volume in as_list(dig(guest, "volumes")):
        image = as_mapping(volume).get("containerDisk")
        suffix = re.sub(r"[^a-z0-9]+", "_", as_text(as_mapping(volume).get("name")).lower()).strip("_") or "disk"
        put(image, "image", f"{suffix}_image", "The container disk it boots from")
    for interface in as_list(dig(domain, "devices", "interfaces")):
        if isinstance(interface, dict) and interface.get("name") and "sriov" not in interface:
            interface["macAddress"] = _Expression('{{ mac("' + str(interface["name"]) + '") }}')


def _parametrise_disk(item: Mapping[str, Any], vm_name: str, put: Any) -> None:
    disk = as_text(dig(item, "metadata", "name")).removeprefix(f"{vm_name}-")
    name = re.sub(r"[^a-z0-9]+", "_", disk.lower()).strip("_") or "disk"
    name = name if name[0].isalpha() else f"disk_{name}"
    for part in ("storage", "pvc"):
        claim = dig(item, "spec", part)
        put(
            dig(claim, "resources", "requests"),
            "storage",
            f"{name}_size",
            f"Size of the disk {disk}",
            type="quantity",
        )
        if isinstance(claim, dict) and claim.get("storageClassName"):
            # The class belongs to the cluster it came from.
            claim["storageClassName"] = _Expression("{{ storage.class_name }}")
    for kind in ("registry", "http"):
        put(dig(item, "spec", "source", kind), "url", f"{name}_url", f"Where the disk {disk} is imported from")


def _rename_vm(value: Any, vm_name: str) -> Any:
    """Every text that is the VM's name, or begins with it and a dash, follows the name given."""
    if isinstance(value, _Expression) or not vm_name:
        return value
    if isinstance(value, dict):
        return {key: _rename_vm(item, vm_name) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename_vm(item, vm_name) for item in value]
    if value == vm_name:
        return _Expression("{{ name }}")
    if isinstance(value, str) and value.startswith(f"{vm_name}-") and "\n" not in value:
        return _Expression("{{ name }}" + value[len(vm_name) :]) if re.fullmatch(r"[-a-z0-9.]+", value) else value
    return value


def _name_after_vm(draft: _Draft, vm: Mapping[str, Any]) -> None:
    for _, manifest in draft.objects:
        metadata = manifest.get("metadata")
        if manifest.get("kind") == vm.get("kind") == "VirtualMachine" and isinstance(metadata, dict):
            metadata["name"] = _Expression("{{ name }}")


def strip_server_fields(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a manifest without what a server filled in (and without its status and namespace)."""
    copy: dict[str, Any] = _deep(manifest)
    copy.pop("status", None)
    _strip_metadata(copy.get("metadata"))
    _strip_metadata(dig(copy, "spec", "template", "metadata"))
    for item in as_list(dig(copy, "spec", "dataVolumeTemplates")):
        if isinstance(item, dict):
            _strip_metadata(item.get("metadata"))
            item.pop("status", None)
    return copy


def _strip_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict):
        return
    for key in _SERVER_METADATA:
        metadata.pop(key, None)
    for key, pattern in (("annotations", _SERVER_ANNOTATIONS), ("labels", _SERVER_LABELS)):
        kept = {
            name: value for name, value in as_mapping(metadata.get(key)).items() if not pattern.fullmatch(name)
        }
        if kept:
            metadata[key] = kept
        else:
            metadata.pop(key, None)


def _deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _deep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item) for item in value]
    return value


def new_template(name: str, *, based_on: str) -> str:
    """A template file under a new name.

    Args:
        name: the new template's name.
        based_on: the text of the template it begins as.
    """
    text = re.sub(r"(?m)^name:.*$", f"name: {name}", based_on, count=1)
    return re.sub(r"(?m)^title:.*$", f"title: {quote(name)}", text, count=1)
