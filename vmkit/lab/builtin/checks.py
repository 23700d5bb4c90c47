"""What the API server itself refuses about built-in kinds, beyond their schemas (pkg/apis/*/validation)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.errors import VmkitError
from vmkit.lab.builtin.workload_checks import check_cron_job, check_job, check_pod, check_workload, refuse
from vmkit.lab.resources import AdmissionRequest, Object, Validate
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.status import Cause, forbidden
from vmkit.units import parse_quantity

_MAX_DATA_BYTES: Final = 1024 * 1024
_TOO_MUCH_DATA: Final = f"Too long: may not be more than {_MAX_DATA_BYTES} bytes"
_CONFIG_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_CONFIG_KEY_MESSAGE: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def _config_keys(obj: Object, *fields: str) -> Iterator[Cause]:
    for field in fields:
        for key in obj.get(field) or {}:
            if len(key) > 253:
                yield invalid_value(f"{field}[{key}]", key, "must be no more than 253 characters")
            if not _CONFIG_KEY.fullmatch(key):
                yield invalid_value(f"{field}[{key}]", key, _CONFIG_KEY_MESSAGE)


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


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
        size = sum(len(value.encode()) for value in (obj.get("data") or {}).values())
        size += sum(_decoded_size(value) for value in (obj.get("binaryData") or {}).values())
        if size > _MAX_DATA_BYTES:
            # The path is empty in Go too, which is printed as a pair of brackets.
            yield Cause("FieldValueTooLong", _TOO_MUCH_DATA, "[]")
        if old is not None:
            yield from _immutable(obj, old, "data", "binaryData")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


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
        if sum(_decoded_size(value) for value in data.values()) > _MAX_DATA_BYTES:
            yield Cause("FieldValueTooLong", _TOO_MUCH_DATA, "data")
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
        refuse(request, obj, causes())


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
        refuse(request, obj, causes())


_CLAIM_MUTABLE: Final = ("resources", "volumeAttributesClassName", "volumeName", "storageClassName")


def _is_positive(size: Any) -> bool:
    try:
        return parse_quantity(str(size)) > 0
    except VmkitError:
        return True  # Not a quantity: the schema says so.


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
        elif not _is_positive(requests["storage"]):
            shown = str(requests["storage"])
            yield invalid_value("spec.resources[storage]", shown, "must be greater than zero")
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
        refuse(request, obj, causes())


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
        refuse(request, obj, causes())


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
            elif subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
                yield Cause("FieldValueRequired", "Required value", f"subjects[{index}].namespace")
        if old is not None and role != old.get("roleRef"):
            shown: Any = {"apiGroup": role.get("apiGroup"), "kind": role.get("kind"), "name": role.get("name")}
            yield invalid_value("roleRef", shown, "cannot change roleRef")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


def check_role(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Rules have verbs, and either resources or paths."""

    def causes() -> Iterator[Cause]:
        for index, rule in enumerate(obj.get("rules") or ()):
            where = f"rules[{index}]"
            if not rule.get("verbs"):
                yield Cause(
                    "FieldValueRequired", "Required value: verbs must contain at least one value", f"{where}.verbs"
                )
            paths = rule.get("nonResourceURLs")
            if paths:
                if request.rtype.namespaced:
                    message = "namespaced rules cannot apply to non-resource URLs"
                    yield invalid_value(f"{where}.nonResourceURLs", paths, message)
                if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                    message = "rules cannot apply to both regular resources and non-resource URLs"
                    yield invalid_value(f"{where}.nonResourceURLs", paths, message)
                continue
            if not rule.get("apiGroups"):
                message = "Required value: resource rules must supply at least one api group"
                yield Cause("FieldValueRequired", message, f"{where}.apiGroups")
            if not rule.get("resources"):
                message = "Required value: resource rules must supply at least one resource"
                yield Cause("FieldValueRequired", message, f"{where}.resources")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


def check_event(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """An Event lives in the namespace of the object it is about (pkg/apis/core/validation/events.go)."""

    def causes() -> Iterator[Cause]:
        about = (obj.get("involvedObject") or {}).get("namespace", "")
        # What is about the whole cluster goes where the cluster's own things are.
        expected = (about,) if about else ("", "default", "kube-system")
        if obj["metadata"].get("namespace", "") not in expected:
            yield invalid_value("involvedObject.namespace", about, "does not match event.namespace")

    if request.operation == "CREATE":
        refuse(request, obj, causes())


def check_lease(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """pkg/apis/coordination/validation."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        if isinstance(seconds, int) and seconds <= 0:
            yield invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")
        if isinstance(transitions, int) and transitions < 0:
            yield invalid_value("spec.leaseTransitions", transitions, "must be greater than or equal to 0")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


VALIDATE: Final[Mapping[tuple[str, str], Validate]] = {
    ("", "ConfigMap"): check_config_map,
    ("", "Secret"): check_secret,
    ("", "Service"): check_service,
    ("", "PersistentVolumeClaim"): check_claim,
    ("", "Namespace"): check_namespace,
    ("", "Pod"): check_pod,
    ("", "Event"): check_event,
    ("coordination.k8s.io", "Lease"): check_lease,
    ("batch", "Job"): check_job,
    ("batch", "CronJob"): check_cron_job,
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
