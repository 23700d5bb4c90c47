"""The patch formats: JSON merge patch, JSON patch and strategic merge patch.

Errors are the real server's (k8s.io/apiserver/pkg/endpoints/handlers/patch.go). Arguments are not changed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from vmkit.lab.semantics.types import FieldType
from vmkit.lab.status import ApiError, bad_request

_MAX_OPERATIONS: Final = 10_000


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


# --- JSON patch ---------------------------------------------------------------------------------------------


def apply_json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902.

    Raises:
        ApiError: 400 when the patch itself is malformed, 413 when it is too long, 422 when an operation fails.
    """
    if not isinstance(operations, list) or not all(isinstance(each, Mapping) for each in operations):
        kind = "object" if isinstance(operations, Mapping) else type(operations).__name__
        raise bad_request(f"json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch")
    if len(operations) > _MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}",
        )
    result = copy.deepcopy(target)
    for operation in operations:
        try:
            result = _apply_operation(result, operation)
        except (_PatchFailed, KeyError, TypeError, AttributeError) as error:
            raise _rejected() from error
    return result


class _PatchFailed(Exception):
    pass


def _rejected() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def _apply_operation(target: Any, operation: Mapping[str, Any]) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "add":
        return _add(target, path, copy.deepcopy(operation["value"]))
    if kind == "remove":
        return _remove(target, path)[0]
    if kind == "replace":
        _read(target, path)
        if not path:
            return copy.deepcopy(operation["value"])
        target, _ = _remove(target, path)
        return _add(target, path, copy.deepcopy(operation["value"]))
    if kind == "move":
        target, value = _remove(target, _pointer(operation["from"]))
        return _add(target, path, value)
    if kind == "copy":
        return _add(target, path, copy.deepcopy(_read(target, _pointer(operation["from"]))))
    if kind == "test":
        try:
            found = _read(target, path)
        except _PatchFailed:
            # A missing place equals null, as in the library the API server uses.
            found = None
        if not _equal(found, operation.get("value")):
            raise _PatchFailed(f"testing value {operation['path']} failed")
        return target
    raise _PatchFailed(f"Unexpected kind: {kind}")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)


