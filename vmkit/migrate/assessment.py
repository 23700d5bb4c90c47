"""Verdicts as documents: for one guest, and for a fleet with waves. Pure; keys are added, never renamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vmkit.migrate.facts import Facts
from vmkit.migrate.machine import Machine
from vmkit.migrate.rules.model import Rule
from vmkit.migrate.verdict import Finding, Fit, Recommendation, ServiceVerdict, TargetVerdict, Verdict
from vmkit.report.text import escape_text

SCHEMA_VERSION: Final = 1
# Waves: first what can move as it is, last what needs much work; what does not fit or is not known stands outside.
_WAVES: Final = {Fit.EXCELLENT: 1, Fit.GOOD: 1, Fit.MINIMAL: 2, Fit.MODERATE: 2, Fit.MAJOR: 3}


@dataclass(frozen=True, slots=True)
class Assessed:
    """One guest that was judged: its name ("namespace/name" or the source's), facts, machine and verdict."""

    name: str
    facts: Facts
    verdict: Verdict
    machine: Machine | None = None

    @property
    def wave(self) -> int | None:
        """1 to 3, or None where it stays or too little is known."""
        return _WAVES.get(self.verdict.fit)

    @property
    def score(self) -> int | None:
        """The lowest score among its workloads; None where there are none."""
        return min((one.best.score for one in self.verdict.services), default=None)


def assessment_to_dict(assessed: Assessed) -> dict[str, Any]:
    """The document of one guest; every text in it is safe to print."""
    verdict, machine = assessed.verdict, assessed.machine
    document: dict[str, Any] = {
        "kind": "Assessment",
        "schemaVersion": SCHEMA_VERSION,
        "name": escape_text(assessed.name),
        "fit": str(verdict.fit),
        "reason": verdict.reason,
        "wave": assessed.wave,
        "score": assessed.score,
        "machine": None
        if machine is None
        else {
            "vcpus": machine.vcpus,
            "memoryBytes": machine.memory_bytes,
            "demands": [{"kind": kind, "name": escape_text(name)} for kind, name in machine.demands],
        },
        "guestFindings": [finding_to_dict(one) for one in verdict.guest_findings],
        "services": [_service_to_dict(one) for one in verdict.services],
        "overrides": list(verdict.overrides),
        "notes": list(assessed.facts.notes),
    }
    return document


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """A finding with its rule's words and every place."""
    rule = finding.rule
    return {
        "rule": rule.id,
        "category": str(rule.category),
        "weight": rule.weight,
        "assessment": rule.assessment,
        "remedy": rule.remedy,
        "overridden": finding.overridden,
        "places": [
            {"detail": escape_text(hit.detail), "evidence": [msgspec.to_builtins(one) for one in hit.evidence]}
            for hit in finding.hits
        ],
    }


def _service_to_dict(verdict: ServiceVerdict) -> dict[str, Any]:
    service = verdict.service
    return {
        "name": service.name,
        "kind": str(service.kind),
        "recommendation": str(verdict.recommendation),
        "user": service.user,
        "ports": list(service.ports),
        "data": [one.path for one in service.data],
        "targets": [_target_to_dict(one) for one in verdict.targets],
    }


def _target_to_dict(verdict: TargetVerdict) -> dict[str, Any]:
    return {
        "target": str(verdict.target),
        "fit": str(verdict.fit),
        "score": verdict.score,
        "proven": verdict.proven,
        # What concerns the whole guest stands there once, not with every service.
        "findings": [finding_to_dict(one) for one in verdict.findings if one.rule.scope == "service"],
    }


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """A rule as it is listed by ``vmkit migrate rules``."""
    return {
        "id": rule.id,
        "target": str(rule.target),
        "scope": str(rule.scope),
        "category": str(rule.category),
        "weight": rule.weight,
        "assessment": rule.assessment,
        "remedy": rule.remedy,
    }


# --- fleets --------------------------------------------------------------------------------------------------


def plan_waves(fleet: Iterable[Assessed]) -> list[Assessed]:
    """The fleet in the order in which to move it: by wave, then by the memory that comes back, then by name."""

    def key(one: Assessed) -> tuple[int, int, str]:
        memory = one.machine.memory_bytes if one.machine and one.machine.memory_bytes else 0
        last = 5 if one.verdict.fit is Fit.NO_FIT else 4
        return (one.wave or last, -memory, one.name)

    return sorted(fleet, key=key)


@dataclass(frozen=True, slots=True)
class Returned:
    """What moving a set of VMs gives back: what they reserve now. What their containers take is not in it."""

    vms: int
    vcpus: int
    memory_bytes: int
    unknown: int
    """VMs whose size an instance type decides: they are counted, their size is not."""


def sum_returned(fleet: Iterable[Assessed]) -> Returned:
    """Adds up the sizes of VMs."""
    vms = vcpus = memory = unknown = 0
    for one in fleet:
        vms += 1
        machine = one.machine
        if machine is None or machine.vcpus is None or machine.memory_bytes is None:
            unknown += 1
        vcpus += machine.vcpus or 0 if machine else 0
        memory += machine.memory_bytes or 0 if machine else 0
    return Returned(vms, vcpus, memory, unknown)


def fleet_to_dict(fleet: Sequence[Assessed]) -> dict[str, Any]:
    """The document of a fleet: waves with what each returns, then every guest in order."""
    ordered = plan_waves(fleet)
    waves = []
    for number in (1, 2, 3):
        members = [one for one in ordered if one.wave == number]
        returned = sum_returned(members)
        waves.append(
            {
                "wave": number,
                "vms": returned.vms,
                "vcpus": returned.vcpus,
                "memoryBytes": returned.memory_bytes,
                "sizeUnknown": returned.unknown,
                "names": [escape_text(one.name) for one in members],
            }
        )
    return {
        "kind": "FleetAssessment",
        "schemaVersion": SCHEMA_VERSION,
        "waves": waves,
        "items": [assessment_to_dict(one) for one in ordered],
    }


def recommended(verdict: Verdict) -> str:
    """The workloads by what they should become: "1 wasm, 2 container"."""
    counted = [(kind, sum(one.recommendation is kind for one in verdict.services)) for kind in Recommendation]
    return ", ".join(f"{count} {kind}" for kind, count in counted if count)
