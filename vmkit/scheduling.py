"""What `vmkit.api.Vmkit` does with schedules: joins deciding, which knows no power, with the power verbs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError
from vmkit.insights import fulfil_before_start
from vmkit.plan.model import Outcome, Plan, Reason, Result, Status
from vmkit.power.acting import Actor, Later, object_of
from vmkit.power.options import PowerOptions
from vmkit.power.ownership import read_verdicts
from vmkit.schedule.decide import Decision
from vmkit.schedule.explain import VmExplanation, explain_vm
from vmkit.schedule.facts import Ownership
from vmkit.schedule.rules import Side
from vmkit.schedule.running.conditions import Conditions, read_conditions
from vmkit.schedule.running.deciding import decide_subject, wanted_side
from vmkit.schedule.running.hands import Judgement
from vmkit.schedule.running.importing import Imported, read_imports
from vmkit.schedule.running.overrides import Override, set_override
from vmkit.schedule.running.passing import PassOptions, Seen, run_pass
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.simulate import OWNER_LABEL, SimulatedVm, simulate_vm
from vmkit.schedule.running.subjects import read_subject, read_subjects, read_surroundings
from vmkit.schedule.running.switch import Switch
from vmkit.schedule.running.undo import undo_run
from vmkit.schedule.vetoes import Policy
from vmkit.vm.contract import Verb
from vmkit.vm.history import Entry, parse_history
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

if TYPE_CHECKING:
    from vmkit.schedule.controller.controller import Controller, WatchOptions
    from vmkit.schedule.controller.lines import Line
    from vmkit.schedule.running.rehearsing import MovableClock, Rehearsal


class PowerHands:
    """Starts and stops as the power verbs do, and judges GitOps as they do."""

    def __init__(self, session: Session) -> None:
        self._session = session
        options = PowerOptions()
        self._actors = {
            Side.START: Actor(session, Verb.START, options),
            Side.STOP: Actor(session, Verb.STOP, options),
        }

    def act(self, view: VmView, side: Side) -> Outcome:
        """Starts or stops a VM; one that waits for another size gets it right before it is started."""
        if side is Side.START:
            view = fulfil_before_start(self._session, view)
        result = self._actors[side].act(view)
        if isinstance(result, Later):
            return Outcome(object_of(view.ref), str(side), Status.SKIPPED, Reason("NotYet", result.text))
        return result

    def judge(self, views: Iterable[VmView], side: Side) -> Mapping[VmRef, Judgement]:
        """The verdicts on those that a GitOps tool owns."""
        verdicts = read_verdicts(self._session, views, str(side))
        return {
            ref: Judgement(Ownership(str(verdict.verdict)), str(verdict.owner), verdict.remedy)
            for ref, verdict in verdicts.items()
        }


@dataclass(frozen=True, slots=True)
class Explained:
    """What holds for a VM, and what a pass would do about it now."""

    ref: VmRef
    explanation: VmExplanation
    decision: Decision


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a VM remembers: its history, oldest first."""

    ref: VmRef
    entries: tuple[Entry, ...]


