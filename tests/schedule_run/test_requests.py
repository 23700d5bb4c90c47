"""How much a pass asks of the cluster."""

from __future__ import annotations

from pathlib import Path

from tests.power.guillotine import Guillotine
from tests.schedule_run.world import World
from vmkit.schedule.running import PassOptions, run_pass
from vmkit.scheduling import PowerHands


def test_a_pass_that_finds_nothing_to_do_reads_three_lists(shop: World, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shop.create(name)
    shop.run(namespace=None)
    shop.to(9)
    shop.run(namespace=None)
    with Guillotine(shop.lab, tmp_path, fall_at=0, after=False) as proxy, proxy.connect("shop") as session:
        run_pass(session, PowerHands(session), PassOptions())
        kinds = [request.split("?")[0].rsplit("/", 1)[-1] for request in proxy.requests]
    assert kinds == ["namespaces", "virtualmachineinstances", "virtualmachines"]
