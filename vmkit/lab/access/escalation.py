"""Nobody grants what he does not have: roles and bindings are checked against their author's own rights.

Follows k8s.io/kubernetes/pkg/registry/rbac (escalation_check.go, validation/policy_compact.go).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmkit.lab.access.rbac import Attributes, covers, decide, find_rules
from vmkit.lab.access.users import User
from vmkit.lab.builtin.types import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from vmkit.lab.resources import AdmissionRequest, Object, Registry
from vmkit.lab.status import forbidden

_GROUP: Final = "rbac.authorization.k8s.io"


def register(registry: Registry) -> None:
    """Adds the checks to the four kinds."""
    for rtype in (ROLES, CLUSTER_ROLES):
        registry.admit(registry.get(rtype.group, rtype.plural), validate=_check_role)
    for rtype in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
        registry.admit(registry.get(rtype.group, rtype.plural), validate=_check_binding)


def _check_role(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    if request.operation == "DELETE" or (old is not None and obj.get("rules") == old.get("rules")):
        return
    asked = Attributes(
        "escalate", _GROUP, request.rtype.plural, namespace=request.namespace, name=obj["metadata"]["name"]
    )
    if not decide(request.store, request.user, asked).allowed:
        _refuse_more(request, obj, obj.get("rules") or ())


def _check_binding(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    if request.operation == "DELETE" or (old is not None and obj.get("subjects") == old.get("subjects")):
        return
    role = obj.get("roleRef") or {}
    resource = "roles" if role.get("kind") == "Role" else "clusterroles"
    asked = Attributes("bind", _GROUP, resource, namespace=request.namespace, name=str(role.get("name", "")))
    if decide(request.store, request.user, asked).allowed:
        return
    rules, missing = find_rules(request.store, role, request.namespace)
    if missing:
        raise forbidden(request.rtype.group, request.rtype.plural, obj["metadata"]["name"], missing)
    _refuse_more(request, obj, rules)


def _refuse_more(request: AdmissionRequest, obj: Object, rules: Sequence[Mapping[str, Any]]) -> None:
    more = covers(request.store, request.user, request.namespace, rules)
    if not more:
        return
    listed = "\n".join(_describe(rule) for rule in more)
    why = (
        f"user {json.dumps(request.user.name)} ({_groups(request.user)}) is attempting to grant RBAC permissions "
        f"not currently held:\n{listed}"
    )
    raise forbidden(request.rtype.group, request.rtype.plural, obj["metadata"]["name"], why)


def _groups(user: User) -> str:
    return "groups=[" + " ".join(json.dumps(group) for group in user.groups) + "]"


def _describe(rule: Mapping[str, Any]) -> str:
    parts = []
    for field, name in (
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("resourceNames", "ResourceNames"),
        ("nonResourceURLs", "NonResourceURLs"),
        ("verbs", "Verbs"),
    ):
        if rule.get(field):
            parts.append(f"{name}:[" + " ".join(json.dumps(each) for each in rule[field]) + "]")
    return "{" + ", ".join(parts) + "}"
