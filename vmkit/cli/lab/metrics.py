"""``vmkit lab metrics``."""

from __future__ import annotations

import click

from vmkit.cli.app import App
from vmkit.cli.lab.finding import connect, parse_instant, which_lab
from vmkit.cli.lab.group import lab
from vmkit.cli.options import option, pass_app
from vmkit.errors import ExitCode, UsageError


@lab.command("metrics", context_settings={"ignore_unknown_options": True})
@option(
    "--from",
    "start",
    metavar="-DURATION|TIME",
    help="The beginning of a range; without it, the series as they stand now.",
)
@option(
    "--to",
    "end",
    metavar="-DURATION|TIME",
    help="The end of the range; by default the present instant of its clock.",
)
@option("--step", default="5m", show_default=True, metavar="DURATION", help="The time between samples.")
@option("--only", "only", multiple=True, metavar="METRIC", help="Only these metrics.")
@option("--all", "everything", is_flag=True, help="Every metric, not only those that decide about VMs.")
@option("-n", "--namespace", metavar="NAME", help="Only the VMs of one namespace.")
@option(
    "--kepler",
    type=click.Choice(["pods", "containers", "legacy", "none"]),
    help="Which generation of Kepler measures energy.",
)
@which_lab
@pass_app
def metrics(
    app: App, *, start: str | None, end: str | None, step: str, only: tuple[str, ...], everything: bool,
    namespace: str | None, kepler: str | None, name: str, lab_kubeconfig: str | None,
) -> ExitCode:  # fmt: skip
    """Write the metrics of a practice cluster as OpenMetrics.

    \b
    vmkit lab metrics                                       as a scrape would see them now
    vmkit lab metrics --from -14d --step 5m > fleet.om      two weeks, for promtool to load
    """
    from vmkit.lab.metrics.openmetrics import DECISIVE, sample_times
    from vmkit.lab.metrics.service import decode_facts
    from vmkit.units import parse_duration

    facts = decode_facts(
        connect(name, lab_kubeconfig).metric_facts(namespace=namespace or "", kepler=kepler or "")
    )
    exposition = facts.exposition()
    known = {family.name for family in exposition.families()}
    if unknown := sorted(set(only) - known):
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], known, n=2)
        raise UsageError(
            f"there is no metric {unknown[0]!r}", hint=f"did you mean {' or '.join(near)}?" if near else ""
        )
    chosen = set(only) or (set() if everything else set(DECISIVE))
    if start is None:
        times = [facts.now]
    else:
        seconds = parse_duration(step, where="--step").total_seconds()
        if seconds < 1:
            raise UsageError("--step is at least a second", where="--step")
        first = _parse_moment(start, facts.now, "--from")
        last = facts.now if end is None else _parse_moment(end, facts.now, "--to")
        if last < first:
            raise UsageError("the range ends before it begins", where="--to")
        times = sample_times(first, last, seconds)
    for piece in exposition.render(times, only=chosen, stamped=start is not None):
        app.console.data(piece)
    return ExitCode.OK


def _parse_moment(text: str, now: float, where: str) -> float:
    from vmkit.units import parse_duration

    if text.startswith("-"):
        return now - parse_duration(text[1:], where=where).total_seconds()
    return parse_instant(text).timestamp()
