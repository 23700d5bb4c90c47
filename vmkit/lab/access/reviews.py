"""Reviews: questions about access that are asked by creating an object, answered in its status and never
stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkit.lab.access.rbac import Attributes, decide, rules_for
from vmkit.lab.access.tokens import ISSUER, Tokens
from vmkit.lab.access.users import User
from vmkit.lab.resources import AdmissionRequest, Object, Registry, ResourceType, SchemaRef
from vmkit.lab.status import Cause, bad_request, invalid

_FILE: Final = "kubernetes"
_AUTHORIZATION: Final = "authorization.k8s.io"
_AUTHENTICATION: Final = "authentication.k8s.io"


def register(registry: Registry, tokens: Tokens) -> None:
    """Serves the review kinds."""

    def add(group: str, kind: str, plural: str, review: Any, *, namespaced: bool = False) -> None:
        definition = f"io.k8s.api.{group.partition('.')[0]}.v1.{kind}"
        registry.add(
            ResourceType(
                group,
                "v1",
                kind,
                plural,
                namespaced=namespaced,
                verbs=("create",),
                schema=SchemaRef(_FILE, definition),
                review=review,
                empty={"metadata": {}, "spec": {}, "status": {}},
            )
        )

    add(_AUTHENTICATION, "TokenReview", "tokenreviews", lambda request, obj: _review_token(tokens, obj))
    add(_AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", _review_self)
    add(
        _AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        _review_subject_here,
        namespaced=True,
    )
    add(_AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", _review_own_access)
    add(_AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", _review_rules)
    add(_AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", _review_subject)


def _question(request: AdmissionRequest, obj: Object) -> Attributes:
    spec = obj.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        shown = "null" if resource is None else "object"
        why = (
            f"Invalid value: {shown}: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
        cause = Cause("FieldValueInvalid", why, "spec.resourceAttributes")
        raise invalid(request.rtype.group, request.rtype.kind, "", [cause])
    if resource is None:
        path = path or {}
        return Attributes(str(path.get("verb", "")), path=str(path.get("path", "")))
    return Attributes(
        verb=str(resource.get("verb", "")),
        group=str(resource.get("group", "")),
        resource=str(resource.get("resource", "")),
        subresource=str(resource.get("subresource", "")),
        namespace=str(resource.get("namespace", "")),
        name=str(resource.get("name", "")),
    )


def _answer(request: AdmissionRequest, user: User, asked: Attributes) -> Object:
    decision = decide(request.store, user, asked)
    status: Object = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return status


def _review_own_access(request: AdmissionRequest, obj: Object) -> Object:
    obj["status"] = _answer(request, request.user, _question(request, obj))
    return obj


def _subject(request: AdmissionRequest, obj: Object) -> User:
    spec: Mapping[str, Any] = obj.get("spec") or {}
    if not spec.get("user") and not spec.get("groups"):
        message = "Required value: at least one of user or group must be specified"
        cause = Cause("FieldValueRequired", message, "spec.user")
        raise invalid(request.rtype.group, request.rtype.kind, "", [cause])
    return User(str(spec.get("user", "")), tuple(spec.get("groups") or ()), str(spec.get("uid", "")))


def _review_subject(request: AdmissionRequest, obj: Object) -> Object:
    obj["status"] = _answer(request, _subject(request, obj), _question(request, obj))
    return obj


def _review_subject_here(request: AdmissionRequest, obj: Object) -> Object:
    asked = _question(request, obj)
    if asked.namespace != request.namespace:
        raise bad_request(
            "spec.resourceAttributes.namespace must match namespace: "
            f"{asked.namespace or '(empty)'} is not {request.namespace}"
        )
    obj["status"] = _answer(request, _subject(request, obj), asked)
    return obj


def _review_rules(request: AdmissionRequest, obj: Object) -> Object:
    namespace = str((obj.get("spec") or {}).get("namespace", ""))
    if not namespace:
        raise bad_request("no namespace on request")
    resources, paths = rules_for(request.store, request.user, namespace)
    obj["status"] = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    return obj


def _review_self(request: AdmissionRequest, obj: Object) -> Object:
    obj["status"] = {"userInfo": request.user.to_dict()}
    return obj


def _review_token(tokens: Tokens, obj: Object) -> Object:
    token = str((obj.get("spec") or {}).get("token", ""))
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    user = tokens.review(token)
    if user is None:
        obj["status"] = {"user": {}, "error": "[invalid bearer token, token lookup failed]"}
    else:
        obj["status"] = {
            "authenticated": True,
            "user": user.to_dict(),
            "audiences": [ISSUER],
        }
    return obj
