"""The ledger in the cluster: written by whoever runs, from what VMs remember, schedules' stops among it."""

from __future__ import annotations

import threading
from datetime import timedelta

from tests.idle.running.world import SHOP, World
from vmkit.cluster import Session
from vmkit.cluster.resources import CONFIG_MAPS, VIRTUAL_MACHINES
from vmkit.idle.ledger import Rates
from vmkit.idle.running import Scope
from vmkit.idle.running.book import Book, read_book, record
from vmkit.idling import Idling
from vmkit.units import Limit
from vmkit.vm.history import HISTORY, Entry, add_entry
from vmkit.vm.reference import VmRef
from vmkit.vm.views import VmView


def test_stops_of_schedules_and_of_idle_vms_are_both_in_it(shop: World) -> None:
    from vmkit.schedule.running import PassOptions, run_pass
    from vmkit.scheduling import PowerHands

    def make_a_pass() -> None:
        run_pass(shop.session, PowerHands(shop.session), PassOptions(namespace=SHOP))
        shop.advance(minutes=5)

    shop.create("office", days=0, schedule="daily 08:00-18:00 UTC")
    shop.create("forgotten", days=0)
    make_a_pass()
    shop.advance(days=90)
    shop.run(stop_now=True, scope=Scope(namespace=SHOP, label_selector="!none"), max_stops=Limit(count=0))
    for _ in range(24):
        shop.advance(hours=1)
        make_a_pass()
    shop.run(stop_now=True, scope=Scope(names=(VmRef(SHOP, "forgotten"),)))
    shop.advance(hours=2)
    found = Idling(shop.session).ledger(since=timedelta(days=2), rates=Rates())
    codes = {page.ref.name: {each.code for each in page.stretches} for page in found.pages}
    assert codes == {"office": {"ScheduledStop"}, "forgotten": {"StoppedIdle"}}
    hours = {ref.name: returned.hours for (ref, _), returned in found.by_vm().items()}
    assert 13 < hours["office"] < 15
    assert 2 <= hours["forgotten"] < 2.5
    assert {returned.vcpu_hours / returned.hours for returned in found.by_vm().values()} == {2.0}


def test_a_run_writes_it_and_a_deleted_vm_keeps_what_it_returned(shop: World) -> None:
    shop.create("web")
    shop.run(stop_now=True)
    shop.run()
    assert [page.ref.name for page in read_book(shop.session, "vmkit").pages.values()] == ["web"]
    shop.session.delete(VIRTUAL_MACHINES, "web")
    shop.advance(hours=5)
    shop.create("other", days=0)
    shop.run()
    [page] = read_book(shop.session, "vmkit").pages.values()
    [stretch] = page.stretches
    assert stretch.end is not None
    shop.advance(days=10)
    assert Idling(shop.session).ledger().total.hours < 6


def test_somebody_s_nonsense_in_it_is_said_and_the_rest_is_read(shop: World) -> None:
    shop.create("web")
    shop.run(stop_now=True)
    Idling(shop.session).ledger(write=True)
    [document] = shop.session.list(CONFIG_MAPS, "vmkit", label_selector="vmkit.io/ledger=true")
    shop.session.patch(CONFIG_MAPS, document["metadata"]["name"], {"data": {"someone": "{"}}, "vmkit")
    found = Idling(shop.session).ledger()
    assert [page.ref.name for page in found.pages] == ["web"]
    assert "someone" in found.notices[0]


def test_many_that_write_at_once_lose_nothing(shop: World) -> None:
    views = [remembering(f"vm-{number}", shop) for number in range(40)]
    failures: list[BaseException] = []

    def work(part: list[VmView]) -> None:
        try:
            with Session.connect(kubeconfig=shop.lab.kubeconfig, namespace=SHOP) as session:
                record(session, read_book(session, "vmkit"), part, shop.now, is_covered=lambda namespace: False)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(views[start::4] + views[:5],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(read_book(shop.session, "vmkit").pages) == 40


def test_a_full_month_goes_on_in_another_part_and_ends_where_it_must(shop: World) -> None:
    book = Book("vmkit", sizes={"vmkit-ledger-2026-02": 700_000})
    assert record(shop.session, book, [remembering("web", shop)], shop.now) == 1
    assert book.homes["web", "2026-02"] == "vmkit-ledger-2026-02-2"
    full = Book(
        "vmkit", sizes={f"vmkit-ledger-2026-02{part}": 700_000 for part in ("", *(f"-{n}" for n in range(2, 33)))}
    )
    assert record(shop.session, full, [remembering("web", shop)], shop.now) == 0
    assert "full" in full.notices[0]


def remembering(name: str, shop: World) -> VmView:
    """A VM that vmkit has stopped an hour ago."""
    entry = Entry("run", shop.now - timedelta(hours=1), "stop", "StoppedIdle", "why", 0, 2, 1 << 30)
    return VmView(VmRef(SHOP, name), uid=name, annotations={HISTORY: add_entry({}, entry)})
