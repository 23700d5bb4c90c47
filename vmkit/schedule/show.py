"""Explanations, findings and simulations as text."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from vmkit.schedule.decide import Decision
from vmkit.schedule.explain import Explanation, VmExplanation
from vmkit.schedule.sources import Origin


def render_explanation(explanation: Explanation) -> str:
    """A schedule at an instant: what is wanted, by which rules, and what comes."""
    lines = [f"at          {_local(explanation.at)}", f"wanted      {explanation.wish}"]
    lines += [f"rule        {rule.text} (column {rule.column})" for rule in explanation.rules]
    for coming in explanation.coming:
        by = f"  ({'; '.join(rule.text for rule in coming.rules)})" if coming.rules else ""
        lines.append(f"{coming.transition.side!s:<12}{_local(coming.local)}{by}")
    if not explanation.coming:
        lines.append("next        nothing is coming")
    for at, rule in explanation.skipped:
        lines.append(f"skipped     {_local(at)}: {rule.text}: the clock skips these hours")
    return "".join(f"{line}\n" for line in lines)


def render_vm_explanation(name: str, explanation: VmExplanation, decision: Decision) -> str:
    """A VM at an instant: what holds, who says so, and what would be done now."""
    lines = [f"vm          {name}"]
    if explanation.decided_by is not None:
        lines.append(f"decided by  {_origin(explanation.decided_by)}")
    if explanation.effective.origin is not None and explanation.effective.origin != explanation.decided_by:
        lines.append(f"schedule    {_origin(explanation.effective.origin)}")
    if explanation.held_by:
        lines.append(f"held        {explanation.held_by}")
    lines += [f"problem     {problem}" for problem in explanation.problems]
    if explanation.effective.disregarded:
        lines.append(f"disregarded {', '.join(explanation.effective.disregarded)}: --honour-downscaler obeys them")
    lines.append(f"now         {decision.action}: {decision.reason.text} ({decision.reason.code})")
    text = "".join(f"{line}\n" for line in lines)
    return text + render_explanation(explanation.schedule) if explanation.schedule is not None else text


def explanation_to_dict(explanation: Explanation) -> dict[str, Any]:
    """For programs."""
    return {
        "at": explanation.at.isoformat(),
        "wanted": str(explanation.wish),
        "active": explanation.active,
        "rules": [rule.text for rule in explanation.rules],
        "transitions": [
            {
                "at": coming.transition.at.isoformat().replace("+00:00", "Z"),
                "local": coming.local.isoformat(),
                "side": str(coming.transition.side),
                "rules": [rule.text for rule in coming.rules],
            }
            for coming in explanation.coming
        ],
        "skipped": [{"at": at.isoformat(), "rule": rule.text} for at, rule in explanation.skipped],
    }


def vm_explanation_to_dict(name: str, explanation: VmExplanation, decision: Decision) -> dict[str, Any]:
    """For programs."""
    origin = explanation.decided_by
    return {
        "vm": name,
        "decidedBy": None
        if origin is None
        else {"scope": str(origin.scope), "where": origin.where, "keys": list(origin.keys), "text": origin.text},
        "held": explanation.held_by,
        "problems": [str(problem) for problem in explanation.problems],
        "now": {
            "action": str(decision.action),
            "code": decision.reason.code,
            "text": decision.reason.text,
        },
        "schedule": None if explanation.schedule is None else explanation_to_dict(explanation.schedule),
    }


def hours(span: timedelta) -> str:
    """Hours with one decimal."""
    return f"{span / timedelta(hours=1):.1f}"


def _origin(origin: Origin) -> str:
    return f"{origin.keys[0]} on {origin.where} ({origin.scope}): {origin.text[:120]}"


def _local(at: datetime) -> str:
    return f"{at:%a %Y-%m-%d %H:%M} {at.tzname()}"
