"""``vmkit rightsize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmkit.cli.app import App
from vmkit.cli.monitoring import MONITORING, Monitoring, monitoring_options
from vmkit.cli.options import (
    DURATION,
    SAFETY,
    SIZE,
    command,
    concurrency_option,
    connection_options,
    dry_run_option,
    max_changes_option,
    option,
    output_option,
    pass_app,
    yes_option,
)
from vmkit.cli.selection import Chosen, read_stdin, selection_options
from vmkit.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vmkit.insights import Sizes


@command("rightsize")
@selection_options(everything=False)
@option("--apply", is_flag=True, help="Change the sizes; without it, they are only shown.")
@option(
    "--at-next-stop",
    is_flag=True,
    help="With --apply: let VMs that run keep their size until they are stopped.",
)
@option("--apply-pending", is_flag=True, help="Give VMs that are stopped by now the sizes that waited for it.")
@option(
    "--percentile",
    default="90",
    show_default=True,
    metavar="P",
    help="Which percentile of its use a VM is sized for, 50 to 100.",
)
@option("--margin", default="15%", show_default=True, metavar="SHARE", help="What is added to that.")
@option(
    "--min-memory",
    type=SIZE,
    default="512Mi",
    show_default=True,
    metavar="SIZE",
    help="No guest is made smaller.",
)
@option(
    "--lookback",
    type=DURATION,
    default="8d",
    show_default=True,
    metavar="DURATION",
    heading=MONITORING,
    help="How far back use is looked at.",
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
@option(
    "--despite-gitops",
    is_flag=True,
    heading=SAFETY,
    help="Change VMs that a GitOps tool keeps as Git says, and would set back.",
)
@dry_run_option
@yes_option
@max_changes_option
@concurrency_option
@output_option(
    formats=("table", "wide", "json", "yaml", "csv"),
    default="table",
    help_text="How to write it; json and yaml are the envelope of docs/output.md.",
)
@connection_options
@pass_app
def rightsize(
    app: App,
    *,
    chosen: Chosen,
    monitoring: Monitoring,
    apply: bool,
    at_next_stop: bool,
    apply_pending: bool,
    percentile: str,
    margin: str,
    output: str,
    yes: bool,
    concurrency: int,
    **options: Any,
) -> ExitCode:
    """Say what size VMs should have, and give it to them.

    What VMs used is read from Prometheus and judged by the rules of the vertical pod autoscaler; a size is
    proposed only where a change is worth a restart. A VM of an instancetype gets the smallest of its series.

    \b
    vmkit rightsize -A
    vmkit rightsize web-1 --apply --at-next-stop
    vmkit rightsize -A --apply-pending --yes
    """
    from vmkit.insight.resize import ResizeOptions
    from vmkit.insights import Insights

    chosen.check(may_be_empty=True)
    if apply and apply_pending:
        raise UsageError("give --apply or --apply-pending, not both", hint="one decides anew, one carries out")
    if at_next_stop and not apply:
        raise UsageError("--at-next-stop says how --apply is meant", hint="give both")
    resize = ResizeOptions(
        at_next_stop=at_next_stop,
        despite_gitops=options["despite_gitops"],
        dry_run=options["dry_run"],
        max_changes=options["max_changes"],
        concurrency=concurrency,
    )
    with app.connect(connections=concurrency) as vk:
        where: dict[str, Any] = {
            "names": chosen.refs(namespace=vk.namespace, stdin=read_stdin),
            "namespace": None if chosen.all_namespaces else vk.namespace,
            "selector": chosen.selector,
        }
        # What was done is told line by line; the formats of lists are for sizes that are only shown.
        written = output if output in ("json", "yaml") else None
        consent: dict[str, Any] = {
            "confirm": app.confirmer(yes=yes, by_name=chosen.by_name),
            "on_outcome": app.outcome_writer(written),
        }
        if apply_pending:
            result = Insights(vk.session).resize_pending(resize, **where, **consent)
            return app.show(result, output=written)
        insights = Insights(vk.session, monitoring.open(vk))
        found = insights.sizes(
            **where,
            lookback=options["lookback"],
            step=options["step"],
            percentile=_share(percentile, "--percentile"),
            margin=_share(margin, "--margin"),
            min_memory_bytes=options["min_memory"],
        )
        if not apply:
            return _show(app, found, output)
        app.say(found.errors, found.notices)
        result = insights.resize(found.assessments, resize, **consent)
    code = app.show(result, output=written)
    return code or (ExitCode.SOME_FAILED if found.errors else ExitCode.OK)


def _show(app: App, found: Sizes, output: str) -> ExitCode:
    from vmkit.insight.show_sizes import render_sizes, size_to_dict
    from vmkit.report.envelope import build_envelope, render_envelope

    code = ExitCode.SOME_FAILED if found.errors else ExitCode.OK
    if output in ("json", "yaml"):
        envelope = build_envelope(
            "SizeList", "rightsize", errors=found.errors, notices=found.notices, exit_code=code,
            partial=bool(found.assessments),
        )  # fmt: skip
        app.console.pieces(render_envelope(envelope, map(size_to_dict, found.assessments), output))
    elif found.assessments:
        app.console.data(render_sizes(found.assessments, output))
    else:
        app.console.note("there is no VM to look at; -A looks in all namespaces")
    app.say(found.errors, found.notices)
    return code


def _share(text: str, where: str) -> float:
    """A percentage, with or without its sign, as a share.

    Raises:
        UsageError: it is none.
    """
    try:
        return float(text.removesuffix("%")) / 100
    except ValueError:
        raise UsageError(f"{text!r} is no percentage", hint='write it as "15%"', where=where) from None
