"""Field types: an OpenAPI schema read as structured-merge-diff reads it.

What matters here is which maps and lists are one value (atomic), which have items of their own, and by which keys
list items are told apart (sigs.k8s.io/structured-merge-diff, schema/elements.go).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]
Resolve = Callable[[str], Schema]
"""Turns a ``$ref`` into the schema it names."""


class FieldType:
    """The type of a value; children are built when first asked for.

    ``kind`` is "map", "list", "scalar" or "any" (no schema: maps are granular, lists atomic).
    """

    __slots__ = ("_element", "_fields", "_resolve", "atomic", "is_set", "key_defaults", "keys", "kind", "schema")

    def __init__(self, schema: Schema, resolve: Resolve) -> None:
        schema = _flatten(schema, resolve)
        self.schema = schema
        self._resolve = resolve
        self._fields: dict[str, FieldType] = {}
        self._element: FieldType | None = None
        self.atomic = False
        self.is_set = False
        self.keys: tuple[str, ...] = ()
        self.key_defaults: Mapping[str, Any] = {}
        declared = schema.get("type")
        if schema.get("x-kubernetes-int-or-string"):
            self.kind = "scalar"
        elif declared == "array":
            self.kind = "list"
            list_type = schema.get("x-kubernetes-list-type")
            self.is_set = list_type == "set"
            self.keys = tuple(schema.get("x-kubernetes-list-map-keys", ())) if list_type == "map" else ()
            self.atomic = not (self.is_set or self.keys)
            if self.keys:
                properties = _flatten(schema.get("items", {}), resolve).get("properties", {})
                self.key_defaults = {
                    key: properties[key]["default"] for key in self.keys if "default" in properties.get(key, {})
                }
        elif declared == "object" or "properties" in schema or "additionalProperties" in schema:
            bare = not ("properties" in schema or isinstance(schema.get("additionalProperties"), Mapping))
            self.atomic = schema.get("x-kubernetes-map-type") == "atomic"
            self.kind = "any" if bare and not self.atomic else "map"
        elif declared in ("string", "integer", "number", "boolean"):
            self.kind = "scalar"
        else:
            self.kind = "any"

    def has_field(self, name: str) -> bool:
        """Whether it is a struct with that field (and not a map that may hold any key)."""
        return self.kind == "map" and name in self.schema.get("properties", ())

    def field(self, name: str) -> FieldType:
        """The type of a struct's field or a map's value."""
        found = self._fields.get(name)
        if found is not None:
            return found
        properties = self.schema.get("properties", {}) if self.kind == "map" else {}
        if name not in properties:
            return self.element
        built = FieldType(properties[name], self._resolve)
        self._fields[name] = built
        return built

    @property
    def element(self) -> FieldType:
        """The type of a list's items or a map's values."""
        if self._element is None:
            if self.kind == "list":
                inner = self.schema.get("items")
            elif self.kind == "map":
                inner = self.schema.get("additionalProperties")
            else:
                inner = None
            self._element = FieldType(inner, self._resolve) if isinstance(inner, Mapping) else ANY
        return self._element


def _flatten(schema: Schema, resolve: Resolve) -> Schema:
    """Follows ``$ref`` and a lone ``allOf``, the two ways generated schemas name others."""
    for _ in range(32):
        if "$ref" in schema:
            inner = resolve(schema["$ref"])
        elif len(schema.get("allOf", ())) == 1 and "properties" not in schema:
            inner = schema["allOf"][0]
        else:
            return schema
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        # What stands beside a reference (a default, a list type) speaks of this place, so it wins.
        schema = {**inner, **rest}
    return {}


def _no_references(reference: str) -> Schema:
    raise KeyError(reference)


ANY: Final = FieldType({}, _no_references)
"""The type of what has no schema."""

STRING: Final = FieldType({"type": "string"}, _no_references)
