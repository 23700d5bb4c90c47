"""Cluster roles made of others: those their labels choose (pkg/controller/clusterroleaggregation)."""

from __future__ import annotations

from typing import ClassVar

from vmkit.lab.builtin.types import CLUSTER_ROLES
from vmkit.lab.controller import Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.semantics.selectors import build_label_selector
from vmkit.lab.store import Event


class AggregationController(Controller):
    """Keeps the rules of roles with an ``aggregationRule`` up to date; what stands there by hand is replaced."""

    name: ClassVar[str] = "clusterrole-aggregation-controller"

    def setup(self) -> None:
        self.watch(CLUSTER_ROLES, self._aggregated)

    def _aggregated(self, event: Event) -> list[ObjectKey]:
        return [
            entry.key
            for entry in self.store.entries(CLUSTER_ROLES)
            if b'"aggregationRule"' in entry.data and (entry.key != event.key or event.type != "DELETED")
        ]

    def reconcile(self, key: ObjectKey) -> None:
        role = self.store.find(CLUSTER_ROLES, key.namespace, key.name)
        selectors = ((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors")
        if role is None or not selectors:
            return
        rules: list[Object] = []
        for selector in map(build_label_selector, selectors):
            for other in self.store.list(CLUSTER_ROLES, labels=selector.matches):
                if other["metadata"]["name"] != key.name:
                    rules.extend(rule for rule in other.get("rules") or () if rule not in rules)
        if rules != (role.get("rules") or []):
            role["rules"] = rules
            self.store.update(CLUSTER_ROLES, role, manager=self.name)
