"""Other people's clients, driven against the practice cluster: the official Python one and kr8s."""

from __future__ import annotations

from collections.abc import Iterator

import kr8s
import kubernetes
import pytest

from vmkit.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(frozen=True) as lab:
        yield lab


def test_the_official_client_makes_watches_and_deletes(lab):
    client = kubernetes.config.new_client_from_config(lab.kubeconfig)
    core = kubernetes.client.CoreV1Api(client)
    made = core.create_namespaced_config_map("default", {"metadata": {"name": "official"}, "data": {"k": "v"}})
    events = kubernetes.watch.Watch().stream(
        core.list_namespaced_config_map, "default", field_selector="metadata.name=official", timeout_seconds=1
    )
    assert [(event["type"], event["object"].metadata.uid) for event in events] == [("ADDED", made.metadata.uid)]
    core.patch_namespaced_config_map("official", "default", {"data": {"k": "w"}})
    assert core.read_namespaced_config_map("official", "default").data == {"k": "w"}
    core.delete_namespaced_config_map("official", "default")
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_namespaced_config_map("official", "default")
    assert refused.value.status == 404
    client.close()


def test_the_official_client_reads_custom_objects(lab):
    client = kubernetes.config.new_client_from_config(lab.kubeconfig)
    custom = kubernetes.client.CustomObjectsApi(client)
    found = custom.list_cluster_custom_object("ceph.rook.io", "v1", "cephclusters")
    assert [item["kind"] for item in found["items"]] == ["CephCluster"]
    client.close()


@pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported:UserWarning")
def test_kr8s_finds_and_makes_objects(lab):
    api = kr8s.api(kubeconfig=lab.kubeconfig)
    assert {node.name for node in api.get("nodes")} >= {"control-1", "worker-1"}
    config = kr8s.objects.ConfigMap(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kr8s", "namespace": "default"}}, api=api
    )
    config.create()
    config.patch({"data": {"k": "v"}})
    assert config.raw["data"]["k"] == "v"
    config.delete()
    assert not config.exists()
