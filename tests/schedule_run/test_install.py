"""The job works with exactly the rights it is given: without any one of them, something is missing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.power.guillotine import ONCE
from tests.power.vms import manifest
from tests.schedule_run.world import OFFICE, World, codes, world
from vmkit.cli.main import cli
from vmkit.cluster import Session
from vmkit.cluster.resources import (
    APPLICATIONS,
    CEPH_CLUSTERS,
    CUSTOM_RESOURCE_DEFINITIONS,
    HELM_RELEASES,
    KUSTOMIZATIONS,
    SERVICE_ACCOUNTS,
    VIRTUAL_MACHINES,
    Resource,
)
from vmkit.errors import VmkitError
from vmkit.schedule.install import CLUSTER_RULES, InstallOptions, build_manifests
from vmkit.schedule.running import PassOptions, run_pass
from vmkit.schedule.running.switch import Switch
from vmkit.scheduling import PowerHands

MANIFESTS = build_manifests(InstallOptions(image="registry.example/vmkit:1"))
HEALTH = "lab.vmkit.io/ceph-troubles"
SWITCH = Switch("vmkit", "vmkit-switch")
RIGHTS = [("ClusterRole", number, verb) for number, rule in enumerate(CLUSTER_RULES) for verb in rule["verbs"]] + [
    ("Role", 0, "get")
]


def install(shop: World, manifests: list[dict[str, Any]]) -> None:
    for each in manifests:
        shop.session.apply(each)
    shop.session.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "vmkit-switch", "namespace": "vmkit"},
            "data": {"suspend": "false"},
        }
    )
    shop.advance(seconds=5)


def connect_as_the_job(shop: World, folder: Path) -> Session:
    account = shop.session.get(SERVICE_ACCOUNTS, "vmkit-schedule", "vmkit")
    token, _ = shop.lab.call(lambda: shop.lab.world.tokens.issue(account, lifetime=None))
    document = yaml.safe_load(Path(shop.lab.kubeconfig).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return Session.connect(kubeconfig=path, namespace="vmkit", retry=ONCE)


def serve(shop: World, resource: Resource) -> None:
    names = {"plural": resource.plural, "kind": resource.kind, "listKind": f"{resource.kind}List"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": resource.version, "served": True, "storage": True, "schema": schema}
    names["singular"] = resource.kind.lower()
    spec = {"group": resource.group, "names": names, "scope": "Namespaced", "versions": [version]}
    document = {
        "apiVersion": CUSTOM_RESOURCE_DEFINITIONS.api_version,
        "kind": CUSTOM_RESOURCE_DEFINITIONS.kind,
        "metadata": {"name": resource.qualified_name},
        "spec": spec,
    }
    shop.session.create(CUSTOM_RESOURCE_DEFINITIONS, document)
    shop.advance(seconds=5)


def owned(shop: World, name: str, resource: Resource, marks: dict[str, Any], spec: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": "shop"}
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    if not shop.session.serves(resource):
        serve(shop, resource)
    shop.session.create(resource, document, "shop")
    shop.create(name)
    shop.session.patch(VIRTUAL_MACHINES, name, {"metadata": marks})


def create_safe(shop: World, name: str) -> None:
    """One that loses nothing when it is stopped, and has not said that it may."""
    document = manifest(name, "Always", annotations={"vmkit.io/schedule": OFFICE})
    guest = document["spec"]["template"]["spec"]
    guest["volumes"] = []
    guest["domain"]["devices"]["disks"] = []
    guest["domain"]["devices"]["interfaces"][0]["macAddress"] = "02:00:00:00:00:01"
    shop.session.create(VIRTUAL_MACHINES, document)
    shop.advance(minutes=2)


@pytest.fixture
def prepared() -> Iterator[World]:
    with world() as shop:
        flux, helm = "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io"
        owned(
            shop, "argo", APPLICATIONS,
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop_argo:kubevirt.io/VirtualMachine:shop/argo"}},
            {"project": "default", "destination": {"namespace": "shop"}, "source": {"repoURL": "https://git.example"}},
        )  # fmt: skip
        for name, resource, group in (("flux", KUSTOMIZATIONS, flux), ("helm", HELM_RELEASES, helm)):
            marks = {"labels": {f"{group}/name": name, f"{group}/namespace": "shop"}}
            owned(shop, name, resource, marks, {"suspend": True})
        shop.create("app", depends_on="db")
        shop.create("db")
        shop.create("early", "Mon-Fri 07:00-18:00 UTC")
        create_safe(shop, "careful")
        for number in range(10):
            shop.create(f"many-{number}")
        yield shop


def observe(shop: World, folder: Path) -> list[Any]:
    """What the job does and says over a day."""
    seen: list[Any] = []
    with connect_as_the_job(shop, folder) as session:

        def make_a_pass() -> None:
            options = PassOptions(switch=SWITCH, ready_timeout=timedelta(seconds=0.2))
            try:
                seen.append(codes(run_pass(session, PowerHands(session), options)))
            except VmkitError as error:
                seen.append(error.code)

        make_a_pass()
        shop.to(18)
        make_a_pass()
        shop.to(7, days=1)
        make_a_pass()
        shop.to(8)
        for cluster in shop.session.list(CEPH_CLUSTERS):
            metadata = cluster["metadata"]
            sick = {"metadata": {"annotations": {HEALTH: "HEALTH_ERR"}}}
            shop.session.patch(CEPH_CLUSTERS, metadata["name"], sick, metadata["namespace"])
        shop.advance(seconds=30)
        make_a_pass()
    view = shop.look("early")
    seen += [str(view.power), "vmkit.io/last-action" in view.annotations, sorted(shop.events("early"))]
    return seen


def test_the_job_works_with_exactly_these_rights(prepared: World, tmp_path: Path) -> None:
    install(prepared, MANIFESTS)
    first, evening, early, morning, *_ = observe(prepared, tmp_path)
    assert set(first.values()) == {"FirstSight"}
    assert evening == {**dict.fromkeys(first, "ScheduledStop"), "db": "NeedsAnother"}
    assert early["early"] == "ScheduledStart"
    assert {morning[f"many-{number}"] for number in range(10)} == {"StorageUnhealthy"}


@pytest.mark.parametrize(("kind", "number", "verb"), RIGHTS)
def test_without_any_one_right_something_is_missing(
    prepared: World, tmp_path: Path, kind: str, number: int, verb: str
) -> None:
    manifests = copy.deepcopy(MANIFESTS)
    role = next(each for each in manifests if each["kind"] == kind)
    verbs = role["rules"][number]["verbs"]
    verbs.remove(verb)
    if not verbs:
        del role["rules"][number]
    install(prepared, manifests)
    first, evening, early, morning, *last = observe(prepared, tmp_path)
    names = [vm["metadata"]["name"] for vm in prepared.session.list(VIRTUAL_MACHINES, "shop")]
    as_it_should = (
        first == dict.fromkeys(names, "FirstSight")
        and evening == {**dict.fromkeys(names, "ScheduledStop"), "db": "NeedsAnother"}
        and isinstance(early, dict)
        and early.get("early") == "ScheduledStart"
        and isinstance(morning, dict)
        and morning.get("many-0") == "StorageUnhealthy"
        and last[1]
        and bool(last[2])
    )
    assert not as_it_should


def test_the_account_is_confined_and_the_pod_unprivileged() -> None:
    kinds = [each["kind"] for each in MANIFESTS]
    assert kinds == [
        "Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "NetworkPolicy", "CronJob",
    ]  # fmt: skip
    pod = MANIFESTS[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    result = CliRunner().invoke(
        cli, ["install", "schedule", "--image", "registry.example/vmkit:1", "--", "--enforce"]
    )
    assert result.exit_code == 0
    job = list(yaml.safe_load_all(result.output))[-1]
    command = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[-1] == "--enforce"
    # The command is one that vmkit takes.
    shown = CliRunner().invoke(cli, [*command[1:], "--help"])
    assert shown.exit_code == 0
    assert CliRunner().invoke(cli, ["install", "schedule", "--image", "x", "--every", "7"]).exit_code == 2
