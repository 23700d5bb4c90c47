"""From a request to an answer: who asks, may he, what is it about, and how is the answer written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import msgspec
import yaml

from vmkit.lab.access.rbac import Attributes, authorize
from vmkit.lab.access.tokens import Tokens
from vmkit.lab.access.users import AUTHENTICATED, User
from vmkit.lab.clock import Clock
from vmkit.lab.http import discovery, openapi
from vmkit.lab.http.lists import Selection, convert, encode_list, parse_selection, read_page
from vmkit.lab.http.media import Format, negotiate
from vmkit.lab.http.request import Request, Target, parse_target
from vmkit.lab.http.watch import Watch
from vmkit.lab.resources import Object, Registry, Response, SubresourceRequest
from vmkit.lab.scale import Scales
from vmkit.lab.semantics.tables import build_table, to_partial
from vmkit.lab.status import (
    ApiError,
    internal_error,
    method_not_allowed,
    no_such_resource,
    not_found,
    unauthorized,
    unsupported_verb,
)
from vmkit.lab.store import Store
from vmkit.lab.verbs import Call, Verbs

_log = logging.getLogger("vmkit.lab")

_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CONTROL_PREFIX: Final = "/vmkit.io/lab/"

Control = Callable[[Request], Response]


@dataclass(slots=True)
class Streaming:
    """An answer that goes on: a watch to follow, for at most so many real seconds."""

    watch: Watch
    seconds: float


@dataclass(slots=True)
class Answer:
    """An answer ready to be sent."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[str, str]] = field(default_factory=list)


