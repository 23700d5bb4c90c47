"""How VMs live: run strategies, requests, guests that misbehave, and what status says meanwhile."""

from __future__ import annotations

import itertools
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("strategy", "status"),
    [
        ("Always", "Running"),
        ("RerunOnFailure", "Running"),
        ("Once", "Running"),
        ("Manual", "Stopped"),
        ("Halted", "Stopped"),
        ("WaitAsReceiver", "WaitingForReceiver"),
    ],
)
def test_creating_a_vm_starts_it_as_its_run_strategy_says(
    cluster: Any, make_vm: Any, strategy: str, status: str
) -> None:
    cluster.create(make_vm(strategy=strategy))
    cluster.advance(10)
    assert cluster.status() == status
    assert cluster.vm()["status"].get("ready", False) == (status == "Running")


def test_running_true_means_always_and_is_warned_of(cluster: Any, make_vm: Any) -> None:
    reply = cluster.request(
        "POST", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines", make_vm(strategy=None, running=True)
    )
    assert reply.status == 201
    assert "spec.running is deprecated" in reply.headers["warning"]
    cluster.advance(10)
    assert cluster.status() == "Running"
    assert cluster.call("m", "stop").status == 202
    assert cluster.vm()["spec"]["running"] is False


def test_a_vm_that_came_from_another_strategy_to_rerun_on_failure_starts_once(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="RerunOnFailure"))
    cluster.advance(10)
    cluster.call("m", "stop")
    cluster.advance(10)
    assert cluster.status() == "Stopped"
    assert cluster.patch_vm("m", {"spec": {"runStrategy": "Halted"}}).status == 200
    cluster.advance(1)
    assert cluster.status() == "Stopped"
    cluster.patch_vm("m", {"spec": {"runStrategy": "RerunOnFailure"}})
    cluster.advance(10)
    assert cluster.status() == "Running"


def test_once_never_starts_again_by_itself(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="Once", guest={"exit": "30"}))
    cluster.advance(10)
    assert cluster.status() == "Running"
    cluster.advance(60)
    assert cluster.vmi()["status"]["phase"] == "Succeeded"
    assert cluster.status() == "Stopped"
    reply = cluster.call("m", "start")
    assert (reply.status, "Once does not support manual start requests" in reply.body["message"]) == (409, True)


def test_once_becomes_always_after_a_stop_and_a_start(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="Once"))
    cluster.advance(10)
    assert cluster.call("m", "stop").status == 202
    cluster.advance(20)
    assert cluster.vm()["spec"]["runStrategy"] == "Halted"
    assert cluster.call("m", "start").status == 202
    assert cluster.vm()["spec"]["runStrategy"] == "Always"


def test_always_starts_a_guest_again_that_powered_itself_off(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"exit": "30"}))
    cluster.advance(10)
    first = cluster.vmi()["metadata"]["uid"]
    cluster.advance(40)
    assert cluster.vmi()["metadata"]["uid"] != first


def test_manual_leaves_an_ended_instance_until_it_is_started(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="Manual", guest={"exit": "20"}))
    assert cluster.call("m", "start").status == 202
    cluster.advance(60)
    ended = cluster.vmi()
    assert ended["status"]["phase"] == "Succeeded"
    assert cluster.status() == "Stopped"
    assert cluster.call("m", "start").status == 202
    cluster.advance(10)
    assert cluster.vmi()["metadata"]["uid"] != ended["metadata"]["uid"]
    assert cluster.status() == "Running"


def test_rerun_on_failure_restarts_a_crash_and_leaves_a_shutdown(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm("crash", "RerunOnFailure", guest={"crash": "20"}))
    cluster.create(make_vm("off", "RerunOnFailure", guest={"exit": "20"}))
    cluster.advance(10)
    first = cluster.vmi("crash")["metadata"]["uid"]
    cluster.advance(30)
    assert cluster.vmi("off") is None
    assert cluster.status("off") == "Stopped"
    assert cluster.vmi("crash")["metadata"]["uid"] != first


