"""Vertical pod autoscalers that are aimed at VMs; see `vmkit.insight.autoscalers`."""

from __future__ import annotations

from collections.abc import Iterator

from vmkit.cluster.resources import VERTICAL_POD_AUTOSCALERS
from vmkit.doctor.look import Look
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.insight.autoscalers import find_aimed_autoscalers

NONE = Kind("autoscalers.none", Severity.OK, "No vertical pod autoscaler is aimed at VMs.")
WATCHING = Kind(
    "autoscalers.watching",
    Severity.INFO,
    "A vertical pod autoscaler is aimed at VMs, and only recommends (updateMode Off).",
    why="it does no harm, and judges launcher pods in place of guests: vmkit rightsize judges guests",
)
AIMED = Kind(
    "autoscalers.aimed",
    Severity.PROBLEM,
    "A vertical pod autoscaler that acts is aimed at VMs.",
    why="it restarts guests, and gives their pods less memory than the guests have: the node then kills them",
    mend="kubectl -n NAMESPACE patch vpa NAME --type=merge"
    """ -p '{"spec":{"updatePolicy":{"updateMode":"Off"}}}'""",
)


def run(look: Look) -> Iterator[Finding]:
    aimed = list(find_aimed_autoscalers(look.list(VERTICAL_POD_AUTOSCALERS)))
    if not aimed and look.knows(VERTICAL_POD_AUTOSCALERS):
        yield NONE.found("no vertical pod autoscaler is aimed at VMs")
    for one in aimed:
        target = f"VerticalPodAutoscaler {one.namespace}/{one.name}"
        if one.dangerous:
            mend = AIMED.mend.replace("NAMESPACE", one.namespace).replace("NAME", one.name)
            yield AIMED.found(f"{target} ({one.mode}) is aimed at {one.target}", target=target, mend=mend)
        else:
            yield WATCHING.found(f"{target} is aimed at {one.target}, and only recommends", target=target)


CHECK = Check("autoscalers", "Vertical pod autoscalers aimed at VMs.", (NONE, WATCHING, AIMED), run)
