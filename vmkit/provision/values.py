"""What bodies print: JSON's values, as themselves and as texts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from jinja2.runtime import Undefined

MAX_TEXT: Final = 256 * 1024
"""Characters of any text a body builds; a Secret holds 1 MiB in all."""


class BodyFailure(Exception):
    """What went wrong while a body ran; `render` adds the place.

    Attributes:
        token: the number of the printed value it is about, where it is about one.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.token: int | None = None


def kind_of(value: Any) -> str:
    if value is None:
        return "none"
    for types, name in (
        (bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a text"),
        (Mapping, "a mapping"), (list | tuple, "a list"),
    ):  # fmt: skip
        if isinstance(value, types):
            return name
    return "something that is no value"


def plain_value(value: Any) -> Any:
    """The value as JSON has it, lists and mappings copied.

    Raises:
        BodyFailure: it is no such value.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BodyFailure("prints a number that is not finite")
        return value
    if isinstance(value, Undefined):
        str(value)  # raises jinja2's own error, which names what is missing
    if isinstance(value, Mapping):
        return {expect_text(key, "a key"): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    raise BodyFailure(f"prints {kind_of(value)}", "print a name, an answer or an expression of them")


def as_text(value: Any) -> str:
    """The value inside a longer text.

    Raises:
        BodyFailure: none, a list or a mapping has no obvious text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return json.dumps(value)
    if value is None:
        raise BodyFailure("puts a value that is not set into a text", 'write {{ value | default("...") }}')
    raise BodyFailure(f"puts {kind_of(value)} into a text", 'write {{ values | join(", ") }}')


def expect_text(value: Any, what: str) -> str:
    """The value, which has to be a text.

    Raises:
        BodyFailure: it is none.
    """
    if isinstance(value, Undefined):
        return str(value)  # raises jinja2's own error, which names what is missing
    if not isinstance(value, str):
        raise BodyFailure(f"{what} wants a text, not {kind_of(value)}")
    return value
