import json

import pytest

from tests.lab.storage_world import START, World
from vmkit.lab.argocd.applications import is_window_open
from vmkit.lab.argocd.drift import find_drift, heal, judge_health, read_ignored, worst_health
from vmkit.lab.argocd.resources import build_application

MANIFEST = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachine",
    "metadata": {"name": "web", "namespace": "a", "labels": {"app": "web"}},
    "spec": {
        "runStrategy": "Always",
        "template": {
            "spec": {
                "domain": {"devices": {}, "memory": {"guest": "1Gi"}},
                "volumes": [{"containerDisk": {"image": "x"}, "name": "root"}],
            }
        },
    },
}


@pytest.fixture
def world():
    world = World(kubevirt=True)
    commit(world, MANIFEST)
    return world


def commit(world, manifest):
    maps = world.registry.get("", "configmaps")
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "data": {"web.json": json.dumps(manifest)},
    }
    if world.store.exists(maps, "argocd", "shop"):
        world.update(made)
    else:
        world.make(made)


def add_application(world, **settings):
    spec = settings.pop("spec", {})
    application = build_application("shop", "a", **settings)
    application["spec"] |= spec
    world.make(application)
    world.advance(30)


def status(world):
    found = world.get("argoproj.io", "applications", "shop", "argocd")["status"]
    return found["sync"]["status"], found["health"]["status"]


def vm(world):
    return world.get("kubevirt.io", "virtualmachines", "web")


def set_strategy(world, strategy):
    found = vm(world)
    found["spec"]["runStrategy"] = strategy
    world.update(found)


def test_what_git_has_is_made_and_tracked(world):
    add_application(world)
    world.advance(60)
    assert status(world) == ("Synced", "Healthy")
    annotations = vm(world)["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/tracking-id"] == "shop:kubevirt.io/VirtualMachine:a/web"


def test_drift_is_healed_by_itself_after_a_moment(world):
    add_application(world, self_heal=True)
    set_strategy(world, "Halted")
    world.advance(4)
    assert vm(world)["spec"]["runStrategy"] == "Halted"
    assert status(world)[0] == "OutOfSync"
    world.advance(2)
    assert vm(world)["spec"]["runStrategy"] == "Always"
    assert status(world)[0] == "Synced"


def test_healing_again_and_again_takes_longer_each_time(world):
    add_application(world, self_heal=True)
    waits = []
    for _ in range(5):
        set_strategy(world, "Halted")
        waited = 0
        while vm(world)["spec"]["runStrategy"] == "Halted":
            world.advance(1)
            waited += 1
        waits.append(waited)
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


def test_without_self_heal_drift_stays_until_the_next_commit(world):
    add_application(world, self_heal=False)
    set_strategy(world, "Halted")
    world.advance(600)
    assert vm(world)["spec"]["runStrategy"] == "Halted"
    assert status(world)[0] == "OutOfSync"
    commit(world, {**MANIFEST, "metadata": {**MANIFEST["metadata"], "labels": {"app": "shop"}}})
    world.advance(30)
    assert vm(world)["spec"]["runStrategy"] == "Always"
    assert vm(world)["metadata"]["labels"]["app"] == "shop"


@pytest.mark.parametrize(
    "settings",
    [
        {"automated": False},
        {"spec": {"syncPolicy": {"automated": {"enabled": False, "selfHeal": True}}}},
    ],
)
def test_an_application_that_is_not_automated_does_nothing(world, settings):
    add_application(world, **settings)
    assert world.find("kubevirt.io", "virtualmachines", "web") is None
    assert status(world) == ("OutOfSync", "Missing")


def test_what_is_ignored_is_no_drift(world):
    ignore = [{"group": "kubevirt.io", "kind": "VirtualMachine", "jsonPointers": ["/spec/runStrategy"]}]
    add_application(world, spec={"ignoreDifferences": ignore})
    set_strategy(world, "Halted")
    world.advance(60)
    assert vm(world)["spec"]["runStrategy"] == "Halted"
    assert status(world)[0] == "Synced"


