"""Passes over VMs that a GitOps tool keeps: nobody is fought, and the way out is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.power.vms import manifest
from tests.schedule_run.test_install import owned
from tests.schedule_run.world import OFFICE, World, codes
from vmkit.cli.main import cli
from vmkit.cluster.resources import APPLICATIONS, CONFIG_MAPS, HELM_RELEASES, KUSTOMIZATIONS, VIRTUAL_MACHINES
from vmkit.errors import UsageError
from vmkit.plan import Result, Status
from vmkit.schedule.vetoes import Policy

SAFE = {"vmkit.io/schedule": OFFICE, "vmkit.io/restart-safe": "true"}
KUSTOMIZE, HELM = "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"


def commit(shop: World, *, self_heal: bool | None) -> None:
    """A VM in Git, and an Application over it; ``self_heal`` None: synced by hand alone."""
    vm = manifest("web", "Always", annotations=SAFE)
    data = {"web.json": json.dumps(vm)}
    metadata = {"name": "shop", "namespace": "argocd"}
    shop.session.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    policy = {} if self_heal is None else {"automated": {"prune": False, "selfHeal": self_heal}}
    application = {
        "apiVersion": APPLICATIONS.api_version,
        "kind": "Application",
        "metadata": metadata,
        "spec": {
            "destination": {"namespace": "shop", "server": "https://kubernetes.default.svc"},
            "project": "default",
            "source": {"path": ".", "repoURL": "lab://argocd/shop", "targetRevision": "HEAD"},
            "syncPolicy": policy,
        },
    }
    shop.session.create(APPLICATIONS, application)
    shop.advance(minutes=3)
    assert str(shop.look("web").power) == "Running"
    shop.run()
    shop.to(18)


def remedy_of(result: Result) -> dict[str, Any]:
    """The YAML that a notice prints."""
    [text] = [notice for notice in result.notices if "makes it safe" in notice]
    document = yaml.safe_load(text.partition(":\n")[2])
    assert isinstance(document, dict)
    return document


def test_a_fight_is_refused_with_the_yaml_that_ends_it_and_that_yaml_ends_it(shop: World) -> None:
    commit(shop, self_heal=True)
    result = shop.run()
    assert codes(result) == {"web": "GitOpsFight"}
    assert [outcome.status for outcome in result.outcomes] == [Status.REFUSED]
    assert shop.power("web") == "Running"
    shop.session.patch(APPLICATIONS, "shop", remedy_of(result), "argocd")
    assert codes(shop.run()) == {"web": "ScheduledStop"}
    shop.advance(minutes=30)
    assert shop.power("web") == "Stopped"  # Argo CD has had half an hour to mind.
    shop.to(8, days=1)
    assert codes(shop.run()) == {"web": "ScheduledStart"}
    assert shop.power("web") == "Running"


def test_a_stop_that_was_reverted_is_not_repeated_for_that_transition(shop: World) -> None:
    commit(shop, self_heal=True)
    policy = Policy(despite_gitops=True)
    assert codes(shop.run(policy=policy)) == {"web": "ScheduledStop"}
    assert shop.power("web") == "Running"  # Argo CD has started it again.
    for _ in range(4):
        shop.advance(minutes=10)
        assert not [outcome for outcome in shop.run(policy=policy).outcomes if outcome.verb == "stop"]
    assert shop.power("web") == "Running"
    shop.to(18, days=1)
    assert codes(shop.run(policy=policy)) == {"web": "ScheduledStop"}  # The next one counts again.


def test_with_drift_a_stop_is_done_with_notice_and_a_start_is_not(shop: World) -> None:
    commit(shop, self_heal=False)
    stopped = shop.run()
    assert codes(stopped) == {"web": "ScheduledStop"}
    assert any("will report the stop as drift" in notice for notice in stopped.notices)
    assert shop.power("web") == "Stopped"
    shop.to(8, days=1)
    morning = shop.run()
    assert codes(morning) == {"web": "GitOpsDrift"}
    assert shop.power("web") == "Stopped"
    shop.session.patch(APPLICATIONS, "shop", remedy_of(morning), "argocd")
    assert codes(shop.run()) == {"web": "ScheduledStart"}


def test_an_application_that_cannot_be_read_counts_as_a_fight(shop: World) -> None:
    shop.create("web")
    tracking = "elsewhere:kubevirt.io/VirtualMachine:shop/web"
    marks = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": tracking}}}
    shop.session.patch(VIRTUAL_MACHINES, "web", marks)
    shop.run()
    shop.to(18)
    result = shop.run()
    assert codes(result) == {"web": "GitOpsUnknown"}
    assert [outcome.status for outcome in result.outcomes] == [Status.REFUSED]
    assert shop.power("web") == "Running"


@pytest.mark.parametrize("self_heal", [True, False])
def test_enforcing_where_git_disagrees_is_a_usage_error_and_changes_nothing(shop: World, self_heal: bool) -> None:
    commit(shop, self_heal=self_heal)
    before = shop.session.get(VIRTUAL_MACHINES, "web")
    with pytest.raises(UsageError, match="would never end"):
        shop.run(policy=Policy(enforce=True))
    arguments = ["schedule", "run", "--enforce", "--yes", "-n", "shop", "--kubeconfig", shop.lab.kubeconfig]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 2
    assert "leave --enforce out" in shown.output
    assert shop.session.get(VIRTUAL_MACHINES, "web") == before


def rule(*paths: str, **target: str) -> dict[str, Any]:
    return {"paths": list(paths), **({"target": target} if target else {})}


STRATEGY = "/spec/runStrategy"
FLUX = [
    # (the Flux object's spec, the VM's annotations, what the pass says)
    (KUSTOMIZATIONS, {}, {}, "GitOpsFight"),
    (KUSTOMIZATIONS, {"suspend": True}, {}, "ScheduledStop"),
    (KUSTOMIZATIONS, {}, {f"{KUSTOMIZE}/reconcile": "disabled"}, "ScheduledStop"),
    (KUSTOMIZATIONS, {}, {f"{KUSTOMIZE}/ssa": "IfNotPresent"}, "ScheduledStop"),
    (KUSTOMIZATIONS, {}, {f"{KUSTOMIZE}/ssa": "Ignore"}, "ScheduledStop"),
    (KUSTOMIZATIONS, {}, {f"{KUSTOMIZE}/ssa": "Merge"}, "GitOpsFight"),
    (KUSTOMIZATIONS, {"ignore": [rule(STRATEGY)]}, {}, "ScheduledStop"),
    (KUSTOMIZATIONS, {"ignore": [rule(STRATEGY, kind="Virtual.*", name="w.b")]}, {}, "ScheduledStop"),
    (KUSTOMIZATIONS, {"ignore": [rule(STRATEGY, kind="Deployment")]}, {}, "GitOpsFight"),
    (KUSTOMIZATIONS, {"ignore": [rule(STRATEGY, labelSelector="a=b")]}, {}, "GitOpsFight"),
    (KUSTOMIZATIONS, {"ignore": [rule("/spec/replicas")]}, {}, "GitOpsFight"),
    (KUSTOMIZATIONS, {"ignore": [rule(STRATEGY, name="(")]}, {}, "GitOpsFight"),
    (HELM_RELEASES, {"driftDetection": {"mode": "enabled"}}, {}, "GitOpsFight"),
    (HELM_RELEASES, {"driftDetection": {"mode": "enabled"}, "suspend": True}, {}, "ScheduledStop"),
    (HELM_RELEASES, {"driftDetection": {"mode": "warn"}}, {}, "drift"),
    (HELM_RELEASES, {}, {}, "drift"),
    (HELM_RELEASES, {"driftDetection": {"mode": "enabled", "ignore": [rule(STRATEGY)]}}, {}, "drift"),
    (HELM_RELEASES, {"driftDetection": {"mode": "enabled", "ignore": [rule("/x")]}}, {}, "GitOpsFight"),
]


@pytest.mark.parametrize(("resource", "spec", "annotations", "said"), FLUX, ids=str)
def test_flux(shop: World, resource: Any, spec: Any, annotations: Any, said: str) -> None:
    labels = {f"{resource.group}/name": "web", f"{resource.group}/namespace": "shop"}
    owned(shop, "web", resource, {"labels": labels, "annotations": annotations}, spec)
    shop.run()
    shop.to(18)
    result = shop.run()
    assert codes(result) == {"web": "ScheduledStop" if said == "drift" else said}
    assert any("as drift" in notice for notice in result.notices) is (said == "drift")
    assert shop.power("web") == ("Running" if said == "GitOpsFight" else "Stopped")


@pytest.mark.parametrize(
    ("resource", "spec"), [(KUSTOMIZATIONS, {}), (HELM_RELEASES, {"driftDetection": {"mode": "enabled"}})], ids=str
)
def test_the_yaml_for_flux_lets_the_stop_through(shop: World, resource: Any, spec: Any) -> None:
    labels = {f"{resource.group}/name": "web", f"{resource.group}/namespace": "shop"}
    owned(shop, "web", resource, {"labels": labels}, spec)
    shop.run()
    shop.to(18)
    fought = shop.run()
    assert codes(fought) == {"web": "GitOpsFight"}
    shop.session.patch(resource, "web", remedy_of(fought), "shop")
    assert codes(shop.run()) == {"web": "ScheduledStop"}


def test_the_command_refuses_a_fight_shows_the_yaml_and_says_so_by_its_code(shop: World) -> None:
    commit(shop, self_heal=True)
    arguments = ["schedule", "run", "--yes", "-n", "shop", "--kubeconfig", shop.lab.kubeconfig]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 1
    assert "ignoreDifferences:" in shown.output
    assert "RespectIgnoreDifferences=true" in shown.output
    assert CliRunner().invoke(cli, [*arguments, "--despite-gitops"]).exit_code == 0
