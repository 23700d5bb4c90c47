from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkit.lab.builtin.types import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from vmkit.lab.clock import Clock
from vmkit.lab.status import ApiError
from vmkit.lab.store import Preconditions, Store


@pytest.fixture
def store() -> Store:
    return Store(Clock(start=datetime(2026, 1, 1, tzinfo=UTC), frozen=True))


def config_map(name="a", **more):
    return {"metadata": {"name": name, "namespace": "n", **more}, "data": {"k": "v"}}


def test_a_created_object_carries_what_a_server_sets(store):
    made = store.create(CONFIG_MAPS, config_map(), manager="m")
    assert made["kind"] == "ConfigMap"
    assert made["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:k": {}}}
    assert store.get(CONFIG_MAPS, "n", "a") == made


def test_what_is_handed_out_is_a_copy(store):
    store.create(CONFIG_MAPS, config_map())
    store.get(CONFIG_MAPS, "n", "a")["data"]["k"] = "spoiled"
    assert store.get(CONFIG_MAPS, "n", "a")["data"] == {"k": "v"}


def test_a_write_that_changes_nothing_keeps_its_version(store):
    made = store.create(CONFIG_MAPS, config_map(), manager="m")
    again = store.update(CONFIG_MAPS, made, manager="m")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_stale_version_is_refused_and_none_is_unconditional(store):
    made = store.create(CONFIG_MAPS, config_map())
    store.update(CONFIG_MAPS, {**made, "data": {"k": "2"}})
    with pytest.raises(ApiError) as refused:
        store.update(CONFIG_MAPS, {**made, "data": {"k": "3"}})
    assert refused.value.code == 409
    made["metadata"].pop("resourceVersion")
    assert store.update(CONFIG_MAPS, {**made, "data": {"k": "3"}})["data"] == {"k": "3"}


def test_generation_counts_what_is_asked_for_and_not_what_is_reported(store):
    body = {"metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": 1, "selector": {}, "template": {}}}
    made = store.create(DEPLOYMENTS, body)
    assert made["metadata"]["generation"] == 1
    reported = store.update(DEPLOYMENTS, {**made, "status": {"replicas": 1}}, subresource="status")
    assert reported["metadata"]["generation"] == 1
    asked = store.update(DEPLOYMENTS, {**reported, "spec": {**made["spec"], "replicas": 2}})
    assert (asked["metadata"]["generation"], asked["status"]) == (2, {"replicas": 1})


def test_finalizers_hold_an_object_until_they_are_gone(store):
    store.create(CONFIG_MAPS, config_map(finalizers=["example.org/hold"]))
    held = store.delete(CONFIG_MAPS, "n", "a")
    assert not held.gone
    assert held.object["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    obj = store.get(CONFIG_MAPS, "n", "a")
    del obj["metadata"]["finalizers"]
    store.update(CONFIG_MAPS, obj)
    assert store.find(CONFIG_MAPS, "n", "a") is None


def test_a_running_pod_gets_its_grace_and_a_shorter_one_wins(store):
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "x", "containers": []}}
    store.create(PODS, pod, with_status=True)
    first = store.delete(PODS, "n", "p")
    assert first.object["metadata"]["deletionGracePeriodSeconds"] == 30
    assert store.delete(PODS, "n", "p", grace_seconds=5).object["metadata"]["deletionGracePeriodSeconds"] == 5
    assert store.delete(PODS, "n", "p", grace_seconds=0).gone


def test_preconditions_are_checked(store):
    made = store.create(CONFIG_MAPS, config_map())
    for wrong in (Preconditions(uid="x"), Preconditions(resource_version="1")):
        with pytest.raises(ApiError, match="in the precondition"):
            store.delete(CONFIG_MAPS, "n", "a", preconditions=wrong)
    assert store.delete(CONFIG_MAPS, "n", "a", preconditions=Preconditions(uid=made["metadata"]["uid"])).gone


def test_a_dry_run_leaves_nothing(store):
    version = store.version
    assert "resourceVersion" not in store.create(CONFIG_MAPS, config_map(), dry_run=True)["metadata"]
    assert (store.version, store.count(CONFIG_MAPS)) == (version, 0)


def test_events_come_in_order_even_when_a_callback_writes(store):
    seen = []

    def first(event):
        if event.type == "ADDED" and event.key.name == "a":
            store.create(CONFIG_MAPS, config_map("b"))

    store.subscribe(first, CONFIG_MAPS)
    store.subscribe(lambda event: seen.append((event.type, event.key.name)), CONFIG_MAPS)
    store.create(CONFIG_MAPS, config_map("a"))
    store.delete(CONFIG_MAPS, "n", "b")
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")]


def test_an_earlier_state_can_be_listed_and_a_forgotten_one_is_expired(store):
    for name in "abc":
        store.create(CONFIG_MAPS, config_map(name))
    version = store.version
    store.delete(CONFIG_MAPS, "n", "b")
    store.update(CONFIG_MAPS, {**store.get(CONFIG_MAPS, "n", "a"), "data": {"k": "2"}})
    store.create(CONFIG_MAPS, config_map("d"))
    then = store.entries_at(CONFIG_MAPS, version)
    assert [(entry.key.name, entry.decode()["data"]["k"]) for entry in then] == [(x, "v") for x in "abc"]
    with pytest.raises(ApiError) as refused:
        store.entries_at(CONFIG_MAPS, 1)
    assert refused.value.code == 410
    with pytest.raises(ApiError, match=r"too old resource version: 1 \("):
        store.events_since(CONFIG_MAPS, 1)


def test_nothing_is_made_in_a_namespace_that_is_absent_or_ending(store):
    store.guard_namespaces(NAMESPACES)
    with pytest.raises(ApiError, match='namespaces "n" not found'):
        store.create(CONFIG_MAPS, config_map())
    store.create(NAMESPACES, {"metadata": {"name": "n"}})
    store.delete(NAMESPACES, "", "n")
    with pytest.raises(ApiError, match="because it is being terminated"):
        store.create(CONFIG_MAPS, config_map())


def test_the_same_seed_gives_the_same_uids_and_names():
    def names(seed):
        store = Store(Clock(start=datetime(2026, 1, 1, tzinfo=UTC), frozen=True), seed=seed)
        made = [
            store.create(CONFIG_MAPS, {"metadata": {"generateName": "g-", "namespace": "n"}}) for _ in range(3)
        ]
        return [(each["metadata"]["name"], each["metadata"]["uid"]) for each in made]

    assert names(1) == names(1) != names(2)


def test_lists_are_in_the_order_of_storage_keys(store):
    for namespace, name in (("a-b", "x"), ("a", "y"), ("a", "x"), ("a.b", "x")):
        store.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": namespace}})
    found = [f"{entry.key.namespace}/{entry.key.name}" for entry in store.entries(CONFIG_MAPS)]
    assert found == sorted(found)
