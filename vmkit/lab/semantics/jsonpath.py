"""The JSONPath of printer columns: fields, indices, ``[*]`` and simple filters
(k8s.io/client-go/util/jsonpath).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[\?\(@\.(?P<where>[\w./-]+)\s*(?P<operator>==|!=)\s*(?P<literal>"[^"]*"|'[^']*'|[\w.-]+)\s*\)\]
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | \[(?P<index>-?\d+)\]
      | (?P<every>\[\*\]|\.\*)""",
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[tuple[str, str, str], ...]:
    path = path.strip().removeprefix("{").removesuffix("}")
    if not path.startswith((".", "[")):
        path = "." + path
    steps: list[tuple[str, str, str]] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return ()
        if match["field"] is not None:
            steps.append(("field", re.sub(r"\\(.)", r"\1", match["field"]), ""))
        elif match["where"] is not None:
            steps.append(("where" + match["operator"], match["where"], match["literal"].strip("\"'")))
        elif match["quoted"] is not None:
            steps.append(("field", match["quoted"], ""))
        elif match["index"] is not None:
            steps.append(("index", match["index"], ""))
        else:
            steps.append(("every", "", ""))
        position = match.end()
    return tuple(steps)


def find_all(path: str, obj: Any) -> list[Any]:
    """Every value a path leads to; a path that makes no sense leads nowhere."""
    steps = _steps(path)
    found = [obj] if steps else []
    for kind, name, literal in steps:
        found = [inner for value in found for inner in _step(value, kind, name, literal)]
    return found


def find_first(path: str, obj: Any) -> Any:
    """The first value a path leads to, or None."""
    found = find_all(path, obj)
    return found[0] if found else None


def _step(value: Any, kind: str, name: str, literal: str) -> Iterator[Any]:
    if kind == "field":
        if isinstance(value, Mapping) and name in value:
            yield value[name]
    elif kind == "index":
        if isinstance(value, list) and -len(value) <= int(name) < len(value):
            yield value[int(name)]
    elif kind == "every":
        if isinstance(value, list):
            yield from value
        elif isinstance(value, Mapping):
            yield from value.values()
    elif isinstance(value, list):
        for item in value:
            inner = find_first("." + name, item)
            if (str(inner) == literal) == (kind == "where=="):
                yield item


def set_path(path: str, obj: dict[str, Any], value: Any) -> None:
    """Writes to a path of plain fields, making objects on the way."""
    names = [name for kind, name, _ in _steps(path) if kind == "field"]
    for name in names[:-1]:
        inner = obj.get(name)
        if not isinstance(inner, dict):
            inner = obj[name] = {}
        obj = inner
    obj[names[-1]] = value
