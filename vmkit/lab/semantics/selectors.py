"""Label and field selectors: parsed and refused in the words of k8s.io/apimachinery (pkg/labels, pkg/fields)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vmkit.lab.semantics.names import check_label_key, check_label_value
from vmkit.lab.status import ApiError, bad_request

_SPECIAL: Final = "=!(),<>"
_OPERATORS: Final = ("!", "!=", "=", "==", ">", "<")
_WORDS: Final = ("in", "notin")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a label selector; ``operator`` is one of in, notin, =, ==, !=, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it; ``!=`` and ``notin`` are met by labels without the key."""
        value = labels.get(self.key)
        if self.operator in ("in", "=", "=="):
            return value is not None and value in self.values
        if self.operator in ("notin", "!="):
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        try:
            number, bound = int(value or ""), int(self.values[0])
        except ValueError:
            return False
        return number > bound if self.operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


def parse_label_selector(text: str) -> LabelSelector:
    """Reads ``a=b,c in (d,e),!f``.

    Raises:
        ApiError: 400.
    """
    return LabelSelector(tuple(_LabelParser(text).parse()))


def build_label_selector(selector: Mapping[str, object] | None) -> LabelSelector:
    """A ``metav1.LabelSelector`` object (matchLabels, matchExpressions) as a selector; None matches nothing.

    An empty object matches everything, as in metav1.LabelSelectorAsSelector.
    """
    if selector is None:
        return LabelSelector((Requirement("", "in", ()),))
    requirements: list[Requirement] = []
    labels = selector.get("matchLabels")
    if isinstance(labels, Mapping):
        requirements.extend(Requirement(key, "=", (str(value),)) for key, value in sorted(labels.items()))
    expressions = selector.get("matchExpressions")
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    if isinstance(expressions, list):
        for expression in expressions:
            operator = operators.get(expression.get("operator", ""), "in")
            requirements.append(Requirement(expression["key"], operator, tuple(expression.get("values") or ())))
    return LabelSelector(tuple(requirements))


