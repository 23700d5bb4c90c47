"""``vmkit lab clock``."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, describe_clock, parse_instant, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import DURATION, argument, option, output_option, pass_app
from vmkit.cli.schedule.group import read_settings_of, settings_options
from vmkit.errors import ExitCode, UsageError

REHEARSAL: Final = "Rehearsal"


@lab.command("clock", context_settings={"ignore_unknown_options": True})
@argument("move", required=False, metavar="[+DURATION|TIME|now|freeze|run]")
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="With run: how many seconds it makes of one.",
)
@option(
    "--run",
    "span",
    type=DURATION,
    metavar="DURATION",
    heading=REHEARSAL,
    help='Let so long pass, as "7d", with schedules at work, and show every transition: planned, and done.',
)
@option(
    "--namespace",
    "-n",
    metavar="NAME",
    heading=REHEARSAL,
    env=False,
    help="The VMs of one namespace; by default all.",
)
@option(
    "--despite-gitops",
    is_flag=True,
    heading=REHEARSAL,
    env=False,
    help="Act on VMs that Argo CD or Flux would change back.",
)
@settings_options
@output_option(formats=("json", "yaml", "csv"), help_text="With --run: how to write the table.")
@which_lab
@pass_app
def clock(
    app: App,
    *,
    move: str | None,
    speed: float | None,
    span: timedelta | None,
    namespace: str | None,
    despite_gitops: bool,
    config: str | None,
    calendars: tuple[str, ...],
    dialect: str | None,
    output: str | None,
    name: str,
    lab_kubeconfig: str | None,
) -> ExitCode:
    """Show or move the clock of a practice cluster.

    Everything that falls due on the way happens, in order. With --run a week passes in seconds: the clock is moved
    from transition to transition, and at each a pass of "vmkit schedule run" is made as the controller makes it.

    \b
    vmkit lab clock                        where it stands
    vmkit lab clock +8h                    eight hours on
    vmkit lab clock 2026-03-02T08:00:00Z   on to an instant
    vmkit lab clock freeze                 let it stand
    vmkit lab clock run --speed 60         a minute a second
    vmkit lab clock --run 7d               rehearse a week of schedules
    """
    if speed is not None and move != "run":
        raise UsageError("--speed goes with run", hint="vmkit lab clock run --speed 60")
    if span is not None and move is not None:
        raise UsageError(f"--run and {move} are two ways to move it", hint="vmkit lab clock --run 7d")
    rehearsing = (namespace, config, dialect, output, calendars or None, despite_gitops or None)
    if span is None and any(given is not None for given in rehearsing):
        raise UsageError("that goes with --run", hint="vmkit lab clock --run 7d")
    remote = connect(name, lab_kubeconfig)
    if span is not None:
        from vmkit.cli.lab.rehearsal import rehearse_remote
        from vmkit.schedule.running.passing import PassOptions
        from vmkit.schedule.vetoes import Policy

        options = PassOptions(
            namespace=namespace,
            settings=read_settings_of(config, calendars, dialect),
            policy=Policy(despite_gitops=despite_gitops),
        )
        return rehearse_remote(app, remote, options, span, output)
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
