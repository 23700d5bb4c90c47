"""Roles and their bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vmkit.deploy.component import Component

_GROUP: Final = "rbac.authorization.k8s.io"


def build_cluster_roles(component: Component, rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What its account may do in all namespaces: a ClusterRole and its binding."""
    return _build(component, "ClusterRole", rules)


def build_namespace_roles(component: Component, rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What its account may do in its own namespace: a Role and its binding."""
    return _build(component, "Role", rules)


def _build(component: Component, kind: str, rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    placed = kind == "Role"
    subject = {"kind": "ServiceAccount", "name": component.name, "namespace": component.namespace}
    return [
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": kind,
            "metadata": component.metadata(placed=placed),
            "rules": merge_rules(rules),
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": f"{kind}Binding",
            "metadata": component.metadata(placed=placed),
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": component.name},
            "subjects": [subject],
        },
    ]


def merge_rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One rule for each kind of object, its verbs together, in the order in which they came."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in rules:
        what = {key: value for key, value in rule.items() if key != "verbs"}
        key = tuple((name, tuple(value)) for name, value in sorted(what.items()))
        found = merged.setdefault(key, {**{name: list(value) for name, value in what.items()}, "verbs": []})
        found["verbs"] += [verb for verb in rule["verbs"] if verb not in found["verbs"]]
    return list(merged.values())
