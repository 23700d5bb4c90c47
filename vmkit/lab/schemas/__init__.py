"""API schemas as package data, read when first needed.

A file is either a mapping of definition names to OpenAPI schemas, or one schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources as package_data
from typing import Any, Final

import msgspec

from vmkit.lab.resources import ResourceType, SchemaRef
from vmkit.lab.semantics.types import FieldType

_PREFIX: Final = "#/components/schemas/"

OBJECT_META: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "generateName": {"type": "string"},
        "namespace": {"type": "string"},
        "selfLink": {"type": "string"},
        "uid": {"type": "string"},
        "resourceVersion": {"type": "string"},
        "generation": {"type": "integer", "format": "int64"},
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "deletionTimestamp": {"type": "string", "format": "date-time"},
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
            "items": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "name": {"type": "string"},
                    "uid": {"type": "string"},
                    "controller": {"type": "boolean"},
                    "blockOwnerDeletion": {"type": "boolean"},
                },
            },
        },
        "finalizers": {
            "type": "array",
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
            "items": {"type": "string"},
        },
        "managedFields": {
            "type": "array",
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "object",
                "properties": {
                    "manager": {"type": "string"},
                    "operation": {"type": "string"},
                    "apiVersion": {"type": "string"},
                    "time": {"type": "string", "format": "date-time"},
                    "fieldsType": {"type": "string"},
                    "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "subresource": {"type": "string"},
                },
            },
        },
    },
}
"""``metadata`` of every object (k8s.io/apimachinery/pkg/apis/meta/v1/types.go)."""


@cache
def load_file(name: str) -> Mapping[str, Any]:
    """One schema file, decoded."""
    data = package_data.files(__name__).joinpath(f"{name}.json").read_bytes()
    document: Mapping[str, Any] = msgspec.json.decode(data)
    return document


def load_schema(reference: SchemaRef | Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema a type refers to, with ``metadata`` made whole."""
    if isinstance(reference, SchemaRef):
        document = load_file(reference.file)
        schema = document[reference.definition] if reference.definition else document
    else:
        schema = reference
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        **schema.get("properties", {}),
        "metadata": OBJECT_META,
    }
    return {**schema, "type": "object", "properties": properties}


class Schemas:
    """The field types of a registry's resource types, built once each."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], tuple[object, FieldType]] = {}
        self._bare = FieldType(
            {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": OBJECT_META,
                },
            },
            resolve_in(""),
        )

    def of(self, rtype: ResourceType, version: str = "") -> FieldType:
        """The field type of a resource in one of its versions (default: the stored one)."""
        version = version or rtype.version
        reference = rtype.schema_of(version)
        if reference is None:
            return self._bare
        known = self._types.get((rtype.resource, version))
        if known is not None and known[0] is reference:
            return known[1]
        file = reference.file if isinstance(reference, SchemaRef) else ""
        built = FieldType(load_schema(reference), resolve_in(file))
        self._types[rtype.resource, version] = (reference, built)
        return built


@cache
def resolve_in(file: str) -> Any:
    """A resolver of ``#/components/schemas/...`` references within one file."""

    def resolve(reference: str) -> Mapping[str, Any]:
        name = reference.removeprefix(_PREFIX)
        if name.endswith(".meta.v1.ObjectMeta"):
            return OBJECT_META
        found: Mapping[str, Any] = load_file(file)[name]
        return found

    return resolve
