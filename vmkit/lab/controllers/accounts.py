"""Service accounts: every namespace gets one and the cluster's root certificate; tokens on request and in
secrets.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import ClassVar, Final

from vmkit.lab.access.authority import ROOT_CERTIFICATE
from vmkit.lab.access.tokens import ISSUER, Tokens
from vmkit.lab.builtin.types import CONFIG_MAPS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey, Registry, Response, SubresourceRequest
from vmkit.lab.semantics.decoding import decode_object
from vmkit.lab.status import Cause, bad_request, conflict, invalid, method_not_allowed
from vmkit.lab.store import Event

_MANAGER: Final = "kube-controller-manager"
_ROOT_CA: Final = "kube-root-ca.crt"
_ROOT_CA_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)
_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
_ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"
_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type's name
_DEFAULT_SECONDS: Final = 3600
_MIN_SECONDS: Final = 600


def _active(controller: Controller, name: str) -> bool:
    namespace = controller.store.find(NAMESPACES, "", name)
    return namespace is not None and "deletionTimestamp" not in namespace["metadata"]


def _of_namespace(event: Event) -> list[ObjectKey]:
    return [ObjectKey("", event.key.namespace)]


class ServiceAccountController(Controller):
    """Sees to it that every namespace has a service account "default"."""

    name: ClassVar[str] = "serviceaccount-controller"

    def setup(self) -> None:
        self.watch(NAMESPACES)
        self.watch(
            SERVICE_ACCOUNTS,
            lambda event: _of_namespace(event) if event.type == "DELETED" and event.key.name == "default" else (),
        )

    def reconcile(self, key: ObjectKey) -> None:
        if _active(self, key.name) and not self.store.exists(SERVICE_ACCOUNTS, key.name, "default"):
            account = {"metadata": {"name": "default", "namespace": key.name}}
            self.store.create(SERVICE_ACCOUNTS, account, manager=_MANAGER)


class RootCertificateController(Controller):
    """Publishes the cluster's root certificate in every namespace."""

    name: ClassVar[str] = "root-ca-certificate-publisher-controller"

    def setup(self) -> None:
        self.watch(NAMESPACES)
        self.watch(CONFIG_MAPS, lambda event: _of_namespace(event) if event.key.name == _ROOT_CA else ())

    def reconcile(self, key: ObjectKey) -> None:
        if not _active(self, key.name):
            return
        authority = str(self.context.options.get("certificate_authority", ROOT_CERTIFICATE))
        present = self.store.find(CONFIG_MAPS, key.name, _ROOT_CA)
        if present is None:
            published = {
                "metadata": {
                    "name": _ROOT_CA,
                    "namespace": key.name,
                    "annotations": {"kubernetes.io/description": _ROOT_CA_DESCRIPTION},
                },
                "data": {"ca.crt": authority},
            }
            self.store.create(CONFIG_MAPS, published, manager=_MANAGER)
        elif present.get("data") != {"ca.crt": authority}:
            present["data"] = {"ca.crt": authority}
            self.store.update(CONFIG_MAPS, present, manager=_MANAGER)


class TokenController(Controller):
    """Fills secrets of type service-account-token, and takes them away with their account."""

    name: ClassVar[str] = "tokens-controller"

    def __init__(self, context: Context, tokens: Tokens) -> None:
        super().__init__(context)
        self._tokens = tokens

    def setup(self) -> None:
        self.watch(SECRETS, lambda event: (event.key,) if _TOKEN_TYPE.encode() in event.object_bytes else ())
        self.watch(
            SERVICE_ACCOUNTS,
            lambda event: [
                entry.key
                for entry in self.store.entries(SECRETS, event.key.namespace)
                if _TOKEN_TYPE.encode() in entry.data
            ],
        )

    def reconcile(self, key: ObjectKey) -> None:
        secret = self.store.find(SECRETS, key.namespace, key.name)
        if secret is None or secret.get("type") != _TOKEN_TYPE:
            return
        annotations = secret["metadata"].setdefault("annotations", {})
        account = self.store.find(SERVICE_ACCOUNTS, key.namespace, annotations.get(_ACCOUNT_NAME, ""))
        uid = annotations.get(_ACCOUNT_UID)
        if account is None or (uid and uid != account["metadata"]["uid"]):
            if account is None or uid:
                self.store.delete(SECRETS, key.namespace, key.name)
            return
        data = secret.setdefault("data", {})
        if "token" in data and uid:
            return
        annotations[_ACCOUNT_UID] = account["metadata"]["uid"]
        token, _ = self._tokens.issue(account, lifetime=None, secret=secret)
        authority = str(self.context.options.get("certificate_authority", ROOT_CERTIFICATE))
        plain = {"token": token, "namespace": key.namespace, "ca.crt": authority}
        data.update({name: base64.b64encode(text.encode()).decode() for name, text in plain.items()})
        self.store.update(SECRETS, secret, manager=_MANAGER)


def _find_bound(request: SubresourceRequest, reference: Object | None) -> dict[str, Object]:
    """The object a token shall end with, as `Tokens.issue` takes it (pkg/registry/core/serviceaccount/storage).

    Raises:
        ApiError: 404, 409 or 400: it is not there, is another one, or cannot bind a token.
    """
    if not reference:
        return {}
    version, kind, name = (str(reference.get(key, "")) for key in ("apiVersion", "kind", "name"))
    found = {("v1", "Pod"): ("pod", PODS), ("v1", "Secret"): ("secret", SECRETS)}.get((version, kind))
    if found is None:
        group, _, plain = version.rpartition("/")
        raise bad_request(f"cannot bind token to object of type {group}/{plain}, Kind={kind}")
    role, rtype = found
    obj = request.store.get(rtype, request.namespace, name)
    account = (obj.get("spec") or {}).get("serviceAccountName", "default")
    if role == "pod" and account != request.name:
        raise bad_request(
            f'cannot bind token for serviceaccount "{request.name}" to pod running with different '
            "serviceaccount name."
        )
    uid = reference.get("uid")
    if uid and uid != obj["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might "
            "have been deleted and then recreated"
        )
        raise conflict("", kind, name, why)
    return {role: obj}


def register(registry: Registry, tokens: Tokens) -> None:
    """Serves ``serviceaccounts/NAME/token``."""

    def issue(request: SubresourceRequest) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        version = "authentication.k8s.io/v1"
        sent = decode_object(
            request.body or b"{}", request.content_type, kind="TokenRequest", custom=False, api_version=version
        )
        account = request.store.get(SERVICE_ACCOUNTS, request.namespace, request.name)
        spec = sent.get("spec") or {}
        seconds = spec.get("expirationSeconds", _DEFAULT_SECONDS)
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < _MIN_SECONDS:
            message = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            cause = Cause("FieldValueInvalid", message, "spec.expirationSeconds")
            raise invalid("authentication.k8s.io", "TokenRequest", "", [cause])
        audiences = spec.get("audiences") or [ISSUER]
        bound = _find_bound(request, spec.get("boundObjectRef"))
        token, ends = tokens.issue(account, lifetime=timedelta(seconds=seconds), audiences=audiences, **bound)
        body = {
            "kind": "TokenRequest",
            "apiVersion": version,
            "metadata": {
                "name": request.name,
                "namespace": request.namespace,
                "creationTimestamp": format_time(request.clock.now()),
            },
            "spec": {
                "audiences": list(audiences),
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": format_time(ends) if ends is not None else None},
        }
        return Response(201, body=body)

    registry.handle("", "serviceaccounts", "token", issue)
