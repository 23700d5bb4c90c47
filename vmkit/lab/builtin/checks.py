"""What the API server itself refuses about built-in kinds, beyond their schemas (pkg/apis/*/validation)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.lab.resources import AdmissionRequest, Object, Validate
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.semantics.selectors import build_label_selector
from vmkit.lab.status import Cause, forbidden, invalid

_CONFIG_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_CONFIG_KEY_MESSAGE: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def _refuse(request: AdmissionRequest, obj: Object, causes: Iterator[Cause]) -> None:
    found = list(causes)
    if found:
        rtype = request.rtype
        raise invalid(rtype.group, rtype.kind, obj["metadata"].get("name", ""), found)


def _config_keys(obj: Object, *fields: str) -> Iterator[Cause]:
    for field in fields:
        for key in obj.get(field) or {}:
            if len(key) > 253:
                yield invalid_value(f"{field}[{key}]", key, "must be no more than 253 characters")
            if not _CONFIG_KEY.fullmatch(key):
                yield invalid_value(f"{field}[{key}]", key, _CONFIG_KEY_MESSAGE)


def _immutable(obj: Object, old: Object, *fields: str) -> Iterator[Cause]:
    """Data of an object that once said ``immutable: true``."""
    if not old.get("immutable"):
        return
    message = "Forbidden: field is immutable when `immutable` is set"
    if not obj.get("immutable"):
        yield Cause("FieldValueForbidden", message, "immutable")
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            yield Cause("FieldValueForbidden", message, field)


def check_config_map(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Keys, and immutability."""

    def causes() -> Iterator[Cause]:
        yield from _config_keys(obj, "data", "binaryData")
        if old is not None:
            yield from _immutable(obj, old, "data", "binaryData")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


