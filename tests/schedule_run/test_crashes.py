"""A pass that is killed at any request repeats nothing and loses nothing; two at once do it once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.power.guillotine import Guillotine
from tests.schedule_run.world import OFFICE, World, codes
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.errors import VmkitError
from vmkit.schedule.running import PassOptions, run_pass
from vmkit.schedule.state import STATE, parse_state
from vmkit.scheduling import PowerHands
from vmkit.vm.history import parse_history


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fall_at", range(4, 13))
def test_a_stop_killed_at_any_request_is_done_once_by_the_next_pass(
    shop: World, tmp_path: Path, fall_at: int, after: bool
) -> None:
    shop.create("web", strategy="Always")
    shop.run()
    shop.to(18)
    with Guillotine(shop.lab, tmp_path, fall_at=fall_at, after=after) as blade:
        with blade.connect("shop") as session:
            try:
                run_pass(session, PowerHands(session), PassOptions(namespace="shop"))
            except VmkitError:
                assert blade.fallen
        stops = sum("/stop" in request for request in blade.requests)
    shop.advance(minutes=5)
    shop.run()
    shop.advance(minutes=5)
    shop.run()
    view = shop.look("web")
    assert str(view.power) == "Stopped"
    state = parse_state(view.annotations[STATE])
    assert state.pending is None
    assert state.stopped_at is not None
    assert stops <= 1
    shop.to(8, days=1)
    assert codes(shop.run()) == {"web": "ScheduledStart"}
    assert shop.power("web") == "Running"
    assert str(shop.look("web").run_strategy) == "Always"


def test_two_passes_at_once_do_it_once(shop: World) -> None:
    names = [f"web-{number}" for number in range(6)]
    for name in names:
        shop.create(name)
    shop.run()
    shop.to(18)
    gate, failures = threading.Barrier(2), list[BaseException]()

    def work() -> None:
        try:
            with Session.connect(kubeconfig=shop.lab.kubeconfig, namespace="shop") as session:
                gate.wait()
                run_pass(session, PowerHands(session), PassOptions(namespace="shop"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for name in names:
        assert shop.power(name) == "Stopped"
        assert sum(entry.verb == "stop" for entry in parse_history(shop.look(name).annotations)) == 1


def test_a_clone_that_carries_a_copy_begins_its_own_history(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    shop.run()
    shop.create("copy", OFFICE)
    copied = shop.look("web").annotations[STATE]
    shop.session.patch(VIRTUAL_MACHINES, "copy", {"metadata": {"annotations": {STATE: copied}}})
    assert codes(shop.run())["copy"] == "FirstSight"
