"""From the text a body rendered to the manifests it means: parse once, fill in values.

The text holds tokens where values were printed. It is parsed with the tokens in it, so that what a value contains
cannot matter to the parser; then each token gives way to its value. Many VMs of one template differ in their
values only: their texts are equal, and the parsed skeleton is used again.

A scalar that is one token and nothing else becomes the value itself, typed; in quotes, its text. Where the value
is none, the key or list item is left out. A token inside a longer scalar becomes its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from vmkit.errors import TemplateError
from vmkit.provision.cloudconfig import write_cloud_config
from vmkit.provision.sandbox import TOKEN
from vmkit.provision.values import BodyFailure, as_text
from vmkit.provision.yamlread import (
    Locate,
    check_container,
    compose_documents,
    positioned,
    read_key,
    scalar_value,
    start_of,
)

Fill = Callable[[Sequence[Any]], Any]

CLOUD_CONFIG_TAG: Final = "!cloud-config"
"""A mapping so tagged becomes the text of a #cloud-config document."""

# Label and annotation keys, config map keys, field names: what a printed key may look like.
_KEY: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


class _LeftOut:
    """The value of a key or item that is none."""


_LEFT_OUT: Final = _LeftOut()


def parse_skeletons(text: str, *, where: str, locate: Locate | None = None) -> list[Fill]:
    """Parses a rendered text; each document becomes a function from the printed values to a manifest.

    Raises:
        TemplateError: the text is no YAML, or has something manifests do not (aliases, unknown tags ...).
    """
    seen: set[int] = set()

    def fail(node: Node, message: str, hint: str = "") -> Exception:
        return positioned(TemplateError, _without_tokens(message), where, start_of(node), locate, hint=hint)

    return [
        _build(root, seen, 0, fail)
        for root in compose_documents(text, where=where, error=TemplateError, locate=locate)
    ]


def _without_tokens(message: str) -> str:
    return TOKEN.sub("{{ ... }}", message)


def _build(node: Node, seen: set[int], depth: int, fail: Callable[..., Exception]) -> Fill:
    tag = node.tag
    if tag == CLOUD_CONFIG_TAG:
        return _build_cloud_config(node, seen, depth, fail)
    check_container(node, seen, depth, fail)
    if isinstance(node, ScalarNode):
        return _build_scalar(node, fail)
    if isinstance(node, SequenceNode):
        return _sequence([_build(item, seen, depth + 1, fail) for item in node.value])
    assert isinstance(node, MappingNode)
    fixed: dict[str, Fill] = {}
    printed: list[tuple[Fill, Fill]] = []
    for key_node, value_node in node.value:
        value = _build(value_node, seen, depth + 1, fail)
        if isinstance(key_node, ScalarNode) and TOKEN.search(key_node.value):
            printed.append((_text(key_node.value), value))
            continue
        key = read_key(key_node, fail)
        if key in fixed:
            raise fail(key_node, f"the key {key!r} stands here twice", "remove one of the two")
        fixed[key] = value
    return _mapping(list(fixed.items()), printed)


def _build_scalar(node: ScalarNode, fail: Callable[..., Exception]) -> Fill:
    text = node.value
    whole = TOKEN.fullmatch(text)
    if whole is not None:
        index = int(whole[1])
        if not node.style:
            return _hole(index)
        return lambda values: _text_of(values, index)
    if TOKEN.search(text):
        return _text(text)
    constant = scalar_value(node, fail)
    return lambda _: constant


def _hole(index: int) -> Fill:
    def fill(values: Sequence[Any]) -> Any:
        value = values[index]
        if value is None:
            return _LEFT_OUT
        return value if isinstance(value, str | int | float) else _copy(value)

    return fill


def _copy(value: Any) -> Any:
    # A value may be printed twice; manifests are changed in place later, so they share nothing.
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _text_of(values: Sequence[Any], index: int) -> str:
    try:
        return as_text(values[index])
    except BodyFailure as failure:
        failure.token = index
        raise


def _text(text: str) -> Fill:
    pieces = TOKEN.split(text)
    constants, indexes = pieces[::2], [int(piece) for piece in pieces[1::2]]
    if len(indexes) == 1:
        before, after = constants
        only = indexes[0]
        return lambda values: f"{before}{_text_of(values, only)}{after}"

    def fill(values: Sequence[Any]) -> str:
        parts = [constants[0]]
        for index, constant in zip(indexes, constants[1:], strict=True):
            parts.append(_text_of(values, index))
            parts.append(constant)
        return "".join(parts)

    return fill


def _sequence(items: list[Fill]) -> Fill:
    def fill(values: Sequence[Any]) -> list[Any]:
        return [value for item in items if (value := item(values)) is not _LEFT_OUT]

    return fill


def _mapping(fixed: list[tuple[str, Fill]], printed: list[tuple[Fill, Fill]]) -> Fill:
    def fill(values: Sequence[Any]) -> dict[str, Any]:
        return {key: value for key, item in fixed if (value := item(values)) is not _LEFT_OUT}

    if not printed:
        return fill

    def fill_printed(values: Sequence[Any]) -> dict[str, Any]:
        mapping = fill(values)
        for key_fill, item in printed:
            key = key_fill(values)
            if not _KEY.fullmatch(key):
                raise BodyFailure(
                    f"{key[:80]!r} cannot be a key",
                    "a key is made of letters, digits, '-', '_' and '.', with at most one prefix before a '/'",
                )
            if key in mapping:
                raise BodyFailure(f"the key {key!r} would stand there twice")
            value = item(values)
            if value is not _LEFT_OUT:
                mapping[key] = value
        return mapping

    return fill_printed


def _build_cloud_config(node: Node, seen: set[int], depth: int, fail: Callable[..., Exception]) -> Fill:
    if not isinstance(node, MappingNode):
        raise fail(node, f"{CLOUD_CONFIG_TAG} wants a mapping", "write the cloud-init keys below it")
    node.tag = "tag:yaml.org,2002:map"
    content = _build(node, seen, depth, fail)
    return lambda values: write_cloud_config(content(values))
