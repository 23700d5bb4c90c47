"""Which requests a policy, or a binding of one, is about.

Follows k8s.io/apiserver/pkg/admission/plugin/policy/matching and .../webhook/predicates/rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vmkit.lab.resources import AdmissionRequest, Object
from vmkit.lab.semantics.selectors import build_label_selector


def matches_resources(
    constraints: Mapping[str, Any] | None,
    request: AdmissionRequest,
    objects: Sequence[Object],
    namespace: Object | None,
) -> bool:
    """Whether MatchResources (``matchConstraints``, ``matchResources``) are about a request.

    Args:
        constraints: None: about everything.
        objects: the new and the old object, as far as there are any; the labels of either may match.
        namespace: the Namespace it lives in, or that it is; None: none, and every selector lets it pass.
    """
    if constraints is None:
        return True
    chosen = constraints.get("namespaceSelector")
    if chosen and namespace is not None and not _selects(chosen, namespace):
        return False
    chosen = constraints.get("objectSelector")
    if chosen and not any(_selects(chosen, each) for each in objects):
        return False
    if any(matches_rule(rule, request) for rule in constraints.get("excludeResourceRules") or ()):
        return False
    rules = constraints.get("resourceRules")
    # A binding without rules takes its policy's.
    return not rules or any(matches_rule(rule, request) for rule in rules)


def _selects(selector: Mapping[str, Any], obj: Object) -> bool:
    return build_label_selector(selector).matches(obj["metadata"].get("labels") or {})


def matches_rule(rule: Mapping[str, Any], request: AdmissionRequest) -> bool:
    """Whether one NamedRuleWithOperations is about a request; versions are equivalent (matchPolicy)."""
    rtype = request.rtype
    names = rule.get("resourceNames")
    versions = {"*", *rtype.served_versions}
    scope = rule.get("scope", "*")
    return (
        _in(rule.get("operations"), request.operation)
        and _in(rule.get("apiGroups"), rtype.group)
        and bool(versions & set(rule.get("apiVersions") or ()))
        and any(_matches_part(text, rtype.plural, request.subresource) for text in rule.get("resources") or ())
        and (not names or request.name in names)
        and (scope == "*" or (scope == "Namespaced") == rtype.namespaced)
    )


def _in(given: Iterable[str] | None, value: str) -> bool:
    return given is not None and ("*" in given or value in given)


def _matches_part(text: str, plural: str, subresource: str) -> bool:
    resource, slash, part = text.partition("/")
    if resource not in ("*", plural):
        return False
    return part in ("*", subresource) if slash else not subresource
