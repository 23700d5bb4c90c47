"""``vmkit lab clock --run``: schedules rehearsed on a practice cluster."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vmkit.cli.app import App
from vmkit.errors import ExitCode

if TYPE_CHECKING:
    from vmkit.lab.remote import RemoteLab
    from vmkit.report.table import Column
    from vmkit.schedule.running.passing import PassOptions
    from vmkit.schedule.running.rehearsing import Rehearsal, Rehearsed


class RemoteClock:
    """The clock of a lab in another process."""

    def __init__(self, remote: RemoteLab) -> None:
        self._remote = remote

    def now(self) -> datetime:
        """Where it stands, to the second."""
        return datetime.fromisoformat(self._remote.clock()["now"])

    def advance_to(self, at: datetime) -> None:
        """Moves it on."""
        self._remote.move_clock(to=at.isoformat())


def rehearse_remote(
    app: App, remote: RemoteLab, options: PassOptions, span: timedelta, output: str | None
) -> ExitCode:
    """Lets ``span`` pass on a lab and writes what became of every transition; its clock runs on as before."""
    from vmkit.api import Vmkit

    before = remote.clock()
    remote.move_clock(freeze=True)
    try:
        with Vmkit.connect(kubeconfig=remote.kubeconfig, on_warning=app.console.warn) as vk:
            rehearsal = vk.schedule.rehearse(RemoteClock(remote), span, options)
    finally:
        if not before["frozen"]:
            remote.move_clock(speed=before["speed"])
    return _show(app, rehearsal, output)


def _columns() -> list[Column[Rehearsed]]:
    from vmkit.report.table import Column
    from vmkit.units import format_duration

    def delay(row: Rehearsed) -> str:
        return "" if not row.delay else format_duration(row.delay)

    def why(row: Rehearsed) -> str:
        return "" if row.end == "done" and not row.delay else row.reason.text

    return [
        Column("PLANNED-UTC", lambda row: f"{row.at:%a %Y-%m-%d %H:%M}"),
        Column("NAMESPACE", lambda row: row.ref.namespace),
        Column("NAME", lambda row: row.ref.name),
        Column("ACTION", lambda row: str(row.side)),
        Column("RESULT", lambda row: str(row.end)),
        Column("DONE", lambda row: "" if row.done_at is None else f"{row.done_at:%a %H:%M}"),
        Column("DELAY", delay),
        Column("CODE", lambda row: row.reason.code),
        Column("REASON", why),
    ]


def _show(app: App, rehearsal: Rehearsal, output: str | None) -> ExitCode:
    from vmkit.report.envelope import build_envelope, render_document
    from vmkit.report.table import render_csv, render_table
    from vmkit.schedule.running.rehearsing import count_ends

    code = ExitCode.SOME_FAILED if rehearsal.problems else ExitCode.OK
    rows = rehearsal.transitions
    ends = {str(end): count for end, count in count_ends(rows).items()}
    if output in ("json", "yaml"):
        envelope = build_envelope(
            "Rehearsal", "lab clock", [row.to_dict() for row in rows], exit_code=int(code), partial=bool(code)
        )
        envelope["start"], envelope["end"] = (at.isoformat() for at in (rehearsal.start, rehearsal.end))
        envelope["passes"], envelope["results"] = rehearsal.passes, ends
        envelope["problems"] = [
            {"namespace": ref.namespace, "name": ref.name, "reason": reason.code, "text": reason.text}
            for ref, reason in rehearsal.problems
        ]
        app.console.data(render_document(envelope, output))
        return code
    if output == "csv":
        app.console.data(render_csv(_columns(), rows))
        return code
    if rows:
        app.console.data(render_table(_columns(), rows))
    else:
        app.console.note("no schedule asks for anything in that time")
    told = ", ".join(f"{count} {end}" for end, count in ends.items())
    app.console.report(
        f"{rehearsal.start:%a %Y-%m-%d %H:%M} to {rehearsal.end:%a %Y-%m-%d %H:%M} UTC, "
        f"{rehearsal.passes} passes, {len(rows)} transitions: {told}"
    )
    for ref, reason in rehearsal.problems:
        app.console.warn(f"{ref}: {reason.text}")
    return code