_REQUIRED_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def check_secret(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Keys, the keys a type asks for, and immutability."""

    def causes() -> Iterator[Cause]:
        data = obj.get("data") or {}
        yield from _config_keys(obj, "data")
        for key in _REQUIRED_KEYS.get(obj.get("type", ""), ()):
            if key not in data:
                yield Cause("FieldValueRequired", "Required value", f"data[{key}]")
        if obj.get("type") == "kubernetes.io/service-account-token":
            name = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
            if not name:
                field = "metadata.annotations[kubernetes.io/service-account.name]"
                yield Cause("FieldValueRequired", "Required value", field)
        if old is not None:
            if obj.get("type") != old.get("type"):
                yield invalid_value("type", obj.get("type"), "field is immutable")
            yield from _immutable(obj, old, "data")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


def check_workload(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """A selector that selects the template, and does not change."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        selector = spec.get("selector")
        if request.rtype.group == "batch":
            return
        if selector is not None and not build_label_selector(selector).matches(labels):
            shown = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
            yield Cause(
                "FieldValueInvalid",
                f"Invalid value: map[string]string{{{shown}}}: `selector` does not match template `labels`",
                "spec.template.metadata.labels",
            )
        if old is not None and selector != (old.get("spec") or {}).get("selector"):
            yield invalid_value("spec.selector", selector, "field is immutable")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


def check_storage_class(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Parameters, provisioner and policies do not change."""

    def causes() -> Iterator[Cause]:
        if old is None:
            return
        pairs = (
            ("parameters", "Forbidden: updates to parameters are forbidden."),
            ("provisioner", "Forbidden: updates to provisioner are forbidden."),
        )
        for field, message in pairs:
            if (obj.get(field) or None) != (old.get(field) or None):
                yield Cause("FieldValueForbidden", message, field)
        for field in ("reclaimPolicy", "volumeBindingMode"):
            if obj.get(field) != old.get(field):
                yield invalid_value(field, obj.get(field), "field is immutable")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


_CLAIM_MUTABLE: Final = ("resources", "volumeAttributesClassName", "volumeName", "storageClassName")


def check_claim(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Access modes and a size are there; the spec stays, but for growing and binding."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        if not spec.get("accessModes"):
            yield Cause(
                "FieldValueRequired", "Required value: at least 1 access mode is required", "spec.accessModes"
            )
        requests = (spec.get("resources") or {}).get("requests") or {}
        if "storage" not in requests:
            yield Cause("FieldValueRequired", "Required value", "spec.resources[storage]")
        for index, mode in enumerate(spec.get("accessModes") or ()):
            known = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
            if mode not in known:
                listed = ", ".join(json.dumps(each) for each in known)
                message = f"Unsupported value: {json.dumps(mode)}: supported values: {listed}"
                yield Cause("FieldValueNotSupported", message, f"spec.accessModes[{index}]")
        if old is None:
            return
        before = old.get("spec") or {}
        late = {
            key
            for key in ("volumeName", "storageClassName")
            if before.get(key) and spec.get(key) != before.get(key)
        }
        fixed = {key: value for key, value in spec.items() if key not in _CLAIM_MUTABLE}
        if late or fixed != {key: value for key, value in before.items() if key not in _CLAIM_MUTABLE}:
            message = (
                "Forbidden: spec is immutable after creation except resources.requests and "
                "volumeAttributesClassName for bound claims"
            )
            yield Cause("FieldValueForbidden", message, "spec")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


def check_service(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Ports are there (but for headless and external ones), in range, and named when several."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        ports = spec.get("ports") or []
        if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
            yield Cause("FieldValueRequired", "Required value", "spec.ports")
        for index, port in enumerate(ports):
            number = port.get("port", 0)
            if not 1 <= number <= 65535:
                yield invalid_value(f"spec.ports[{index}].port", number, "must be between 1 and 65535, inclusive")
            if len(ports) > 1 and not port.get("name"):
                yield Cause("FieldValueRequired", "Required value", f"spec.ports[{index}].name")
        if spec.get("type") == "ExternalName" and not spec.get("externalName"):
            yield Cause("FieldValueRequired", "Required value", "spec.externalName")
        if old is not None and spec.get("type") != "ExternalName":
            before = (old.get("spec") or {}).get("clusterIP")
            if before and spec.get("clusterIP") != before:
                yield invalid_value("spec.clusterIP", spec.get("clusterIP", ""), "field is immutable")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


def check_namespace(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """The namespaces a cluster cannot do without stay (admission/plugin/namespace/lifecycle)."""
    name = (old or obj)["metadata"]["name"] if request.operation == "DELETE" else ""
    if name in ("default", "kube-system", "kube-public"):
        raise forbidden("", "namespaces", name, "this namespace may not be deleted")


def check_role_binding(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """The role it names stays the same; kinds are known."""

    def causes() -> Iterator[Cause]:
        role = obj.get("roleRef") or {}
        namespaced = request.rtype.kind == "RoleBinding"
        supported = ("ClusterRole", "Role") if namespaced else ("ClusterRole",)
        if role.get("kind") not in supported:
            listed = ", ".join(json.dumps(each) for each in supported)
            message = f"Unsupported value: {json.dumps(role.get('kind', ''))}: supported values: {listed}"
            yield Cause("FieldValueNotSupported", message, "roleRef.kind")
        for index, subject in enumerate(obj.get("subjects") or ()):
            if subject.get("kind") not in ("ServiceAccount", "User", "Group"):
                listed = '"ServiceAccount", "User", "Group"'
                message = f"Unsupported value: {json.dumps(subject.get('kind', ''))}: supported values: {listed}"
                yield Cause("FieldValueNotSupported", message, f"subjects[{index}].kind")
            elif subject["kind"] == "ServiceAccount" and not subject.get("namespace") and not namespaced:
                yield Cause("FieldValueRequired", "Required value", f"subjects[{index}].namespace")
        if old is not None and role != old.get("roleRef"):
            shown: Any = {"apiGroup": role.get("apiGroup"), "kind": role.get("kind"), "name": role.get("name")}
            yield invalid_value("roleRef", shown, "cannot change roleRef")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


def check_role(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Rules have verbs, and either resources or paths."""

    def causes() -> Iterator[Cause]:
        for index, rule in enumerate(obj.get("rules") or ()):
            where = f"rules[{index}]"
            if not rule.get("verbs"):
                yield Cause(
                    "FieldValueRequired", "Required value: verbs must contain at least one value", f"{where}.verbs"
                )
            if rule.get("nonResourceURLs"):
                continue
            if not rule.get("apiGroups"):
                message = "Required value: resource rules must supply at least one api group"
                yield Cause("FieldValueRequired", message, f"{where}.apiGroups")
            if not rule.get("resources"):
                message = "Required value: resource rules must supply at least one resource"
                yield Cause("FieldValueRequired", message, f"{where}.resources")

    if request.operation != "DELETE":
        _refuse(request, obj, causes())


VALIDATE: Final[Mapping[tuple[str, str], Validate]] = {
    ("", "ConfigMap"): check_config_map,
    ("", "Secret"): check_secret,
    ("", "Service"): check_service,
    ("", "PersistentVolumeClaim"): check_claim,
    ("", "Namespace"): check_namespace,
    ("apps", "Deployment"): check_workload,
    ("apps", "ReplicaSet"): check_workload,
    ("apps", "StatefulSet"): check_workload,
    ("apps", "DaemonSet"): check_workload,
    ("storage.k8s.io", "StorageClass"): check_storage_class,
    ("rbac.authorization.k8s.io", "Role"): check_role,
    ("rbac.authorization.k8s.io", "ClusterRole"): check_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): check_role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): check_role_binding,
}
