"""``vmkit schedule keep-up``, ``keep-down``, ``skip-next``, ``exclude-until``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from vmkit.cli.app import App
from vmkit.cli.options import (
    DURATION,
    argument,
    complete_vms,
    connection_options,
    option,
    output_option,
    pass_app,
)
from vmkit.cli.schedule.group import parse_at, read_settings_of, schedule, settings_options
from vmkit.errors import ExitCode, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def _common(function: F) -> F:
    for decorate in (
        connection_options,
        output_option(help_text="How to write the result; by default one line for each VM."),
        option("--clear", is_flag=True, help="Take it away again."),
        argument("names", nargs=-1, required=True, metavar="VM...", shell_complete=complete_vms),
    ):
        function = decorate(function)
    return function


def _lasting(function: F) -> F:
    function = option("--until", metavar="TIME", help='Until this instant, as "2026-02-05T18:00:00Z".')(function)
    decorated: F = option("--for", "span", metavar="DURATION", type=DURATION, help='For so long, as "3h".')(
        function
    )
    return decorated


def _set(
    app: App,
    override: str,
    names: tuple[str, ...],
    *,
    output: str | None,
    clear: bool,
    span: timedelta | None = None,
    until: str | None = None,
    **arguments: Any,
) -> ExitCode:
    from vmkit.schedule.running.overrides import Override
    from vmkit.vm.reference import parse_vm_ref

    lasting = override != "skip-next"
    given = (span is not None) + (until is not None) + clear
    if lasting and given != 1:
        raise UsageError(
            f"{override} needs one of --for, --until and --clear", hint=f"vmkit schedule {override} web-1 --for 3h"
        )
    with app.connect() as vk:
        refs = [parse_vm_ref(name, default_namespace=vk.namespace) for name in names]
        end = vk.schedule.now + span if span is not None else parse_at(until)
        result = vk.schedule.override(
            refs, Override(override), until=end, clear=clear, on_outcome=app.outcome_writer(output), **arguments
        )
    return app.show(result, output=output)


@schedule.command("keep-up")
@_lasting
@_common
@pass_app
def keep_up(app: App, *, names: tuple[str, ...], **options: Any) -> ExitCode:
    """Let no schedule stop VMs for a while.

    A stop that falls into that time is made up for when it ends.

    \b
    vmkit schedule keep-up web-1 --for 3h
    """
    return _set(app, "keep-up", names, **options)


@schedule.command("keep-down")
@_lasting
@_common
@pass_app
def keep_down(app: App, *, names: tuple[str, ...], **options: Any) -> ExitCode:
    """Let no schedule start VMs for a while.

    A start that falls into that time is made up for when it ends.
    """
    return _set(app, "keep-down", names, **options)


@schedule.command("skip-next")
@settings_options
@_common
@pass_app
def skip_next(
    app: App,
    *,
    names: tuple[str, ...],
    config: str | None,
    calendars: tuple[str, ...],
    dialect: str | None,
    **options: Any,
) -> ExitCode:
    """Leave the next transition of VMs out."""
    settings = read_settings_of(config, calendars, dialect)
    return _set(app, "skip-next", names, settings=settings, **options)


@schedule.command("exclude-until")
@_lasting
@_common
@pass_app
def exclude_until(app: App, *, names: tuple[str, ...], **options: Any) -> ExitCode:
    """Leave VMs alone until an instant, whatever their schedules say.

    \b
    vmkit schedule exclude-until web-1 --until 2026-02-09T06:00:00Z
    """
    return _set(app, "exclude-until", names, **options)
