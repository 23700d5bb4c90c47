"""Whether a change to a VM meets resistance from the tool that keeps it as a Git repository says.

Start and stop change ``spec.runStrategy`` of VMs whose strategy is Always, Halted or Once; with Manual and
RerunOnFailure they only leave a request in the status, which no such tool looks at.

Sources: Argo CD pkg/apis/application/v1alpha1/types.go and docs/user-guide/{auto_sync,diffing,sync-options}.md
(self-heal, ignoreDifferences, RespectIgnoreDifferences, tracking); Flux kustomize-controller and helm-controller
documentation (spec.suspend, spec.ignore, kustomize.toolkit.fluxcd.io/reconcile and /ssa, driftDetection).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vmkit.vm.state import VmView

_TRACKING: Final = "argocd.argoproj.io/tracking-id"
_ARGO_LABEL: Final = "argocd.argoproj.io/instance"
_SHARED_LABEL: Final = "app.kubernetes.io/instance"
_SKIP: Final = "argocd.argoproj.io/skip-reconcile"
_ARGO_MANAGERS: Final = frozenset({"argocd-controller", "argocd-application-controller"})
_FLUX: Final = "kustomize.toolkit.fluxcd.io"
_FLUX_HELM: Final = "helm.toolkit.fluxcd.io"
_STRATEGY_POINTERS: Final = frozenset({"", "/spec", "/spec/runStrategy", "/spec/running"})
_STRATEGY_PATHS: Final = frozenset({".spec", ".spec.runStrategy", ".spec.running"})
_WRITERS: Final = ("virt-api", "vmkit")
"""The field managers under which a start or stop writes the strategy."""


class Tool(StrEnum):
    """Which tool, by the kind of its object."""

    ARGO_CD = "Application"
    FLUX_KUSTOMIZE = "Kustomization"
    FLUX_HELM = "HelmRelease"


class Verdict(StrEnum):
    """What will become of the change."""

    SAFE = "safe"
    """It stays."""
    DRIFT = "drift"
    """It stays until the next sync sets it back."""
    FIGHT = "fight"
    """It is set back at once."""
    UNKNOWN = "unknown"
    """The tool's object cannot be read."""


@dataclass(frozen=True, slots=True)
class GitopsOwner:
    """The tool's object that owns a VM. ``namespace`` is empty where the VM does not say."""

    tool: Tool
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.tool} {self.namespace}/{self.name}" if self.namespace else f"{self.tool} {self.name}"


@dataclass(frozen=True, slots=True)
class GitopsVerdict:
    """The verdict on one change to one VM: why, and what to add to the tool's object so that it stays."""

    verdict: Verdict
    owner: GitopsOwner
    text: str
    remedy: str = ""


def find_gitops_owner(view: VmView) -> GitopsOwner | None:
    """Who keeps this VM as Git says, by the marks these tools leave; None where nobody seems to.

    The label app.kubernetes.io/instance alone proves nothing (Helm writes it too): it counts where Argo CD stands
    among the object's field managers.
    """
    labels, annotations = view.labels, view.annotations
    tracking = annotations.get(_TRACKING, "")
    if tracking:
        return _argo_owner(tracking.partition(":")[0])
    if labels.get(_ARGO_LABEL) or annotations.get(_ARGO_LABEL):
        return _argo_owner(labels.get(_ARGO_LABEL) or annotations[_ARGO_LABEL])
    if labels.get(_SHARED_LABEL) and view.managers & _ARGO_MANAGERS:
        return _argo_owner(labels[_SHARED_LABEL])
    if labels.get(f"{_FLUX}/name"):
        return GitopsOwner(Tool.FLUX_KUSTOMIZE, labels[f"{_FLUX}/name"], labels.get(f"{_FLUX}/namespace", ""))
    if labels.get(f"{_FLUX_HELM}/name"):
        namespace = labels.get(f"{_FLUX_HELM}/namespace", "")
        return GitopsOwner(Tool.FLUX_HELM, labels[f"{_FLUX_HELM}/name"], namespace)
    return None


