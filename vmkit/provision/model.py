"""What a template is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vmkit.provision.parameters import Parameter, ParameterType

API_VERSION: Final = "vmkit.io/v1"
KIND: Final = "Template"

BUILT_IN_NAMES: Final = ("name", "namespace", "index", "storage", "mac", "template", "range")
"""What bodies see besides the answers; no parameter may be called so."""


@dataclass(frozen=True, slots=True)
class TemplateBody:
    """One Jinja2 body.

    Attributes:
        name: what people call it ("vm").
        source: the Jinja2 text.
        line: the file's line on which the source begins.
        indent: how far the file indents the source, in columns.
    """

    name: str
    source: str
    line: int
    indent: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template file, read.

    Attributes:
        name: what ``-t`` takes.
        title: one line for lists.
        description: what it is for, what it assumes; several lines.
        experimental: whether it is marked as not proven.
        labels: words to find it by ("linux", "rook").
        parameters: the questions, in the file's order.
        bodies: what it renders, in the file's order.
        where: the file for messages, or what the text was called.
        path: the file; None where it came from a text.
        origin: where it was found: "given", "project", "user" or "shipped".
    """

    name: str
    title: str
    description: str
    experimental: bool
    labels: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    bodies: tuple[TemplateBody, ...]
    where: str
    path: Path | None = None
    origin: str = "given"

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def of_type(self, *types: ParameterType) -> tuple[Parameter, ...]:
        """The parameters of those types."""
        return tuple(parameter for parameter in self.parameters if parameter.type in types)

    def to_dict(self) -> dict[str, Any]:
        """As ``vmkit template list -o json`` and ``show -o json`` give it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "experimental": self.experimental,
            "labels": list(self.labels),
            "origin": self.origin,
            "path": str(self.path) if self.path is not None else "",
            "parameters": [parameter.to_dict() for parameter in self.parameters],
            "objects": [body.name for body in self.bodies],
        }
