"""Options that several commands share, and how every option finds its environment variable.

An option's value is looked for on the command line, then in ``VMKIT_<COMMAND>_<OPTION>``, then, for options that
mean the same everywhere, in ``VMKIT_<OPTION>``, then it has its default. Help names the variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from vmkit.errors import QuantityError

if TYPE_CHECKING:
    from vmkit.units import Limit

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

GENERAL: Final = "General options"
CONNECTION: Final = "Connection"
SELECTION: Final = "Which VMs"
SAFETY: Final = "Safety"
WAITING: Final = "Waiting"
OUTPUT: Final = "Output"

OUTPUT_FORMATS: Final = ("table", "wide", "name", "json", "yaml", "csv")


class Option(click.Option):
    """A click option that stands under a heading in help and knows its environment variables.

    Args:
        heading: the section of the help it stands in.
        everywhere: it means the same for every command, so that ``VMKIT_<OPTION>`` holds for all of them.
    """

    def __init__(
        self, *args: Any, heading: str = "Options", everywhere: bool = False, env: bool = True, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading
        self.everywhere = everywhere
        self.show_envvar = env and not self.hidden
        self.env = env

    def env_names(self, ctx: click.Context) -> tuple[str, ...]:
        """The variables that can hold it, the first one set wins: ``VMKIT_STOP_TIMEOUT``, ``VMKIT_TIMEOUT``."""
        if not self.env:
            return ()
        longest = max(self.opts, key=len).lstrip("-").replace("-", "_").upper()
        commands = [part.upper().replace("-", "_") for part in ctx.command_path.split()[1:]]
        own = "_".join(["VMKIT", *commands, longest])
        shared = f"VMKIT_{longest}"
        return (own, shared) if self.everywhere and own != shared else (own,)

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        names = self.env_names(ctx)
        for name in names:
            value = os.environ.get(name)
            if value and not (name != names[0] and self._unfit(value)):
                return value
        return None

    def _unfit(self, value: str) -> bool:
        # A variable for all commands may hold what one of them has no use for (VMKIT_OUTPUT=wide and describe).
        return isinstance(self.type, click.Choice) and value not in self.type.choices

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        names = self.env_names(ctx)
        if names and self.show_envvar:
            # The shared name serves most people; the one for this command alone follows from the rule.
            extra["envvars"] = (names[-1],)
        else:
            extra.pop("envvars", None)
        return extra

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return " / ".join(self.opts)


def option(*args: Any, **attributes: Any) -> Decorator[Any]:
    """Like `click.option`, with `Option`'s ``heading`` and ``everywhere``."""
    return click.option(*args, cls=Option, **attributes)


argument = click.argument
click_choice = click.Choice


class _Helped:
    """Help in sections: a command's own options first, then those shared by many, each under its heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        assert isinstance(self, click.Command)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                heading = param.heading if isinstance(param, Option) else GENERAL
                sections.setdefault(heading, []).append(record)
        order = ["Options", SELECTION, SAFETY, WAITING, OUTPUT]
        last = [CONNECTION, GENERAL]
        middle = [heading for heading in sections if heading not in (*order, *last)]
        for heading in (*order, *middle, *last):
            if rows := sections.get(heading):
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Command(_Helped, click.Command):
    """A command: takes -v, -q and --color like every other."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_general_options())
        _explain_help_option(self)


class Group(_Helped, click.Group):
    """A group of commands with "did you mean"; its `command` and `group` make `Command` and `Group`."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(_general_options())
        _explain_help_option(self)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            from difflib import get_close_matches

            from vmkit.errors import UsageError

            near = get_close_matches(args[0], self.list_commands(ctx), n=2)
            meant = " or ".join(f"{ctx.command_path} {name}" for name in near)
            raise UsageError(
                f"there is no command {ctx.command_path} {args[0]!r}".replace("'", '"'),
                hint=f"did you mean {meant}?" if meant else f"{ctx.command_path} --help lists the commands",
            )
        return super().resolve_command(ctx, args)


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a `Command`. Its docstring is the help; the first sentence is the summary."""
    return click.command(name, cls=Command, **attributes)


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """Makes a function a `Group`."""
    return click.group(name, cls=Group, **attributes)


