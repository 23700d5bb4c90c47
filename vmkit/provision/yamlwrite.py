"""Writing YAML that every reader understands alike, quickly.

The writer covers JSON's values. Texts that any YAML reader (1.1 or 1.2) could take for something else are quoted;
texts of several lines become literal blocks where a literal block can carry them exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

# Plain only what is a word in every YAML: no indicator, no leading digit, sign or dot, nothing like "a: b" or "a
# #b".
_PLAIN: Final = re.compile(r"[A-Za-z_/][-A-Za-z0-9_./+@=]*(?:[ :][-A-Za-z0-9_./+@=]+)*|[0-9]+[KMGTPE]i")
# What some reader takes for a boolean, a null or a number (YAML 1.1 type repository; "=" and "<<" included).
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "inf", "nan"})
# A literal block carries printable text without surprises: no other line breaks, no trailing blanks, no tabs at
# line starts, a first line that does not begin with a blank.
_BLOCK: Final = re.compile(
    r"(?![ \t\n])(?:[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff])+\n"
)
_TRAILING_BLANK: Final = re.compile(r"[ \t]\n|\n\t")
_ESCAPES: Final = re.compile('[\x00-\x1f"\\\\\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]')
_NAMED: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

Scalar = Callable[[Any], str | None]


def write_yaml(value: Any, *, scalar: Scalar | None = None) -> str:
    """Writes one value (JSON's types) as block-style YAML, ending in a line break.

    Args:
        scalar: asked first for the text of every value; None leaves it to the writer.

    Raises:
        TypeError: a value that JSON does not have.
    """
    return "\n".join(_lines(value, "", scalar or _no_scalar)) + "\n"


def write_documents(values: list[Any]) -> str:
    """Several values as one multi-document text."""
    return "---\n".join(write_yaml(value) for value in values)


def _no_scalar(_: Any) -> str | None:
    return None


def _lines(value: Any, indent: str, scalar: Scalar) -> Iterator[str]:
    own = scalar(value)
    if own is None and value and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(
                f"{indent}{scalar(key) or write_key(key)}:", item, indent + "  ", scalar, in_list=False
            )
    elif own is None and value and isinstance(value, list | tuple):
        for item in value:
            yield from _entry(f"{indent}-", item, indent + "  ", scalar, in_list=True)
    else:
        yield indent + (own if own is not None else write_scalar(value))


def _entry(head: str, item: Any, indent: str, scalar: Scalar, *, in_list: bool) -> Iterator[str]:
    own = scalar(item)
    if own is not None:
        yield f"{head} {own}"
    elif item and isinstance(item, Mapping | list | tuple):
        if in_list:
            # The first line of an item stands beside its dash.
            lines = _lines(item, indent, scalar)
            yield f"{head} {next(lines)[len(indent) :]}"
            yield from lines
        else:
            yield head
            yield from _lines(item, indent, scalar)
    elif isinstance(item, str) and "\n" in item and _can_be_block(item):
        ends = item.endswith("\n")
        yield f"{head} {'|' if ends else '|-'}"
        for line in (item[:-1] if ends else item).split("\n"):
            yield indent + line if line else ""
    else:
        yield f"{head} {write_scalar(item)}"


def _can_be_block(text: str) -> bool:
    text = text if text.endswith("\n") else text + "\n"
    return (
        _BLOCK.fullmatch(text) is not None and _TRAILING_BLANK.search(text) is None and not text.endswith("\n\n")
    )


def write_key(key: str) -> str:
    """A mapping's key."""
    if not isinstance(key, str):
        raise TypeError(f"a key has to be a text, not {key!r}")
    return write_scalar(key)


def write_scalar(value: Any) -> str:
    """One value on one line.

    Raises:
        TypeError: a value that JSON does not have.
    """
    if isinstance(value, str):
        return value if is_plain(value) else quote(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # repr() may give "1e+16", which YAML 1.1 takes for a text; it wants a point.
        text = json.dumps(value, allow_nan=False)
        return text if "." in text else text.replace("e", ".0e") if "e" in text else text
    if isinstance(value, Mapping) and not value:
        return "{}"
    if isinstance(value, list | tuple) and not value:
        return "[]"
    raise TypeError(f"{type(value).__name__} cannot be written as YAML")


def is_plain(text: str) -> bool:
    """Whether the text needs no quotes in any YAML."""
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS


def quote(text: str) -> str:
    """A double-quoted YAML string."""
    return f'"{_ESCAPES.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
