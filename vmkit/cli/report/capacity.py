"""``vmkit report capacity``."""

from __future__ import annotations

from datetime import timedelta

from vmkit.cli.app import App
from vmkit.cli.monitoring import MONITORING, Monitoring, monitoring_options
from vmkit.cli.options import DURATION, connection_options, option, output_option, pass_app
from vmkit.cli.report.group import page_options, report, write_page
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode


@report.command("capacity")
@selection_options(everything=False)
@option(
    "--horizon",
    type=DURATION,
    default="30d",
    show_default=True,
    metavar="DURATION",
    help="How long ahead growth is reserved for: the time it takes to get more capacity.",
)
@option(
    "--lookback",
    type=DURATION,
    default="14d",
    show_default=True,
    metavar="DURATION",
    heading=MONITORING,
    help="How far back use is looked at; growth needs two weeks.",
)
@option(
    "--step",
    type=DURATION,
    default="5m",
    show_default=True,
    metavar="DURATION",
    heading=MONITORING,
    help="The time between two samples.",
)
@monitoring_options
@output_option(
    formats=("table", "wide", "json", "yaml", "csv"),
    default="table",
    help_text="How to write it; json and yaml are the envelope of docs/output.md.",
)
@page_options
@connection_options
@pass_app
def capacity(
    app: App,
    *,
    chosen: Chosen,
    monitoring: Monitoring,
    lookback: timedelta,
    step: timedelta,
    horizon: timedelta,
    output: str,
    html: str | None,
    markdown: str | None,
) -> ExitCode:
    """Say what VMs' reservations are for, and which servers could be off.

    Splits what each VM reserves into base, variable load, safety, growth, redundancy and just in case; then
    packs what remains to see which servers could be emptied, with one to spare. Nothing is changed.

    \b
    vmkit report capacity -A
    vmkit report capacity -A -o csv > capacity.csv
    vmkit report capacity -A --html capacity.html
    """
    from vmkit.insight.show_capacity import build_page, render_capacity
    from vmkit.insights import Insights
    from vmkit.report.envelope import build_envelope, render_document

    chosen.check(may_be_empty=True)
    with app.connect() as vk:
        refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
        found = Insights(vk.session, monitoring.open(vk)).capacity(
            names=refs,
            namespace=None if chosen.all_namespaces else vk.namespace,
            selector=chosen.selector,
            lookback=lookback,
            step=step,
            horizon=horizon,
        )
    code = ExitCode.OK if not found.errors else ExitCode.SOME_FAILED
    if output in ("json", "yaml"):
        envelope = build_envelope(
            "CapacityReport", "report capacity", (vm.to_dict() for vm in found.vms),
            errors=found.errors, notices=found.notices, exit_code=code,
        )  # fmt: skip
        app.console.data(render_document({**envelope, "fleet": found.to_dict()}, output))
    elif found.vms:
        app.console.data(render_capacity(found, output))
    else:
        app.console.note("there is no VM to report about; -A looks in all namespaces")
    write_page(app, build_page(found), html=html, markdown=markdown)
    app.say(found.errors, found.notices)
    return code
