"""How findings look: a table, CSV; and the list of checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vmkit.doctor.model import Check, Examination, Finding, Severity
from vmkit.report.table import Column, render_csv, render_table


def render_findings(found: Examination, output: str) -> str:
    """The findings as "table" (what is as it should be is left out), "wide" (all, with why) or "csv" (all)."""
    if output == "csv":
        return render_csv(_columns(), found.findings)
    rows = [one for one in found.findings if output == "wide" or one.severity is not Severity.OK]
    return render_table(_columns(), rows, wide=output == "wide") if rows else ""


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
        Column("WHY", lambda one: one.kind.why or "-", wide=True),
        Column("WHAT TO DO", lambda one: " ".join(one.mend.split()) or "-"),
        Column("TARGET", lambda one: one.target or "-", wide=True),
    ]
