"""Live migration, evacuation, pools, replica sets."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.lab.nodes import build_node, plan_nodes

Object = dict[str, Any]


def migrations(cluster: Any) -> list[Object]:
    return list(cluster.store.list(cluster.kubevirt.types.migration, "lab"))


def test_a_live_migration_moves_the_instance_to_another_node(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    before = cluster.vmi()
    assert cluster.call("m", "migrate").status == 202
    [migration] = migrations(cluster)
    assert migration["metadata"]["name"].startswith("kubevirt-migrate-vm-")
    seen = set()
    for _ in range(60):
        cluster.advance(0.1)
        seen.add((migrations(cluster)[0]["status"]["phase"], cluster.status()))
    phases = {phase for phase, _ in seen}
    assert phases == {"Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded"}
    assert ("Running", "Migrating") in seen
    after = cluster.vmi()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["nodeName"] != before["status"]["nodeName"]
    assert after["metadata"]["labels"]["kubevirt.io/nodeName"] == after["status"]["nodeName"]
    assert after["status"]["migrationState"]["completed"] is True
    assert list(after["status"]["activePods"].values()) == [after["status"]["nodeName"]]
    assert cluster.status() == "Running"
    phases_of_pods = sorted(pod["status"]["phase"] for pod in cluster.pods())
    assert phases_of_pods == ["Running", "Succeeded"]
    cluster.call("m", "stop")
    cluster.advance(20)
    assert (cluster.status(), cluster.pods()) == ("Stopped", [])


def test_both_pods_are_active_while_migrating(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"migration-seconds": "60"}))
    cluster.advance(10)
    cluster.call("m", "migrate")
    cluster.advance(10)
    assert cluster.status() == "Migrating"
    assert len(cluster.vmi()["status"]["activePods"]) == 2
    assert "Cannot pause VM" in cluster.instance_call("m", "pause").body["message"]
    reply = cluster.call("m", "migrate")
    assert reply.status == 500
    assert "in-flight migration detected" in reply.body["message"]


def test_a_migration_that_fails_leaves_the_instance_where_it_is(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"migration": "fail"}))
    cluster.advance(10)
    node = cluster.vmi()["status"]["nodeName"]
    cluster.call("m", "migrate")
    cluster.advance(10)
    assert migrations(cluster)[0]["status"]["phase"] == "Failed"
    assert cluster.vmi()["status"]["nodeName"] == node
    assert cluster.vmi()["status"]["migrationState"]["failed"] is True
    assert cluster.status() == "Running"
    assert len(cluster.pods()) == 1


def test_deleting_a_migration_cancels_it(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"migration-seconds": "600"}))
    cluster.advance(10)
    cluster.call("m", "migrate")
    cluster.advance(10)
    name = migrations(cluster)[0]["metadata"]["name"]
    path = f"/apis/kubevirt.io/v1/namespaces/lab/virtualmachineinstancemigrations/{name}"
    assert cluster.request("DELETE", path).status == 200
    cluster.advance(1)
    assert migrations(cluster) == []
    assert cluster.vmi()["status"]["migrationState"]["abortStatus"] == "Succeeded"
    assert cluster.status() == "Running"


def test_what_cannot_migrate_is_refused_with_the_reason(cluster: Any, make_vm: Any) -> None:
    bridge = make_vm()
    bridge["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] = [{"name": "default", "bridge": {}}]
    cluster.create(bridge)
    assert cluster.call("none", "migrate").status == 404
    reply = cluster.call("m", "migrate")
    assert (reply.status, "VM is not running" in reply.body["message"]) == (409, True)
    cluster.advance(10)
    told = cluster.condition(cluster.vm(), "LiveMigratable")
    assert (told["status"], told["reason"]) == ("False", "InterfaceNotLiveMigratable")
    reply = cluster.call("m", "migrate")
    assert reply.status == 500
    assert "Cannot migrate VMI, Reason: InterfaceNotLiveMigratable" in reply.body["message"]


def test_only_so_many_migrations_leave_a_node_at_a_time(make_cluster: Any, make_vm: Any) -> None:
    cluster = make_cluster(workers=1)
    for index in range(4):
        cluster.create(make_vm(f"m{index}", guest={"migration-seconds": "60"}))
    cluster.advance(10)
    nodes = cluster.registry.get("", "nodes")
    cluster.store.create(
        nodes, build_node(plan_nodes(workers=2)[2], 2, at="2026-03-02T08:00:00Z"), with_status=True
    )
    for index in range(4):
        assert cluster.call(f"m{index}", "migrate").status == 202
    cluster.advance(20)
    running = [each for each in migrations(cluster) if each["status"]["phase"] == "Running"]
    assert len(running) == 2
    cluster.advance(300)
    assert {each["status"]["phase"] for each in migrations(cluster)} == {"Succeeded"}


def evict(cluster: Any, pod: Object) -> Any:
    return cluster.request(
        "POST",
        f"/api/v1/namespaces/lab/pods/{pod['metadata']['name']}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["metadata"]["name"]}},
    )


def test_evicting_an_instance_that_migrates_moves_it_instead(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(spec={"evictionStrategy": "LiveMigrate"}))
    cluster.advance(10)
    node = cluster.vmi()["status"]["nodeName"]
    reply = evict(cluster, cluster.pods()[0])
    assert (reply.status, "Eviction triggered evacuation of VMI" in reply.body["message"]) == (429, True)
    cluster.advance(15)
    assert cluster.vmi()["status"]["nodeName"] != node
    assert "evacuationNodeName" not in cluster.vmi()["status"]
    assert migrations(cluster)[0]["metadata"]["name"].startswith("kubevirt-evacuation-")


def test_evicting_an_instance_without_a_strategy_ends_it(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="Manual"))
    cluster.call("m", "start")
    cluster.advance(10)
    assert evict(cluster, cluster.pods()[0]).status == 201
    cluster.advance(60)
    assert cluster.vmi()["status"]["phase"] in ("Succeeded", "Failed")


def test_an_evacuation_can_be_cancelled(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"migration-seconds": "60"}, spec={"evictionStrategy": "LiveMigrate"}))
    cluster.advance(10)
    evict(cluster, cluster.pods()[0])
    assert cluster.vmi()["status"]["evacuationNodeName"]
    reply = cluster.instance_call("m", "evacuate/cancel", {})
    assert reply.status == 200
    assert "evacuationNodeName" not in cluster.vmi()["status"]


def build_pool(make_vm: Any, replicas: int = 3) -> Object:
    template = make_vm()
    return {
        "apiVersion": "pool.kubevirt.io/v1beta1",
        "kind": "VirtualMachinePool",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "test"}},
            "virtualMachineTemplate": {"metadata": {"labels": {"app": "test"}}, "spec": template["spec"]},
        },
    }


def names(cluster: Any) -> list[str]:
    return [vm["metadata"]["name"] for vm in cluster.store.list(cluster.kubevirt.types.vm, "lab")]


def test_a_pool_keeps_its_number_of_vms(cluster: Any, make_vm: Any) -> None:
    cluster.create(build_pool(make_vm))
    cluster.advance(10)
    assert names(cluster) == ["web-0", "web-1", "web-2"]
    pool = cluster.store.get(cluster.kubevirt.types.pool, "lab", "web")
    assert (pool["status"]["replicas"], pool["status"]["readyReplicas"]) == (3, 3)
    assert pool["status"]["labelSelector"] == "app=test"
    owner = cluster.vm("web-0")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("VirtualMachinePool", "web")
    cluster.request("DELETE", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines/web-1")
    cluster.advance(30)
    # The name was still taken when the replacement was made.
    assert names(cluster) == ["web-0", "web-2", "web-3"]


def test_a_pool_is_scaled_by_its_subresource(cluster: Any, make_vm: Any) -> None:
    cluster.create(build_pool(make_vm))
    cluster.advance(10)
    path = "/apis/pool.kubevirt.io/v1beta1/namespaces/lab/virtualmachinepools/web/scale"
    scale = cluster.request("GET", path).body
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
    scale["spec"]["replicas"] = 1
    assert cluster.request("PUT", path, scale).status == 200
    cluster.advance(30)
    assert names(cluster) == ["web-0"]
    scale = cluster.request("PATCH", path, {"spec": {"replicas": 2}}, content_type="application/merge-patch+json")
    cluster.advance(10)
    assert names(cluster) == ["web-0", "web-1"]


def test_a_pool_whose_selector_misses_its_template_is_refused(cluster: Any, make_vm: Any) -> None:
    pool = build_pool(make_vm)
    pool["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    reply = cluster.request("POST", "/apis/pool.kubevirt.io/v1beta1/namespaces/lab/virtualmachinepools", pool)
    assert reply.status == 422
    assert reply.body["details"]["causes"][0]["message"] == "selector does not match labels."


def test_a_pools_vms_follow_its_template(cluster: Any, make_vm: Any) -> None:
    cluster.create(build_pool(make_vm, 1))
    cluster.advance(10)
    identity = cluster.vm("web-0")["spec"]["template"]["spec"]["domain"]["firmware"]
    path = "/apis/pool.kubevirt.io/v1beta1/namespaces/lab/virtualmachinepools/web"
    patch = {"spec": {"virtualMachineTemplate": {"spec": {"runStrategy": "Halted"}}}}
    assert cluster.request("PATCH", path, patch, content_type="application/merge-patch+json").status == 200
    cluster.advance(20)
    assert cluster.status("web-0") == "Stopped"
    assert cluster.vm("web-0")["spec"]["template"]["spec"]["domain"]["firmware"] == identity


def test_a_replica_set_keeps_instances_running(cluster: Any, make_vm: Any) -> None:
    template = make_vm()["spec"]["template"]
    cluster.create(
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceReplicaSet",
            "metadata": {"name": "rs"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "test"}}, "template": template},
        }
    )
    cluster.advance(10)
    instances = list(cluster.store.list(cluster.kubevirt.types.vmi, "lab"))
    assert len(instances) == 2
    victim = instances[0]["metadata"]["name"]
    cluster.request("DELETE", f"/apis/kubevirt.io/v1/namespaces/lab/virtualmachineinstances/{victim}")
    cluster.advance(20)
    left = [each["metadata"]["name"] for each in cluster.store.list(cluster.kubevirt.types.vmi, "lab")]
    assert len(left) == 2
    assert victim not in left


@pytest.mark.parametrize("replicas", [0, 1])
def test_an_empty_pool_has_no_vms(cluster: Any, make_vm: Any, replicas: int) -> None:
    cluster.create(build_pool(make_vm, replicas))
    cluster.advance(10)
    assert len(names(cluster)) == replicas
