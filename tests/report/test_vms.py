from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vmkit.report.vms import SORT_KEYS, render_vms, vm_to_dict
from vmkit.vm.state import read_vm

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _vm(name: str = "web-1", *, age: timedelta = timedelta(days=3), **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": "u-1",
            "creationTimestamp": (AT - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": {"vmkit.io/template": "debian"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": '{"userData": "password: hunter2"}',
                "owner": "team",
            },
        },
        "spec": {
            "runStrategy": "Always",
            "template": {
                "spec": {
                    "domain": {"cpu": {"cores": 2}, "memory": {"guest": "4Gi"}},
                    "volumes": [{"name": "root", "dataVolume": {"name": f"{name}-root"}}],
                }
            },
        },
        "status": {"printableStatus": "Running", "ready": True, "created": True} | status,
    }


VMI = {
    "metadata": {"name": "web-1", "namespace": "default"},
    "status": {"phase": "Running", "nodeName": "node-1", "interfaces": [{"ipAddress": "10.1.2.3"}]},
}


def test_the_table_shows_what_people_ask_first() -> None:
    assert render_vms([read_vm(_vm(), VMI)], "table", at=AT) == (
        "NAME    STATUS    READY   AGE   STRATEGY   NODE     IP         TEMPLATE\n"
        "web-1   Running   True    3d    Always     node-1   10.1.2.3   debian\n"
    )


def test_wide_adds_size_and_owners() -> None:
    header, row = render_vms([read_vm(_vm(), VMI)], "wide", at=AT).splitlines()
    assert header.split()[8:] == ["CPU", "MEMORY", "INSTANCETYPE", "PREFERENCE", "DISKS", "OWNER"]
    assert row.split()[8:] == ["2", "4", "GiB", "<none>", "<none>", "1", "<none>"]


def test_rows_of_several_namespaces_name_theirs() -> None:
    assert (
        render_vms([read_vm(_vm())], "table", at=AT, namespaces=True)
        .splitlines()[1]
        .startswith("default     web-1")
    )


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"metadata": {"name": "odd", "namespace": "default"}}, "spec is missing"),
        ({"metadata": {"name": "odd", "namespace": "default"}, "spec": []}, "spec is [] where an object belongs"),
        ({}, "metadata is missing"),
    ],
)
def test_a_malformed_vm_is_a_row_with_its_problem(broken: dict[str, Any], says: str) -> None:
    table = render_vms([read_vm(_vm()), read_vm(broken)], "table", at=AT)
    assert table.splitlines()[0].endswith("PROBLEM")
    assert table.splitlines()[1].endswith("<none>")
    assert says in table.splitlines()[2]
    assert "Malformed" in table.splitlines()[2]


def test_names_are_those_kubectl_takes() -> None:
    assert render_vms([read_vm(_vm("a")), read_vm(_vm("b"))], "name", at=AT) == (
        "virtualmachine.kubevirt.io/a\nvirtualmachine.kubevirt.io/b\n"
    )


def test_names_of_several_namespaces_carry_theirs_so_that_a_pipe_hits_the_right_vm() -> None:
    assert render_vms([read_vm(_vm("a"))], "name", at=AT, namespaces=True) == "default/a\n"


def test_csv_has_all_columns_whatever_the_rows() -> None:
    header, row = render_vms([read_vm(_vm(), VMI)], "csv", at=AT).splitlines()
    assert header == (
        "namespace,name,status,ready,age,strategy,node,ip,template,cpu,memory,instancetype,preference,disks,owner,problem"
    )
    assert row == "default,web-1,Running,True,3d,Always,node-1,10.1.2.3,debian,2,4 GiB,,,1,,"


def test_what_kubectl_kept_of_the_manifest_is_shown_nowhere() -> None:
    vm = read_vm(_vm(), VMI)
    assert "hunter2" not in str(vm_to_dict(vm))
    assert vm_to_dict(vm)["annotations"] == {"owner": "team"}
    assert all("hunter2" not in render_vms([vm], output, at=AT) for output in ("table", "wide", "csv", "name"))


# The keys of one VM in the envelope: programs read them. Adding is allowed; renaming and removing is not.
KEYS = [
    "namespace", "name", "uid", "power", "status", "ready", "runStrategy", "createdAt", "deletedAt", "node",
    "addresses", "template", "cpuCores", "memoryBytes", "instancetype", "preference", "labels", "annotations",
    "conditions", "owners", "volumes", "problem",
]  # fmt: skip


def test_the_json_of_a_vm_has_the_promised_keys() -> None:
    document = vm_to_dict(read_vm(_vm(), VMI))
    assert list(document) == KEYS
    assert document["memoryBytes"] == 4 * 2**30
    assert document["createdAt"] == "2026-02-26T12:00:00Z"
    assert document["volumes"] == [
        {"name": "root", "kind": "dataVolume", "source": "web-1-root", "deletedWithVm": False}
    ]
    assert list(vm_to_dict(read_vm({}))) == KEYS


def test_sorting_by_age_is_oldest_first_and_the_unknown_last() -> None:
    vms = [
        read_vm({}),
        read_vm(_vm("young", age=timedelta(hours=1))),
        read_vm(_vm("old", age=timedelta(days=900))),
    ]
    assert [vm.ref.name for vm in sorted(vms, key=SORT_KEYS["age"])] == ["old", "young", ""]


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_order_takes_malformed_vms(key: str) -> None:
    assert len(sorted([read_vm({}), read_vm(_vm(), VMI), read_vm({"spec": 1})], key=SORT_KEYS[key])) == 3
