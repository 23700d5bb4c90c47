"""CEL, compiled and evaluated by cel-expr-python, which wraps the language's own implementation in C++."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

VARIABLES: Final = ("object", "oldObject", "request", "namespaceObject", "variables")
"""What expressions may speak of; all are maps."""
_MISSING: Final = (
    "the practice cluster evaluates policies with cel-expr-python, which is not installed: "
    "pip install 'vmkit[policies]'"
)
_LESS: Final = (
    " (the practice cluster knows CEL with optional values and string functions, and neither the authorizer nor "
    "Kubernetes' own libraries)"
)


class CelError(Exception):
    """An expression cannot be compiled, or ended in an error."""


class Expression:
    """One compiled expression."""

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    @property
    def type_name(self) -> str:
        """The type that it certainly has, in CEL's words: BOOL, STRING, DYN."""
        return str(self._compiled.return_type().name())

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value, as plain data.

        Args:
            values: by name, what `VARIABLES` stand for.

        Raises:
            CelError: it ended in an error.
        """
        result = self._compiled.eval(data={**dict.fromkeys(VARIABLES), **values})
        if result.type().name() == "ERROR":
            raise CelError(_without_code(str(result.value())))
        return result.plain_value()


def _without_code(text: str) -> str:
    """The library's status code says nothing that its text does not: "NOT_FOUND: Key not found in map"."""
    head, colon, tail = text.partition(": ")
    return tail if colon and head.isupper() else text


@functools.cache
def _environment() -> Any:
    try:
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_optional, ext_strings
    except ImportError as error:
        raise CelError(_MISSING) from error
    return cel.NewEnv(
        variables=dict.fromkeys(VARIABLES, cel.Type.DYN),
        extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings()],
    )


@functools.lru_cache(maxsize=512)
def compile_expression(text: str) -> Expression:
    """Compiles and checks an expression.

    Raises:
        CelError: it cannot be; or there is nothing here that could.
    """
    environment = _environment()
    try:
        return Expression(text, environment.compile(text))
    except RuntimeError as error:
        why = _without_code(str(error)).removesuffix(" [INVALID_ARGUMENT]")
        raise CelError(why + (_LESS if "undeclared reference" in why or "unsupported" in why else "")) from error
