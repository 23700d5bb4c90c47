"""A policy replayed over the past: when each VM would have been noted and stopped, and whom that would have hit.
Pure.

The replay is that of a job that runs every hour, notes an idle VM first and stops it when the notice is over, and
of people who start a stopped VM when they next use it. What history does not hold is taken as follows, and every
report of a rehearsal says so: nobody was logged in but by a session; the VM's size and vetoes were those of today;
the limit of stops a run, and groups of which one member at a time may be down, are left out.

Whom a stop hits is told by one yardstick for all policies, vmkit's own limits: a lenient policy does not get to
overlook what it did.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any, Final

from vmkit.errors import UsageError
from vmkit.idle.policy import IdlePolicy, vmkit_policy
from vmkit.idle.rehearsal_history import STEP, STEPS_AN_HOUR, UNSEEN, UP, VmHistory
from vmkit.idle.rehearsal_replay import Course, count_up
from vmkit.idle.report import Size
from vmkit.idle.verdict import decide_idle
from vmkit.metrics.summary import Measure, Migrations, Sessions, Signal, Summary, Unknown, Usage
from vmkit.units import format_duration
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_PASSING: Final = frozenset({"NotSettled"})
"""Vetoes that say what a VM is doing now, and nothing about the past."""
_LAST_LOOK: Final = timedelta(minutes=15) // STEP

GONE, QUIET, USED, NOTICE, STOPPED = range(5)
"""What an hour of a VM was, or would have been: it did not run or was not seen; it ran unused; it was used; it ran
under a notice; it would have been stopped."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the job is taken to have run.

    Attributes:
        start, end: what is replayed; on full hours.
        notice: between note and stop.
        horizon: a stop is one too many where the VM is used within so long after it.
        zone: of the days and hours in pictures.

    Raises:
        UsageError: they make no sense.
    """

    start: datetime
    end: datetime
    zone: tzinfo
    notice: timedelta = _DAY
    horizon: timedelta = _DAY

    def __post_init__(self) -> None:
        if self.end - self.start < _DAY:
            raise UsageError(
                f"a rehearsal of {format_duration(self.end - self.start)} shows nothing",
                hint="give a day or more; 30d is usual",
            )
        if self.notice < timedelta(0):
            raise UsageError(f"a notice of {format_duration(self.notice)} makes no sense")
        if self.horizon < _HOUR:
            raise UsageError(
                f"a horizon of {format_duration(self.horizon)} makes no sense", hint="give 1h or more"
            )


@dataclass(frozen=True, slots=True)
class RehearsedStop:
    """One stop that would have been.

    Attributes:
        marked_at, stopped_at: when.
        used_at: the next use, at which somebody would have had to start it; None where it was not used again.
        off: for how long it ran in truth while it would have been stopped: what the stop returns.
        hit: it was used within the horizon.
        use_lost: how long it was used within the horizon; nothing of it is lost if it is started at once.
    """

    marked_at: datetime
    stopped_at: datetime
    used_at: datetime | None
    off: timedelta
    hit: bool
    use_lost: timedelta

    def to_dict(self) -> dict[str, Any]:
        """As programs have it."""
        return {
            "markedAt": _stamp(self.marked_at),
            "stoppedAt": _stamp(self.stopped_at),
            "usedAt": None if self.used_at is None else _stamp(self.used_at),
            "hoursOff": self.off / _HOUR,
            "hit": self.hit,
            "hoursOfUseLost": self.use_lost / _HOUR,
        }


@dataclass(frozen=True, slots=True)
class VmRehearsal:
    """What would have become of one VM.

    Attributes:
        ref, owner, size: which, whose, how large.
        stops: in their order.
        notes: how often it would have been noted as idle; those that no stop followed were cleared by use.
        ran, used: for how long it ran and was used, in truth.
        hours: what each hour was (`GONE`, `QUIET`, `USED`, `NOTICE`, `STOPPED`).
    """

    ref: VmRef
    owner: str
    size: Size
    stops: tuple[RehearsedStop, ...]
    notes: int
    ran: timedelta
    used: timedelta
    hours: bytes

    @property
    def off(self) -> timedelta:
        """For how long it would have been off instead of running unused."""
        return sum((each.off for each in self.stops), timedelta(0))

    @property
    def hits(self) -> int:
        """Stops that would have hit somebody."""
        return sum(each.hit for each in self.stops)

    @property
    def kilowatt_hours(self) -> float | None:
        """Of its own work, at its average power; None where nobody measured."""
        return None if self.size.active_watts is None else self.size.active_watts * (self.off / _HOUR) / 1000

    def to_dict(self) -> dict[str, Any]:
        """As programs have it."""
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "owner": self.owner,
            "notes": self.notes,
            "stops": [each.to_dict() for each in self.stops],
            "hits": self.hits,
            "hoursOff": self.off / _HOUR,
            "hoursRan": self.ran / _HOUR,
            "hoursUsed": self.used / _HOUR,
            "kilowattHours": self.kilowatt_hours,
        }


@dataclass(frozen=True)
class Rehearsal:
    """What would have become of a fleet under one policy.

    Attributes:
        policy: it.
        terms: how it was replayed.
        vms: every VM, in the order of names.
    """

    policy: IdlePolicy
    terms: Terms
    vms: tuple[VmRehearsal, ...]

    @cached_property
    def stops(self) -> int:
        """All stops."""
        return sum(len(vm.stops) for vm in self.vms)

    @cached_property
    def hits(self) -> int:
        """Stops that would have hit somebody: the regret."""
        return sum(vm.hits for vm in self.vms)

    @cached_property
    def vms_hit(self) -> int:
        """VMs that had such a stop."""
        return sum(vm.hits > 0 for vm in self.vms)

    @cached_property
    def woken(self) -> int:
        """Stops after which the VM was used again, however late."""
        return sum(each.used_at is not None for vm in self.vms for each in vm.stops)

    @cached_property
    def use_lost(self) -> timedelta:
        """Use within the horizon of stops."""
        return sum((each.use_lost for vm in self.vms for each in vm.stops), timedelta(0))

    @cached_property
    def off(self) -> timedelta:
        """VM-hours that would have been saved."""
        return sum((vm.off for vm in self.vms), timedelta(0))

    @cached_property
    def ran(self) -> timedelta:
        """VM-hours that they ran in truth."""
        return sum((vm.ran for vm in self.vms), timedelta(0))

    @cached_property
    def vcpu_hours(self) -> float:
        """Hours off times vCPUs."""
        return sum(vm.size.vcpus * (vm.off / _HOUR) for vm in self.vms)

    @cached_property
    def gibibyte_hours(self) -> float:
        """Hours off times memory."""
        return sum(vm.size.memory_bytes / 1024**3 * (vm.off / _HOUR) for vm in self.vms)

    @cached_property
    def kilowatt_hours(self) -> float | None:
        """Of the VMs whose power is known; None where it is of none."""
        known = [each for each in (vm.kilowatt_hours for vm in self.vms) if each is not None]
        return sum(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """As programs have it; ``items`` are the VMs that would have been noted or stopped."""
        return {
            "policy": self.policy.name,
            "criteria": [str(each) for each in self.policy.criteria],
            "start": _stamp(self.terms.start),
            "end": _stamp(self.terms.end),
            "noticeSeconds": self.terms.notice.total_seconds(),
            "horizonSeconds": self.terms.horizon.total_seconds(),
            "vms": len(self.vms),
            "stops": self.stops,
            "hits": self.hits,
            "vmsHit": self.vms_hit,
            "usedAgain": self.woken,
            "hoursOfUseLost": self.use_lost / _HOUR,
            "hoursOff": self.off / _HOUR,
            "hoursRan": self.ran / _HOUR,
            "vcpuHours": self.vcpu_hours,
            "gibibyteHours": self.gibibyte_hours,
            "kilowattHours": self.kilowatt_hours,
            "items": [vm.to_dict() for vm in self.vms if vm.notes],
        }


def rehearse(policies: Sequence[IdlePolicy], histories: Iterable[VmHistory], terms: Terms) -> list[Rehearsal]:
    """Replays policies over histories, one VM after the other: a fleet's history need not fit in memory.

    Args:
        policies: each by itself.
        histories: each from the longest lookback before ``terms.start`` on, where it reaches so far back; what
            is missing of that is unknown, and unknown is kept running.
        terms: how the job is taken to have run.
    """
    found: list[list[VmRehearsal]] = [[] for _ in policies]
    for history in histories:
        replay = _Replay(history, terms)
        for policy, vms in zip(policies, found, strict=True):
            vms.append(replay.run(policy))
    return [
        Rehearsal(policy, terms, tuple(sorted(vms, key=lambda vm: vm.ref)))
        for policy, vms in zip(policies, found, strict=True)
    ]


class _Replay:
    """One VM's past, prepared for any policy."""

    def __init__(self, history: VmHistory, terms: Terms) -> None:
        vetoes = tuple(each for each in history.facts.vetoes if each.code not in _PASSING)
        history = replace(history, facts=replace(history.facts, vetoes=vetoes))
        self._history, self._terms = history, terms
        self._courses: dict[Measure, Course | None] = {}
        self._first = max(0, (terms.start - history.start) // STEP)
        self._last = min(len(history), (terms.end - history.start) // STEP)
        self._ran = count_up(state == UP for state in history.states)
        self._seen = count_up(state != UNSEEN for state in history.states)
        self._used = self._find_use()
        self._uses = count_up(used == 1 for used in self._used)
        self._known = {
            signal: None
            if (values := history.signal(signal)) is None
            else count_up(value >= 0 for value in values)
            for signal in Signal
        }

    def run(self, policy: IdlePolicy) -> VmRehearsal:
        """What the policy would have done."""
        stops: list[RehearsedStop] = []
        hours = bytearray(self._hours())
        notes, marked, since = 0, -1, -1
        held = 0
        index = self._first
        while index < self._last:
            if index == 0 or self._history.states[index - 1] != UP:
                marked, since = -1, -1
            elif not self._may_stop(policy, index, since, held):
                marked = -1
            elif marked < 0:
                marked, notes = index, notes + 1
            if marked >= 0 and (index - marked) * STEP >= self._terms.notice and not self._in_use(index):
                stop, index = self._stop(marked, index)
                self._paint(hours, marked, stop)
                stops.append(stop)
                held += stop.off // STEP
                marked, since = -1, index
                # The run after the one at whose hour it was started.
                index = -(-(index + 1 - self._first) // STEPS_AN_HOUR) * STEPS_AN_HOUR + self._first
                continue
            index += STEPS_AN_HOUR
        first, last = self._first, max(self._first, self._last)
        return VmRehearsal(
            ref=self._history.facts.ref,
            owner=self._history.owner,
            size=self._history.size,
            stops=tuple(stops),
            notes=notes,
            ran=(self._ran[last] - self._ran[first]) * STEP,
            used=(self._uses[last] - self._uses[first]) * STEP,
            hours=bytes(hours),
        )

    # --- what happens ---

    def _stop(self, marked: int, index: int) -> tuple[RehearsedStop, int]:
        """The stop at a step, and the step at which the VM is started again."""
        used = next((at for at in range(index, self._last) if self._used[at]), None)
        back = self._last if used is None else used
        edge = min(self._last, index + self._terms.horizon // STEP)
        lost = self._uses[edge] - self._uses[index]
        stop = RehearsedStop(
            marked_at=self._history.instant(marked),
            stopped_at=self._history.instant(index),
            used_at=None if used is None else self._history.instant(used),
            off=(self._ran[back] - self._ran[index]) * STEP,
            hit=lost > 0,
            use_lost=lost * STEP,
        )
        return stop, back

    def _in_use(self, index: int) -> bool:
        """The last look before a stop."""
        return self._uses[index] - self._uses[max(0, index - _LAST_LOOK)] > 0

    def _paint(self, hours: bytearray, marked: int, stop: RehearsedStop) -> None:
        start = self._history.start
        stopped = (stop.stopped_at - start) // STEP
        back = self._last if stop.used_at is None else (stop.used_at - start) // STEP
        for begin, end, kind in ((marked, stopped, NOTICE), (stopped, back, STOPPED)):
            for index in range(begin, end, STEPS_AN_HOUR):
                hour = (index - self._first) // STEPS_AN_HOUR
                if 0 <= hour < len(hours) and hours[hour] == QUIET:
                    hours[hour] = kind

    def _hours(self) -> Iterator[int]:
        for index in range(self._first, self._last, STEPS_AN_HOUR):
            end = min(index + STEPS_AN_HOUR, self._last)
            if self._uses[end] - self._uses[index]:
                yield USED
            else:
                yield QUIET if self._ran[end] - self._ran[index] else GONE

    def _find_use(self) -> bytes:
        """The steps in which the VM was used, by vmkit's own limits."""
        vcpus = self._history.facts.vcpus
        used = bytearray(len(self._history))
        for criterion in vmkit_policy().criteria:
            values = self._history.signal(criterion.measure.signal)
            if values is None or (criterion.of_vcpus and vcpus < 1):
                continue
            limit = criterion.resolve(vcpus)
            for index, value in enumerate(values):
                if value >= limit and self._history.states[index] == UP:
                    used[index] = 1
        for index in self._history.sessions:
            if 0 <= index < len(used):
                used[index] = 1
        return bytes(used)

    # --- the verdict at an hour ---

    def _may_stop(self, policy: IdlePolicy, index: int, since: int, held: int) -> bool:
        first = max(0, index - policy.lookback // STEP)
        vcpus = self._history.facts.vcpus
        for criterion in policy.criteria:
            course = self._course(criterion.measure)
            if course is None or not course.is_low(criterion, vcpus, first, index):
                return False
        if self._history.facts.vetoes or self._history.facts.gpu:
            return False
        at = self._history.instant(index)
        facts = replace(
            self._history.facts,
            power=PowerState.RUNNING,
            running_since=self._history.instant(since if since >= 0 else self._run_start(index)),
            node_silent=False,
        )
        return decide_idle(self._summary(policy, first, index, held), facts, policy, at).may_stop

    def _run_start(self, index: int) -> int:
        """The step in which the run that goes on now began."""
        low, high = 0, index
        # The counts of steps up and of all steps part where it last was not up.
        while low < high:
            middle = (low + high) // 2
            if self._ran[index] - self._ran[middle] == index - middle:
                high = middle
            else:
                low = middle + 1
        if low == 0 and self._history.facts.running_since is not None:
            return min(0, (self._history.facts.running_since - self._history.start) // STEP)
        return low

    def _summary(self, policy: IdlePolicy, first: int, index: int, held: int) -> Summary:
        at = self._history.instant(index)
        ran = self._ran[index] - self._ran[first]
        usage: dict[Signal, dict[Measure, float]] = {}
        missing: dict[Signal, Unknown] = {}
        for measure in policy.measures:
            course = self._course(measure)
            value = None if course is None else course.value(first, index)
            if value is None:
                missing[measure.signal] = Unknown("NotMeasured", f"nobody measured {measure}")
            else:
                usage.setdefault(measure.signal, {})[measure] = value
        sessions = [step for step in self._history.sessions if step < index]
        last_ended = self._history.instant(max(sessions) + 1) if sessions else None
        return Summary(
            self._history.facts.ref,
            at,
            policy.lookback,
            usage={
                **{signal: self._usage(signal, values, first, index, ran) for signal, values in usage.items()},
                **missing,
            },
            observed=(self._seen[index] - self._seen[first]) * STEP / policy.lookback,
            running=max(0, ran - min(held, ran)) * STEP,
            sessions=Sessions(index in self._history.sessions, last_ended, at - policy.lookback),
            logins=(),
            migrations=Migrations(0),
        )

    def _usage(self, signal: Signal, values: Mapping[Measure, float], first: int, index: int, ran: int) -> Usage:
        counts = self._known[signal]
        known = 0 if counts is None else counts[index] - counts[first]
        newest = index
        while counts is not None and newest > first and counts[newest] == counts[newest - 1]:
            newest -= 1
        return Usage(values, min(1.0, known / ran) if ran else 0.0, self._history.instant(newest))

    def _course(self, measure: Measure) -> Course | None:
        if measure not in self._courses:
            has = self._history.signal(measure.signal) is not None
            self._courses[measure] = Course(self._history, measure) if has else None
        return self._courses[measure]


# --- pictures of use -----------------------------------------------------------------------------------


def count_use_by_hour(rehearsal: Rehearsal) -> list[list[float | None]]:
    """How many VMs are in use on average, for each day of the week (Monday first) and hour of the day."""
    sums = [[0] * 24 for _ in range(7)]
    times = [[0] * 24 for _ in range(7)]
    start, zone = rehearsal.terms.start, rehearsal.terms.zone
    hours = max((len(vm.hours) for vm in rehearsal.vms), default=0)
    in_use = array("l", [0]) * hours
    for vm in rehearsal.vms:
        for index, kind in enumerate(vm.hours):
            if kind == USED:
                in_use[index] += 1
    for index, count in enumerate(in_use):
        at = (start + index * _HOUR).astimezone(zone)
        sums[at.weekday()][at.hour] += count
        times[at.weekday()][at.hour] += 1
    return [
        [total / count if count else None for total, count in zip(totals, counts, strict=True)]
        for totals, counts in zip(sums, times, strict=True)
    ]


def hours_of_use_by_day(vm: VmRehearsal, terms: Terms) -> list[float | None]:
    """For each day of the rehearsal the hours in which the VM was used; None where it did not run at all."""
    days = -(-(terms.end - terms.start) // _DAY)
    found: list[float | None] = [None] * days
    for index, kind in enumerate(vm.hours):
        day = index // 24
        if kind != GONE:
            found[day] = (found[day] or 0.0) + (kind == USED)
    return found


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
