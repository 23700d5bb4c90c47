from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.guard.gitops import (
    GitopsOwner,
    Tool,
    Verdict,
    changes_spec,
    decide_gitops,
    find_gitops_owner,
)
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView
from vmkit.vm.strategy import RunStrategy

ARGO = GitopsOwner(Tool.ARGO_CD, "shop")
FLUX = GitopsOwner(Tool.FLUX_KUSTOMIZE, "apps", "flux-system")
HELM = GitopsOwner(Tool.FLUX_HELM, "web", "shop")
TRACKED = {"argocd.argoproj.io/tracking-id": "shop:kubevirt.io/VirtualMachine:shop/web-1"}


def view(strategy: RunStrategy = RunStrategy.ALWAYS, **more: Any) -> VmView:
    return VmView(VmRef("shop", "web-1"), run_strategy=strategy, **more)


@pytest.mark.parametrize(
    ("labels", "annotations", "managers", "owner"),
    [
        ({}, {}, set(), None),
        ({}, TRACKED, set(), ARGO),
        (
            {},
            {"argocd.argoproj.io/tracking-id": "apps_shop:x/y:z/w"},
            set(),
            GitopsOwner(Tool.ARGO_CD, "shop", "apps"),
        ),
        ({"argocd.argoproj.io/instance": "shop"}, {}, set(), ARGO),
        ({"app.kubernetes.io/instance": "shop"}, {}, {"Helm"}, None),
        ({"app.kubernetes.io/instance": "shop"}, {}, {"argocd-controller"}, ARGO),
        (
            {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
            {},
            set(),
            FLUX,
        ),
        ({"helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "shop"}, {}, set(), HELM),
    ],
)
def test_owners_are_found_by_the_marks_they_leave(
    labels: dict[str, str], annotations: dict[str, str], managers: set[str], owner: GitopsOwner | None
) -> None:
    found = find_gitops_owner(view(labels=labels, annotations=annotations, managers=frozenset(managers)))
    assert found == owner


@pytest.mark.parametrize(
    ("strategy", "verb", "changes"),
    [
        (RunStrategy.ALWAYS, "stop", True),
        (RunStrategy.ONCE, "stop", True),
        (RunStrategy.HALTED, "start", True),
        (RunStrategy.MANUAL, "stop", False),
        (RunStrategy.RERUN_ON_FAILURE, "start", False),
        (RunStrategy.ALWAYS, "pause", False),
        (RunStrategy.ALWAYS, "restart", False),
        (RunStrategy.MANUAL, "delete", True),
    ],
)
def test_only_some_strategies_are_written_to_the_spec(strategy: RunStrategy, verb: str, changes: bool) -> None:
    assert changes_spec(view(strategy), verb) is changes


def application(
    *,
    automated: dict[str, Any] | None = None,
    ignore: list[dict[str, Any]] | None = None,
    options: list[str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "annotations": annotations or {}},
        "spec": {
            "ignoreDifferences": ignore or [],
            "syncPolicy": {
                **({"automated": automated} if automated is not None else {}),
                "syncOptions": options or [],
            },
        },
    }


HEALS = {"selfHeal": True}
IGNORE = [{"group": "kubevirt.io", "kind": "VirtualMachine", "jsonPointers": ["/spec/runStrategy"]}]
IGNORE_JQ = [{"group": "kubevirt.io", "kind": "VirtualMachine", "jqPathExpressions": [".spec.runStrategy"]}]
IGNORE_OTHER = [
    {"group": "kubevirt.io", "kind": "VirtualMachine", "name": "db-1", "jsonPointers": ["/spec/runStrategy"]}
]
IGNORE_ALL = [{"group": "*", "kind": "*", "managedFieldsManagers": ["virt-api", "vmkit"]}]
RESPECT = ["RespectIgnoreDifferences=true"]


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        (None, Verdict.UNKNOWN),
        (application(), Verdict.DRIFT),
        (application(automated={}), Verdict.DRIFT),
        (application(automated=HEALS), Verdict.FIGHT),
        (application(automated={"selfHeal": True, "enabled": False}), Verdict.DRIFT),
        (application(automated=HEALS, ignore=IGNORE), Verdict.DRIFT),
        (application(automated=HEALS, ignore=IGNORE, options=RESPECT), Verdict.SAFE),
        (application(automated=HEALS, ignore=IGNORE_JQ, options=RESPECT), Verdict.SAFE),
        (application(automated=HEALS, ignore=IGNORE_ALL, options=RESPECT), Verdict.SAFE),
        (application(automated=HEALS, ignore=IGNORE_OTHER, options=RESPECT), Verdict.FIGHT),
        (application(automated=HEALS, annotations={"argocd.argoproj.io/skip-reconcile": "true"}), Verdict.SAFE),
        ({"spec": "nonsense"}, Verdict.DRIFT),
    ],
)
def test_argo_cd(document: dict[str, Any] | None, verdict: Verdict) -> None:
    assert decide_gitops(view(annotations=TRACKED), "stop", ARGO, document).verdict is verdict


def test_a_fight_comes_with_what_ends_it() -> None:
    fight = decide_gitops(view(annotations=TRACKED), "stop", ARGO, application(automated=HEALS))
    assert "ignoreDifferences" in fight.remedy
    assert "RespectIgnoreDifferences=true" in fight.remedy


def test_a_stop_that_writes_no_spec_is_safe_even_where_the_owner_cannot_be_read() -> None:
    assert decide_gitops(view(RunStrategy.MANUAL), "stop", ARGO, None).verdict is Verdict.SAFE


def test_deleting_what_git_keeps_is_undone() -> None:
    assert decide_gitops(view(), "delete", ARGO, application(automated=HEALS)).verdict is Verdict.FIGHT
    assert decide_gitops(view(), "delete", ARGO, application()).verdict is Verdict.DRIFT
    assert decide_gitops(view(), "delete", FLUX, {"spec": {}}).verdict is Verdict.FIGHT


@pytest.mark.parametrize(
    ("annotations", "spec", "verdict"),
    [
        ({}, {}, Verdict.FIGHT),
        ({}, {"suspend": True}, Verdict.SAFE),
        ({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}, {}, Verdict.SAFE),
        ({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, {}, Verdict.SAFE),
        ({"kustomize.toolkit.fluxcd.io/ssa": "Merge"}, {}, Verdict.FIGHT),
    ],
)
def test_flux_kustomizations(annotations: dict[str, str], spec: dict[str, Any], verdict: Verdict) -> None:
    assert decide_gitops(view(annotations=annotations), "stop", FLUX, {"spec": spec}).verdict is verdict


@pytest.mark.parametrize(
    ("spec", "verdict"),
    [
        ({}, Verdict.DRIFT),
        ({"suspend": True}, Verdict.SAFE),
        ({"driftDetection": {"mode": "warn"}}, Verdict.DRIFT),
        ({"driftDetection": {"mode": "enabled"}}, Verdict.FIGHT),
        (
            {
                "driftDetection": {
                    "mode": "enabled",
                    "ignore": [{"paths": ["/spec/runStrategy"], "target": {"kind": "VirtualMachine"}}],
                }
            },
            Verdict.DRIFT,
        ),
    ],
)
def test_flux_helm_releases(spec: dict[str, Any], verdict: Verdict) -> None:
    assert decide_gitops(view(), "stop", HELM, {"spec": spec}).verdict is verdict


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["spec", "syncPolicy", "automated", "selfHeal", "ignoreDifferences", "kind", "group",
                         "jsonPointers", "metadata", "annotations", "driftDetection", "mode", "ignore", "target"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    document=st.dictionaries(st.sampled_from(["spec", "metadata"]), JSON),
    owner=st.sampled_from([ARGO, FLUX, HELM]),
)
def test_no_owner_document_makes_the_verdict_fail(document: dict[str, Any], owner: GitopsOwner) -> None:
    assert decide_gitops(view(), "stop", owner, document).verdict in Verdict
