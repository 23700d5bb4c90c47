"""The Kubernetes scenarios of a real API server, replayed. What differs on purpose is listed, with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.lab.replay import Replay, load_scenario
from tests.lab.wire import Wire
from vmkit.lab import Lab

_EARLY = "the recorder was quicker than virt-controller; here its work is done before the next request"

EXCEPTIONS: dict[tuple[str, str], dict[str, str]] = {
    ("crud", "get"): {
        ".data.k": "the recorder showed the object it had prepared for the following update",
    },
    ("apply", "apply again, nothing changes"): {
        ".metadata.annotations": _EARLY,
        ".metadata.finalizers": _EARLY,
        ".status.conditions": _EARLY,
    },
    ("apply", "another manager sets a label"): {
        ".metadata.finalizers": _EARLY,
        ".status.conditions": _EARLY,
    },
    ("discovery", "/version"): {
        f".{name}": "the practice cluster names its own build, and no Go toolchain"
        for name in ("buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion")
    },
    ("discovery", "/apis"): {
        ".groups": "the practice cluster also has Rook, snapshots, Argo CD, KEDA, KubeEdge, SpinKube, VPA",
    },
}
"""Differences that are meant: {(scenario, step): {path: reason}}. docs/lab.md tells them to users."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(frozen=True, tls=False) as lab:
        yield lab


def _config_map(name: str, labels: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def _fill_lists(run: Replay, wire: Wire) -> None:
    for index in range(5):
        labels = {"n": str(index), "even": "yes" if index % 2 == 0 else "no"}
        body = _config_map(f"i{index}", labels)
        assert wire.post(f"/api/v1/namespaces/{run.scenario.namespace}/configmaps", body).status == 201


def _make_account(run: Replay, wire: Wire) -> None:
    base = f"/api/v1/namespaces/{run.scenario.namespace}/serviceaccounts"
    assert wire.post(base, {"metadata": {"name": "jobber"}}).status == 201
    token = wire.post(f"{base}/jobber/token", {"spec": {}}).body["status"]["token"]
    run.tokens = {
        "nobody": "",
        "bad-token": "bad-token",
        "serviceaccount jobber, no roles": token,
        "serviceaccount jobber, role stopper": token,
    }


def _change_while_watching(run: Replay) -> None:
    """What the recorder did during the second step of the watch scenario."""
    wire = Wire(run.lab)
    base = f"/api/v1/namespaces/{run.scenario.namespace}/configmaps"
    body = {**_config_map("w", {"w": "1"}), "data": {"k": "1"}}
    assert wire.post(base, body).status == 201
    assert wire.merge(f"{base}/w", {"data": {"k": "2"}}).status == 200
    assert wire.merge(f"{base}/w", {"metadata": {"labels": {"w": None}}}).status == 200
    assert wire.merge(f"{base}/w", {"metadata": {"labels": {"w": "2"}}}).status == 200
    assert wire.delete(f"{base}/w").status == 200


def _before(run: Replay) -> Callable[[str], None]:
    def before(step: str) -> None:
        if step == "watch from the list":
            threading.Timer(0.2, _change_while_watching, (run,)).start()

    return before


PREPARE: dict[str, Callable[[Replay, Wire], None]] = {"lists": _fill_lists, "access": _make_account}


@pytest.mark.parametrize("name", ["crud", "lists", "watch", "apply", "discovery", "access"])
def test_every_step_is_answered_as_it_was_recorded(lab: Lab, name: str) -> None:
    run = Replay(lab, load_scenario(name))
    run.before = _before(run)
    wire = run.prepare()
    if name in PREPARE:
        PREPARE[name](run, wire)
    wrong: list[str] = []
    for step in run.steps:
        expected = EXCEPTIONS.get((name, step["step"]), {})
        found = run.play(step)
        wrong += [f"{step['step']}: {line}" for line in found if line.partition(":")[0] not in expected]
        missing = expected.keys() - {line.partition(":")[0] for line in found}
        wrong += [f"{step['step']}: {path} is listed as different, and is not" for path in missing]
        lab.settle()
    assert wrong == []


def test_every_recorded_group_is_served_with_its_recorded_versions(lab: Lab) -> None:
    recorded = next(step for step in load_scenario("discovery").steps if step["step"] == "/apis")
    groups = {group["name"]: group for group in Wire(lab).get("/apis").body["groups"]}
    for group in recorded["response"]["body"]["groups"]:
        assert groups.get(group["name"]) == group