def _argo_owner(name: str) -> GitopsOwner:
    # An Application outside Argo CD's own namespace is tracked as "<namespace>_<name>".
    namespace, _, short = name.rpartition("_")
    return GitopsOwner(Tool.ARGO_CD, short, namespace)


def changes_spec(view: VmView, verb: str) -> bool:
    """Whether ``verb`` writes to what such a tool compares."""
    if verb == "delete":
        return True
    strategy = view.run_strategy
    return verb in {"start", "stop"} and strategy is not None and strategy.touches_spec


def decide_gitops(
    view: VmView, verb: str, owner: GitopsOwner, document: Mapping[str, Any] | None
) -> GitopsVerdict:
    """The verdict.

    Args:
        view: the VM.
        verb: "start", "stop", "delete" ...
        owner: who keeps it.
        document: the owner's object, or None where it cannot be read.
    """
    if not changes_spec(view, verb):
        how = f"{verb} writes nothing that {owner} compares"
        return GitopsVerdict(Verdict.SAFE, owner, how)
    if document is None:
        text = f"{owner} keeps it and cannot be read: it may set this back"
        return GitopsVerdict(Verdict.UNKNOWN, owner, text)
    if owner.tool is Tool.ARGO_CD:
        return _decide_argo(view, verb, owner, document)
    if owner.tool is Tool.FLUX_KUSTOMIZE:
        return _decide_kustomization(view, verb, owner, document)
    return _decide_helm(view, verb, owner, document)


def _decide_argo(view: VmView, verb: str, owner: GitopsOwner, application: Mapping[str, Any]) -> GitopsVerdict:
    annotations = _mapping(_mapping(application, "metadata"), "annotations")
    if annotations.get(_SKIP) == "true":
        return GitopsVerdict(Verdict.SAFE, owner, f"{owner} is told to skip reconciling")
    spec = _mapping(application, "spec")
    policy = _mapping(spec, "syncPolicy")
    automated = policy.get("automated")
    automatic = isinstance(automated, Mapping) and automated.get("enabled") is not False
    heals = automatic and isinstance(automated, Mapping) and automated.get("selfHeal") is True
    if verb == "delete":
        if heals:
            return GitopsVerdict(Verdict.FIGHT, owner, f"{owner} heals itself and would make it anew", _GIT_REMEDY)
        return GitopsVerdict(Verdict.DRIFT, owner, f"the next sync of {owner} would make it anew", _GIT_REMEDY)
    options = policy.get("syncOptions")
    respects = isinstance(options, list) and "RespectIgnoreDifferences=true" in options
    if any(_covers(rule, view) for rule in _entries(spec.get("ignoreDifferences"))):
        if respects:
            return GitopsVerdict(Verdict.SAFE, owner, f"{owner} ignores the run strategy")
        text = f"{owner} ignores the run strategy when it compares, but its next sync sets it back"
        return GitopsVerdict(Verdict.DRIFT, owner, text, _ARGO_REMEDY)
    if heals:
        text = f"{owner} heals itself and sets the run strategy back within seconds"
        return GitopsVerdict(Verdict.FIGHT, owner, text, _ARGO_REMEDY)
    return GitopsVerdict(
        Verdict.DRIFT, owner, f"the next sync of {owner} sets the run strategy back", _ARGO_REMEDY
    )


_ARGO_REMEDY: Final = """\
spec:
  ignoreDifferences:
    - group: kubevirt.io
      kind: VirtualMachine
      jsonPointers: [/spec/runStrategy, /spec/running]
  syncPolicy:
    syncOptions: [RespectIgnoreDifferences=true]
"""
_GIT_REMEDY: Final = "remove it from the repository instead"
_FLUX_REMEDY: Final = """\
# Where its release of Flux has no spec.ignore yet: in the repository, on the VM, the annotation
# kustomize.toolkit.fluxcd.io/ssa: IfNotPresent
spec:
  ignore:
    - paths: [/spec/runStrategy, /spec/running]
      target: {group: kubevirt.io, kind: VirtualMachine}
"""
_HELM_REMEDY: Final = """\
spec:
  driftDetection:
    ignore:
      - paths: [/spec/runStrategy, /spec/running]
        target: {group: kubevirt.io, kind: VirtualMachine}
"""


