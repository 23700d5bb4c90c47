"""Validating admission policies: rules in CEL over what is written, as an API server enforces them.

expressions   CEL, compiled and evaluated (by a library that is an extra: a lab without policies needs none)
matching      which requests a policy or a binding is about
checks        what is refused when a policy is made, so that none is ever silently without effect
enforcement   the policies at work on every write

Not simulated: parameters (`paramKind`), the authorizer and the libraries that Kubernetes adds to CEL. Policies
that use them are refused when they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.resources import Registry
    from vmkit.lab.store import Store


def register(registry: Registry, store: Store) -> None:
    """Checks policies when they are made, and every write by them."""
    from vmkit.lab.policies.checks import add_checks
    from vmkit.lab.policies.enforcement import Policies

    add_checks(registry)
    registry.gates.append(Policies(registry, store).judge)
