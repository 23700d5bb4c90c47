"""``vmkit report energy``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmkit.cli.app import App
from vmkit.cli.monitoring import MONITORING, Monitoring, monitoring_options
from vmkit.cli.options import DURATION, click_choice, connection_options, option, output_option, pass_app
from vmkit.cli.report.group import page_options, report, write_page
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.insight.energy.factors import Factor, Site

CARBON: Final = "Carbon"


@report.command("energy")
@selection_options(everything=False)
@option(
    "--by",
    type=click_choice(["vm", "owner", "template", "namespace", "schedule"]),
    default="vm",
    show_default=True,
    help="What VMs are added up by.",
)
@option(
    "--country",
    metavar="CODE",
    heading=CARBON,
    help='Whose yearly average of carbon, as "DE"; by default the world\'s.',
)
@option(
    "--grid-intensity",
    type=float,
    metavar="GRAMS",
    heading=CARBON,
    help="Grams of CO2 for a kilowatt-hour instead.",
)
@option(
    "--carbon",
    type=click_choice(["electricitymaps", "watttime"]),
    heading=CARBON,
    help="A service to ask for the value of this moment instead; WattTime's is marginal, not an average.",
)
@option("--carbon-zone", metavar="ZONE", heading=CARBON, help="The zone to ask it about.")
@option(
    "--carbon-account",
    metavar="FILE",
    heading=CARBON,
    help="A file with the account there: a token, or for WattTime user:password.",
)
@option("--carbon-url", metavar="URL", heading=CARBON, help="Another address of that service.")
@option("--pue", type=float, metavar="RATIO", heading=CARBON, help="Energy of the data centre over its servers'.")
@option("--wue", type=float, metavar="LITRES", heading=CARBON, help="Litres of water for a kilowatt-hour.")
@option(
    "--sites",
    metavar="FILE",
    heading=CARBON,
    help="PUE, WUE and carbon by site (YAML); a node's zone or region leads to its site.",
)
@option(
    "--lookback",
    type=DURATION,
    default="7d",
    show_default=True,
    metavar="DURATION",
    heading=MONITORING,
    help="Over how long.",
)
@option(
    "--kepler-zone",
    default="package",
    show_default=True,
    metavar="ZONE",
    heading=MONITORING,
    help="Which part of the machine Kepler tells of; zones overlap, and are never added up.",
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
def energy(
    app: App,
    *,
    chosen: Chosen,
    monitoring: Monitoring,
    by: str,
    lookback: timedelta,
    kepler_zone: str,
    output: str,
    html: str | None,
    markdown: str | None,
    **carbon: Any,
) -> ExitCode:
    """Say what VMs take, in kilowatt-hours and grams of CO2.

    Energy is what Kepler measured; where there is no Kepler, what a named model estimates. The energy of VMs' work
    and the idle energy of their servers are told apart: stopping a VM ends only the first.

    \b
    vmkit report energy -A --country DE
    vmkit report energy -A --by owner --pue 1.2 -o csv
    """
    from vmkit.insight.energy.show import build_page, render_energy
    from vmkit.insights import Insights
    from vmkit.report.envelope import build_envelope, render_document

    chosen.check(may_be_empty=True)
    default, sites = _sites(carbon)
    with app.connect() as vk:
        refs = chosen.refs(namespace=vk.namespace, stdin=read_stdin)
        found = Insights(vk.session, monitoring.open(vk)).energy(
            names=refs,
            namespace=None if chosen.all_namespaces else vk.namespace,
            selector=chosen.selector,
            lookback=lookback,
            kepler_zone=kepler_zone,
            default_site=default,
            sites=sites,
        )
    code = ExitCode.SOME_FAILED if found.errors else ExitCode.OK
    if output in ("json", "yaml"):
        rows = found.vms if by == "vm" else found.grouped(by)
        envelope = build_envelope(
            "EnergyReport", "report energy", (row.to_dict() for row in rows),
            errors=found.errors, notices=found.notices, exit_code=code,
        )  # fmt: skip
        app.console.data(render_document({**envelope, "by": by, "fleet": found.to_dict()}, output))
    elif found.vms:
        app.console.data(render_energy(found, output, by=by))
    else:
        app.console.note("there is no VM to report about; -A looks in all namespaces")
    write_page(app, build_page(found, by=by), html=html, markdown=markdown)
    app.say(found.errors, found.notices)
    return code


def _sites(carbon: dict[str, Any]) -> tuple[Site, dict[str, Site]]:
    from vmkit.insight.energy.factors import build_site, parse_sites

    factor = _factor(carbon)
    default = build_site(factor=factor, pue=carbon["pue"], wue_litres=carbon["wue"])
    path = carbon["sites"]
    if path is None:
        return default, {}
    from vmkit.provision.yamlread import read_documents

    documents = [document.value for document in read_documents(_read(path), where=path)]
    return default, parse_sites(documents[0] if documents else None, default=factor, where=path)


def _factor(carbon: dict[str, Any]) -> Factor:
    from vmkit.insight.energy.factors import Factor, find_factor
    from vmkit.insight.energy.providers import (
        ELECTRICITY_MAPS_URL,
        WATTTIME_URL,
        read_electricity_maps,
        read_watttime,
    )

    ways = [name for name in ("country", "grid_intensity", "carbon") if carbon[name] is not None]
    if len(ways) > 1:
        raise UsageError(
            "give one of --country, --grid-intensity and --carbon", hint="a report has one factor a site"
        )
    grams, service, zone = carbon["grid_intensity"], carbon["carbon"], carbon["carbon_zone"]
    if grams is not None:
        if not 0 <= grams < 10_000:
            raise UsageError(f"{grams:g} g a kilowatt-hour cannot be", hint="coal has about 1000")
        return Factor(grams, "here", "as told")
    if service is None:
        return find_factor(carbon["country"] or "WORLD")
    if zone is None or carbon["carbon_account"] is None:
        raise UsageError(
            f"--carbon {service} needs --carbon-zone and --carbon-account", hint="both are yours there"
        )
    account, url = _read(carbon["carbon_account"]).strip(), carbon["carbon_url"]
    if service == "electricitymaps":
        return read_electricity_maps(zone, token=account, url=url or ELECTRICITY_MAPS_URL)
    user, colon, password = account.partition(":")
    if not colon:
        raise ConfigError("the account of WattTime is user:password", where=carbon["carbon_account"])
    return read_watttime(zone, user=user, password=password, url=url or WATTTIME_URL)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ConfigError(
            f"{path} cannot be read: {why}", hint="give a file that you may read", where=path
        ) from error
