from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.vm.reference import VmRef
from vmkit.vm.state import InstanceView, Owner, PowerState, Volume, read_instance, read_vm
from vmkit.vm.strategy import RunStrategy

VM: dict[str, Any] = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachine",
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-01T08:00:00Z",
        "labels": {"team": "web", "n": 3},
        "annotations": {"vmkit.io/template": "debian"},
        "ownerReferences": [{"kind": "VirtualMachinePool", "name": "pool", "uid": "p", "controller": True}],
        "managedFields": [{"manager": "vmkit"}, {"manager": "virt-controller"}],
    },
    "spec": {
        "runStrategy": "Manual",
        "instancetype": {"name": "u1.small"},
        "preference": {"name": "debian"},
        "dataVolumeTemplates": [{"metadata": {"name": "web-1-root"}}],
        "template": {
            "spec": {
                "terminationGracePeriodSeconds": 180,
                "domain": {"cpu": {"cores": 2, "sockets": 2}, "memory": {"guest": "4Gi"}},
                "volumes": [
                    {"name": "root", "dataVolume": {"name": "web-1-root"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "web-data"}},
                    {"name": "init", "cloudInitNoCloud": {"userData": "x"}},
                    {"name": "tools", "containerDisk": {"image": "quay.io/tools:1"}},
                ],
            }
        },
    },
    "status": {
        "printableStatus": "Running",
        "created": True,
        "ready": True,
        "runStrategy": "Manual",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T08:01:00Z"}],
    },
}
VMI: dict[str, Any] = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "i-1"},
    "spec": {"terminationGracePeriodSeconds": 30},
    "status": {
        "phase": "Running",
        "nodeName": "node-a",
        "interfaces": [{"ipAddress": "10.0.0.7", "ipAddresses": ["10.0.0.7", "fd00::7"]}],
        "phaseTransitionTimestamps": [
            {"phase": "Running", "phaseTransitionTimestamp": "2026-11-01T08:00:50Z"},
            {"phase": "Scheduled", "phaseTransitionTimestamp": "2026-11-01T08:00:40Z"},
        ],
    },
}


def test_everything_people_ask_for_is_read() -> None:
    view = read_vm(VM, VMI)
    assert view.ref == VmRef("shop", "web-1")
    assert view.run_strategy is RunStrategy.MANUAL
    assert view.power is PowerState.RUNNING
    assert view.ready
    assert view.created_at == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert (view.cpu_cores, view.memory_bytes) == (4, 4 * 2**30)
    assert (view.instancetype, view.preference) == ("u1.small", "debian")
    assert (view.node, view.addresses) == ("node-a", ("10.0.0.7", "fd00::7"))
    assert view.labels == {"team": "web"}
    assert view.owners == (Owner("VirtualMachinePool", "pool", "p", controller=True),)
    assert view.volumes == (
        Volume("root", "dataVolume", "web-1-root", templated=True),
        Volume("data", "persistentVolumeClaim", "web-data"),
        Volume("init", "cloudInitNoCloud"),
        Volume("tools", "containerDisk", "quay.io/tools:1"),
    )
    assert [volume.persistent for volume in view.volumes] == [True, True, False, False]
    assert view.grace_seconds == 180
    assert view.managers == {"vmkit", "virt-controller"}
    assert view.instance is not None
    assert view.instance.started_at == datetime(2026, 11, 1, 8, 0, 50, tzinfo=UTC)
    assert view.problem == ""


@pytest.mark.parametrize(
    ("printable", "power"),
    [
        ("Running", PowerState.RUNNING),
        ("Stopped", PowerState.STOPPED),
        ("Stopping", PowerState.STOPPING),
        ("Paused", PowerState.PAUSED),
        ("Migrating", PowerState.MIGRATING),
        ("Terminating", PowerState.DELETING),
        ("ErrorUnschedulable", PowerState.STARTING),
        ("CrashLoopBackOff", PowerState.STARTING),
        ("WaitingForVolumeBinding", PowerState.STARTING),
        ("Unknown", PowerState.UNKNOWN),
        ("SomethingOfTheFuture", PowerState.UNKNOWN),
    ],
)
def test_printable_status_tells_the_power_state(printable: str, power: PowerState) -> None:
    assert read_vm({**VM, "status": {"printableStatus": printable}}).power is power


