"""One pass: every VM is looked at, what is due is decided, shown, and done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from vmkit.cluster.session import Session
from vmkit.errors import ScheduleError, UsageError
from vmkit.plan import Change, Outcome, Plan, Reason, Result, Status
from vmkit.plan.executor import check_limit, run
from vmkit.schedule.decide import Action, Decision
from vmkit.schedule.rules import Side
from vmkit.schedule.running.acting import Worker, object_of, report, skipped
from vmkit.schedule.running.conditions import MASS_START, Conditions, object_to_mass_start, read_conditions
from vmkit.schedule.running.deciding import QUIET, decide_subject, needs_writing, wanted_side
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.options import PassOptions, Seen
from vmkit.schedule.running.order import Place, decide_waves, needs, parse_place, reverse
from vmkit.schedule.running.pace import Pace
from vmkit.schedule.running.subjects import Subject, Surroundings, read_subjects, read_surroundings
from vmkit.schedule.running.vigil import Vigil
from vmkit.schedule.running.waiting import is_down, is_up, wait_for
from vmkit.vm.history import new_run_id
from vmkit.vm.reference import VmRef

_NEVER_ENDING: Final = "EnforceNotSafe"
__all__ = ["PassOptions", "Seen", "run_pass"]
Confirm = Callable[[Plan], None]
OnOutcome = Callable[[Outcome], None]


def run_pass(
    session: Session,
    hands: Hands,
    options: PassOptions | None = None,
    *,
    confirm: Confirm | None = None,
    on_outcome: OnOutcome | None = None,
    on_seen: Callable[[Seen], None] | None = None,
    stopping: threading.Event | None = None,
    vigil: Vigil | None = None,
) -> Result:
    """Looks at every VM once and does what is due.

    Args:
        session: the cluster.
        hands: how VMs are started and stopped.
        options: how to go about it.
        confirm: shown the starts and stops before the first change; raises to end the pass there.
        on_outcome: told of each outcome as it comes.
        on_seen: told what was seen, before anything is done.
        stopping: once set, nothing further is begun.
        vigil: a controller's part in it.

    Returns:
        An outcome for each VM that there is something to say about.

    Raises:
        ClusterError: the VMs, or what surrounds those that are due, cannot be read; nothing was done.
        LimitExceeded, NotConfirmed: before the first change.
        UsageError: schedules are to be enforced on VMs where a GitOps tool would not let them be.
    """
    job = _Pass(session, hands, options or PassOptions(), on_outcome, stopping or threading.Event(), vigil)
    job.look()
    if on_seen is not None:
        on_seen(job.seen())
    job.ask()
    job.check_enforcing()
    plan = job.plan()
    check_limit(len(plan), job.scheduled, job.options.max_changes, verb="the schedule")
    if job.options.dry_run:
        job.pretend()
    else:
        if len(plan) and confirm is not None:
            confirm(plan)
        job.carry_out()
    return job.result(plan.notices)


@dataclass(slots=True)
class _Item:
    subject: Subject
    decision: Decision
    side: Side | None = None


class _Pass:
    def __init__(  # noqa: PLR0917 - private, and called once
        self,
        session: Session,
        hands: Hands,
        options: PassOptions,
        on_outcome: OnOutcome | None,
        stopping: threading.Event,
        vigil: Vigil | None,
    ) -> None:
        self.options = options
        self.scheduled = 0
        self._session = session
        self._hands = hands
        self._on_outcome = on_outcome
        self._stopping = stopping
        self._vigil = vigil
        self._vms = 0
        self._wanted = {True: 0, False: 0}
        self._at = options.at if vigil is None else vigil.at
        self._next: datetime | None = None
        self._surroundings: Surroundings | None = None
        self._conditions = Conditions()
        self._items: dict[VmRef, _Item] = {}
        self._around: dict[VmRef, tuple[bool, Place]] = {}
        self._begun: dict[Side, set[VmRef]] = {side: set() for side in Side}
        self._outcomes: list[Outcome] = []
        self._changed = False
        self._run = ""

    # --- looking ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Reads the three lists, unless somebody has been watching, and decides as far as they go."""
        options = self.options
        subjects: Iterable[Subject]
        if self._vigil is not None:
            self._surroundings, subjects = self._vigil.surroundings, self._vigil.subjects
        else:
            self._surroundings = read_surroundings(self._session, options.settings, options.namespace)
            subjects = read_subjects(self._session, self._surroundings, options.namespace, options.label_selector)
        for subject in subjects:
            self._see(subject)
        self._run = new_run_id(self.at)

    @property
    def at(self) -> datetime:
        """The instant of the pass: the cluster's own, once it has answered."""
        if self._at is None:
            self._at = self._session.server_time or datetime.now(UTC)
        return self._at

    def _see(self, subject: Subject) -> None:
        self._vms += 1
        effective, view = subject.effective, subject.view
        try:
            place = parse_place(subject.ref, view.annotations)
        except ScheduleError:
            place = Place()  # Said when it is decided about.
        self._around[subject.ref] = (is_up(view), place)
        self._watch_begun(subject)
        decision = self._decide(subject, None)
        if effective.timetable is not None or effective.force_origin is not None:
            self.scheduled += 1
            if effective.timetable is not None:
                self._wanted[effective.timetable.is_active(self.at)] += 1
            self._sleep_until(subject)
        side = wanted_side(decision, subject)
        if (
            side is not None
            or decision.problem
            or needs_writing(decision, subject)
            or decision.reason.code not in QUIET
        ):
            self._items[subject.ref] = _Item(subject, decision, side)

    def _watch_begun(self, subject: Subject) -> None:
        pending = subject.stored.pending if subject.stored is not None else None
        if pending is None or self.at - pending.asked_at >= self.options.ready_timeout:
            return
        done = is_up if pending.side is Side.START else is_down
        if not done(subject.view):
            self._begun[pending.side].add(subject.ref)

    def _decide(self, subject: Subject, side: Side | None) -> Decision:
        return decide_subject(
            subject, self._conditions, side, self.at, self.options.policy, adopt=self.options.adopt
        )

    def _sleep_until(self, subject: Subject) -> None:
        effective = subject.effective
        found: list[datetime] = []
        coming = effective.timetable.next_transition(self.at) if effective.timetable is not None else None
        if coming is not None:
            found += [coming.at, coming.at - effective.warn]
        for switched in (effective.force_up, effective.force_down, effective.exclude):
            change = switched.next_change(self.at) if switched is not None else None
            if change is not None:
                found.append(change)
        found += [
            until
            for until in (effective.exclude_until, effective.keep_up_until, effective.keep_down_until)
            if until is not None
        ]
        soonest = min((at for at in found if at > self.at), default=None)
        if soonest is not None and (self._next is None or soonest < self._next):
            self._next = soonest

    def seen(self) -> Seen:
        """What was seen."""
        decisions = [item.decision for item in self._items.values()]
        return Seen(
            at=self.at,
            vms=self._vms,
            scheduled=self.scheduled,
            next_at=self._next,
            waiting=sum(item.side is not None for item in self._items.values()),
            open=len(self._items),
            problems=sum(decision.problem for decision in decisions),
            wanted_on=self._wanted[True],
            wanted_off=self._wanted[False],
        )

    # --- deciding ---------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Asks the cluster what it takes to decide about what is due, and decides."""
        due = [item for item in self._items.values() if item.side is not None]
        if not due:
            return
        wanted = [(item.subject, item.side) for item in due]
        self._conditions = read_conditions(self._session, self._hands, wanted, self.options.namespace)
        for item in due:
            item.decision = self._decide(item.subject, item.side)
        starts = self._acting(Action.START)
        if len(starts) >= MASS_START:
            objection = object_to_mass_start(self._session)
            if objection is not None:
                self._put_off(starts, objection)
        self._check_dependencies()

    def _acting(self, action: Action) -> dict[VmRef, _Item]:
        return {ref: item for ref, item in self._items.items() if item.decision.action is action}

    def _put_off(self, items: Iterable[VmRef], reason: Reason) -> None:
        for ref in items:
            item = self._items[ref]
            stored = item.subject.stored
            item.decision = Decision(Action.NONE, reason, stored, stored, item.decision.transition)

    def _check_dependencies(self) -> None:
        """Puts off starts whose needs are neither up nor started in this pass, until none is left."""
        while True:
            starts = self._acting(Action.START)
            for ref in starts:
                missing = next(
                    (
                        other
                        for other in self._around[ref][1].depends_on
                        if other not in starts and not self._around.get(other, (False, Place()))[0]
                    ),
                    None,
                )
                if missing is not None:
                    self._put_off([ref], Reason("NeedsAnother", f"it depends on {missing}, which is not up"))
                    break
            else:
                return

    def check_enforcing(self) -> None:
        """Enforces nothing on anybody where that would never end; a controller leaves out the VMs concerned.

        Raises:
            UsageError: there are such VMs.
        """
        found = sorted(ref for ref, item in self._items.items() if item.decision.reason.code == _NEVER_ENDING)
        if found and self._vigil is None:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise UsageError(
                f"{found[0]}{more}: {self._items[found[0]].decision.reason.text}",
                hint="leave --enforce out, leave these VMs out, or tell the tool to ignore the run strategy",
            )

    def plan(self) -> Plan:
        """The starts and stops."""
        changes = [
            _change_of(item)
            for item in self._items.values()
            if item.decision.action in (Action.START, Action.STOP)
        ]
        notices = list(self.options.settings.notices)
        for item in self._items.values():
            notices += [f"{item.subject.ref}: {notice.text}" for notice in item.decision.notices]
            remedy = self._remedy(item)
            if remedy:
                notices.append(remedy)
        return Plan("schedule", tuple(changes), tuple(dict.fromkeys(notices)))

    def _remedy(self, item: _Item) -> str:
        judged = self._conditions.judgements.get((item.side, item.subject.ref)) if item.side is not None else None
        if judged is None or not judged.remedy or not item.decision.reason.code.startswith("GitOps"):
            return ""
        return f"this makes it safe for {judged.owner}:\n{judged.remedy.rstrip()}"

    # --- doing ------------------------------------------------------------------------------------------------

    def pretend(self) -> None:
        """Says what would be done."""
        for item in self._items.values():
            decision = item.decision
            if decision.action is Action.NONE:
                self._tell(report(item.subject.ref, decision))
            else:
                target = object_of(item.subject.ref)
                self._tell(Outcome(target, str(decision.action), Status.PLANNED, decision.reason))

    def carry_out(self) -> None:
        """Does it: first what is only to be remembered or said, then the stops, then the starts."""
        assert self._surroundings is not None
        worker = Worker(
            self._session, self._hands, self._surroundings, self._decide, self.options.switch, self._run, self.at
        )
        if self._vigil is not None:
            worker = replace(worker, may_act=self._vigil.may_act, reread=True)
        notes = [item for item in self._items.values() if item.decision.action is Action.NONE]
        still = [item for item in notes if not self._is_to_be_noted(item)]
        for item in still:
            self._tell(report(item.subject.ref, item.decision))
        self._run_all([item for item in notes if item not in still], worker.note)
        self._run_all(list(self._acting(Action.WARN).values()), worker.carry_out)
        self._run_waves(Action.STOP, worker.carry_out)
        pace, waiting = Pace(self._starts_a_minute(), self._stopping), True
        if self._vigil is not None:
            pace, waiting = self._vigil.pace, False
            pace.limit(self._starts_a_minute())

        def start(subject: Subject, decision: Decision) -> Outcome:
            if not pace.take(wait=waiting):
                if not self._stopping.is_set():
                    return skipped(subject.ref, "start", "Paced", "enough are started in this minute")
                return skipped(subject.ref, "start", "Ending", "the run ended before its turn")
            return worker.carry_out(subject, decision)

        self._run_waves(Action.START, start)

    def _is_to_be_noted(self, item: _Item) -> bool:
        if needs_writing(item.decision, item.subject):
            return True
        told = self._vigil is not None and self._vigil.is_told(item.subject, item.decision)
        return item.decision.problem and not told

    def _starts_a_minute(self) -> int:
        nodes = self._conditions.ready_nodes
        by_node = self.options.starts_a_node * max(1, nodes) if nodes is not None else self.options.starts_a_minute
        return min(self.options.starts_a_minute, by_node)

    def _run_all(self, items: list[_Item], do: Callable[[Subject, Decision], Outcome]) -> dict[VmRef, Outcome]:
        by_target = {object_of(item.subject.ref): item for item in items}

        def one(change: Change) -> Outcome:
            item = by_target[change.target]
            return do(item.subject, item.decision)

        outcomes = run(
            [_change_of(item) for item in items],
            one,
            concurrency=self.options.concurrency,
            on_outcome=self._tell,
            should_stop=self._stopping.is_set,
        )
        return {item.subject.ref: outcome for item, outcome in zip(items, outcomes, strict=True)}

    def _run_waves(self, action: Action, do: Callable[[Subject, Decision], Outcome]) -> None:
        items = self._acting(action)
        # Who never waits has to know of whom it asked in an earlier pass.
        before = self._begun[Side.START if action is Action.START else Side.STOP] if self._vigil else set()
        waits_for = needs({ref: self._around[ref][1] for ref in [*items, *sorted(before - items.keys())]})
        if action is Action.STOP:
            waits_for = reverse(waits_for)
        waves = decide_waves(waits_for)
        for ref in waves.cyclic:
            if ref not in items:
                continue
            reason = Reason(
                "DependencyCycle", "it and others depend on each other in a circle; it is left as it is"
            )
            decision = Decision(Action.NONE, reason, None, None, items[ref].decision.transition, problem=True)
            self._tell(report(ref, decision))
        failed: set[VmRef] = set()
        asked: set[VmRef] = set()
        for number, step in enumerate(waves.steps):
            if number and asked and self._vigil is None:
                # What earlier steps asked for has to be so before the next begins.
                seconds = self.options.ready_timeout.total_seconds()
                done = is_up if action is Action.START else is_down
                failed |= wait_for(self._session, asked, done, seconds=seconds, stopping=self._stopping)
                asked = set()
            ready = []
            for ref in step:
                if ref not in items:
                    continue
                blocking = sorted(waits_for[ref] if self._vigil is not None else waits_for[ref] & failed)
                if blocking:
                    failed.add(ref)
                    word = "up" if action is Action.START else "down"
                    text = f"{blocking[0]} is not {word} yet; it is tried again at the next pass"
                    self._tell(skipped(ref, str(action), "NeedsAnother", text))
                else:
                    ready.append(items[ref])
            for ref, outcome in self._run_all(ready, do).items():
                begun = outcome.status in (Status.CHANGED, Status.UNCHANGED)
                (asked if begun else failed).add(ref)

    # --- telling ----------------------------------------------------------------------------------------------

    def _tell(self, outcome: Outcome) -> None:
        if outcome.reason.code in QUIET and outcome.ok:
            return
        if outcome.status is Status.CHANGED:
            self._changed = True
        self._outcomes.append(outcome)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def result(self, notices: tuple[str, ...]) -> Result:
        """What came of it."""
        said = list(notices)
        if self._changed:
            said.append(f"run {self._run}: vmkit undo {self._run} takes it back")
        outcomes = sorted(self._outcomes, key=lambda outcome: outcome.target)
        return Result(
            "schedule", tuple(outcomes), notices=tuple(said), dry_run="client" if self.options.dry_run else None
        )


def _change_of(item: _Item) -> Change:
    decision = item.decision
    verb = str(decision.action) if decision.action is not Action.NONE else "note"
    return Change(verb, object_of(item.subject.ref), decision.reason)
