from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.guard.gitops import GitopsOwner, GitopsVerdict, Tool, Verdict
from vmkit.inventory.description import Description, Descriptions, read_disk, read_event
from vmkit.inventory.text import render_description, render_descriptions
from vmkit.vm.state import Volume, read_vm

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROOT = Volume("root", "dataVolume", "web-1-root", templated=True)
CLAIM = {
    "spec": {
        "storageClassName": "rook-ceph-block",
        "accessModes": ["ReadWriteMany"],
        "volumeMode": "Block",
        "resources": {"requests": {"storage": "10Gi"}},
    },
    "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
}


def test_a_disk_that_is_being_imported_says_how_far_it_is() -> None:
    data_volume = {"status": {"phase": "ImportInProgress", "progress": "42.13%", "restartCount": 2}}
    disk = read_disk(ROOT, data_volume, CLAIM)
    assert (disk.phase, disk.progress, disk.restarts) == ("ImportInProgress", "42.13%", 2)
    assert (disk.storage_class, disk.access_modes, disk.volume_mode) == (
        "rook-ceph-block",
        ("ReadWriteMany",),
        "Block",
    )
    assert disk.capacity_bytes == 10 * 2**30


def test_a_disk_that_does_not_get_on_says_why() -> None:
    conditions = [
        {"type": "Bound", "status": "True", "message": "PVC bound"},
        {"type": "Running", "status": "False", "message": "404: no such image"},
    ]
    data_volume = {"status": {"phase": "ImportInProgress", "conditions": conditions}}
    assert read_disk(ROOT, data_volume, {}).message == "404: no such image"
    done = {"status": {"phase": "Succeeded", "conditions": conditions}}
    assert read_disk(ROOT, done, CLAIM).message == ""


def test_a_disk_whose_datavolume_was_collected_is_read_from_its_claim() -> None:
    assert read_disk(ROOT, {}, CLAIM).phase == "Bound"


def test_a_disk_that_is_not_there_is_missing() -> None:
    assert read_disk(ROOT, {}, {}).phase == "Missing"
    assert read_disk(ROOT, {"metadata": {"name": "x"}}, {}).phase == "Pending"


INNER_KEYS = st.sampled_from([
    "spec", "status", "phase", "capacity", "storage", "accessModes", "conditions", "series", "count", "message",
    "involvedObject", "lastTimestamp", "restartCount",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNER_KEYS, inner, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(
    st.sampled_from(["spec", "status", "metadata", "series", "count", "involvedObject"]), JSON
)


@given(OBJECTS, OBJECTS)
def test_mistyped_objects_never_raise(first: dict[str, Any], second: dict[str, Any]) -> None:
    disk = read_disk(ROOT, first, second)
    event = read_event(first)
    text = render_description(Description(read_vm(first), (disk,), (event,)), at=AT)
    assert text.startswith("Name:")


@pytest.mark.parametrize(
    ("event", "at", "count"),
    [
        ({"lastTimestamp": "2026-03-01T11:00:00Z", "count": 3}, 11, 3),
        ({"eventTime": "2026-03-01T10:00:00.123456Z"}, 10, 1),
        ({"series": {"lastObservedTime": "2026-03-01T09:00:00Z", "count": 7}, "count": 2}, 9, 7),
        ({"lastTimestamp": None, "metadata": {"creationTimestamp": "2026-03-01T07:00:00Z"}}, 7, 1),
    ],
)  # fmt: skip
def test_events_of_both_forms_are_read(event: dict[str, Any], at: int, count: int) -> None:
    read = read_event(event)
    assert read.at is not None
    assert (read.at.hour, read.count) == (at, count)


VM = {
    "metadata": {
        "name": "web-1",
        "namespace": "default",
        "creationTimestamp": "2026-02-28T12:00:00Z",
        "labels": {"app": "web", "vmkit.io/template": "debian"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "password: hunter2",
            "note": "x" * 200,
        },
    },
    "spec": {
        "runStrategy": "Manual",
        "template": {
            "spec": {
                "domain": {"cpu": {"cores": 2}, "memory": {"guest": "4Gi"}},
                "volumes": [{"name": "root", "dataVolume": {"name": "web-1-root"}}],
            }
        },
    },
    "status": {
        "printableStatus": "Stopped",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "VMINotExists",
                "message": "VMI does not exist",
                "lastTransitionTime": "2026-03-01T11:30:00Z",
            }
        ],
    },
}


