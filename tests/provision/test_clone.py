"""Cloning: the spec under a new name, the disks copied, the identity left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vmkit.cluster import Session
from vmkit.cluster.resources import DATA_VOLUMES, SECRETS, VIRTUAL_MACHINES, VOLUME_SNAPSHOTS
from vmkit.errors import NotFound, UsageError
from vmkit.plan.model import Status
from vmkit.provision.catalog import Catalog
from vmkit.provision.clone import CloneRequest, run_clone
from vmkit.provision.create import run_create
from vmkit.provision.options import CreateOptions
from vmkit.provision.request import CreateRequest
from vmkit.vm.reference import VmRef

CATALOG = Catalog(project=Path("/nonexistent"), user=Path("/nonexistent"))
WAIT = CreateOptions(wait=True, timeout_seconds=60)


def make(session: Session, name: str, strategy: str) -> VmRef:
    answers = {"image": "blank", "run_strategy": strategy, "password": "correct-horse"}
    result = run_create(session, [CreateRequest(name, "debian", answers=answers)], WAIT, catalog=CATALOG)
    assert result.ok, result.to_dict()
    return VmRef(session.namespace, name)


def interface(vm: dict[str, Any]) -> dict[str, Any]:
    return vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][0]


def test_a_stopped_vm_is_cloned_from_its_claims(session: Session):
    source = make(session, "one", "Halted")
    result = run_clone(session, CloneRequest(source, "two"), WAIT)
    assert [outcome.status for outcome in result.outcomes] == [Status.CHANGED], result.to_dict()
    one, two = session.get(VIRTUAL_MACHINES, "one"), session.get(VIRTUAL_MACHINES, "two")
    disk = two["spec"]["dataVolumeTemplates"][0]
    assert disk["metadata"]["name"] == "two-root"
    assert disk["spec"]["source"] == {"pvc": {"namespace": session.namespace, "name": "one-root"}}
    assert interface(one)["macAddress"] != interface(two)["macAddress"]
    assert (
        one["spec"]["template"]["spec"]["domain"]["firmware"]["uuid"]
        != (two["spec"]["template"]["spec"]["domain"]["firmware"]["uuid"])
    )
    assert session.get(DATA_VOLUMES, "two-root")["status"]["phase"] == "Succeeded"
    secret = session.get(SECRETS, "two-cloudinit")
    assert secret["data"] == session.get(SECRETS, "one-cloudinit")["data"]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == two["metadata"]["uid"]


def test_a_running_vm_is_cloned_from_snapshots(session: Session):
    source = make(session, "one", "Always")
    result = run_clone(session, CloneRequest(source, "two", run_strategy="Halted"), WAIT)
    assert result.ok, result.to_dict()
    assert any("power cut" in notice for notice in result.notices)
    two = session.get(VIRTUAL_MACHINES, "two")
    assert two["spec"]["runStrategy"] == "Halted"
    assert "snapshot" in two["spec"]["dataVolumeTemplates"][0]["spec"]["source"]
    assert session.get(VOLUME_SNAPSHOTS, "two-root-source")["status"]["readyToUse"] is True


def test_a_clone_that_is_there_is_unchanged(session: Session):
    source = make(session, "one", "Halted")
    run_clone(session, CloneRequest(source, "two"))
    assert [o.status for o in run_clone(session, CloneRequest(source, "two")).outcomes] == [Status.UNCHANGED]


def test_several_clones_have_numbers(session: Session):
    source = make(session, "one", "Halted")
    result = run_clone(session, CloneRequest(source, "copy", count=2), CreateOptions(dry_run="client"))
    assert [outcome.target.name for outcome in result.outcomes] == ["copy-1", "copy-2"]


def test_what_cannot_be_cloned_says_so(session: Session):
    with pytest.raises(NotFound):
        run_clone(session, CloneRequest(VmRef(session.namespace, "gone"), "two"))
    with pytest.raises(UsageError):
        run_clone(session, CloneRequest(VmRef(session.namespace, "one"), "one"))
