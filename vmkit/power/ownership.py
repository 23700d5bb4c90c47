"""Asks the GitOps tools that own VMs what they would do about a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vmkit.cluster.resources import APPLICATIONS, HELM_RELEASES, KUSTOMIZATIONS, Resource
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, Vetoed
from vmkit.guard.gitops import (
    GitopsOwner,
    GitopsVerdict,
    Tool,
    Verdict,
    changes_spec,
    decide_gitops,
    find_gitops_owner,
)
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView

_ARGO_NAMESPACES: Final = ("argocd", "openshift-gitops")
"""Where Argo CD keeps Applications whose tracking mark names no namespace."""
_RESOURCES: Final[Mapping[Tool, Resource]] = {
    Tool.ARGO_CD: APPLICATIONS,
    Tool.FLUX_KUSTOMIZE: KUSTOMIZATIONS,
    Tool.FLUX_HELM: HELM_RELEASES,
}


def read_verdicts(session: Session, views: Iterable[VmView], verb: str) -> dict[VmRef, GitopsVerdict]:
    """The verdicts on those VMs that such a tool owns; each owner is read once, and only where it matters."""
    documents: dict[tuple[GitopsOwner, str], Mapping[str, Any] | None] = {}
    verdicts: dict[VmRef, GitopsVerdict] = {}
    for view in views:
        owner = find_gitops_owner(view)
        if owner is None:
            continue
        document = None
        if changes_spec(view, verb):
            key = (owner, view.ref.namespace)
            if key not in documents:
                documents[key] = _read_owner(session, owner, view.ref.namespace)
            document = documents[key]
        verdicts[view.ref] = decide_gitops(view, verb, owner, document)
    return verdicts


def _read_owner(session: Session, owner: GitopsOwner, vm_namespace: str) -> Mapping[str, Any] | None:
    namespaces = (owner.namespace,) if owner.namespace else (*_ARGO_NAMESPACES, vm_namespace)
    for namespace in dict.fromkeys(namespaces):
        try:
            found = session.find(_RESOURCES[owner.tool], owner.name, namespace)
        except ClusterError:
            return None  # Not allowed, not installed, away: unknown, and said so.
        if found is not None:
            return found
    return None


def object_to_fight(view: VmView, verdict: GitopsVerdict) -> Vetoed:
    """The refusal of a change that would be set back at once."""
    remedy = verdict.remedy.strip()
    add = (
        f"add to {verdict.owner}: {_one_line(remedy)}; or "
        if ":" in remedy
        else f"{remedy}; or "
        if remedy
        else ""
    )
    return Vetoed(
        f"VirtualMachine {view.ref}: {verdict.text}",
        hint=f"{add}--despite-gitops does it anyway",
        where=str(view.ref),
    )


_FLOW: Final = (
    "spec.ignoreDifferences: [{group: kubevirt.io, kind: VirtualMachine, jsonPointers: [/spec/runStrategy, "
    "/spec/running]}] and spec.syncPolicy.syncOptions: [RespectIgnoreDifferences=true]"
)


def _one_line(remedy: str) -> str:
    if remedy.startswith("spec:\n  ignoreDifferences"):
        return _FLOW
    if "spec:" not in remedy:
        return remedy
    import yaml

    return str(yaml.safe_dump(yaml.safe_load(remedy), default_flow_style=True, width=1_000)).strip()


def render_notices(verdicts: Mapping[VmRef, GitopsVerdict]) -> tuple[str, ...]:
    """One line for each owner whose verdict is not safe."""
    unsafe = [(ref, verdict) for ref, verdict in verdicts.items() if verdict.verdict is not Verdict.SAFE]
    counts = Counter((verdict.verdict, verdict.text) for _, verdict in unsafe)
    first = {(verdict.verdict, verdict.text): ref for ref, verdict in reversed(unsafe)}
    return tuple(
        f"{first[key]}{f' and {count - 1} more' if count > 1 else ''}: {key[1]} (GitOps: {key[0]})"
        for key, count in counts.items()
    )
