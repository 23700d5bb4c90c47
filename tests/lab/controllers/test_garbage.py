import pytest

from vmkit.lab.builtin.types import register
from vmkit.lab.clock import Clock
from vmkit.lab.controller import Context
from vmkit.lab.controllers.garbage import GarbageCollector
from vmkit.lab.events import EventRecorder
from vmkit.lab.resources import Registry
from vmkit.lab.store import Store


@pytest.fixture
def world():
    clock = Clock(frozen=True)
    registry = Registry()
    register(registry)
    store = Store(clock)
    events = registry.get("", "events")
    context = Context(store=store, clock=clock, registry=registry, recorder=EventRecorder(store, clock, events))
    controller = GarbageCollector(context)
    controller.start()
    maps = registry.get("", "configmaps")

    class World:
        failures = context.failures

        def make(self, name, *owners, block=False, finalizers=()):
            metadata = {"name": name, "namespace": "a"}
            if owners:
                metadata["ownerReferences"] = [
                    {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "name": owner["metadata"]["name"],
                        "uid": owner["metadata"]["uid"],
                        "blockOwnerDeletion": block,
                    }
                    for owner in owners
                ]
            if finalizers:
                metadata["finalizers"] = list(finalizers)
            return store.create(maps, {"metadata": metadata})

        def delete(self, obj, propagation=None):
            store.delete(maps, "a", obj["metadata"]["name"], propagation=propagation)
            clock.settle()

        def names(self):
            clock.settle()
            return {entry.key.name for entry in store.entries(maps, "a")}

        def get(self, name):
            return store.get(maps, "a", name)

        def release(self, name):
            obj = store.get(maps, "a", name)
            obj["metadata"]["finalizers"] = [
                each for each in obj["metadata"]["finalizers"] if each in ("foregroundDeletion", "orphan")
            ]
            store.update(maps, obj)

    yield World()
    assert context.failures == []


def test_dependents_go_with_their_owner_all_the_way_down(world):
    owner = world.make("owner")
    child = world.make("child", owner)
    world.make("grandchild", child)
    world.delete(owner)
    assert world.names() == set()


def test_a_dependent_with_another_owner_stays_and_lets_the_dead_one_go(world):
    first, second = world.make("first"), world.make("second")
    world.make("shared", first, second)
    world.delete(first)
    assert world.names() == {"second", "shared"}
    assert [each["name"] for each in world.get("shared")["metadata"]["ownerReferences"]] == ["second"]
    world.delete(second)
    assert world.names() == set()


def test_orphaning_takes_the_reference_off_and_keeps_the_dependent(world):
    owner = world.make("owner")
    world.make("child", owner)
    world.delete(owner, "Orphan")
    assert world.names() == {"child"}
    assert "ownerReferences" not in world.get("child")["metadata"]


def test_a_foreground_deletion_waits_for_the_dependents_that_block_it(world):
    owner = world.make("owner")
    world.make("child", owner, block=True, finalizers=("test/hold",))
    world.make("other", owner)
    world.delete(owner, "Foreground")
    assert world.names() == {"owner", "child"}
    assert "deletionTimestamp" in world.get("child")["metadata"]
    world.release("child")
    assert world.names() == set()


def test_an_object_whose_owner_never_was_goes(world):
    world.make("child", {"metadata": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000000"}})
    assert world.names() == set()


def test_an_owner_of_another_name_with_the_same_uid_is_no_owner(world):
    owner = world.make("owner")
    world.make("child", {"metadata": {"name": "renamed", "uid": owner["metadata"]["uid"]}})
    assert world.names() == {"owner"}
