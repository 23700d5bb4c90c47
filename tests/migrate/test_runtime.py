"""Every cause of 'no runtime for "spin" is configured' that a cluster shows, provoked on the practice cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from vmkit.cli.main import cli
from vmkit.cluster import Session
from vmkit.cluster.resources import NODES, Resource
from vmkit.lab import Lab
from vmkit.migrate.runtime import Severity, Surroundings, choose_runtime_class, decide_checks

CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
SHIMS = Resource("runtime.spinkube.dev", "v1alpha1", "shims", "Shim", namespaced=False)
EXECUTORS = Resource("core.spinkube.dev", "v1alpha1", "spinappexecutors", "SpinAppExecutor")
Doctor = Callable[[], tuple[int, dict[str, Any]]]


@pytest.fixture
def own() -> Iterator[tuple[Session, Doctor]]:
    """A practice cluster of this test's own: what is broken in it is everybody's."""
    with Lab(seed=7) as lab, Session.connect(kubeconfig=lab.kubeconfig, namespace="default") as session:

        def doctor() -> tuple[int, dict[str, Any]]:
            done = CliRunner().invoke(
                cli, ["migrate", "doctor", "--kubeconfig", str(lab.kubeconfig), "-n", "default", "-o", "json"]
            )
            return done.exit_code, json.loads(done.stdout)

        yield session, doctor


def problems(document: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["found"] for one in document["checks"] if one["severity"] != "ok"}


def test_a_whole_installation_has_no_problem_and_its_class_is_named(own: tuple[Session, Doctor]) -> None:
    code, document = own[1]()
    assert (code, problems(document)) == (0, {})
    assert (document["runtimeClass"], document["handler"]) == ("wasmtime-spin-v2", "spin-v2")


def test_a_runtime_class_that_is_not_there(own: tuple[Session, Doctor]) -> None:
    session, doctor = own
    session.delete(CLASSES, "wasmtime-spin-v2")
    code, document = doctor()
    assert code == 1
    assert "no RuntimeClass has a handler for Spin" in problems(document)["runtime-class"]
    assert "names RuntimeClass wasmtime-spin-v2, which is not there" in problems(document)["executor"]


def test_a_handler_that_no_shim_installs(own: tuple[Session, Doctor]) -> None:
    session, doctor = own
    session.delete(CLASSES, "wasmtime-spin-v2")
    session.create(
        CLASSES,
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "wasmtime-spin-v2"},
            "handler": "spin",
        },
    )
    code, document = doctor()
    assert code == 1
    assert "installs handler spin-v2, which no RuntimeClass names" in problems(document)["shim"]
    assert "no Shim installs handler spin" in problems(document)["handler"]


def test_nodes_without_the_label_and_nodes_of_kwasm(own: tuple[Session, Doctor]) -> None:
    session, doctor = own
    for node in session.list(NODES):
        labels = {"spin": "false", "kwasm.sh/kwasm-provisioned": "true"}
        session.patch(NODES, node["metadata"]["name"], {"metadata": {"labels": labels}})
    code, document = doctor()
    assert code == 1
    assert "no ready node has the labels" in problems(document)["nodes"]
    assert "retired" in problems(document)["kwasm"]


def test_a_namespace_without_an_executor(own: tuple[Session, Doctor]) -> None:
    session, doctor = own
    session.delete(EXECUTORS, "containerd-shim-spin", "default")
    code, document = doctor()
    assert code == 0
    assert "no SpinAppExecutor in namespace default" in problems(document)["executor"]


def node(name: str, labels: dict[str, str], *, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def found(**seen: Any) -> dict[str, tuple[Severity, str]]:
    whole: dict[str, Any] = {
        "namespace": "a", "nodes": [node("n1", {"spin": "true"})],
        "runtime_classes": [
            {"metadata": {"name": "wasm"}, "handler": "spin", "scheduling": {"nodeSelector": {"spin": "true"}}}
        ],
        "shims": [{"metadata": {"name": "shim"}, "spec": {"runtimeClass": {"name": "wasm", "handler": "spin"}}}],
        "executors": [
            {"metadata": {"name": "e"},
             "spec": {"createDeployment": True, "deploymentConfig": {"runtimeClassName": "wasm"}}}
        ],
    }  # fmt: skip
    return {one.id: (one.severity, one.found) for one in decide_checks(Surroundings(**{**whole, **seen}))}


def test_no_spinkube_at_all() -> None:
    assert found(executors=None, shims=None, runtime_classes=[])["spin-operator"][0] is Severity.ERROR


def test_a_shim_that_is_not_on_a_chosen_node_yet() -> None:
    told = found(nodes=[node("n1", {"spin": "true", "shim": "pending"})])["handler"]
    assert told == (Severity.ERROR, "Shim shim is not on n1, where pods of wasm may be placed")


def test_nodes_that_are_not_ready_count_for_nothing() -> None:
    assert found(nodes=[node("n1", {"spin": "true"}, ready="False")])["nodes"][0] is Severity.ERROR


def test_what_may_not_be_read_is_said_and_is_no_error() -> None:
    told = found(nodes=None, runtime_classes=None, shims=None)
    assert {name for name, (severity, _) in told.items() if severity is Severity.WARNING} == {
        "runtime-class", "shim", "nodes",
    }  # fmt: skip


def test_an_app_that_asks_for_another_executor() -> None:
    told = found(apps=[{"metadata": {"name": "web"}, "spec": {"executor": "spintainer"}}])["executor"]
    assert told == (Severity.ERROR, "SpinApp web asks for executor spintainer, which namespace a does not have")


def test_no_class_is_chosen_where_there_is_none() -> None:
    seen = Surroundings(namespace="a", nodes=(), runtime_classes=(), shims=(), executors=())
    assert choose_runtime_class(seen) == ("", "")
