"""What vmkit takes for granted about the Kubernetes API, on any cluster."""

from __future__ import annotations

import pytest

from vmkit.cluster import Session
from vmkit.cluster.resources import CONFIG_MAPS, NAMESPACES, VIRTUAL_MACHINES
from vmkit.errors import AlreadyExists, Conflict, Invalid, MissingApi, NotFound

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def config_map(name: str, **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"of": "contract"}},
        "data": data,
    }


def test_the_life_of_an_object(cluster: Session) -> None:
    made = cluster.create(CONFIG_MAPS, config_map("life", a="1"))
    with pytest.raises(AlreadyExists):
        cluster.create(CONFIG_MAPS, config_map("life", a="1"))
    assert cluster.patch(CONFIG_MAPS, "life", {"data": {"b": "2"}})["data"] == {"a": "1", "b": "2"}
    stale = {**made, "data": {"a": "3"}}
    with pytest.raises(Conflict):
        cluster.replace(CONFIG_MAPS, stale)
    with pytest.raises(Conflict):
        cluster.patch(
            CONFIG_MAPS,
            "life",
            {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": None},
        )
    with pytest.raises(Conflict):
        cluster.delete(CONFIG_MAPS, "life", uid="00000000-0000-0000-0000-000000000000")
    cluster.delete(CONFIG_MAPS, "life", uid=made["metadata"]["uid"])
    assert cluster.find(CONFIG_MAPS, "life") is None
    with pytest.raises(NotFound):
        cluster.delete(CONFIG_MAPS, "life")


def test_a_patch_for_another_object_of_the_same_name_is_refused(cluster: Session) -> None:
    cluster.create(CONFIG_MAPS, config_map("other", a="1"))
    with pytest.raises((Conflict, Invalid)):
        cluster.patch(
            CONFIG_MAPS, "other", {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"a": "2"}}
        )
    assert cluster.get(CONFIG_MAPS, "other")["data"] == {"a": "1"}


def test_pages_are_put_together(cluster: Session) -> None:
    for number in range(7):
        cluster.create(CONFIG_MAPS, config_map(f"page-{number}"))
    listing = cluster.list(CONFIG_MAPS, cluster.namespace, label_selector="of=contract", page_size=2)
    names = [item["metadata"]["name"] for item in listing if item["metadata"]["name"].startswith("page-")]
    assert names == [f"page-{number}" for number in range(7)]
    assert listing.resource_version


def test_a_watch_sees_what_happens_after_a_list(cluster: Session) -> None:
    listing = cluster.list(CONFIG_MAPS, cluster.namespace)
    list(listing)
    cluster.create(CONFIG_MAPS, config_map("seen", a="1"))
    cluster.patch(CONFIG_MAPS, "seen", {"data": {"a": "2"}})
    cluster.delete(CONFIG_MAPS, "seen")
    seen = []
    with cluster.watch(
        CONFIG_MAPS,
        cluster.namespace,
        field_selector="metadata.name=seen",
        resource_version=listing.resource_version,
        timeout_seconds=30,
    ) as watch:
        for event in watch:
            seen.append((event.type, event.object["data"]["a"]))
            if event.type == "DELETED":
                break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_applying_is_owned_and_dry_runs_are_dry(cluster: Session) -> None:
    manifest = config_map("applied", a="1")
    assert cluster.apply(manifest, dry_run=True)["data"] == {"a": "1"}
    assert cluster.find(CONFIG_MAPS, "applied") is None
    cluster.apply(manifest)
    with pytest.raises(Conflict) as caught:
        cluster.apply(config_map("applied", a="2"), field_manager="somebody-else")
    assert any(".data.a" in str(cause.get("field")) for cause in caught.value.causes)
    assert cluster.apply(config_map("applied", a="2"), field_manager="somebody-else", force=True)["data"] == {
        "a": "2"
    }
    with pytest.raises(Invalid):
        cluster.apply({**manifest, "nonsense": 1})


def test_what_is_not_served_is_told_from_what_is_not_there(cluster: Session) -> None:
    with pytest.raises(MissingApi):
        cluster.resource_for("nonsense.vmkit.io/v1", "Nonsense")
    with pytest.raises(NotFound):
        cluster.get(VIRTUAL_MACHINES, "nobody")
    assert cluster.serves(VIRTUAL_MACHINES)
    assert cluster.discover("kubevirt.io/v1", "VirtualMachine") == VIRTUAL_MACHINES


def test_access_can_be_asked_for(cluster: Session) -> None:
    assert cluster.can_i("create", CONFIG_MAPS, cluster.namespace)
    assert cluster.can_i("update", VIRTUAL_MACHINES, cluster.namespace, subresource="stop")


def test_the_namespace_of_the_session_is_where_things_happen(cluster: Session) -> None:
    assert cluster.get(NAMESPACES, cluster.namespace)["metadata"]["name"] == cluster.namespace
    made = cluster.create(CONFIG_MAPS, config_map("here"))
    assert made["metadata"]["namespace"] == cluster.namespace
