"""Deleting VMs of the practice cluster, with and without their disks."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.power.vms import create, create_running, look, manifest, running, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import (
    DATA_VOLUMES,
    PERSISTENT_VOLUME_CLAIMS,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
    Resource,
)
from vmkit.errors import NotConfirmed
from vmkit.plan.model import Plan, Status
from vmkit.power import DeleteOptions, Selection, run_delete
from vmkit.vm.markers import KEPT_FROM
from vmkit.vm.reference import VmRef

pytestmark = pytest.mark.timeout(90)
WAIT = DeleteOptions(wait=True, timeout_seconds=30)


def owners(document: dict[str, Any]) -> list[str]:
    return [reference["kind"] for reference in document["metadata"].get("ownerReferences", [])]


def until_gone(session: Session, resource: Resource, name: str) -> None:
    found = session.find(resource, name)
    if found is None:
        return
    version = found["metadata"]["resourceVersion"]
    fields = f"metadata.name={name}"
    with session.watch(
        resource, session.namespace, field_selector=fields, resource_version=version, timeout_seconds=20
    ) as watch:
        assert any(event.type == "DELETED" for event in watch)


@pytest.mark.parametrize("strategy", ["Always", "Manual", "Once"])
def test_disks_are_kept_unless_told_otherwise(session: Session, strategy: str) -> None:
    (ref,) = create_running(session, manifest("web-1", strategy, disk=True))
    plans: list[Plan] = []
    result = run_delete(session, Selection(names=(ref,)), WAIT, confirm=plans.append)
    assert result.counts == {"changed": 1}, result.outcomes
    assert result.outcomes[0].reason.code == "Deleted"
    assert plans[0].changes[0].detail["keptDisks"] == ["DataVolume web-1-root"]
    assert session.find(VIRTUAL_MACHINES, "web-1") is None
    assert session.find(VIRTUAL_MACHINE_INSTANCES, "web-1") is None
    volume = session.get(DATA_VOLUMES, "web-1-root")
    assert owners(volume) == []
    assert volume["metadata"]["annotations"][KEPT_FROM] == str(ref)
    assert "VirtualMachine" not in owners(session.get(PERSISTENT_VOLUME_CLAIMS, "web-1-root"))


def test_a_kept_disk_outlives_the_collector(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", disk=True))
    (other,) = create_running(session, manifest("web-2", "Always", disk=True))
    run_delete(session, Selection(names=(ref,)), WAIT)
    run_delete(session, Selection(names=(other,)), DeleteOptions(wait=True, delete_disks=True, timeout_seconds=30))
    until_gone(session, DATA_VOLUMES, "web-2-root")
    # The collector has been through: what it was to leave is still there.
    assert session.find(DATA_VOLUMES, "web-1-root") is not None


def test_disks_go_along_when_told(session: Session) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", disk=True))
    plans: list[Plan] = []
    options = DeleteOptions(wait=True, delete_disks=True, timeout_seconds=30)
    assert run_delete(session, Selection(names=(ref,)), options, confirm=plans.append).ok
    assert plans[0].changes[0].detail["deletedDisks"] == ["DataVolume web-1-root"]
    until_gone(session, DATA_VOLUMES, "web-1-root")
    assert session.find(VIRTUAL_MACHINE_INSTANCES, "web-1") is None


def test_the_guest_is_off_before_the_vm_goes(session: Session) -> None:
    (ref,) = create_running(
        session, manifest("web-1", "Always", disk=True, shutdown_seconds="60", grace_seconds=120)
    )
    result = run_delete(session, Selection(names=(ref,)), DeleteOptions(timeout_seconds=30))
    assert result.outcomes[0].reason.code == "Deleting"
    assert session.find(VIRTUAL_MACHINE_INSTANCES, "web-1") is None


def test_a_guest_that_does_not_stop_keeps_its_vm(session: Session) -> None:
    (ref,) = create_running(
        session, manifest("web-1", "Always", disk=True, ignores_acpi="true", grace_seconds=3600)
    )
    late = run_delete(session, Selection(names=(ref,)), DeleteOptions(timeout_seconds=0.5))
    assert late.outcomes[0].status is Status.TIMED_OUT
    assert "not deleted" in late.outcomes[0].reason.text
    assert look(session, ref).deleted_at is None
    assert run_delete(
        session, Selection(names=(ref,)), DeleteOptions(force=True, wait=True, timeout_seconds=30)
    ).ok
    assert session.find(DATA_VOLUMES, "web-1-root") is not None


def test_nothing_is_deleted_before_somebody_says_yes(session: Session) -> None:
    (ref,) = create(session, manifest("web-1", "Halted"))

    def refuse(plan: Plan) -> None:
        raise NotConfirmed("nobody said yes")

    with pytest.raises(NotConfirmed):
        run_delete(session, Selection(names=(ref,)), confirm=refuse)
    assert session.find(VIRTUAL_MACHINES, "web-1") is not None


@pytest.mark.parametrize("dry_run", ["client", "server"])
def test_a_dry_run_deletes_nothing(session: Session, dry_run: str) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", disk=True))
    options = DeleteOptions(dry_run=dry_run)  # type: ignore[arg-type]
    assert run_delete(session, Selection(names=(ref,)), options).counts == {"planned": 1}
    assert running(look(session, ref))
    assert owners(session.get(DATA_VOLUMES, "web-1-root")) == ["VirtualMachine"]


def test_what_is_not_there_is_as_wished(session: Session) -> None:
    result = run_delete(session, Selection(names=(VmRef(session.namespace, "nobody"),)))
    assert result.counts == {"unchanged": 1}
    assert result.outcomes[0].reason.code == "AlreadyGone"


def test_many_are_deleted_at_once_each_with_its_line(session: Session) -> None:
    refs = create_running(
        session, *(manifest(f"vm-{number}", "Always", labels={"team": "web"}) for number in range(6))
    )
    idle = create(session, *(manifest(f"idle-{number}", "Halted", labels={"team": "web"}) for number in range(6)))
    wait_until(session, idle, stopped)
    began = time.monotonic()
    result = run_delete(session, Selection(namespace=session.namespace, label_selector="team=web"), WAIT)
    assert result.counts == {"changed": len(refs) + len(idle)}
    assert time.monotonic() - began < 30
    assert list(session.list(VIRTUAL_MACHINES, session.namespace)) == []
