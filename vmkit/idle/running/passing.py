"""One run: every VM in scope is judged; what is idle is noted, and stopped once its notice is over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Forbidden, NotFound, VmkitError
from vmkit.idle.decide import Decision, Terms, decide_action
from vmkit.idle.facts import IdleFacts
from vmkit.idle.fleet import decide_fleet
from vmkit.idle.mark import format_instant
from vmkit.idle.report import Action, IdleReport
from vmkit.idle.running import webhook
from vmkit.idle.running.acting import Worker, object_of
from vmkit.idle.running.book import read_book, record
from vmkit.idle.running.brake import Brake, Share, object_to_growth
from vmkit.idle.running.evidence import (
    LAST_LOOK,
    last_look_criteria,
    object_to_logins,
    object_to_use,
    summarize,
    with_logins,
)
from vmkit.idle.running.hands import Hands
from vmkit.idle.running.options import IdleOptions
from vmkit.idle.running.reporting import Item, build_report, describe_evidence, with_energy
from vmkit.idle.running.subjects import Fleet, Subject, read_again, read_fleet
from vmkit.idle.verdict import State, Verdict, decide_idle
from vmkit.metrics.logins import read_logins
from vmkit.metrics.source import UsageSource, nothing_known
from vmkit.metrics.summary import Summary, Unknown
from vmkit.plan import Change, Outcome, Plan, Reason, Result, Status
from vmkit.plan.executor import run
from vmkit.plan.model import failed
from vmkit.vm.history import new_run_id
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState


@dataclass(frozen=True, slots=True)
class IdleRun:
    """What a run found, and what came of it."""

    report: IdleReport
    result: Result


def run_idle(
    session: Session,
    hands: Hands,
    source: UsageSource,
    options: IdleOptions | None = None,
    *,
    source_name: str = "",
    confirm: Callable[[Plan], None] | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[str], None] | None = None,
    stopping: threading.Event | None = None,
) -> IdleRun:
    """Judges every VM in scope once, and notes and stops what is idle.

    Args:
        session: the cluster.
        hands: how VMs are stopped, and what schedules and GitOps tools say.
        source: who knows of their use.
        options: how to go about it.
        source_name: of the source, for people.
        confirm: shown the plan before the first change; raises to end the run there.
        on_outcome: told of each outcome as it comes.
        on_progress: told what is being done, for people who wait.
        stopping: once set, nothing further is begun.

    Raises:
        ClusterError: the VMs, or what surrounds them, cannot be read; nothing was done.
        Refused: far more is idle than at the last run; nothing was noted or stopped.
        NotConfirmed: before the first change.
    """
    job = _Run(session, hands, source, options or IdleOptions())
    job.on_outcome = on_outcome
    job.stopping = stopping or threading.Event()
    tell = on_progress or (lambda text: None)
    tell("reading the VMs")
    job.look()
    tell(f"asking how {len(job.judged)} VMs were used")
    job.judge()
    tell("deciding")
    job.decide()
    report = job.report(source_name)
    plan = job.plan()
    if job.options.dry_run:
        job.pretend()
        return IdleRun(report, job.result())
    if len(plan) and confirm is not None:
        confirm(plan)
    job.clear()
    job.brake()
    job.carry_out()
    job.announce()
    job.keep_book()
    return IdleRun(report, job.result())


class _Run:
    def __init__(self, session: Session, hands: Hands, source: UsageSource, options: IdleOptions) -> None:
        self.options = options
        self.on_outcome: Callable[[Outcome], None] | None = None
        self.stopping = threading.Event()
        self.judged: list[Subject] = []
        self._session = session
        self._hands = hands
        self._source = source
        self._fleet: Fleet | None = None
        self._summaries: dict[VmRef, Summary] = {}
        self._verdicts: dict[VmRef, Verdict] = {}
        self._items: dict[VmRef, Item] = {}
        self._last: Mapping[VmRef, Summary] = {}
        self._outcomes: list[Outcome] = []
        self._notices: list[str] = []

    # --- looking ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Reads the lists."""
        self._fleet = read_fleet(self._session, self._hands, self.options.scope)
        self.run_id = new_run_id(self.at)
        self.judged = [each for each in self._chosen() if self._is_asked_about(each)]

    @property
    def fleet(self) -> Fleet:
        assert self._fleet is not None
        return self._fleet

    @property
    def at(self) -> datetime:
        """The instant of the run."""
        return self.fleet.at

    def _chosen(self) -> list[Subject]:
        return sorted((each for each in self.fleet.subjects.values() if each.in_scope), key=lambda each: each.ref)

    def _is_asked_about(self, subject: Subject) -> bool:
        noted = subject.noted
        snoozed = noted.snoozed_until is not None and noted.snoozed_until > self.at
        return subject.facts.power is PowerState.RUNNING and not noted.opted_out and not snoozed

    # --- judging ----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Asks for their use, then who is logged in and who owns them, where that decides."""
        policy = self.options.policy
        refs = [each.ref for each in self.judged]
        self._summaries = dict(
            summarize(self._source, refs, policy.measures, at=self.at, lookback=policy.lookback)
        )
        # Guests are asked one by one: only those that nothing else speaks for. Of the others it does not matter.
        for each in self.judged:
            if each.facts.agent and isinstance(self._summaries[each.ref].logins, Unknown):
                self._summaries[each.ref] = with_logins(self._summaries[each.ref], ())
        verdicts = [self._verdict(each, self._summaries[each.ref]) for each in self.judged]
        quiet = [
            each.ref for each in verdicts if each.state is State.IDLE and self.fleet.subjects[each.ref].facts.agent
        ]
        for ref, found in read_logins(self._session, quiet, workers=self.options.concurrency).items():
            self._summaries[ref] = with_logins(self._summaries[ref], found)
        asked = frozenset(quiet)
        verdicts = [
            self._verdict(self.fleet.subjects[each.ref], self._summaries[each.ref]) if each.ref in asked else each
            for each in verdicts
        ]
        views = [self.fleet.subjects[each.ref].view for each in verdicts if each.may_stop]
        owned = self._hands.judge(views) if views else {}
        verdicts = [
            replace(each, held=(*each.held, owned[each.ref])) if each.ref in owned else each for each in verdicts
        ]
        facts = {ref: each.facts for ref, each in self.fleet.subjects.items()}
        self._verdicts = {each.ref: each for each in decide_fleet(verdicts, facts)}

    def _verdict(self, subject: Subject, summary: Summary) -> Verdict:
        return decide_idle(summary, subject.facts, self.options.policy, self.at)

    # --- deciding ---------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Decides about every VM in scope, and puts off what is too much for one run."""
        for subject in self._chosen():
            summary = self._summaries.get(subject.ref)
            verdict = self._verdicts.get(subject.ref)
            if summary is None or verdict is None:
                summary, verdict = self._not_judged(subject)
            size = with_energy(subject.size, summary)
            decision = decide_action(verdict, subject.facts, subject.noted, size, self.terms)
            if verdict.ref not in self._verdicts and subject.facts.power is PowerState.RUNNING:
                verdict = replace(verdict, reasons=(decision.reason,))
            self._items[subject.ref] = Item(subject, summary, verdict, decision, size)
        self._put_off()

    @property
    def terms(self) -> Terms:
        """How this run decides."""
        options = self.options
        return Terms(self.at, options.notice, self.run_id, options.stop_now, options.marks_only)

    def _not_judged(self, subject: Subject) -> tuple[Summary, Verdict]:
        policy = self.options.policy
        why = Unknown("NotAsked", "nobody looked")
        summary = nothing_known(subject.ref, why, measures=policy.measures, at=self.at, lookback=policy.lookback)
        return summary, self._verdict(subject, summary)

    def _put_off(self) -> None:
        stops = self._doing(Action.STOP)
        allowed = self.options.max_stops.of(len(self.judged))
        if len(stops) <= allowed:
            return
        # Those that have waited longest come first.
        stops.sort(key=lambda each: (_stop_after(each.decision), each.subject.ref))
        for item in stops[allowed:]:
            text = f"it is idle; this run stops no more than {allowed} (--max-stops), a later one will stop it"
            item.decision = Decision(Action.NONE, Reason("NextRun", text), item.subject.noted.mark)

    def _doing(self, *actions: Action) -> list[Item]:
        return [each for each in self._items.values() if each.decision.action in actions]

    # --- showing ----------------------------------------------------------------------------------------------

    def report(self, source_name: str) -> IdleReport:
        """What was found."""
        found = [each for each in self._items.values() if each.subject.ref in self._verdicts]
        return build_report(
            self._items.values(),
            at=self.at,
            options=self.options,
            source_name=source_name,
            notices=describe_evidence([each.verdict for each in found], [each.summary for each in found]),
        )

    def plan(self) -> Plan:
        """What is to be changed."""
        items = self._doing(Action.CLEAR, Action.SETTLE, Action.MARK, Action.STOP)
        return Plan("stop-idle", tuple(_change_of(each) for each in items))

    def pretend(self) -> None:
        """Says what would be done."""
        self._say_missing()
        for item in self._items.values():
            if item.decision.action is Action.NONE:
                self._still(item)
            else:
                target = object_of(item.subject.ref)
                self._tell(Outcome(target, str(item.decision.action), Status.PLANNED, item.decision.reason))
        if self.options.scope.names or self.options.accept_growth:
            return
        with contextlib.suppress(Forbidden):  # Whoever may not read it may not stop anything either.
            growth = object_to_growth(self._brake.read(self._session), self._share)
            if growth is not None:
                self._notices.append(growth.message)

    # --- doing ------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Takes away notes that hold no more, writes down what earlier runs did, says what is left as it is."""
        self._say_missing()
        for item in self._doing(Action.NONE):
            self._still(item)
        self._note(self._doing(Action.CLEAR, Action.SETTLE))

    @property
    def _share(self) -> Share:
        return Share(sum(each.state is State.IDLE for each in self._verdicts.values()), len(self._verdicts))

    @property
    def _brake(self) -> Brake:
        options = self.options
        return Brake(options.switch.namespace, f"{options.scope}; {options.policy.name}")

    def brake(self) -> None:
        """Ends the run where far more is idle than at the last one.

        Raises:
            Refused: it is.
        """
        if not self._verdicts or self.options.scope.names:
            return  # Whoever named them knows how many they are.
        brake, share = self._brake, self._share
        before = brake.read(self._session)
        growth = object_to_growth(before, share)
        if growth is not None and not self.options.accept_growth:
            raise growth
        if before != share and not self.options.switch.is_suspended(self._session):
            try:
                brake.write(self._session, share)
            except NotFound:
                pass  # Nothing of vmkit is installed: there is no job whose runs could be compared.
            except VmkitError as error:
                self._notices.append(f"the share of idle VMs is not remembered for the next run: {error.message}")

    def carry_out(self) -> None:
        """Notes what is idle, then stops in waves."""
        self._note(self._doing(Action.MARK))
        stops = sorted(self._doing(Action.STOP), key=lambda each: (_stop_after(each.decision), each.subject.ref))
        for begin in range(0, len(stops), self.options.wave):
            wave = stops[begin : begin + self.options.wave]
            outcomes = self._stop(wave)
            if not all(each.ok for each in outcomes) and begin + len(wave) < len(stops):
                left = len(stops) - begin - len(wave)
                said = "1 VM is" if left == 1 else f"{left} VMs are"
                self._notices.append(f"{said} left to a later run, since a stop failed")
                break

    @property
    def _worker(self) -> Worker:
        return Worker(
            self._session,
            self._hands,
            lambda subject: read_again(self._session, self.fleet, subject, self._now),
            self._decide_again,
            self.options.switch,
            self.run_id,
            self.at,
        )

    @property
    def _now(self) -> datetime:
        return self._session.server_time or datetime.now(UTC)

    def _note(self, items: list[Item]) -> None:
        by_target = {object_of(each.subject.ref): each for each in items}
        worker = self._worker

        def one(change: Change) -> Outcome:
            item = by_target[change.target]
            return worker.note(item.subject, item.decision)

        self._run_all(items, one)

    def _stop(self, items: list[Item]) -> tuple[Outcome, ...]:
        by_target = {object_of(each.subject.ref): each for each in items}
        worker = self._worker
        measures = [each.measure for each in last_look_criteria(self.options.policy)]
        refs = [each.subject.ref for each in items]
        self._last = summarize(self._source, refs, measures, at=self._now, lookback=LAST_LOOK)

        def one(change: Change) -> Outcome:
            return worker.stop(by_target[change.target].subject)

        return self._run_all(items, one)

    def _decide_again(self, subject: Subject) -> Decision:
        """The last look at a VM that is to be stopped, as it is now."""
        item = self._items[subject.ref]
        facts, now = subject.facts, self._now
        # The evidence is as old as the run: what a person did since shows on the VM.
        verdict = replace(item.verdict, held=facts.vetoes)
        if facts.power is not PowerState.RUNNING or facts.node_silent:
            verdict = replace(verdict, state=State.UNKNOWN, reasons=(_not_running(facts),))
        else:
            objection = self._look_last(subject, now)
            if objection is not None:
                verdict = replace(verdict, state=State.BUSY, reasons=(objection,))
        return decide_action(verdict, facts, subject.noted, item.size, self.terms)

    def _look_last(self, subject: Subject, now: datetime) -> Reason | None:
        last = self._last[subject.ref]
        objection = object_to_use(last, subject.facts, self.options.policy, now)
        if objection is None and subject.facts.agent:
            logins = read_logins(self._session, [subject.ref])[subject.ref]
            if isinstance(logins, Unknown):
                return Reason(logins.code, f"the last look: nobody can tell who is logged in: {logins.text}")
            objection = object_to_logins(with_logins(last, logins))
        return objection

    def _run_all(self, items: list[Item], do: Callable[[Change], Outcome]) -> tuple[Outcome, ...]:
        return run(
            [_change_of(each) for each in items],
            do,
            concurrency=self.options.concurrency,
            on_outcome=self._tell,
            should_stop=self.stopping.is_set,
        )

    # --- telling ----------------------------------------------------------------------------------------------

    def _still(self, item: Item) -> None:
        """Of VMs that nothing is done to, those that wait, and those that somebody has to look at."""
        decision = item.decision
        if decision.problem:
            self._tell(Outcome(object_of(item.subject.ref), "judge", Status.FAILED, decision.reason))
        elif item.verdict.state is State.IDLE:
            self._tell(Outcome(object_of(item.subject.ref), "judge", Status.SKIPPED, decision.reason))

    def _say_missing(self) -> None:
        for ref in self.fleet.missing:
            error = NotFound(
                f"VirtualMachine {ref} does not exist",
                hint=f"vmkit get -n {ref.namespace} lists those there are",
                where=str(ref),
                status=404,
                reason="NotFound",
            )
            self._tell(failed(object_of(ref), "judge", error))

    def _tell(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        if self.on_outcome is not None:
            self.on_outcome(outcome)

    def announce(self) -> None:
        """Tells the webhook what was noted and stopped."""
        done: list[dict[str, Any]] = [
            {
                "namespace": each.target.namespace,
                "name": each.target.name,
                "action": each.verb,
                "owner": self._items[VmRef(each.target.namespace, each.target.name)].subject.owner,
                "reason": each.reason.text,
            }
            for each in self._outcomes
            if each.status is Status.CHANGED and each.verb in (str(Action.MARK), str(Action.STOP))
        ]
        if self.options.webhook and done:
            message = webhook.build_message(self.run_id, format_instant(self.at), done)
            trouble = webhook.send(self.options.webhook, message)
            if trouble:
                self._notices.append(trouble)

    def keep_book(self) -> None:
        """Takes what VMs remembered when the run began over into the ledger; the rest comes with a later run."""
        if self.options.scope.names or self.options.switch.is_suspended(self._session):
            return
        place = self.options.scope.namespace
        try:
            book = read_book(self._session, self.options.switch.namespace)
            views = [each.view for each in self.fleet.subjects.values()]
            record(self._session, book, views, self.at, is_covered=lambda name: place in (None, name))
        except NotFound:
            return  # Nothing of vmkit is installed; vmkit ledger reads what VMs remember.
        except ClusterError as error:
            self._notices.append(f"the ledger is not written: {error.message}")
        else:
            self._notices += book.notices

    def result(self) -> Result:
        """What came of it."""
        notices = list(self._notices)
        stopped = any(each.status is Status.CHANGED and each.verb == "stop" for each in self._outcomes)
        if stopped:
            notices.append(f"run {self.run_id}: vmkit undo {self.run_id} starts what it stopped")
        return Result(
            "stop-idle",
            tuple(sorted(self._outcomes, key=lambda each: each.target)),
            notices=tuple(notices),
            dry_run="client" if self.options.dry_run else None,
        )


def _not_running(facts: IdleFacts) -> Reason:
    if facts.node_silent:
        return Reason("NodeSilent", "its node does not answer, so nobody knows what it is doing")
    return Reason("NotRunning", f"it is {facts.power} now")


def _stop_after(decision: Decision) -> datetime:
    assert decision.mark is not None
    return decision.mark.stop_after


def _change_of(item: Item) -> Change:
    return Change(str(item.decision.action), object_of(item.subject.ref), item.decision.reason)
