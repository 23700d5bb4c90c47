"""Reading bodies: from bytes to an object, with the complaints of Go's decoders.

The real server decodes built-in kinds into typed structs (a wrong type is a 400), custom ones into plain maps
(a wrong
type is found later, by the schema, as a 422). Only metadata is typed for both.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import yaml

from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import ApiError, bad_request

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
MAX_BODY_BYTES: Final = 3 * 1024 * 1024

_QUANTITY: Final = re.compile(r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$")
_GO_TYPES: Final = {"int32": "int32", "int64": "int64", "double": "float64", "float": "float32"}


class DecodeFailed(Exception):
    """A body or a value that cannot be read; the text is what Go would say."""


def parse_json(body: bytes) -> Any:
    """Decodes JSON; very deep or malformed input fails like any other.

    Raises:
        DecodeFailed: it is no JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DecodeFailed(_go_json_error(body, str(error))) from error


def _go_json_error(body: bytes, fallback: str) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "invalid UTF-8 in string"
    if not text.strip():
        return "unexpected end of JSON input"
    try:
        json.loads(text)
    except RecursionError:
        return "exceeded max depth"
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            return "unexpected end of JSON input"
        letter = text[error.pos]
        if "property name" in error.msg:
            return f"invalid character '{letter}' looking for beginning of object key string"
        if "Extra data" in error.msg:
            return f"invalid character '{letter}' after top-level value"
        if "delimiter" in error.msg:
            place = "after object key" if "':'" in error.msg else "after object key:value pair"
            return f"invalid character '{letter}' {place}"
        return f"invalid character '{letter}' looking for beginning of value"
    return fallback


def parse_yaml(body: bytes) -> Any:
    """Decodes YAML into JSON's types.

    Raises:
        DecodeFailed: it is no YAML, or holds what JSON cannot (dates stay texts).
    """
    if body.lstrip()[:1] == b"{":
        # JSON is YAML; nearly every client sends it, and it is read far faster as what it is.
        try:
            return parse_json(body)
        except DecodeFailed:
            pass
    try:
        return _plain(yaml.load(body, Loader=_Loader))  # noqa: S506 - a SafeLoader without dates
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        text = " ".join(str(error).split())
        raise DecodeFailed(f"error converting YAML to JSON: yaml: {text}") from error


class _Loader(yaml.SafeLoader):
    """YAML without timestamps: in Kubernetes they are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else json.dumps(key, default=str): _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"cannot hold a {type(value).__name__}")


def summarize(body: bytes, limit: int = 30) -> str:
    """The start of a body as an error shows it (handlers/rest.go summarizeData)."""
    if not body:
        return "<empty>"
    cut = " ..." if len(body) > limit else ""
    if body[:1] == b"{":
        return body[:limit].decode(errors="replace") + cut
    return body[:limit].hex() + cut


def decode_object(body: bytes, content_type: str, *, kind: str, custom: bool, api_version: str) -> dict[str, Any]:
    """Reads one object of a kind from a request.

    Args:
        kind, api_version: what the path expects; a built-in object may leave them out.
        custom: whether it is served from a definition.

    Raises:
        ApiError: 400, 413 or 415.
    """
    media = content_type.split(";", maxsplit=1)[0].strip().lower()
    if media not in ("", JSON, YAML) and (custom or media != PROTOBUF):
        accepted = "application/json, application/yaml" + (
            "" if custom else ", application/vnd.kubernetes.protobuf"
        )
        raise unsupported_media(accepted)
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    try:
        value = parse_body(body, media)
    except DecodeFailed as error:
        why = f"couldn't get version/kind; json parse error: {error}"
        raise _unrecognized(kind, why, body) from error
    if not isinstance(value, dict):
        why = f"couldn't get version/kind; json parse error: json: cannot unmarshal {go_kind(value)} into Go value"
        raise _unrecognized(kind, why, body)
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field, ""), str):
            why = f"json parse error: cannot unmarshal {go_kind(value[field])} into {field}"
            why = f"couldn't get version/kind; {why}"
            raise _unrecognized(kind, why, body)
    sent_kind, sent_version = value.get("kind", ""), value.get("apiVersion", "")
    if custom and not sent_kind:
        raise _unrecognized(kind, f"Object 'Kind' is missing in '{body[:200].decode(errors='replace')}'", body)
    if sent_version and sent_version != api_version:
        raise bad_request(
            f"the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
        )
    if sent_kind and sent_kind != kind and not custom:
        raise cannot_handle(
            sent_kind, api_version, kind, f"converting (v1.{sent_kind}) to (core.{kind}): unknown conversion"
        )
    value.setdefault("apiVersion", api_version)
    value.setdefault("kind", kind)
    if value.get("metadata") is None:
        value["metadata"] = {}
    return value


def parse_body(body: bytes, media: str) -> Any:
    """Decodes a body of one of the three media types.

    Raises:
        DecodeFailed: it is malformed.
    """
    if media == PROTOBUF:
        from vmkit.lab.semantics.protobuf import decode_protobuf

        return decode_protobuf(body)
    return parse_yaml(body) if media == YAML else parse_json(body)


def _unrecognized(kind: str, why: str, body: bytes) -> ApiError:
    return bad_request(f"the object provided is unrecognized (must be of type {kind}): {why} ({summarize(body)})")


def cannot_handle(sent_kind: str, api_version: str, kind: str, why: str) -> ApiError:
    """400: ``Secret in version "v1" cannot be handled as a ConfigMap: why``."""
    version = api_version.rpartition("/")[2]
    return bad_request(f'{sent_kind} in version "{version}" cannot be handled as a {kind}: {why}')


def unsupported_media(accepted: str) -> ApiError:
    """415 in the API server's words."""
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {accepted}",
    )


