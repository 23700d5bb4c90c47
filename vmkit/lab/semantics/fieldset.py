"""Sets of field paths, as ``managedFields`` writes them (FieldsV1).

A path step is written as in FieldsV1: ``f:name``, ``k:{"name":"x"}``, ``v:"x"``, ``i:0``. The operations are
those of
structured-merge-diff's fieldpath.Set; all of them return new sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vmkit.lab.semantics.types import FieldType


class FieldSet:
    """A node of the set: ``here`` says whether the path up to this node is a member."""

    __slots__ = ("children", "here")

    def __init__(self, *, here: bool = False, children: dict[str, FieldSet] | None = None) -> None:
        self.here = here
        self.children: dict[str, FieldSet] = {} if children is None else children

    def __bool__(self) -> bool:
        return self.here or bool(self.children)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and self.here == other.here and self.children == other.children

    __hash__ = None  # type: ignore[assignment]

    # --- FieldsV1 --------------------------------------------------------------------------------------

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> FieldSet:
        """Reads FieldsV1.

        Raises:
            ValueError: a step is none of f:, k:, v:, i:, or a part is no object.
        """
        node = cls()
        for step, inner in fields.items():
            if not isinstance(inner, Mapping):
                raise ValueError(f"fieldsV1: {step!r} is not an object")
            if step == ".":
                continue
            if step[:2] not in ("f:", "k:", "v:", "i:"):
                raise ValueError(f"fieldsV1: unknown step {step!r}")
            child = cls.read(inner)
            child.here = not child.children or "." in inner
            node.children[step] = child
        return node

    def write(self) -> dict[str, Any]:
        """Writes FieldsV1, steps in order."""
        document: dict[str, Any] = {}
        for step in sorted(self.children):
            child = self.children[step]
            if child.here and child.children:
                document[step] = {".": {}, **child.write()}
            else:
                document[step] = child.write()
        return document

    # --- algebra ---------------------------------------------------------------------------------------

    def union(self, other: FieldSet) -> FieldSet:
        """Paths of either."""
        if not other:
            return self
        children = dict(self.children)
        for step, theirs in other.children.items():
            ours = children.get(step)
            children[step] = theirs if ours is None else ours.union(theirs)
        return FieldSet(here=self.here or other.here, children=children)

    def difference(self, other: FieldSet) -> FieldSet:
        """Paths of this one that the other has not."""
        if not other:
            return self
        children: dict[str, FieldSet] = {}
        for step, ours in self.children.items():
            theirs = other.children.get(step)
            left = ours if theirs is None else ours.difference(theirs)
            if left:
                children[step] = left
        return FieldSet(here=self.here and not other.here, children=children)

    def intersection(self, other: FieldSet) -> FieldSet:
        """Paths of both."""
        children: dict[str, FieldSet] = {}
        for step, ours in self.children.items():
            theirs = other.children.get(step)
            if theirs is not None:
                both = ours.intersection(theirs)
                if both:
                    children[step] = both
        return FieldSet(here=self.here and other.here, children=children)

    def with_named_fields(self, ftype: FieldType) -> FieldSet:
        """Adds every struct field on the way to a member (Set.EnsureNamedFieldsAreMembers)."""
        children: dict[str, FieldSet] = {}
        for step, child in self.children.items():
            inner = child.with_named_fields(step_type(ftype, step))
            if child.children and step[:2] == "f:" and ftype.has_field(step[2:]) and not inner.here:
                inner = FieldSet(here=True, children=inner.children)
            children[step] = inner
        return FieldSet(here=self.here, children=children)

    def paths(self, prefix: str = "") -> Iterator[str]:
        """Every member, written as in conflict messages: ``.spec.volumes[name="root"].size``."""
        for step in sorted(self.children):
            child = self.children[step]
            path = prefix + format_step(step)
            if child.here:
                yield path
            yield from child.paths(path)


def step_type(ftype: FieldType, step: str) -> FieldType:
    """The type found by going one step down."""
    return ftype.field(step[2:]) if step[:2] == "f:" else ftype.element


def format_step(step: str) -> str:
    """One step as structured-merge-diff prints it (fieldpath.PathElement.String)."""
    kind, text = step[:2], step[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "k:":
        pairs = json.loads(text)
        return "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(pairs.items())) + "]"
    if kind == "v:":
        return f"[={text}]"
    return f"[{text}]"


def item_step(ftype: FieldType, item: Any, index: int) -> str:
    """The step to a list's item; items without their keys are told apart by position."""
    if ftype.is_set:
        return f"v:{json.dumps(item, separators=(',', ':'), sort_keys=True)}"
    if ftype.keys and isinstance(item, Mapping):
        pairs = {}
        for key in ftype.keys:
            if key in item:
                pairs[key] = item[key]
            elif key in ftype.key_defaults:
                pairs[key] = ftype.key_defaults[key]
        if pairs:
            return f"k:{json.dumps(pairs, separators=(',', ':'), sort_keys=True)}"
    return f"i:{index}"
