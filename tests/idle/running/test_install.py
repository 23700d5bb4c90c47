"""The job works with exactly the rights it is given: without any one of them, something is missing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.idle.running.world import SHOP, World, codes, world
from tests.power.guillotine import ONCE
from vmkit.cli.main import cli
from vmkit.cluster import Session
from vmkit.cluster.resources import (
    APPLICATIONS,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    ENDPOINT_SLICES,
    HELM_RELEASES,
    KUSTOMIZATIONS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VIRTUAL_MACHINES,
    Resource,
)
from vmkit.errors import Forbidden, Invalid, VmkitError
from vmkit.idle.install import CLUSTER_RULES, OWN_RULES, InstallOptions, build_manifests
from vmkit.idle.running import IdleOptions, Scope, run_idle
from vmkit.idling import IdleHands
from vmkit.metrics.summary import Signal
from vmkit.units import Limit

MANIFESTS = build_manifests(InstallOptions(image="registry.example/vmkit:1", stop=True))
RIGHTS = [
    (kind, number, verb)
    for kind, rules in (("ClusterRole", CLUSTER_RULES), ("Role", OWN_RULES))
    for number, rule in enumerate(rules)
    for verb in rule["verbs"]
]


def install(shop: World, manifests: list[dict[str, Any]]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            shop.session.apply(manifest)
    shop.advance(seconds=5)


def connect_as_the_job(shop: World, folder: Path) -> Session:
    account = shop.session.get(SERVICE_ACCOUNTS, "vmkit-stop-idle", "vmkit")
    token, _ = shop.lab.call(lambda: shop.lab.world.tokens.issue(account, lifetime=None))
    document = yaml.safe_load(Path(shop.lab.kubeconfig).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return Session.connect(kubeconfig=path, namespace="vmkit", retry=ONCE)


def owned(shop: World, name: str, resource: Resource, marks: dict[str, Any], spec: dict[str, Any]) -> None:
    names = {"plural": resource.plural, "kind": resource.kind, "listKind": f"{resource.kind}List"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": resource.version, "served": True, "storage": True, "schema": schema}
    names["singular"] = resource.kind.lower()
    group = {"group": resource.group, "names": names, "scope": "Namespaced", "versions": [version]}
    if not shop.session.serves(resource):
        shop.session.create(
            CUSTOM_RESOURCE_DEFINITIONS,
            {
                "apiVersion": CUSTOM_RESOURCE_DEFINITIONS.api_version,
                "kind": CUSTOM_RESOURCE_DEFINITIONS.kind,
                "metadata": {"name": resource.qualified_name},
                "spec": group,
            },
        )
        shop.advance(seconds=5)
    metadata = {"name": name, "namespace": SHOP}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    shop.session.create(resource, document, SHOP)
    shop.create(name, days=0)
    shop.session.patch(VIRTUAL_MACHINES, name, {"metadata": marks})


@pytest.fixture
def prepared() -> Iterator[World]:
    with world() as shop:
        flux, helm = "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"
        owned(
            shop, "argo", APPLICATIONS,
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop_argo:kubevirt.io/VirtualMachine:shop/argo"}},
            {"project": "default", "destination": {"namespace": SHOP}, "source": {"repoURL": "https://git.example"}},
        )  # fmt: skip
        for name, resource, group in (("flux", KUSTOMIZATIONS, flux), ("helm", HELM_RELEASES, helm)):
            marks = {"labels": {f"{group}/name": name, f"{group}/namespace": SHOP}}
            owned(shop, name, resource, marks, {"suspend": True})
        shop.create("front", "web", days=0)
        by_hand = {"metadata": {"name": "by-hand"}, "spec": {"ports": [{"port": 80}]}}
        shop.session.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **by_hand})
        shop.session.create(
            ENDPOINT_SLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [shop.look("front").addresses[0]]}],
                "ports": [{"port": 80}],
            },
        )
        shop.source.levels["front"] = {Signal.NETWORK: 5000.0}
        shop.advance(days=90)
        yield shop


def observe(shop: World, folder: Path) -> list[Any]:
    """What the job does and says over three runs, a day apart."""
    seen: list[Any] = []
    with connect_as_the_job(shop, folder) as session:
        for _ in range(3):
            options = IdleOptions(Scope(), max_stops=Limit(percent=100))
            try:
                found = run_idle(session, IdleHands(session), shop.source, options)
                done = sorted((each.target.name, each.verb, str(each.status)) for each in found.result.outcomes)
                seen.append((codes(found), done, [each for each in found.result.notices if "undo" not in each]))
            except VmkitError as error:
                seen.append(error.code)
            shop.advance(days=1)
    seen.append(sorted(shop.events("web")))
    maps = {each["metadata"]["name"]: each for each in shop.session.list(CONFIG_MAPS, "vmkit")}
    seen.append(sorted(name for name in maps if name.startswith("vmkit-")))
    return seen


IDLE = ["argo", "flux", "helm", "web"]
AS_IT_SHOULD_BE = [
    (
        {**dict.fromkeys(IDLE, "MarkedIdle"), "front": "ServiceTraffic"},
        [(name, "mark", "changed") for name in IDLE],
        [],
    ),
    (
        {**dict.fromkeys(IDLE, "StoppedIdle"), "front": "ServiceTraffic"},
        [(name, "stop", "changed") for name in IDLE],
        [],
    ),
    ({**dict.fromkeys(IDLE, "NotRunning"), "front": "ServiceTraffic"}, [], []),
    ["MarkedIdle", "StoppedIdle"],
    ["vmkit-ledger-2026-05", "vmkit-stop-idle"],
]


def test_the_job_works_with_exactly_these_rights(prepared: World, tmp_path: Path) -> None:
    install(prepared, MANIFESTS)
    assert observe(prepared, tmp_path) == AS_IT_SHOULD_BE


@pytest.mark.parametrize(("kind", "number", "verb"), RIGHTS)
def test_without_any_one_right_something_is_missing(
    prepared: World, tmp_path: Path, kind: str, number: int, verb: str
) -> None:
    manifests = copy.deepcopy(MANIFESTS)
    role = next(manifest for manifest in manifests if manifest["kind"] == kind)
    verbs = role["rules"][number]["verbs"]
    verbs.remove(verb)
    if not verbs:
        del role["rules"][number]
    install(prepared, manifests)
    assert observe(prepared, tmp_path) != AS_IT_SHOULD_BE


def test_the_account_may_not_change_what_is_not_vmkit_s(shop: World, tmp_path: Path) -> None:
    shop.create("web", days=0)
    install(shop, MANIFESTS)
    with connect_as_the_job(shop, tmp_path) as session:
        for change in (
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"annotations": {"example.com/a": "b"}}},
            {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}},
        ):
            with pytest.raises((Forbidden, Invalid)):
                session.patch(VIRTUAL_MACHINES, "web", change, SHOP)
        session.patch(VIRTUAL_MACHINES, "web", {"metadata": {"annotations": {"vmkit.io/idle-notice": "x"}}}, SHOP)


def test_the_manifests_say_a_command_that_vmkit_takes() -> None:
    kinds = [manifest["kind"] for manifest in MANIFESTS]
    assert kinds == [
        "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "NetworkPolicy", "CronJob",
    ]  # fmt: skip

    def command_of(*arguments: str) -> list[str]:
        result = CliRunner().invoke(cli, ["install", "stop-idle", "--image", "vmkit:1", *arguments])
        assert result.exit_code == 0, result.output
        job = list(yaml.safe_load_all(result.output))[-1]
        assert job["spec"]["schedule"].endswith(" * * * *")
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        command: list[str] = pod["containers"][0]["command"]
        assert CliRunner().invoke(cli, [*command[1:], "--help"]).exit_code == 0
        return command

    assert "--yes" not in command_of()
    command = command_of("--stop", "--everything", "--", "--notice", "48h")
    assert {"--yes", "--all-namespaces", "48h"} <= set(command)
    assert CliRunner().invoke(cli, ["install", "stop-idle", "--image", "x", "--minute", "77"]).exit_code == 2
    ruled = CliRunner().invoke(cli, ["install", "stop-idle", "--image", "x", "--recording-rules"])
    assert "kind: PrometheusRule" in ruled.output
