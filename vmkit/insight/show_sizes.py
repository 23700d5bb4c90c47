"""How proposed sizes look: a table, CSV, items of the envelope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmkit.insight.assess import Assessment
from vmkit.insight.recommender import Recommendation, Resources
from vmkit.insight.show_capacity import format_cpu
from vmkit.insight.sizing import Size
from vmkit.report.table import Column, render_csv, render_table
from vmkit.units import format_size


def render_sizes(assessments: Sequence[Assessment], output: str) -> str:
    """The proposals as "table" (those that change something), "wide" (every VM) or "csv" (every VM)."""
    if output == "csv":
        return render_csv(_csv_columns(), assessments)
    rows = assessments if output == "wide" else [one for one in assessments if one.proposal.changes]
    text = render_table(_columns(), rows, wide=output == "wide") if rows else ""
    return text + ("\n" if rows else "") + _summary(assessments)


def size_to_dict(one: Assessment) -> dict[str, Any]:
    """One VM as it stands in the envelope."""
    proposal, study = one.proposal, one.study
    document: dict[str, Any] = {
        "namespace": one.ref.namespace,
        "name": one.ref.name,
        "current": None if proposal.now is None else proposal.now.to_dict(),
        "proposed": None if proposal.size is None else proposal.size.to_dict(),
        "reason": {"code": proposal.reason.code, "text": proposal.reason.text},
        "effect": None if proposal.effect is None else str(proposal.effect),
        "effectText": proposal.effect_text,
        "saved": _resources(proposal.saved),
        "recommendation": _recommendation(study.recommendation),
        "sampledShare": {"cpu": round(study.cpu_share, 4), "memory": round(study.memory_share, 4)},
        "problems": [{"code": each.code, "text": each.text} for each in study.problems],
    }
    if proposal.changes:
        document["patch"] = dict(proposal.patch)
    return document


def _columns() -> list[Column[Assessment]]:
    return [
        Column("NAMESPACE", lambda one: one.ref.namespace),
        Column("NAME", lambda one: one.ref.name),
        Column("SIZE", lambda one: str(one.proposal.now or "?")),
        Column("NEEDS", _needs),
        Column("PROPOSED", lambda one: str(one.proposal.size or "-")),
        Column("SAVES", lambda one: _saves(one.proposal.saved) if one.proposal.changes else "-"),
        Column("WHEN", lambda one: str(one.proposal.effect or "-")),
        Column("WHY", lambda one: one.proposal.reason.text),
        Column("WHEN-WHY", lambda one: one.proposal.effect_text, wide=True),
        Column("NOT-KNOWN", lambda one: "; ".join(each.text for each in one.study.problems), wide=True),
    ]


def _csv_columns() -> list[Column[Assessment]]:
    def number(amounts: tuple[int, ...] | None, index: int) -> str:
        return "" if amounts is None else str(amounts[index])

    return [
        Column("NAMESPACE", lambda one: one.ref.namespace),
        Column("NAME", lambda one: one.ref.name),
        Column("VCPUS", lambda one: number(_pair(one.proposal.now), 0)),
        Column("MEMORY-BYTES", lambda one: number(_pair(one.proposal.now), 1)),
        Column("NEEDS-CPU-MILLICORES", lambda one: number(one.proposal.wants, 0)),
        Column("NEEDS-MEMORY-BYTES", lambda one: number(one.proposal.wants, 1)),
        Column("PROPOSED-VCPUS", lambda one: number(_pair(one.proposal.size), 0)),
        Column("PROPOSED-MEMORY-BYTES", lambda one: number(_pair(one.proposal.size), 1)),
        Column("PROPOSED-INSTANCETYPE", lambda one: one.proposal.size.instancetype if one.proposal.size else ""),
        Column("EFFECT", lambda one: str(one.proposal.effect or "")),
        Column("REASON", lambda one: one.proposal.reason.code),
    ]


def _pair(size: Size | None) -> tuple[int, int] | None:
    return None if size is None else (size.vcpus, size.memory_bytes)


def _needs(one: Assessment) -> str:
    wants = one.proposal.wants
    return "-" if wants is None else f"{format_cpu(wants.cpu_millicores)} CPU, {format_size(wants.memory_bytes)}"


def _saves(saved: Resources) -> str:
    return f"{saved.cpu_millicores / 1000:g} CPU, {format_size(saved.memory_bytes)}"


def _summary(assessments: Sequence[Assessment]) -> str:
    changed = [one.proposal for one in assessments if one.proposal.changes]
    cpu = sum(proposal.saved.cpu_millicores for proposal in changed)
    memory = sum(proposal.saved.memory_bytes for proposal in changed)
    unknown = sum(one.study.recommendation is None for one in assessments)
    text = f"{len(changed)} of {len(assessments)} VMs should have another size"
    if changed:
        text += f"; together that is {_balance(cpu / 1000, f'{abs(cpu) / 1000:g} CPU')} and "
        text += _balance(memory, format_size(abs(memory)))
    if unknown:
        text += f"; of {unknown} nobody knows what they use"
    return text + "\n"


def _balance(value: float, text: str) -> str:
    return f"{text} {'less' if value >= 0 else 'more'}"


def _recommendation(found: Recommendation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "target": _resources(found.target),
        "lower": _resources(found.lower),
        "upper": _resources(found.upper),
        "confidence": round(found.confidence, 3),
        "sampleMinutes": round(found.sample_minutes),
    }


def _resources(resources: Resources) -> dict[str, int]:
    return {"cpuMillicores": resources.cpu_millicores, "memoryBytes": resources.memory_bytes}
