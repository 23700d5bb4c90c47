"""The policies at work: every write is judged by those that are bound.

Follows k8s.io/apiserver/pkg/admission/plugin/policy/validating (dispatcher.go, validator.go), with its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.policies.checks import POLICIES
from vmkit.lab.policies.expressions import CelError, compile_expression
from vmkit.lab.policies.matching import matches_resources
from vmkit.lab.resources import AdmissionRequest, Object, ObjectKey, Registry, ResourceType
from vmkit.lab.status import ApiError, Details
from vmkit.lab.store import Store

GROUP: Final = "admissionregistration.k8s.io"
_CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Denial:
    """One validation that does not hold, or could not be evaluated."""

    message: str
    reason: str = "Invalid"


class Policies:
    """Judges writes by the policies of one lab."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._store = store
        self._policies = registry.get(*POLICIES)
        self._bindings = registry.get(GROUP, "validatingadmissionpolicybindings")
        self._namespaces = registry.get("", "namespaces")
        self._decoded: dict[tuple[str, ObjectKey], tuple[object, Object]] = {}

    def judge(self, request: AdmissionRequest, new: Object, old: Object | None) -> None:
        """Lets a write pass, or refuses it.

        Raises:
            ApiError: a policy denies it.
        """
        if request.rtype.group == GROUP:
            return  # Nobody can be locked out of repairing a policy.
        for binding in self._read(self._bindings):
            policy = self._find(self._policies, binding["spec"].get("policyName", ""))
            if policy is not None:
                self._judge_by(policy, binding, request, new, old)

    def _read(self, rtype: ResourceType) -> Iterator[Object]:
        for entry in self._store.entries(rtype):
            known = self._decoded.get((rtype.plural, entry.key))
            if known is None or known[0] is not entry:
                known = self._decoded[rtype.plural, entry.key] = (entry, entry.decode())
            yield known[1]

    def _find(self, rtype: ResourceType, name: str) -> Object | None:
        return next((each for each in self._read(rtype) if each["metadata"]["name"] == name), None)

    def _namespace_of(self, request: AdmissionRequest, present: Object) -> Object | None:
        if request.rtype is self._namespaces:
            return present
        return self._store.find(self._namespaces, "", request.namespace) if request.rtype.namespaced else None

    def _judge_by(
        self, policy: Object, binding: Object, request: AdmissionRequest, new: Object, old: Object | None
    ) -> None:
        spec = policy["spec"]
        deleting = request.operation == "DELETE"
        objects = [each for each in (None if deleting else new, old) if each is not None]
        namespace = self._namespace_of(request, objects[0])
        for constraints in (spec.get("matchConstraints"), binding["spec"].get("matchResources")):
            if not matches_resources(constraints, request, objects, namespace):
                return
        values: dict[str, Any] = {
            "object": None if deleting else new,
            "oldObject": old,
            "request": describe_request(request),
            "namespaceObject": namespace,
        }
        denials = decide_policy(spec, values)
        if denials:
            self._act(policy, binding, request, denials)

    def _act(self, policy: Object, binding: Object, request: AdmissionRequest, denials: list[Denial]) -> None:
        names = f"ValidatingAdmissionPolicy '{policy['metadata']['name']}' with binding"
        names += f" '{binding['metadata']['name']}'"
        actions = binding["spec"].get("validationActions") or ()
        if "Warn" in actions:
            request.warnings.extend(f"Validation failed for {names}: {each.message}" for each in denials)
        if "Deny" in actions:
            raise _denied(request, f"{names} denied request: {denials[0].message}", denials[0].reason)


def decide_policy(spec: Mapping[str, Any], values: Mapping[str, Any]) -> list[Denial]:
    """What a policy has against a write; pure.

    Args:
        spec: the policy's.
        values: object, oldObject, request and namespaceObject.
    """
    strict = spec.get("failurePolicy", "Fail") == "Fail"
    errors = []
    for condition in spec.get("matchConditions") or ():
        try:
            if compile_expression(condition["expression"]).evaluate(values) is False:
                return []
        except CelError as error:
            errors.append(f"expression '{condition['expression']}' resulted in error: {error}")
    if errors:
        return [Denial(errors[0])] if strict else []
    scope = _Scope(spec.get("variables") or (), values)
    denials = []
    for validation in spec.get("validations") or ():
        text = validation["expression"]
        try:
            holds = scope.evaluate(text)
        except CelError as error:
            if strict:
                denials.append(Denial(f"expression '{text.strip()}' resulted in error: {error}"))
            continue
        if holds is not True:
            denials.append(Denial(_message(validation, scope), validation.get("reason") or "Invalid"))
    return denials


class _Scope:
    """Values with a policy's variables, each of which may use those before it."""

    def __init__(self, variables: Any, values: Mapping[str, Any]) -> None:
        self._failed: dict[str, str] = {}
        found: dict[str, Any] = {}
        self._values = {**values, "variables": found}
        for variable in variables:
            try:
                found[variable["name"]] = compile_expression(variable["expression"]).evaluate(self._values)
            except CelError as error:
                # It counts only where something asks for it.
                self._failed[variable["name"]] = str(error)

    def evaluate(self, text: str) -> Any:
        try:
            return compile_expression(text).evaluate(self._values)
        except CelError as error:
            for name, why in self._failed.items():
                if f"variables.{name}" in text:
                    raise CelError(f'composited variable "{name}" fails to evaluate: {why}') from error
            raise


def _message(validation: Mapping[str, Any], scope: _Scope) -> str:
    expression = validation.get("messageExpression")
    if expression:
        try:
            text = scope.evaluate(expression)
        except CelError:
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text.strip():
            return text.strip()
    given = str(validation.get("message") or "").strip()
    return given or f"failed expression: {validation['expression'].strip()}"


def describe_request(request: AdmissionRequest) -> dict[str, Any]:
    """The AdmissionRequest that expressions call ``request``; what is empty is left out."""
    rtype = request.rtype
    kind = {"group": rtype.group, "version": rtype.version, "kind": rtype.kind}
    resource = {"group": rtype.group, "version": rtype.version, "resource": rtype.plural}
    described = {
        "kind": kind,
        "resource": resource,
        "subResource": request.subresource,
        "requestKind": kind,
        "requestResource": resource,
        "requestSubResource": request.subresource,
        "name": request.name,
        "namespace": request.namespace,
        "operation": request.operation,
        "userInfo": request.user.to_dict(),
        "dryRun": request.dry_run,
        "options": dict(request.options),
    }
    return {key: value for key, value in described.items() if value not in ("", {})}


def _denied(request: AdmissionRequest, why: str, reason: str) -> ApiError:
    """As admission.NewForbidden words it, with the reason that the policy gives."""
    rtype = request.rtype
    name = f' "{request.name}"' if request.name else ""
    causes = [{"message": why}]
    details = {**Details(name=request.name, group=rtype.group, kind=rtype.plural).to_dict(), "causes": causes}
    return ApiError(_CODES[reason], reason, f"{rtype.resource}{name} is forbidden: {why}", details=details)
