"""Who sends a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    """A name, its groups, and what a token says besides (``extra``: texts by key)."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def almighty(self) -> bool:
        """Whether RBAC is not asked at all."""
        return MASTERS in self.groups

    def to_dict(self) -> dict[str, Any]:
        """As ``authentication.k8s.io`` UserInfo."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS: Final = User("system:anonymous", (UNAUTHENTICATED,))


def service_account_user(namespace: str, name: str, uid: str = "", *, credential: str = "") -> User:
    """The user a service account's token stands for (k8s.io/apiserver/pkg/authentication/serviceaccount).

    Args:
        credential: the id of the token, if it has one.
    """
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={credential}",)} if credential else {}
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)
