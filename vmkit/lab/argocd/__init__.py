"""Argo CD in the practice cluster: Applications that compare, report, and really heal drift back.

The practice cluster has no Git: an Application whose ``repoURL`` is ``lab://NAMESPACE/NAME`` takes its manifests
from that ConfigMap, one object a key, and the ConfigMap's content is its revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context, Controller
    from vmkit.lab.resources import Object, Registry

NAMESPACE = "argocd"


def register(registry: Registry) -> None:
    """Serves Application and AppProject."""
    from vmkit.lab.argocd.resources import register_types

    register_types(registry)


def seed_objects() -> list[Object]:
    """The namespace and the default project."""
    from vmkit.lab.argocd.resources import build_argocd_objects

    return build_argocd_objects()


def controllers(context: Context) -> list[Controller]:
    """The application controller."""
    from vmkit.lab.argocd.applications import ApplicationController

    return [ApplicationController(context)]
