"""Who keeps VMs as Git says, and whether a start or stop would last; see `vmkit.guard.gitops`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from vmkit.cluster.resources import APPLICATIONS, HELM_RELEASES, KUSTOMIZATIONS, VIRTUAL_MACHINES, Resource
from vmkit.doctor.look import Look, Object, mapping
from vmkit.doctor.model import Check, Finding, Kind, Severity
from vmkit.guard.gitops import GitopsOwner, GitopsVerdict, Tool, Verdict, decide_gitops, find_gitops_owner
from vmkit.vm.state import VmView, read_vm
from vmkit.vm.strategy import RunStrategy

NONE = Kind("gitops.none", Severity.OK, "No VM is kept by Argo CD or Flux.")
SAFE = Kind("gitops.safe", Severity.OK, "VMs are kept by a GitOps tool, and starts and stops of them last.")
DRIFT = Kind(
    "gitops.drift",
    Severity.INFO,
    "The next sync of a GitOps tool sets the run strategy of VMs back.",
    why="a VM that a schedule stopped runs again after somebody's next sync",
    mend="let the tool ignore the run strategy",
)
FIGHT = Kind(
    "gitops.fight",
    Severity.WARNING,
    "A GitOps tool sets the run strategy of VMs back at once.",
    why="every stop is undone within seconds: schedules and stop-idle leave such VMs alone",
    mend="let the tool ignore the run strategy",
)
UNREADABLE = Kind(
    "gitops.owner-unreadable",
    Severity.UNKNOWN,
    "VMs name an owner that is not there, or cannot be read.",
    why="whether a start or stop of them lasts cannot be told",
    mend="ask for the right to get applications.argoproj.io, kustomizations and helmreleases",
)

_RESOURCES: Final[Mapping[Tool, Resource]] = {
    Tool.ARGO_CD: APPLICATIONS,
    Tool.FLUX_KUSTOMIZE: KUSTOMIZATIONS,
    Tool.FLUX_HELM: HELM_RELEASES,
}
_KINDS: Final[Mapping[Verdict, Kind]] = {
    Verdict.SAFE: SAFE,
    Verdict.DRIFT: DRIFT,
    Verdict.FIGHT: FIGHT,
    Verdict.UNKNOWN: UNREADABLE,
}


def run(look: Look) -> Iterator[Finding]:
    """One finding for each owner and verdict, with how many VMs it is about."""
    counts: Counter[tuple[GitopsOwner, Verdict]] = Counter()
    verdicts: dict[tuple[GitopsOwner, Verdict], GitopsVerdict] = {}
    for item in look.list(VIRTUAL_MACHINES):
        view = read_vm(item)
        owner = find_gitops_owner(view)
        if owner is not None:
            verdict = decide_gitops(view, _verb(view), owner, _find(look, owner))
            counts[owner, verdict.verdict] += 1
            verdicts.setdefault((owner, verdict.verdict), verdict)
    if not counts and look.knows(VIRTUAL_MACHINES):
        yield NONE.found("no VM is kept by Argo CD or Flux")
    for key, count in counts.items():
        verdict = verdicts[key]
        many = "1 VM" if count == 1 else f"{count} VMs"
        yield _KINDS[verdict.verdict].found(
            f"{many}: {verdict.text}", target=str(verdict.owner), mend=verdict.remedy
        )


def _verb(view: VmView) -> str:
    return "start" if view.run_strategy is RunStrategy.HALTED else "stop"


def _find(look: Look, owner: GitopsOwner) -> Object | None:
    for item in look.list(_RESOURCES[owner.tool]):
        metadata = mapping(item, "metadata")
        if metadata.get("name") == owner.name and owner.namespace in ("", metadata.get("namespace")):
            return item
    return None


CHECK = Check(
    "gitops",
    "Who keeps VMs as Git says, and whether starts and stops last.",
    (NONE, SAFE, DRIFT, FIGHT, UNREADABLE),
    run,
)
