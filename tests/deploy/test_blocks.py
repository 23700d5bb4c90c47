"""The blocks that installations are put together from."""

from __future__ import annotations

import pytest

from vmkit.deploy import (
    Component,
    Process,
    build_admission_policy,
    build_cluster_roles,
    build_cron_job,
    build_deployment,
    build_disruption_budget,
    build_namespace,
    build_namespace_roles,
    build_network_policy,
    build_service,
    build_service_account,
    build_service_monitor,
)
from vmkit.errors import UsageError

COMPONENT = Component("stop-idle", "green")
PROCESS = Process("registry.example/vmkit:1", ["vmkit", "stop-idle", "-A"], environment=(("TZ", "UTC"),))
RULES = (
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes"], "resourceNames": ["a"], "verbs": ["get"]},
)


def pod_of(workload):
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]


def workloads():
    return [
        build_cron_job(COMPONENT, PROCESS, schedule="7 * * * *"),
        build_deployment(COMPONENT, PROCESS, port=9108, health_path="/healthz", ready_path="/readyz"),
    ]


def test_everything_has_one_name_and_lives_in_one_namespace():
    placed = [
        build_service_account(COMPONENT),
        *build_namespace_roles(COMPONENT, RULES),
        build_network_policy(COMPONENT),
        *workloads(),
        build_disruption_budget(COMPONENT),
        build_service(COMPONENT, port=9108),
        build_service_monitor(COMPONENT, path="/metrics"),
    ]
    everywhere = [
        *build_cluster_roles(COMPONENT, RULES),
        *build_admission_policy(COMPONENT, what="jobs that stop idle VMs"),
    ]
    assert {each["metadata"]["name"] for each in (*placed, *everywhere)} == {"vmkit-stop-idle"}
    assert {each["metadata"]["namespace"] for each in placed} == {"green"}
    assert not any("namespace" in each["metadata"] for each in everywhere)
    assert build_namespace(COMPONENT)["metadata"]["name"] == "green"


def test_a_role_says_each_kind_of_object_once():
    role, binding = build_cluster_roles(COMPONENT, RULES)
    assert [rule["verbs"] for rule in role["rules"]] == [["list", "watch"], ["get", "list"], ["get"]]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "vmkit-stop-idle", "namespace": "green"}]
    assert RULES[0]["verbs"] == ["list"]


@pytest.mark.parametrize("workload", workloads(), ids=lambda each: each["kind"])
def test_pods_pass_the_restricted_standard_and_write_nowhere_but_to_tmp(workload):
    template = pod_of(workload)
    pod = template["spec"]
    assert template["metadata"]["labels"] == COMPONENT.labels
    assert pod["serviceAccountName"] == "vmkit-stop-idle"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["env"] == [{"name": "TZ", "value": "UTC"}]
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert set(container["resources"]) == {"requests", "limits"}


def test_metrics_are_read_from_the_port_that_pods_and_firewall_name():
    _, deployment = workloads()
    [port] = pod_of(deployment)["spec"]["containers"][0]["ports"]
    service, monitor = build_service(COMPONENT, port=9108), build_service_monitor(COMPONENT, path="/metrics")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    [ingress] = build_network_policy(COMPONENT, ingress_port=9108)["spec"]["ingress"]
    assert [each["port"] for each in ingress["ports"]] == [port["containerPort"]]


def test_nobody_may_connect_where_nothing_listens_and_what_has_to_be_reached_may_be():
    policy = build_network_policy(COMPONENT, egress_ports=(9090, 443))["spec"]
    assert policy["ingress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 9090]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Component("schedule", "Not A Name"),
        lambda: Component("schedule", ""),
        lambda: Process("", ["vmkit"]),
        lambda: Process("an image", ["vmkit"]),
    ],
)
def test_what_no_server_would_take_is_refused(make):
    with pytest.raises(UsageError):
        make()
