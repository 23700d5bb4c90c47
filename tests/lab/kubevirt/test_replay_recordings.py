"""Recorded exchanges with a real KubeVirt, step by step: the same requests must get the same answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

Object = dict[str, Any]
DATA = Path(__file__).parents[2] / "data" / "recordings"
POWER = ("power-always", "power-halted", "power-manual")

# What differs from run to run, by field name, and the form it must have.
FORMS = {
    "uid": r"[0-9a-f-]{36}",
    "uuid": r"[0-9a-f-]{36}",
    "serial": r"[0-9a-f-]{36}",
    "resourceVersion": r"\d+",
    "generation": r"\d+",
    "observedGeneration": r"\d+",
    "desiredGeneration": r"\d+",
    "kubevirt.io/vm-generation": r"\d+",
    "creationTimestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "deletionTimestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "lastProbeTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "lastTransitionTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "phaseTransitionTimestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "nodeName": r"[a-z0-9.-]+",
    "kubevirt.io/nodeName": r"[a-z0-9.-]+",
    "ipAddress": r"\d+(\.\d+){3}",
    "mac": r"[0-9a-f]{2}(:[0-9a-f]{2}){5}",
    "runtimeUser": r"\d+",
    "virtualMachineRevisionName": r"revision-start-vm-[0-9a-f-]+-\d+",
}


def load(name: str) -> Object:
    recording: Object = json.loads((DATA / f"{name}.json").read_text())
    return recording


def comparable(value: Any, key: str = "") -> Any:
    """A body with everything that varies replaced, its form checked."""
    if key == "managedFields":
        assert isinstance(value, list)
        return "<managed fields>"
    if key == "activePods":
        return sorted(f"<pod on {'a node' if node else 'no node'}>" for node in value.values())
    if isinstance(value, dict):
        return {name: comparable(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [comparable(part, "ipAddress" if key == "ipAddresses" else "") for part in value]
    if key in FORMS and value is not None:
        assert re.fullmatch(FORMS[key], str(value)), (key, value)
        return f"<{key}>"
    if key == "message" and isinstance(value, str):
        # The wording of decoding errors after the first colon is Go's own business.
        decoding = re.match(r"([^:]*(?:denied the request|to struct, error)): (?:quantities|json|unable)", value)
        return decoding[1] if decoding else value
    return value


def send(cluster: Any, request: Object) -> Any:
    raw = request.get("raw")
    return cluster.request(
        request["method"],
        request["path"],
        request.get("body"),
        raw=None if raw is None else raw.encode(),
        accept=request.get("accept", "application/json"),
        content_type=request.get("contentType", "application/json"),
    )


def check(cluster: Any, step: Object) -> None:
    reply, recorded = send(cluster, step["request"]), step["response"]
    where = f"{step['step']}: {reply.body}"
    assert reply.status == recorded["status"], where
    assert comparable(reply.body) == comparable(recorded["body"]), where
    for name, value in recorded["headers"].items():
        assert reply.headers.get(name) == value, (where, name)


def namespace(cluster: Any, name: str) -> None:
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.mark.parametrize("step", load("admission")["steps"], ids=lambda step: step["step"].replace(" ", "-"))
def test_admission_answers_as_recorded(cluster: Any, step: Object) -> None:
    namespace(cluster, "rec-admission")
    check(cluster, step)


@pytest.mark.parametrize("scenario", POWER)
def test_power_calls_answer_as_recorded(cluster: Any, scenario: str) -> None:
    recording = load(scenario)
    namespace(cluster, recording["namespace"])
    for step in recording["steps"]:
        if step["step"] == "gone":
            # Between the last calls the recorder deleted the VM and waited for it.
            cluster.request(
                "DELETE", f"/apis/kubevirt.io/v1/namespaces/{recording['namespace']}/virtualmachines/m"
            )
            cluster.advance(60)
        check(cluster, step)
        wait_as_the_recorder_did(cluster, step)


def wait_as_the_recorder_did(cluster: Any, step: Object) -> None:
    """After a start until Running and ready and a moment more; after a stop until Stopping, later until gone."""
    request, accepted = step["request"], step["response"]["status"] in (201, 202)
    verb = request["path"].rsplit("/", 1)[1]
    dry = "dryRun" in json.dumps(request.get("body") or {})
    if request["method"] == "POST" and accepted:
        cluster.advance(5)
    elif verb in ("start", "restart") and accepted and not dry:
        cluster.advance(20)
    elif step["step"] == "start while stopping":
        cluster.advance(30)


def states(events: list[tuple[str, Object]]) -> list[tuple[Any, ...]]:
    """The distinct states that a stream of events leads through."""
    found: list[tuple[Any, ...]] = []
    for kind, obj in events:
        status = obj.get("status") or {}
        state: tuple[Any, ...] = (
            ("DELETED",)
            if kind == "DELETED"
            else (
                status.get("printableStatus") or status.get("phase"),
                bool(status.get("ready")),
                "deletionTimestamp" in obj["metadata"],
            )
        )
        if not found or found[-1] != state:
            found.append(state)
    return found


def test_a_life_leads_through_the_recorded_states(cluster: Any) -> None:
    recording = load("lifecycle")
    name_space = recording["namespace"]
    namespace(cluster, name_space)
    types = cluster.kubevirt.types
    seen: dict[str, list[tuple[str, Object]]] = {types.vm.kind: [], types.vmi.kind: []}
    cluster.store.subscribe(
        lambda event: seen[event.rtype.kind].append((event.type, event.object)), types.vm, types.vmi
    )
    recorded = [
        [(event["type"], event["object"]) for event in step["response"]["body"]["stream"]]
        for step in recording["steps"][:2]
    ]
    first = recorded[0][0][1]
    manifest = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "life", "labels": first["metadata"]["labels"]},
        "spec": first["spec"],
    }
    base = f"/apis/subresources.kubevirt.io/v1/namespaces/{name_space}/virtualmachines/life"
    cluster.create(manifest, namespace=name_space)
    cluster.advance(10)
    assert cluster.request("PUT", f"{base}/stop", {}, accept="*/*").status == 202
    cluster.advance(20)
    assert cluster.request("PUT", f"{base}/start", {}, accept="*/*").status == 202
    cluster.advance(20)
    cluster.request("DELETE", f"/apis/kubevirt.io/v1/namespaces/{name_space}/virtualmachines/life")
    cluster.advance(20)
    assert states(seen["VirtualMachine"]) == states(recorded[0])
    assert states(seen["VirtualMachineInstance"]) == states(recorded[1])
    reasons = {
        (event["reason"], event["involvedObject"]["kind"])
        for event in recording["steps"][2]["response"]["body"]["items"]
    }
    events = cluster.store.list(cluster.registry.get("", "events"), name_space)
    assert {(event["reason"], event["involvedObject"]["kind"]) for event in events} == reasons
