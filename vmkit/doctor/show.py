"""How findings look: a table, CSV; and the list of checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vmkit.doctor.model import Check, Examination, Finding, Kind, Severity
from vmkit.report.table import Column, render_csv, render_table
from vmkit.report.text import escape_text


def render_findings(found: Examination, output: str) -> str:
    """The findings as "table" (without what is as it should be; below it why, and what to do), "wide" (all, a line
    each) or "csv" (all)."""
    if output == "csv":
        return render_csv(_columns(), found.findings)
    if output == "wide":
        return render_table(_columns(), found.findings, wide=True) if found.findings else ""
    rows = [one for one in found.findings if one.severity is not Severity.OK]
    columns = [column for column in _columns() if column.title != "WHAT TO DO"]
    return render_table(columns, rows) + _remedies(rows) if rows else ""


def _remedies(rows: Sequence[Finding]) -> str:
    """Why each kind of finding matters, and what to do; the same remedy once."""
    remedies: dict[Kind, dict[str, None]] = {}
    for one in rows:
        if one.mend:
            remedies.setdefault(one.kind, {})[one.mend.rstrip()] = None
    text = ""
    for kind, mends in remedies.items():
        lines = (line for mend in mends for line in mend.split("\n"))
        text += f"\n{kind.id}: {kind.why}\n" + "".join(f"    {escape_text(line)}\n" for line in lines)
    return text


def summarize(found: Examination) -> str:
    """ "1 problem, 2 warnings, 12 ok"."""
    counts = Counter(one.severity for one in found.findings)
    plural = {Severity.PROBLEM: "problems", Severity.WARNING: "warnings"}
    words = [
        f"{counts[severity]} {plural.get(severity, str(severity)) if counts[severity] > 1 else severity}"
        for severity in reversed(Severity)
        if counts[severity]
    ]
    return ", ".join(words) or "nothing was looked at"


def render_checks(checks: Sequence[Check]) -> str:
    """The checks, with how many things each can find."""
    columns: list[Column[Check]] = [
        Column("CHECK", lambda one: one.name),
        Column("FINDINGS", lambda one: str(len(one.kinds) + 1)),
        Column("WHAT IT LOOKS AT", lambda one: one.summary),
    ]
    return render_table(columns, checks)


def _columns() -> list[Column[Finding]]:
    return [
        Column("SEVERITY", lambda one: str(one.severity)),
        Column("FINDING", lambda one: one.kind.id),
        Column("WHAT", lambda one: one.what),
        Column("WHY", lambda one: one.kind.why, wide=True),
        Column("WHAT TO DO", lambda one: " ".join(one.mend.split())),
        Column("TARGET", lambda one: one.target, wide=True),
    ]
