"""What is asked about the use of VMs: over the lookback, and once more right before a stop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from vmkit.errors import VmkitError
from vmkit.idle.facts import IdleFacts
from vmkit.idle.policy import Criterion, IdlePolicy, vmkit_policy
from vmkit.metrics.source import UsageSource, nothing_known
from vmkit.metrics.summary import RATE_WINDOW, Login, Measure, Summary, Unknown
from vmkit.plan import Reason
from vmkit.vm.reference import VmRef

LAST_LOOK: Final = timedelta(minutes=15)
"""How far back the last look reaches."""


def summarize(
    source: UsageSource,
    refs: Collection[VmRef],
    measures: Collection[Measure],
    *,
    at: datetime,
    lookback: timedelta,
) -> Mapping[VmRef, Summary]:
    """The use of VMs. Whatever goes wrong ends in what is unknown; nothing is raised for it."""
    if not refs:
        return {}
    try:
        found = source.summarize(refs, measures=measures, at=at, lookback=lookback)
    except VmkitError as error:
        found, why = {}, Unknown(error.code, error.message)
    else:
        why = Unknown("NotAnswered", "the source says nothing about it")
    return {
        ref: found.get(ref) or nothing_known(ref, why, measures=measures, at=at, lookback=lookback) for ref in refs
    }


def last_look_criteria(policy: IdlePolicy) -> tuple[Criterion, ...]:
    """What has to be low in the last minutes: the policy's own limits, by the maximum of the five-minute rate.

    A limit on an average over hours says nothing about minutes; there vmkit's own limit stands for it.
    """
    own = {each.measure.signal: each for each in vmkit_policy().criteria if not each.of_vcpus}
    found = []
    for each in policy.criteria:
        if each.measure.rate_window > LAST_LOOK:
            if each.measure.signal in own:
                found.append(own[each.measure.signal])
            continue
        found.append(replace(each, measure=Measure(each.measure.signal, rate_window=RATE_WINDOW)))
    return tuple(dict.fromkeys(found))


def object_to_use(summary: Summary, facts: IdleFacts, policy: IdlePolicy, at: datetime) -> Reason | None:
    """What the last look shows against a stop: use, or that nobody can tell. Pure."""
    for criterion in last_look_criteria(policy):
        usage = summary.signal(criterion.measure.signal)
        if isinstance(usage, Unknown):
            return Reason(usage.code, f"the last look: {usage.text}")
        value = usage.value(criterion.measure)
        if isinstance(value, Unknown):
            return Reason(value.code, f"the last look: {value.text}")
        if at - usage.last_seen > policy.freshness:
            return Reason("Stale", f"the last look: the newest sample of {criterion.measure.signal} is too old")
        if not criterion.is_met(value, facts.vcpus):
            text = f"the last look: {criterion.measure} is {value:.4g} {criterion.unit}, and idle is less"
            return Reason("InUse", text)
    sessions = summary.sessions
    if isinstance(sessions, Unknown):
        return Reason(sessions.code, f"the last look: nobody can tell who has a console open: {sessions.text}")
    if sessions.open_now > 0:
        return Reason("SessionOpen", "the last look: a console, VNC or port-forward session is open")
    if sessions.last_ended is not None and summary.at - sessions.last_ended < LAST_LOOK:
        return Reason("SessionSeen", "the last look: a console, VNC or port-forward session ended a moment ago")
    return object_to_logins(summary)


def object_to_logins(summary: Summary) -> Reason | None:
    """That somebody is logged in, if anybody knows of it."""
    if not isinstance(summary.logins, Unknown) and summary.logins:
        return Reason("LoggedIn", "the last look: somebody is logged in")
    return None


def with_logins(summary: Summary, logins: tuple[Login, ...] | Unknown) -> Summary:
    """The summary with who is logged in."""
    return replace(summary, logins=logins)