def _pointer(text: str) -> list[str]:
    if not isinstance(text, str):
        raise _PatchFailed("the path is no text")
    if text == "":
        return []
    if not text.startswith("/"):
        raise _PatchFailed(f"bad path {text}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(parent: list[Any], part: str, *, adding: bool) -> int:
    if adding and part == "-":
        return len(parent)
    try:
        index = int(part)
    except ValueError as error:
        raise _PatchFailed(f"bad index {part}") from error
    limit = len(parent) + (1 if adding else 0)
    if index < 0:
        index += limit
    if not 0 <= index < limit:
        raise _PatchFailed(f"index {part} out of bounds")
    return index


def _read(target: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(target, dict):
            if part not in target:
                raise _PatchFailed(f"missing {part}")
            target = target[part]
        elif isinstance(target, list):
            target = target[_index(target, part, adding=False)]
        else:
            raise _PatchFailed(f"no way into {part}")
    return target


def _add(target: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _read(target, path[:-1])
    if isinstance(parent, dict):
        parent[path[-1]] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, path[-1], adding=True), value)
    else:
        raise _PatchFailed("no container")
    return target


def _remove(target: Any, path: Sequence[str]) -> tuple[Any, Any]:
    if not path:
        raise _PatchFailed("the whole document cannot be removed")
    parent = _read(target, path[:-1])
    if isinstance(parent, dict):
        if path[-1] not in parent:
            raise _PatchFailed(f"missing {path[-1]}")
        return target, parent.pop(path[-1])
    if isinstance(parent, list):
        return target, parent.pop(_index(parent, path[-1], adding=False))
    raise _PatchFailed("no container")


# --- strategic merge patch ------------------------------------------------------------------------------------

_DIRECTIVE: Final = "$patch"
_DELETE_PRIMITIVES: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"
_RETAIN: Final = "$retainKeys"


def apply_strategic_patch(target: Any, patch: Any, ftype: FieldType) -> Any:
    """A merge patch that knows lists: those with ``x-kubernetes-patch-strategy: merge`` merge by key or as sets.

    Knows the directives ``$patch: delete|replace|merge``, ``$deleteFromPrimitiveList/``, ``$setElementOrder/`` and
    ``$retainKeys`` (k8s.io/apimachinery/pkg/util/strategicpatch).

    Raises:
        ApiError: 400 for a malformed patch, 422 for a list item without its merge key.
    """
    if not isinstance(patch, dict):
        raise bad_request("invalid JSON document")
    return _merge_map(target if isinstance(target, dict) else {}, patch, ftype)


def _strategies(ftype: FieldType) -> tuple[str, ...]:
    return tuple(str(ftype.schema.get("x-kubernetes-patch-strategy", "")).split(","))


def _merge_map(target: dict[str, Any], patch: dict[str, Any], ftype: FieldType) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type found: {directive}")
    result = dict(target)
    if _RETAIN in patch:
        retained = patch[_RETAIN]
        if not isinstance(retained, list):
            raise bad_request("invalid patch format of retainKeys: the value must be a list")
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN) or key.startswith((_ORDER, _DELETE_PRIMITIVES)):
            continue
        inner = ftype.field(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            present = result.get(key)
            # "replace" is the strategy of a few unions, such as a Deployment's strategy beside retainKeys.
            fresh = not isinstance(present, dict) or _strategies(inner) == ("replace",)
            result[key] = _merge_map({} if fresh else cast("dict[str, Any]", present), value, inner)
        elif isinstance(value, list):
            result[key] = _merge_list(result.get(key), value, inner, patch.get(_ORDER + key))
        else:
            result[key] = value
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            name = key[len(_DELETE_PRIMITIVES) :]
            if name in result and isinstance(result[name], list) and isinstance(value, list):
                result[name] = [item for item in result[name] if item not in value]
        elif key.startswith(_ORDER):
            name = key[len(_ORDER) :]
            if isinstance(result.get(name), list) and isinstance(value, list):
                result[name] = _in_order(result[name], value, ftype.field(name))
    return result


def _merge_list(present: Any, patch: list[Any], ftype: FieldType, order: Any) -> list[Any]:
    if "merge" not in _strategies(ftype) or not isinstance(present, list):
        return _without_directives(patch)
    merge_key = str(ftype.schema.get("x-kubernetes-patch-merge-key", ""))
    if not merge_key:
        return present + [item for item in patch if item not in present]
    result = list(present)
    for item in patch:
        if not isinstance(item, dict):
            raise bad_request("invalid JSON document")
        if item.get(_DIRECTIVE) == "replace" and merge_key not in item:
            return _without_directives([each for each in patch if each.get(_DIRECTIVE) != "replace"])
        if merge_key not in item:
            raise ApiError(
                422,
                "Invalid",
                "the server rejected our request due to an error in our request",
                details={},
            )
        place = next((i for i, old in enumerate(result) if old.get(merge_key) == item[merge_key]), None)
        if item.get(_DIRECTIVE) == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.extend(_without_directives([item]))
        else:
            result[place] = _merge_map(result[place], item, ftype.element)
    return result


def _without_directives(items: list[Any]) -> list[Any]:
    """List items as values: directives out, items marked for deletion left out."""
    cleaned: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            if item.get(_DIRECTIVE) == "delete":
                continue
            cleaned.append({k: v for k, v in item.items() if not k.startswith("$")})
        else:
            cleaned.append(item)
    return cleaned


def _in_order(items: list[Any], order: list[Any], ftype: FieldType) -> list[Any]:
    merge_key = str(ftype.schema.get("x-kubernetes-patch-merge-key", ""))

    def identity(item: Any) -> Any:
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    wanted = [identity(each) for each in order]
    ranked = sorted(
        (item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item))
    )
    slots = iter(ranked)
    return [next(slots) if identity(item) in wanted else item for item in items]
