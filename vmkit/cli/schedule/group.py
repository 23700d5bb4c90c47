"""The group ``vmkit schedule``, and the options that its commands share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmkit.cli.options import group, option
from vmkit.errors import UsageError

if TYPE_CHECKING:
    from vmkit.schedule.running.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
SCHEDULES = "Schedules"


@group("schedule")
def schedule() -> None:
    """Start and stop VMs by their schedules, and see what those say.

    Schedules stand in annotations of VMs and namespaces, or in a config file; docs/schedules.md has the
    grammar and the rules. "vmkit schedule run --dry-run" shows what would be done now.
    """


def settings_options(function: F) -> F:
    """--config, --calendar and --honour-downscaler: the command gets ``config``, ``calendars``, ``dialect``."""
    for decorate in (
        option(
            "--honour-downscaler",
            "dialect",
            type=click.Choice(["python", "go"]),
            heading=SCHEDULES,
            help="Obey annotations of a downscaler too, as that tool understands them.",
        ),
        option(
            "--calendar",
            "calendars",
            metavar="NAME=FILE",
            multiple=True,
            heading=SCHEDULES,
            help="A file of holidays that schedules may name; may be given again.",
        ),
        option(
            "--config",
            metavar="FILE",
            type=click.Path(),
            heading=SCHEDULES,
            help="A TOML file with schedules for namespaces, a default, and calendars.",
        ),
    ):
        function = decorate(function)
    return function


def read_settings_of(config: str | None, calendars: tuple[str, ...], dialect: str | None) -> Settings:
    """What these options say.

    Raises:
        ConfigError, UsageError: they cannot be understood.
    """
    from vmkit.schedule.running.settings import read_settings

    files = {}
    for text in calendars:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise UsageError(f"--calendar {text!r} names no file", hint="--calendar closed=closed.ics")
        files[name] = file
    return read_settings(config, calendars=files, honour_downscaler=dialect)


def parse_at(text: str | None) -> datetime | None:
    """The value of --at.

    Raises:
        ScheduleError: it is no instant with a time zone.
    """
    from vmkit.schedule.sources import parse_instant

    return None if text is None else parse_instant(text)
