"""OpenAPI documents, complete enough for kubectl to explain, validate, diff and edit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from vmkit.lab.http.request import Request
from vmkit.lab.resources import Object, Registry, ResourceType, Response, SchemaRef
from vmkit.lab.schemas import OBJECT_META, Schemas, load_file, load_schema

_PREFIX: Final = "#/components/schemas/"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OPENAPI_V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2"


class OpenApi:
    """Documents of one registry, built when asked for and kept until it changes."""

    def __init__(self, registry: Registry, schemas: Schemas) -> None:
        self._registry = registry
        self._schemas = schemas
        self._generation = -1
        self._documents: dict[str, bytes] = {}

    def answer(self, request: Request) -> Response:
        """``/openapi/v2``, ``/openapi/v3`` and ``/openapi/v3/...``."""
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._documents.clear()
        path = request.path.strip("/").removeprefix("openapi/")
        if path == "v2":
            if _OPENAPI_V2_PROTOBUF in request.accept and "json" not in request.accept:
                return Response(406, body="Not Acceptable\n")
            return self._reply("v2", self._build_v2)
        if path == "v3":
            return Response(body=self._index())
        key = path.removeprefix("v3/")
        if path.startswith("v3/") and key in self._group_versions():
            group, version = self._group_versions()[key]
            return self._reply(key, lambda: self._build(group, version))
        return Response(404, body="404 page not found\n")

    def _reply(self, key: str, build: Any) -> Response:
        if key not in self._documents:
            self._documents[key] = msgspec.json.encode(build())
        return Response(body=self._documents[key], content_type="application/json")

    def _group_versions(self) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        for group, versions in self._registry.groups().items():
            for version in versions:
                found[f"apis/{group}/{version}" if group else f"api/{version}"] = (group, version)
        return found

    def _index(self) -> Object:
        stamp = f"{self._registry.generation}"
        paths = {}
        for key in self._group_versions():
            digest = hashlib.sha256(f"{key}@{stamp}".encode()).hexdigest().upper()
            paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
        return {"paths": paths}

    def _build(self, group: str, version: str) -> Object:
        components: dict[str, Any] = {_META: OBJECT_META}
        paths: Object = {}
        for rtype in self._registry:
            if rtype.group == group and version in rtype.served_versions:
                name = self._define(rtype, version, components)
                paths.update(_paths(rtype, version, name))
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": paths,
            "components": {"schemas": components},
        }

    def _build_v2(self) -> Object:
        definitions: dict[str, Any] = {_META: OBJECT_META}
        for rtype in self._registry:
            for version in rtype.served_versions:
                self._define(rtype, version, definitions)
        text = msgspec.json.encode(definitions).replace(_PREFIX.encode(), b"#/definitions/")
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.36.0"},
            "paths": {},
            "definitions": msgspec.json.decode(text),
        }

    def _define(self, rtype: ResourceType, version: str, components: dict[str, Any]) -> str:
        reference = rtype.schema_of(version)
        name = definition_name(rtype, version)
        if isinstance(reference, SchemaRef) and reference.definition.startswith("io.k8s."):
            name = reference.definition
        if reference is None:
            schema: Mapping[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        else:
            schema = load_schema(reference)
        gvk = {"group": rtype.group, "version": version, "kind": rtype.kind}
        properties = {**schema.get("properties", {}), "metadata": {"allOf": [{"$ref": _PREFIX + _META}]}}
        components[name] = {**schema, "properties": properties, "x-kubernetes-group-version-kind": [gvk]}
        if isinstance(reference, SchemaRef):
            _pull(reference.file, _references(schema), components)
        return name


def definition_name(rtype: ResourceType, version: str) -> str:
    """``io.kubevirt.v1.VirtualMachine``: the group backwards, version, kind."""
    group = ".".join(reversed(rtype.group.split("."))) if rtype.group else "io.k8s.api.core"
    return f"{group}.{version}.{rtype.kind}"


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_PREFIX)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _pull(file: str, names: Iterable[str], components: dict[str, Any]) -> None:
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in components:
            continue
        definition = load_file(file).get(name)
        components[name] = {"type": "object"} if definition is None else definition
        if definition is not None:
            waiting.extend(_references(definition))


_PARAMETERS: Final = tuple(
    {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
    for name, kind in (
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
        ("force", "boolean"),
        ("pretty", "string"),
    )
)


def _paths(rtype: ResourceType, version: str, name: str) -> Object:
    base = f"/apis/{rtype.group}/{version}" if rtype.group else f"/api/{version}"
    collection = (
        f"{base}/namespaces/{{namespace}}/{rtype.plural}" if rtype.namespaced else f"{base}/{rtype.plural}"
    )
    gvk = {"group": rtype.group, "version": version, "kind": rtype.kind}
    body = {"content": {"application/json": {"schema": {"$ref": _PREFIX + name}}}}

    def operation(action: str, **more: Any) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "responses": {"200": {"description": "OK", **body}},
            **more,
        }

    paths: Object = {collection: {}}
    if "create" in rtype.verbs:
        paths[collection]["post"] = operation("post", parameters=list(_PARAMETERS), requestBody=body)
    if "list" in rtype.verbs:
        paths[collection]["get"] = operation("list")
    if "get" in rtype.verbs:
        paths[f"{collection}/{{name}}"] = {
            "get": operation("get"),
            "put": operation("put", parameters=list(_PARAMETERS), requestBody=body),
            "patch": operation("patch", parameters=list(_PARAMETERS), requestBody=body),
            "delete": operation("delete"),
        }
    return paths
