"""Where a cluster's Prometheus is found, and how it is reached from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.metrics.prometheus.peer import Asked, Peer, Told
from vmkit.cluster import Session
from vmkit.cluster.resources import SERVICES
from vmkit.errors import Forbidden
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.discovery import discover_prometheus, find_endpoints
from vmkit.metrics.prometheus.door import ServiceDoor


def make(session: Session, name: str, *ports: tuple[str, int], kind: str = "ClusterIP") -> None:
    spec: dict[str, object] = {"type": kind, "ports": [{"name": port, "port": number} for port, number in ports]}
    if kind == "ExternalName":
        spec["externalName"] = "elsewhere.example.com"
    session.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def test_services_of_usual_names_are_found_the_likeliest_first(session: Session, namespace: str) -> None:
    make(session, "prometheus-server", ("http", 80))
    make(session, "prometheus-k8s", ("web", 9091), ("metrics", 9092))
    make(session, "thanos-querier", ("web", 9091), ("tenancy", 9092))
    make(session, "team-prometheus-operated", ("http-web", 9090), ("grpc", 10901))
    make(session, "prometheus", ("unlikely", 1), ("unlikelier", 2))
    make(session, "prometheus-node-exporter", ("metrics", 9100))
    make(session, "web", ("http", 80))
    found = [each for each in find_endpoints(session) if each.namespace == namespace]
    assert [each.service for each in found] == [
        "thanos-querier",
        "prometheus-k8s",
        "team-prometheus-operated",
        "prometheus-server",
    ]
    assert found[0].url == f"https://thanos-querier.{namespace}.svc:9091"
    assert found[3].url == f"http://prometheus-server.{namespace}.svc:80"
    assert (found[2].port, found[2].number, found[2].scheme) == ("http-web", 9090, "http")
    assert str(found[0]) == f"{namespace}/thanos-querier"


def test_where_none_answers_there_is_none(session: Session, namespace: str) -> None:
    make(session, "prometheus-k8s", ("web", 9090))
    assert discover_prometheus(session) is None


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return tmp_path / "config"


def connect(path: Path, url: str) -> Session:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(document))
    return Session.connect(kubeconfig=path)


def test_from_outside_the_api_server_passes_queries_on(kubeconfig: Path) -> None:
    body = b'{"status":"success","data":{"resultType":"scalar","result":[1,"42"]}}'
    with Peer(lambda asked: Told(200, body)) as peer, connect(kubeconfig, peer.url) as session:
        door = ServiceDoor(session, "monitoring", "thanos-querier", "web", scheme="https", prefix="/prefix/")
        assert PrometheusClient.through(door).query("42").scalar == 42
    (asked,) = peer.asked
    assert asked.path == (
        "/api/v1/namespaces/monitoring/services/https:thanos-querier:web/proxy/prefix/api/v1/query"
    )
    assert asked.form["query"] == "42"


def test_an_api_server_that_forbids_it_is_quoted(kubeconfig: Path) -> None:
    def refuse(asked: Asked) -> Told:
        text = '{"kind":"Status","status":"Failure","code":403,"message":"cannot create services/proxy"}'
        return Told(403, text.encode())

    with Peer(refuse) as peer, connect(kubeconfig, peer.url) as session:
        client = PrometheusClient.through(ServiceDoor(session, "monitoring", "prometheus-k8s", "web"))
        with pytest.raises(Forbidden, match="cannot create services/proxy"):
            client.query("up")
