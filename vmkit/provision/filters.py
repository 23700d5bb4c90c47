"""The filters of template bodies: the few that manifests need, each with a bound on what it builds."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

from jinja2.runtime import Undefined

from vmkit.provision.values import MAX_TEXT, BodyFailure, as_text, expect_text, kind_of, plain_value
from vmkit.units import format_bytes, format_cores, parse_bytes, parse_quantity


def bounded_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise BodyFailure(f"a text of more than {MAX_TEXT} characters")
    return text


def _default(value: Any, other: Any = "") -> Any:
    return other if value is None or isinstance(value, Undefined) else value


def _replace(value: Any, old: str, new: str) -> str:
    text = expect_text(value, "replace")
    if not old:
        raise BodyFailure("replace wants a text to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise BodyFailure(f"a text of more than {MAX_TEXT} characters")
    return text.replace(old, new)


def _join(values: Any, separator: str = "") -> str:
    if not isinstance(values, list | tuple):
        raise BodyFailure(f"join wants a list, not {kind_of(values)}")
    texts = [as_text(value) for value in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_TEXT:
        raise BodyFailure(f"a text of more than {MAX_TEXT} characters")
    return separator.join(texts)


def _length(value: Any) -> int:
    if isinstance(value, str | Sequence | Mapping):
        return len(value)
    raise BodyFailure(f"length wants a list or a text, not {kind_of(value)}")


def _int(value: Any) -> int:
    if isinstance(value, str | int | float):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    raise BodyFailure(f"{str(value)[:40]!r} is not a whole number")


def _first(values: Any) -> Any:
    if isinstance(values, list | tuple) and values:
        return values[0]
    raise BodyFailure("first wants a list that is not empty")


def _last(values: Any) -> Any:
    if isinstance(values, list | tuple) and values:
        return values[-1]
    raise BodyFailure("last wants a list that is not empty")


def _sort(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return sorted(values)
    raise BodyFailure(f"sort wants a list, not {kind_of(values)}")


def _unique(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return list(dict.fromkeys(values))
    raise BodyFailure(f"unique wants a list, not {kind_of(values)}")


def _base64(value: Any) -> str:
    return bounded_text(base64.b64encode(expect_text(value, "base64").encode()).decode())


def _json(value: Any) -> str:
    return bounded_text(json.dumps(plain_value(value), ensure_ascii=False))


FILTERS: Final[dict[str, Any]] = {
    "base64": _base64,
    "bytes": parse_bytes,
    "cores": lambda value: float(parse_quantity(value)),
    "default": _default,
    "first": _first,
    "format_bytes": lambda value: format_bytes(_int(value)),
    "format_cores": lambda value: format_cores(Decimal(str(value))),
    "int": _int,
    "join": _join,
    "json": _json,
    "last": _last,
    "length": _length,
    "lower": lambda value: expect_text(value, "lower").lower(),
    "replace": _replace,
    "sort": _sort,
    "trim": lambda value: expect_text(value, "trim").strip(),
    "unique": _unique,
    "shell": lambda value: bounded_text(shlex.quote(as_text(value))),
    "upper": lambda value: bounded_text(expect_text(value, "upper").upper()),
    "xml": lambda value: bounded_text(escape(as_text(value), {'"': "&quot;", "'": "&apos;"})),
}
"""What bodies may pipe values through; docs/templates.md lists them."""
