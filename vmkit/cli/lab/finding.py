"""Which running practice cluster a command means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vmkit.cli.options import option
from vmkit.errors import ConfigError, Unreachable, UsageError

if TYPE_CHECKING:
    from vmkit.lab.directory import LabRecord
    from vmkit.lab.remote import RemoteLab

WHICH = "Which practice cluster"


def which_lab(function: Any) -> Any:
    """--name and --kubeconfig of the commands that act on a running lab."""
    function = option(
        "--kubeconfig", "lab_kubeconfig", type=click.Path(dir_okay=False), metavar="FILE", heading=WHICH,
        help="The kubeconfig it was brought up with, instead of its name.",
    )(function)  # fmt: skip
    return option("--name", default="lab", show_default=True, metavar="NAME", heading=WHICH, help="Its name.")(
        function
    )


def connect(name: str, kubeconfig: str | None) -> RemoteLab:
    """The running lab that is meant.

    Raises:
        UsageError: none of that name runs.
    """
    from vmkit.lab.directory import check_name, read_records
    from vmkit.lab.remote import RemoteLab

    if kubeconfig is not None:
        return RemoteLab.from_kubeconfig(kubeconfig)
    record = find_running(check_name(name))
    if record is None:
        others = [each.name for each in read_records() if each.name != name]
        raise UsageError(
            f"no practice cluster named {name} runs",
            hint=f"there is {', '.join(others)}: give --name" if others else "`vmkit lab up` brings one up",
        )
    return RemoteLab.from_kubeconfig(record.kubeconfig, name=record.name)


def find_running(name: str) -> LabRecord | None:
    """The record of a lab that answers; one that does not is forgotten."""
    from vmkit.lab.directory import read_record, remove_record
    from vmkit.lab.remote import RemoteLab

    record = read_record(name)
    if record is None:
        return None
    try:
        RemoteLab.from_kubeconfig(record.kubeconfig).clock()
    except (Unreachable, ConfigError):
        remove_record(record)
        return None
    return record


def parse_instant(text: str) -> datetime:
    from datetime import datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no instant", hint='write it as "2026-03-02T08:00:00+01:00" or "+8h"'
        ) from error
    if at.tzinfo is None:
        raise UsageError(f"{text!r} has no time zone", hint='add "Z" or "+01:00"')
    return at


def describe_clock(clock: Mapping[str, Any]) -> str:
    if clock["frozen"]:
        return "frozen"
    return "runs" if clock["speed"] == 1 else f"runs x{clock['speed']:g}"
