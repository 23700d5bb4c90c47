"""The language of template bodies: Jinja2 with everything taken out that a manifest does not need.

A body can print values, choose (`if`) and repeat (`for`), and name things (`set`, `with`). It has no way to read a
file, the environment, a clock or another template, to call a method, or to grow without bound. What it prints
never reaches the YAML parser: every printed value becomes a *token*, and `skeleton` puts the value in its place
after the text has been parsed. So the structure of a manifest is decided by the template's author alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import CodeType
from typing import Any, Final, cast

import jinja2
from jinja2 import meta, nodes, pass_context
from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import SandboxedEnvironment

from vmkit.errors import TemplateError
from vmkit.provision.filters import FILTERS, bounded_text
from vmkit.provision.values import MAX_TEXT, BodyFailure, kind_of, plain_value

TOKEN: Final = re.compile("\ue000([0-9]+)\ue001")
"""A printed value's place in the rendered text: its number between two private-use characters."""
RESERVED: Final = re.compile("[\ue000-\ue003]")
"""Characters a template's own text must not contain."""
VALUES: Final = "printed values"
"""The context's slot for the printed values; the blank keeps a template from naming it."""
_STEPS: Final = "loop steps"

MAX_STEPS: Final = 10_000
"""Loop steps of one body; a VM has at most 256 disks, networks and interfaces each."""
MAX_VALUES: Final = 20_000
"""Values one body may print."""

CALLABLE: Final = ("mac", "range")
_LOOP_FIELDS: Final = frozenset({"index", "index0", "first", "last", "length"})
_NODES: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.With,
    nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.CondExpr, nodes.Filter,
    nodes.Test, nodes.Call, nodes.Keyword, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare,
    nodes.Operand, nodes.Not, nodes.And, nodes.Or, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv,
    nodes.Mod, nodes.Neg, nodes.Pos,
)  # fmt: skip
_STATEMENTS: Final = {
    nodes.Block: "block", nodes.Extends: "extends", nodes.Include: "include", nodes.Import: "import",
    nodes.FromImport: "from", nodes.Macro: "macro", nodes.CallBlock: "call", nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set ... endset", nodes.Pow: "**",
}  # fmt: skip

TESTS: Final = (
    "boolean", "defined", "even", "false", "in", "integer", "mapping", "none", "number", "odd", "sequence",
    "string", "true", "undefined", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">=",
)  # fmt: skip


@pass_context
def _bounded_loop(context: Context, values: Any) -> list[Any]:
    # Counts the steps of all loops of the body together, before each begins.
    if not isinstance(values, Iterable) or isinstance(values, str | Undefined):
        if isinstance(values, Undefined):
            iter(values)
        raise BodyFailure(f"a loop goes over a list, not over {kind_of(values)}")
    items = list(values)
    steps = context.parent[_STEPS]
    steps[0] += len(items)
    if steps[0] > MAX_STEPS:
        raise BodyFailure(f"more than {MAX_STEPS} loop steps")
    return items


@pass_context
def _finalize(context: Context, value: Any) -> str:
    values = context.parent[VALUES]
    if len(values) >= MAX_VALUES:
        raise BodyFailure(f"prints more than {MAX_VALUES} values")
    values.append(plain_value(value))
    return f"\ue000{len(values) - 1}\ue001"


class _Environment(SandboxedEnvironment):
    """Strict, closed, bounded. There is no loader, and nothing global."""

    intercepted_binops = frozenset({"+", "*", "%", "**", "//", "/", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str):
            if argument in obj:
                return obj[argument]
        elif isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except IndexError:
                pass
        elif isinstance(obj, LoopContext) and argument in _LOOP_FIELDS:
            return getattr(obj, argument)
        elif isinstance(obj, Undefined):
            str(obj)
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)
        if operator == "+" and type(left) is type(right) and isinstance(left, str | list):
            total: Any = left + right
            if len(total) > MAX_TEXT:
                raise BodyFailure(f"a value of more than {MAX_TEXT} parts")
            return total
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or isinstance(left, bool) or isinstance(right, bool):
            raise BodyFailure(
                f"cannot compute {kind_of(left)} {operator} {kind_of(right)}",
                "join texts with ~" if isinstance(left, str) or isinstance(right, str) else "",
            )
        result = self.binop_table[operator](left, right)
        if abs(result) > 2**63:
            raise BodyFailure("computes a number larger than Kubernetes can hold")
        return result

    def is_safe_callable(self, obj: Any) -> bool:
        # Which names may be called is decided when the body is compiled.
        return callable(obj)


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        finalize=_finalize,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=(),
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update(FILTERS)
    environment.filters["bounded loop"] = _bounded_loop
    environment.filters["bounded text"] = bounded_text
    known = dict(environment.tests)
    environment.tests.clear()
    environment.tests.update({name: known[name] for name in TESTS})
    return environment


_ENVIRONMENT: Final = _environment()


def bounded_range(*bounds: Any) -> range:
    """``range`` as bodies see it: whole numbers, at most `MAX_STEPS` of them."""
    if not 1 <= len(bounds) <= 3 or any(isinstance(b, bool) or not isinstance(b, int) for b in bounds):
        raise BodyFailure("range wants one to three whole numbers")
    try:
        numbers = range(*bounds)
    except ValueError:
        raise BodyFailure("range cannot step by 0") from None
    if len(numbers) > MAX_STEPS:
        raise BodyFailure(f"a range of more than {MAX_STEPS} numbers")
    return numbers


