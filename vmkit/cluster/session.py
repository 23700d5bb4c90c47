"""A session with a cluster: requests by what they mean, objects as dictionaries."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec
import urllib3

from vmkit.cluster.discovery import Discovery
from vmkit.cluster.exchange import JSON, Exchange, build_query, encode_json, read_optional_object
from vmkit.cluster.failures import Asked, malformed
from vmkit.cluster.kubeconfig import Credentials, find_place
from vmkit.cluster.listing import Listing, Page, RawPage, read_page
from vmkit.cluster.resources import KNOWN, SELF_SUBJECT_ACCESS_REVIEWS, SERVICES, Resource, read_identity
from vmkit.cluster.retry import RetryPolicy
from vmkit.cluster.transport import Reply, Request
from vmkit.cluster.watch import Watch
from vmkit.errors import AlreadyExists, FateUnknown, ManifestError, MissingApi, NotFound, ServerFault

PatchType = Literal["merge", "json", "strategic"]
DEFAULT_PAGE_SIZE: Final = 500
"""Objects a page: what kubectl asks for too."""
FIELD_MANAGER: Final = "vmkit"

_PATCH_TYPES: Final[Mapping[str, str]] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class Session:
    """A connection to one cluster. Thread-safe; use it as a context manager, or call `close`.

    Every method raises a `ClusterError` where the cluster refuses or is away, and a `FateUnknown` where a request
    that must not be repeated was sent and nobody knows what became of it. Requests that may be repeated are, with
    back-off, as the `RetryPolicy` says.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        namespace: str | None = None,
        connections: int = 16,
        request_timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self._credentials = credentials
        self._exchange = Exchange(
            credentials,
            connections=connections,
            request_timeout_seconds=request_timeout_seconds,
            policy=retry or RetryPolicy(),
            on_warning=on_warning,
        )
        self._discovery = Discovery(self._exchange)
        self.namespace: str = namespace or credentials.place.namespace
        """The namespace meant where none is named."""
        self.context: str = credentials.place.context
        """The context's name; empty inside a pod."""
        self.server: str = self._exchange.transport.server
        """The server's address."""

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: Path | str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        connections: int = 16,
        request_timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Session:
        """Opens a session with the cluster kubectl would talk to. Sends nothing yet.

        Args:
            kubeconfig: a file; else ``$KUBECONFIG``, ``~/.kube/config``, the pod's service account.
            context: a context of it; else the current one.
            namespace: the namespace meant where none is named; else the context's.
            connections: kept open at most; as many requests can be under way without new ones.
            request_timeout_seconds: how long the server may be silent.
            retry: how patient to be.
            on_warning: told of each different warning the server sends along (deprecated fields ...), and once
                when it does not answer and is asked again; from whichever thread met it.

        Raises:
            ConfigError: no usable configuration.
        """
        return cls(
            Credentials(find_place(kubeconfig, context)),
            namespace=namespace,
            connections=connections,
            request_timeout_seconds=request_timeout_seconds,
            retry=retry,
            on_warning=on_warning,
        )

    def sibling(self, *, request_timeout_seconds: float, retry: RetryPolicy, connections: int = 2) -> Session:
        """Another session with the same cluster and credentials, with another patience. To be closed by itself."""
        return Session(
            self._credentials,
            namespace=self.namespace,
            connections=connections,
            request_timeout_seconds=request_timeout_seconds,
            retry=retry,
        )

    @property
    def server_time(self) -> datetime | None:
        """What the server's clock said with its last answer, to the second; None where it did not say.

        Ages counted from here are right whatever this machine's clock says.
        """
        return self._exchange.server_time

    def close(self) -> None:
        """Closes its connections."""
        self._exchange.transport.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------------

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object. ``namespace`` defaults to the session's.

        Raises:
            NotFound: there is none.
        """
        namespace = self._namespace(resource, namespace)
        asked = Asked("get", resource, namespace, name)
        return self._exchange.call_for_object("GET", resource.path(namespace, name), asked)

    def find(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object, or None where there is none."""
        try:
            return self.get(resource, name, namespace)
        except NotFound:
            return None

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = DEFAULT_PAGE_SIZE,
    ) -> Listing:
        """The objects, page by page as they are read. ``namespace=None`` means all namespaces."""

        asked = Asked("list", resource, namespace)
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return Listing(lambda token: self._read_page(asked, selectors, page_size, token))

    def list_page(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = DEFAULT_PAGE_SIZE,
        continue_token: str = "",
    ) -> Page:
        """One page of a list.

        Raises:
            Expired: the server no longer knows the list ``continue_token`` belongs to.
        """
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        page = self._read_page(Asked("list", resource, namespace), selectors, limit, continue_token)
        return Page(list(page), page.continue_token, page.resource_version, page.remaining)

    def _read_page(self, asked: Asked, selectors: Mapping[str, str], limit: int, token: str) -> RawPage:
        assert asked.resource is not None
        query = build_query(**selectors, limit=str(limit) if limit else "", **{"continue": token})
        reply = self._exchange.call("GET", asked.resource.path(asked.namespace) + query, asked)
        try:
            return read_page(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed(asked, "the answer is no list") from error

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        timeout_seconds: float | None = None,
        on_listed: Callable[[], None] | None = None,
    ) -> Watch:
        """Changes as they come, for ``timeout_seconds`` or until closed. ``namespace=None`` means all namespaces.

        From ``resource_version`` on; where empty, the objects there are come first, as ADDED. Survives cut
        connections and forgotten versions; see `WatchEvent`. ``on_listed`` is told whenever all objects
        there are have come, after a list was read.
        """
        asked = Asked("watch", resource, namespace)
        source = _WatchSource(self, self._exchange, asked, label_selector, field_selector)
        return Watch(
            source,
            asked,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
            policy=self._exchange.policy,
            on_listed=on_listed,
        )

    # --- writing ------------------------------------------------------------------------------------------

    def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        field_validation: str = "",
    ) -> dict[str, Any]:
        """Creates an object and returns it as the server completed it.

        A request whose fate is unknown is resolved by reading the object: there as sent, it is returned; there and
        different, it was somebody else's; not there, it is sent again.

        Raises:
            AlreadyExists: there is one of this name.
            Invalid: it was not admitted.
        """
        metadata = body.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        namespace = self._namespace(resource, namespace or _text(metadata, "namespace") or None)
        name = _text(metadata, "name")
        asked = Asked("create", resource, namespace, name)
        target = resource.path(namespace) + build_query(
            dryRun="All" if dry_run else "", fieldManager=FIELD_MANAGER, fieldValidation=field_validation
        )
        for last in (False, False, True):
            try:
                return self._exchange.call_for_object("POST", target, asked, body, idempotent=dry_run)
            except (FateUnknown, ServerFault) as error:
                # A fault after the object was stored looks like one before.
                if not name or dry_run or last:
                    raise
                found = self.find(resource, name, namespace)
                if found is None:
                    continue
                if _carries(found, _as_stored(body)):
                    return found
                raise AlreadyExists(f"{asked.subject} exists already", where=asked.where) from error
        raise AssertionError  # The last attempt returns or raises.

    def replace(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Replaces an object; with a ``resourceVersion`` in the body only if it has not changed since.

        Raises:
            Conflict: it has.
        """
        name = _text(body.get("metadata") or {}, "name")
        namespace = self._namespace(resource, namespace or _text(body.get("metadata") or {}, "namespace") or None)
        asked = Asked("update", resource, namespace, name, subresource)
        target = resource.path(namespace, name, subresource) + build_query(
            dryRun="All" if dry_run else "", fieldManager=FIELD_MANAGER
        )
        return self._exchange.call_for_object("PUT", target, asked, body, idempotent=True)

    def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        dry_run: bool = False,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Changes parts of an object. A ``resourceVersion`` in a merge patch makes it conditional.

        Raises:
            Conflict: the condition does not hold; Invalid: a JSON patch does not apply.
        """
        namespace = self._namespace(resource, namespace)
        asked = Asked("patch", resource, namespace, name, subresource)
        target = resource.path(namespace, name, subresource) + build_query(
            dryRun="All" if dry_run else "", fieldManager=FIELD_MANAGER
        )
        return self._exchange.call_for_object(
            "PATCH",
            target,
            asked,
            body,
            content_type=_PATCH_TYPES[patch_type],
            idempotent=patch_type != "json",
        )

    def apply(
        self,
        manifest: Mapping[str, Any],
        *,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "Strict",
    ) -> dict[str, Any]:
        """Server-side apply: makes the object what the manifest says, in the fields it names.

        Args:
            manifest: the object, with apiVersion, kind and metadata.name; without a namespace, the session's.
            field_manager: in whose name.
            force: take fields over that others manage.
            dry_run: let the server check and answer, and change nothing.
            field_validation: "Strict" refuses fields the server does not know, "Warn" only warns, "Ignore".

        Raises:
            Conflict: others manage some of the fields; the error's causes name them.
        """
        api_version, kind, name, namespace = read_identity(manifest)
        resource = self.resource_for(api_version, kind)
        namespace = self._namespace(resource, namespace)
        asked = Asked("patch", resource, namespace, name)
        target = resource.path(namespace, name) + build_query(
            dryRun="All" if dry_run else "",
            fieldManager=field_manager,
            fieldValidation=field_validation,
            force="true" if force else "",
        )
        return self._exchange.call_for_object(
            "PATCH", target, asked, manifest, content_type="application/apply-patch+yaml", idempotent=True
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any] | None:
        """Deletes an object; returns it where it stays for a while (finalizers), else None.

        Args:
            propagation: what becomes of the objects it owns; None leaves that to the server.
            uid, resource_version: delete only this one, in this state.

        Raises:
            NotFound: there is none (any more).
            Conflict: there is another one of this name, or it has changed.
        """
        namespace = self._namespace(resource, namespace)
        asked = Asked("delete", resource, namespace, name)
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation is not None:
            options["propagationPolicy"] = propagation
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        if any(preconditions.values()):
            options["preconditions"] = {key: value for key, value in preconditions.items() if value}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if dry_run:
            options["dryRun"] = ["All"]
        target = resource.path(namespace, name)
        document = self._exchange.call_for_object("DELETE", target, asked, options, idempotent=True)
        return None if document.get("kind") == "Status" else document

    def call_subresource(
        self,
        resource: Resource,
        name: str,
        verb: str,
        namespace: str | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        method: Literal["PUT", "GET", "POST"] = "PUT",
        idempotent: bool = False,
    ) -> dict[str, Any] | None:
        """Calls one of KubeVirt's own verbs: start, stop, pause, migrate, guestosinfo ...

        KubeVirt answers 2xx with an empty body, or with JSON; 406 to a client that accepts JSON alone.

        Args:
            idempotent: send it again when nobody knows whether it was carried out.

        Returns:
            The reply's object; None where the body is empty or no object.
        """
        namespace = self._namespace(resource, namespace)
        asked = Asked("get" if method == "GET" else verb, resource, namespace, name, subresource=verb)
        reply = self._exchange.call(
            method,
            _subresource_of(resource).path(namespace, name, quote(verb, safe="/")),
            asked,
            None if method == "GET" else encode_json(body or {}),
            content_type=JSON,
            accept="*/*",
            idempotent=idempotent or method == "GET",
        )
        return read_optional_object(reply)

    def call_service(self, target: str, namespace: str, path: str, *, body: bytes, content_type: str) -> Reply:
        """Sends a POST to a Service through the API server's proxy; needs "create" on ``services/proxy``.

        Args:
            target: the Service as the proxy names it: "name:port", "https:name:port".
            namespace: the Service's.
            path: at the Service, with a slash first.
            body, content_type: what is sent.

        Returns:
            The reply, whatever its status: it is the Service's own, or the API server's.

        Raises:
            Unreachable: no answer. Nothing is repeated.
        """
        asked = Asked("create", SERVICES, namespace, target, subresource="proxy")
        where = SERVICES.path(namespace, target, "proxy") + path
        return self._exchange.transport.send(Request("POST", where, asked, body, content_type))

    # --- asking about the cluster -----------------------------------------------------------------------------

    def resource_for(self, api_version: str, kind: str) -> Resource:
        """The resource of a manifest's apiVersion and kind: from the table, else from discovery.

        Raises:
            MissingApi: the cluster does not serve it.
        """
        known = KNOWN.get((api_version, kind))
        return known or self.discover(api_version, kind)

    def discover(self, api_version: str, kind: str) -> Resource:
        """The resource as the cluster serves it now; asked once for each apiVersion.

        Raises:
            MissingApi: it does not.
        """
        return self._discovery.find(api_version, kind)

    def serves(self, resource: Resource) -> bool:
        """Whether the cluster serves this resource."""
        try:
            return self.discover(resource.api_version, resource.kind).plural == resource.plural
        except MissingApi:
            return False

    def can_i(
        self,
        verb: str,
        resource: Resource,
        namespace: str | None = None,
        name: str = "",
        subresource: str = "",
    ) -> bool:
        """Whether these credentials may do this. ``namespace=None`` asks for all namespaces.

        KubeVirt's verbs are subresources of another group: pass ``VIRTUAL_MACHINES`` and "stop" with the verb
        "update", and the right group is asked for.
        """
        served = _subresource_of(resource) if subresource and subresource != "status" else resource
        attributes = {
            "verb": verb,
            "group": served.group,
            "resource": served.plural,
            "subresource": subresource,
            "namespace": (namespace or "") if resource.namespaced else "",
            "name": name,
        }
        review = {
            "apiVersion": SELF_SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SELF_SUBJECT_ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        asked = Asked("create", SELF_SUBJECT_ACCESS_REVIEWS)
        status = self._exchange.call_for_object(
            "POST", SELF_SUBJECT_ACCESS_REVIEWS.path(), asked, review, idempotent=True
        ).get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    def _namespace(self, resource: Resource, namespace: str | None) -> str | None:
        if not resource.namespaced:
            return None
        if namespace == "":
            raise ManifestError(f"{resource.kind} needs a namespace")
        return namespace if namespace is not None else self.namespace


class _WatchSource:
    """What `Watch` needs, on this session."""

    def __init__(
        self, session: Session, exchange: Exchange, asked: Asked, label_selector: str, field_selector: str
    ) -> None:
        self._session, self._exchange, self._asked = session, exchange, asked
        self._labels, self._fields = label_selector, field_selector

    def open(self, resource_version: str, seconds: float) -> urllib3.BaseHTTPResponse:
        resource = self._asked.resource
        assert resource is not None
        target = resource.path(self._asked.namespace) + build_query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(round(seconds)),
            labelSelector=self._labels,
            fieldSelector=self._fields,
        )
        return self._exchange.open_stream(target, self._asked, timeout_seconds=seconds + 5.0)

    def relist(self) -> Listing:
        resource = self._asked.resource
        assert resource is not None
        return self._session.list(
            resource, self._asked.namespace, label_selector=self._labels, field_selector=self._fields
        )


def _subresource_of(resource: Resource) -> Resource:
    if resource.group != "kubevirt.io":
        return resource
    return Resource("subresources.kubevirt.io", "v1", resource.plural, resource.kind, resource.namespaced)


def _text(document: Any, key: str) -> str:
    value = document.get(key) if isinstance(document, Mapping) else None
    return value if isinstance(value, str) else ""


def _as_stored(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body as the server keeps it, where that differs: a Secret's stringData becomes part of its data."""
    plain = body.get("stringData")
    if body.get("kind") != "Secret" or not isinstance(plain, Mapping):
        return body
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
    rest = {key: value for key, value in body.items() if key != "stringData"}
    return {**rest, "data": {**(body.get("data") or {}), **encoded}}


def _carries(found: Any, sent: Any) -> bool:
    """Whether everything that was sent stands in what was found; the server only adds."""
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and _carries(found[key], value)
            for key, value in sent.items()
            if value not in (None, {}, [])
        )
    if isinstance(sent, list):
        return (
            isinstance(found, list)
            and len(found) >= len(sent)
            and all(_carries(one, other) for one, other in zip(found, sent, strict=False))
        )
    return bool(found == sent)
