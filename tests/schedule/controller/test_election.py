"""Of several replicas one leads, and only as long as nobody else may have taken over."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.schedule_run.world import World
from vmkit.cluster import Session
from vmkit.cluster.resources import LEASES
from vmkit.errors import ClusterError, UsageError
from vmkit.schedule.controller.election import Elector, LeaseOptions, Move, Observed, decide_move, observe

OPTIONS = LeaseOptions("shop")


class Uptime:
    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def lease(holder: str | None, seconds: Any = 15, renewed: str = "2026-02-02T12:00:00.000000Z") -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": renewed}
    return {"spec": {key: value for key, value in spec.items() if value is not None}}


@pytest.mark.parametrize(
    ("found", "seen_for", "expected"),
    [
        (None, 0, Move.CREATE),
        (lease("me"), 0, Move.RENEW),
        (lease("me"), 99, Move.RENEW),
        (lease("other"), 0, Move.WAIT),
        (lease("other"), 14.9, Move.WAIT),
        (lease("other"), 15, Move.TAKE),
        (lease("other", seconds=60), 15, Move.WAIT),
        (lease(""), 0, Move.TAKE),
        (lease(None), 0, Move.TAKE),
        (lease("other", seconds=None), 0, Move.TAKE),
        (lease("other", seconds="soon"), 0, Move.TAKE),
        ({"spec": "odd"}, 0, Move.TAKE),
        ({}, 0, Move.TAKE),
    ],
)
def test_what_to_do_about_a_lease(found: dict[str, Any] | None, seen_for: float, expected: Move) -> None:
    observed = observe(found, None, 100.0)
    assert decide_move(found, observed, "me", 100.0 + seen_for) is expected


def test_a_lease_that_is_renewed_is_seen_anew_whatever_its_times_say() -> None:
    first = observe(lease("other"), None, 10.0)
    assert observe(lease("other"), first, 20.0) == first
    assert observe(lease("other", renewed="1970-01-01T00:00:00.000000Z"), first, 20.0) == Observed(
        observe(lease("other", renewed="1970-01-01T00:00:00.000000Z"), None, 0.0).spec, 20.0
    )


@pytest.mark.parametrize("times", [(15, 15, 2), (15, 10, 10), (15, 10, 0), (10, 15, 2)])
def test_times_that_could_let_two_lead_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError):
        LeaseOptions("shop", "x", *times)


def elector(shop: World, name: str, uptime: Uptime, **more: Any) -> Elector:
    return Elector(shop.session, OPTIONS, name, uptime=uptime, **more)


def test_one_leads_and_another_takes_over_when_it_is_silent_for_the_lease_s_time(shop: World) -> None:
    # Their clocks have nothing to do with each other.
    early, late = Uptime(5.0), Uptime(70_000.0)
    first, second = elector(shop, "first", early), elector(shop, "second", late)
    assert first._try() == "first"
    assert second._try() == "first"
    assert (first.leading, second.leading) == (True, False)
    for _ in range(10):  # Renewed, it stays.
        early.seconds += 8
        late.seconds += 8
        first._try()
        second._try()
        assert (first.leading, second.leading) == (True, False)
    for _ in range(4):  # Silent, it ends before the other begins.
        early.seconds += 3.5
        late.seconds += 3.5
        second._try()
        assert not (first.leading and second.leading)
    assert not first.leading
    late.seconds += 1.1
    assert second._try() == "second"
    assert second.leading
    assert first._try() == "second"
    spec = shop.session.get(LEASES, OPTIONS.name)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("second", 1, 15)


def test_who_cannot_renew_stops_acting_before_anybody_else_may_begin(shop: World) -> None:
    uptime, errors = Uptime(), list[ClusterError]()
    first = elector(shop, "first", uptime, on_error=errors.append)
    first._try()
    with Session.connect(kubeconfig=shop.lab.kubeconfig, namespace="shop") as other:
        first._session = other.sibling(request_timeout_seconds=5, retry=other._exchange.policy)
    broken = LeaseOptions("nowhere")
    first._options = broken
    uptime.seconds = 9.9
    first._try()
    assert first.leading
    uptime.seconds = 10.0
    first._try()
    assert not first.leading
    assert len(errors) == 1  # said once, not at every try
    first._session.close()


def test_given_back_it_is_taken_at_once(shop: World) -> None:
    uptime = Uptime()
    first, second = elector(shop, "first", uptime), elector(shop, "second", uptime)
    first._try()
    second._try()
    first.stop()
    assert not first.leading
    assert second._try() == "second"


def test_another_s_lease_is_not_given_back(shop: World) -> None:
    uptime = Uptime()
    first, second = elector(shop, "first", uptime), elector(shop, "second", uptime)
    first._try()
    found = shop.session.get(LEASES, OPTIONS.name)
    found["spec"]["holderIdentity"] = "second"
    shop.session.replace(LEASES, found)
    first.stop()
    assert second._try() == "second"


def test_of_many_that_try_at_once_one_leads(shop: World) -> None:
    uptime = Uptime()
    electors = [elector(shop, f"replica-{number}", uptime) for number in range(8)]
    for _ in range(4):
        gate = threading.Barrier(len(electors))

        def compete(one: Elector, gate: threading.Barrier = gate) -> None:
            gate.wait()
            one._try()

        threads = [threading.Thread(target=compete, args=(one,)) for one in electors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(one.leading for one in electors) == 1
        uptime.seconds += 15  # Nobody renews: the next round is a race again.
        for one in electors:
            one._observed = None if one._observed is None else Observed(one._observed.spec, 0.0)
