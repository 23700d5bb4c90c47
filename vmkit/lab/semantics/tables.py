"""Objects as rows of a ``meta.k8s.io/v1`` Table, the way the server prints them for kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.lab.clock import parse_time
from vmkit.lab.resources import Column, Object, ResourceType
from vmkit.lab.semantics.jsonpath import find_all
from vmkit.lab.status import bad_request

# The API's own documentation of the two columns that every kind has, as a server sends it.
NAME_DESCRIPTION: Final = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources "
    "may allow a client to request the generation of an appropriate name automatically. Name is primarily "
    "intended for creation idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
AGE_DESCRIPTION: Final = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
    "guaranteed to be set in happens-before order across separate operations. Clients may not set this "
    "value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for "
    "lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)

_NAME: Final = Column("Name", format="name", description=NAME_DESCRIPTION, path=".metadata.name")
_CUSTOM_AGE: Final = Column("Age", type="date", description=AGE_DESCRIPTION, path=".metadata.creationTimestamp")
_CREATED_AT: Final = Column(
    "Created At",
    type="date",
    description=AGE_DESCRIPTION,
    value=lambda obj, at: obj["metadata"].get("creationTimestamp"),
)


def columns_of(rtype: ResourceType) -> Sequence[Column]:
    """The columns of a type, its name first."""
    if rtype.columns:
        return (_NAME, *rtype.columns)
    return (_NAME, _CUSTOM_AGE if rtype.custom else _CREATED_AT)


def build_table(
    rtype: ResourceType,
    objects: Iterable[Object],
    *,
    at: datetime,
    metadata: Mapping[str, Any],
    include: str = "Metadata",
    with_columns: bool = True,
) -> Object:
    """A Table of objects.

    Args:
        at: the present instant, for ages.
        metadata: list metadata (resourceVersion, continue ...).
        include: what each row carries: "Metadata", "Object" or "None".
        with_columns: whether column definitions are written (watch events after the first leave them out).
    """
    columns = columns_of(rtype)
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata),
        "columnDefinitions": definitions if with_columns else None,
        "rows": [_row(obj, columns, at, include) for obj in objects],
    }


def _row(obj: Object, columns: Sequence[Column], at: datetime, include: str) -> Object:
    if include not in ("", "None", "Metadata", "Object"):
        raise bad_request(f'unrecognized includeObject value: "{include}"')
    row: Object = {"cells": [_cell(column, obj, at) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include in ("", "Metadata"):
        row["object"] = to_partial(obj)
    else:
        row["object"] = None
    return row


def to_partial(obj: Object) -> Object:
    """An object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _cell(column: Column, obj: Object, at: datetime) -> Any:
    if column.value is not None:
        return column.value(obj, at)
    found = find_all(column.path, obj)
    if not found:
        return None
    value = found[0]
    if column.type == "date":
        return age(value, at) if isinstance(value, str) else "<unknown>"
    if column.type in ("integer", "number"):
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        # Several results of a wildcard stand side by side.
        return str(value) if len(found) == 1 else ",".join(str(each) for each in found)
    return None if value is None else _go_text(value)


def _go_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_text(each) for each in value) + "]"
    return {True: "true", False: "false", None: "<nil>"}.get(value, str(value)) if not value else str(value)


def age(timestamp: str | None, at: datetime) -> str:
    """How long ago, in kubectl's short form ("5m30s"); "<unknown>" for none."""
    if not timestamp:
        return "<unknown>"
    try:
        then = parse_time(timestamp)
    except ValueError:
        return "<invalid>"
    return format_age(at - then)


def format_age(delta: timedelta) -> str:
    """k8s.io/apimachinery/pkg/util/duration.HumanDuration."""
    seconds = int(delta.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    minutes, hours = seconds // 60, seconds // 3600
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _pair(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _pair(hours // 24 // 365, "y", hours // 24 % 365, "d")
    return f"{hours // 24 // 365}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
