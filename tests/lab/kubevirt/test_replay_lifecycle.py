"""A recorded life of a VM: the same states in the same order, the same Events."""

from __future__ import annotations

from typing import Any

from tests.lab.kubevirt.recorded import Object, load, make_namespace


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
    make_namespace(cluster, name_space)
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