class BodyMistake(Exception):
    """A body that cannot be compiled: the line in the body (from 1), a word on it if known, and what is wrong."""

    def __init__(self, message: str, line: int, word: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.line, self.word, self.hint = message, line, word, hint


class Body:
    """A compiled body.

    Attributes:
        names: the names it uses that are neither loop variables nor set by itself, with the line of first use.
    """

    def __init__(self, source: str, *, marked: bool = False) -> None:
        """Compiles.

        Args:
            source: the Jinja2 text.
            marked: put before every piece of text a mark that says its line; for finding the place of an error.

        Raises:
            BodyMistake: a syntax error, or something bodies do not have.
        """
        found = RESERVED.search(source)
        if found is not None:
            raise BodyMistake(
                "a private-use character (U+E000 to U+E003)", source.count("\n", 0, found.start()) + 1
            )
        try:
            tree = _ENVIRONMENT.parse(source)
            self.names = _check(tree)
            _bound(tree)
            if marked:
                _mark(tree)
            code = _ENVIRONMENT.compile(tree, "body", "body")
        except jinja2.TemplateSyntaxError as problem:
            raise BodyMistake(problem.message or "syntax error", problem.lineno) from None
        except (RecursionError, ValueError, SyntaxError, MemoryError) as problem:
            raise BodyMistake(f"cannot be compiled: {problem}", 1) from None
        assert isinstance(code, CodeType)
        self._template = jinja2.Template.from_code(_ENVIRONMENT, code, {})

    def run(self, names: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The text with its tokens, and the values they stand for.

        Raises:
            BodyMistake: it failed; with the line.
        """
        values: list[Any] = []
        context = self._template.new_context(
            {**names, "range": bounded_range, VALUES: values, _STEPS: [0]}, shared=True
        )
        try:
            return "".join(self._template.root_render_func(context)), values
        except BodyFailure as failure:
            raise BodyMistake(failure.message, self._line(failure), hint=failure.hint) from None
        except jinja2.UndefinedError as problem:
            raise BodyMistake(problem.message or "something is not defined", self._line(problem)) from None
        except (
            jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError,
            RecursionError, MemoryError,
        ) as problem:  # fmt: skip
            raise BodyMistake(f"cannot be computed: {problem}", self._line(problem)) from None
        except TemplateError:
            raise
        except Exception as problem:
            # A filter of ours that refuses its input (a quantity, say) says why in its own words.
            message = getattr(problem, "message", None)
            if message is None:
                raise
            raise BodyMistake(message, self._line(problem), hint=getattr(problem, "hint", "")) from None

    def _line(self, problem: BaseException) -> int:
        line, trace = 1, problem.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "body":
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


def _check(tree: nodes.Template) -> dict[str, int]:
    """Refuses what bodies do not have; returns the names they take from outside."""
    for node in _walk(tree):
        if not isinstance(node, _NODES):
            word = _STATEMENTS.get(type(node), type(node).__name__.lower())
            raise BodyMistake(
                f"templates have no {word!r}", node.lineno, word.split()[0],
                hint="they have if, for, set and with",
            )  # fmt: skip
        if isinstance(node, nodes.For) and node.recursive:
            raise BodyMistake("templates have no recursive loops", node.lineno, "recursive")
        if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name in CALLABLE):
            raise BodyMistake(
                "templates call nothing but mac() and range()", node.lineno,
                hint="use a filter: {{ value | upper }}",
            )  # fmt: skip
        if isinstance(node, nodes.Call | nodes.Filter) and (
            node.dyn_args is not None or node.dyn_kwargs is not None
        ):
            raise BodyMistake("templates have no * arguments", node.lineno, "*")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise BodyMistake(
                f"there is no filter {node.name!r}", node.lineno, node.name, hint=f"there are {', '.join(FILTERS)}"
            )
        if isinstance(node, nodes.Test) and node.name not in TESTS:
            raise BodyMistake(f"there is no test {node.name!r}", node.lineno, node.name)
    undeclared = meta.find_undeclared_variables(tree)
    names: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in undeclared and node.ctx == "load":
            names.setdefault(node.name, node.lineno)
        elif node.ctx != "load" and node.name in CALLABLE:
            raise BodyMistake(f"{node.name!r} cannot be set", node.lineno, node.name)
    return names


def _walk(node: nodes.Node) -> Iterable[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _bound(tree: nodes.Template) -> None:
    # Every loop and every ~ passes a filter that counts.
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = _filtered("bounded loop", cast(nodes.Expr, loop.iter))
    _bound_concats(tree)


def _bound_concats(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Concat):
            _bound_concats(value)
            setattr(node, name, _filtered("bounded text", value))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, nodes.Node):
                    _bound_concats(item)
                    if isinstance(item, nodes.Concat):
                        value[index] = _filtered("bounded text", item)
        elif isinstance(value, nodes.Node):
            _bound_concats(value)


def _filtered(name: str, node: nodes.Expr) -> nodes.Filter:
    wrapped = nodes.Filter(node, name, [], [], None, None)
    wrapped.set_lineno(node.lineno)
    wrapped.set_environment(_ENVIRONMENT)
    return wrapped


def _mark(tree: nodes.Template) -> None:
    for data in tree.find_all(nodes.TemplateData):
        line, pieces = data.lineno, []
        for piece in data.data.splitlines(keepends=True):
            pieces.append(f"\ue002{line}\ue003{piece}")
            line += piece.endswith("\n")
        data.data = "".join(pieces)
