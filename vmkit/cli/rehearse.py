"""``vmkit stop-idle --rehearse``: policies replayed over the past, shown side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmkit.cli.app import App
from vmkit.errors import ConfigError, ExitCode, UsageError
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_duration

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.cli.monitoring import Monitoring
    from vmkit.idle.policy import IdlePolicy
    from vmkit.idle.rehearsal import Rehearsal
    from vmkit.idle.rehearsal_reading import HistoryReader
    from vmkit.idle.rehearsal_recording import RecordingReader
    from vmkit.idle.running import IdleOptions
    from vmkit.idling import Idling

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
    vk: Vmkit,
    monitoring: Monitoring,
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
        vk: the cluster.
        monitoring: where its Prometheus is; a practice cluster without one brings its own series.
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
    from vmkit.idle.rehearsal import Terms, rehearse

    policies = choose_policies(options.policy, compare)
    if span < timedelta(days=1):
        raise UsageError(f"--rehearse {format_duration(span)} shows nothing", hint="give 1d or more; 30d is usual")
    for file in reports:
        if not Path(file).absolute().parent.is_dir():
            raise ConfigError(f"{file} cannot be written: there is no such folder", where=file)
    idling, read = _open(app, vk, monitoring)
    with app.console.progress("stop-idle") as progress:
        progress.update(text="looking at the VMs")
        report = idling.run(replace(options, dry_run=True)).report
        longest = max(policy.lookback for policy in policies)
        reader = read(start=report.at - span - longest, end=report.at)
        terms = Terms(reader.end - _whole_hours(span), reader.end, UTC, notice=options.notice)
        histories = reader.read(
            report.items,
            on_progress=lambda done: progress.update(text=f"replayed {done} of {len(report.items)} VMs"),
        )
        found = rehearse(policies, histories, terms)
    notices = [*reader.notices, *(text for text in report.notices if "of no VM it is known" not in text)]
    _write(app, found, reports, made_at=report.at, scope=report.scope, source=report.source, notices=notices)
    _show(app, found, output, notices)
    app.say((), notices)
    return ExitCode.OK


def _open(
    app: App, vk: Vmkit, monitoring: Monitoring
) -> tuple[Idling, partial[HistoryReader] | partial[RecordingReader]]:
    """What judges VMs now, and what reads their past."""
    from vmkit.idle.rehearsal_reading import HistoryReader
    from vmkit.idle.rehearsal_recording import RecordingReader
    from vmkit.idling import find_practice_source
    from vmkit.practice import PracticeSource

    practice = find_practice_source(vk.session, app.connection.kubeconfig) if monitoring.url is None else None
    if isinstance(practice, PracticeSource):
        return vk.idle(source=practice), partial(RecordingReader, practice.record)
    client = monitoring.open(vk)
    if client is None:
        raise ConfigError(
            "a rehearsal needs the history of a Prometheus, and none was found in the cluster",
            hint="--prometheus URL says where one is",
        )
    return vk.idle(client), partial(HistoryReader, client)


def _whole_hours(span: timedelta) -> timedelta:
    return span // _HOUR * _HOUR


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
    Column("KWH", lambda each: "" if each.kilowatt_hours is None else f"{each.kilowatt_hours:.1f}"),
    Column("HOURS-RAN", lambda each: f"{each.ran / _HOUR:.0f}", wide=True),
    Column("USED-AGAIN", lambda each: str(each.woken), wide=True),
    Column("VMS-HIT", lambda each: str(each.vms_hit), wide=True),
)


def _show(app: App, found: Sequence[Rehearsal], output: str | None, notices: Sequence[str]) -> None:
    from vmkit.report.envelope import render_document

    if output in ("json", "yaml"):
        app.console.data(render_document(_envelope(found, notices), output))
        return
    if output == "csv":
        app.console.data(render_csv(_COLUMNS, found))
        return
    app.console.data(render_table(_COLUMNS, found, wide=output == "wide"))
    first = found[0]
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


def _envelope(found: Sequence[Rehearsal], notices: Sequence[str]) -> dict[str, Any]:
    from vmkit.report.envelope import build_envelope

    items = [each.to_dict() for each in found]
    return build_envelope("Rehearsal", "stop-idle --rehearse", items, notices=notices, exit_code=0)


def _write(
    app: App,
    found: Sequence[Rehearsal],
    files: Sequence[str],
    *,
    made_at: datetime,
    scope: str,
    source: str,
    notices: Sequence[str],
) -> None:
    for file in files:
        if file.endswith(".json"):
            from vmkit.report.envelope import render_document

            text = render_document(_envelope(found, notices), "json")
        else:
            from vmkit.idle.rehearsal_pages import build_rehearsal_page

            page = build_rehearsal_page(found, made_at=made_at, scope=scope, source=source, notices=notices)
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