class Scheduling:
    """The calls about schedules: ``vk.schedule.run()``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hands = PowerHands(session)

    def run(
        self,
        options: PassOptions | None = None,
        *,
        confirm: Callable[[Plan], None] | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
        on_seen: Callable[[Seen], None] | None = None,
        stopping: threading.Event | None = None,
    ) -> Result:
        """Looks at every VM once, and does what is due. See `vmkit.schedule.running.run_pass`.

        Raises:
            ClusterError: the VMs cannot be read; nothing was done. LimitExceeded, NotConfirmed: likewise.
        """
        return run_pass(
            self._session, self._hands, options,
            confirm=confirm, on_outcome=on_outcome, on_seen=on_seen, stopping=stopping,
        )  # fmt: skip

    def controller(
        self,
        options: PassOptions | None = None,
        watch: WatchOptions | None = None,
        *,
        reload: Callable[[], Settings] | None = None,
        on_line: Callable[[Line], None] = lambda line: None,
    ) -> Controller:
        """What watches and makes passes when there is something to do: ``.run()`` it, and ``.stop()`` it.

        See `vmkit.schedule.controller.controller.Controller`.
        """
        from vmkit.schedule.controller.controller import Controller

        return Controller(
            self._session, self._hands, options or PassOptions(), watch, reload=reload, on_line=on_line
        )

    def simulate(
        self, span: timedelta, options: PassOptions | None = None, *, owner_label: str = ""
    ) -> list[SimulatedVm]:
        """Runs the calendars of the VMs that have one forward, and changes nothing.

        Raises:
            ClusterError: the VMs cannot be read. ScheduleError: the span is no sensible one.
        """
        options = options or PassOptions()
        surroundings = read_surroundings(self._session, options.settings, options.namespace)
        subjects = [
            subject
            for subject in read_subjects(self._session, surroundings, options.namespace, options.label_selector)
            if subject.effective.timetable is not None or subject.effective.force_origin is not None
        ]
        views = [subject.view for subject in subjects]
        judgements = {
            (side, ref): judged for side in Side for ref, judged in self._hands.judge(views, side).items()
        }
        at = options.at or self.now
        return [
            simulate_vm(
                subject,
                judgements,
                at=at,
                span=span,
                policy=options.policy,
                owner_label=owner_label or OWNER_LABEL,
            )
            for subject in subjects
        ]

    def rehearse(
        self,
        clock: MovableClock,
        span: timedelta,
        options: PassOptions | None = None,
        *,
        on_pass: Callable[[datetime], None] = lambda at: None,
    ) -> Rehearsal:
        """Lets so long pass on a cluster whose clock can be moved, and tells what became of every transition.

        Raises:
            ClusterError: the VMs cannot be read. ScheduleError: the span is no sensible one.
        """
        from vmkit.schedule.running.rehearsing import rehearse

        return rehearse(self._session, self._hands, clock, options or PassOptions(), span, on_pass=on_pass)

    def explain(
        self, ref: VmRef, *, settings: Settings | None = None, at: datetime | None = None, count: int = 10
    ) -> Explained:
        """What holds for a VM, and why.

        Raises:
            NotFound: there is none.
        """
        settings = settings or Settings()
        surroundings = read_surroundings(self._session, settings, ref.namespace)
        subject = read_subject(self._session, surroundings, ref)
        at = at or self.now
        conditions = Conditions()
        decision = decide_subject(subject, conditions, None, at, Policy(), adopt=True)
        side = wanted_side(decision, subject)
        if side is not None:
            conditions = read_conditions(self._session, self._hands, [(subject, side)], ref.namespace)
            decision = decide_subject(subject, conditions, side, at, Policy(), adopt=True)
        return Explained(ref, explain_vm(subject.effective, at, count=count), decision)

    def override(self, refs: Iterable[VmRef], override: Override, **arguments: Any) -> Result:
        """Sets or clears keep-up, keep-down, skip-next or exclude-until. See `set_override`."""
        return set_override(self._session, refs, override, at=self.now, **arguments)

    def imports(self, *, namespace: str | None = None, dialect: str = "python") -> list[Imported]:
        """Other tools' schedules on the cluster, in vmkit's words."""
        return list(read_imports(self._session, namespace=namespace, dialect=dialect))

    def suspend(self, *, suspended: bool, switch: Switch | None = None) -> None:
        """Turns the suspend switch."""
        (switch or Switch()).set(self._session, suspended=suspended)

    def undo(self, run_id: str, **arguments: Any) -> Result:
        """Takes back what a run did, where nobody has touched it since. See `undo_run`."""
        return undo_run(self._session, self._hands, run_id, **arguments)

    def history(self, ref: VmRef) -> Remembered:
        """What was done to a VM.

        Raises:
            NotFound: there is none. ScheduleError: what it carries is not what vmkit wrote.
        """
        view = read_vm(self._session.get(VIRTUAL_MACHINES, ref.name, ref.namespace))
        return Remembered(ref, parse_history(view.annotations))

    @property
    def now(self) -> datetime:
        """The cluster's time: asked for where it has not answered yet."""
        if self._session.server_time is None:
            with contextlib.suppress(ClusterError):
                self._session.can_i("get", VIRTUAL_MACHINES)
        return self._session.server_time or datetime.now(UTC)
