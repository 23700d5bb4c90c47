"""What vmkit takes for granted about power, on any cluster that runs KubeVirt."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.cluster import Session
from vmkit.cluster.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    VIRTUAL_MACHINE_INSTANCES,
    VIRTUAL_MACHINES,
)
from vmkit.errors import ClusterError, Conflict, NotFound
from vmkit.plan.model import Outcome, Status
from vmkit.power import DeleteOptions, PowerOptions, Selection, Verb, run_delete, run_power
from vmkit.vm.contract import Refusal, read_refusal
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView, read_vm

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
WAIT = PowerOptions(wait=True, timeout_seconds=300, grace_seconds=0)
IMAGE = "quay.io/kubevirt/cirros-container-disk-demo:v1.5.0"


def create(session: Session, name: str, strategy: str) -> VmRef:
    document: dict[str, Any] = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": {"vmkit-contract": name}},
        "spec": {
            "runStrategy": strategy,
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "domain": {
                        "memory": {"guest": "128Mi"},
                        "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
                    },
                    "volumes": [{"name": "root", "containerDisk": {"image": IMAGE}}],
                }
            },
        },
    }
    session.create(VIRTUAL_MACHINES, document)
    return VmRef(session.namespace, name)


def look(session: Session, ref: VmRef) -> VmView:
    return read_vm(session.get(VIRTUAL_MACHINES, ref.name, ref.namespace))


def one(session: Session, verb: Verb, ref: VmRef) -> Outcome:
    options = PowerOptions(wait=True, timeout_seconds=300, grace_seconds=0 if verb is Verb.STOP else None)
    (outcome,) = run_power(session, verb, Selection(names=(ref,)), options).outcomes
    return outcome


@pytest.mark.parametrize("strategy", ["Always", "Halted", "Manual", "RerunOnFailure", "Once"])
def test_the_round_trip_of_every_strategy(cluster: Session, vm_name: str, strategy: str) -> None:
    ref = create(cluster, vm_name, strategy)
    assert one(cluster, Verb.START, ref).ok
    running = look(cluster, ref)
    assert running.power is PowerState.RUNNING
    assert one(cluster, Verb.START, ref).status is Status.UNCHANGED
    assert one(cluster, Verb.STOP, ref).status is Status.CHANGED
    assert look(cluster, ref).power is PowerState.STOPPED
    assert cluster.find(VIRTUAL_MACHINE_INSTANCES, vm_name) is None
    assert one(cluster, Verb.STOP, ref).ok
    assert one(cluster, Verb.START, ref).ok
    again = look(cluster, ref)
    assert again.run_strategy == running.run_strategy
    assert ORIGINAL_RUN_STRATEGY not in again.annotations
    assert run_delete(cluster, Selection(names=(ref,)), DeleteOptions(wait=True, grace_seconds=0)).ok


def refusal(session: Session, verb: Verb, name: str, *, of_instance: bool = False) -> ClusterError:
    resource = VIRTUAL_MACHINE_INSTANCES if of_instance else VIRTUAL_MACHINES
    with pytest.raises(ClusterError) as caught:
        session.call_subresource(resource, name, str(verb))
    return caught.value


def test_kubevirts_refusals_are_those_the_contract_reads(cluster: Session, vm_name: str) -> None:
    ref = create(cluster, vm_name, "Manual")
    one(cluster, Verb.STOP, ref)
    stop = refusal(cluster, Verb.STOP, vm_name)
    assert isinstance(stop, Conflict)
    assert "VM is not running" in stop.message
    assert isinstance(refusal(cluster, Verb.PAUSE, vm_name, of_instance=True), NotFound)
    one(cluster, Verb.START, ref)
    start = refusal(cluster, Verb.START, vm_name)
    assert "VM is already running" in start.message
    assert read_refusal(Verb.START, start) is Refusal.LOOK_AGAIN
    unpause = refusal(cluster, Verb.UNPAUSE, vm_name, of_instance=True)
    assert read_refusal(Verb.UNPAUSE, unpause) is Refusal.SO_ALREADY
    run_delete(cluster, Selection(names=(ref,)), DeleteOptions(wait=True, grace_seconds=0))
    assert isinstance(refusal(cluster, Verb.STOP, vm_name), NotFound)


def test_restart_pause_and_unpause(cluster: Session, vm_name: str) -> None:
    ref = create(cluster, vm_name, "Always")
    assert one(cluster, Verb.START, ref).ok
    before = cluster.get(VIRTUAL_MACHINE_INSTANCES, vm_name)["metadata"]["uid"]
    assert one(cluster, Verb.RESTART, ref).status is Status.CHANGED
    assert cluster.get(VIRTUAL_MACHINE_INSTANCES, vm_name)["metadata"]["uid"] != before
    assert one(cluster, Verb.PAUSE, ref).status is Status.CHANGED
    assert one(cluster, Verb.PAUSE, ref).status is Status.UNCHANGED
    assert one(cluster, Verb.UNPAUSE, ref).status is Status.CHANGED
    assert run_delete(cluster, Selection(names=(ref,)), DeleteOptions(wait=True, grace_seconds=0)).ok


@pytest.mark.parametrize("strategy", ["Always", "Once", "Manual"])
def test_a_server_side_dry_run_changes_nothing(cluster: Session, vm_name: str, strategy: str) -> None:
    ref = create(cluster, vm_name, strategy)
    assert one(cluster, Verb.START, ref).ok
    before = cluster.get(VIRTUAL_MACHINES, vm_name)
    result = run_power(cluster, Verb.STOP, Selection(names=(ref,)), PowerOptions(dry_run="server"))
    assert result.counts == {"planned": 1}
    after = cluster.get(VIRTUAL_MACHINES, vm_name)
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
    assert run_delete(cluster, Selection(names=(ref,)), DeleteOptions(wait=True, grace_seconds=0)).ok


def test_a_claim_the_vm_owns_is_kept(cluster: Session, vm_name: str) -> None:
    ref = create(cluster, vm_name, "Manual")
    owner = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "name": vm_name,
        "uid": look(cluster, ref).uid,
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": vm_name, "ownerReferences": [owner]},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    cluster.create(PERSISTENT_VOLUME_CLAIMS, claim)
    assert run_delete(cluster, Selection(names=(ref,)), DeleteOptions(wait=True, grace_seconds=0)).ok
    assert cluster.find(VIRTUAL_MACHINES, vm_name) is None
    kept = cluster.get(PERSISTENT_VOLUME_CLAIMS, vm_name)
    assert not kept["metadata"].get("ownerReferences")
    assert not kept["metadata"].get("deletionTimestamp")
    cluster.delete(PERSISTENT_VOLUME_CLAIMS, vm_name)
