"""Instance types and preferences: applied, pinned, expanded, in conflict, missing; live updates of all of it."""

from __future__ import annotations

from typing import Any

import pytest

Object = dict[str, Any]
RESTART = "a non-live-updatable field was changed in the template spec"


def sized(make_vm: Any, name: str = "m", **more: Any) -> Object:
    vm: Object = make_vm(name, memory=None, instancetype={"name": "u1.small"}, **more)
    return vm


def revisions(cluster: Any) -> list[str]:
    kind = cluster.registry.get("apps", "controllerrevisions")
    return [each["metadata"]["name"] for each in cluster.store.list(kind, "lab")]


def test_an_instance_type_and_a_preference_shape_the_instance_and_not_the_vm(cluster: Any, make_vm: Any) -> None:
    cluster.create(sized(make_vm, preference={"name": "fedora"}))
    cluster.advance(10)
    domain = cluster.vmi()["spec"]["domain"]
    assert (domain["cpu"]["sockets"], domain["memory"]["guest"]) == (1, "2Gi")
    assert domain["devices"]["interfaces"][0]["model"] == "virtio"
    annotations = cluster.vmi()["metadata"]["annotations"]
    assert annotations["kubevirt.io/cluster-instancetype-name"] == "u1.small"
    assert annotations["kubevirt.io/cluster-preference-name"] == "fedora"
    kept = cluster.vm()["spec"]["template"]["spec"]["domain"]
    assert not {"cpu", "memory"} & kept.keys()


@pytest.mark.parametrize("release", ["1.2", "1.5", "1.9"])
def test_the_pinned_revision_is_where_the_release_keeps_it(make_cluster: Any, make_vm: Any, release: str) -> None:
    cluster = make_cluster(kubevirt=release)
    cluster.create(sized(make_vm))
    cluster.advance(10)
    assert cluster.status() == "Running"
    [pinned] = [name for name in revisions(cluster) if name.startswith("m-u1.small-v1beta1-")]
    vm = cluster.vm()
    if release == "1.2":
        assert vm["spec"]["instancetype"]["revisionName"] == pinned
        assert "instancetypeRef" not in vm["status"]
    else:
        assert "revisionName" not in vm["spec"]["instancetype"]
        assert vm["status"]["instancetypeRef"]["controllerRevisionRef"] == {"name": pinned}


def test_a_running_vm_keeps_the_size_it_was_pinned_to(cluster: Any, make_vm: Any) -> None:
    own = {
        "apiVersion": "instancetype.kubevirt.io/v1beta1",
        "kind": "VirtualMachineInstancetype",
        "metadata": {"name": "own"},
        "spec": {"cpu": {"guest": 2}, "memory": {"guest": "1Gi"}},
    }
    cluster.create(own)
    vm = make_vm(memory=None, instancetype={"name": "own", "kind": "VirtualMachineInstancetype"})
    cluster.create(vm)
    cluster.advance(10)
    path = "/apis/instancetype.kubevirt.io/v1beta1/namespaces/lab/virtualmachineinstancetypes/own"
    assert cluster.request("DELETE", path).status == 200
    cluster.create({**own, "spec": {"cpu": {"guest": 4}, "memory": {"guest": "8Gi"}}})
    cluster.call("m", "restart")
    cluster.advance(20)
    assert cluster.vmi()["spec"]["domain"]["memory"]["guest"] == "1Gi"


def test_a_missing_instance_type_is_a_failure_until_it_appears(cluster: Any, make_vm: Any) -> None:
    cluster.create(make_vm(memory=None, instancetype={"name": "own", "kind": "VirtualMachineInstancetype"}))
    cluster.advance(5)
    told = cluster.condition(cluster.vm(), "Failure")
    assert told["reason"] == "FailedFindInstancetype"
    assert told["message"] == 'virtualmachineinstancetypes.instancetype.kubevirt.io "own" not found'
    assert (cluster.status(), cluster.vmi()) == ("Stopped", None)
    cluster.create(
        {
            "apiVersion": "instancetype.kubevirt.io/v1beta1",
            "kind": "VirtualMachineInstancetype",
            "metadata": {"name": "own"},
            "spec": {"cpu": {"guest": 2}, "memory": {"guest": "1Gi"}},
        }
    )
    cluster.advance(60)
    assert cluster.status() == "Running"
    assert cluster.condition(cluster.vm(), "Failure") is None