def test_a_guest_that_crashes_at_boot_is_tried_again_with_growing_pauses(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"crash": "boot"}))
    seen = []
    for _ in range(900):
        cluster.advance(1)
        failure = cluster.vm()["status"].get("startFailure")
        if failure and failure["consecutiveFailCount"] not in [count for count, _ in seen]:
            seen.append((failure["consecutiveFailCount"], cluster.clock.now()))
            assert cluster.status() in ("CrashLoopBackOff", "Starting", "Stopped")
    pauses = [(later[1] - earlier[1]).total_seconds() for earlier, later in itertools.pairwise(seen)]
    assert len(seen) >= 5
    # 10 s times the square of the count, up to half of it more, at most 300 s; and a few seconds to start.
    for count, pause in enumerate(pauses[:5], start=1):
        assert min(10 * count**2, 300) <= pause <= min(15 * count**2, 300) + 5
    cluster.patch_vm("m", {"metadata": {"annotations": {"lab.vmkit.io/guest-crash": None}}})
    cluster.advance(310)
    assert cluster.status() == "Running"
    assert "startFailure" not in cluster.vm()["status"]


def test_a_guest_that_ignores_acpi_is_cut_off_when_its_grace_ends(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"ignores-acpi": "true"}, spec={"terminationGracePeriodSeconds": 40}))
    cluster.advance(10)
    cluster.call("m", "stop")
    cluster.advance(35)
    assert cluster.status() == "Stopping"
    cluster.advance(10)
    assert (cluster.status(), cluster.vmi()) == ("Stopped", None)


def test_a_second_stop_with_less_grace_cuts_the_guest_off(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"ignores-acpi": "true"}, spec={"terminationGracePeriodSeconds": 600}))
    cluster.advance(10)
    assert cluster.call("m", "stop").status == 202
    cluster.advance(10)
    assert cluster.call("m", "stop", {"gracePeriod": 700}).status == 409
    assert cluster.call("m", "stop", {"gracePeriod": 0}).status == 202
    cluster.advance(1)
    assert cluster.status() == "Stopped"


def test_a_wrong_name_of_the_grace_period_is_ignored_as_kubevirt_does(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    assert cluster.call("m", "stop", {"gracePeriodSeconds": 0}).status == 202
    assert "terminationGracePeriodSeconds" not in cluster.vmi()["spec"]


def test_a_slow_guest_runs_before_its_agent_answers(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"boot-seconds": "60"}))
    cluster.advance(10)
    assert cluster.status() == "Running"
    assert cluster.condition(cluster.vmi(), "AgentConnected") is None
    assert cluster.vmi()["status"]["guestOSInfo"] == {}
    reply = cluster.instance_call("m", "guestosinfo", method="GET")
    assert (reply.status, "VMI does not have guest agent connected" in reply.body["text"]) == (500, True)
    cluster.advance(60)
    assert cluster.condition(cluster.vmi(), "AgentConnected")["status"] == "True"
    assert cluster.vmi()["status"]["guestOSInfo"]["id"] == "debian"


def test_a_guest_without_an_agent_never_has_one(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"agent": "false"}))
    cluster.advance(300)
    assert cluster.status() == "Running"
    assert cluster.condition(cluster.vmi(), "AgentConnected") is None


def test_logging_in_shows_in_the_user_list_at_once(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    assert cluster.instance_call("m", "userlist", method="GET").body["items"] == []
    cluster.patch_vm("m", {"metadata": {"annotations": {"lab.vmkit.io/guest-users": "ada, grace"}}})
    users = cluster.instance_call("m", "userlist", method="GET").body["items"]
    assert [user["userName"] for user in users] == ["ada", "grace"]
    info = cluster.instance_call("m", "guestosinfo", method="GET").body
    assert info["hostname"] == "m"
    assert len(info["userList"]) == 2
    assert cluster.instance_call("m", "filesystemlist", method="GET").body["items"][0]["mountPoint"] == "/"


def test_a_restart_replaces_the_instance(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    first = cluster.vmi()["metadata"]["uid"]
    assert cluster.call("m", "restart").status == 202
    assert [each["action"] for each in cluster.vm()["status"]["stateChangeRequests"]] == ["Stop", "Start"]
    reply = cluster.call("m", "restart")
    assert (reply.status, reply.body["message"]) == (
        500,
        "Internal error occurred: unable to complete request: stop/start already underway",
    )
    cluster.advance(20)
    assert cluster.vmi()["metadata"]["uid"] != first
    assert "stateChangeRequests" not in cluster.vm()["status"]


def test_a_forced_restart_does_not_wait_for_the_guest(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"ignores-acpi": "true"}, spec={"terminationGracePeriodSeconds": 3600}))
    cluster.advance(10)
    first = cluster.vmi()["metadata"]["uid"]
    assert cluster.call("m", "restart", {"gracePeriodSeconds": -1}).body["message"] == (
        "gracePeriod has to be greater or equal to 0"
    )
    assert cluster.call("m", "restart", {"gracePeriodSeconds": 0}).status == 202
    cluster.advance(10)
    assert cluster.vmi()["metadata"]["uid"] != first
    assert cluster.status() == "Running"


