"""What `vmkit.api.Vmkit` does about idle VMs: joins judging, which knows no schedules and no power, with both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Forbidden, NotFound, ScheduleError, VmkitError
from vmkit.guard.restart import find_restart_risks
from vmkit.guard.switch import DEFAULT_NAMESPACE
from vmkit.idle.ledger import Account, Rates, take_over
from vmkit.idle.mark import STAY_DOWN
from vmkit.idle.policy import IdlePolicy
from vmkit.idle.report import IdleItem
from vmkit.idle.running import IdleOptions, IdleRun, Scope, run_idle
from vmkit.idle.running.book import read_book, record
from vmkit.idle.running.snoozing import set_snooze
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.source import PrometheusSource
from vmkit.metrics.source import UsageSource, nothing_known
from vmkit.metrics.summary import Measure, Summary, Unknown
from vmkit.plan.model import Outcome, Plan, Reason, Result, Status
from vmkit.power.acting import Actor, Later, object_of
from vmkit.power.options import PowerOptions
from vmkit.power.ownership import read_verdicts
from vmkit.schedule.facts import Ownership, VmFacts, read_facts
from vmkit.schedule.rules import Side
from vmkit.schedule.running.order import parse_place
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.subjects import Surroundings
from vmkit.schedule.sources import Effective
from vmkit.schedule.state import STATE, parse_state, render_state
from vmkit.schedule.vetoes import Policy, find_veto
from vmkit.vm.contract import Verb
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm

if TYPE_CHECKING:
    from vmkit.rehearsing import PastRehearsed

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class NoSource:
    """Stands for a cluster without monitoring: of no VM anything is known."""

    def summarize(
        self, refs: Iterable[VmRef], *, measures: Iterable[Measure], at: datetime, lookback: timedelta
    ) -> Mapping[VmRef, Summary]:
        """Unknown, all of it."""
        why = Unknown("NoPrometheus", "there is no Prometheus to ask; --prometheus says where one is")
        return {ref: nothing_known(ref, why, measures=list(measures), at=at, lookback=lookback) for ref in refs}


def find_practice_source(session: Session, kubeconfig: str | None) -> UsageSource | None:
    """The practice cluster's own series, where that is what the session is connected to; else None.

    Args:
        session: with the cluster.
        kubeconfig: the file it was found in; None for those that the environment names.
    """
    if urlsplit(session.server).hostname not in ("127.0.0.1", "::1", "localhost"):
        return None
    from vmkit.lab.directory import read_records
    from vmkit.lab.remote import RemoteLab
    from vmkit.practice import PracticeSource

    named = [kubeconfig, os.environ.get("VMKIT_KUBECONFIG"), os.environ.get("KUBECONFIG")]
    for path in (*named, *(str(each.kubeconfig) for each in read_records())):
        with contextlib.suppress(VmkitError):
            lab = RemoteLab.from_kubeconfig(path) if path else None
            if lab is not None and lab.url == session.server:
                lab.clock()  # Whatever else is served there does not know this.
                return PracticeSource(lab)
    return None


class ScheduleGuard:
    """What schedules say against a stop; see `vmkit.idle.running.hands.Guard`."""

    def __init__(self, namespaces: Mapping[str, Mapping[str, str]], settings: Settings) -> None:
        self._surroundings = Surroundings(settings, namespaces)

    def vetoes(self, vm: Mapping[str, Any], vmi: Mapping[str, Any] | None, at: datetime) -> tuple[Reason, ...]:
        """All vetoes of a scheduled stop, and what people asked schedules for that means that it is wanted."""
        subject = self._surroundings.subject(vm, vmi)
        effective = subject.effective
        found = list(_wanted(effective, at))
        facts = read_facts(subject.view, restart_risks=find_restart_risks(vm, vmi))
        veto = find_veto(
            facts, Side.STOP, at, Policy(), grace=effective.grace, restart_safe=effective.restart_safe
        )
        if veto is not None:
            found.append(veto)
        return tuple(found)

    def needs(self, view: VmView) -> tuple[VmRef, ...]:
        """The VMs that ``vmkit.io/depends-on`` names."""
        try:
            return parse_place(view.ref, view.annotations).depends_on
        except ScheduleError:
            return ()  # Said where it is this VM that is judged: its schedule then has a problem as well.


def _wanted(effective: Effective, at: datetime) -> Iterable[Reason]:
    if effective.problems:
        yield Reason("BadAnnotation", f"{effective.problems[0]}; it is left as it is")
    if effective.keep_up_until is not None and effective.keep_up_until > at:
        yield Reason("KeptUp", f"it is kept up until {effective.keep_up_until:%Y-%m-%dT%H:%M:%SZ}")
    if effective.force_up is not None and effective.force_up.is_active(at):
        yield Reason("ForcedUp", "vmkit.io/force-uptime keeps it up")
    if effective.skip_next is not None and effective.skip_next >= at:
        yield Reason("SkipsNext", f"the transition of {effective.skip_next:%Y-%m-%dT%H:%M:%SZ} is to be left out")
    excluded = effective.exclude is not None and effective.exclude.is_active(at)
    if excluded or (effective.exclude_until is not None and effective.exclude_until > at):
        yield Reason("Excluded", "vmkit.io/exclude keeps everything automatic off it")


def _name_of(source: UsageSource) -> str:
    name = type(source).__name__
    return "the practice cluster's own series" if name == "PracticeSource" else name


class IdleHands:
    """Stops as the power verbs do; judges as schedules and GitOps tools do."""

    def __init__(self, session: Session, settings: Settings | None = None) -> None:
        self._session = session
        self._settings = settings or Settings()

    def guard(self, namespaces: Mapping[str, Mapping[str, str]]) -> ScheduleGuard:
        """What schedules say, given the annotations of the namespaces."""
        return ScheduleGuard(namespaces, self._settings)

    def judge(self, views: Iterable[VmView]) -> Mapping[VmRef, Reason]:
        """Those whose owner would undo a stop at once, or might."""
        found = {}
        for ref, verdict in read_verdicts(self._session, views, str(Side.STOP)).items():
            facts = VmFacts(
                ref, "", PowerState.RUNNING, ownership=Ownership(str(verdict.verdict)), owner=str(verdict.owner)
            )
            veto = find_veto(facts, Side.STOP, _EPOCH, Policy(), grace=timedelta(), restart_safe=True)
            if veto is not None:
                found[ref] = veto
        return found

    def stop(self, view: VmView, *, grace_seconds: int | None) -> Outcome:
        """Asks for a stop."""
        result = Actor(self._session, Verb.STOP, PowerOptions(grace_seconds=grace_seconds)).act(view)
        if isinstance(result, Later):
            return Outcome(object_of(view.ref), "stop", Status.SKIPPED, Reason("NotYet", result.text))
        return result

    def stop_marks(self, view: VmView, at: datetime) -> Mapping[str, str]:
        """For a VM with a schedule: that it is vmkit that stopped it, so that its next start does start it."""
        if view.annotations.get(STAY_DOWN, "false").strip().lower() != "false" or STATE not in view.annotations:
            return {}
        try:
            state = parse_state(view.annotations[STATE])
        except ScheduleError:
            return {}
        return {STATE: render_state(replace(state, stopped_at=at))} if state.uid == view.uid else {}


class Idling:
    """The calls about idle VMs: ``vk.idle().run()``.

    Args:
        session: with the cluster.
        prometheus: a client of its Prometheus; None for none.
        source: who knows of use, in place of Prometheus.
        settings: what schedules hold where VMs and namespaces say nothing.
    """

    def __init__(
        self,
        session: Session,
        prometheus: PrometheusClient | None = None,
        *,
        source: UsageSource | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._session = session
        self._hands = IdleHands(session, settings)
        self._name = "nothing that measures"
        self._measured_by = source if source is not None else prometheus
        if source is not None:
            self._source, self._name = source, _name_of(source)
        elif prometheus is not None:
            self._source = PrometheusSource(prometheus, clock=lambda: self.now)
            self._name = f"Prometheus at {prometheus.server}"
        else:
            self._source = NoSource()

    def run(
        self,
        options: IdleOptions | None = None,
        *,
        confirm: Callable[[Plan], None] | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> IdleRun:
        """Judges every VM in scope, notes what is idle, and stops what was noted. See `run_idle`.

        Raises:
            ClusterError: the VMs cannot be read; nothing was done. Refused, NotConfirmed: likewise.
        """
        return run_idle(
            self._session, self._hands, self._source, options,
            source_name=self._name, confirm=confirm, on_outcome=on_outcome, on_progress=on_progress,
        )  # fmt: skip

    def rehearse(
        self,
        options: IdleOptions | None = None,
        *,
        span: timedelta,
        compare: Sequence[IdlePolicy] = (),
        on_progress: Callable[[str], None] | None = None,
    ) -> PastRehearsed:
        """Replays the policy of the options over the past, and others beside it; changes nothing.

        Args:
            options: which VMs, what counts as idle, how much notice; by default those that are labelled.
            span: how far back.
            compare: other policies.
            on_progress: told what is being done.

        Raises:
            UsageError: the span is less than a day. ConfigError: nobody knows of the past.
            ClusterError, DeadlineExceeded: cluster or Prometheus cannot be read.
        """
        from vmkit.rehearsing import rehearse_past

        options = options or IdleOptions()
        return rehearse_past(
            lambda: self.run(replace(options, dry_run=True)),
            self._measured_by,
            [options.policy, *compare],
            span=span,
            notice=options.notice,
            on_progress=on_progress,
        )

    def explain(self, ref: VmRef, *, policy: IdlePolicy | None = None) -> IdleItem:
        """What is to be thought of one VM, with every number; changes nothing.

        Raises:
            NotFound: there is none.
        """
        options = IdleOptions(scope=Scope(names=(ref,)), dry_run=True)
        found = self.run(options if policy is None else replace(options, policy=policy))
        if not found.report.items:
            raise NotFound(
                f"VirtualMachine {ref} does not exist",
                hint=f"vmkit get -n {ref.namespace} lists those there are",
                where=str(ref),
                status=404,
                reason="NotFound",
            )
        return found.report.items[0]

    def snooze(self, refs: Iterable[VmRef], until: datetime | None, **arguments: Any) -> Result:
        """Lets VMs not be called idle until an instant; None takes that back. See `set_snooze`."""
        return set_snooze(self._session, refs, until, at=self.now, **arguments)

    def ledger(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        since: timedelta | None = None,
        rates: Rates | None = None,
        write: bool = False,
    ) -> Account:
        """What vmkit turned off, and what that returned.

        What VMs remember and the ledger has not yet is counted as well, where all VMs may be listed.

        Args:
            namespace: where the ledger is kept.
            since: only what was off in the last so much time.
            rates: what turns hours into grams and money.
            write: write what VMs remember into the ledger.

        Raises:
            ClusterError: the ledger cannot be read, or written.
        """
        book = read_book(self._session, namespace)
        at = self.now
        try:
            views = self._views()
            changed = take_over(book.pages, views, at)
        except Forbidden:
            changed, views = {}, []
            book.notices.append("you may not list all VMs: what was turned off lately may be missing")
        if write:
            record(self._session, book, views, at)
        pages = {**book.pages, **changed}
        return Account(
            at=at,
            pages=tuple(sorted(pages.values(), key=lambda page: (page.ref, page.uid, page.month))),
            rates=rates or Rates(),
            since=None if since is None else at - since,
            notices=tuple(book.notices),
        )

    def _views(self) -> list[VmView]:
        instances = {
            (vmi["metadata"]["namespace"], vmi["metadata"]["name"]): vmi
            for vmi in self._session.list(VIRTUAL_MACHINE_INSTANCES)
        }
        found = []
        for vm in self._session.list(VIRTUAL_MACHINES):
            ref = read_vm(vm).ref
            found.append(read_vm(vm, instances.get((ref.namespace, ref.name))))
        return found

    @property
    def now(self) -> datetime:
        """The cluster's time: asked for where it has not answered yet."""
        if self._session.server_time is None:
            with contextlib.suppress(ClusterError):
                self._session.can_i("get", VIRTUAL_MACHINES)
        return self._session.server_time or datetime.now(UTC)
