"""A calendar rehearsed on a cluster whose clock can be moved: every transition, planned against done.

Passes are made as the controller makes them: at each transition, warning and end of an override, and again after a
moment where something was begun or has to wait. Between them the clock is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from vmkit.cluster.session import Session
from vmkit.errors import ScheduleError, UsageError
from vmkit.plan import Outcome, Reason, Status
from vmkit.schedule.decide import Action
from vmkit.schedule.rules import Side
from vmkit.schedule.running.conditions import Conditions
from vmkit.schedule.running.deciding import decide_subject
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.pace import Pace
from vmkit.schedule.running.passing import PassOptions, Seen, run_pass
from vmkit.schedule.running.subjects import Subject, Surroundings, read_subjects, read_surroundings
from vmkit.schedule.running.vigil import Vigil
from vmkit.vm.reference import VmRef

LONGEST: Final = timedelta(days=92)
SOON: Final = timedelta(minutes=1)
"""After something was begun: what it leads to is seen then."""
AGAIN: Final = timedelta(minutes=5)
"""What has to wait is tried again this often; the controller itself tries twice a minute."""
_NEEDLESS: Final = frozenset({"AlreadyRunning", "AlreadyStopped", "Done"})
_AT_REST: Final = frozenset({
    "AlreadyRunning", "AlreadyStopped", "BadAnnotation", "BadObject", "DependencyCycle", "Done", "Excluded",
    "FirstSight", "Forced", "ForceEnded", "ForcedBothWays", "GaveUp", "Gone", "KeptDown", "KeptUp", "Missed",
    "NotAdopted", "OnceFinished", "ScheduleChanged", "Skipped", "StartedAfterwards", "StoppedByHand",
})  # fmt: skip
"""Codes after which nothing is to be tried again before something else is due."""
_NOT_REACHED: Final = Reason("NotReached", "no pass came to it")
_SIDES: Final = {"start": Side.START, "stop": Side.STOP}


class MovableClock(Protocol):
    """The clock of a practice cluster."""

    def now(self) -> datetime:
        """Where it stands."""
        ...

    def advance_to(self, at: datetime) -> None:
        """Moves it, with everything that falls due on the way."""
        ...


class End(StrEnum):
    """What became of a transition."""

    DONE = "done"
    NEEDLESS = "needless"
    """It was so already."""
    LEFT = "left"
    """It was not carried out; the reason says why."""
    MISSED = "missed"
    """Nothing stood against it, and yet it was not carried out in time."""
    FAILED = "failed"
    """It was tried."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One transition, planned against done.

    Attributes:
        ref, at, side: which VM, when, what.
        end: what became of it.
        done_at: when it was carried out; None where it was not.
        reason: why it was, what it had to wait for, or why it was not.
    """

    ref: VmRef
    at: datetime
    side: Side
    end: End
    done_at: datetime | None
    reason: Reason

    @property
    def delay(self) -> timedelta | None:
        """How long after its time it was carried out."""
        return None if self.done_at is None else self.done_at - self.at

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        delay = self.delay
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "at": _text(self.at),
            "side": str(self.side),
            "end": str(self.end),
            "doneAt": None if self.done_at is None else _text(self.done_at),
            "delaySeconds": None if delay is None else round(delay.total_seconds()),
            "reason": self.reason.code,
            "text": self.reason.text,
        }


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal showed.

    Attributes:
        start, end: of the time that passed.
        passes: how many passes were made.
        transitions: by time.
        problems: VMs somebody has to look at, with the last that was said of each.
    """

    start: datetime
    end: datetime
    passes: int
    transitions: tuple[Rehearsed, ...]
    problems: tuple[tuple[VmRef, Reason], ...] = ()


@dataclass(slots=True)
class _Planned:
    ref: VmRef
    at: datetime
    side: Side
    done_at: datetime | None = None
    end: End | None = None
    reason: Reason = _NOT_REACHED


