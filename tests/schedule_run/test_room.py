"""A VM that would find no room again is not stopped."""

from __future__ import annotations

import pytest

from tests.schedule_run.test_install import create_safe
from tests.schedule_run.world import World, codes
from vmkit.cluster.resources import NODES, RESOURCE_QUOTAS


def lower_the_quota(shop: World) -> None:
    spec = {"hard": {"pods": "0"}}
    document = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": spec}
    shop.session.create(RESOURCE_QUOTAS, document)
    status = {"status": {"hard": {"pods": "0"}, "used": {"pods": "1"}}}
    shop.session.patch(RESOURCE_QUOTAS, "team", status, subresource="status")


def cordon_every_node(shop: World) -> None:
    for node in shop.session.list(NODES):
        shop.session.patch(NODES, node["metadata"]["name"], {"spec": {"unschedulable": True}})


@pytest.mark.parametrize(
    ("prepare", "code"),
    [(lower_the_quota, "QuotaExceeded"), (cordon_every_node, "NoRoom")],
    ids=["quota", "nodes"],
)
def test_it_is_left_running_until_there_is_room_or_it_says_that_this_is_fine(shop: World, prepare, code) -> None:
    create_safe(shop, "web")
    shop.run()
    prepare(shop)
    shop.to(18)
    assert codes(shop.run()) == {"web": code}
    assert shop.power("web") == "Running"
    shop.annotate("web", restart_safe="true")
    assert codes(shop.run()) == {"web": "ScheduledStop"}


def test_with_room_it_is_stopped_and_comes_back(shop: World) -> None:
    create_safe(shop, "web")
    shop.run()
    shop.to(18)
    assert codes(shop.run()) == {"web": "ScheduledStop"}
    assert shop.power("web") == "Stopped"
    shop.to(8, days=1)
    assert codes(shop.run()) == {"web": "ScheduledStart"}
    assert shop.power("web") == "Running"
