"""The resource types of argoproj.io, and the objects of a fresh installation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkit.lab.argocd import NAMESPACE
from vmkit.lab.resources import Column, Object, Registry, ResourceType, SchemaRef

GROUP: Final = "argoproj.io"
VERSION: Final = "v1alpha1"
APPLICATIONS: Final = (GROUP, "applications")
PROJECTS: Final = (GROUP, "appprojects")

# The part of an AppProject that the practice cluster reads; the rest is kept as it is.
_PROJECT_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["metadata", "spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "syncWindows": {
                    "type": "array",
                    "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                }
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def register_types(registry: Registry) -> None:
    """Serves Application and AppProject (neither has a status subresource)."""
    registry.add(
        _type(
            "Application",
            "applications",
            SchemaRef("applications.argoproj.io_v1alpha1"),
            Column("Sync Status", path=".status.sync.status"),
            Column("Health Status", path=".status.health.status"),
            Column("Revision", path=".status.sync.revision", priority=10),
            Column("Project", path=".spec.project", priority=10),
            short_names=("app", "apps"),
        )
    )
    registry.add(_type("AppProject", "appprojects", _PROJECT_SCHEMA, short_names=("appproj", "appprojs")))


def _type(
    kind: str, plural: str, schema: SchemaRef | Mapping[str, Any], *columns: Column, short_names: tuple[str, ...]
) -> ResourceType:
    return ResourceType(
        GROUP,
        VERSION,
        kind,
        plural,
        short_names=short_names,
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=schema,
        columns=columns,
    )


def build_argocd_objects() -> list[Object]:
    """The namespace and the project every Application may be in."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "AppProject",
            "metadata": {"name": "default", "namespace": NAMESPACE},
            "spec": {
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
                "destinations": [{"namespace": "*", "server": "*"}],
                "sourceRepos": ["*"],
            },
        },
    ]


def build_application(
    name: str, namespace: str, *, self_heal: bool = True, automated: bool = True, options: tuple[str, ...] = ()
) -> Object:
    """An Application over the ConfigMap of its name."""
    policy: Object = {"syncOptions": list(options)} if options else {}
    if automated:
        policy["automated"] = {"prune": False, "selfHeal": self_heal}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Application",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "destination": {"namespace": namespace, "server": "https://kubernetes.default.svc"},
            "project": "default",
            "source": {"path": ".", "repoURL": f"lab://{NAMESPACE}/{name}", "targetRevision": "HEAD"},
            "syncPolicy": policy,
        },
    }
