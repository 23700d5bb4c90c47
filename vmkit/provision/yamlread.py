"""Reading YAML strictly: one meaning for every text, a place for every mistake.

What is understood is the JSON subset of YAML 1.2: null, booleans, decimal numbers, strings, lists and mappings
with string keys. What other readers disagree about is either plain text here (``yes``, ``0755``, ``12:30``,
``2026-01-01``) or refused with its line and column: duplicate keys, anchors and aliases, merge keys, unknown tags.
Numbers and nulls that kubectl reads, this reads alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from vmkit.errors import ManifestError, PositionedError

try:  # the parser written in C is ten times as fast; wheels of PyYAML carry it, some distributions do not
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # pragma: no cover
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

_STRING: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_BOOL: Final = "tag:yaml.org,2002:bool"
_INT: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_CONTAINERS: Final = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}

MAX_DEPTH: Final = 60
"""Deeper nesting than any Kubernetes object has."""
MAX_CHARACTERS: Final = 3 * 2**20
"""Twice what etcd stores for one object (1.5 MiB), so that lists of a few objects still pass."""


_SUSPICIOUS: Final = 500
_DEEP_LINE: Final = re.compile(r"(?m)^[-?: ]{500}")


class _Loader(_BaseLoader):
    """The safe loader with YAML 1.2's core types only."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", [*"~nN", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    # A leading zero is an octal to some readers and a decimal to others: such text stays text.
    (_INT, r"[-+]?(?:0|[1-9][0-9]*)", [*"-+0123456789"]),
    (_FLOAT, r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", [*"-+0123456789"]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text; line and column count from 1."""

    line: int
    column: int


Locate = Callable[[Position], Position]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, and where each part of it stands, by path ("spec", 0, "name").

    ``blocks`` has the line on which the content of each literal block begins.
    """

    value: Any
    positions: Mapping[tuple[str | int, ...], Position]
    blocks: Mapping[tuple[str | int, ...], int]

    def position(self, *path: str | int) -> Position:
        """Where ``path`` stands; where nothing stands there, the nearest parent that does."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))


def compose_documents(
    text: str, *, where: str, error: type[PositionedError] = ManifestError, locate: Locate | None = None
) -> Iterator[Node]:
    """The node trees of the documents in ``text``; empty documents are left out.

    Args:
        where: the file, named in errors.
        error: the class of error to raise.
        locate: turns a place in ``text`` into the place people know (a template's file).

    Raises:
        PositionedError: of class ``error``: this is no YAML.
    """
    if len(text) > MAX_CHARACTERS:
        raise error(f"more than {MAX_CHARACTERS} characters of YAML", where=where)
    _check_depth(text, where, error)
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None and not (isinstance(node, ScalarNode) and node.tag == _NULL):
                yield node
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
        raise positioned(
            error, f"not YAML: {problem.problem or problem.context}", where, place, locate, hint=_hint(problem)
        ) from None
    except yaml.reader.ReaderError as problem:
        before = text[: problem.position] if isinstance(problem.position, int) else ""
        place = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise positioned(
            error, f"not YAML: character {problem.character!r} is not allowed", where, place, locate
        ) from None
    except RecursionError:
        raise error(f"nested deeper than {MAX_DEPTH} levels", where=where) from None
    finally:
        loader.dispose()


def _check_depth(text: str, where: str, error: type[PositionedError]) -> None:
    # The parser's composer recurses in C, where endless nesting would end the process. Only a text with many
    # brackets, or a line that begins with very many indicators, can nest deeply; such a text is walked event by
    # event first.
    if text.count("[") + text.count("{") < _SUSPICIOUS and not _DEEP_LINE.search(text):
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                assert event.start_mark is not None
                depth += 1
                if depth > MAX_DEPTH:
                    raise error(
                        f"nested deeper than {MAX_DEPTH} levels", where=where, line=event.start_mark.line + 1
                    )
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return  # said with its place by the composer, which stops at the same character


def _hint(problem: yaml.MarkedYAMLError) -> str:
    said = f"{problem.problem} {problem.context}"
    if "\\t" in said or "'\t'" in said:
        return "indent with spaces; YAML allows no tabs"
    if "mapping values are not allowed" in said:
        return "quote a value that contains ': '"
    if "flow" in said:
        return "close every [ and {, and quote values that contain them"
    if "block" in said:
        return "check the indentation of this line and the one before it"
    return ""


def positioned(
    error: type[PositionedError],
    message: str,
    where: str,
    place: Position,
    locate: Locate | None = None,
    *,
    hint: str = "",
) -> PositionedError:
    """An error at a place, the place translated by ``locate``."""
    if locate is not None:
        place = locate(place)
    return error(message, where=where, line=place.line, column=place.column, hint=hint)


def start_of(node: Node) -> Position:
    """Where a node begins."""
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def scalar_value(node: ScalarNode, fail: Callable[[Node, str, str], Exception]) -> Any:
    """The plain value of a scalar.

    Args:
        fail: builds the error for a node, a message and a hint.
    """
    tag, text = node.tag, node.value
    if tag == _STRING:
        return text
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text[0] in "tT"
    if tag == _INT:
        if len(text) > 20:
            raise fail(node, f"the number {text[:20]}... is larger than Kubernetes can hold", "")
        return int(text)
    if tag == _FLOAT:
        return float(text)
    raise fail(node, f"unknown tag {tag!r}", "quote the text if it only begins with '!'")


def check_container(node: Node, seen: set[int], depth: int, fail: Callable[[Node, str, str], Exception]) -> None:
    """Refuses what makes one YAML text mean different things: aliases, foreign tags, endless nesting."""
    if id(node) in seen:
        raise fail(node, "anchors and aliases are not understood here", "write the value out")
    seen.add(id(node))
    if depth > MAX_DEPTH:
        raise fail(node, f"nested deeper than {MAX_DEPTH} levels", "")
    if not isinstance(node, ScalarNode) and node.tag not in _CONTAINERS:
        raise fail(node, f"unknown tag {node.tag!r}", "")


def read_documents(text: str, *, where: str, error: type[PositionedError] = ManifestError) -> list[Document]:
    """Reads every document of a text.

    Raises:
        PositionedError: of class ``error``, with line and column.
    """
    return [_document(node, where, error) for node in compose_documents(text, where=where, error=error)]


def _document(root: Node, where: str, error: type[PositionedError]) -> Document:
    positions: dict[tuple[str | int, ...], Position] = {}
    blocks: dict[tuple[str | int, ...], int] = {}
    seen: set[int] = set()

    def fail(node: Node, message: str, hint: str = "") -> Exception:
        return positioned(error, message, where, start_of(node), hint=hint)

    def build(node: Node, path: tuple[str | int, ...]) -> Any:
        check_container(node, seen, len(path), fail)
        positions[path] = start_of(node)
        if isinstance(node, ScalarNode):
            if node.style == "|":
                # The mark stands at the "|"; the content begins on the next line.
                blocks[path] = node.start_mark.line + 2
            return scalar_value(node, fail)
        if isinstance(node, SequenceNode):
            return [build(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = read_key(key_node, fail)
            if key in mapping:
                raise fail(key_node, f"the key {key!r} stands here twice", "remove one of the two")
            mapping[key] = build(value_node, (*path, key))
            # An error about a value is best shown at its key.
            positions[(*path, key)] = start_of(key_node)
        return mapping

    try:
        return Document(build(root, ()), positions, blocks)
    except RecursionError:
        raise error(f"nested deeper than {MAX_DEPTH} levels", where=where) from None


def read_key(node: Node, fail: Callable[[Node, str, str], Exception]) -> str:
    """A mapping's key as text: numbers and words as they are written ("8080", "on")."""
    if not isinstance(node, ScalarNode):
        raise fail(node, "a key has to be a text", "quote it, if it begins with '{' or '['")
    if node.tag == _NULL and not node.value:
        raise fail(node, "a key is missing", "")
    if node.value == "<<" and not node.style:
        raise fail(node, "merge keys are not understood here", "write the values out")
    if node.tag not in {_STRING, _NULL, _BOOL, _INT, _FLOAT}:
        raise fail(node, f"unknown tag {node.tag!r}", "")
    return str(node.value)


class DocumentReader:
    """One document and its file, for errors that know their place."""

    error_type: ClassVar[type[PositionedError]] = ManifestError

    def __init__(self, document: Document, where: str) -> None:
        self.document = document
        self.where = where

    def error(self, message: str, *path: str | int, hint: str = "") -> PositionedError:
        """The error about what stands at a path of the document."""
        place = self.document.position(*path)
        return self.error_type(message, hint=hint, where=self.where, line=place.line, column=place.column)

    def check_keys(self, mapping: Mapping[str, Any], known: Iterable[str], *path: str | int) -> None:
        """Refuses keys that nobody knows, with the nearest one that is known."""
        for key in mapping:
            if key not in known:
                close = difflib.get_close_matches(key, list(known), 1)
                raise self.error(
                    f"unknown key {key!r}", *path, key,
                    hint=f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}",
                )  # fmt: skip
