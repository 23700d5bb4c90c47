"""A run that is killed at any request repeats nothing and loses nothing; two at once do it once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.idle.running.world import SHOP, World
from tests.power.guillotine import Guillotine
from vmkit.cluster import Session
from vmkit.errors import Forbidden, Unreachable, VmkitError
from vmkit.idle.running import IdleOptions, Scope, run_idle
from vmkit.idling import IdleHands
from vmkit.plan import Outcome, Status
from vmkit.units import Limit
from vmkit.vm.state import VmView

_NOTE = range(1, 16)
"""Lists, the guest's users, the share of idle VMs, the switch, the note, the Event. Of a request that only reads
it is all the same whether it arrived."""
_STOP = range(1, 20)
"""Lists, users, share, switch, the VM again, what is written ahead, the stop, what is written behind, Event."""


def run_until(shop: World, folder: Path, fall_at: int, *, after: bool, stop_now: bool = False) -> list[str]:
    """A run that is killed there; the requests that it made."""
    with Guillotine(shop.lab, folder, fall_at=fall_at, after=after) as blade:
        with blade.connect(SHOP) as session:
            try:
                options = IdleOptions(scope=Scope(namespace=SHOP), stop_now=stop_now)
                run_idle(session, IdleHands(session), shop.source, options)
            except VmkitError:
                assert blade.fallen
        return blade.requests


@pytest.mark.parametrize(
    ("fall_at", "after"), [*((each, False) for each in _NOTE), *((each, True) for each in _NOTE[9:])]
)
def test_a_note_cut_off_at_any_request_is_written_once_and_nothing_stopped(
    shop: World, tmp_path: Path, fall_at: int, after: bool
) -> None:
    shop.create("web")
    run_until(shop, tmp_path, fall_at, after=after)
    begun = shop.mark("web")
    shop.advance(minutes=30)
    shop.run()
    mark = shop.mark("web")
    assert mark is not None
    assert begun in (None, mark)
    assert (shop.power("web"), shop.stops("web")) == ("Running", [])


@pytest.mark.parametrize(
    ("strategy", "fall_at", "after"),
    [
        *(("Always", each, False) for each in _STOP),
        *(("Always", each, True) for each in _STOP[12:]),
        *(("Manual", each, True) for each in _STOP[12:17]),
        *(("Manual", each, False) for each in _STOP[14:16]),
    ],
)
def test_a_stop_cut_off_at_any_request_is_done_once(
    shop: World, tmp_path: Path, strategy: str, fall_at: int, after: bool
) -> None:
    shop.create("web", strategy=strategy, days=0)
    if strategy == "Manual":
        shop.call("web", "start")
    shop.advance(days=90)
    shop.run()
    shop.advance(days=1)
    requests = run_until(shop, tmp_path, fall_at, after=after)
    shop.advance(minutes=15)
    with Guillotine(shop.lab, tmp_path, fall_at=0, after=False) as blade, blade.connect(SHOP) as session:
        for _ in range(2):
            run_idle(session, IdleHands(session), shop.source, IdleOptions(scope=Scope(namespace=SHOP)))
            shop.advance(minutes=15)
        requests += blade.requests
    assert shop.power("web") == "Stopped"
    assert shop.mark("web") is None
    assert [entry.code for entry in shop.stops("web")] == ["StoppedIdle"]
    # A request that never arrived is sent again; one that did is not.
    arrived = fall_at <= len(requests) and not after and requests[fall_at - 1].endswith("/stop")
    assert sum(each.startswith("PUT") and each.endswith("/stop") for each in requests) == 1 + arrived


def test_two_runs_at_once_stop_each_vm_once(shop: World) -> None:
    names = [f"web-{number}" for number in range(6)]
    shop.create(*names)
    gate, failures = threading.Barrier(2), list[BaseException]()

    def work() -> None:
        try:
            with Session.connect(kubeconfig=shop.lab.kubeconfig, namespace=SHOP) as session:
                gate.wait()
                scope = Scope(names=tuple(shop.look(name).ref for name in names))
                options = IdleOptions(scope=scope, stop_now=True, max_stops=Limit(count=6))
                run_idle(session, IdleHands(session), shop.source, options)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    shop.advance(minutes=15)
    shop.run()
    for name in names:
        assert shop.power(name) == "Stopped"
        assert len(shop.stops(name)) == 1


@pytest.mark.parametrize("arrived", [False, True])
def test_a_stop_of_which_nobody_knows_whether_it_arrived_is_seen_through(shop: World, arrived: bool) -> None:
    shop.create("web")
    shop.run()
    shop.advance(days=1)
    stop = shop.hands.stop

    def ask_and_hear_nothing(view: VmView, *, grace_seconds: int | None) -> Outcome:
        if arrived:
            stop(view, grace_seconds=grace_seconds)
        raise Unreachable("no answer came")

    shop.hands.stop = ask_and_hear_nothing  # type: ignore[method-assign]
    [outcome] = shop.run().result.outcomes
    assert outcome.status is Status.FAILED
    assert "StoppedIdleFailed" in shop.events("web")
    shop.hands.stop = stop  # type: ignore[method-assign]
    shop.advance(minutes=15)
    shop.run()
    assert (shop.power("web"), shop.mark("web"), len(shop.stops("web"))) == ("Stopped", None, 1)


def test_a_stop_that_is_refused_leaves_the_note_and_ends_the_waves(shop: World) -> None:
    names = ["a", "b", "c"]
    shop.create(*names)
    shop.run()
    shop.advance(days=1)
    before = [shop.mark(name) for name in names]

    def refuse(view: VmView, *, grace_seconds: int | None) -> Outcome:
        raise Forbidden("you may not stop it")

    shop.hands.stop = refuse  # type: ignore[method-assign]
    found = shop.run(wave=2, max_stops=Limit(count=3))
    assert [outcome.status for outcome in found.result.outcomes] == [Status.FAILED] * 2
    assert any("1 VM is left to a later run" in notice for notice in found.result.notices)
    assert [shop.mark(name) for name in names] == before
