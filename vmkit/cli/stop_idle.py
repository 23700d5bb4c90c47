"""``vmkit stop-idle``: runs, ``explain`` and ``snooze``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from vmkit.cli.app import App
from vmkit.cli.monitoring import Monitoring, monitoring_options
from vmkit.cli.options import (
    DURATION,
    LIMIT,
    OUTPUT,
    SAFETY,
    SIZE,
    Group,
    argument,
    complete_vms,
    concurrency_option,
    connection_options,
    option,
    output_option,
    pass_app,
    yes_option,
)
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.idle.policy import IdlePolicy
    from vmkit.idle.running import IdleOptions, Scope
    from vmkit.idling import Idling
    from vmkit.units import Limit

IDLE: Final = "What counts as idle"
REHEARSAL: Final = "Rehearsal"
_PRESETS: Final = ("vmkit", "aws", "gcp", "azure")


class _Runs(Group):
    """A group that runs where none of its commands is named: ``vmkit stop-idle web-1`` is ``... run web-1``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        if not args or args[0] not in known:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("stop-idle", cls=_Runs)
def stop_idle() -> None:
    """Find VMs that nobody uses, and stop them.

    "vmkit stop-idle" is "vmkit stop-idle run": it looks at VMs and namespaces that carry the label
    vmkit.io/stop-idle=enabled, or at those that are named. What is idle is noted first, and stopped by a run
    24 hours later if it is idle still. What is not known is kept running. docs/idle.md has the rules.

    \b
    vmkit stop-idle --dry-run -A
    vmkit stop-idle -n team-a --all --report idle.html
    vmkit stop-idle explain web-1
    vmkit stop-idle snooze web-1 --for 7d
    """


def policy_options(function: Any) -> Any:
    """--preset, --lookback and vmkit's own limits: values of these names, None where not given."""
    number = click.FloatRange(min=0, min_open=True)
    for decorate in (
        option(
            "--disk", metavar="SIZE", type=SIZE, heading=IDLE, help="Bytes a second read, and written.  [500k]"
        ),
        option("--network", metavar="SIZE", type=SIZE, heading=IDLE, help="Bytes a second each way.  [32k]"),
        option("--cpu-share", metavar="PERCENT", type=number, heading=IDLE, help="Percent of its CPUs.  [3]"),
        option(
            "--cpu-cores",
            metavar="CORES",
            type=number,
            heading=IDLE,
            help="Below it CPU is noise.  [0.15]",
        ),
        option(
            "--percentile", metavar="P", type=number, heading=IDLE, help="99.5 or more; 100 is the maximum.  [100]"
        ),
        option(
            "--lookback", metavar="DURATION", type=DURATION, heading=IDLE, help="How far back use counts.  [14d]"
        ),
        option(
            "--preset",
            type=click.Choice(_PRESETS),
            default="vmkit",
            show_default=True,
            heading=IDLE,
            help="vmkit's own definition, or that of a cloud; the limits below are those of vmkit's own.",
        ),
    ):
        function = decorate(function)
    return function


def build_policy(
    *,
    preset: str,
    lookback: timedelta | None,
    percentile: float | None,
    cpu_cores: float | None,
    cpu_share: float | None,
    network: int | None,
    disk: int | None,
) -> IdlePolicy:
    """What these options say.

    Raises:
        UsageError: it makes no sense.
    """
    from vmkit.idle.policy import find_preset, vmkit_policy

    limits = {
        "percentile": percentile,
        "cpu_cores": cpu_cores,
        "cpu_share": None if cpu_share is None else cpu_share / 100,
        "network_bytes_per_second": network,
        "disk_bytes_per_second": disk,
    }
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    if preset != "vmkit":
        if given:
            raise UsageError(f"the limits of {preset} are its own", hint="leave them out, or leave --preset out")
        policy = find_preset(preset)
        return policy if lookback is None else replace(policy, lookback=lookback)
    if lookback is not None:
        given["lookback"] = lookback
    return vmkit_policy(**given)


