"""Bearer tokens: the lab's own, and those of service accounts (JSON Web Tokens signed with the lab's key)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from vmkit.lab.access.users import ANONYMOUS, AUTHENTICATED, MASTERS, User, service_account_user
from vmkit.lab.builtin.types import PODS, SECRETS, SERVICE_ACCOUNTS
from vmkit.lab.clock import Clock
from vmkit.lab.resources import Object
from vmkit.lab.status import unauthorized
from vmkit.lab.store import Store

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
ADMIN: Final = User("lab-admin", (MASTERS, AUTHENTICATED))


class Tokens:
    """Knows who a bearer token stands for.

    Args:
        admin_token: the token of the lab's own user.
        key: signs service account tokens.
    """

    def __init__(self, store: Store, clock: Clock, *, admin_token: str, key: bytes) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self.admin_token = admin_token

    def authenticate(self, authorization: str) -> User:
        """The user of an Authorization header.

        Raises:
            ApiError: 401, a token nobody knows, or one that is over.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return ADMIN
        user = self.review(token)
        if user is None:
            raise unauthorized()
        return user

    def review(self, token: str) -> User | None:
        """The user of a token, or None."""
        if token == self.admin_token:
            return ADMIN
        claims = self._read(token)
        if claims is None:
            return None
        bound = claims.get("kubernetes.io") or {}
        account = bound.get("serviceaccount") or {}
        namespace, name, uid = bound.get("namespace", ""), account.get("name", ""), account.get("uid", "")
        stored = self._store.entry(SERVICE_ACCOUNTS, namespace, name)
        if stored is None or stored.uid != uid:
            return None
        expires = claims.get("exp")
        if expires is not None and self._clock.now().timestamp() >= float(expires):
            return None
        secret = bound.get("secret")
        if secret is not None and not self._store.exists(SECRETS, namespace, secret.get("name", "")):
            return None
        pod = bound.get("pod")
        if pod is not None:
            entry = self._store.entry(PODS, namespace, pod.get("name", ""))
            if entry is None or entry.uid != pod.get("uid"):
                return None
        # Tokens of Secrets have no end, and no id that authentication tells.
        credential = "" if expires is None else str(claims.get("jti", ""))
        return service_account_user(namespace, name, uid, credential=credential)

    def issue(
        self,
        account: Object,
        *,
        lifetime: timedelta | None,
        audiences: Sequence[str] = (),
        secret: Object | None = None,
        pod: Object | None = None,
    ) -> tuple[str, datetime | None]:
        """A token for a service account; without a lifetime it never ends (legacy secrets).

        Returns:
            The token, and when it ends.
        """
        metadata = account["metadata"]
        now = self._clock.now()
        ends = None if lifetime is None else now + lifetime
        bound: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if secret is not None:
            bound["secret"] = {"name": secret["metadata"]["name"], "uid": secret["metadata"]["uid"]}
        if pod is not None:
            bound["pod"] = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        claims: dict[str, Any] = {
            "aud": list(audiences) or [ISSUER],
            "iat": int(now.timestamp()),
            "iss": ISSUER,
            "jti": self._store.new_uid(),
            "kubernetes.io": bound,
            "nbf": int(now.timestamp()),
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        if ends is not None:
            claims["exp"] = int(ends.timestamp())
        head = _encode(msgspec.json.encode({"alg": "HS256", "typ": "JWT"}))
        body = f"{head}.{_encode(msgspec.json.encode(claims))}"
        return f"{body}.{self._sign(body)}", ends

    def _sign(self, text: str) -> str:
        return _encode(hmac.digest(self._key, text.encode(), hashlib.sha256))

    def _read(self, token: str) -> dict[str, Any] | None:
        body, _, signature = token.rpartition(".")
        if body.count(".") != 1 or not hmac.compare_digest(self._sign(body).encode(), signature.encode()):
            return None
        try:
            part = body.partition(".")[2]
            claims: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except (ValueError, msgspec.DecodeError):
            return None
        return claims


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
