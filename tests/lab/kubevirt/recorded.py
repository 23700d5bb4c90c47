"""Recorded exchanges with a real KubeVirt: reading them, sending them, comparing by the rules of their README."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Object = dict[str, Any]
DATA = Path(__file__).parents[2] / "data" / "recordings"

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


def make_namespace(cluster: Any, name: str) -> None:
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