@stop_idle.command("run")
@selection_options()
@option("--dry-run", is_flag=True, heading=SAFETY, help="Show what is idle and what would be done; do nothing.")
@option(
    "--notice",
    metavar="DURATION",
    type=DURATION,
    default="24h",
    show_default=True,
    heading=SAFETY,
    help="How long people are told before a stop.",
)
@option("--stop-now", is_flag=True, heading=SAFETY, help="Stop what is idle without notice.")
@option(
    "--max-stops",
    metavar="N|N%",
    type=LIMIT,
    default="5%",
    show_default=True,
    heading=SAFETY,
    help="Stop at most so many in this run, or such a share of the VMs that run; the others have to wait.",
)
@option(
    "--wave",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    heading=SAFETY,
    help="Stop so many at once; where one fails, no further wave begins.",
)
@option(
    "--accept-growth",
    is_flag=True,
    heading=SAFETY,
    help="Go on although the share of idle VMs grew by more than 10 points since the last run.",
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
@option("--webhook", metavar="URL", default="", help="Tell this address what was noted and stopped (JSON, POST).")
@option(
    "--report",
    "reports",
    metavar="FILE",
    multiple=True,
    heading=OUTPUT,
    help="Write what was found to a file as well: .html, .md or .json; may be given again.",
)
@option(
    "--rehearse",
    metavar="DURATION",
    type=DURATION,
    heading=REHEARSAL,
    help='Replay the definition over so much of the past ("30d"), and do nothing.',
)
@option(
    "--compare",
    metavar="PRESET,...",
    heading=REHEARSAL,
    help="Replay these as well, side by side: vmkit, aws, gcp, azure.",
)
@policy_options
@monitoring_options
@concurrency_option
@yes_option
@output_option(
    formats=("table", "wide", "json", "yaml", "csv"),
    help_text="How to write what was found; by default one line for each VM that something is done about.",
)
@connection_options
@pass_app
def run(
    app: App,
    *,
    chosen: Chosen,
    monitoring: Monitoring,
    output: str | None,
    reports: tuple[str, ...],
    yes: bool,
    concurrency: int,
    dry_run: bool,
    stop_now: bool,
    rehearse: timedelta | None,
    compare: str | None,
    **given: Any,
) -> ExitCode:
    """Judge VMs by their use, note those that nobody uses, and stop what was noted before.

    On a terminal the plan is shown, and a yes is asked for. Elsewhere VMs are only noted, unless --yes is among
    the arguments. Never forces; vmkit start brings a VM back as it was.

    \b
    vmkit stop-idle run -A --dry-run
    vmkit stop-idle run -l team=red --notice 48h
    vmkit stop-idle run -A --report idle.html --report idle.json --dry-run
    vmkit stop-idle run -A --rehearse 30d --compare aws,gcp,azure --report rehearsal.html
    """
    from vmkit.cli.stop_idle_show import check_reports, show_run, write_reports

    check_reports(reports)
    if compare is not None and rehearse is None:
        raise UsageError("--compare needs something to compare over", hint="add --rehearse 30d")
    asks = app.console.interactive and not yes
    marks_only = not (yes or asks or dry_run)
    if stop_now and marks_only:
        raise UsageError("without a terminal VMs are only noted", hint="--stop-now needs --yes there")
    chosen.check(may_be_empty=True)
    with app.connect(connections=concurrency) as vk:
        options = _options(
            _scope(app, vk, chosen),
            concurrency=concurrency,
            dry_run=dry_run,
            stop_now=stop_now,
            marks_only=marks_only,
            **given,
        )
        if rehearse is not None:
            from vmkit.cli.rehearse import rehearse_runs

            return rehearse_runs(
                app,
                _idling(app, vk, monitoring),
                options,
                span=rehearse,
                compare=compare,
                output=output,
                reports=reports,
            )
        with app.console.progress("stop-idle") as progress:
            found = _idling(app, vk, monitoring).run(
                options,
                confirm=app.confirmer(yes=not asks, always=True),
                on_outcome=app.outcome_writer(output),
                on_progress=lambda text: progress.update(text=text),
            )
    write_reports(app, found.report, reports)
    return show_run(app, found, output=output)


def _idling(app: App, vk: Vmkit, monitoring: Monitoring) -> Idling:
    """With the Prometheus that is named or found; a practice cluster without one brings its own series."""
    from vmkit.idling import find_practice_source

    source = find_practice_source(vk.session, app.connection.kubeconfig) if monitoring.url is None else None
    return vk.idle(source=source) if source is not None else vk.idle(monitoring.open(vk))


def _scope(app: App, vk: Vmkit, chosen: Chosen) -> Scope:
    """Which VMs: what is chosen; with nothing, what is labelled, in the namespace of -n or in all of them."""
    from vmkit.idle.running import Scope

    refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
    if refs:
        return Scope(names=refs)
    said = bool(chosen.selector or chosen.everything)
    everywhere = chosen.all_namespaces or not (said or app.connection.namespace is not None)
    return Scope(
        label_selector=chosen.selector,
        everything=chosen.everything or (chosen.all_namespaces and not chosen.selector),
        namespace=None if everywhere else vk.namespace,
    )


def _options(
    scope: Scope,
    *,
    switch_place: str,
    max_stops: Limit,
    preset: str,
    lookback: timedelta | None,
    percentile: float | None,
    cpu_cores: float | None,
    cpu_share: float | None,
    network: int | None,
    disk: int | None,
    **rest: Any,
) -> IdleOptions:
    from vmkit.guard.switch import Switch
    from vmkit.idle.running import IdleOptions

    namespace, slash, name = switch_place.partition("/")
    if not (namespace and slash and name):
        raise UsageError(f"--switch {switch_place!r} names no ConfigMap", hint="--switch vmkit/vmkit-switch")
    policy = build_policy(
        preset=preset,
        lookback=lookback,
        percentile=percentile,
        cpu_cores=cpu_cores,
        cpu_share=cpu_share,
        network=network,
        disk=disk,
    )
    return IdleOptions(scope, policy, max_stops=max_stops, switch=Switch(namespace, name), **rest)


@stop_idle.command("explain")
@argument("name", metavar="VM", shell_complete=complete_vms)
@policy_options
@monitoring_options
@output_option(formats=("json", "yaml"), help_text="How to write it; by default as text.")
@connection_options
@pass_app
def explain(app: App, *, name: str, monitoring: Monitoring, output: str | None, **given: Any) -> ExitCode:
    """Say of one VM whether it is idle, by which criteria, with every number.

    \b
    vmkit stop-idle explain web-1
    vmkit stop-idle explain web-1 --preset aws
    """
    from vmkit.cli.stop_idle_show import render_explanation
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.vm.reference import parse_vm_ref

    policy = build_policy(**given)
    with app.connect() as vk:
        ref = parse_vm_ref(name, default_namespace=vk.namespace)
        item = _idling(app, vk, monitoring).explain(ref, policy=policy)
    if output is not None:
        envelope = build_envelope("IdleReport", "stop-idle explain", [item.to_dict()], exit_code=0)
        app.console.data(render_document(envelope, output))
    else:
        app.console.data(render_explanation(item))
    return ExitCode.OK


@stop_idle.command("snooze")
@argument("names", nargs=-1, required=True, metavar="VM...", shell_complete=complete_vms)
@option("--for", "span", metavar="DURATION", type=DURATION, help='For so long, as "7d".')
@option("--until", metavar="TIME", help='Until this instant, as "2026-02-05T18:00:00Z".')
@option("--clear", is_flag=True, help="Take it back.")
@output_option(help_text="How to write the result; by default one line for each VM.")
@connection_options
@pass_app
def snooze(
    app: App,
    *,
    names: tuple[str, ...],
    span: timedelta | None,
    until: str | None,
    clear: bool,
    output: str | None,
) -> ExitCode:
    """Let VMs not be called idle for a while.

    What is noted on them is taken away. The label vmkit.io/stop-idle=disabled does it for good.

    \b
    vmkit stop-idle snooze web-1 --for 7d
    """
    from vmkit.schedule.sources import parse_instant
    from vmkit.vm.reference import parse_vm_ref

    if (span is not None) + (until is not None) + clear != 1:
        raise UsageError(
            "snooze needs one of --for, --until and --clear", hint="vmkit stop-idle snooze VM --for 7d"
        )
    with app.connect() as vk:
        idling = vk.idle()
        end = idling.now + span if span is not None else None if until is None else parse_instant(until)
        refs = [parse_vm_ref(name, default_namespace=vk.namespace) for name in names]
        result = idling.snooze(refs, end, on_outcome=app.outcome_writer(output))
    return app.show(result, output=output)