@pytest.mark.parametrize(("options", "strategy"), [((), "Always"), (("RespectIgnoreDifferences=true",), "Halted")])
def test_a_sync_overwrites_what_is_ignored_unless_it_respects_it(world, options, strategy):
    ignore = [{"group": "kubevirt.io", "kind": "VirtualMachine", "jqPathExpressions": [".spec.runStrategy"]}]
    add_application(world, options=options, spec={"ignoreDifferences": ignore})
    set_strategy(world, "Halted")
    commit(world, {**MANIFEST, "metadata": {**MANIFEST["metadata"], "labels": {"app": "shop"}}})
    world.advance(30)
    assert vm(world)["spec"]["runStrategy"] == strategy


def test_a_deny_window_keeps_an_application_from_syncing(world):
    add_application(world, self_heal=True)
    project = world.get("argoproj.io", "appprojects", "default", "argocd")
    project["spec"]["syncWindows"] = [
        {"kind": "deny", "schedule": "0 10 * * *", "duration": "1h", "applications": ["*"]}
    ]
    world.update(project)
    set_strategy(world, "Halted")
    world.advance(60)
    assert vm(world)["spec"]["runStrategy"] == "Halted"


def test_windows_open_and_close_in_their_time_zone():
    window = {"schedule": "0 11 * * *", "duration": "1h", "timeZone": "Europe/Berlin"}
    assert is_window_open(window, START)
    assert not is_window_open({**window, "timeZone": "UTC"}, START)
    assert not is_window_open({**window, "schedule": "nonsense"}, START)


def test_lists_of_named_things_are_compared_by_name():
    live = {"spec": {"volumes": [{"name": "b", "x": 1}, {"name": "a", "x": 2, "filled": True}]}}
    assert find_drift({"spec": {"volumes": [{"name": "a", "x": 2}]}}, live) == []
    assert find_drift({"spec": {"volumes": [{"name": "a", "x": 3}]}}, live) == [("spec", "volumes", "a", "x")]
    assert find_drift({"spec": {}}, None) == [()]


def test_healing_keeps_what_git_does_not_speak_of():
    live = {
        "metadata": {"labels": {"a": "1"}},
        "spec": {"x": 1, "kept": 2, "list": [{"name": "n", "v": 1, "f": 2}]},
    }
    desired = {
        "metadata": {"labels": {"b": "2"}},
        "spec": {"x": 3, "list": [{"name": "n", "v": 9}, {"name": "m"}]},
    }
    healed = heal(desired, live)
    assert healed["spec"] == {"x": 3, "kept": 2, "list": [{"name": "n", "v": 9, "f": 2}, {"name": "m"}]}
    assert healed["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert find_drift(desired, healed) == []
    assert live["spec"]["x"] == 1


def test_fields_of_a_manager_can_be_ignored():
    obj = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"managedFields": [{"manager": "vmkit", "fieldsV1": {"f:spec": {"f:runStrategy": {}}}}]},
    }
    ignore = [{"group": "kubevirt.io", "kind": "VirtualMachine", "managedFieldsManagers": ["vmkit"]}]
    assert read_ignored(ignore, obj) == [("spec", "runStrategy")]
    assert read_ignored([{**ignore[0], "kind": "Service"}], obj) == []


@pytest.mark.parametrize(
    ("state", "health"),
    [
        ({}, "Progressing"),
        ({"conditions": [{"type": "Ready", "status": "True"}], "created": True}, "Healthy"),
        ({"conditions": [{"type": "Ready", "status": "False"}]}, "Suspended"),
        ({"conditions": [{"type": "Ready", "status": "False"}], "created": True}, "Progressing"),
        ({"conditions": [{"type": "Paused", "status": "True"}], "created": True}, "Suspended"),
    ],
)
def test_the_health_of_a_vm(state, health):
    assert judge_health({"kind": "VirtualMachine", "status": state})[0] == health


def test_the_worst_health_counts():
    assert worst_health(["Healthy", "Suspended"]) == "Suspended"
    assert worst_health(["Progressing", "Degraded"]) == "Degraded"
    assert worst_health([]) == "Healthy"
