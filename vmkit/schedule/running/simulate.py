"""A calendar run forward on the cluster's own VMs: when each would be switched, and how long it would be off. Pure
but for the reading of the lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.errors import ScheduleError
from vmkit.schedule.decide import Action, decide
from vmkit.schedule.facts import Ownership, VmFacts, read_facts
from vmkit.schedule.rules import Side
from vmkit.schedule.running.conditions import Conditions
from vmkit.schedule.running.deciding import decide_subject
from vmkit.schedule.running.hands import Judgement
from vmkit.schedule.running.subjects import Subject
from vmkit.schedule.state import StoredState
from vmkit.schedule.vetoes import Policy
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

OWNER_LABEL: Final = "vmkit.io/owner"
LONGEST: Final = timedelta(days=366)
_MOST_STEPS: Final = 20_000
_NO_OBSTACLE: Final = frozenset({
    "NothingDue", "FirstSight", "Done", "AlreadyRunning", "AlreadyStopped", "Missed", "ScheduleChanged",
    "StopAhead",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedStep:
    """One switching: when, what, why."""

    at: datetime
    action: Action
    text: str


@dataclass(frozen=True, slots=True)
class SimulatedVm:
    """One VM's time.

    Attributes:
        ref, owner: the VM, and whose it is: its label, else its namespace.
        steps: what would be done.
        off: for how long it would be off.
        span: of how long.
        note: why it would be left alone, where nothing is done; empty otherwise.
    """

    ref: VmRef
    owner: str
    steps: tuple[SimulatedStep, ...]
    off: timedelta
    span: timedelta
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "owner": self.owner,
            "hoursOff": round(self.off / timedelta(hours=1), 3),
            "hours": round(self.span / timedelta(hours=1), 3),
            "steps": [
                {"at": step.at.isoformat().replace("+00:00", "Z"), "action": str(step.action), "reason": step.text}
                for step in self.steps
            ],
            "note": self.note,
        }


def simulate_vm(
    subject: Subject,
    judgements: Mapping[tuple[Side, VmRef], Judgement],
    *,
    at: datetime,
    span: timedelta,
    policy: Policy,
    owner_label: str = OWNER_LABEL,
) -> SimulatedVm:
    """Runs one VM's calendar forward, as if nobody but vmkit touched the VM.

    A VM whose history has not begun begins it at ``at``.

    Raises:
        ScheduleError: the span is not above zero, or longer than a year.
    """
    if not timedelta(0) < span <= LONGEST:
        raise ScheduleError("a calendar is run forward by at most 366 days", hint="such as 7d")
    owner = subject.view.labels.get(owner_label) or subject.ref.namespace
    facts = read_facts(subject.view, restart_risks=subject.risks)
    state: StoredState | None = subject.stored
    steps: list[SimulatedStep] = []
    off, instant, end, note = timedelta(), at, at + span, ""
    for _ in range(_MOST_STEPS):
        judged = _judge(facts, judgements)
        decision = _decide(subject, judged, state, instant, policy)
        if decision.reason.code not in _NO_OBSTACLE:
            note = decision.reason.text
        state = decision.settled
        if decision.action in (Action.START, Action.STOP):
            steps.append(SimulatedStep(instant, decision.action, decision.reason.text))
            on = decision.action is Action.START
            power = PowerState.RUNNING if on else PowerState.STOPPED
            facts = replace(facts, power=power, running_since=instant if on else None, ended=False)
        following = _next(subject, facts, instant, end, decision.action)
        off += following - instant if facts.power is PowerState.STOPPED else timedelta()
        instant = following
        if instant >= end:
            break
    return SimulatedVm(subject.ref, owner, tuple(steps), off, span, "" if steps else note)


def _decide(subject: Subject, facts: VmFacts, state: StoredState | None, at: datetime, policy: Policy) -> Any:
    if subject.bad_state is not None:
        return decide_subject(subject, Conditions(), None, at, policy, adopt=True)
    return decide(facts, subject.effective, state, at, policy)


def _judge(facts: VmFacts, judgements: Mapping[tuple[Side, VmRef], Judgement]) -> VmFacts:
    side = Side.STOP if facts.power is PowerState.RUNNING else Side.START
    judged = judgements.get((side, facts.ref))
    if judged is None:
        return replace(facts, ownership=Ownership.NONE, owner="")
    return replace(facts, ownership=judged.ownership, owner=judged.owner)


def _next(subject: Subject, facts: VmFacts, instant: datetime, end: datetime, action: Action) -> datetime:
    """When something may be due again."""
    effective = subject.effective
    found = [end]
    for timetable in (effective.timetable, effective.force_up, effective.force_down, effective.exclude):
        change = timetable.next_change(instant) if timetable is not None else None
        if change is not None:
            found.append(change)
    found += [
        until
        for until in (effective.exclude_until, effective.keep_up_until, effective.keep_down_until)
        if until is not None
    ]
    if effective.warn and effective.timetable is not None:
        coming = effective.timetable.next_transition(instant)
        if coming is not None:
            found.append(coming.at - effective.warn)
    if action is Action.WARN:
        found.append(instant + effective.warn)
    if facts.created_at is not None:
        found.append(facts.created_at + effective.grace)
    return min(one for one in found if one > instant)


def hours_by_owner(simulated: Iterable[SimulatedVm]) -> dict[str, tuple[int, timedelta, timedelta]]:
    """By owner: VMs, time off, time in all."""
    found: dict[str, tuple[int, timedelta, timedelta]] = {}
    for vm in simulated:
        count, off, span = found.get(vm.owner, (0, timedelta(), timedelta()))
        found[vm.owner] = (count + 1, off + vm.off, span + vm.span)
    return dict(sorted(found.items()))
