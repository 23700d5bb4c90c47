"""``vmkit lab clock``."""

from __future__ import annotations

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, describe_clock, parse_instant, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import argument, option, pass_app
from vmkit.errors import ExitCode, UsageError


@lab.command("clock", context_settings={"ignore_unknown_options": True})
@argument("move", required=False, metavar="[+DURATION|TIME|now|freeze|run]")
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="With run: how many seconds it makes of one.",
)
@which_lab
@pass_app
def clock(app: App, *, move: str | None, speed: float | None, name: str, lab_kubeconfig: str | None) -> ExitCode:
    """Show or move the clock of a practice cluster.

    Everything that falls due on the way happens, in order.

    \b
    vmkit lab clock                        where it stands
    vmkit lab clock +8h                    eight hours on
    vmkit lab clock 2026-03-02T08:00:00Z   on to an instant
    vmkit lab clock freeze                 let it stand
    vmkit lab clock run --speed 60         a minute a second
    """
    if speed is not None and move != "run":
        raise UsageError("--speed goes with run", hint="vmkit lab clock run --speed 60")
    remote = connect(name, lab_kubeconfig)
    if move is None or move == "now":
        stands = remote.clock()
    elif move == "freeze":
        stands = remote.move_clock(freeze=True)
    elif move == "run":
        stands = remote.move_clock(speed=1.0 if speed is None else speed)
    elif move.startswith("+"):
        from vmkit.units import parse_duration

        stands = remote.move_clock(advance_seconds=parse_duration(move[1:], where="MOVE").total_seconds())
    elif move.startswith("-"):
        raise UsageError("the clock only moves forward", hint='give "+8h"')
    else:
        stands = remote.move_clock(to=parse_instant(move).isoformat())
    app.console.report(f"{stands['now']} {describe_clock(stands)}")
    return ExitCode.OK
