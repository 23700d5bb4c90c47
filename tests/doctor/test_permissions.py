"""Rights are asked about as an account that lacks some would meet them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.power import vms
from vmkit.api import Vmkit
from vmkit.cluster import Session
from vmkit.cluster.resources import SERVICE_ACCOUNTS
from vmkit.doctor import Severity, examine
from vmkit.doctor.checks.permissions import COMMANDS
from vmkit.idle.install import InstallOptions, build_manifests
from vmkit.lab import Lab
from vmkit.lab.faults import Fault


@pytest.fixture
def job(lab: Lab, session: Session, namespace: str, tmp_path: Path) -> Iterator[Session]:
    """A session as the account that ``vmkit install stop-idle`` makes."""
    manifests = build_manifests(InstallOptions(image="registry.example/vmkit:1", namespace=namespace))
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    for manifest in manifests:
        if manifest["kind"] in kinds:
            session.apply(manifest)
    account = session.get(SERVICE_ACCOUNTS, "vmkit-stop-idle")
    token, _ = lab.call(lambda: lab.world.tokens.issue(account, lifetime=None))
    document = yaml.safe_load(Path(lab.kubeconfig).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with Session.connect(kubeconfig=path, namespace=namespace) as one:
        yield one


def test_what_is_installed_may_do_what_it_is_for(job: Session) -> None:
    found = examine(job, checks=["permissions"], commands=["stop-idle"]).findings
    assert [(one.kind.id, one.target) for one in found] == [("permissions.allowed", "stop-idle")]


def test_each_missing_rule_is_named_with_its_yaml(job: Session) -> None:
    found = examine(job, checks=["permissions"], commands=["schedule"]).findings
    assert {one.kind.id for one in found} == {"permissions.missing"}
    assert all(one.severity is Severity.PROBLEM for one in found)
    (start,) = (one for one in found if "virtualmachines/start" in one.what)
    assert yaml.safe_load(start.mend) == [
        {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/start"], "verbs": ["update"]}
    ]
    assert not any("virtualmachines/stop" in one.what for one in found)  # stopping is what it may


def test_what_nobody_asked_for_is_no_problem(job: Session) -> None:
    found = examine(job, checks=["permissions"]).findings
    limited = {one.target: one for one in found if one.kind.id == "permissions.limited"}
    assert "delete" in limited
    assert "--for delete" in limited["delete"].mend
    assert max(one.severity.rank for one in found) == Severity.INFO.rank


def test_reviews_that_are_not_answered_leave_it_unknown() -> None:
    # The first review is that by which the whole run learns whether anybody is let in.
    with Lab(seed=2, nodes=1) as lab, Session.connect(kubeconfig=lab.kubeconfig) as session:
        fault = Fault("error", status=403, resources=["selfsubjectaccessreviews"], skip=1)
        lab.call(lambda: lab.faults.add(fault))
        found = examine(session, checks=["permissions"]).findings
    assert [one.kind.id for one in found] == ["permissions.unknown"]


def _allow(lab: Lab, session: Session, namespace: str, command: str, folder: Path) -> Path:
    """A kubeconfig of an account that is allowed what the doctor says a command needs, and nothing else."""
    group, name = "rbac.authorization.k8s.io", f"only-{command}"
    account = session.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    unique = f"{namespace}-{name}"
    rules = [dict(rule) for rule in COMMANDS[command]]
    session.apply(
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": unique}, "rules": rules}
    )
    session.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": unique},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
    )
    token, _ = lab.call(lambda: lab.world.tokens.issue(account, lifetime=None))
    document = yaml.safe_load(Path(lab.kubeconfig).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    path = folder / f"{command}.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_the_rules_of_power_are_enough_for_its_verbs(
    lab: Lab, session: Session, namespace: str, tmp_path: Path
) -> None:
    (ref,) = vms.create_running(session, vms.manifest("worker", "Manual"))
    path = _allow(lab, session, namespace, "power", tmp_path)
    with Vmkit.connect(kubeconfig=path, namespace=namespace) as vk:
        for verb in ("live_migrate", "pause", "unpause", "restart", "stop", "start"):
            result = getattr(vk, verb)(ref, wait=True)
            assert result.ok, (verb, [str(one.error) for one in result.outcomes])


def test_the_rules_of_get_and_delete_are_enough(
    lab: Lab, session: Session, namespace: str, tmp_path: Path
) -> None:
    vms.create_running(session, vms.manifest("gone", "Manual", disk=True))
    with Vmkit.connect(kubeconfig=_allow(lab, session, namespace, "get", tmp_path), namespace=namespace) as vk:
        assert [vm.ref.name for vm in vk.get()] == ["gone"]
        vk.describe("gone")
    with Vmkit.connect(kubeconfig=_allow(lab, session, namespace, "delete", tmp_path), namespace=namespace) as vk:
        result = vk.delete("gone", wait=True)
        assert result.ok, [str(one.error) for one in result.outcomes]


def test_the_rules_of_create_are_enough(lab: Lab, session: Session, namespace: str, tmp_path: Path) -> None:
    path = _allow(lab, session, namespace, "create", tmp_path)
    # What belongs to no namespace needs a binding of its own.
    group, name = "rbac.authorization.k8s.io", f"{namespace}-only-create"
    subject = {"kind": "ServiceAccount", "name": "only-create", "namespace": namespace}
    session.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [subject],
        }
    )
    with Vmkit.connect(kubeconfig=path, namespace=namespace) as vk:
        found = examine(vk.session, checks=["permissions"], commands=["create"]).findings
        assert [one.kind.id for one in found] == ["permissions.allowed"]
        result = vk.create("fresh", template="debian", wait=True)
        assert result.ok, [str(one.error) for one in result.outcomes]
