from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.storage_world import World
from vmkit.lab.fleet.load import load_fleet
from vmkit.lab.fleet.plan import DEFECTS, plan_fleet

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
KINDS = (
    ("kubevirt.io", "virtualmachines"),
    ("kubevirt.io", "virtualmachineinstances"),
    ("", "pods"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("cdi.kubevirt.io", "datavolumes"),
)


def test_the_same_seed_gives_the_same_fleet():
    assert plan_fleet(50, seed=3, at=AT) == plan_fleet(50, seed=3, at=AT)
    assert plan_fleet(50, seed=3, at=AT) != plan_fleet(50, seed=4, at=AT)


def test_a_fleet_has_all_that_real_ones_have():
    plans = plan_fleet(2000, seed=1, at=AT)
    states = Counter(plan.state for plan in plans)
    assert set(states) == {
        "running", "stopped", "paused", "crash-looping", "provisioning", "unschedulable", "starting", "malformed",
    }  # fmt: skip
    assert 0.6 < states["running"] / 2000 < 0.85
    assert {plan.run_strategy for plan in plans} >= {
        "Always",
        "RerunOnFailure",
        "Manual",
        "Halted",
        "Once",
        "running:true",
    }
    assert {plan.defect for plan in plans} >= set(DEFECTS)
    assert len({plan.namespace for plan in plans}) > 20
    assert len({plan.owner for plan in plans}) > 10
    assert any(plan.application for plan in plans)
    assert any(plan.pool for plan in plans)
    assert any(plan.instancetype for plan in plans)
    assert any(not plan.instancetype for plan in plans)
    assert any(len(plan.disks) == 2 for plan in plans)


def test_names_and_times_make_sense():
    plans = plan_fleet(500, seed=2, at=AT)
    assert len({(plan.namespace, plan.name) for plan in plans}) == 500
    for plan in plans:
        assert plan.created < AT
        assert plan.started is None or plan.created <= plan.started <= AT
        assert plan.stopped is None or (plan.state == "stopped" and plan.created <= plan.stopped)


@pytest.fixture(scope="module")
def loaded():
    world = World(kubevirt=True)
    plans = load_fleet(world.context, 300, seed=1)
    before = {
        kind: {each.key: each.version for each in world.store.entries(world.registry.get(*kind))} for kind in KINDS
    }
    world.advance(600)
    return world, plans, before


def test_what_is_settled_stays_as_it_is(loaded):
    world, plans, before = loaded
    unsettled = {
        (plan.namespace, plan.name) for plan in plans if plan.state not in ("running", "stopped", "paused")
    }
    disks = {
        (plan.namespace, f"{plan.name}-{disk.name}")
        for plan in plans
        for disk in plan.disks
        if plan.state == "provisioning"
    }
    for kind, versions in before.items():
        for entry in world.store.entries(world.registry.get(*kind)):
            if entry.key in versions and tuple(entry.key) not in unsettled | disks:
                assert entry.version == versions[entry.key], (kind, entry.key)


def test_every_vm_is_in_the_state_it_was_planned_in(loaded):
    world, plans, _ = loaded
    shown = {
        "running": "Running",
        "stopped": "Stopped",
        "paused": "Paused",
        "crash-looping": "CrashLoopBackOff",
        "unschedulable": "ErrorUnschedulable",
    }
    for plan in plans:
        vm = world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
        if plan.state in shown:
            assert vm["status"]["printableStatus"] == shown[plan.state], plan
        elif plan.state in ("starting", "provisioning"):
            # Ten minutes on, what was on its way has arrived.
            assert vm["status"]["printableStatus"] == "Running", plan


def test_a_running_vm_has_all_that_belongs_to_it(loaded):
    world, plans, _ = loaded
    plan = next(plan for plan in plans if plan.state == "running" and plan.disks[0].source == "clone")
    instance = world.get("kubevirt.io", "virtualmachineinstances", plan.name, plan.namespace)
    vm = world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
    assert instance["metadata"]["ownerReferences"][0]["uid"] == vm["metadata"]["uid"]
    ((uid, node),) = instance["status"]["activePods"].items()
    found = world.store.by_uid(uid)
    assert found is not None
    pod = world.get("", "pods", found[1].name, plan.namespace)
    assert pod["spec"]["nodeName"] == node == instance["status"]["nodeName"]
    assert world.find("", "nodes", node, "") is not None
    for disk in plan.disks:
        name = f"{plan.name}-{disk.name}"
        claim = world.get("", "persistentvolumeclaims", name, plan.namespace)
        volume = world.get("", "persistentvolumes", claim["spec"]["volumeName"], "")
        assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
        made = world.get("cdi.kubevirt.io", "datavolumes", name, plan.namespace)
        assert made["status"]["phase"] == "Succeeded"
        assert claim["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]


def test_owners_exist(loaded):
    world, plans, _ = loaded
    for plan in plans:
        if plan.pool:
            pool = world.get("pool.kubevirt.io", "virtualmachinepools", plan.pool, plan.namespace)
            assert pool["spec"]["replicas"] == sum(
                (each.namespace, each.pool) == (plan.namespace, plan.pool) for each in plans
            )
        if plan.application and plan.state != "malformed":
            application = world.get("argoproj.io", "applications", plan.application, "argocd")
            assert application["status"]["sync"]["status"] == "Synced"


def test_nodes_hold_what_runs_on_them(loaded):
    world, plans, _ = loaded
    workers = [each for each in world.list("", "nodes", None) if "taints" not in each["spec"]]
    assert sum(plan.memory_bytes for plan in plans if plan.started) < len(workers) * 512 * 1024**3


def test_ceph_is_about_as_full_as_ceph_clusters_are(loaded):
    world, _, _ = loaded
    (cluster,) = world.list("ceph.rook.io", "cephclusters", None)
    capacity = cluster["status"]["ceph"]["capacity"]
    assert cluster["status"]["ceph"]["health"] == "HEALTH_OK"
    assert 0.05 < capacity["bytesUsed"] / capacity["bytesTotal"] < 0.8


def test_a_stopped_vm_of_the_fleet_can_be_started(loaded):
    world, plans, _ = loaded
    plan = next(each for each in plans if each.state == "stopped" and each.run_strategy == "Halted")
    vm = world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
    vm["spec"]["runStrategy"] = "Always"
    world.update(vm)
    world.advance(120)
    vm = world.get("kubevirt.io", "virtualmachines", plan.name, plan.namespace)
    assert vm["status"]["printableStatus"] == "Running"


def test_two_hundred_are_there_in_no_time():
    world = World(kubevirt=True)
    from time import process_time

    began = process_time()
    load_fleet(world.context, 200, seed=1)
    # A generous bound on the work of one processor; it is about a tenth of that.
    assert process_time() - began < 1.5
    assert world.clock.now() - AT < timedelta(seconds=2)