def _covers(rule: Mapping[str, Any], view: VmView) -> bool:
    for key, value in (("group", "kubevirt.io"), ("kind", "VirtualMachine")):
        pattern = rule.get(key, "")
        if not isinstance(pattern, str) or not (pattern or key == "group") or not fnmatch.fnmatch(value, pattern):
            return False
    for key, value in (("name", view.ref.name), ("namespace", view.ref.namespace)):
        if rule.get(key) not in {None, "", value}:
            return False
    if any(pointer in _STRATEGY_POINTERS for pointer in _strings(rule.get("jsonPointers"))):
        return True
    if any(path.strip() in _STRATEGY_PATHS for path in _strings(rule.get("jqPathExpressions"))):
        return True
    ignored = set(_strings(rule.get("managedFieldsManagers")))
    return all(writer in ignored for writer in _WRITERS)


def _decide_kustomization(
    view: VmView, verb: str, owner: GitopsOwner, document: Mapping[str, Any]
) -> GitopsVerdict:
    if _mapping(document, "spec").get("suspend") is True:
        return GitopsVerdict(Verdict.SAFE, owner, f"{owner} is suspended")
    if view.annotations.get(f"{_FLUX}/reconcile", "").lower() == "disabled":
        return GitopsVerdict(Verdict.SAFE, owner, f"the VM is exempt from {owner}")
    policy = view.annotations.get(f"{_FLUX}/ssa", "").lower()
    if policy == "ignore" or (policy == "ifnotpresent" and verb != "delete"):
        return GitopsVerdict(Verdict.SAFE, owner, f"{owner} leaves the VM as it is once it exists")
    if verb != "delete" and _flux_ignores(_mapping(document, "spec").get("ignore"), view):
        return GitopsVerdict(Verdict.SAFE, owner, f"{owner} ignores the run strategy")
    what = "makes it anew" if verb == "delete" else "sets the run strategy back"
    return GitopsVerdict(
        Verdict.FIGHT,
        owner,
        f"{owner} {what} at its next interval",
        _GIT_REMEDY if verb == "delete" else _FLUX_REMEDY,
    )


def _decide_helm(view: VmView, verb: str, owner: GitopsOwner, document: Mapping[str, Any]) -> GitopsVerdict:
    spec = _mapping(document, "spec")
    if spec.get("suspend") is True:
        return GitopsVerdict(Verdict.SAFE, owner, f"{owner} is suspended")
    detection = _mapping(spec, "driftDetection")
    ignored = _flux_ignores(detection.get("ignore"), view)
    what = "makes it anew" if verb == "delete" else "sets the run strategy back"
    if detection.get("mode") == "enabled" and (verb == "delete" or not ignored):
        return GitopsVerdict(
            Verdict.FIGHT,
            owner,
            f"{owner} corrects drift and {what}",
            _GIT_REMEDY if verb == "delete" else _HELM_REMEDY,
        )
    return GitopsVerdict(Verdict.DRIFT, owner, f"the next upgrade of {owner} {what}")


def _flux_ignores(rules: Any, view: VmView) -> bool:
    """Whether drift rules leave the run strategy of this VM out (fluxcd/pkg/ssa/jsondiff: targets are regular
    expressions over whole values). Rules that select by labels or annotations are not looked into: they count for
    nothing."""
    wanted = {
        "group": "kubevirt.io",
        "version": "v1",
        "kind": "VirtualMachine",
        "name": view.ref.name,
        "namespace": view.ref.namespace,
    }
    for rule in _entries(rules):
        target = _mapping(rule, "target")
        matches = not (target.get("labelSelector") or target.get("annotationSelector")) and all(
            _is_like(target.get(key), value) for key, value in wanted.items()
        )
        if matches and any(path in _STRATEGY_POINTERS for path in _strings(rule.get("paths"))):
            return True
    return False


def _is_like(pattern: Any, value: str) -> bool:
    if pattern in (None, ""):
        return True
    try:
        return isinstance(pattern, str) and re.fullmatch(pattern, value) is not None
    except re.error:
        return False


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, Mapping))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, str))