def test_a_halted_vm_can_start_paused(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(strategy="Halted"))
    assert cluster.call("m", "start", {"paused": True}).status == 202
    cluster.advance(10)
    assert cluster.vm()["spec"]["runStrategy"] == "Always"
    assert cluster.status() == "Paused"
    assert cluster.instance_call("m", "unpause").status == 200
    cluster.advance(5)
    assert cluster.status() == "Running"
    assert cluster.condition(cluster.vmi(), "AgentConnected") is not None


def test_pausing_and_unpausing(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    assert cluster.instance_call("m", "unpause").body["message"].endswith("VMI is not paused")
    assert cluster.instance_call("m", "pause", {"dryRun": ["All"]}).status == 200
    assert cluster.status() == "Running"
    reply = cluster.instance_call("m", "pause")
    assert (reply.status, reply.body) == (200, None)
    assert cluster.status() == "Paused"
    assert cluster.vm()["status"].get("ready") is None
    reply = cluster.instance_call("m", "pause")
    assert (reply.status, reply.body["message"].endswith("VMI is already paused")) == (409, True)
    assert cluster.instance_call("m", "softreboot").body["message"].endswith("VMI is paused")
    assert cluster.instance_call("m", "unpause").status == 200
    assert (cluster.status(), cluster.vm()["status"]["ready"]) == ("Running", True)


def test_a_liveness_probe_forbids_pausing(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(spec={"livenessProbe": {"tcpSocket": {"port": 22}}}))
    cluster.advance(10)
    reply = cluster.instance_call("m", "pause")
    assert (reply.status, reply.body["reason"]) == (403, "Forbidden")


def test_a_paused_guest_does_not_hear_the_power_button(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(spec={"terminationGracePeriodSeconds": 60}))
    cluster.advance(10)
    cluster.instance_call("m", "pause")
    cluster.call("m", "stop")
    cluster.advance(50)
    assert cluster.status() == "Stopping"
    cluster.advance(15)
    assert cluster.status() == "Stopped"


def test_a_soft_reboot_keeps_the_instance_and_boots_the_guest_again(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(guest={"boot-seconds": "20"}))
    cluster.advance(60)
    uid = cluster.vmi()["metadata"]["uid"]
    assert cluster.instance_call("m", "softreboot").status == 200
    assert cluster.condition(cluster.vmi(), "AgentConnected") is None
    cluster.advance(30)
    assert cluster.condition(cluster.vmi(), "AgentConnected") is not None
    assert cluster.instance_call("m", "reset").status == 200
    assert cluster.vmi()["metadata"]["uid"] == uid


def test_freezing_the_file_systems(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    assert cluster.instance_call("m", "freeze", {"unfreezeTimeout": "1m0s"}).status == 200
    assert cluster.vmi()["status"]["fsFreezeStatus"] == "frozen"
    assert cluster.instance_call("m", "guestosinfo", method="GET").body["fsFreezeStatus"] == "frozen"
    cluster.advance(70)
    assert "fsFreezeStatus" not in cluster.vmi()["status"]
    cluster.instance_call("m", "freeze", {"unfreezeTimeout": "5m0s"})
    assert cluster.instance_call("m", "unfreeze").status == 200
    assert "fsFreezeStatus" not in cluster.vmi()["status"]


def test_streams_are_refused_politely(cluster: Any, make_vm: Any) -> None:
    assert cluster.instance_call("m", "console", method="GET").status == 404
    cluster.create(make_vm())
    cluster.advance(10)
    for verb in ("console", "vnc", "portforward/22", "portforward/22/tcp"):
        reply = cluster.instance_call("m", verb, method="GET")
        assert reply.status == 400
        assert "practice cluster" in reply.body["message"]


def test_deleting_the_launcher_pod_ends_the_guest_and_always_starts_another(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    [pod] = cluster.pods()
    assert pod["status"]["phase"] == "Running"
    cluster.request("DELETE", f"/api/v1/namespaces/lab/pods/{pod['metadata']['name']}")
    cluster.advance(20)
    [other] = cluster.pods()
    assert other["metadata"]["uid"] != pod["metadata"]["uid"]
    assert cluster.status() == "Running"


def test_deleting_the_instance_of_an_always_vm_makes_another(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    uid = cluster.vmi()["metadata"]["uid"]
    cluster.request("DELETE", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachineinstances/m")
    cluster.advance(20)
    assert cluster.vmi()["metadata"]["uid"] != uid
    assert cluster.status() == "Running"


def test_deleting_a_vm_takes_everything_along(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    cluster.request("DELETE", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines/m")
    cluster.advance(30)
    assert cluster.store.find(cluster.kubevirt.types.vm, "lab", "m") is None
    assert cluster.vmi() is None
    assert cluster.pods() == []
    revisions = cluster.registry.get("apps", "controllerrevisions")
    assert cluster.store.count(revisions, "lab") == 0


def test_a_vm_that_fits_nowhere_says_so_and_starts_when_there_is_room(make_cluster: Any, make_vm: Any) -> None:
    cluster = make_cluster(workers=1)
    cluster.create(make_vm("big", memory="400Gi"))
    cluster.advance(10)
    cluster.create(make_vm("other", memory="400Gi"))
    cluster.advance(10)
    assert (cluster.status("big"), cluster.status("other")) == ("Running", "ErrorUnschedulable")
    told = cluster.condition(cluster.vmi("other"), "PodScheduled")
    assert "Insufficient memory" in told["message"]
    cluster.call("big", "stop")
    cluster.advance(30)
    assert cluster.status("other") == "Running"


def test_an_instance_that_admission_refuses_fails_the_vm(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(memory=None))
    cluster.advance(5)
    failure = cluster.condition(cluster.vm(), "Failure")
    assert failure["reason"] == "FailedCreate"
    assert failure["message"].startswith("Failure while starting VMI: admission webhook")
    assert "no memory requested" in failure["message"]
    assert cluster.status() == "Stopped"
    cluster.patch_vm("m", {"spec": {"template": {"spec": {"domain": {"memory": {"guest": "1Gi"}}}}}})
    cluster.advance(15)
    assert cluster.status() == "Running"
    assert cluster.condition(cluster.vm(), "Failure") is None


def test_a_silent_node_confirms_nothing_until_it_returns(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm())
    cluster.advance(10)
    nodes = cluster.registry.get("", "nodes")
    name = cluster.vmi()["status"]["nodeName"]

    def answer(ready: str) -> None:
        node = cluster.store.get(nodes, "", name)
        for each in node["status"]["conditions"]:
            if each["type"] == "Ready":
                each["status"] = ready
        cluster.store.update(nodes, node, subresource="status")

    answer("Unknown")
    cluster.call("m", "stop")
    cluster.advance(300)
    assert cluster.status() == "Stopping"
    answer("True")
    cluster.advance(10)
    assert cluster.status() == "Stopped"


def test_interfaces_keep_a_pinned_address_and_get_a_new_one_otherwise(cluster: Any, make_vm: Any) -> None:
    pinned = make_vm("pinned")
    pinned["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][0]["macAddress"] = "02:00:00:00:12:34"
    cluster.create(pinned)
    cluster.create(make_vm("loose"))
    cluster.advance(10)
    addresses = [cluster.vmi(name)["status"]["interfaces"][0]["mac"] for name in ("pinned", "loose")]
    for name in ("pinned", "loose"):
        cluster.call(name, "restart")
    cluster.advance(20)
    again = [cluster.vmi(name)["status"]["interfaces"][0]["mac"] for name in ("pinned", "loose")]
    assert again[0] == addresses[0] == "02:00:00:00:12:34"
    assert again[1] != addresses[1]


def test_an_orphaned_instance_of_the_same_name_is_adopted(cluster: Any, make_vm: Any) -> None:
    template = make_vm()["spec"]["template"]
    cluster.create(
        {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstance",
            "metadata": {"name": "m"},
            "spec": template["spec"],
        }
    )
    cluster.advance(10)
    uid = cluster.vmi()["metadata"]["uid"]
    cluster.create(make_vm())
    cluster.advance(5)
    assert cluster.vmi()["metadata"]["uid"] == uid
    assert cluster.vmi()["metadata"]["ownerReferences"][0]["name"] == "m"
    assert cluster.status() == "Running"