def pass_app(function: F) -> F:
    """Hands the `App` to a command as its first argument."""
    from functools import update_wrapper

    def handed(*args: Any, **kwargs: Any) -> Any:
        return function(click.get_current_context().find_root().obj, *args, **kwargs)

    return update_wrapper(handed, function)  # type: ignore[return-value]


def _explain_help_option(command: click.Command) -> None:
    command.context_settings.setdefault("help_option_names", ["-h", "--help"])


# --- values that need reading ---------------------------------------------------------------------------


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # generic only since click 8.5
    _ParamType = click.ParamType


class _Parsed(_ParamType):
    """A value read by one of the project's own strict parsers, whose error then names the option."""

    def __init__(self, name: str, parse: Callable[[str, str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        return self._parse(value, param.get_error_hint(ctx) if param is not None else "")


def _parse_duration(text: str, where: str) -> timedelta:
    from vmkit.units import parse_duration

    return parse_duration(text, where=where)


def _parse_seconds(text: str, where: str) -> int:
    """Whole seconds, written "90" or "90s" or "2m"."""
    from vmkit.units import parse_duration

    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    seconds = parse_duration(text, where=where).total_seconds()
    if seconds != int(seconds):
        raise QuantityError(f"{text!r} is not whole seconds", hint='write it as "90" or "2m"', where=where)
    return int(seconds)


def _parse_limit(text: str, where: str) -> Limit:
    from vmkit.units import parse_limit

    return parse_limit(text, where=where)


def _parse_bytes(text: str, where: str) -> int:
    from vmkit.units import parse_bytes

    return parse_bytes(text, where=where)


DURATION: Final = _Parsed("duration", _parse_duration)
SECONDS: Final = _Parsed("seconds", _parse_seconds)
LIMIT: Final = _Parsed("number or share", _parse_limit)
SIZE: Final = _Parsed("size", _parse_bytes)


# --- options that hold wherever they stand ----------------------------------------------------------------


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Gives the value of a shared option to the `App`, wherever on the command line it stood."""
    from vmkit.cli.app import App

    app = ctx.find_root().obj
    assert param.name is not None
    source = ctx.get_parameter_source(param.name)
    if isinstance(app, App) and source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        depth = len(ctx.command_path.split())
        # What was typed beats the environment; then what stands nearer to the command beats what stands before.
        app.offer(param.name, value, rank=(source is ParameterSource.COMMANDLINE, depth))
    return value


def _general_options() -> list[click.Parameter]:
    shared: dict[str, Any] = {"heading": GENERAL, "expose_value": False, "callback": _remember, "everywhere": True}
    return [
        Option(["-v", "--verbose"], count=True, help="Say more: which cluster, how long it took.", **shared),
        Option(["-q", "--quiet"], count=True, help="Say less: no notices; twice for no warnings.", **shared),
        Option(
            ["--color/--no-color"],
            default=None,
            help="Colours, or none. By default on terminals, unless NO_COLOR is set.",
            **shared,
        ),
    ]


def connection_options(function: F) -> F:
    """--kubeconfig, --context, --namespace, --request-timeout: kept in `App.connection`, found as kubectl does."""
    shared: dict[str, Any] = {
        "heading": CONNECTION, "expose_value": False, "callback": _remember, "everywhere": True
    }  # fmt: skip
    for decorate in reversed(
        [
            option(
                "-n",
                "--namespace",
                metavar="NAME",
                shell_complete=complete_namespaces,
                help="The namespace; by default the context's.",
                **shared,
            ),
            option(
                "--kubeconfig",
                metavar="FILE",
                type=click.Path(),
                help="The kubeconfig; by default $KUBECONFIG, ~/.kube/config, then the pod's own account.",
                **shared,
            ),
            option("--context", metavar="NAME", help="The context of the kubeconfig.", **shared),
            option(
                "--request-timeout",
                metavar="DURATION",
                type=DURATION,
                help='How long one request may take; by default "30s".',
                **shared,
            ),
        ]
    ):
        function = decorate(function)
    return function


def output_option(
    *,
    formats: Sequence[str] = OUTPUT_FORMATS,
    default: str | None = None,
    help_text: str = "How to write the result.",
) -> Decorator[Any]:
    """-o/--output. The value is one of ``formats``, or ``default`` (None: one line for each object)."""
    return option(
        "-o",
        "--output",
        "output",
        heading=OUTPUT,
        everywhere=True,
        type=click.Choice(formats),
        default=default,
        help=help_text,
    )


def dry_run_option(function: F) -> F:
    """--dry-run client|server: the value is "client", "server" or None."""
    decorated: F = option(
        "--dry-run",
        heading=SAFETY,
        type=click.Choice(["client", "server", "none"]),
        default=None,
        callback=lambda ctx, param, value: None if value == "none" else value,
        help="Change nothing: show what would be done (client), or have the cluster check it as well (server).",
    )(function)
    return decorated


def yes_option(function: F) -> F:
    """-y/--yes: do not ask."""
    decorated: F = option("-y", "--yes", is_flag=True, heading=SAFETY, help="Do not ask.")(function)
    return decorated


def concurrency_option(function: F) -> F:
    """--concurrency: how many objects are worked on at once."""
    decorated: F = option(
        "--concurrency",
        metavar="N",
        type=click.IntRange(1, 256),
        default=16,
        show_default=True,
        everywhere=True,
        heading=SAFETY,
        help="How many VMs are worked on at once.",
    )(function)
    return decorated


def max_changes_option(function: F) -> F:
    """--max-changes N|N%: refuse the whole run when it would change more; the value is a `Limit` or None."""
    decorated: F = option(
        "--max-changes",
        metavar="N|N%",
        type=LIMIT,
        heading=SAFETY,
        help="Refuse, before anything is changed, to change more than so many of the VMs, or such a share; "
        "a share above 0% allows at least one.",
    )(function)
    return decorated


def waiting_options(function: F) -> F:
    """--wait and --timeout: values ``wait`` (bool) and ``timeout`` (timedelta or None)."""
    function = option(
        "--timeout",
        metavar="DURATION",
        type=DURATION,
        heading=WAITING,
        everywhere=True,
        help='How long to wait for each VM, as "90s" or "15m"; by default what the verb may need.',
    )(function)
    decorated: F = option(
        "--wait/--no-wait", default=False, heading=WAITING, help="Wait until it is so, not only asked for."
    )(function)
    return decorated


# --- completion ---------------------------------------------------------------------------------------------


def complete_namespaces(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of namespaces, for shells."""
    from vmkit.cli.completion import find_namespaces

    return find_namespaces(ctx, incomplete)


def complete_vms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of VMs of the chosen namespace, for shells."""
    from vmkit.cli.completion import find_vms

    return find_vms(ctx, incomplete)


def complete_templates(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of templates, for shells."""
    from vmkit.cli.completion import find_templates

    return find_templates(ctx, incomplete)


__all__ = [
    "DURATION",
    "LIMIT",
    "OUTPUT_FORMATS",
    "SECONDS",
    "SIZE",
    "Command",
    "Group",
    "Option",
    "argument",
    "click_choice",
    "command",
    "complete_namespaces",
    "complete_templates",
    "complete_vms",
    "concurrency_option",
    "connection_options",
    "dry_run_option",
    "group",
    "max_changes_option",
    "option",
    "output_option",
    "pass_app",
    "waiting_options",
    "yes_option",
]
