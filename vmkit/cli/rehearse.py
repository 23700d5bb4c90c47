"""``vmkit stop-idle --rehearse``: policies replayed over the past, shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmkit.cli.app import App
from vmkit.errors import ConfigError, ExitCode, UsageError
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_duration

if TYPE_CHECKING:
    from vmkit.idle.policy import IdlePolicy
    from vmkit.idle.running import IdleOptions
    from vmkit.idling import Idling
    from vmkit.rehearsing import PastRehearsed

_HOUR: Final = timedelta(hours=1)
_HITS_SHOWN: Final = 10


def choose_policies(first: IdlePolicy, compare: str | None) -> list[IdlePolicy]:
    """The policy of the run, and those it is compared with, each once.

    Args:
        first: of the run.
        compare: names of presets with commas between; None for none.

    Raises:
        UsageError: there is no such preset.
    """
    from vmkit.idle.policy import find_preset

    found = [first]
    for name in (compare or "").split(","):
        if name.strip() and name.strip() not in (each.name for each in found):
            found.append(find_preset(name.strip()))
    return found


def rehearse_runs(
    app: App,
    idling: Idling,
    options: IdleOptions,
    *,
    span: timedelta,
    compare: str | None,
    output: str | None,
    reports: Sequence[str],
) -> ExitCode:
    """Replays the run's policy, and those it is compared with, and shows what they would have done.

    Args:
        app: of the command.
        idling: the cluster's VMs, and who knows of their use.
        options: of the run; nothing of it is done.
        span: how far back.
        compare: see `choose_policies`.
        output: "table", "wide", "csv", "json", "yaml", or None for the table.
        reports: files to write as well.

    Raises:
        UsageError: the span, or what is to be compared, makes no sense.
        ConfigError: there is no Prometheus, or a file cannot be written.
        ClusterError: cluster or Prometheus cannot be read.
    """
    policies = choose_policies(options.policy, compare)
    if span < timedelta(days=1):
        raise UsageError(f"--rehearse {format_duration(span)} shows nothing", hint="give 1d or more; 30d is usual")
    for file in reports:
        if not Path(file).absolute().parent.is_dir():
            raise ConfigError(f"{file} cannot be written: there is no such folder", where=file)
    with app.console.progress("stop-idle") as progress:
        found = idling.rehearse(
            options,
            span=span,
            compare=policies[1:],
            on_progress=lambda text: progress.update(text=text),
        )
    _write(app, found, reports)
    _show(app, found, output)
    if not found.report.items:
        app.console.note(f"there is no VM to rehearse with: {found.report.scope}")
    app.say((), found.notices)
    return ExitCode.OK


# --- showing -------------------------------------------------------------------------------------------

_COLUMNS: Final[tuple[Column[Any], ...]] = (
    Column("DEFINITION", lambda each: each.policy.name),
    Column("VMS", lambda each: str(len(each.vms))),
    Column("STOPS", lambda each: str(each.stops)),
    Column("HIT", lambda each: str(each.hits)),
    Column("USE-HIT", lambda each: f"{each.use_lost / _HOUR:.1f}h"),
    Column("HOURS-OFF", lambda each: f"{each.off / _HOUR:.0f}"),
    Column("VCPU-HOURS", lambda each: f"{each.vcpu_hours:.0f}"),
    Column("GIB-HOURS", lambda each: f"{each.gibibyte_hours:.0f}"),
    Column("KWH", lambda each: "" if each.kilowatt_hours is None else f"{each.kilowatt_hours:.3g}"),
    Column("HOURS-RAN", lambda each: f"{each.ran / _HOUR:.0f}", wide=True),
    Column("USED-AGAIN", lambda each: str(each.woken), wide=True),
    Column("VMS-HIT", lambda each: str(each.vms_hit), wide=True),
)


def _show(app: App, found: PastRehearsed, output: str | None) -> None:
    from vmkit.report.envelope import render_document

    if output in ("json", "yaml"):
        app.console.data(render_document(_envelope(found), output))
        return
    if output == "csv":
        app.console.data(render_csv(_COLUMNS, found.rehearsals))
        return
    app.console.data(render_table(_COLUMNS, found.rehearsals, wide=output == "wide"))
    first = found.rehearsals[0]
    hits = sorted(
        ((vm, stop) for vm in first.vms for stop in vm.stops if stop.hit),
        key=lambda pair: (-pair[1].use_lost, pair[0].ref, pair[1].stopped_at),
    )
    for vm, stop in hits[:_HITS_SHOWN]:
        assert stop.used_at is not None
        app.console.note(
            f"{vm.ref} would have been stopped at {stop.stopped_at:%Y-%m-%dT%H:%MZ} and was used "
            f"{format_duration(stop.used_at - stop.stopped_at)} later, for {format_duration(stop.use_lost)}"
        )
    if len(hits) > _HITS_SHOWN:
        app.console.note(f"{len(hits) - _HITS_SHOWN} more such stops are in -o json and --report")


def _envelope(found: PastRehearsed) -> dict[str, Any]:
    from vmkit.report.envelope import build_envelope

    items = [each.to_dict() for each in found.rehearsals]
    return build_envelope("Rehearsal", "stop-idle --rehearse", items, notices=found.notices, exit_code=0)


def _write(app: App, found: PastRehearsed, files: Sequence[str]) -> None:
    for file in files:
        if file.endswith(".json"):
            from vmkit.report.envelope import render_document

            text = render_document(_envelope(found), "json")
        else:
            page = found.page()
            if file.endswith(".md"):
                from vmkit.report.page.markdown import render_markdown

                text = render_markdown(page)
            else:
                from vmkit.report.page.html import render_html

                text = render_html(page)
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{file} cannot be written: {error.strerror}", hint="give a path you may write to", where=file
            ) from error
        app.console.note(f"wrote {file}")
