"""KubeEdge's nodes: those that are silent hide the state of their VMs.

Source: kubeedge common/constants/default.go (the label of an edge node).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkit.cluster.resources import NODES
from vmkit.doctor.look import Look, condition, mapping, name_of
from vmkit.doctor.model import Check, Finding, Kind, Severity

_LABEL: Final = "node-role.kubernetes.io/edge"

NONE = Kind("edge.none", Severity.OK, "No node is one of KubeEdge.")
ANSWERING = Kind("edge.answering", Severity.OK, "An edge node answers.")
SILENT = Kind(
    "edge.silent",
    Severity.WARNING,
    "An edge node does not answer.",
    why="its VMs may run or not: vmkit calls them unknown, and what is asked of them happens when it answers",
    mend="see to the node's link and to edgecore: systemctl status edgecore",
)


def run(look: Look) -> Iterator[Finding]:
    edge = [node for node in look.list(NODES) if mapping(node, "metadata", "labels").get(_LABEL) == ""]
    if not edge and look.knows(NODES):
        yield NONE.found("no node is one of KubeEdge")
    for node in edge:
        name = name_of(node)
        if condition(node, "Ready") == "True":
            yield ANSWERING.found(f"edge node {name} answers", target=f"Node {name}")
        else:
            yield SILENT.found(f"edge node {name} does not answer", target=f"Node {name}")


CHECK = Check("edge", "Whether KubeEdge's nodes answer.", (NONE, ANSWERING, SILENT), run)