@pytest.mark.parametrize(
    ("phase", "deleting", "power"),
    [
        ("Running", False, PowerState.RUNNING),
        ("Running", True, PowerState.STOPPING),
        ("Scheduling", False, PowerState.STARTING),
        ("Succeeded", False, PowerState.STOPPED),
        ("Unknown", False, PowerState.UNKNOWN),
    ],
)
def test_where_the_vm_says_nothing_its_instance_does(phase: str, deleting: bool, power: PowerState) -> None:
    metadata = {"deletionTimestamp": "2026-11-01T08:00:00Z"} if deleting else {}
    instance = {"metadata": metadata, "status": {"phase": phase}}
    assert read_vm({**VM, "status": {}}, instance).power is power


@pytest.mark.parametrize(
    ("strategy", "power"),
    [("Always", PowerState.STARTING), ("Halted", PowerState.STOPPED), ("Manual", PowerState.STOPPED)],
)
def test_a_vm_nobody_has_looked_at_yet_is_what_its_strategy_makes_of_it(strategy: str, power: PowerState) -> None:
    assert read_vm({**VM, "spec": {**VM["spec"], "runStrategy": strategy}, "status": {}}).power is power


def test_the_deprecated_running_field_is_a_strategy_too() -> None:
    spec = {key: value for key, value in VM["spec"].items() if key != "runStrategy"}
    assert read_vm({**VM, "spec": {**spec, "running": True}}).run_strategy is RunStrategy.ALWAYS
    assert read_vm({**VM, "spec": {**spec, "running": False}}).run_strategy is RunStrategy.HALTED


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        ({}, "metadata is missing"),
        ({"metadata": []}, "metadata is [] where an object belongs"),
        ({"metadata": {"name": 3}}, "metadata.name is missing or no text"),
        ({"metadata": {"name": "a"}, "spec": "x"}, "spec is 'x' where an object belongs"),
        ({"metadata": {"name": "a"}, "spec": {"template": {"spec": {}}}}, "spec.runStrategy is missing"),
        ({"metadata": {"name": "a"}, "spec": {"runStrategy": "Maybe", "template": {"spec": {}}}}, "'Maybe'"),
        ({"metadata": {"name": "a"}, "spec": {"runStrategy": ["Always"], "template": {"spec": {}}}}, "['Always']"),
        (
            {
                "metadata": {"name": "a"},
                "spec": {
                    "runStrategy": "Always",
                    "template": {"spec": {"domain": {"memory": {"guest": "lots"}}}},
                },
            },
            "guest memory: 'lots' is not a quantity",
        ),
        (
            {"metadata": {"name": "a"}, "spec": {"runStrategy": "Always", "template": {"spec": {}}}, "status": 1},
            "status is 1",
        ),
    ],
)
def test_what_is_wrong_with_an_object_is_said_and_nothing_raised(vm: dict[str, Any], said: str) -> None:
    assert said in read_vm(vm).problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _paths(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    inner = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in inner:
        found += _paths(value, (*path, key))
    return found


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _with(document[path[0]], path[1:], value)
    return copy


@given(path=st.sampled_from(_paths(VM)), value=JSON)
def test_no_value_anywhere_in_a_vm_makes_reading_fail(path: tuple[Any, ...], value: Any) -> None:
    view = read_vm(_with(VM, path, value), VMI)
    assert isinstance(view.problem, str)
    assert isinstance(view.ref.name, str)
    assert isinstance(view.power, PowerState)


@given(path=st.sampled_from(_paths(VMI)), value=JSON)
def test_no_value_anywhere_in_an_instance_makes_reading_fail(path: tuple[Any, ...], value: Any) -> None:
    assert isinstance(read_instance(_with(VMI, path, value)), InstanceView)
    assert read_vm(VM, _with(VMI, path, value)).ref == VmRef("shop", "web-1")


@pytest.mark.parametrize(
    ("status", "busy"),
    [
        ({"snapshotInProgress": "nightly"}, "snapshot nightly is in progress"),
        ({"restoreInProgress": "back"}, "restore back is in progress"),
        ({"memoryDumpRequest": {"phase": "InProgress"}}, "a memory dump is in progress"),
        ({"memoryDumpRequest": {"phase": "Completed"}}, ""),
        ({}, ""),
    ],
)
def test_work_in_progress_is_named(status: dict[str, Any], busy: str) -> None:
    assert read_vm({**VM, "status": {**VM["status"], **status}}).busy == busy
