"""From a request's body to a typed object: decoded, patched or applied; unknown fields told of and dropped."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vmkit.lab.resources import Object
from vmkit.lab.semantics.decoding import (
    DecodeFailed,
    cannot_handle,
    check_go_types,
    decode_object,
    find_duplicates,
    find_unknown,
    parse_json,
    parse_yaml,
    prune_unknown,
)
from vmkit.lab.semantics.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import ApiError, Cause, Details, bad_request
from vmkit.lab.verbs.call import JSON_PATCH, MERGE_PATCH, Call, check_name

_UNDECLARED_LIMIT: Final = 8
_NULLABLE: Final = ("eventTime", "firstTimestamp", "lastTimestamp")


def read_object(call: Call) -> Object:
    """The object in a request's body.

    Raises:
        ApiError: 400, 413 or 415.
    """
    rtype = call.rtype
    obj = decode_object(
        call.body, call.content_type, kind=rtype.kind, custom=rtype.custom, api_version=call.api_version
    )
    duplicates = find_duplicates(call.body) if "yaml" not in call.content_type else []
    validate_fields(call, duplicates, "duplicate field", obj.get("kind", rtype.kind))
    return obj


def read_typed(call: Call, ftype: FieldType, obj: Object, sent_kind: str, *, patched: bool = False) -> Object:
    """The object as decoding into its type leaves it: unknown fields reported and dropped, types checked.

    Raises:
        ApiError: 400 for unknown fields under strict validation, or a wrong type.
        DecodeFailed: the same for a patched object, whose 422 shows it.
    """
    rtype = call.rtype
    try:
        if rtype.custom:
            check_go_types(ftype.field("metadata"), obj.get("metadata"), "ObjectMeta")
        else:
            check_go_types(ftype, obj, rtype.kind)
    except DecodeFailed as error:
        if patched:
            raise
        raise cannot_handle(sent_kind, call.api_version, rtype.kind, str(error)) from error
    unknown = list(find_unknown(ftype, obj))
    if unknown:
        if patched and call.query.get("fieldValidation") == "Strict":
            listed = ", ".join(f'unknown field "{path}"' for path in unknown)
            raise DecodeFailed(f"strict decoding error: {listed}")
        validate_fields(call, unknown, "unknown field", sent_kind or rtype.kind)
        obj = prune_unknown(ftype, obj)
    if not rtype.custom:
        obj = without_nulls(obj)
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    return obj


def validate_fields(call: Call, paths: list[str], what: str, sent_kind: str = "") -> None:
    """fieldValidation: refuse, warn about, or ignore fields."""
    if not paths:
        return
    directive = call.query.get("fieldValidation") or "Warn"
    texts = [f'{what} "{path}"' for path in paths]
    if directive == "Strict":
        why = "strict decoding error: " + ", ".join(texts)
        raise cannot_handle(sent_kind or call.rtype.kind, call.api_version, call.rtype.kind, why)
    if directive == "Warn":
        call.warnings.extend(texts)


def read_patched(call: Call, ftype: FieldType, old: Object, media: str) -> Object:
    """The present object as a patch leaves it.

    Raises:
        ApiError: 400 or 422.
    """
    rtype = call.rtype
    try:
        patch = parse_json(call.body)
    except DecodeFailed as error:
        prefix = "" if media == JSON_PATCH else "error decoding patch: "
        raise bad_request(f"{prefix}{error}") from error
    base = call.present(old)
    if media == JSON_PATCH:
        result = apply_json_patch(base, patch)
    elif not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal array into Go value of type map")
    elif media == MERGE_PATCH:
        validate_fields(call, list(find_duplicates(call.body)), "duplicate field")
        result = apply_merge_patch(base, patch)
    else:
        result = apply_strategic_patch(base, patch, ftype)
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise _unreadable_patch(result, "Object 'metadata' is missing")
    try:
        result = read_typed(call, ftype, result, "", patched=True)
    except DecodeFailed as error:
        raise _unreadable_patch(result, str(error)) from error
    for key, expected in (("kind", rtype.kind), ("apiVersion", call.api_version)):
        if result.get(key) != expected:
            result[key] = expected
    check_name(call, result)
    return result


def read_configuration(call: Call, ftype: FieldType) -> Object:
    """The configuration that a server-side apply sends, which must fit the schema.

    Raises:
        ApiError: 400 or 500, as the API server refuses it.
    """
    rtype = call.rtype
    try:
        config = parse_yaml(call.body)
    except DecodeFailed as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: error unmarshaling JSON: json: cannot unmarshal into Go value")
    metadata = config.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("error decoding YAML: metadata is no object")
    if config.get("apiVersion") != call.api_version or config.get("kind") != rtype.kind:
        sent, kind = config.get("apiVersion", ""), config.get("kind", "")
        if not sent or not kind:
            missing = "apiVersion" if not sent else "Kind"
            raise bad_request(f"Object '{missing}' is missing in the applied configuration")
        raise bad_request(
            f"the API version in the data ({sent}) does not match the expected API version ({call.api_version})"
            if sent != call.api_version
            else f"the kind in the data ({kind}) does not match the expected kind ({rtype.kind})"
        )
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = dict(without_nulls(config))
    metadata = config["metadata"]
    metadata.setdefault("name", call.name)
    if rtype.namespaced:
        metadata.setdefault("namespace", call.namespace)
    check_name(call, config)
    _check_declared(call, ftype, config)
    return config


def _check_declared(call: Call, ftype: FieldType, config: Object) -> None:
    """An applied configuration must fit the schema at once (structured-merge-diff refuses it otherwise)."""
    complaints = [f".{path}: field not declared in schema" for path in find_unknown(ftype, config)]
    try:
        check_go_types(ftype, config, call.rtype.kind)
    except DecodeFailed as error:
        complaints.append(str(error))
    if not complaints:
        return
    shown = (
        complaints[0]
        if len(complaints) == 1
        else "errors:\n" + "\n".join(f"  {each}" for each in complaints[:_UNDECLARED_LIMIT])
    )
    group_version = call.api_version if call.rtype.group else f"/{call.version}"
    where = f"{call.namespace}/{call.name}; {group_version}, Kind={call.rtype.kind}"
    raise ApiError(500, "", f"failed to create typed patch object ({where}): {shown}")


def _unreadable_patch(result: Any, why: str) -> ApiError:
    shown = msgspec.json.encode(msgspec.json.encode(result).decode()).decode()
    cause = Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", "patch")
    return ApiError(
        422, "Invalid", f' "" is invalid: patch: {cause.message}', details=Details(causes=(cause,)).to_dict()
    )


def without_nulls(value: Any) -> Any:
    """Nulls are nothing to a typed object, except in an Event's times, which are written as null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None or key in _NULLABLE}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
