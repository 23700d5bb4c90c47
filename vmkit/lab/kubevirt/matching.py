"""Label selectors as they stand in specs (metav1.LabelSelector), matched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class BadSelector(ValueError):
    """A selector that Kubernetes refuses; the message is its own."""


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil a selector; an absent one matches nothing, an empty one everything.

    Raises:
        BadSelector: an operator that there is not.
    """
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_matches_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = expression.get("key", ""), expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    raise BadSelector(f'"{operator}" is not a valid label selector operator')
