"""``vmkit schedule explain``, ``lint`` and ``import``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from vmkit.cli.app import App
from vmkit.cli.options import SELECTION, argument, connection_options, option, output_option, pass_app
from vmkit.cli.schedule.group import parse_at, read_settings_of, schedule, settings_options
from vmkit.errors import ExitCode, InvalidName

_FORMATS = ("json", "yaml")


@schedule.command("explain")
@argument("what", metavar="VM|SCHEDULE")
@option("--at", metavar="TIME", help='As of this instant, as "2026-02-05T18:00:00Z"; by default now.')
@option(
    "--next",
    "count",
    metavar="N",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    help="How many transitions to come are shown.",
)
@settings_options
@output_option(formats=_FORMATS, help_text="How to write it; by default as text.")
@connection_options
@pass_app
def explain(
    app: App,
    *,
    what: str,
    at: str | None,
    count: int,
    config: str | None,
    calendars: tuple[str, ...],
    dialect: str | None,
    output: str | None,
) -> ExitCode:
    """Say what holds for a VM or means in a schedule, why, and what comes next.

    A word that could name a VM is taken for one, but for "always" and "never".

    \b
    vmkit schedule explain web-1
    vmkit schedule explain "Mon-Fri 08:00-18:00 Europe/Berlin" --next 4
    """
    from vmkit.schedule import show
    from vmkit.schedule.explain import explain_timetable
    from vmkit.schedule.parse import parse_schedule

    settings, instant = read_settings_of(config, calendars, dialect), parse_at(at)
    if _names_a_vm(what):
        from vmkit.vm.reference import parse_vm_ref

        with app.connect() as vk:
            ref = parse_vm_ref(what, default_namespace=vk.namespace)
            found = vk.schedule.explain(ref, settings=settings, at=instant, count=count)
        document = show.vm_explanation_to_dict(str(ref), found.explanation, found.decision)
        text = show.render_vm_explanation(str(ref), found.explanation, found.decision)
    else:
        defaults = settings.defaults
        parsed = parse_schedule(what, defaults.timezone, defaults.weekdays, dialect, calendars=defaults.calendars)
        explanation = explain_timetable(parsed, instant or datetime.now(UTC), count=count)
        document, text = show.explanation_to_dict(explanation), show.render_explanation(explanation)
    app.say((), settings.notices)
    if output is None:
        app.console.data(text)
    else:
        _envelope(app, "ScheduleExplanation", "schedule explain", [document], output)
    return ExitCode.OK


def _names_a_vm(text: str) -> bool:
    from vmkit.vm.reference import parse_vm_ref

    if text.lower() in ("always", "never"):
        return False
    try:
        parse_vm_ref(text, default_namespace="default")
    except InvalidName:
        return False
    return True


@schedule.command("lint")
@argument("texts", nargs=-1, required=True, metavar="SCHEDULE...")
@option("--at", metavar="TIME", help="As seen from this instant; by default now.")
@settings_options
@output_option(formats=_FORMATS, help_text="How to write it; by default one line for each finding.")
@pass_app
def lint(
    app: App,
    *,
    texts: tuple[str, ...],
    at: str | None,
    config: str | None,
    calendars: tuple[str, ...],
    dialect: str | None,
    output: str | None,
) -> ExitCode:
    """Say what is wrong with schedules, and what is allowed and probably not meant.

    Needs no cluster. The exit code is 2 where a schedule is not understood, 1 where one is odd.
    """
    from vmkit.errors import ScheduleError
    from vmkit.schedule.lint import Severity, lint_schedule
    from vmkit.schedule.parse import parse_schedule

    settings, instant = read_settings_of(config, calendars, dialect), parse_at(at) or datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    errors: list[ScheduleError] = []
    odd = False
    for text in texts:
        defaults = settings.defaults
        try:
            parsed = parse_schedule(
                text, defaults.timezone, defaults.weekdays, dialect, calendars=defaults.calendars
            )
            findings = lint_schedule(parsed, instant)
        except ScheduleError as error:
            errors.append(error)
            continue
        for finding in findings:
            odd = odd or finding.severity is Severity.WARNING
            rows.append(
                {
                    "schedule": text,
                    "column": finding.column,
                    "severity": str(finding.severity),
                    "code": finding.code,
                    "text": finding.text,
                    "hint": finding.hint,
                }
            )
    code = ExitCode.INPUT if errors else ExitCode.SOME_FAILED if odd else ExitCode.OK
    if output is not None:
        _envelope(app, "ScheduleFindings", "schedule lint", rows, output, errors=errors, code=code)
    else:
        for row in rows:
            where = f", column {row['column']}" if row["column"] else ""
            hint = f"; {row['hint']}" if row["hint"] else ""
            app.console.report(
                f"{row['schedule']}{where}: {row['severity']}: {row['text']}{hint} ({row['code']})", role="note"
            )
        if not rows and not errors:
            app.console.note("nothing to say")
    app.say(errors, settings.notices)
    return code


@schedule.command("import")
@option("-A", "--all-namespaces", is_flag=True, heading=SELECTION, help="In all namespaces.")
@option(
    "--downscaler",
    "dialect",
    type=click.Choice(["python", "go"]),
    default="python",
    show_default=True,
    help="Whose downscaler annotations they are.",
)
@output_option(formats=("table", "manifests", "json"), default="table", help_text="How to write what was found.")
@connection_options
@pass_app
def import_(app: App, *, all_namespaces: bool, dialect: str, output: str) -> ExitCode:
    """Say what kube-green's SleepInfos and downscaler annotations say, in vmkit's words.

    Changes nothing: "-o manifests" writes what "kubectl apply --server-side -f -" puts in place. What cannot be
    said in one schedule of vmkit's is listed with the reason, and the exit code is 1.
    """
    from vmkit.report.documents import render_yaml_documents
    from vmkit.report.table import Column, render_table
    from vmkit.schedule.running.importing import Imported

    with app.connect() as vk:
        found = vk.schedule.imports(namespace=None if all_namespaces else vk.namespace, dialect=dialect)
    code = ExitCode.SOME_FAILED if any(one.problem for one in found) else ExitCode.OK
    if output == "json":
        rows = [
            {
                "kind": one.kind, "namespace": one.namespace, "name": one.name, "source": one.source,
                "annotations": dict(one.annotations), "problem": one.problem,
            }
            for one in found
        ]  # fmt: skip
        _envelope(app, "ScheduleImport", "schedule import", rows, output, code=code)
    elif output == "manifests":
        app.console.data(render_yaml_documents([one.to_manifest() for one in found if not one.problem]))
    elif found:
        columns: list[Column[Imported]] = [
            Column("KIND", lambda one: one.kind),
            Column("NAME", lambda one: f"{one.namespace}/{one.name}" if one.namespace else one.name),
            Column("FROM", lambda one: one.source),
            Column("TO", lambda one: ", ".join(f"{key}={text}" for key, text in one.annotations.items())),
            Column("PROBLEM", lambda one: one.problem),
        ]
        app.console.data(render_table(columns, found))
    else:
        app.console.note("there is nothing to import")
    return code


def _envelope(
    app: App, kind: str, command: str, rows: list[dict[str, Any]], output: str, *,
    errors: Any = (), code: ExitCode = ExitCode.OK,
) -> None:  # fmt: skip
    from vmkit.report.envelope import build_envelope, render_document

    app.console.data(render_document(build_envelope(kind, command, rows, errors=errors, exit_code=code), output))