def _description() -> Description:
    event = {
        "type": "Warning",
        "reason": "FailedCreate",
        "message": "no room\nat all",
        "count": 3,
        "lastTimestamp": "2026-03-01T11:55:00Z",
        "involvedObject": {"kind": "VirtualMachine", "name": "web-1"},
    }
    owner = GitopsOwner(Tool.ARGO_CD, "shop", "argocd")
    return Description(
        read_vm(VM),
        (read_disk(ROOT, {"status": {"phase": "ImportInProgress", "progress": "42.13%"}}, CLAIM),),
        (read_event(event),),
        GitopsVerdict(Verdict.DRIFT, owner, "the next sync sets it back", "ignore it"),
    )


def test_a_description_tells_everything_people_look_for() -> None:
    assert (
        render_description(_description(), at=AT)
        == f"""\
Name:           web-1
Namespace:      default
Status:         Stopped
Power:          Stopped
Run strategy:   Manual
Created:        2026-02-28 12:00:00 UTC (24h ago)
Node:           <none>
Addresses:      <none>
CPU:            2
Memory:         4 GiB
Template:       debian
GitOps:         Application argocd/shop, drift: the next sync sets it back
Labels:         app=web
                vmkit.io/template=debian
Annotations:    note={"x" * 117}...
Disks:
  NAME   KIND         SOURCE       SIZE     CLASS             MODES                 STATE
  root   dataVolume   web-1-root   10 GiB   rook-ceph-block   ReadWriteMany,Block   ImportInProgress, 42.13%
Conditions:
  TYPE    STATUS   SINCE   REASON         MESSAGE
  Ready   False    30m     VMINotExists   VMI does not exist
Verbs:
  start          possible: it is stopped
  stop           nothing to do: it is stopped already
  restart        not possible: it cannot be restarted: it is stopped
  pause          not possible: it cannot be paused: it is stopped
  unpause        not possible: it cannot be resumed: it is stopped
  live-migrate   not possible: it cannot migrate: it is stopped
Events:
  AGE   TYPE      REASON         OBJECT                 MESSAGE
  5m    Warning   FailedCreate   VirtualMachine/web-1   no room\\nat all (x3)
"""
    )


def test_several_descriptions_have_an_empty_line_between_them() -> None:
    both = render_descriptions([_description(), _description()], at=AT)
    assert both.count("\n\nName:") == 1


KEYS = [
    "namespace", "name", "uid", "power", "status", "ready", "runStrategy", "createdAt", "deletedAt", "node",
    "addresses", "template", "cpuCores", "memoryBytes", "instancetype", "preference", "labels", "annotations",
    "conditions", "owners", "volumes", "problem", "events", "verbs", "gitops",
]  # fmt: skip


def test_the_json_of_a_description_has_the_promised_keys() -> None:
    envelope = Descriptions((_description(),)).to_dict()
    assert list(envelope) == ["apiVersion", "kind", "command", "status", "exitCode", "items", "errors", "notices"]
    assert (envelope["kind"], envelope["status"]) == ("VirtualMachineDescriptionList", "ok")
    (item,) = envelope["items"]
    assert list(item) == KEYS
    assert list(item["volumes"][0]) == [
        "name", "kind", "source", "deletedWithVm", "phase", "progress", "restarts", "message", "storageClass",
        "accessModes", "volumeMode", "capacityBytes",
    ]  # fmt: skip
    assert item["verbs"]["start"] == {"move": "ask", "code": "Stopped", "text": "it is stopped"}
    assert item["gitops"]["verdict"] == "drift"
    assert "hunter2" not in str(envelope)