def too_large() -> ApiError:
    """413 of a body over the limit."""
    return ApiError(413, "RequestEntityTooLarge", f"limit is {MAX_BODY_BYTES}")


def go_kind(value: Any) -> str:
    """What Go calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, Mapping) else "null"


def check_go_types(ftype: FieldType, value: Any, path: str) -> None:
    """Checks a value as decoding into Go structs would.

    Args:
        path: where the value stands, for the message ("ConfigMap.data").

    Raises:
        DecodeFailed: the first value of a wrong type.
    """
    if value is None or ftype.kind == "any":
        return
    schema = ftype.schema
    expected = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        _check_int_or_string(schema, value, path)
    elif ftype.kind == "map":
        if not isinstance(value, dict):
            raise _mismatch(value, path, "map[string]interface {}" if "properties" not in schema else "struct")
        for key, item in value.items():
            check_go_types(ftype.field(key), item, f"{path}.{key}")
    elif ftype.kind == "list":
        if not isinstance(value, list):
            raise _mismatch(value, path, "[]interface {}")
        for item in value:
            check_go_types(ftype.element, item, path)
    elif expected == "string":
        if not isinstance(value, str):
            raise _mismatch(value, path, "string")
        _check_format(schema.get("format", ""), value)
    elif expected == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            shown = f"number {value}" if isinstance(value, float) else value
            raise _mismatch(
                shown, path, _GO_TYPES.get(schema.get("format", ""), "int64"), literal=shown is not value
            )
    elif expected == "boolean":
        if not isinstance(value, bool):
            raise _mismatch(value, path, "bool")
    elif expected == "number" and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise _mismatch(value, path, "float64")


def _mismatch(value: Any, path: str, expected: str, *, literal: bool = False) -> DecodeFailed:
    shown = value if literal else go_kind(value)
    return DecodeFailed(f"json: cannot unmarshal {shown} into Go struct field {path} of type {expected}")


def _check_int_or_string(schema: Mapping[str, Any], value: Any, path: str) -> None:
    quantity = schema.get("format") == "quantity"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _mismatch(value, path, "resource.Quantity" if quantity else "intstr.IntOrString")
    if quantity and not _QUANTITY.match(str(value)):
        raise DecodeFailed(f"quantities must match the regular expression '{_QUANTITY.pattern}'")


def _check_format(form: str, value: str) -> None:
    if form == "byte":
        try:
            base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeFailed(f"illegal base64 data at input byte {_bad_byte(value)}") from error
    elif form == "date-time" and not re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$", value):
        layout = "2006-01-02T15:04:05Z07:00"
        raise DecodeFailed(f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"')


def _bad_byte(text: str, alphabet: str = r"[A-Za-z0-9+/]") -> int:
    """Where Go's base64 stops: the first foreign letter, or the incomplete last group."""
    bare = text.rstrip("=")
    for index, letter in enumerate(bare):
        if not re.match(alphabet, letter):
            return index
    return len(bare) - len(bare) % 4


def find_unknown(ftype: FieldType, value: Any, path: str = "") -> Iterator[str]:
    """Paths of fields that the schema does not know ("spec.disks[0].turbo"), in document order."""
    if isinstance(value, dict) and ftype.kind == "map":
        open_ended = "additionalProperties" in ftype.schema or ftype.schema.get(
            "x-kubernetes-preserve-unknown-fields"
        )
        for key, item in value.items():
            inner = f"{path}.{key}" if path else key
            if ftype.has_field(key) or open_ended:
                yield from find_unknown(ftype.field(key), item, inner)
            else:
                yield inner
    elif isinstance(value, list) and ftype.kind == "list":
        for index, item in enumerate(value):
            yield from find_unknown(ftype.element, item, f"{path}[{index}]")


def prune_unknown(ftype: FieldType, value: Any) -> Any:
    """The value without fields that the schema does not know; shares what it keeps whole."""
    if isinstance(value, dict) and ftype.kind == "map":
        open_ended = "additionalProperties" in ftype.schema or ftype.schema.get(
            "x-kubernetes-preserve-unknown-fields"
        )
        return {
            key: prune_unknown(ftype.field(key), item)
            for key, item in value.items()
            if open_ended or ftype.has_field(key)
        }
    if isinstance(value, list) and ftype.kind == "list":
        return [prune_unknown(ftype.element, item) for item in value]
    return value


def find_duplicates(body: bytes) -> list[str]:
    """Paths of keys that an object has twice; only well-formed JSON is looked at."""
    found: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                found.append(key)
            seen[key] = value
        return seen

    try:
        document = json.loads(body, object_pairs_hook=collect)
    except (ValueError, RecursionError):
        return []
    if not found:
        return []
    return list(dict.fromkeys(_paths_of(document, found)))


def _paths_of(document: Any, keys: list[str]) -> Iterator[str]:
    """Paths under which keys stand, the shallowest first."""
    level: list[tuple[str, Any]] = [("", document)]
    wanted = list(keys)
    while level and wanted:
        following: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, dict):
                for key, item in value.items():
                    inner = f"{path}.{key}" if path else key
                    if key in wanted:
                        wanted.remove(key)
                        yield inner
                    following.append((inner, item))
            elif isinstance(value, list):
                following.extend((f"{path}[{index}]", item) for index, item in enumerate(value))
        level = following
