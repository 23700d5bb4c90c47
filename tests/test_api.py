"""The Python side: the same capabilities as the command line, called from a program."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.power.vms import create, create_running, manifest, stopped, wait_until
from vmkit import Vmkit
from vmkit.cluster import Session
from vmkit.errors import ConfigError, ExitCode, LimitExceeded, NotConfirmed, TemplateError, UsageError
from vmkit.lab import Lab
from vmkit.plan.model import Outcome, Plan, Status
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def vk(lab: Lab, namespace: str) -> Iterator[Vmkit]:
    with Vmkit.connect(kubeconfig=lab.kubeconfig, namespace=namespace) as one:
        yield one


def test_names_are_texts_or_references(vk: Vmkit, session: Session, namespace: str) -> None:
    (ref,) = create_running(session, manifest("web-1"))
    assert vk.stop("web-1", wait=True).counts == {"changed": 1}
    assert vk.stop(f"{namespace}/web-1").counts == {"unchanged": 1}
    assert vk.stop(VmRef(namespace, "web-1")).counts == {"unchanged": 1}
    assert [vm.power for vm in vk.get(ref)] == [PowerState.STOPPED]


def test_what_happens_to_one_object_is_in_the_result_and_not_raised(vk: Vmkit) -> None:
    result = vk.start("web-9")
    assert (result.exit_code, [outcome.status for outcome in result.outcomes]) == (
        ExitCode.CLUSTER,
        [Status.FAILED],
    )
    assert vk.get("web-9").exit_code is ExitCode.CLUSTER


def test_nothing_named_is_never_everything(vk: Vmkit, session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1"))
    names: list[str] = []
    for call in (vk.stop, vk.start, vk.delete):
        with pytest.raises(UsageError, match="no VM is named"):
            call(*names)
    with pytest.raises(UsageError, match="not both"):
        vk.stop("web-1", everything=True)
    assert vk.get(ref).vms[0].alive
    assert vk.stop(everything=True, wait=True).counts == {"changed": 1}


def test_callbacks_are_told_and_can_prevent(vk: Vmkit, session: Session) -> None:
    create_running(session, manifest("web-1"), manifest("web-2"))
    told: list[Outcome] = []

    def refuse(plan: Plan) -> None:
        assert len(plan) == 2
        raise NotConfirmed("no")

    with pytest.raises(NotConfirmed):
        vk.stop(everything=True, confirm=refuse, on_outcome=told.append)
    assert told == []
    with pytest.raises(LimitExceeded):
        vk.stop(everything=True, max_changes=1)
    result = vk.stop(everything=True, on_outcome=told.append, max_changes=2)
    assert sorted(told, key=str) == sorted(result.outcomes, key=str)


def test_an_argument_nobody_knows_is_named(vk: Vmkit) -> None:
    with pytest.raises(UsageError, match="graze_seconds"):
        vk.stop("web-1", graze_seconds=5)  # type: ignore[call-arg]


def test_get_is_a_sequence_of_views(vk: Vmkit, session: Session, namespace: str) -> None:
    refs = create(session, manifest("web-1", labels={"app": "web"}), manifest("db-1"))
    wait_until(session, refs, stopped)
    found = vk.get(selector="app=web")
    assert len(found) == 1
    assert [vm.ref for vm in found] == [VmRef(namespace, "web-1")]
    assert {vm.ref.namespace for vm in vk.get(all_namespaces=True)} >= {namespace}
    assert sorted(vk.vm_names()) == ["db-1", "web-1"]
    assert namespace in list(vk.namespaces())


def test_describe_brings_what_belongs_to_a_vm(vk: Vmkit, session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", disk=True))
    (description,) = vk.describe(ref).vms
    assert description.disks[0].phase == "Succeeded"
    assert description.events
    assert description.gitops is None
    assert abs(vk.now - max(event.at for event in description.events if event.at)) < timedelta(hours=1)


def test_vms_are_created_from_templates(vk: Vmkit, session: Session, namespace: str) -> None:
    result = vk.create("web", template="debian", set={"cpu": 2}, count=2, wait=True)
    assert [str(outcome.target) for outcome in result.outcomes if outcome.ok] == [
        f"VirtualMachine {namespace}/web-1",
        f"VirtualMachine {namespace}/web-2",
    ]
    again = vk.create("web", template="debian", set={"cpu": 2}, count=2)
    assert again.counts == {"unchanged": 2}
    assert {vm.cpu_cores for vm in vk.get()} == {2}
    with pytest.raises(UsageError, match="no VM is asked for"):
        vk.create()
    with pytest.raises(TemplateError, match="no template 'debain'"):
        vk.create("x", template="debain")


def test_vms_are_cloned(vk: Vmkit, namespace: str) -> None:
    vk.create("web-1", template="debian", wait=True)
    result = vk.clone("web-1", "copy", run_strategy="Halted")
    assert result.ok, result.outcomes
    assert [vm.ref.name for vm in vk.get()] == ["copy", "web-1"]


def test_templates_need_no_cluster(tmp_path: Path) -> None:
    assert "debian" in Vmkit.templates().names()
    (tmp_path / "mine.yaml").write_text("apiVersion: vmkit.io/v1\n")
    assert "mine" in Vmkit.templates(tmp_path).names()


def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("clusters: [")
    with pytest.raises(ConfigError, match="config"):
        Vmkit.connect(kubeconfig=path)


def test_templates_are_checked_rendered_and_made_without_a_cluster() -> None:
    assert [finding for finding in Vmkit.lint("debian") if finding.severity == "error"] == []
    [vm] = [each for each in Vmkit.render("web-1", "debian", set={"cpu": 3}) if each["kind"] == "VirtualMachine"]
    assert vm["spec"]["template"]["spec"]["domain"]["cpu"]["sockets"] == 3
    imported = Vmkit.import_template(vm, name="mine")
    assert imported.name == "mine"
    assert "kind: Template" in imported.text
