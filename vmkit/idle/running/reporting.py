"""What a run found, as a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from vmkit.idle.decide import Decision
from vmkit.idle.report import Action, IdleItem, IdleReport, Size
from vmkit.idle.running.options import IdleOptions
from vmkit.idle.running.subjects import Subject
from vmkit.idle.verdict import State, Verdict
from vmkit.metrics.summary import Sessions, Summary, Unknown

_MOST_WARNINGS: Final = 5


@dataclass(slots=True)
class Item:
    """One VM of a run: what is known of it, what was found, what is to be done; the last may be put off."""

    subject: Subject
    summary: Summary
    verdict: Verdict
    decision: Decision
    size: Size


def build_report(
    items: Iterable[Item], *, at: datetime, options: IdleOptions, source_name: str, notices: Sequence[str]
) -> IdleReport:
    """The report of a run."""
    return IdleReport(
        at=at,
        policy=options.policy.name,
        lookback=options.policy.lookback,
        criteria=tuple(map(str, options.policy.criteria)),
        notice=options.notice,
        scope=str(options.scope),
        source=source_name,
        items=tuple(map(_build_item, items)),
        notices=tuple(notices),
    )


def _build_item(item: Item) -> IdleItem:
    mark, sessions = item.decision.mark, item.summary.sessions
    cleared = item.decision.action in (Action.CLEAR, Action.SETTLE)
    return IdleItem(
        owner=item.subject.owner,
        verdict=item.verdict,
        facts=item.subject.facts,
        size=item.size,
        action=item.decision.action,
        reason=item.decision.reason,
        marked_at=mark.marked_at if mark is not None and not cleared else None,
        stop_after=mark.stop_after if mark is not None and not cleared else None,
        last_used=sessions.last_ended if isinstance(sessions, Sessions) else None,
    )


def describe_evidence(verdicts: Sequence[Verdict], summaries: Iterable[Summary]) -> list[str]:
    """What people should know of the evidence as a whole: that there is none, and what the source warned of."""
    notices = []
    if verdicts and all(each.state is State.UNKNOWN for each in verdicts):
        first = verdicts[0].reasons[0]
        notices.append(f"of no VM it is known whether it is used; of {verdicts[0].ref}: {first.text}")
    warnings = dict.fromkeys(text for each in summaries for text in each.warnings)
    return [*notices, *list(warnings)[:_MOST_WARNINGS]]


def with_energy(size: Size, summary: Summary) -> Size:
    """The size, with the average active power of the lookback where somebody knows it."""
    energy = summary.energy
    if isinstance(energy, Unknown) or isinstance(summary.running, Unknown):
        return size
    hours = summary.running.total_seconds() / 3600 * energy.coverage
    if hours <= 0:
        return size
    return replace(size, active_watts=energy.active_kwh * 1000 / hours, energy_source=str(energy.source))
