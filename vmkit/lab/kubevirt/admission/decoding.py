"""Reading an object as KubeVirt's Go structs do, and writing it back.

A mutating webhook decodes the whole object: a number where a text belongs, a negative unsigned number or a
malformed quantity is refused there, before any schema or validator sees it. What it writes back is in Go's form:
quantities canonical, empty lists, maps and texts left out.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vmkit.lab.kubevirt.quantities import BAD_FORMAT, BadQuantity, canonical

Schema = dict[str, Any]

_UNSIGNED: Final = frozenset({
    "sockets", "cores", "threads", "maxSockets", "bootOrder", "logical", "physical", "discardGranularity",
    "supplementalPoolThreadCount", "spinlocks", "cid",
})  # fmt: skip
# JSON schemas cannot say "unsigned"; these are the uint and uint32 fields of kubevirt.io/api/core/v1.
_OMITTED_WHEN_ZERO: Final = frozenset({
    "dedicatedCpuPlacement", "isolateEmulatorThread", "readonly", "readOnly", "hotpluggable", "reservation",
    "sockets", "cores", "threads", "maxSockets",
})  # fmt: skip
# Plain (not pointer) booleans and numbers with `omitempty` in kubevirt.io/api/core/v1.
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class DecodeError(ValueError):
    """The object cannot be decoded; the message is in the words of Go's encoding/json."""


def round_trip(value: Any, schema: Schema, *, struct: str) -> Any:
    """Decodes ``value`` by its schema and returns what Go would write back.

    Args:
        value: the JSON value; it is not changed.
        schema: its structural schema (fully inlined, as CustomResourceDefinitions carry it).
        struct: the Go type's name, for the error text.

    Raises:
        DecodeError: a field has the wrong type.
    """
    return _read(value, schema, struct, "")


def _read(value: Any, schema: Schema, struct: str, path: str) -> Any:
    if isinstance(value, dict):
        return _read_object(value, schema, struct, path)
    if isinstance(value, list):
        if schema.get("type", "array") != "array":
            raise _mismatch("array", schema, struct, path)
        items = schema.get("items", {})
        return [_read(item, items, struct, path) for item in value]
    if schema.get("x-kubernetes-int-or-string"):
        return _read_int_or_string(value, schema, struct, path)
    expected = schema.get("type")
    if expected is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, bool):
        if expected != "boolean":
            raise _mismatch("bool", schema, struct, path)
    elif isinstance(value, str):
        if expected != "string":
            raise _mismatch("string", schema, struct, path)
        if schema.get("format") == "date-time" and not _TIME.fullmatch(value):
            raise DecodeError(
                f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
            )
    elif isinstance(value, (int, float)):
        _check_number(value, schema, struct, path)
    return value


def _read_object(value: dict[str, Any], schema: Schema, struct: str, path: str) -> dict[str, Any]:
    if schema.get("type", "object") != "object" or schema.get("x-kubernetes-int-or-string"):
        raise _mismatch("object", schema, struct, path)
    properties = schema.get("properties")
    if properties is None:
        values = schema.get("additionalProperties")
        if not isinstance(values, dict):
            return value
        return {key: _read(item, values, struct, path) for key, item in value.items() if item is not None}
    required = schema.get("required", ())
    result = {}
    for key, item in value.items():
        if item is None:
            continue  # to Go, null is the same as absent
        field = properties.get(key)
        if field is None:
            result[key] = item
            continue
        decoded = _read(item, field, struct, f"{path}.{key}" if path else key)
        if key not in required and _is_omitted(key, decoded, field):
            continue
        result[key] = decoded
    return result


def _is_omitted(key: str, value: Any, schema: Schema) -> bool:
    if value in ([], ""):
        return True
    if value == {}:
        # An empty struct behind a pointer (masquerade: {}) says something; an empty map does not.
        return isinstance(schema.get("additionalProperties"), dict)
    return not value and key in _OMITTED_WHEN_ZERO


def _read_int_or_string(value: Any, schema: Schema, struct: str, path: str) -> Any:
    if isinstance(value, (bool, list, dict)):
        raise _mismatch("bool" if isinstance(value, bool) else "object", schema, struct, path)
    if "pattern" not in schema:
        return value
    try:
        return canonical(value)
    except BadQuantity as error:
        raise DecodeError(str(error) or BAD_FORMAT) from None


def _check_number(value: float, schema: Schema, struct: str, path: str) -> None:
    expected = schema.get("type")
    if expected == "number":
        return
    name = path.rpartition(".")[2]
    if expected != "integer":
        raise _mismatch("number", schema, struct, path)
    kind = _go_integer(name, schema)
    low, high = {"uint32": (0, 2**32), "uint": (0, 2**64), "int32": (-(2**31), 2**31)}.get(kind, (-(2**63), 2**63))
    if not float(value).is_integer() or not low <= value < high:
        raise DecodeError(
            f"json: cannot unmarshal number {value} into Go struct field {struct}.{path} of type {kind}"
        )


def _go_integer(name: str, schema: Schema) -> str:
    if name in _UNSIGNED:
        return "uint32" if schema.get("format") in ("int32", "int64") else "uint"
    return str(schema.get("format", "int"))


def _mismatch(got: str, schema: Schema, struct: str, path: str) -> DecodeError:
    name = path.rpartition(".")[2]
    wanted = schema.get("type", "intstr.IntOrString")
    go = {
        "integer": _go_integer(name, schema), "boolean": "bool", "array": f"[]v1.{name.capitalize()}",
        "object": f"v1.{name.capitalize()}", "number": "float64",
    }.get(wanted, wanted)  # fmt: skip
    return DecodeError(f"json: cannot unmarshal {got} into Go struct field {struct}.{path} of type {go}")