class _Rehearser:
    def __init__(self, session: Session, hands: Hands, clock: MovableClock, options: PassOptions) -> None:
        self._session, self._hands, self._clock, self._options = session, hands, clock, options
        self._planned: dict[VmRef, list[_Planned]] = {}
        self._problems: dict[VmRef, Reason] = {}
        self._pace = VirtualPace(options.starts_a_minute, clock.now)
        self._begun = self._waits = False
        self._seen: Seen | None = None
        self.passes = 0

    def plan(self, start: datetime, end: datetime) -> None:
        """What the calendars ask for."""
        for subject in self._read()[1]:
            timetable = subject.effective.timetable
            for transition in timetable.transitions(start, end) if timetable is not None else ():
                self._planned.setdefault(subject.ref, []).append(
                    _Planned(subject.ref, transition.at, transition.side)
                )

    def _read(self) -> tuple[Surroundings, tuple[Subject, ...]]:
        options = self._options
        surroundings = read_surroundings(self._session, options.settings, options.namespace)
        subjects = read_subjects(self._session, surroundings, options.namespace, options.label_selector)
        return surroundings, tuple(subjects)

    def make_pass(self) -> None:
        """One pass, as the controller makes it."""
        at = self._clock.now()
        surroundings, subjects = self._read()
        vigil = Vigil(surroundings, subjects, at, self._pace, lambda: True, lambda subject, decision: False)
        self._begun = self._waits = False
        heard: set[VmRef] = set()

        def hear(outcome: Outcome) -> None:
            ref = VmRef(outcome.target.namespace, outcome.target.name)
            heard.add(ref)
            self._hear(ref, outcome, at)

        run_pass(self._session, self._hands, self._options, on_outcome=hear, on_seen=self._see, vigil=vigil)
        self.passes += 1
        for subject in subjects:
            planned = self._latest(subject.ref, at)
            if planned is not None and planned.end is None and subject.ref not in heard:
                self._ask(subject, planned, at)

    def _see(self, seen: Seen) -> None:
        self._seen = seen

    def _ask(self, subject: Subject, planned: _Planned, at: datetime) -> None:
        """Why nothing was said of a VM whose transition is not dealt with."""
        decision = decide_subject(subject, Conditions(), None, at, self._options.policy, adopt=self._options.adopt)
        if decision.reason.code != "NothingDue":
            planned.reason = decision.reason

    def _latest(self, ref: VmRef, at: datetime) -> _Planned | None:
        return next((each for each in reversed(self._planned.get(ref, ())) if each.at <= at), None)

    def _hear(self, ref: VmRef, outcome: Outcome, at: datetime) -> None:
        if not outcome.ok:
            self._problems[ref] = outcome.reason
        planned = self._latest(ref, at)
        switched = _SIDES.get(outcome.verb)
        self._begun |= outcome.status is Status.CHANGED
        self._waits |= outcome.status is not Status.CHANGED and outcome.reason.code not in _AT_REST
        if planned is None or planned.end in (End.DONE, End.NEEDLESS) or outcome.verb == Action.WARN:
            return
        if switched is planned.side and outcome.status in (Status.CHANGED, Status.UNCHANGED):
            # What it had to wait for says more than what it was done for.
            planned.reason = outcome.reason if planned.end is None else planned.reason
            changed = outcome.status is Status.CHANGED
            planned.end, planned.done_at = (End.DONE, at) if changed else (End.NEEDLESS, None)
        elif outcome.reason.code == "Missed":
            if planned.end is None:
                planned.end, planned.reason = End.MISSED, outcome.reason
        elif outcome.reason.code in _NEEDLESS:
            planned.end, planned.reason = End.NEEDLESS, outcome.reason
        else:
            planned.end = End.FAILED if outcome.status is Status.FAILED and switched is not None else End.LEFT
            planned.reason = outcome.reason

    def next_at(self, at: datetime, end: datetime) -> datetime:
        """When the next pass is due."""
        found = [end]
        if self._seen is not None and self._seen.next_at is not None:
            found.append(self._seen.next_at)
        if self._begun or self._waits:
            found.append(at + (SOON if self._begun else AGAIN))
        return min(found)

    def result(self, start: datetime, end: datetime) -> Rehearsal:
        rows = [
            Rehearsed(each.ref, each.at, each.side, each.end or End.LEFT, each.done_at, each.reason)
            for planned in self._planned.values()
            for each in planned
        ]
        rows.sort(key=lambda row: (row.at, row.ref))
        return Rehearsal(start, end, self.passes, tuple(rows), tuple(sorted(self._problems.items())))


class VirtualPace(Pace):
    """So many starts in any minute of a clock that is moved: whatever has no turn is put off."""

    def __init__(self, a_minute: int, now: Callable[[], datetime]) -> None:
        super().__init__(a_minute)
        self._now = now
        self._minute: list[datetime] = []
        self._most = a_minute

    def limit(self, a_minute: int) -> None:
        """From now on so many."""
        self._most = a_minute

    def take(self, *, wait: bool = True) -> bool:
        """Whether it is its turn now; never waits."""
        with self._lock:
            now = self._now()
            self._minute = [at for at in self._minute if now - at < timedelta(minutes=1)]
            if len(self._minute) >= self._most:
                return False
            self._minute.append(now)
            return True


def rehearse(
    session: Session,
    hands: Hands,
    clock: MovableClock,
    options: PassOptions,
    span: timedelta,
    *,
    on_pass: Callable[[datetime], None] = lambda at: None,
) -> Rehearsal:
    """Lets ``span`` pass, making a pass whenever one is due.

    VMs that nobody has looked at before begin their history with the first pass, so nothing counts as missed.

    Args:
        session: the cluster.
        hands: how VMs are started and stopped.
        clock: its clock; it must not run by itself.
        options: how passes go about it.
        span: how long.
        on_pass: told of each pass before it is made.

    Raises:
        ScheduleError: the span is not above zero, or too long.
        UsageError: passes that change nothing can rehearse nothing.
        ClusterError: the VMs cannot be read.
    """
    if not timedelta(0) < span <= LONGEST:
        raise ScheduleError(f"at most {LONGEST.days} days are rehearsed at once", hint="such as 7d")
    if options.dry_run:
        raise UsageError("a dry run rehearses nothing", hint="vmkit schedule run --simulate 7d changes nothing")
    start = clock.now()
    end = start + span
    rehearser = _Rehearser(session, hands, clock, options)
    rehearser.plan(start, end)
    at = start
    while True:
        on_pass(at)
        rehearser.make_pass()
        if at >= end:
            return rehearser.result(start, end)
        at = rehearser.next_at(at, end)
        clock.advance_to(at)


def count_ends(transitions: Iterable[Rehearsed]) -> dict[End, int]:
    """How many transitions ended in which way."""
    counts = dict.fromkeys(End, 0)
    for each in transitions:
        counts[each.end] += 1
    return counts


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
