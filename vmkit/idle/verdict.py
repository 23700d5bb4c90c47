"""Idle, busy or unknown: one VM's use held against a policy, with every number behind it.

Use that is seen makes a VM busy, however poor the rest of the evidence is. Otherwise anything that is missing
makes it unknown. Only what is left is idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from vmkit.idle.facts import IdleFacts
from vmkit.idle.policy import RECEIVED, TRAFFIC, Criterion, IdlePolicy
from vmkit.metrics.summary import Measure, Summary, Unknown, Usage
from vmkit.plan import Reason
from vmkit.units import format_duration
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState


class State(StrEnum):
    """What the evidence says of a VM."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"
    """Nobody can tell; it is kept running."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One criterion and what was found.

    Attributes:
        criterion: what has to be low.
        value: what it is, in the unit of the signal; or why nobody knows.
        limit: the limit for a VM of this size, in the same unit.
        coverage: of the samples behind it; None where there are none.
        low: None where nobody knows.
    """

    criterion: Criterion
    value: float | Unknown
    limit: float
    coverage: float | None
    low: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be thought of a VM's use.

    Attributes:
        ref: the VM.
        policy: the name of the policy.
        state: idle, busy or unknown.
        reasons: why, the weightiest first; never empty.
        findings: every criterion, whatever came of it.
        coverage: the poorest of what the verdict rests on; None where there is none.
        held: why it is not to be stopped although it may be idle.
        unseen_job: how long a job on one CPU could run unseen, because of the limits.
        unseen_gap: how much of its running time no sample covers, on top of that.
    """

    ref: VmRef
    policy: str
    state: State
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    coverage: float | None
    held: tuple[Reason, ...]
    unseen_job: timedelta
    unseen_gap: timedelta

    @property
    def may_stop(self) -> bool:
        """Whether it is idle and nothing stands against stopping it."""
        return self.state is State.IDLE and not self.held


_SKEW: Final = timedelta(minutes=5)


def decide_idle(summary: Summary, facts: IdleFacts, policy: IdlePolicy, at: datetime) -> Verdict:
    """Judges one VM. Never raises on evidence: whatever cannot be right is unknown.

    Args:
        summary: its use, over the policy's lookback and with the policy's measures.
        facts: what else is known of it.
        policy: what counts as idle.
        at: now, by the clock of the cluster.
    """
    findings = tuple(_find(criterion, summary, facts) for criterion in policy.criteria)
    busy = [*_depended_on(facts), *_over_limits(findings)]
    doubts = [
        *_state_doubts(facts, at, policy),
        *_evidence_doubts(summary, facts, policy, at),
        *_signal_doubts(findings, summary, policy, at),
    ]
    used = list(_use_by_people(summary, policy))
    unsure = list(_doubts_about_people(summary, facts, policy, at))
    held = list(facts.vetoes)
    if policy.weighs_people:
        busy, doubts = [*used, *busy], [*doubts, *unsure]
    else:
        held += [*used, *unsure]
    covered = [each.coverage for each in findings if each.coverage is not None]
    coverage = min(covered, default=None)
    running = summary.running if isinstance(summary.running, timedelta) else summary.lookback
    state, reasons = State.IDLE, [Reason("Idle", _describe_idle(policy))]
    if facts.power is not PowerState.RUNNING:
        state, reasons = State.UNKNOWN, doubts
    elif busy:
        state, reasons = State.BUSY, busy
    elif doubts:
        state, reasons = State.UNKNOWN, doubts
    return Verdict(
        ref=facts.ref,
        policy=policy.name,
        state=state,
        reasons=tuple(dict.fromkeys(reasons)),
        findings=findings,
        coverage=coverage,
        held=tuple(dict.fromkeys(held)),
        unseen_job=policy.longest_unseen_job(facts.vcpus),
        unseen_gap=running if coverage is None else running * min(1.0, max(0.0, 1 - coverage)),
    )


def _describe_idle(policy: IdlePolicy) -> str:
    people = ", and nobody was seen on it" if policy.weighs_people else ""
    return f"it stayed below every limit of {policy.name} for {format_duration(policy.lookback)}{people}"


# --- use -----------------------------------------------------------------------------------------------


def _find(criterion: Criterion, summary: Summary, facts: IdleFacts) -> Finding:
    limit = criterion.resolve(facts.vcpus)
    usage = summary.signal(criterion.measure.signal)
    value = usage if isinstance(usage, Unknown) else usage.value(criterion.measure)
    coverage = usage.coverage if isinstance(usage, Usage) and 0 <= usage.coverage <= 1 else None
    if criterion.of_vcpus and facts.vcpus < 1 and not isinstance(value, Unknown):
        value = Unknown("SizeUnknown", "nobody says how many CPUs it has")
    low = None if isinstance(value, Unknown) else criterion.is_met(value, facts.vcpus)
    return Finding(criterion, value, limit, coverage, low)


def _over_limits(findings: tuple[Finding, ...]) -> Iterator[Reason]:
    for each in findings:
        if each.low is False:
            unit = each.criterion.unit
            text = (
                f"{each.criterion.measure} is {each.value:.4g} {unit}, and idle is below {each.limit:.4g} {unit}"
            )
            yield Reason("InUse", text)


def _depended_on(facts: IdleFacts) -> Iterator[Reason]:
    if facts.dependants:
        first, others = facts.dependants[0], len(facts.dependants) - 1
        yield Reason("NeededBy", f"{first}{f' and {others} more' if others else ''} needs it, and runs")


def _use_by_people(summary: Summary, policy: IdlePolicy) -> Iterator[Reason]:
    sessions = summary.sessions
    if not isinstance(sessions, Unknown):
        if sessions.open_now > 0:
            yield Reason("SessionOpen", f"{sessions.open_now} console, VNC or port-forward sessions are open")
        elif sessions.last_ended is not None and summary.at - sessions.last_ended < policy.lookback:
            ago = format_duration(max(timedelta(0), summary.at - sessions.last_ended))
            yield Reason("SessionSeen", f"the last console, VNC or port-forward session ended {ago} ago")
    if not isinstance(summary.logins, Unknown) and summary.logins:
        # Names of people stay out of texts that reports and logs repeat.
        count = len({login.user for login in summary.logins})
        yield Reason("LoggedIn", f"{count} {'user is' if count == 1 else 'users are'} logged in")


# --- doubts --------------------------------------------------------------------------------------------


def _doubts_about_people(summary: Summary, facts: IdleFacts, policy: IdlePolicy, at: datetime) -> Iterator[Reason]:
    sessions = summary.sessions
    if isinstance(sessions, Unknown):
        yield Reason(sessions.code, f"nobody can tell who had a console open: {sessions.text}")
    else:
        start = summary.at - policy.lookback
        if facts.created_at is not None:
            start = max(start, facts.created_at)
        if sessions.last_ended is None and sessions.known_since > start + policy.lookback * (1 - policy.coverage):
            yield Reason("SessionsForgotten", "virt-api restarted, and sessions before that are not known")
    if facts.agent and isinstance(summary.logins, Unknown):
        yield Reason(summary.logins.code, f"nobody can tell who is logged in: {summary.logins.text}")
    if not facts.agent:
        text = "it has no guest agent that tells who is logged in, and receives"
        yield from _traffic_doubt(summary, RECEIVED, policy, at, code="InboundTraffic", text=text)
    if facts.services:
        text = f"the Service {facts.services[0]} leads to it, and it carries"
        yield from _traffic_doubt(summary, TRAFFIC, policy, at, code="ServiceTraffic", text=text)


def _traffic_doubt(
    summary: Summary, measure: Measure, policy: IdlePolicy, at: datetime, *, code: str, text: str
) -> Iterator[Reason]:
    usage = summary.signal(measure.signal)
    value = usage if isinstance(usage, Unknown) else usage.value(measure)
    if isinstance(value, Unknown):
        yield Reason(value.code, value.text)
        return
    if isinstance(usage, Usage):
        yield from _usage_doubts(usage, measure, summary, policy, at)
    if value > policy.noise_floor:
        yield Reason(code, f"{text} up to {value:.4g} B/s, more than the noise of {policy.noise_floor:g} B/s")


def _state_doubts(facts: IdleFacts, at: datetime, policy: IdlePolicy) -> Iterator[Reason]:
    if facts.power is not PowerState.RUNNING:
        yield Reason("NotRunning", f"it is {facts.power}, and only a running VM is judged")
    if facts.node_silent:
        yield Reason("NodeSilent", "its node does not answer, so nobody knows what it is doing")
    if facts.gpu:
        yield Reason("GpuUnmeasured", "it has a GPU or host device, whose work nobody measures")
    if facts.created_at is None:
        yield Reason("AgeUnknown", "nobody says when it was made")
    elif at - facts.created_at < policy.minimum_age:
        least = format_duration(policy.minimum_age)
        yield Reason("TooYoung", f"it was made {format_duration(at - facts.created_at)} ago, less than {least}")
    if facts.running_since is None:
        yield Reason("UptimeUnknown", "nobody says since when it runs")
    elif at - facts.running_since < policy.settle:
        ran = format_duration(at - facts.running_since)
        yield Reason("JustStarted", f"it has run for only {ran}, less than {format_duration(policy.settle)}")


def _evidence_doubts(summary: Summary, facts: IdleFacts, policy: IdlePolicy, at: datetime) -> Iterator[Reason]:
    if summary.ref != facts.ref:
        yield Reason("WrongVm", f"the evidence is about {summary.ref}")
    if summary.lookback != policy.lookback:
        yield Reason(
            "WrongLookback",
            f"the evidence covers {format_duration(summary.lookback)}, not {format_duration(policy.lookback)}",
        )
    if abs(at - summary.at) > policy.freshness:
        yield Reason(
            "ClockSkew", f"the clocks of monitoring and cluster differ by {format_duration(at - summary.at)}"
        )
    for warning in summary.warnings[:1]:
        yield Reason("PartialData", f"monitoring warns about its own answer: {warning}")
    if isinstance(summary.observed, Unknown):
        yield Reason(summary.observed.code, f"nobody can tell how long it was watched: {summary.observed.text}")
    else:
        age = at - facts.created_at if facts.created_at is not None else policy.lookback
        expected = min(1.0, max(0.0, age / policy.lookback)) * policy.coverage
        if not expected <= summary.observed <= 1:
            share = f"{summary.observed:.0%} of {format_duration(policy.lookback)}"
            yield Reason("NotObserved", f"monitoring saw it for {share}: the retention is shorter, or it was down")
    if isinstance(summary.running, Unknown):
        yield Reason(summary.running.code, f"nobody can tell for how long it ran: {summary.running.text}")
    elif summary.running > summary.lookback:
        yield Reason("BadNumber", f"it ran for {format_duration(summary.running)}, longer than the lookback")
    elif summary.running < policy.minimum_running:
        least = format_duration(policy.minimum_running)
        yield Reason(
            "TooLittleSeen", f"it ran for {format_duration(summary.running)} of the lookback, less than {least}"
        )
    if isinstance(summary.migrations, Unknown):
        yield Reason(summary.migrations.code, f"nobody can tell whether it moved: {summary.migrations.text}")
    elif summary.migrations.in_progress:
        yield Reason("Migrating", "a live migration of it is under way")
    elif summary.migrations.last_ended is not None:
        since = summary.at - summary.migrations.last_ended
        if since < policy.settle_migration:
            yield Reason("JustMigrated", f"it moved to another node {format_duration(since)} ago")


def _signal_doubts(
    findings: tuple[Finding, ...], summary: Summary, policy: IdlePolicy, at: datetime
) -> Iterator[Reason]:
    for each in findings:
        if isinstance(each.value, Unknown):
            yield Reason(each.value.code, each.value.text)
            continue
        usage = summary.signal(each.criterion.measure.signal)
        if isinstance(usage, Usage):
            yield from _usage_doubts(usage, each.criterion.measure, summary, policy, at)


def _usage_doubts(
    usage: Usage, measure: Measure, summary: Summary, policy: IdlePolicy, at: datetime
) -> Iterator[Reason]:
    signal = measure.signal
    if not policy.coverage <= usage.coverage <= 1:
        text = f"samples of {signal} cover {usage.coverage:.1%} of the time it ran, not {policy.coverage:.1%}"
        yield Reason("TooFewSamples", text)
    if usage.last_seen > max(at, summary.at) + _SKEW:
        yield Reason("ClockSkew", f"the newest sample of {signal} lies in the future")
    elif at - usage.last_seen > policy.freshness:
        yield Reason("Stale", f"the newest sample of {signal} is {format_duration(at - usage.last_seen)} old")