def test_an_earlier_release_refuses_a_missing_instance_type(make_cluster: Any, make_vm: Any) -> None:
    cluster = make_cluster(kubevirt="1.5")
    vm = make_vm(memory=None, instancetype={"name": "none"})
    reply = cluster.request("POST", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines", vm)
    assert reply.status == 422
    assert reply.body["details"]["causes"][0]["message"].startswith("Failure to find instancetype: ")


def test_what_the_instance_type_says_may_not_be_said_again(cluster: Any, make_vm: Any) -> None:
    vm = sized(make_vm)
    vm["spec"]["template"]["spec"]["domain"]["cpu"] = {"cores": 2}
    reply = cluster.request("POST", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines", vm)
    assert reply.status == 422
    [cause] = reply.body["details"]["causes"]
    assert cause["field"] == "spec.template.spec.domain.cpu.cores"
    assert cause["message"].endswith("conflicts with selected instance type")


def test_a_vm_can_be_asked_for_with_everything_filled_in(cluster: Any, make_vm: Any) -> None:
    cluster.create(sized(make_vm, strategy="Halted"))
    reply = cluster.call("m", "expand-spec", method="GET")
    assert reply.status == 200
    assert "instancetype" not in reply.body["spec"]
    assert reply.body["spec"]["template"]["spec"]["domain"]["memory"]["guest"] == "2Gi"
    path = "/apis/subresources.kubevirt.io/v1/namespaces/lab/expand-vm-spec"
    reply = cluster.request("PUT", path, sized(make_vm, "other"))
    assert reply.status == 200
    assert reply.body["spec"]["template"]["spec"]["domain"]["memory"]["guest"] == "2Gi"
    assert cluster.request("PUT", path, {"kind": "Pod"}).status == 400


def sockets(make_vm: Any) -> Object:
    vm: Object = make_vm()
    vm["spec"]["template"]["spec"]["domain"].update(
        cpu={"cores": 1, "sockets": 1, "maxSockets": 4}, memory={"guest": "1Gi", "maxGuest": "4Gi"}
    )
    return vm


def change(cluster: Any, domain: Object) -> str | None:
    """Patches the template's domain; the message of RestartRequired, if any."""
    assert cluster.patch_vm("m", {"spec": {"template": {"spec": {"domain": domain}}}}).status == 200
    cluster.advance(5)
    found = cluster.condition(cluster.vm(), "RestartRequired")
    return None if found is None else str(found["message"])


def test_sockets_and_memory_grow_while_running(cluster: Any, make_vm: Any) -> None:
    cluster.create(sockets(make_vm))
    cluster.advance(10)
    assert change(cluster, {"cpu": {"sockets": 2}}) is None
    assert cluster.vmi()["spec"]["domain"]["cpu"]["sockets"] == 2
    assert change(cluster, {"memory": {"guest": "2Gi"}}) is None
    assert cluster.vmi()["status"]["memory"]["guestCurrent"] == "2Gi"
    assert change(cluster, {"cpu": {"cores": 2}}) == RESTART
    assert change(cluster, {"cpu": {"cores": 1}}) is None


def test_an_earlier_release_carries_nothing_into_a_running_vm(make_cluster: Any, make_vm: Any) -> None:
    cluster = make_cluster(kubevirt="1.5")
    cluster.create(sockets(make_vm))
    cluster.advance(10)
    assert change(cluster, {"cpu": {"sockets": 2}}) == RESTART
    assert cluster.vmi()["spec"]["domain"]["cpu"]["sockets"] == 1
    assert cluster.call("m", "restart").status == 202
    cluster.advance(20)
    assert cluster.condition(cluster.vm(), "RestartRequired") is None
    assert cluster.vmi()["spec"]["domain"]["cpu"]["sockets"] == 2


def test_a_strategy_of_later_releases_is_refused(make_cluster: Any, make_vm: Any) -> None:
    for release, status in (("1.5", 422), ("1.9", 201)):
        cluster = make_cluster(kubevirt=release)
        vm = make_vm(strategy="WaitAsReceiver")
        reply = cluster.request("POST", "/apis/kubevirt.io/v1/namespaces/lab/virtualmachines", vm)
        assert reply.status == status, reply.body
