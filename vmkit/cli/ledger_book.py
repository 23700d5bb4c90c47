"""``vmkit ledger``."""

from __future__ import annotations

from datetime import timedelta

from vmkit.cli.app import App
from vmkit.cli.options import DURATION, command, connection_options, option, output_option, pass_app
from vmkit.errors import ExitCode


@command("ledger")
@option(
    "--since",
    metavar="DURATION",
    type=DURATION,
    help='Only what was off in the last "30d"; by default all there is.',
)
@option(
    "--rates",
    metavar="FILE",
    help="A TOML file with the factor of CO2, idle power and prices; docs/idle.md shows one.",
)
@option(
    "--ledger-namespace",
    metavar="NAME",
    default="vmkit",
    show_default=True,
    help="Where the ledger is kept.",
)
@option("--record", is_flag=True, help="Write what VMs remember into the ledger first, as vmkit stop-idle does.")
@output_option(
    formats=("table", "wide", "json", "yaml", "csv", "prometheus"),
    default="table",
    help_text="How to write it; wide adds the VMs, prometheus is the text format of metrics.",
)
@connection_options
@pass_app
def ledger(
    app: App, *, since: timedelta | None, rates: str | None, ledger_namespace: str, record: bool, output: str
) -> ExitCode:
    """Show what vmkit turned off, and what that returned.

    CPU-hours, GB-hours and active energy as it was measured before. Idle energy is an allocation and shown apart;
    grams of CO2 and money need a file that says how much they are.

    \b
    vmkit ledger --since 30d
    vmkit ledger --since 30d --rates rates.toml -o wide
    """
    from vmkit.idle.ledger import Rates
    from vmkit.idle.ledger_show import (
        ledger_items,
        ledger_summary,
        render_ledger,
        render_ledger_csv,
        render_ledger_metrics,
    )
    from vmkit.idle.rates import read_rates
    from vmkit.report.envelope import build_envelope, render_document

    table = Rates() if rates is None else read_rates(rates)
    with app.connect() as vk:
        account = vk.idle().ledger(namespace=ledger_namespace, since=since, rates=table, write=record)
    app.say((), account.notices)
    if output in ("json", "yaml"):
        envelope = build_envelope("Ledger", "ledger", ledger_items(account), notices=account.notices, exit_code=0)
        app.console.data(render_document({**envelope, "ledger": ledger_summary(account)}, output))
    elif output == "csv":
        app.console.data(render_ledger_csv(account))
    elif output == "prometheus":
        app.console.data(render_ledger_metrics(account))
    elif not account.by_vm():
        app.console.note("vmkit has turned nothing off in that time")
    else:
        app.console.data(render_ledger(account, wide=output == "wide"))
    return ExitCode.OK
