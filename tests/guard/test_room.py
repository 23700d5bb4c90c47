"""Whether there is room to come back."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.guard.room import find_room_risks
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView

VM = VmView(VmRef("shop", "web"), memory_bytes=4 * 2**30)


def node(memory: Any = "16Gi", *, ready: str = "True", takes: str = "true", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    return {
        "metadata": {"labels": {"kubevirt.io/schedulable": takes}},
        "spec": spec,
        "status": {"conditions": conditions, "allocatable": {"memory": memory}},
    }


def quota(hard: dict[str, str], used: dict[str, str], *, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    metadata = {"name": "team", "namespace": namespace}
    return {"metadata": metadata, "spec": spec, "status": {"hard": hard, "used": used}}


@pytest.mark.parametrize(
    ("quotas", "nodes", "expected"),
    [
        ([], [node()], []),
        ([quota({"pods": "10"}, {"pods": "10"})], [node()], []),  # Its own place is free again once it is stopped.
        ([quota({"pods": "9"}, {"pods": "10"})], [node()], ["QuotaExceeded"]),
        ([quota({"requests.memory": "8Gi"}, {"requests.memory": "8200Mi"})], [node()], ["QuotaExceeded"]),
        ([quota({"limits.cpu": "1500m"}, {"limits.cpu": "2"})], [node()], ["QuotaExceeded"]),
        ([quota({"secrets": "1"}, {"secrets": "2"})], [node()], []),  # Not what a VM takes.
        ([quota({"pods": "9"}, {"pods": "10"}, namespace="other")], [node()], []),
        ([quota({"pods": "9"}, {"pods": "10"}, scopes=["Terminating"])], [node()], []),
        ([quota({"pods": "some"}, {"pods": "10"})], [node()], []),
        ([{"metadata": 3, "status": "x"}], [node()], []),
        ([], [], ["NoRoom"]),
        (
            [],
            [node(unschedulable=True), node(ready="False"), node(ready="Unknown"), node(takes="false")],
            ["NoRoom"],
        ),
        ([], [node("2Gi"), node("3Gi")], ["NoRoom"]),
        ([], [node("2Gi"), node("4Gi")], []),
        ([], [node("nonsense")], ["NoRoom"]),
    ],
)
def test_what_is_certain_is_said(quotas: list[Any], nodes: list[Any], expected: list[str]) -> None:
    assert [risk.code for risk in find_room_risks(VM, quotas, nodes)] == expected


def test_of_a_vm_whose_memory_nobody_knows_only_the_nodes_are_asked() -> None:
    unknown = VmView(VmRef("shop", "web"))
    assert find_room_risks(unknown, [], [node("1Mi")]) == ()
    assert [risk.code for risk in find_room_risks(unknown, [], [node(unschedulable=True)])] == ["NoRoom"]
