"""Plans, outcomes and results: as lines, as tables, as the JSON envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vmkit.plan.model import Change, ObjectRef, Outcome, Result, Status
from vmkit.report.envelope import render_document
from vmkit.report.table import Column, render_csv, render_table

if TYPE_CHECKING:
    from collections.abc import Mapping

_DONE: Final[Mapping[str, str]] = {
    "create": "created", "clone": "cloned", "update": "updated", "start": "started", "stop": "stopped",
    "restart": "restarted", "pause": "paused", "unpause": "unpaused", "live-migrate": "migrated",
    "delete": "deleted", "decide": "switched", "note": "noted", "warn": "warned", "schedule": "switched",
    "undo": "undone", "keep-up": "kept up", "keep-down": "kept down", "skip-next": "set to skip",
    "exclude-until": "excluded", "mark": "noted as idle", "clear": "no longer noted as idle",
    "settle": "settled", "snooze": "snoozed", "judge": "judged", "stop-idle": "handled",
    "resize-later": "set to be resized",
}  # fmt: skip


_UNDER_WAY: Final = frozenset({"Requested", "Deleting"})
"""Codes of what was asked for and not waited for: lines do not claim that it is done."""


def past_of(verb: str) -> str:
    """The verb as what has been done: "stop" -> "stopped"."""
    return _DONE.get(verb) or (f"{verb}d" if verb.endswith("e") else f"{verb}ed")


def subject_of(target: ObjectRef) -> str:
    """How lines name an object: a VM by its path alone, other kinds with their kind."""
    return target.path if target.kind == "VirtualMachine" else str(target)


def describe_outcome(outcome: Outcome, *, reason: bool = True) -> str:
    """One line: "default/web-1 stopped", "default/web-2 unchanged: is stopped already".

    Args:
        reason: False leaves out why (an error's own message will say it).
    """
    done = past_of(outcome.verb)
    if outcome.status is Status.CHANGED and outcome.reason.code in _UNDER_WAY:
        return f"{subject_of(outcome.target)} {outcome.reason.text}"
    if outcome.error is not None and outcome.error.code == "Interrupted":
        line = f"{subject_of(outcome.target)} not seen {done}"
        return f"{line}: {outcome.reason.text}" if reason and outcome.reason.text else line
    text = {
        Status.CHANGED: done,
        Status.UNCHANGED: "unchanged",
        Status.PLANNED: f"would be {done}",
        Status.SKIPPED: "skipped",
        Status.REFUSED: f"not {done}",
        Status.FAILED: f"not {done}",
        Status.TIMED_OUT: f"not {done} in time",
        Status.NOT_TRIED: f"not {done}, not tried",
    }[outcome.status]
    line = f"{subject_of(outcome.target)} {text}"
    return f"{line}: {outcome.reason.text}" if reason and outcome.reason.text else line


def outcome_role(outcome: Outcome) -> str:
    """The colour of an outcome's line, by its meaning; see `vmkit.cli.console.Console.style`."""
    if outcome.status is Status.CHANGED:
        return "good"
    return "dim" if outcome.status is Status.UNCHANGED else "note" if outcome.ok else "bad"


def describe_change(change: Change) -> str:
    """One line of a plan: "stop default/web-1: is running"."""
    line = f"{change.verb} {subject_of(change.target)}"
    return f"{line}: {change.reason.text}" if change.reason.text else line


def summarize(result: Result) -> str:
    """The counts of a run on one line: "12 stopped, 3 unchanged, 1 failed"."""
    done = past_of(result.command)
    words = {
        str(Status.CHANGED): done,
        str(Status.PLANNED): f"would be {done}",
        str(Status.NOT_TRIED): "not tried",
    }
    asked = sum(
        outcome.status is Status.CHANGED and outcome.reason.code in _UNDER_WAY for outcome in result.outcomes
    )
    counts = dict(result.counts)
    texts = []
    if asked:
        texts.append(f"{asked} asked to {result.command}")
        counts[str(Status.CHANGED)] -= asked
    texts += [f"{count} {words.get(status, status)}" for status, count in counts.items() if count]
    return ", ".join(texts)


_COLUMNS: Final[tuple[Column[Outcome], ...]] = (
    Column("NAMESPACE", lambda outcome: outcome.target.namespace),
    Column("NAME", lambda outcome: outcome.target.name),
    Column("VERB", lambda outcome: outcome.verb),
    Column("STATUS", lambda outcome: str(outcome.status)),
    Column("REASON", lambda outcome: outcome.reason.text),
    Column("KIND", lambda outcome: outcome.target.kind, wide=True),
    Column("CODE", lambda outcome: outcome.reason.code, wide=True),
    Column("SECONDS", lambda outcome: "" if outcome.seconds is None else f"{outcome.seconds:.1f}", wide=True),
)


def render_result(result: Result, output: str) -> str:
    """A result as "json", "yaml", "table", "wide", "csv" or "name"."""
    if output == "name":
        return "".join(f"{resource_name(outcome.target)}\n" for outcome in result.outcomes if outcome.ok)
    if output in ("table", "wide"):
        return render_table(_COLUMNS, result.outcomes, wide=output == "wide")
    if output == "csv":
        return render_csv(_COLUMNS, result.outcomes)
    return render_document(result.to_dict(), output)


_RESOURCES: Final[Mapping[str, str]] = {
    "VirtualMachine": "virtualmachine.kubevirt.io",
    "VirtualMachineInstance": "virtualmachineinstance.kubevirt.io",
    "DataVolume": "datavolume.cdi.kubevirt.io",
    "VolumeSnapshot": "volumesnapshot.snapshot.storage.k8s.io",
}


def resource_name(target: ObjectRef) -> str:
    """As ``kubectl -o name`` writes it: "virtualmachine.kubevirt.io/web-1"."""
    return f"{_RESOURCES.get(target.kind, target.kind.lower())}/{target.name}"
