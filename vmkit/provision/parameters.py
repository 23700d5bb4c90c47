"""The questions a template asks, and the answers it takes.

Answers come typed (from a fleet file, from Python) or as text (``--set cpu=4``); a text is read by the parameter's
type. What comes out is what bodies see: texts, numbers, booleans, lists of texts, and images.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from vmkit.errors import AnswerError, InputError
from vmkit.provision.images import parse_image
from vmkit.units import parse_quantity


class ParameterType(StrEnum):
    """What kind of answer a parameter takes."""

    STRING = "string"
    TEXT = "text"
    """A string that may have several lines."""
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    QUANTITY = "quantity"
    CHOICE = "choice"
    LIST = "list"
    NAME = "name"
    """The name of a Kubernetes object: a DNS label."""
    SSH_KEY = "ssh-key"
    SSH_KEYS = "ssh-keys"
    CRON = "cron"
    IMAGE = "image"


_LISTS: Final = frozenset({ParameterType.LIST, ParameterType.SSH_KEYS})
_BOUNDED: Final = frozenset({ParameterType.INTEGER, ParameterType.NUMBER, ParameterType.QUANTITY})

# OpenSSH's public key line (sshd(8), AUTHORIZED_KEYS FILE FORMAT) without options.
_SSH_KEY: Final = re.compile(
    r"(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" [A-Za-z0-9+/]{32,}={0,3}(?: [^\r\n]*)?",
)
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CRON_FIELD: Final = r"(?:\*|[0-9A-Za-z]+(?:-[0-9A-Za-z]+)?)(?:/[0-9]+)?"
_CRON: Final = re.compile(
    rf"@(?:hourly|daily|weekly|monthly|yearly|annually)|{_CRON_FIELD}(?:,{_CRON_FIELD})*"
    rf"(?: +{_CRON_FIELD}(?:,{_CRON_FIELD})*){{4}}"
)
_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

MAX_ANSWER_CHARACTERS: Final = 256 * 1024
MAX_ANSWER_ITEMS: Final = 256
"""KubeVirt's own bound on disks, volumes and interfaces."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One question.

    Attributes:
        name: what bodies call it.
        type: what kind of answer it takes.
        help: one sentence for people.
        default: the answer where none is given; None with ``required`` false means "left out".
        required: whether an answer must be given.
        minimum, maximum: bounds, both inclusive; of a quantity: quantities; of texts and lists: unused.
        pattern: a regular expression the whole text must match.
        choices: the answers there are.
        unit: what a number counts ("cores").
        secret: the answer is never shown.
        example: an answer that works; used by lint where there is no default.
    """

    name: str
    type: ParameterType = ParameterType.STRING
    help: str = ""
    default: Any = None
    required: bool = True
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    minimum_text: str = ""
    maximum_text: str = ""
    pattern: str = ""
    choices: tuple[str, ...] = ()
    unit: str = ""
    secret: bool = False
    example: Any = None

    @property
    def bounds(self) -> str:
        """The bounds for people: "1 to 64 cores", "at least 10Gi", "debian | ubuntu", or empty."""
        unit = f" {self.unit}" if self.unit else ""
        if self.choices:
            return " | ".join(self.choices)
        if self.minimum_text and self.maximum_text:
            return f"{self.minimum_text} to {self.maximum_text}{unit}"
        if self.minimum_text:
            return f"at least {self.minimum_text}{unit}"
        if self.maximum_text:
            return f"at most {self.maximum_text}{unit}"
        return self.pattern or self.unit

    def to_dict(self) -> dict[str, Any]:
        """As ``vmkit template show -o json`` gives it."""
        document: dict[str, Any] = {
            "name": self.name, "type": str(self.type), "required": self.required, "help": self.help,
        }  # fmt: skip
        optional = {
            "default": self.default, "minimum": self.minimum_text, "maximum": self.maximum_text,
            "pattern": self.pattern, "choices": list(self.choices), "unit": self.unit, "secret": self.secret,
            "example": self.example,
        }  # fmt: skip
        document.update({key: value for key, value in optional.items() if value not in (None, "", [], False)})
        return document


def read_answer(parameter: Parameter, value: Any) -> Any:
    """The answer as bodies see it.

    Raises:
        AnswerError: it is not of the parameter's type or outside its bounds; a secret's value is not shown.
    """
    if value is None:
        if parameter.required:
            raise _error(parameter, "needs an answer")
        return None
    if parameter.type in _LISTS:
        return _read_list(parameter, value)
    if parameter.type is ParameterType.IMAGE:
        return _read_image(parameter, value)
    if parameter.type is ParameterType.BOOLEAN:
        return _read_boolean(parameter, value)
    if parameter.type in {ParameterType.INTEGER, ParameterType.NUMBER}:
        return _read_number(parameter, value)
    if parameter.type is ParameterType.QUANTITY:
        return _read_quantity(parameter, value)
    return _read_text(parameter, value)


def _error(parameter: Parameter, problem: str, hint: str = "") -> AnswerError:
    return AnswerError(
        f"parameter {parameter.name!r} {problem}",
        hint=hint or _advice(parameter, problem),
        where=parameter.name,
    )


def _advice(parameter: Parameter, problem: str) -> str:
    """What to write instead; the bounds only where the problem has not named them already."""
    if not parameter.bounds:
        return parameter.help
    if parameter.bounds not in problem:
        return f"it takes {parameter.bounds}"
    known = (parameter.default, parameter.minimum_text, parameter.maximum_text, *parameter.choices)
    example = "" if parameter.secret else next((str(text) for text in known if text not in (None, "")), "")
    return f"write, for example, {parameter.name}={example}" if example else parameter.help


def _shown(parameter: Parameter, value: Any) -> str:
    if parameter.secret:
        return "the answer given"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_text(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise _error(
            parameter, f"takes a text, not {_shown(parameter, value)}",
            "" if parameter.secret else f'quote it: "{value}"',
        )  # fmt: skip
    text = value
    if parameter.type is ParameterType.SSH_KEY:
        text = text.strip()
        if not _SSH_KEY.fullmatch(text):
            private = "PRIVATE KEY" in text
            raise _error(
                parameter,
                "was given a private key" if private else "takes an OpenSSH public key",
                "give the file that ends in .pub" if private else 'it looks like "ssh-ed25519 AAAA... name"',
            )
        return text
    _check_characters(parameter, text)
    if parameter.type is not ParameterType.TEXT and "\n" in text.rstrip("\n"):
        raise _error(parameter, "takes one line")
    if parameter.type is ParameterType.NAME and not _DNS_LABEL.fullmatch(text):
        raise _error(
            parameter, f"takes a name, not {_shown(parameter, text)}",
            "lower-case letters, digits and '-', at most 63 of them",
        )  # fmt: skip
    if parameter.type is ParameterType.CRON and not _CRON.fullmatch(text):
        raise _error(
            parameter, f"takes a cron schedule, not {_shown(parameter, text)}",
            'five fields (minute hour day month weekday), like "0 3 * * 1"',
        )  # fmt: skip
    if parameter.choices and text not in parameter.choices:
        close = difflib.get_close_matches(text, parameter.choices, 1)
        raise _error(
            parameter, f"takes {parameter.bounds}, not {_shown(parameter, text)}",
            f"did you mean {close[0]!r}?" if close and not parameter.secret else "",
        )  # fmt: skip
    if parameter.pattern and not re.fullmatch(parameter.pattern, text):
        raise _error(
            parameter, f"takes a text like {parameter.pattern}, not {_shown(parameter, text)}", parameter.help
        )
    return text


def _check_characters(parameter: Parameter, text: str) -> None:
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise _error(parameter, f"was given more than {MAX_ANSWER_CHARACTERS} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _error(parameter, "was given a text that is not Unicode") from None


def _read_boolean(parameter: Parameter, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise _error(parameter, f"takes true or false, not {_shown(parameter, value)}")


def _read_number(parameter: Parameter, value: Any) -> int | float:
    whole = parameter.type is ParameterType.INTEGER
    wanted = "a whole number" if whole else "a number"
    number: int | float | None = None
    if isinstance(value, str):
        pattern = r"[-+]?[0-9]{1,18}" if whole else r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?"
        if re.fullmatch(pattern, value.strip()):
            number = int(value) if whole or "." not in value else float(value)
    elif not isinstance(value, bool) and isinstance(value, int if whole else int | float):
        number = value
    if number is None or not math.isfinite(number) or abs(number) > 2**63:
        raise _error(parameter, f"takes {wanted}, not {_shown(parameter, value)}")
    _check_bounds(parameter, Decimal(str(number)), value)
    return number


def _read_quantity(parameter: Parameter, value: Any) -> str:
    try:
        quantity = parse_quantity(value.strip() if isinstance(value, str) else value)
    except InputError as problem:
        message = f"takes a size: {_shown(parameter, value)} is none"
        raise _error(parameter, message, problem.hint) from None
    if quantity < 0:
        raise _error(parameter, f"takes a size of 0 or more, not {_shown(parameter, value)}")
    _check_bounds(parameter, quantity, value)
    return value.strip() if isinstance(value, str) else str(value)


def _check_bounds(parameter: Parameter, number: Decimal, value: Any) -> None:
    low = parameter.minimum is not None and number < parameter.minimum
    high = parameter.maximum is not None and number > parameter.maximum
    if low or high:
        raise _error(parameter, f"takes {parameter.bounds}, not {_shown(parameter, value)}")


def _read_list(parameter: Parameter, value: Any) -> list[str]:
    if isinstance(value, str):
        # One key a line, as in an authorized_keys file; other lists are written with commas.
        separator = "\n" if parameter.type is ParameterType.SSH_KEYS else ","
        items: list[Any] = [item.strip() for item in value.split(separator)]
        items = [item for item in items if item]
    elif isinstance(value, list | tuple):
        items = list(value)
    else:
        raise _error(parameter, f"takes a list, not {_shown(parameter, value)}")
    if len(items) > MAX_ANSWER_ITEMS:
        raise _error(parameter, f"takes at most {MAX_ANSWER_ITEMS} items")
    kind = ParameterType.SSH_KEY if parameter.type is ParameterType.SSH_KEYS else ParameterType.STRING
    one = Parameter(
        parameter.name, kind, parameter.help, choices=parameter.choices, pattern=parameter.pattern,
        secret=parameter.secret,
    )  # fmt: skip
    return [_read_text(one, item) for item in items]


def _read_image(parameter: Parameter, value: Any) -> list[str]:
    texts = value if isinstance(value, list | tuple) else [part.strip() for part in str(value).split(",")]
    if not texts:
        raise _error(parameter, "takes at least one image")
    for text in texts:
        try:
            parse_image(text)
        except InputError as problem:
            raise _error(parameter, f"takes an image, not {_shown(parameter, text)}", problem.hint) from None
    return [str(text) for text in texts]


def check_default(parameter: Parameter) -> None:
    """Holds a parameter's own default and example to its type and bounds.

    Raises:
        AnswerError: they do not fit.
    """
    for value in (parameter.default, parameter.example):
        if value is not None:
            read_answer(parameter, value)


def complete_answers(
    parameters: Iterable[Parameter], answers: Mapping[str, Any], *, template: str
) -> dict[str, Any]:
    """All answers a body may use, in the template's order: those given, checked, and the defaults.

    Raises:
        AnswerError: an answer to no question, a question without an answer, or an answer that does not fit.
    """
    known = {parameter.name: parameter for parameter in parameters}
    for name in answers:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            raise AnswerError(
                f"template {template!r} has no parameter {name!r}",
                hint=f"did you mean {close[0]!r}?" if close
                else f"it has {', '.join(known) if known else 'none'}; see: vmkit template show {template}",
                where=name,
            )  # fmt: skip
    complete: dict[str, Any] = {}
    for name, parameter in known.items():
        if answers.get(name) is None and parameter.required:
            raise AnswerError(
                f"template {template!r} needs an answer for {name!r}"
                + (f": {parameter.help}" if parameter.help else ""),
                hint=f"give it with --set {name}=...",
                where=name,
            )
        value = answers.get(name)
        complete[name] = read_answer(parameter, parameter.default if value is None else value)
    return complete
