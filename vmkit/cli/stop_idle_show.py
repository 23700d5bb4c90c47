"""What ``vmkit stop-idle`` shows: tables, an explanation, files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vmkit.cli.app import App
from vmkit.errors import ConfigError, ExitCode, UsageError
from vmkit.idle.mark import format_instant
from vmkit.idle.report import Action
from vmkit.idle.verdict import State
from vmkit.metrics.summary import Unknown
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_duration, format_size

if TYPE_CHECKING:
    from vmkit.idle.report import IdleItem, IdleReport
    from vmkit.idle.running import IdleRun

_KINDS: Final = (".html", ".md", ".json")


def check_reports(files: tuple[str, ...]) -> None:
    """Refuses, before anything is done, files of which nobody knows how to write them.

    Raises:
        UsageError: one ends otherwise than in .html, .md or .json.
    """
    for file in files:
        if not file.endswith(_KINDS):
            raise UsageError(f"--report {file!r}: how should it be written?", hint="name it .html, .md or .json")


def write_reports(app: App, report: IdleReport, files: tuple[str, ...]) -> None:
    """Writes what was found.

    Raises:
        ConfigError: a file cannot be written.
    """
    for file in files:
        try:
            Path(file).write_text(_render(report, file), encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{file} cannot be written: {error.strerror}", hint="give a path you may write to", where=file
            ) from error
        app.console.note(f"wrote {file}")


def _render(report: IdleReport, file: str) -> str:
    if file.endswith(".json"):
        from vmkit.report.envelope import render_document

        return render_document(_envelope(report, exit_code=0, outcomes={}), "json")
    from vmkit.idle.pages import build_idle_page

    page = build_idle_page(report)
    if file.endswith(".md"):
        from vmkit.report.page.markdown import render_markdown

        return render_markdown(page)
    from vmkit.report.page.html import render_html

    return render_html(page)


def _envelope(report: IdleReport, *, exit_code: int, outcomes: dict[tuple[str, str], Any]) -> dict[str, Any]:
    from vmkit.report.envelope import build_envelope

    document = report.to_dict()
    items = document.pop("items")
    notices = document.pop("notices")
    for item in items:
        item["outcome"] = outcomes.get((item["namespace"], item["name"]))
    envelope = build_envelope("IdleReport", "stop-idle", items, notices=notices, exit_code=exit_code)
    return {**envelope, "report": document}


def show_run(app: App, found: IdleRun, *, output: str | None) -> ExitCode:
    """Writes what a run found, and returns its exit code."""
    report, result = found.report, found.result
    app.say((), (*report.notices, *result.notices))
    if output in ("json", "yaml"):
        from vmkit.report.envelope import render_document

        outcomes: dict[tuple[str, str], Any] = {}
        for each in result.outcomes:
            outcomes[each.target.namespace, each.target.name] = {
                "verb": each.verb,
                "status": str(each.status),
                "reason": {"code": each.reason.code, "text": each.reason.text},
            }
        envelope = _envelope(report, exit_code=result.exit_code, outcomes=outcomes)
        app.console.data(render_document(envelope, output))
    elif output == "csv":
        app.console.data(render_csv(_COLUMNS, report.items))
    elif output is not None and report.items:
        app.console.data(render_table(_COLUMNS, report.items, wide=output == "wide"))
    if not report.items:
        app.console.note(f"there is no VM to judge: {report.scope}")
        return result.exit_code
    app.console.note(summarize(found))
    return result.exit_code


def summarize(found: IdleRun) -> str:
    """The run on one line."""
    report, counts = found.report, found.report.count
    savings = report.savings
    states = ", ".join(f"{counts(state)} {state}" for state in State)
    text = f"{len(report.items)} VM{'' if len(report.items) == 1 else 's'}: {states}"
    if savings.vms:
        text += f"; stopping {savings.vms} returns {savings.vcpus} CPUs, {format_size(savings.memory_bytes)}"
        if savings.metered:
            text += f", {savings.watt_hours_a_day:.3g} Wh of active energy a day"
    done = found.result.counts
    if done:
        text += "; " + ", ".join(f"{count} {status}" for status, count in done.items())
    return text


def _number(item: IdleItem, position: int) -> str:
    findings = item.verdict.findings
    if position >= len(findings) or isinstance(findings[position].value, Unknown):
        return ""
    return f"{findings[position].value:.3g}"


_COLUMNS: Final[tuple[Column[IdleItem], ...]] = (
    Column("NAMESPACE", lambda item: item.ref.namespace),
    Column("NAME", lambda item: item.ref.name),
    Column("STATE", lambda item: str(item.verdict.state)),
    Column("ACTION", lambda item: str(item.action)),
    Column("STOP-AFTER", lambda item: format_instant(item.stop_after) if item.stop_after is not None else ""),
    Column("REASON", lambda item: item.reason.text),
    Column("OWNER", lambda item: item.owner, wide=True),
    Column("CPU", lambda item: str(item.size.vcpus or ""), wide=True),
    Column(
        "MEMORY", lambda item: format_size(item.size.memory_bytes) if item.size.memory_bytes else "", wide=True
    ),
    Column("CPU-CORES", lambda item: _number(item, 0), wide=True),
    Column(
        "COVERAGE",
        lambda item: "" if item.verdict.coverage is None else f"{item.verdict.coverage:.1%}",
        wide=True,
    ),
    Column("CODE", lambda item: item.reason.code, wide=True),
)


_WOULD: Final = {
    Action.NONE: "leave it as it is",
    Action.MARK: "note it as idle",
    Action.STOP: "stop it",
    Action.CLEAR: "take the note away",
    Action.SETTLE: "write down that it was stopped",
}


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def render_explanation(item: IdleItem) -> str:
    """One VM, with every criterion and its numbers."""
    verdict = item.verdict
    lines = [f"{item.ref} is {verdict.state}" + (", and kept all the same" if verdict.held else "")]
    lines += [f"  {each.text} ({each.code})" for each in verdict.reasons]
    lines += [f"  kept: {each.text} ({each.code})" for each in verdict.held]
    lines.append(f"policy {verdict.policy}")
    rows = [
        (
            "yes" if each.low else "no" if each.low is False else "?",
            str(each.criterion.measure),
            each.value.text if isinstance(each.value, Unknown) else f"{_shown(each.value)} {each.criterion.unit}",
            f"{_shown(each.limit)} {each.criterion.unit}",
            "" if each.coverage is None else f"{each.coverage:.1%}",
        )
        for each in verdict.findings
    ]
    columns: list[Column[tuple[str, ...]]] = [
        Column(title, lambda row, index=index: row[index])  # type: ignore[misc]
        for index, title in enumerate(("LOW", "MEASURE", "VALUE", "LIMIT", "COVERED"))
    ]
    table = render_table(columns, rows)
    lines += [f"  {line}" for line in table.splitlines()]
    lines.append(
        f"a job on one CPU could run unseen for {format_duration(verdict.unseen_job)}; "
        f"no sample covers {format_duration(verdict.unseen_gap)}"
    )
    if item.last_used is not None:
        lines.append(f"last session {format_instant(item.last_used)}")
    if item.marked_at is not None and item.stop_after is not None and item.action is not Action.MARK:
        lines.append(
            f"noted as idle at {format_instant(item.marked_at)}, "
            f"to be stopped after {format_instant(item.stop_after)}"
        )
    lines.append(f"a run would {_WOULD[item.action]}: {item.reason.text} ({item.reason.code})")
    return "\n".join(lines) + "\n"
