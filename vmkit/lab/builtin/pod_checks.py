"""What the API server refuses about pods and pod templates (pkg/apis/core/validation/validation.go)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from vmkit.lab.semantics.names import check_name
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.status import Cause

_RESTART: Final = ("Always", "Never", "OnFailure")
_DNS: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PULL: Final = ("Always", "IfNotPresent", "Never")
_ENVIRONMENT_NAME: Final = re.compile(r"[ -<>-~]+")
_MUTABLE: Final = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates")


def find_pod_spec_errors(
    spec: Mapping[str, Any] | None, where: str, *, claims: Collection[str] = ()
) -> Iterator[Cause]:
    """What is wrong with a pod's spec.

    Args:
        spec: as defaulted.
        where: the spec's path, as causes name it.
        claims: names of volumes that a StatefulSet's claim templates bring.
    """
    spec = spec or {}
    volumes = set(claims)
    for index, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name", "")
        yield from _name_errors(name, f"{where}.volumes[{index}].name", volumes - set(claims))
        volumes.add(name)
    names: set[str] = set()
    if not spec.get("containers"):
        yield Cause("FieldValueRequired", "Required value", f"{where}.containers")
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield from _container_errors(container, f"{where}.{field}[{index}]", names, volumes)
            names.add(container.get("name", ""))
    for name, known in (("restartPolicy", _RESTART), ("dnsPolicy", _DNS)):
        if spec.get(name) is not None and spec[name] not in known:
            yield _unsupported(f"{where}.{name}", spec[name], known)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        yield invalid_value(f"{where}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")


def find_pod_changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    """A running pod keeps its spec, but for images and a few more fields."""

    def fixed(spec: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in spec.items() if key not in _MUTABLE and key != "nodeName"}
        for field in ("containers", "initContainers"):
            if isinstance(kept.get(field), list):
                kept[field] = [{**each, "image": ""} for each in kept[field]]
        return kept

    bound = old.get("nodeName") and new.get("nodeName") != old.get("nodeName")
    if bound or fixed(new) != fixed(old):
        message = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)"
        )
        yield Cause("FieldValueForbidden", message, "spec")


def _container_errors(
    container: Mapping[str, Any], where: str, names: set[str], volumes: set[str]
) -> Iterator[Cause]:
    yield from _name_errors(container.get("name", ""), f"{where}.name", names)
    if not container.get("image"):
        yield Cause("FieldValueRequired", "Required value", f"{where}.image")
    elif container["image"].strip() != container["image"]:
        yield invalid_value(f"{where}.image", container["image"], "must not have leading or trailing whitespace")
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort", 0)
        if not number:
            yield Cause("FieldValueRequired", "Required value", f"{where}.ports[{index}].containerPort")
        elif not 1 <= number <= 65535:
            message = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"{where}.ports[{index}].containerPort", number, message)
    for index, variable in enumerate(container.get("env") or ()):
        if not variable.get("name"):
            yield Cause("FieldValueRequired", "Required value", f"{where}.env[{index}].name")
        elif not _ENVIRONMENT_NAME.fullmatch(variable["name"]):
            message = (
                "a valid environment variable name must consist only of printable ASCII characters other than "
                "'=' (e.g. 'my-env.name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is "
                "'[ -<>-~]+')"
            )
            yield invalid_value(f"{where}.env[{index}].name", variable["name"], message)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        name = mount.get("name", "")
        if not name:
            yield Cause("FieldValueRequired", "Required value", f"{where}.volumeMounts[{index}].name")
        elif name not in volumes:
            message = f"Not found: {json.dumps(name)}"
            yield Cause("FieldValueNotFound", message, f"{where}.volumeMounts[{index}].name")
        if not mount.get("mountPath"):
            yield Cause("FieldValueRequired", "Required value", f"{where}.volumeMounts[{index}].mountPath")
    policy = container.get("imagePullPolicy")
    if policy is not None and policy not in _PULL:
        yield _unsupported(f"{where}.imagePullPolicy", policy, _PULL)


def _name_errors(name: str, where: str, seen: set[str]) -> Iterator[Cause]:
    if not name:
        yield Cause("FieldValueRequired", "Required value", where)
        return
    for complaint in check_name(name, "label"):
        yield invalid_value(where, name, complaint)
    if name in seen:
        yield Cause("FieldValueDuplicate", f"Duplicate value: {json.dumps(name)}", where)


def _unsupported(where: str, value: Any, known: tuple[str, ...]) -> Cause:
    listed = ", ".join(json.dumps(each) for each in known)
    message = f"Unsupported value: {json.dumps(value)}: supported values: {listed}"
    return Cause("FieldValueNotSupported", message, where)
