"""What only shows when VMs are looked at together: of a high-availability group one member at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from vmkit.idle.facts import IdleFacts
from vmkit.idle.verdict import Verdict
from vmkit.plan import Reason
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState


def decide_fleet(verdicts: Iterable[Verdict], facts: Mapping[VmRef, IdleFacts]) -> list[Verdict]:
    """Holds back members of high-availability groups, so that at most one is down at a time.

    Groups do not cross namespaces. While a member does not run, no other is stopped; else the first in the order
    of names may be.

    Args:
        verdicts: of single VMs, in any order; the answer keeps it.
        facts: of every VM that may belong to a group, judged or not.
    """
    verdicts = list(verdicts)
    down: dict[tuple[str, str], VmRef] = {}
    for ref, each in sorted(facts.items()):
        if each.group and each.power is not PowerState.RUNNING:
            down.setdefault((ref.namespace, each.group), ref)
    chosen: dict[tuple[str, str], VmRef] = {}
    for verdict in sorted(verdicts, key=lambda each: each.ref):
        group = _group_of(verdict, facts)
        if group is not None and group not in down and verdict.may_stop:
            chosen.setdefault(group, verdict.ref)
    return [_hold(verdict, _group_of(verdict, facts), down, chosen) for verdict in verdicts]


def _group_of(verdict: Verdict, facts: Mapping[VmRef, IdleFacts]) -> tuple[str, str] | None:
    known = facts.get(verdict.ref)
    return (verdict.ref.namespace, known.group) if known is not None and known.group else None


def _hold(
    verdict: Verdict,
    group: tuple[str, str] | None,
    down: Mapping[tuple[str, str], VmRef],
    chosen: Mapping[tuple[str, str], VmRef],
) -> Verdict:
    if group is None or not verdict.may_stop:
        return verdict
    if group in down:
        reason = Reason("GroupDegraded", f"{down[group]} of the group {group[1]} does not run")
    elif chosen[group] != verdict.ref:
        reason = Reason("GroupTurn", f"{chosen[group]} of the group {group[1]} comes first")
    else:
        return verdict
    return replace(verdict, held=(*verdict.held, reason))
