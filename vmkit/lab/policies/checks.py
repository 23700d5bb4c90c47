"""What is refused when a policy or a binding is made: whatever would leave it without effect.

Follows k8s.io/kubernetes/pkg/apis/admissionregistration/validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from vmkit.lab.policies.expressions import CelError, compile_expression
from vmkit.lab.resources import AdmissionRequest, Object, Registry
from vmkit.lab.status import Cause, invalid

POLICIES: Final = ("admissionregistration.k8s.io", "validatingadmissionpolicies")
BINDINGS: Final = ("admissionregistration.k8s.io", "validatingadmissionpolicybindings")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_FAILURE_POLICIES: Final = ("Fail", "Ignore")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_checks(registry: Registry) -> None:
    """Adds defaults and checks to both kinds."""
    registry.admit(registry.get(*POLICIES), mutate=_fill_in, validate=_check_policy)
    registry.admit(registry.get(*BINDINGS), validate=_check_binding)


def _fill_in(request: AdmissionRequest, policy: Object) -> Object:
    spec = policy.get("spec")
    if isinstance(spec, dict):
        spec.setdefault("failurePolicy", "Fail")
        constraints = spec.get("matchConstraints")
        if isinstance(constraints, dict):
            constraints.setdefault("matchPolicy", "Equivalent")
            constraints.setdefault("namespaceSelector", {})
            constraints.setdefault("objectSelector", {})
            for rule in constraints.get("resourceRules") or ():
                rule.setdefault("scope", "*")
    return policy


def _check_policy(request: AdmissionRequest, policy: Object, old: Object | None) -> None:
    if request.operation != "DELETE":
        _refuse(request, list(find_policy_errors(policy.get("spec") or {})))


def _check_binding(request: AdmissionRequest, binding: Object, old: Object | None) -> None:
    if request.operation != "DELETE":
        _refuse(request, list(find_binding_errors(binding.get("spec") or {})))


def _refuse(request: AdmissionRequest, causes: list[Cause]) -> None:
    if causes:
        raise invalid(request.rtype.group, request.rtype.kind, request.name, causes)


def find_policy_errors(spec: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a policy's spec."""
    if "paramKind" in spec:
        yield Cause("FieldValueForbidden", "Forbidden: the practice cluster knows no parameters", "spec.paramKind")
    yield from _one_of(spec, "failurePolicy", _FAILURE_POLICIES, "spec")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        yield _required("spec.matchConstraints")
    else:
        if not constraints.get("resourceRules"):
            yield _required("spec.matchConstraints.resourceRules")
        for index, rule in enumerate(constraints.get("resourceRules") or ()):
            for name in ("apiGroups", "apiVersions", "operations", "resources"):
                if not rule.get(name):
                    yield _required(f"spec.matchConstraints.resourceRules[{index}].{name}")
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        message = "Required value: validations or auditAnnotations must contain at least one item"
        yield Cause("FieldValueRequired", message, "spec.validations")
    for index, variable in enumerate(spec.get("variables") or ()):
        field = f"spec.variables[{index}]"
        if not _IDENTIFIER.fullmatch(str(variable.get("name", ""))):
            yield _wrong(f"{field}.name", variable.get("name"), "name is not a valid CEL identifier")
        yield from _compile(variable, "expression", field, None)
    for index, condition in enumerate(spec.get("matchConditions") or ()):
        field = f"spec.matchConditions[{index}]"
        if not condition.get("name"):
            yield _required(f"{field}.name")
        yield from _compile(condition, "expression", field, "BOOL")
    for index, validation in enumerate(spec.get("validations") or ()):
        field = f"spec.validations[{index}]"
        yield from _compile(validation, "expression", field, "BOOL")
        yield from _one_of(validation, "reason", _REASONS, field)
        if "\n" in str(validation.get("message") or "").strip():
            yield _wrong(f"{field}.message", validation["message"], "message must not contain line breaks")
        if validation.get("messageExpression"):
            yield from _compile(validation, "messageExpression", field, "STRING")
    for index, annotation in enumerate(spec.get("auditAnnotations") or ()):
        yield from _compile(annotation, "valueExpression", f"spec.auditAnnotations[{index}]", None)


def find_binding_errors(spec: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a binding's spec."""
    if not spec.get("policyName"):
        yield _required("spec.policyName")
    if spec.get("paramRef"):
        yield Cause("FieldValueForbidden", "Forbidden: the practice cluster knows no parameters", "spec.paramRef")
    actions = spec.get("validationActions") or []
    if not actions:
        message = "Required value: at least one validation action is required"
        yield Cause("FieldValueRequired", message, "spec.validationActions")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            yield _unsupported(f"spec.validationActions[{index}]", action, _ACTIONS)
        elif action in actions[:index]:
            message = f"Duplicate value: {_show(action)}"
            yield Cause("FieldValueDuplicate", message, f"spec.validationActions[{index}]")
    if "Deny" in actions and "Warn" in actions:
        why = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        why += "response and headers serves no purpose)"
        yield _wrong("spec.validationActions", actions, why)


def _compile(owner: Mapping[str, Any], key: str, field: str, wanted: str | None) -> Iterator[Cause]:
    text = str(owner.get(key) or "")
    where = f"{field}.{key}"
    if not text.strip():
        yield _required(where)
        return
    try:
        expression = compile_expression(text)
    except CelError as error:
        yield _wrong(where, text, f"compilation failed: {error}")
        return
    if wanted is not None and expression.type_name != wanted:
        yield _wrong(where, text, f"must evaluate to {wanted.lower()}")


def _one_of(owner: Mapping[str, Any], key: str, allowed: tuple[str, ...], field: str) -> Iterator[Cause]:
    if owner.get(key) is not None and owner[key] not in allowed:
        yield _unsupported(f"{field}.{key}", owner[key], allowed)


def _required(field: str) -> Cause:
    return Cause("FieldValueRequired", "Required value", field)


def _wrong(field: str, value: Any, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_show(value)}: {why}", field)


def _unsupported(field: str, value: Any, allowed: tuple[str, ...]) -> Cause:
    listed = ", ".join(_show(each) for each in allowed)
    return Cause("FieldValueNotSupported", f"Unsupported value: {_show(value)}: supported values: {listed}", field)


def _show(value: Any) -> str:
    return msgspec.json.encode(value).decode()
