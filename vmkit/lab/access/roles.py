"""The roles every cluster starts with (plugin/pkg/auth/authorizer/rbac/bootstrappolicy), those people use."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.resources import Object

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_GROUP: Final = "rbac.authorization.k8s.io"

_VIEW: Final[list[tuple[str, list[str]]]] = [
    (
        "",
        ["bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status",
         "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log", "pods/status",
         "replicationcontrollers", "replicationcontrollers/scale", "resourcequotas", "resourcequotas/status",
         "serviceaccounts", "services", "services/status"],
    ),
    (
        "apps",
        ["controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
         "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
         "statefulsets/scale", "statefulsets/status"],
    ),
    ("autoscaling", ["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    ("batch", ["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
    ("discovery.k8s.io", ["endpointslices"]),
    ("networking.k8s.io", ["ingresses", "ingresses/status", "networkpolicies"]),
    ("policy", ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
]  # fmt: skip
_EDIT: Final[list[tuple[str, list[str]]]] = [
    (
        "",
        ["configmaps", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/eviction", "pods/exec",
         "pods/portforward", "pods/proxy", "replicationcontrollers", "replicationcontrollers/scale", "secrets",
         "serviceaccounts", "services", "services/proxy"],
    ),
    (
        "apps",
        ["daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
         "replicasets/scale", "statefulsets", "statefulsets/scale"],
    ),
    ("autoscaling", ["horizontalpodautoscalers"]),
    ("batch", ["cronjobs", "jobs"]),
    ("coordination.k8s.io", ["leases"]),
    ("networking.k8s.io", ["ingresses", "networkpolicies"]),
    ("policy", ["poddisruptionbudgets"]),
]  # fmt: skip

_DISCOVERY: Final = [
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
    "/version/",
]  # fmt: skip


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _role(name: str, rules: list[dict[str, Any]], *, labels: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **(labels or {})},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
        "rules": rules,
    }


def _aggregating(name: str, *, into: str = "") -> Object:
    """A role for people, made of what others add to it; its rules are filled in by a controller."""
    label = "rbac.authorization.k8s.io/aggregate-to-"
    role = _role(name, [], labels={label + into: "true"} if into else None)
    role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {label + name: "true"}}]}
    return role


def _binding(name: str, role: str, *groups: str) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        },
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _GROUP, "kind": "Group", "name": group} for group in groups],
    }


def seed_objects() -> list[Object]:
    """Cluster roles and their bindings."""
    view = [_rule(group, resources, _READ) for group, resources in _VIEW]
    secrets = _rule("", ["secrets", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], _READ)
    edit = [secrets, *(_rule(group, resources, _WRITE) for group, resources in _EDIT)]
    edit.append(_rule("", ["serviceaccounts"], ["impersonate"]))
    edit.append(_rule("", ["serviceaccounts/token"], ["create"]))
    edit.append(_rule("coordination.k8s.io", ["leases"], _READ))
    roles_rule = _rule(_GROUP, ["rolebindings", "roles"], [*_WRITE, *_READ])
    reviews = _rule("authorization.k8s.io", ["localsubjectaccessreviews"], ["create"])
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    return [
        _role("cluster-admin", [everything, {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        _aggregating("admin"),
        _aggregating("edit", into="admin"),
        _aggregating("view", into="edit"),
        _role("system:aggregate-to-admin", [roles_rule, reviews], labels={aggregate + "admin": "true"}),
        _role("system:aggregate-to-edit", edit, labels={aggregate + "edit": "true"}),
        _role("system:aggregate-to-view", view, labels={aggregate + "view": "true"}),
        _role("system:discovery", [{"nonResourceURLs": _DISCOVERY, "verbs": ["get"]}]),
        _role(
            "system:public-info-viewer",
            [{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}],
        ),
        _role(
            "system:basic-user",
            [
                _rule(
                    "authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]
                ),
                _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
            ],
        ),
        _role(
            "system:auth-delegator",
            [
                _rule("authentication.k8s.io", ["tokenreviews"], ["create"]),
                _rule("authorization.k8s.io", ["subjectaccessreviews"], ["create"]),
            ],
        ),
        _binding("cluster-admin", "cluster-admin", "system:masters"),
        _binding("system:discovery", "system:discovery", "system:authenticated"),
        _binding("system:basic-user", "system:basic-user", "system:authenticated"),
        _binding(
            "system:public-info-viewer", "system:public-info-viewer", "system:authenticated",
            "system:unauthenticated",
        ),
    ]  # fmt: skip
