"""What a run found: every VM with its verdict, what is to happen to it and what stopping it would return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from vmkit.idle.facts import IdleFacts
from vmkit.idle.verdict import Finding, State, Verdict
from vmkit.metrics.summary import Unknown
from vmkit.plan import Reason
from vmkit.units import format_duration
from vmkit.vm.reference import VmRef


class Action(StrEnum):
    """What is to happen to a VM."""

    NONE = "none"
    MARK = "mark"
    """Note on it that it is idle, and when it will be stopped."""
    STOP = "stop"
    CLEAR = "clear"
    """Take the note away: it is in use, or somebody touched it."""
    SETTLE = "settle"
    """Write down a stop that an earlier run carried out and could not write down any more."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a VM holds while it runs.

    Attributes:
        vcpus: its guest's CPUs; 0 where nobody says.
        memory_bytes: its guest's memory; 0 where nobody says.
        active_watts: what its work took on average over the lookback; None where nobody measured.
        energy_source: who says so ("kepler-pod", "model"); empty where nobody does.
    """

    vcpus: int = 0
    memory_bytes: int = 0
    active_watts: float | None = None
    energy_source: str = ""


@dataclass(frozen=True, slots=True)
class IdleItem:
    """One VM.

    Attributes:
        owner: whose it is: its ``vmkit.io/owner``, else its namespace.
        verdict, facts: what was found, and what is known of it.
        size: what stopping it returns.
        action: what happens to it in this run; ``reason``: why that, or why nothing.
        marked_at: when it was noted as idle; None where it is not.
        stop_after: from when on it is stopped, where it stays idle.
        last_used: the end of the last console, VNC or port-forward session; None where nobody knows of any.
    """

    owner: str
    verdict: Verdict
    facts: IdleFacts
    size: Size
    action: Action
    reason: Reason
    marked_at: datetime | None = None
    stop_after: datetime | None = None
    last_used: datetime | None = None

    @property
    def ref(self) -> VmRef:
        return self.verdict.ref

    @property
    def may_stop(self) -> bool:
        """Whether it is idle and nothing stands against stopping it."""
        return self.verdict.may_stop

    def to_dict(self) -> dict[str, Any]:
        """As programs have it."""
        verdict = self.verdict
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "owner": self.owner,
            "state": str(verdict.state),
            "mayStop": verdict.may_stop,
            "action": str(self.action),
            "reason": _reason(self.reason),
            "reasons": [_reason(each) for each in verdict.reasons],
            "held": [_reason(each) for each in verdict.held],
            "findings": [_finding(each) for each in verdict.findings],
            "coverage": verdict.coverage,
            "unseenJobSeconds": verdict.unseen_job.total_seconds(),
            "unseenGapSeconds": verdict.unseen_gap.total_seconds(),
            "vcpus": self.size.vcpus or None,
            "memoryBytes": self.size.memory_bytes or None,
            "activeWatts": self.size.active_watts,
            "energySource": self.size.energy_source or None,
            "markedAt": _instant(self.marked_at),
            "stopAfter": _instant(self.stop_after),
            "lastUsed": _instant(self.last_used),
        }


@dataclass(frozen=True, slots=True)
class Savings:
    """What stopping some VMs returns.

    Attributes:
        vms: how many.
        vcpus, memory_bytes: of all of them together.
        active_watts: of those whose power is known; ``metered``: how many these are.
        unsized: how many of them nobody knows the CPUs or memory of.
    """

    vms: int = 0
    vcpus: int = 0
    memory_bytes: int = 0
    active_watts: float = 0.0
    metered: int = 0
    unsized: int = 0

    @property
    def watt_hours_a_day(self) -> float:
        """Of active power alone: what a node draws when it does nothing returns only once the node is off."""
        return self.active_watts * 24

    def to_dict(self) -> dict[str, Any]:
        """As programs have it."""
        return {
            "vms": self.vms,
            "vcpus": self.vcpus,
            "memoryBytes": self.memory_bytes,
            "activeWattHoursADay": self.watt_hours_a_day if self.metered else None,
            "metered": self.metered,
            "unsized": self.unsized,
        }


@dataclass(frozen=True, slots=True)
class IdleReport:
    """What one run found, and under which settings.

    Attributes:
        at: the instant of the run, by the cluster's clock.
        policy: the name of the policy; ``lookback``: how far it looks back; ``criteria``: what has to be low.
        notice: how long people are told before a stop.
        scope: which VMs were looked at, for people: "VMs labelled vmkit.io/stop-idle=enabled".
        source: where the numbers come from, for people: "Prometheus at https://...", "the practice cluster".
        items: every VM that was looked at, in the order of names.
        notices: what people should know of the run.
    """

    at: datetime
    policy: str
    lookback: timedelta
    criteria: tuple[str, ...]
    notice: timedelta
    scope: str
    source: str
    items: tuple[IdleItem, ...]
    notices: tuple[str, ...] = ()

    def count(self, state: State) -> int:
        """How many VMs were found so."""
        return sum(each.verdict.state is state for each in self.items)

    @property
    def idle_share(self) -> float:
        """The share, 0 to 1, of the VMs looked at that are idle."""
        return self.count(State.IDLE) / len(self.items) if self.items else 0.0

    @property
    def reasons(self) -> dict[str, int]:
        """By code, the most frequent first: for how many VMs it is the weightiest reason."""
        found: dict[str, int] = {}
        for each in self.items:
            code = each.verdict.reasons[0].code
            found[code] = found.get(code, 0) + 1
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def savings(self) -> Savings:
        """Of all VMs that are idle and may be stopped."""
        return sum_savings(each for each in self.items if each.may_stop)

    def savings_by_owner(self) -> Mapping[str, Savings]:
        """The same for each owner that has any, the most CPUs first."""
        owners: dict[str, list[IdleItem]] = {}
        for each in self.items:
            if each.may_stop:
                owners.setdefault(each.owner, []).append(each)
        summed = {owner: sum_savings(items) for owner, items in owners.items()}
        return dict(sorted(summed.items(), key=lambda pair: (-pair[1].vcpus, pair[0])))

    def to_dict(self) -> dict[str, Any]:
        """As programs have it; ``items`` are the VMs."""
        return {
            "at": _instant(self.at),
            "policy": self.policy,
            "lookback": format_duration(self.lookback),
            "criteria": list(self.criteria),
            "notice": format_duration(self.notice),
            "scope": self.scope,
            "source": self.source,
            "counts": {str(state): self.count(state) for state in State},
            "savings": self.savings.to_dict(),
            "savingsByOwner": {owner: each.to_dict() for owner, each in self.savings_by_owner().items()},
            "items": [each.to_dict() for each in self.items],
            "notices": list(self.notices),
        }


def sum_savings(items: Iterable[IdleItem]) -> Savings:
    """What stopping these VMs returns."""
    sizes = [each.size for each in items]
    watts = [size.active_watts for size in sizes if size.active_watts is not None]
    return Savings(
        vms=len(sizes),
        vcpus=sum(size.vcpus for size in sizes),
        memory_bytes=sum(size.memory_bytes for size in sizes),
        active_watts=sum(watts),
        metered=len(watts),
        unsized=sum(not (size.vcpus and size.memory_bytes) for size in sizes),
    )


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "text": reason.text}


def _finding(finding: Finding) -> dict[str, Any]:
    unknown = finding.value if isinstance(finding.value, Unknown) else None
    return {
        "criterion": str(finding.criterion),
        "measure": str(finding.criterion.measure),
        "unit": finding.criterion.unit,
        "value": None if isinstance(finding.value, Unknown) else finding.value,
        "limit": finding.limit,
        "low": finding.low,
        "coverage": finding.coverage,
        "unknown": None if unknown is None else {"code": unknown.code, "text": unknown.text},
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")
