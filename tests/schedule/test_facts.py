"""What is known of a VM from its object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vmkit.schedule import Ownership, read_facts
from vmkit.vm.state import PowerState, read_vm


def objects(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"runStrategy": "Manual", "template": {"spec": {"domain": {}}}},
        "status": {"printableStatus": "Running", **status},
    }


INSTANCE = {
    "metadata": {"uid": "i1"},
    "status": {
        "phase": "Running",
        "phaseTransitionTimestamps": [{"phase": "Running", "phaseTransitionTimestamp": "2026-01-02T00:00:00Z"}],
    },
}


def test_facts_come_from_the_vm_and_its_instance() -> None:
    facts = read_facts(read_vm(objects(), INSTANCE))
    assert (str(facts.ref), facts.uid, facts.power) == ("shop/web", "u1", PowerState.RUNNING)
    assert facts.running_since == datetime(2026, 1, 2, tzinfo=UTC)
    assert (facts.busy, facts.pool, facts.protected, facts.ended) == ("", "", False, False)


def test_what_is_found_elsewhere_is_added() -> None:
    facts = read_facts(
        read_vm(objects()), busy="backup b1", ownership=Ownership.DRIFT, owner="Application a/b", node_silent=True
    )
    assert (facts.busy, facts.ownership, facts.owner, facts.node_silent) == (
        "backup b1",
        "drift",
        "Application a/b",
        True,
    )


def test_what_is_in_progress_or_asked_for_is_busy() -> None:
    assert "snapshot s1" in read_facts(read_vm(objects(snapshotInProgress="s1"))).busy
    assert "stop" in read_facts(read_vm(objects(stateChangeRequests=[{"action": "Stop"}]))).busy


def test_pools_and_protection() -> None:
    vm = objects()
    vm["metadata"]["ownerReferences"] = [{"kind": "VirtualMachinePool", "name": "batch"}]
    for text, protected in (("true", True), ("", True), ("false", False)):
        vm["metadata"]["labels"] = {"vmkit.io/protected": text}
        facts = read_facts(read_vm(vm))
        assert (facts.pool, facts.protected) == ("batch", protected)


def test_an_instance_that_has_ended_runs_no_more() -> None:
    ended = {"metadata": {}, "status": INSTANCE["status"] | {"phase": "Succeeded"}}
    facts = read_facts(read_vm(objects(printableStatus="Stopped"), ended))
    assert facts.ended
    assert facts.running_since is None


def test_a_broken_object_is_a_problem() -> None:
    assert read_facts(read_vm({"metadata": {"name": "web"}})).problem
