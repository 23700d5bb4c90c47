"""The admission policy confines the account to vmkit's annotations and the run strategy, whatever roles allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.power.vms import manifest
from tests.schedule_run.test_install import MANIFESTS, connect_as_the_job, install
from tests.schedule_run.world import World, world
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.errors import Forbidden, VmkitError

POLICY = "ValidatingAdmissionPolicy"


@pytest.fixture(scope="module")
def installed() -> Iterator[World]:
    with world() as shop:
        install(shop, MANIFESTS)
        # Its own roles do not let it make VMs at all; the policy is to hold where somebody gives it more.
        shop.session.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "more-than-it-needs"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [{"kind": "ServiceAccount", "name": "vmkit-schedule", "namespace": "vmkit"}],
            }
        )
        shop.create("web", labels={"app": "web"}, foreign="kept")
        shop.session.patch(VIRTUAL_MACHINES, "web", {"metadata": {"annotations": {"team.example/owner": "ada"}}})
        shop.create("bare", schedule=None, safe=False)
        yield shop


@pytest.fixture
def account(installed: World, tmp_path: Any) -> Iterator[Session]:
    with connect_as_the_job(installed, tmp_path) as session:
        yield session


def annotate(**marks: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {key.replace("__", "/"): text for key, text in marks.items()}}}


ALLOWED = [
    annotate(**{"vmkit.io/schedule-state": "{}"}),
    annotate(**{"vmkit.io/foreign": None}),
    {"spec": {"runStrategy": "Halted"}},
    {"spec": {"runStrategy": "Always"}},
    {"spec": {"runStrategy": None, "running": True}},
    {"spec": {"runStrategy": "Always", "running": None}, **annotate(**{"vmkit.io/last-action": "x"})},
]
DENIED = [
    (annotate(**{"team.example/owner": "eve"}), "write no annotations but vmkit.io/"),
    (annotate(**{"team.example/owner": None}), "write no annotations but vmkit.io/"),
    (annotate(**{"kubevirt.io/other": "x"}), "write no annotations but vmkit.io/"),
    (annotate(**{"vmkit.iox": "x"}), "write no annotations but vmkit.io/"),
    ({"spec": {"template": {"spec": {"hostname": "other"}}}}, "nothing of a VM's spec but its run strategy"),
    (
        {"spec": {"runStrategy": "Halted", "template": {"metadata": {"labels": {"a": "b"}}}}},
        "nothing of a VM's spec but its run strategy",
    ),
    ({"spec": {"instancetype": {"name": "large"}}}, "nothing of a VM's spec but its run strategy"),
    ({"spec": {"updateVolumesStrategy": "Replacement"}}, "nothing of a VM's spec but its run strategy"),
    ({"metadata": {"labels": {"app": "other"}}}, "may not change labels, finalizers or owners"),
    ({"metadata": {"labels": None}}, "may not change labels, finalizers or owners"),
    ({"metadata": {"finalizers": ["a.example/b"]}}, "may not change labels, finalizers or owners"),
    (
        {
            "metadata": {
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1-2-3"}]
            }
        },
        "may not change labels, finalizers or owners",
    ),
]


@pytest.mark.parametrize("name", ["web", "bare"])
@pytest.mark.parametrize("change", ALLOWED, ids=str)
def test_vmkits_annotations_and_the_run_strategy_may_be_written(
    account: Session, name: str, change: dict[str, Any]
) -> None:
    account.patch(VIRTUAL_MACHINES, name, change, "shop")


@pytest.mark.parametrize(("change", "why"), DENIED, ids=str)
def test_every_other_change_is_denied_to_the_account_and_to_nobody_else(
    installed: World, account: Session, change: dict[str, Any], why: str
) -> None:
    before = installed.session.get(VIRTUAL_MACHINES, "web")
    with pytest.raises(Forbidden, match="ValidatingAdmissionPolicy 'vmkit-schedule'") as caught:
        account.patch(VIRTUAL_MACHINES, "web", change, "shop")
    assert why in caught.value.message
    assert installed.session.get(VIRTUAL_MACHINES, "web") == before
    if "instancetype" not in change.get("spec", {}):  # There is none of that name.
        installed.session.patch(VIRTUAL_MACHINES, "web", change, "shop", dry_run=True)


def test_it_makes_no_vms(installed: World, account: Session) -> None:
    with pytest.raises(Forbidden, match="schedules make no VMs"):
        account.create(VIRTUAL_MACHINES, manifest("new", "Halted"), "shop")
    installed.session.create(VIRTUAL_MACHINES, manifest("new", "Halted"), "shop", dry_run=True)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_any_one_validation_something_gets_through(
    installed: World, account: Session, number: int
) -> None:
    policy = next(each for each in MANIFESTS if each["kind"] == POLICY)
    kept = [each for index, each in enumerate(policy["spec"]["validations"]) if index != number]
    installed.session.apply({**policy, "spec": {**policy["spec"], "validations": kept}})
    try:
        passed = [change for change, _ in DENIED if passes(account, change)]
    finally:
        installed.session.apply(policy)
    assert passed


def passes(account: Session, change: dict[str, Any]) -> bool:
    try:
        account.patch(VIRTUAL_MACHINES, "web", change, "shop", dry_run=True)
    except VmkitError:
        return False
    return True