class _LabelParser:
    """labels.Parser: a lexer with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0

    def parse(self) -> Iterable[Requirement]:
        requirements: list[Requirement] = []
        while True:
            token = self._peek(word_is_name=True)
            if token == ("", "end"):
                return requirements
            if token[1] not in ("name", "!"):
                raise bad_request(f"found '{token[0]}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except _ParseError as error:
                raise bad_request(f"unable to parse requirement: {error}") from error
            token = self._next(word_is_name=False)
            if token[1] == "end":
                return requirements
            if token[1] != ",":
                raise bad_request(f"found '{token[0]}', expected: ',' or 'end of string'")
            after = self._peek(word_is_name=True)
            if after[1] not in ("name", "!"):
                raise bad_request(f"found '{after[0]}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = False
        if self._peek(word_is_name=False)[1] == "!":
            self._next(word_is_name=False)
            negated = True
        literal, kind = self._next(word_is_name=True)
        if kind != "name":
            raise _ParseError(f"found '{literal}', expected: identifier")
        _check(check_label_key(literal), "key", literal)
        following = self._peek(word_is_name=False)
        if negated:
            return Requirement(literal, "!")
        if following[1] in ("end", ","):
            return Requirement(literal, "exists")
        operator = self._operator()
        values = self._set() if operator in _WORDS else (self._exact(),)
        if operator in ("gt", "lt") and not _is_integer(values[0]):
            raise _ParseError(
                f'values[0][{literal}]: Invalid value: "{values[0]}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        for index, value in enumerate(values):
            _check(check_label_value(value), f"values[{index}][{literal}]", value)
        return Requirement(literal, operator, tuple(sorted(set(values))))

    def _operator(self) -> str:
        literal, kind = self._next(word_is_name=False)
        operators = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt", "in": "in", "notin": "notin"}
        if kind not in operators:
            raise _ParseError(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")
        return operators[kind]

    def _exact(self) -> str:
        literal, kind = self._peek(word_is_name=True)
        if kind in ("end", ","):
            return ""
        self._next(word_is_name=True)
        if kind != "name":
            raise _ParseError(f"found '{literal}', expected: identifier")
        return literal

    def _set(self) -> tuple[str, ...]:
        literal, kind = self._next(word_is_name=True)
        if kind != "(":
            raise _ParseError(f"found '{literal}' expected: '('")
        literal, kind = self._peek(word_is_name=True)
        if kind == ")":
            self._next(word_is_name=True)
            return ("",)
        if kind not in ("name", ","):
            raise _ParseError(f"found '{literal}', expected: ',', ')' or identifier")
        values: list[str] = []
        while True:
            literal, kind = self._next(word_is_name=True)
            if kind == "name":
                values.append(literal)
                after_literal, after = self._peek(word_is_name=True)
                if after == ",":
                    continue
                if after == ")":
                    break
                raise _ParseError(f"found '{after_literal}', expected: ',' or ')'")
            if kind == ",":
                if not values:
                    values.append("")
                after_literal, after = self._peek(word_is_name=True)
                if after == ")":
                    values.append("")
                    break
                if after == ",":
                    self._next(word_is_name=True)
                    values.append("")
                continue
            raise _ParseError(f"found '{literal}', expected: ',', or identifier")
        literal, kind = self._next(word_is_name=True)
        if kind != ")":
            raise _ParseError(f"found '{literal}', expected: ')'")
        return tuple(values)

    def _peek(self, *, word_is_name: bool) -> tuple[str, str]:
        literal, kind = self._tokens[self._position] if self._position < len(self._tokens) else ("", "end")
        return (literal, "name") if word_is_name and kind in _WORDS else (literal, kind)

    def _next(self, *, word_is_name: bool) -> tuple[str, str]:
        token = self._peek(word_is_name=word_is_name)
        self._position += 1
        return token


class _ParseError(Exception):
    pass


def _check(complaint: str, field: str, value: str) -> None:
    if complaint:
        raise _ParseError(f'{field}: Invalid value: "{value}": {complaint}')


def _is_integer(text: str) -> bool:
    return text.lstrip("+-").isascii() and text.lstrip("+-").isdigit()


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    position = 0
    while position < len(text):
        letter = text[position]
        if letter in " \t\r\n":
            position += 1
        elif letter in _SPECIAL:
            end = position
            longest = ""
            while end < len(text) and text[end] in _SPECIAL:
                end += 1
                if text[position:end] in (*_OPERATORS, "(", ")", ","):
                    longest = text[position:end]
                elif longest:
                    break
            if not longest:
                yield text[position:end], "error"
                return
            yield longest, longest
            position += len(longest)
        else:
            end = position
            while end < len(text) and text[end] not in _SPECIAL and text[end] not in " \t\r\n":
                end += 1
            literal = text[position:end]
            yield literal, literal if literal in _WORDS else "name"
            position = end


# --- field selectors ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """``field=value`` or, negated, ``field!=value``."""

    field: str
    value: str
    negated: bool = False

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the fields of an object meet it."""
        return (fields.get(self.field, "") == self.value) != self.negated


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the fields of an object meet every term."""
        return all(term.matches(fields) for term in self.terms)

    def required(self, field: str) -> str | None:
        """The one value a field must have, if the selector says so."""
        for term in self.terms:
            if term.field == field and not term.negated:
                return term.value
        return None

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_field_selector(text: str, check_field: Callable[[str], ApiError | None]) -> FieldSelector:
    """Reads ``metadata.name=a,status.phase!=Running``.

    Args:
        check_field: the error for a field that the resource does not offer, or None.

    Raises:
        ApiError: 400.
    """
    terms: list[FieldTerm] = []
    for part in _split_terms(text):
        if not part:
            continue
        term = _parse_term(part)
        if term is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        error = check_field(term.field)
        if error is not None:
            raise error
        terms.append(term)
    return FieldSelector(tuple(terms))


def _split_terms(text: str) -> Iterable[str]:
    """Splits at commas that no backslash escapes."""
    part, escaped = "", False
    for letter in text:
        if letter == "," and not escaped:
            yield part
            part = ""
        else:
            part += letter
        escaped = letter == "\\" and not escaped
    yield part


def _parse_term(part: str) -> FieldTerm | None:
    for position in range(len(part)):
        rest = part[position:]
        for operator in ("!=", "==", "="):
            if rest.startswith(operator):
                value = _unescape(rest[len(operator) :])
                return None if value is None else FieldTerm(part[:position], value, operator == "!=")
    return None


def _unescape(text: str) -> str | None:
    result, position = "", 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
            if position >= len(text) or text[position] not in "\\,=":
                return None
        elif text[position] in ",=":
            return None
        result += text[position]
        position += 1
    return result
