"""Reading a template file: every mistake with its line and column."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from vmkit.errors import InputError, TemplateError
from vmkit.provision.model import API_VERSION, BUILT_IN_NAMES, KIND, Template, TemplateBody
from vmkit.provision.parameters import Parameter, ParameterType, check_default
from vmkit.provision.yamlread import MAX_CHARACTERS, DocumentReader, read_documents
from vmkit.units import parse_quantity

_TEMPLATE_KEYS: Final = (
    "apiVersion", "kind", "name", "title", "description", "experimental", "labels", "parameters", "objects",
)  # fmt: skip
_PARAMETER_KEYS: Final = (
    "name", "type", "help", "default", "required", "minimum", "maximum", "pattern", "choices", "unit", "secret",
    "example",
)  # fmt: skip
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PARAMETER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
# Words of the body language: a parameter so called could not be used.
_JINJA_WORDS: Final = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "elif",
        "for",
        "endfor",
        "endif",
        "set",
        "with",
        "endwith",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "loop",
        "self",
        "context",
        "caller",
        "varargs",
        "kwargs",
        "recursive",
        "block",
        "extends",
        "include",
        "import",
        "from",
        "macro",
        "call",
        "filter",
        "raw",
    ]
)


class _Reader(DocumentReader):
    """One template document and its file."""

    error_type = TemplateError

    def text(self, mapping: Mapping[str, Any], key: str, *path: str | int, default: str | None = "") -> str:
        value = mapping.get(key, default)
        if value is None:
            raise self.error(f"{key!r} is missing", *path)
        if not isinstance(value, str):
            raise self.error(f"{key!r} has to be a text", *path, key, hint=f'quote it: "{value}"')
        return value

    def flag(self, mapping: Mapping[str, Any], key: str, *path: str | int) -> bool:
        value = mapping.get(key, False)
        if not isinstance(value, bool):
            raise self.error(f"{key!r} has to be true or false", *path, key)
        return value


def read_template(path: Path, *, origin: str = "given") -> Template:
    """Reads a template file.

    Raises:
        TemplateError: it cannot be read, or is no template; with line and column.
    """
    try:
        if path.stat().st_size > MAX_CHARACTERS * 4:
            raise TemplateError("the file is too large for a template", where=str(path))
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TemplateError(
            f"there is no file {path}",
            hint="check the path, or name a template; vmkit template list shows them",
            where=str(path),
        ) from None
    except UnicodeDecodeError as problem:
        raise TemplateError(f"not UTF-8 text (byte {problem.start})", where=str(path)) from None
    except OSError as problem:
        raise TemplateError(
            f"{path} cannot be read: {problem.strerror}",
            hint="give the path of a template file that you may read",
            where=str(path),
        ) from None
    return dataclasses.replace(parse_template(text, where=str(path)), path=path, origin=origin)


def parse_template(text: str, *, where: str = "template") -> Template:
    """Reads a template from its text.

    Bodies are not compiled here: `render.Renderer` does that, and says where a body is wrong.

    Raises:
        TemplateError: it is no template; with line and column.
    """
    documents = read_documents(text, where=where, error=TemplateError)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise TemplateError(
            f"a template file holds one mapping; this holds {len(documents)} documents"
            if len(documents) != 1
            else "a template file holds a mapping",
            hint="write one template a file",
            where=where,
            line=1,
            column=1,
        )
    reader = _Reader(documents[0], where)
    value = documents[0].value
    if value.get("kind") != KIND or value.get("apiVersion") != API_VERSION:
        kind = value.get("kind")
        raise reader.error(
            f"not a template: kind {kind!r} of {value.get('apiVersion')!r}",
            "kind" if "kind" in value else "apiVersion",
            hint="vmkit template import makes a template of a VirtualMachine or a VirtualMachineTemplate"
            if kind in {"VirtualMachine", "VirtualMachineTemplate"}
            or (kind == KIND and "openshift" in str(value.get("apiVersion")))
            else f"a template begins with apiVersion: {API_VERSION} and kind: {KIND}",
        )
    reader.check_keys(value, _TEMPLATE_KEYS)
    name = reader.text(value, "name", default=None)
    if not _NAME.fullmatch(name):
        raise reader.error(
            f"{name!r} cannot name a template", "name", hint="lower-case letters, digits and '-', at most 63"
        )
    labels = value.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise reader.error("'labels' has to be a list of words", "labels")
    return Template(
        name=name,
        title=reader.text(value, "title", default=None),
        description=reader.text(value, "description"),
        experimental=reader.flag(value, "experimental"),
        labels=tuple(labels),
        parameters=_read_parameters(reader, value),
        bodies=_read_bodies(reader, value, text),
        where=where,
    )


def _read_parameters(reader: _Reader, value: Mapping[str, Any]) -> tuple[Parameter, ...]:
    items = value.get("parameters", [])
    if not isinstance(items, list):
        raise reader.error("'parameters' has to be a list", "parameters")
    parameters: dict[str, Parameter] = {}
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise reader.error("a parameter is a mapping with a name", "parameters", index)
        parameter = _read_parameter(reader, item, "parameters", index)
        if parameter.name in parameters:
            raise reader.error(f"parameter {parameter.name!r} stands here twice", "parameters", index, "name")
        parameters[parameter.name] = parameter
    return tuple(parameters.values())


def _read_parameter(reader: _Reader, item: dict[str, Any], *path: str | int) -> Parameter:
    reader.check_keys(item, _PARAMETER_KEYS, *path)
    name = reader.text(item, "name", *path, default=None)
    if not _PARAMETER_NAME.fullmatch(name):
        raise reader.error(
            f"{name!r} cannot name a parameter", *path, "name", hint="lower-case letters, digits and '_'"
        )
    if name in BUILT_IN_NAMES or name in _JINJA_WORDS:
        raise reader.error(
            f"{name!r} cannot name a parameter: bodies know that word already", *path, "name",
            hint=f"built in are {', '.join(BUILT_IN_NAMES)}",
        )  # fmt: skip
    type_text = reader.text(item, "type", *path, default="string")
    try:
        type_ = ParameterType(type_text)
    except ValueError:
        close = difflib.get_close_matches(type_text, [str(known) for known in ParameterType], 1)
        raise reader.error(
            f"unknown type {type_text!r}", *path, "type",
            hint=f"did you mean {close[0]!r}?" if close else f"known are {', '.join(ParameterType)}",
        ) from None  # fmt: skip
    minimum, minimum_text = _read_bound(reader, item, "minimum", *path)
    maximum, maximum_text = _read_bound(reader, item, "maximum", *path)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise reader.error("'minimum' is larger than 'maximum'", *path, "minimum")
    choices = item.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise reader.error("'choices' has to be a list of texts", *path, "choices", hint="quote numbers")
    if type_ is ParameterType.CHOICE and not choices:
        raise reader.error("a choice needs 'choices'", *path)
    pattern = reader.text(item, "pattern", *path)
    try:
        re.compile(pattern)
    except re.error as problem:
        raise reader.error(f"'pattern' is no regular expression: {problem}", *path, "pattern") from None
    required = reader.flag(item, "required", *path) if "required" in item else "default" not in item
    if required and item.get("default") is not None:
        raise reader.error("a parameter with a default is never required", *path, "required")
    parameter = Parameter(
        name=name,
        type=type_,
        help=reader.text(item, "help", *path),
        default=item.get("default"),
        required=required,
        minimum=minimum,
        maximum=maximum,
        minimum_text=minimum_text,
        maximum_text=maximum_text,
        pattern=pattern,
        choices=tuple(choices),
        unit=reader.text(item, "unit", *path),
        secret=reader.flag(item, "secret", *path),
        example=item.get("example"),
    )
    try:
        check_default(parameter)
    except InputError as problem:
        key = "default" if item.get("default") is not None else "example"
        raise reader.error(f"its own {key}: {problem.message}", *path, key, hint=problem.hint) from None
    return parameter


def _read_bound(
    reader: _Reader, item: Mapping[str, Any], key: str, *path: str | int
) -> tuple[Decimal | None, str]:
    value = item.get(key)
    if value is None:
        return None, ""
    if item.get("type") not in {"integer", "number", "quantity"}:
        raise reader.error(f"{key!r} belongs to numbers and quantities", *path, key)
    try:
        return parse_quantity(value), str(value)
    except InputError as problem:
        raise reader.error(f"{key!r}: {problem.message}", *path, key, hint=problem.hint) from None


def _read_bodies(reader: _Reader, value: Mapping[str, Any], text: str) -> tuple[TemplateBody, ...]:
    items = value.get("objects")
    if not isinstance(items, list) or not items:
        raise reader.error(
            "'objects' is missing" if items is None else "'objects' has to be a list of bodies", "objects"
        )
    lines = text.splitlines()
    bodies: dict[str, TemplateBody] = {}
    for index, item in enumerate(items):
        path = ("objects", index)
        if not isinstance(item, dict):
            raise reader.error("an object is a mapping with a name and a body", *path)
        reader.check_keys(item, ("name", "body"), *path)
        name = reader.text(item, "name", *path, default=None)
        if name in bodies:
            raise reader.error(f"object {name!r} stands here twice", *path, "name")
        source = reader.text(item, "body", *path, default=None)
        line = reader.document.blocks.get((*path, "body"))
        if line is None:
            raise reader.error("a body is a literal block", *path, "body", hint="write body: |")
        bodies[name] = TemplateBody(name, source, line, _indent(lines, line, source))
    return tuple(bodies.values())


def _indent(lines: list[str], line: int, source: str) -> int:
    for offset, source_line in enumerate(source.splitlines()):
        if source_line.strip() and line - 1 + offset < len(lines):
            return len(lines[line - 1 + offset]) - len(source_line)
    return 0