class Dispatcher:
    """Answers requests, synchronously, on the loop thread.

    Args:
        address: host and port, as discovery tells it.
        control: answers the lab's own endpoints, for the lab's own user.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        tokens: Tokens,
        *,
        address: Callable[[], str],
        control: Control,
    ) -> None:
        self.store = store
        self.registry = registry
        self.clock = clock
        self.tokens = tokens
        self.verbs = Verbs(store, registry, clock)
        self.scales = Scales(store, registry, self.verbs)
        self._address = address
        self._control = control
        self._openapi = openapi.OpenApi(registry, store.schemas)

    def answer(self, request: Request) -> Answer | Streaming:
        """The answer to a request; whatever is wrong with it is an answer too."""
        shape = Format()
        try:
            shape = self._shape(request)
            result = self._answer(request, shape)
        except ApiError as error:
            return render_error(error)
        except RecursionError:
            return render_error(ApiError(400, "BadRequest", "the object is nested too deeply"))
        except Exception as error:  # noqa: BLE001 - whatever is sent, the server goes on
            _log.exception("%s %s", request.method, request.path)
            return render_error(internal_error(f"{type(error).__name__}: {error}"))
        return result if isinstance(result, Streaming) else _encode(result, shape)

    def _shape(self, request: Request) -> Format:
        if request.path.startswith(("/apis/subresources.", CONTROL_PREFIX)) or not request.path.startswith("/api"):
            # These answer in their own way.
            return Format()
        return negotiate(request.accept)

    def _answer(self, request: Request, shape: Format) -> Response | Streaming:
        user = self.identify(request)
        if request.path.startswith(CONTROL_PREFIX):
            if not user.almighty:
                authorize(self.store, user, Attributes(request.method.lower(), path=request.path))
            return self._control(request)
        target = parse_target(request)
        self._authorize(request, user, target)
        if request.method not in _METHODS:
            raise method_not_allowed()
        if not target.is_resource:
            return self._answer_path(request, shape)
        return self._answer_resource(request, user, target, shape)

    # --- who -------------------------------------------------------------------------------------------

    def identify(self, request: Request) -> User:
        """The user of a request, impersonation included.

        Raises:
            ApiError: 401 or 403.
        """
        user = self.tokens.authenticate(request.headers.get("authorization", ""))
        name = request.headers.get("impersonate-user", "")
        groups = tuple(each for each in request.headers.get("impersonate-group", "").split("\n") if each)
        if not name:
            if groups:
                raise internal_error("requested [{Group}] without impersonating a user")
            return user
        resource = ("users", name)
        namespace = ""
        if name.startswith("system:serviceaccount:") and name.count(":") == 3:
            _, _, namespace, account = name.split(":")
            resource = ("serviceaccounts", account)
            groups = groups or ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        authorize(
            self.store,
            user,
            Attributes("impersonate", resource=resource[0], namespace=namespace, name=resource[1]),
        )
        for group in groups:
            if not group.startswith("system:serviceaccounts"):
                authorize(self.store, user, Attributes("impersonate", resource="groups", name=group))
        return User(name, groups if AUTHENTICATED in groups else (*groups, AUTHENTICATED))

    def _authorize(self, request: Request, user: User, target: Target) -> None:
        if user.almighty:
            return
        if not target.is_resource:
            authorize(self.store, user, Attributes(target.verb, path=request.path))
            return
        name = target.name
        if not name and target.verb in ("list", "watch", "deletecollection"):
            # A list of one name counts as asking for that name.
            field_selector = request.query.get("fieldSelector", "")
            if field_selector.startswith("metadata.name=") and "," not in field_selector:
                name = field_selector.removeprefix("metadata.name=").removeprefix("=")
        asked = Attributes(target.verb, target.group, target.resource, target.subresource, target.namespace, name)
        try:
            authorize(self.store, user, asked)
        except ApiError:
            if not user.name or (user.name == "system:anonymous" and not request.path):
                raise unauthorized() from None
            raise

    # --- paths that are no resources ---------------------------------------------------------------------

    def _answer_path(self, request: Request, shape: Format) -> Response:
        path = request.path.rstrip("/") or "/"
        registry = self.registry
        if path.startswith(_HEALTH):
            return self._health(request, path)
        if path == "/version":
            return Response(body=dict(discovery.VERSION))
        parts = [unquote(part) for part in path.strip("/").split("/")]
        aggregated = shape.shape == "APIGroupDiscoveryList"
        if path == "/api":
            if aggregated:
                return self._aggregated(request, legacy=True)
            return Response(body=discovery.render_api_versions(self._address()))
        if path == "/apis":
            return (
                self._aggregated(request, legacy=False)
                if aggregated
                else Response(body=discovery.render_groups(registry))
            )
        found: Object | None = None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.render_resources(registry, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.render_group(registry, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.render_resources(registry, parts[1], parts[2])
        elif parts[0] == "openapi":
            return self._openapi.answer(request)
        elif path == "/":
            return Response(body={"paths": self._paths()})
        if found is None:
            return page_not_found()
        return Response(body=found)

    def _aggregated(self, request: Request, *, legacy: bool) -> Response:
        beta = "v=v2beta1" in request.accept and "v=v2;" not in request.accept + ";"
        version = "v2beta1" if beta else "v2"
        return Response(
            body=discovery.render_aggregated(self.registry, legacy=legacy, beta=beta),
            content_type=f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList",
        )

    def _health(self, request: Request, path: str) -> Response:
        if path not in _HEALTH and not path.endswith(("/ping", "/etcd", "/log")):
            return page_not_found()
        if "verbose" in request.query:
            checks = "".join(f"[+]{check} ok\n" for check in ("ping", "log", "etcd"))
            return Response(body=f"{checks}{path.strip('/')} check passed\n")
        return Response(body="ok")

    def _paths(self) -> list[str]:
        paths = ["/api", "/api/v1", "/apis", *_HEALTH, "/openapi/v2", "/openapi/v3", "/version"]
        for group, versions in self.registry.groups().items():
            if group:
                paths += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
        return sorted(paths)

    # --- resources -----------------------------------------------------------------------------------------

    def _answer_resource(
        self, request: Request, user: User, target: Target, shape: Format
    ) -> Response | Streaming:
        registry = self.registry
        api = registry.aggregated(target.group)
        if api is not None and target.version in api.versions:
            handler = registry.handler(target.group, target.resource, target.subresource)
            if handler is None:
                handler = api.fallback
            if handler is None:
                return page_not_found()
            return handler(self._subresource_request(request, user, target))
        if target.version not in registry.groups().get(target.group, ()):
            return page_not_found()
        rtype = registry.get(target.group, target.resource)
        if target.version not in rtype.served_versions:
            raise no_such_resource()
        if rtype.namespaced and target.name and not target.namespace:
            raise no_such_resource()
        namespace = target.namespace if rtype.namespaced else ""
        if not rtype.namespaced and target.namespace and target.resource != "namespaces":
            raise no_such_resource()
        call = Call(
            user=user,
            rtype=rtype,
            version=target.version,
            namespace=namespace,
            name=target.name,
            subresource=target.subresource,
            query=request.query,
            body=request.body,
            content_type=request.content_type,
            user_agent=request.headers.get("user-agent", ""),
        )
        if target.subresource:
            return self._answer_part(request, call, target, shape)
        return self._answer_verb(request, call, target, shape)

    def _answer_part(self, request: Request, call: Call, target: Target, shape: Format) -> Response:
        rtype = call.rtype
        handler = self.registry.handler(target.group, target.resource, target.subresource)
        if handler is not None:
            return handler(self._subresource_request(request, call.user, target))
        if target.subresource not in rtype.subresources:
            raise no_such_resource()
        if target.subresource == "scale":
            return self.scales.answer(call, request.method)
        if request.method in ("GET", "HEAD"):
            return self._get(call, shape)
        if request.method == "PUT":
            obj, _ = self.verbs.update(call)
        elif request.method == "PATCH":
            obj, _ = self.verbs.patch(call)
        else:
            raise method_not_allowed()
        return self._one(call, obj, 200, shape)

    def _answer_verb(self, request: Request, call: Call, target: Target, shape: Format) -> Response | Streaming:
        rtype = call.rtype
        if target.verb == "watch" and "watch" in rtype.verbs:
            selection = parse_selection(rtype, call.namespace, call.name, request.query)
            return self._watch(request, call, selection, shape)
        if call.name:
            if request.method in ("GET", "HEAD"):
                return self._get(call, shape)
            if request.method == "PUT":
                obj, created = self.verbs.update(call)
                return self._one(call, obj, 201 if created else 200, shape)
            if request.method == "PATCH":
                obj, created = self.verbs.patch(call)
                return self._one(call, obj, 201 if created else 200, shape)
            if request.method == "DELETE":
                obj, status = self.verbs.delete(call)
                if obj.get("kind") == "Status":
                    return Response(status, body=obj, warnings=call.warnings)
                return self._one(call, obj, status, shape)
            raise method_not_allowed()
        if request.method in ("GET", "HEAD"):
            return self._list(request, call, shape)
        if request.method == "POST":
            if rtype.namespaced and not call.namespace:
                raise method_not_allowed()
            return self._one(call, self.verbs.create(call), 201, shape)
        if request.method == "DELETE":
            return self._delete_collection(request, call)
        raise method_not_allowed()

    def _get(self, call: Call, shape: Format) -> Response:
        if "get" not in call.rtype.verbs:
            raise unsupported_verb(call.rtype, "get") if call.rtype.custom else method_not_allowed()
        entry = self.store.entry(call.rtype, call.namespace, call.name)
        if entry is None:
            raise not_found(call.rtype, call.name)
        if not shape.shape and not shape.yaml:
            return Response(body=convert(call.rtype, call.version, entry.data), content_type="application/json")
        return self._one(call, entry.decode(), 200, shape)

    def _one(self, call: Call, obj: Object, status: int, shape: Format) -> Response:
        if shape.shape == "Table":
            version = obj["metadata"].get("resourceVersion", "")
            body = build_table(
                call.rtype,
                [obj],
                at=self.clock.now(),
                metadata={"resourceVersion": version},
                include=call.query.get("includeObject", "Metadata"),
            )
        elif shape.shape == "PartialObjectMetadata":
            body = to_partial(obj)
        else:
            body = {**obj, "apiVersion": call.api_version, "kind": call.rtype.kind}
        return Response(status, body=body, warnings=call.warnings)

    def _list(self, request: Request, call: Call, shape: Format) -> Response:
        request.number("timeoutSeconds")
        rtype = call.rtype
        if "list" not in rtype.verbs:
            raise method_not_allowed() if not rtype.custom else unsupported_verb(rtype, "list")
        selection = parse_selection(rtype, call.namespace, "", request.query)
        page = read_page(self.store, selection, request.query)
        if not shape.shape and not shape.yaml:
            return Response(body=encode_list(rtype, call.version, page), content_type="application/json")
        metadata = page.metadata(custom=False)
        objects = ({**entry.decode(), "apiVersion": call.api_version} for entry in page.entries)
        if shape.shape == "Table":
            include = request.query.get("includeObject", "Metadata")
            body = build_table(rtype, objects, at=self.clock.now(), metadata=metadata, include=include)
        elif shape.shape:
            body = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": [to_partial(obj) for obj in objects],
            }
        else:
            decoded: Object = msgspec.json.decode(encode_list(rtype, call.version, page))
            body = decoded
        return Response(body=body)

    def _watch(self, request: Request, call: Call, selection: Selection, shape: Format) -> Streaming:
        watch = Watch(
            self.store,
            self.clock,
            selection,
            request.query,
            version=call.version,
            shape=shape,
        )
        seconds = float(request.number("timeoutSeconds"))
        # Without a limit the real server ends a watch after half an hour to an hour.
        return Streaming(watch, seconds if seconds > 0 else 1800.0)

    def _delete_collection(self, request: Request, call: Call) -> Response:
        rtype = call.rtype
        if "deletecollection" not in rtype.verbs:
            raise method_not_allowed()
        if rtype.namespaced and not call.namespace:
            raise method_not_allowed()
        selection = parse_selection(rtype, call.namespace, "", request.query)
        page = read_page(self.store, selection, request.query)
        body = encode_list(rtype, call.version, page)
        self.verbs.delete_each(call, [entry.decode() for entry in page.entries])
        return Response(body=body, content_type="application/json")

    def _subresource_request(self, request: Request, user: User, target: Target) -> SubresourceRequest:
        return SubresourceRequest(
            user=user,
            method=request.method,
            group=target.group,
            version=target.version,
            resource=target.resource,
            namespace=target.namespace,
            name=target.name,
            subresource=target.subresource,
            body=request.body,
            content_type=request.content_type,
            accept=request.accept,
            query=request.query,
            store=self.store,
            clock=self.clock,
        )


def page_not_found() -> Response:
    """What paths get that nothing is behind."""
    return Response(404, body="404 page not found\n")


def render_error(error: ApiError) -> Answer:
    """A refusal as an answer."""
    return Answer(
        error.code, msgspec.json.encode(error.to_dict()), "application/json", list(error.headers.items())
    )


def _encode(response: Response, shape: Format) -> Answer:
    headers = list(response.headers.items())
    headers.extend(("Warning", f'299 - "{_quote(text)}"') for text in response.warnings)
    body, content_type = response.body, response.content_type
    if body is None:
        return Answer(response.status, b"", content_type, headers)
    if isinstance(body, bytes):
        return Answer(response.status, body, content_type or "application/octet-stream", headers)
    if isinstance(body, str):
        return Answer(response.status, body.encode(), content_type or "text/plain; charset=utf-8", headers)
    if shape.yaml:
        text = yaml.safe_dump(body, default_flow_style=False, allow_unicode=True, sort_keys=True)
        return Answer(response.status, text.encode(), "application/yaml", headers)
    return Answer(response.status, msgspec.json.encode(body), content_type or "application/json", headers)


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")


__all__ = ["CONTROL_PREFIX", "Answer", "Dispatcher", "Streaming", "render_error"]
