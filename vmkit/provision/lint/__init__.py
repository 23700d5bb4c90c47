"""What admission would refuse, what would lose data, and what surprises people: said before it happens."""

from __future__ import annotations

from vmkit.provision.lint.model import ClassFacts, Finding, Rule, Severity, Surroundings
from vmkit.provision.lint.run import all_rules, lint_manifests, lint_template

__all__ = [
    "ClassFacts",
    "Finding",
    "Rule",
    "Severity",
    "Surroundings",
    "all_rules",
    "lint_manifests",
    "lint_template",
]
