"""A recorded life of a VM, watched over HTTP: the same states in the same order, the same Events."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.lab.replay import Scenario, load_scenario
from tests.lab.wire import Wire
from vmkit.lab import Lab

_KINDS = ("virtualmachines", "virtualmachineinstances")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(frozen=True, tls=False) as lab:
        yield lab


def _states(events: list[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The distinct states that a stream of watch events leads through."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        status, metadata = event["object"].get("status") or {}, event["object"]["metadata"]
        state: tuple[Any, ...] = (
            ("DELETED",)
            if event["type"] == "DELETED"
            else (
                status.get("printableStatus") or status.get("phase"),
                bool(status.get("ready")),
                "deletionTimestamp" in metadata,
            )
        )
        if not found or found[-1] != state:
            found.append(state)
    return found


def _live(lab: Lab, wire: Wire, scenario: Scenario) -> None:
    """What the recorder did: create, and once it runs stop, start and delete."""
    first = scenario.steps[0]["response"]["body"]["stream"][0]["object"]
    machines = f"/apis/kubevirt.io/v1/namespaces/{scenario.namespace}/virtualmachines"
    calls = f"/apis/subresources.kubevirt.io/v1/namespaces/{scenario.namespace}/virtualmachines/life"
    manifest = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "life", "labels": first["metadata"]["labels"]},
        "spec": first["spec"],
    }
    assert wire.post(machines, manifest).status == 201
    lab.advance(timedelta(seconds=10))
    for verb in ("stop", "start"):
        assert wire.put(f"{calls}/{verb}", {}, accept="*/*").status == 202
        lab.advance(timedelta(seconds=20))
    assert wire.delete(f"{machines}/life").status == 200
    lab.advance(timedelta(seconds=20))


def _watch(wire: Wire, scenario: Scenario, plural: str, since: str, into: dict[str, Any]) -> None:
    path = f"/apis/kubevirt.io/v1/namespaces/{scenario.namespace}/{plural}"
    into[plural] = wire.get(f"{path}?watch=true&resourceVersion={since}&timeoutSeconds=1").body["stream"]


def test_a_life_leads_through_the_recorded_states(lab: Lab) -> None:
    scenario = load_scenario("lifecycle")
    wire = Wire(lab)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scenario.namespace}}
    since = wire.post("/api/v1/namespaces", namespace).body["metadata"]["resourceVersion"]
    _live(lab, wire, scenario)
    seen: dict[str, Any] = {}
    watches = [threading.Thread(target=_watch, args=(wire, scenario, plural, since, seen)) for plural in _KINDS]
    for watch in watches:
        watch.start()
    for watch in watches:
        watch.join()
    for plural, step in zip(_KINDS, scenario.steps, strict=False):
        assert _states(seen[plural]) == _states(step["response"]["body"]["stream"])
    events = wire.get(f"/api/v1/namespaces/{scenario.namespace}/events").body["items"]
    assert _reasons(events) == _reasons(scenario.steps[2]["response"]["body"]["items"])


def _reasons(events: list[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(event["reason"], event["involvedObject"]["kind"]) for event in events}
