"""Role-based access: who may do what, from the Roles and bindings in the store.

Follows k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmkit.lab.access.users import User
from vmkit.lab.builtin.types import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from vmkit.lab.resources import Object
from vmkit.lab.status import ApiError, forbidden
from vmkit.lab.store import Store

_VERBS_OF_ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Attributes:
    """One question: may somebody do ``verb`` to a resource, or to a path that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and the reason as reviews show it."""

    allowed: bool
    reason: str = ""


def decide(store: Store, user: User, asked: Attributes) -> Decision:
    """Whether the roles bound to a user allow what is asked."""
    if user.almighty:
        return Decision(allowed=True)
    errors: list[str] = []
    for binding, subject, rules, error in _bound_rules(store, user, asked.namespace):
        if error:
            errors.append(error)
        if any(_allows(rule, asked) for rule in rules):
            return Decision(allowed=True, reason=_explain(binding, subject))
    return Decision(allowed=False, reason="RBAC: " + _listed(errors) if errors else "")


def is_allowed(
    store: Store,
    user: User,
    *,
    verb: str,
    group: str,
    resource: str,
    subresource: str = "",
    namespace: str = "",
    name: str = "",
) -> bool:
    """`decide` for a resource, as yes or no."""
    return decide(store, user, Attributes(verb, group, resource, subresource, namespace, name)).allowed


def authorize(store: Store, user: User, asked: Attributes) -> None:
    """Refuses what is not allowed.

    Raises:
        ApiError: 403, in the words of the real server.
    """
    decision = decide(store, user, asked)
    if decision.allowed:
        return
    raise deny(user, asked, decision.reason)


def deny(user: User, asked: Attributes, reason: str = "") -> ApiError:
    """The 403 for a question (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go)."""
    tail = f": {reason}" if reason else ""
    if asked.path:
        why = f'User "{user.name}" cannot {asked.verb} path "{asked.path}"{tail}'
        return ApiError(403, "Forbidden", f"forbidden: {why}", details={})
    place = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" '
        f'in API group "{asked.group}" {place}{tail}'
    )
    return forbidden(asked.group, asked.resource, asked.name, why)


def rules_for(store: Store, user: User, namespace: str) -> tuple[list[Object], list[Object]]:
    """Every rule that holds for a user in a namespace: resource rules, and those for paths."""
    if user.almighty:
        everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        return everything, [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    resources: list[Object] = []
    paths: list[Object] = []
    for _, _, rules, _ in _bound_rules(store, user, namespace):
        for rule in rules:
            if rule.get("resources"):
                fields = ("verbs", "apiGroups", "resources", "resourceNames")
                resources.append({field: list(rule[field]) for field in fields if rule.get(field)})
            if rule.get("nonResourceURLs"):
                paths.append({"verbs": list(rule["verbs"]), "nonResourceURLs": list(rule["nonResourceURLs"])})
    return resources, paths


def covers(
    store: Store, user: User, namespace: str, rules: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Those of some rules that a user does not hold himself (nobody may grant more than he has)."""
    if user.almighty:
        return []
    missing: list[Mapping[str, Any]] = []
    for rule in rules:
        questions = [
            Attributes(verb, group, *_split(resource), namespace=namespace, name=name)
            for verb in rule.get("verbs") or ()
            for group in rule.get("apiGroups") or ()
            for resource in rule.get("resources") or ()
            for name in (rule.get("resourceNames") or ("",))
        ]
        questions += [
            Attributes(verb, path=path)
            for verb in rule.get("verbs") or ()
            for path in rule.get("nonResourceURLs") or ()
        ]
        if not all(decide(store, user, question).allowed for question in questions):
            missing.append(rule)
    return missing


def _split(resource: str) -> tuple[str, str]:
    name, _, part = resource.partition("/")
    return name, part


def find_rules(store: Store, reference: Mapping[str, Any], namespace: str) -> tuple[list[Mapping[str, Any]], str]:
    """The rules of a roleRef, and the complaint when there is no such role."""
    name = str(reference.get("name", ""))
    if reference.get("kind") == "Role":
        role = store.find(ROLES, namespace, name)
        missing = f'role.rbac.authorization.k8s.io "{name}" not found'
    else:
        role = store.find(CLUSTER_ROLES, "", name)
        missing = f'clusterrole.rbac.authorization.k8s.io "{name}" not found'
    if role is None:
        return [], missing
    return list(role.get("rules") or ()), ""


def _bound_rules(
    store: Store, user: User, namespace: str
) -> Iterator[tuple[Object, Mapping[str, Any], list[Mapping[str, Any]], str]]:
    for binding in store.list(CLUSTER_ROLE_BINDINGS):
        subject = _subject_of(binding, user, "")
        if subject is not None:
            yield binding, subject, *find_rules(store, binding.get("roleRef") or {}, "")
    if namespace:
        for binding in store.list(ROLE_BINDINGS, namespace):
            subject = _subject_of(binding, user, namespace)
            if subject is not None:
                yield binding, subject, *find_rules(store, binding.get("roleRef") or {}, namespace)


def _subject_of(binding: Object, user: User, namespace: str) -> Mapping[str, Any] | None:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return dict(subject)
        if kind == "Group" and name in user.groups:
            return dict(subject)
        if kind == "ServiceAccount":
            place = subject.get("namespace") or namespace
            if user.name == f"system:serviceaccount:{place}:{name}":
                return {**subject, "namespace": place}
    return None


def _explain(binding: Object, subject: Mapping[str, Any]) -> str:
    metadata, role = binding["metadata"], binding.get("roleRef") or {}
    kind = binding["kind"]
    name = metadata["name"] + (f"/{metadata['namespace']}" if metadata.get("namespace") else "")
    who = str(subject.get("name")) + (
        f"/{subject['namespace']}" if subject.get("kind") == "ServiceAccount" else ""
    )
    return (
        f'RBAC: allowed by {kind} "{name}" of {role.get("kind")} "{role.get("name")}" '
        f'to {subject.get("kind")} "{who}"'
    )


def _listed(errors: Sequence[str]) -> str:
    return errors[0] if len(errors) == 1 else "[" + ", ".join(dict.fromkeys(errors)) + "]"


def _allows(rule: Mapping[str, Any], asked: Attributes) -> bool:
    verbs = rule.get("verbs") or ()
    if asked.verb not in verbs and _VERBS_OF_ALL not in verbs:
        return False
    if asked.path:
        return any(_path_matches(each, asked.path) for each in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if asked.group not in groups and "*" not in groups:
        return False
    if not any(_resource_matches(each, asked) for each in rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames") or ()
    return not names or asked.name in names


def _resource_matches(pattern: str, asked: Attributes) -> bool:
    if pattern in ("*", asked.full_resource):
        return True
    return bool(asked.subresource) and pattern == f"*/{asked.subresource}"


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
