"""Killed at any request of an action and started again, or racing with another: every transition is done once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.power.guillotine import Guillotine
from tests.schedule.controller.replica import BRISK, LEASE, Process, replica, wait_until
from tests.schedule_run.world import World
from vmkit.cluster import Session
from vmkit.cluster.resources import LEASES
from vmkit.plan import Outcome
from vmkit.schedule.controller.election import LeaseOptions
from vmkit.schedule.rules import Side
from vmkit.schedule.running.records import parse_history
from vmkit.schedule.state import STATE, parse_state
from vmkit.scheduling import PowerHands
from vmkit.vm.state import VmView

_NEVER = 10**9


class Blade(Guillotine):
    """Passes everything until it is armed."""

    def arm(self, *, fall_at: int, after: bool) -> None:
        with self._lock:
            self._fall_at, self._after = len(self.requests) + fall_at, after

    def cut_off(self) -> None:
        """The server is gone: every connection breaks, and no new one is answered."""
        self._fall()

    def come_back(self) -> None:
        with self._lock:
            self.fallen = False

    def sent(self, verb: str) -> int:
        return sum(f"/{verb}" in request.split("?")[0] for request in self.requests)


def settled(shop: World, name: str, power: str) -> bool:
    """Whether the VM is so, and nothing is open. Time goes on only while it is on its way there."""
    view = shop.look(name)
    if str(view.power) not in ("Running", "Stopped"):
        shop.advance(minutes=1)
    return str(view.power) == power and parse_state(view.annotations[STATE]).pending is None


def entries(shop: World, name: str) -> list[str]:
    return [entry.verb for entry in parse_history(shop.look(name).annotations)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fall_at", range(1, 16))
def test_a_controller_killed_at_any_request_of_a_stop_and_a_start(
    shop: World, tmp_path: Path, fall_at: int, after: bool
) -> None:
    shop.create("web")
    shop.run()
    for hour, days, verb, power in ((18, 0, "stop", "Stopped"), (8, 1, "start", "Running")):
        with Blade(shop.lab, tmp_path, fall_at=_NEVER, after=False) as blade, blade.connect("shop") as session:
            with replica(session) as killed:
                wait_until(lambda killed=killed: killed.passes)
                blade.arm(fall_at=fall_at, after=after)
                shop.to(hour, days=days)
                wait_until(
                    lambda blade=blade, power=power: blade.fallen or settled(shop, "web", power),
                    lambda blade=blade: blade.requests,
                )
            cut = blade.sent(verb)
        with replica(shop.session):
            wait_until(lambda power=power: settled(shop, "web", power))
        assert cut <= 1
        # Written down by one of the two, or by none where it was cut between doing it and saying so.
        assert entries(shop, "web").count(verb) <= 1
        state = parse_state(shop.look("web").annotations[STATE])
        assert (state.stopped_at is not None) == (verb == "stop")
    assert str(shop.look("web").run_strategy) == "Always"


def test_while_the_server_is_gone_nothing_is_lost(shop: World, tmp_path: Path) -> None:
    shop.create("web")
    with (
        Blade(shop.lab, tmp_path, fall_at=_NEVER, after=False) as blade,
        blade.connect("shop") as session,
        replica(session, watch=replace(BRISK, lease=LEASE)) as one,
    ):
        one.says("web", "FirstSight")
        blade.cut_off()
        wait_until(lambda: one.controller.unready() and not one.controller.leading)
        shop.create("new")
        shop.to(17)
        blade.come_back()
        one.says("new", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")
        one.says("new", "ScheduledStop")
        wait_until(lambda: settled(shop, "web", "Stopped"))
    assert entries(shop, "web") == ["stop"]


class Slow(PowerHands):
    """Acts when it is let."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def act(self, view: VmView, side: Side) -> Outcome:
        self.entered.set()
        assert self.may_go_on.wait(60)
        return super().act(view, side)


def test_asked_to_end_it_finishes_what_is_under_way_and_begins_nothing_else(shop: World) -> None:
    shop.create("one")
    shop.create("two")
    shop.run()
    hands = Slow(shop.session)
    watch = replace(BRISK, lease=LeaseOptions("shop", lease_seconds=300, renew_seconds=200, retry_seconds=0.2))
    with replica(shop.session, hands, watch, concurrency=1) as one:
        wait_until(lambda: one.passes)
        shop.to(18)
        assert hands.entered.wait(60)
        one.controller.stop()
        hands.may_go_on.set()
    begun = [name for name in ("one", "two") if entries(shop, name)]
    assert len(begun) == 1
    assert parse_state(shop.look(begun[0]).annotations[STATE]).pending is None
    assert shop.power(begun[0]) == "Stopped"
    assert shop.session.get(LEASES, "vmkit-schedule")["spec"]["holderIdentity"] == ""


@contextmanager
def processes(shop: World, folder: Path, *names: str) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        found = []
        for name in names:
            process = Process(shop.lab.kubeconfig, folder, name)
            stack.callback(process.end)
            found.append(process)
        yield found


def test_of_two_processes_one_acts_and_a_frozen_or_killed_one_is_replaced(shop: World, tmp_path: Path) -> None:
    names = [f"web-{number}" for number in range(3)]
    for name in names:
        shop.create(name)
    with processes(shop, tmp_path, "one", "two") as (one, two):
        logs = lambda: f"one:\n{one.log}\ntwo:\n{two.log}"  # noqa: E731
        wait_until(lambda: "leading" in one.log or "leading" in two.log, logs)
        first, second = (one, two) if "leading" in one.log else (two, one)
        wait_until(lambda: all(STATE in shop.look(name).annotations for name in names), logs)

        first.send(signal.SIGSTOP)  # Frozen, it does not know that its time is over.
        shop.to(18)
        wait_until(lambda: all(settled(shop, name, "Stopped") for name in names), logs)
        assert "leading" in second.log
        first.send(signal.SIGCONT)
        wait_until(lambda: first.log.count("standby") >= 1, logs)

        second.send(signal.SIGKILL)
        second.process.wait(60)
        shop.to(8, days=1)
        wait_until(lambda: all(settled(shop, name, "Running") for name in names), logs)
        for name in names:
            assert entries(shop, name) == ["stop", "start"], logs()

        first.send(signal.SIGTERM)  # This program has no handler: it just ends.
        assert first.process.wait(60) == -signal.SIGTERM


def test_two_replicas_that_both_watch_never_do_it_twice(shop: World) -> None:
    names = [f"web-{number}" for number in range(6)]
    for name in names:
        shop.create(name)
    watch = replace(BRISK, lease=LeaseOptions("shop", lease_seconds=20.0, renew_seconds=15.0, retry_seconds=0.2))
    with replica(shop.session, watch=watch) as other:
        with replica(shop.session, watch=watch) as one:
            wait_until(lambda: one.controller.leading or other.controller.leading)
            wait_until(lambda: all(STATE in shop.look(name).annotations for name in names))
            shop.to(18)
            wait_until(lambda: all(settled(shop, name, "Stopped") for name in names))
            assert [one.passes, other.passes].count(0) == 1
        # Given back, the Lease is taken at once, if it was this one's.
        wait_until(lambda: other.controller.leading)
        shop.to(8, days=1)
        wait_until(lambda: all(settled(shop, name, "Running") for name in names))
    assert {tuple(entries(shop, name)) for name in names} == {("stop", "start")}
