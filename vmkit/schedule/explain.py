"""What holds, why, and what comes next, as values to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vmkit.schedule.model import Schedule
from vmkit.schedule.rules import Written
from vmkit.schedule.sources import Effective, Origin, Problem
from vmkit.schedule.timetable import Timetable, Transition, Wish


@dataclass(frozen=True, slots=True)
class ExplainedTransition:
    """A transition to come.

    Attributes:
        transition: when, in UTC, and what.
        local: the same as the schedule's own clock shows it.
        rules: the rules that make it.
    """

    transition: Transition
    local: datetime
    rules: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a schedule says at an instant.

    Attributes:
        at: the instant, as the schedule's own clock shows it.
        wish: what is wanted.
        active: what `Timetable.is_active` says.
        rules: the rules that decide, empty where no window holds the instant.
        coming: the next transitions.
        skipped: windows of the next year that a change of the clock swallows whole, with its instant.
    """

    at: datetime
    wish: Wish
    active: bool
    rules: tuple[Written, ...]
    coming: tuple[ExplainedTransition, ...]
    skipped: tuple[tuple[datetime, Written], ...]


@dataclass(frozen=True, slots=True)
class VmExplanation:
    """What holds for a VM at an instant.

    Attributes:
        effective: everything that was found.
        decided_by: the annotation or setting behind what holds now; None where nothing does.
        held_by: what stands above the schedule now: an exclusion, a force, an override; empty where nothing.
        schedule: what its schedule says; None where it has none.
        problems: annotations that are not understood; where there are any, the VM is left alone.
    """

    effective: Effective
    decided_by: Origin | None
    held_by: str
    schedule: Explanation | None
    problems: tuple[Problem, ...]


def explain_timetable(timetable: Timetable, at: datetime, *, count: int = 10) -> Explanation:
    """Explains a schedule at an instant, with its next ``count`` transitions.

    Raises:
        ScheduleError: ``at`` has no time zone.
    """
    schedule = timetable if isinstance(timetable, Schedule) else None
    tzinfo = schedule.zone.tzinfo if schedule is not None and schedule.zone is not None else UTC
    coming: list[ExplainedTransition] = []
    position = at
    while len(coming) < count and (found := timetable.next_transition(position)) is not None:
        rules = schedule.rules_of_transition(found.at) if schedule is not None else ()
        coming.append(
            ExplainedTransition(found, found.at.astimezone(tzinfo), tuple(rule.source for rule in rules))
        )
        position = found.at
    skipped = schedule.skipped_windows(at, at + timedelta(days=366)) if schedule is not None else ()
    return Explanation(
        at=at.astimezone(tzinfo),
        wish=timetable.wants(at),
        active=timetable.is_active(at),
        rules=tuple(rule.source for rule in schedule.rules_at(at)) if schedule is not None else (),
        coming=tuple(coming),
        skipped=tuple((instant.astimezone(tzinfo), rule.source) for instant, rule in skipped),
    )


def explain_vm(effective: Effective, at: datetime, *, count: int = 10) -> VmExplanation:
    """Explains what holds for a VM at an instant.

    Raises:
        ScheduleError: ``at`` has no time zone.
    """
    decided_by, held_by = effective.origin, ""
    up = effective.force_up is not None and effective.force_up.is_active(at)
    down = effective.force_down is not None and effective.force_down.is_active(at)
    if up or down:
        decided_by = effective.force_origin
        held_by = "forced both ways" if up and down else "forced up" if up else "forced down"
    elif effective.exclude is not None and effective.exclude.is_active(at):
        decided_by, held_by = effective.exclude_origin, "excluded"
    else:
        for word, until in (
            ("excluded", effective.exclude_until),
            ("kept up", effective.keep_up_until),
            ("kept down", effective.keep_down_until),
        ):
            if until is not None and at < until:
                held_by = f"{word} until {until.isoformat()}"
                break
    schedule = None if effective.timetable is None else explain_timetable(effective.timetable, at, count=count)
    return VmExplanation(effective, decided_by, held_by, schedule, effective.problems)
