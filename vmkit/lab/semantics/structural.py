"""Values against the schema of their definition, in the words of k8s.io/apiextensions-apiserver."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import Cause


def find_violations(ftype: FieldType, value: Any, path: str = "", *, typed: bool = False) -> Iterator[Cause]:
    """Everything a value does against its schema, as causes of a 422.

    Args:
        path: where the value stands ("spec.template"); empty at the top.
        typed: the value came through Go structs (built-in kinds), so types are right already and only what is
            required is looked at.
    """
    schema = ftype.schema
    if value is None:
        if not typed and not schema.get("nullable") and ftype.kind != "any":
            yield _wrong_type(path, schema, "null")
        return
    if not typed and ftype.kind != "any":
        wrong = _type_of(value) if not _fits(schema, value) else ""
        if wrong:
            yield _wrong_type(path, schema, wrong)
            return
        yield from _find_bounds(schema, value, path)
    if isinstance(value, dict):
        for field in schema.get("required", ()):
            if field not in value or (typed and value[field] in (None, "", [], {})):
                yield Cause("FieldValueRequired", "Required value", f"{path}.{field}" if path else field)
        for key, item in value.items():
            if typed and not path and key == "status":
                # The server reports it itself; nothing in it is asked of anybody.
                continue
            if path or key not in ("apiVersion", "kind", "metadata"):
                keyed = not ftype.has_field(key) and "additionalProperties" in schema
                inner = f"{path}[{key}]" if keyed and typed else f"{path}.{key}" if path else key
                yield from find_violations(ftype.field(key), item, inner, typed=typed)
    elif isinstance(value, list):
        element = ftype.element
        for index, item in enumerate(value):
            yield from find_violations(element, item, f"{path}[{index}]", typed=typed)
        yield from _find_doubles(ftype, value, path)


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    expected = schema.get("type")
    found = _type_of(value)
    if expected == "integer" and found == "number":
        return isinstance(value, float) and value.is_integer()
    return not expected or found == expected or (expected == "number" and found == "integer")


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "null" if value is None else "object"


def _wrong_type(path: str, schema: Mapping[str, Any], found: str) -> Cause:
    expected = "integer or string" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "object")
    expected = "[integer string]" if expected == "integer or string" else expected
    text = f'{path} in body must be of type {expected}: "{found}"'
    return Cause("FieldValueTypeInvalid", f'Invalid value: "{found}": {text}', path)


def _find_bounds(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(each) for each in schema["enum"])
        message = f"Unsupported value: {_show(value)}: supported values: {supported}"
        yield Cause("FieldValueNotSupported", message, path)
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield _invalid(path, value, f"should match '{schema['pattern']}'")
        if "minLength" in schema and len(value) < schema["minLength"]:
            yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            message = f"Too long: may not be more than {schema['maxLength']} bytes"
            yield Cause("FieldValueTooLong", message, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield _invalid(path, value, f"should be greater than or equal to {schema['minimum']:g}")
        if "maximum" in schema and value > schema["maximum"]:
            yield _invalid(path, value, f"should be less than or equal to {schema['maximum']:g}")
    elif isinstance(value, list):
        if "minItems" in schema and len(value) < schema["minItems"]:
            yield _invalid(path, len(value), f"should have at least {schema['minItems']} items")
        if "maxItems" in schema and len(value) > schema["maxItems"]:
            message = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
            yield Cause("FieldValueTooMany", message, path)


def _invalid(path: str, value: Any, complaint: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_show(value)}: {path} in body {complaint}", path)


def _show(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _find_doubles(ftype: FieldType, items: list[Any], path: str) -> Iterator[Cause]:
    """Items of a set or keyed list that are there twice."""
    if not (ftype.keys or ftype.is_set):
        return
    seen: set[str] = set()
    for index, item in enumerate(items):
        if ftype.keys:
            if not isinstance(item, Mapping):
                continue
            identity: Any = {key: item[key] for key in ftype.keys if key in item}
        else:
            identity = item
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        if text in seen:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {text}", f"{path}[{index}]")
        seen.add(text)


def fill_defaults(ftype: FieldType, value: Any) -> Any:
    """Writes schema defaults into objects where fields are missing (in place); returns the value."""
    if isinstance(value, dict) and ftype.kind == "map":
        for key, schema in ftype.schema.get("properties", {}).items():
            if key not in value and "default" in schema and key != "metadata":
                value[key] = json.loads(json.dumps(schema["default"]))
            if key in value and key != "metadata":
                fill_defaults(ftype.field(key), value[key])
        if "additionalProperties" in ftype.schema:
            for item in value.values():
                fill_defaults(ftype.element, item)
    elif isinstance(value, list) and ftype.kind == "list":
        for item in value:
            fill_defaults(ftype.element, item)
    return value
