"""VMs whose use is known, as sources would sum it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from vmkit.idle.facts import IdleFacts
from vmkit.idle.policy import IdlePolicy, vmkit_policy
from vmkit.metrics.summary import Measure, Migrations, Sessions, Signal, Summary, Usage
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
REF = VmRef("shop", "web")

QUIET: Mapping[Signal, float] = {
    Signal.CPU: 0.01,
    Signal.RECEIVE: 300.0,
    Signal.TRANSMIT: 20.0,
    Signal.NETWORK: 310.0,
    Signal.DISK_READ: 0.0,
    Signal.DISK_WRITE: 4000.0,
}
"""The most that a guest does whom nobody uses."""


def quiet_facts(**changes: Any) -> IdleFacts:
    """A VM of 90 days that has run for 30, with an agent."""
    facts = IdleFacts(
        REF,
        PowerState.RUNNING,
        vcpus=2,
        created_at=AT - 90 * DAY,
        running_since=AT - 30 * DAY,
        agent=True,
    )
    return replace(facts, **changes)


def usage(policy: IdlePolicy, signal: Signal, level: float, **changes: Any) -> Usage:
    """A signal at a level, by every measure of the policy."""
    values: dict[Measure, float] = {each: level for each in policy.measures if each.signal is signal}
    return replace(Usage(values, coverage=1.0, last_seen=AT - timedelta(minutes=1)), **changes)


def quiet_summary(
    policy: IdlePolicy | None = None, *, levels: Mapping[Signal, float] | None = None, **changes: Any
) -> Summary:
    """What a source says of a VM that nobody uses; ``levels`` replace those of `QUIET`."""
    policy = policy or vmkit_policy()
    known = {**QUIET, **(levels or {})}
    summary = Summary(
        REF,
        AT,
        policy.lookback,
        usage={signal: usage(policy, signal, level) for signal, level in known.items()},
        observed=1.0,
        running=policy.lookback,
        sessions=Sessions(0, None, AT - policy.lookback),
        logins=(),
        migrations=Migrations(0),
    )
    return replace(summary, **changes)
