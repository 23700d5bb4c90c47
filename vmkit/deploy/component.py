"""What is installed, and the account it runs under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import UsageError

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that is installed.

    Attributes:
        part: which part of vmkit it is: "schedule", "stop-idle".
        namespace: where it lives.

    Raises:
        UsageError: that is no name of a namespace.
    """

    part: str
    namespace: str = "vmkit"

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.namespace):
            raise UsageError(
                f"{self.namespace!r} is no name of a namespace", hint="lower-case letters, digits and dashes"
            )

    @property
    def name(self) -> str:
        """The name of all its objects: ``vmkit-schedule``."""
        return f"vmkit-{self.part}"

    @property
    def labels(self) -> Mapping[str, str]:
        """On all its objects, and on its pods."""
        return {"app.kubernetes.io/name": "vmkit", "app.kubernetes.io/component": self.part}

    @property
    def user(self) -> str:
        """The name by which the API server knows its account."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def metadata(self, *, placed: bool = True) -> dict[str, Any]:
        """Of one of its objects; ``placed``: in its namespace."""
        where = {"namespace": self.namespace} if placed else {}
        return {"name": self.name, **where, "labels": dict(self.labels)}


def build_namespace(component: Component) -> dict[str, Any]:
    """The namespace; pods in it have to be unprivileged (Pod Security Standards, "restricted")."""
    labels = {"app.kubernetes.io/name": "vmkit", "pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": component.namespace, "labels": labels},
    }


def build_service_account(component: Component) -> dict[str, Any]:
    """The account. Its token is mounted by the pods that ask for it, and by no others."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": component.metadata(),
        "automountServiceAccountToken": False,
    }
