"""``vmkit schedule run``, ``suspend`` and ``resume``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from vmkit.cli.app import App
from vmkit.cli.options import (
    DURATION,
    SAFETY,
    SELECTION,
    concurrency_option,
    connection_options,
    max_changes_option,
    option,
    output_option,
    pass_app,
    yes_option,
)
from vmkit.cli.schedule.controller import run_controller
from vmkit.cli.schedule.group import SCHEDULES, parse_at, read_settings_of, schedule, settings_options
from vmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.schedule.running.passing import PassOptions
    from vmkit.schedule.running.settings import Settings
    from vmkit.schedule.running.simulate import SimulatedVm

CONTROLLER: Final = "Controller"


@schedule.command("run")
@option("-A", "--all-namespaces", is_flag=True, heading=SELECTION, help="In all namespaces.")
@option("-l", "--selector", metavar="SELECTOR", default="", heading=SELECTION, help="VMs whose labels match.")
@option("--dry-run", is_flag=True, heading=SAFETY, help="Show the plan; write and do nothing.")
@option("--at", metavar="TIME", heading=SCHEDULES, help="Show the plan of another instant; changes nothing.")
@option(
    "--simulate",
    metavar="DURATION",
    type=DURATION,
    heading=SCHEDULES,
    help='Run the calendar forward, as "7d", and show the hours off; changes nothing.',
)
@option(
    "--watch",
    is_flag=True,
    heading=CONTROLLER,
    help="Be the controller: go on, and act whenever something is due; asks nothing.",
)
@option(
    "--listen",
    metavar="[ADDRESS]:PORT",
    heading=CONTROLLER,
    help="With --watch: where /metrics, /healthz and /readyz are, as :9108; by default nowhere.",
)
@option(
    "--lease-name",
    metavar="NAME",
    default="vmkit-schedule",
    show_default=True,
    heading=CONTROLLER,
    help="With --watch: the Lease by which replicas agree on who acts.",
)
@option(
    "--lease-namespace",
    metavar="NAMESPACE",
    heading=CONTROLLER,
    help="With --watch: where the Lease is; by default the namespace of the connection.",
)
@option(
    "--no-leader-election",
    is_flag=True,
    heading=CONTROLLER,
    help="With --watch: act without a Lease, where there is only this one.",
)
@option(
    "--resync",
    metavar="DURATION",
    type=DURATION,
    default="10m",
    show_default=True,
    heading=CONTROLLER,
    help="With --watch: how often everything is listed and looked at in any case.",
)
@option(
    "--owner-label",
    metavar="LABEL",
    default="vmkit.io/owner",
    show_default=True,
    heading=SCHEDULES,
    help="With --simulate: the label that says whose a VM is; else it is its namespace's.",
)
@option(
    "--deadline",
    metavar="DURATION",
    type=DURATION,
    default="2h",
    show_default=True,
    heading=SCHEDULES,
    help="How late a missed transition may still be carried out.",
)
@option(
    "--enforce",
    is_flag=True,
    heading=SCHEDULES,
    help="Whenever a VM is not as scheduled, make it so, whoever changed it.",
)
@option("--adopt", is_flag=True, heading=SCHEDULES, help="Take in VMs that only a downscaler's annotations name.")
@option(
    "--despite-gitops", is_flag=True, heading=SAFETY, help="Act on VMs that Argo CD or Flux would change back."
)
@option(
    "--starts-a-minute",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=60,
    show_default=True,
    heading=SAFETY,
    help="At most so many starts in any minute.",
)
@option(
    "--starts-a-node",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    heading=SAFETY,
    help="At most so many starts in any minute for each node that answers.",
)
@option(
    "--ready-timeout",
    metavar="DURATION",
    type=DURATION,
    default="5m",
    show_default=True,
    heading=SAFETY,
    help="How long one step of a start order may take.",
)
@option(
    "--switch",
    "switch_place",
    metavar="NAMESPACE/NAME",
    default="vmkit/vmkit-switch",
    show_default=True,
    heading=SAFETY,
    help="The ConfigMap that suspends every change.",
)
@settings_options
@concurrency_option
@max_changes_option
@yes_option
@output_option(help_text="How to write the result; by default one line for each VM that matters.")
@connection_options
@pass_app
def run(
    app: App,
    *,
    simulate: timedelta | None,
    owner_label: str,
    watch: bool,
    listen: str | None,
    lease_name: str,
    lease_namespace: str | None,
    no_leader_election: bool,
    resync: timedelta,
    yes: bool,
    output: str | None,
    concurrency: int,
    **given: Any,
) -> ExitCode:
    """Do what schedules ask for: once, or with --watch from now on.

    Looks at every VM, carries out what is due, and ends: made for a CronJob every few minutes. A transition
    that was missed is carried out once, if it is not too late. What people switched by hand is left to them
    until the next transition.

    \b
    vmkit schedule run --dry-run
    vmkit schedule run -A --max-changes 50%
    vmkit schedule run -A --simulate 7d
    vmkit schedule run -A --watch --listen :9108
    """
    if watch and (simulate is not None or given["at"] is not None):
        raise UsageError("--watch acts now; --at and --simulate are about other times")
    if listen is not None and not watch:
        raise UsageError("--listen belongs to --watch", hint="a single pass ends before anybody could ask")
    with app.connect(connections=concurrency) as vk:
        namespace = None if given.pop("all_namespaces") else vk.namespace
        options = _options(namespace, concurrency, simulating=simulate is not None, **given)
        if simulate is not None:
            found = vk.schedule.simulate(simulate, options, owner_label=owner_label)
            app.say((), options.settings.notices)
            return _show_simulation(app, found, output)
        if watch:
            lease = None if no_leader_election else (lease_namespace or vk.namespace, lease_name)
            return run_controller(
                app,
                vk,
                options,
                lambda: _settings(given),
                listen=listen,
                lease=lease,
                resync=resync,
                output=output,
            )
        result = vk.schedule.run(options, confirm=app.confirmer(yes=yes), on_outcome=app.outcome_writer(output))
    return app.show(result, output=output)


def _settings(given: Mapping[str, Any]) -> Settings:
    return read_settings_of(given["config"], given["calendars"], given["dialect"])


def _options(
    namespace: str | None,
    concurrency: int,
    *,
    selector: str,
    dry_run: bool,
    at: str | None,
    simulating: bool,
    deadline: timedelta,
    enforce: bool,
    adopt: bool,
    despite_gitops: bool,
    switch_place: str,
    config: str | None,
    calendars: tuple[str, ...],
    dialect: str | None,
    **rest: Any,
) -> PassOptions:
    from vmkit.schedule.running.passing import PassOptions
    from vmkit.schedule.vetoes import Policy

    return PassOptions(
        namespace=namespace,
        label_selector=selector,
        settings=read_settings_of(config, calendars, dialect),
        policy=Policy(deadline=deadline, enforce=enforce, despite_gitops=despite_gitops),
        at=parse_at(at),
        dry_run=dry_run or at is not None or simulating,
        adopt=adopt,
        switch=_switch(switch_place),
        concurrency=concurrency,
        **rest,
    )


def _switch(text: str) -> Any:
    from vmkit.schedule.running.switch import Switch

    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise UsageError(f"--switch {text!r} names no ConfigMap", hint="--switch vmkit/vmkit-switch")
    return Switch(namespace, name)


def _show_simulation(app: App, found: list[SimulatedVm], output: str | None) -> ExitCode:
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.report.table import Column, render_csv, render_table
    from vmkit.schedule.running.simulate import hours_by_owner
    from vmkit.schedule.show import hours

    if output in ("json", "yaml"):
        envelope = build_envelope("Simulation", "schedule run", [one.to_dict() for one in found], exit_code=0)
        app.console.data(render_document(envelope, output))
        return ExitCode.OK
    columns: list[Column[SimulatedVm]] = [
        Column("NAMESPACE", lambda vm: vm.ref.namespace),
        Column("NAME", lambda vm: vm.ref.name),
        Column("OWNER", lambda vm: vm.owner),
        Column("HOURS-OFF", lambda vm: hours(vm.off)),
        Column("HOURS", lambda vm: hours(vm.span)),
        Column("SWITCHED", lambda vm: str(len(vm.steps))),
        Column("NOTE", lambda vm: vm.note),
    ]
    if output == "csv":
        app.console.data(render_csv(columns, found))
        return ExitCode.OK
    if not found:
        app.console.note("no VM has a schedule")
        return ExitCode.OK
    app.console.data(render_table(columns, found))
    owners: list[Column[Any]] = [
        Column("OWNER", lambda row: row[0]),
        Column("VMS", lambda row: str(row[1][0])),
        Column("HOURS-OFF", lambda row: hours(row[1][1])),
        Column("HOURS", lambda row: hours(row[1][2])),
    ]
    app.console.data("\n" + render_table(owners, hours_by_owner(found).items()))
    return ExitCode.OK


def _turn(app: App, switch_place: str, *, suspended: bool) -> ExitCode:
    switch = _switch(switch_place)
    with app.connect() as vk:
        vk.schedule.suspend(suspended=suspended, switch=switch)
    app.console.report(f"{switch}: changes by schedules are {'suspended' if suspended else 'allowed'}")
    return ExitCode.OK


_PLACE = option(
    "--switch",
    "switch_place",
    metavar="NAMESPACE/NAME",
    default="vmkit/vmkit-switch",
    show_default=True,
    heading=SAFETY,
    help="The ConfigMap that suspends every change.",
)


@schedule.command("suspend")
@_PLACE
@connection_options
@pass_app
def suspend(app: App, *, switch_place: str) -> ExitCode:
    """Suspend every change by schedules.

    Read before each single change, so that a run under way stops as well.
    """
    return _turn(app, switch_place, suspended=True)


@schedule.command("resume")
@_PLACE
@connection_options
@pass_app
def resume(app: App, *, switch_place: str) -> ExitCode:
    """Allow changes by schedules again.

    Transitions missed meanwhile are carried out once, if they are not too late.
    """
    return _turn(app, switch_place, suspended=False)
