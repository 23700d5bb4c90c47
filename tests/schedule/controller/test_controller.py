"""The controller on a practice cluster: when it acts, and when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.power.guillotine import Guillotine
from tests.schedule.controller.replica import BRISK, replica, wait_until
from tests.schedule_run.world import OFFICE, World, codes
from vmkit.cluster import Session
from vmkit.cluster.resources import LEASES, NAMESPACES, VIRTUAL_MACHINES
from vmkit.errors import UsageError
from vmkit.lab.faults import Fault
from vmkit.plan import Outcome
from vmkit.schedule.controller.controller import Controller, WatchOptions
from vmkit.schedule.controller.election import LeaseOptions
from vmkit.schedule.controller.picture import Key, Kind, Picture
from vmkit.schedule.controller.watching import Watcher
from vmkit.schedule.rules import Side
from vmkit.schedule.running import PassOptions, Settings, read_settings
from vmkit.schedule.running.hands import Judgement
from vmkit.schedule.running.records import parse_history
from vmkit.schedule.running.switch import Switch
from vmkit.scheduling import PowerHands
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView


def entries(shop: World, name: str) -> list[str]:
    return [entry.verb for entry in parse_history(shop.look(name).annotations)]


def fault(shop: World, **what: Any) -> None:
    shop.lab.call(lambda: shop.lab.faults.add(Fault(**what)))


def heal(shop: World) -> None:
    shop.lab.call(shop.lab.faults.clear)


class Meddling(PowerHands):
    """Somebody does something in the middle of a pass: after it was decided, before anything is done."""

    def __init__(self, session: Session, meddle: Callable[[], None]) -> None:
        super().__init__(session)
        self._meddle = meddle
        self.acted: list[str] = []

    def judge(self, views: Iterable[VmView], side: Side) -> Mapping[VmRef, Judgement]:
        found = super().judge(views, side)
        self._meddle()
        return found

    def act(self, view: VmView, side: Side) -> Outcome:
        self.acted.append(f"{side} {view.ref.name}")
        return super().act(view, side)


def test_a_day_under_the_controller(shop: World) -> None:
    shop.create("web")
    with replica(shop.session) as one:
        one.says("web", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")
        assert shop.power("web") == "Stopped"
        shop.to(8, days=1)
        one.says("web", "ScheduledStart")
        assert shop.power("web") == "Running"
        one.looks()
        assert one.controller.metrics.get("actions_total", "stop", "changed") == 1
        wait_until(lambda: sum("vmkit undo" in line.text for line in one.lines) == 2)
        assert one.controller.metrics.get("managed_vms") == 1
    assert entries(shop, "web") == ["stop", "start"]
    assert [line.event for line in one.lines][-2:] == ["stopping", "stopped"]


def test_a_vm_that_comes_later_is_seen_without_waiting(shop: World) -> None:
    with replica(shop.session, watch=replace(BRISK, again_seconds=3600)) as one:
        wait_until(lambda: one.passes)
        shop.create("web")
        one.says("web", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")


def test_a_person_wins_and_is_not_fought(shop: World) -> None:
    shop.create("web")
    with replica(shop.session) as one:
        one.says("web", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")
        assert shop.power("web") == "Stopped"
        shop.call("web", "start")
        one.looks()
        assert shop.power("web") == "Running"
    assert entries(shop, "web") == ["stop"]


def test_while_nothing_is_due_nothing_is_listed(shop: World, tmp_path: Path) -> None:
    shop.create("web")
    shop.run()
    with Guillotine(shop.lab, tmp_path, fall_at=-1, after=False) as proxy, proxy.connect("shop") as session:
        with replica(session) as one:
            wait_until(lambda: one.passes)
            lists = len([request for request in proxy.requests if "watch=true" not in request])
            one.looks()
            one.looks()
            later = [request for request in proxy.requests if "watch=true" not in request][lists:]
        assert later
        assert {request.split("?")[0] for request in later} == {
            "GET /api/v1/namespaces/vmkit/configmaps/vmkit-switch"
        }


def test_bad_annotations_are_said_once_and_stop_nobody_else(shop: World) -> None:
    shop.create("typo", "Mon-Fry 08:00-18:00 UTC")
    shop.create("zone", "Mon-Fri 08:00-18:00 Mars/Olympus")
    shop.create("huge", "Mon 08:00-18:00, " * 6000)
    shop.create("good")
    with replica(shop.session) as one:
        one.says("good", "FirstSight")
        one.looks()
        one.looks()
        assert {one.codes(name)[0] for name in ("typo", "zone", "huge")} == {"BadAnnotation"}
        assert {len(one.codes(name)) for name in ("typo", "zone", "huge")} == {1}
        assert one.controller.metrics.get("bad_annotations") == 3
        assert len(shop.events("typo")) == 1
        shop.to(18)
        one.says("good", "ScheduledStop")
        assert {shop.power(name) for name in ("typo", "zone", "huge")} == {"Running"}
        shop.annotate("typo", schedule="Mon-Fri 08:00-18:00 UTC")
        one.says("typo", "FirstSight")


def test_annotations_edited_during_the_pass_count(shop: World) -> None:
    shop.create("web")
    shop.run()
    hands = Meddling(shop.session, lambda: shop.annotate("web", exclude="true"))
    with replica(shop.session, hands) as one:
        wait_until(lambda: one.passes)
        shop.to(18)
        wait_until(lambda: "vmkit.io/exclude" in shop.look("web").annotations)
        one.looks()
        assert hands.acted == []
    assert shop.power("web") == "Running"


def test_a_vm_deleted_in_mid_action_is_said_and_left(shop: World) -> None:
    shop.create("web")
    shop.create("other")
    shop.run()
    hands = Meddling(shop.session, lambda: remove("web"))

    def remove(name: str) -> None:
        if shop.session.find(VIRTUAL_MACHINES, name) is not None:
            shop.session.delete(VIRTUAL_MACHINES, name)
            shop.advance(minutes=3)

    with replica(shop.session, hands) as one:
        wait_until(lambda: one.passes)
        shop.to(18)
        one.says("other", "ScheduledStop")
        one.looks()
        assert set(one.codes("web")) == {"Gone"}
    assert hands.acted == ["stop other"]


def test_the_switch_holds_everything_until_it_is_turned_back(shop: World) -> None:
    shop.create("web")
    switch = Switch(namespace="shop")
    with replica(shop.session, switch=switch) as one:
        one.says("web", "FirstSight")
        switch.set(shop.session, suspended=True)
        shop.to(18)
        one.says("web", "Suspended")
        assert one.controller.metrics.get("suspended") == 1
        assert shop.power("web") == "Running"
        one.looks()
        assert one.controller.metrics.get("waiting_vms", "Suspended") == 1
        switch.set(shop.session, suspended=False)
        one.says("web", "ScheduledStop")
        one.looks()
        assert one.controller.metrics.get("waiting_vms", "Suspended") == 0


def test_files_are_read_again_when_they_change(shop: World, tmp_path: Path) -> None:
    shop.create("web", None)
    config, closed = tmp_path / "schedules.toml", tmp_path / "closed.txt"
    closed.write_text("2026-12-24\n")
    rule = '[calendars]\nclosed = "closed.txt"\n[[rule]]\nnamespaces = ["shop"]\nschedule = "{}"\n'
    config.write_text(rule.format(f"{OFFICE} except calendar(closed)"))

    def reload() -> Any:
        return read_settings(config)

    with replica(shop.session, settings=reload(), reload=reload) as one:
        one.says("web", "FirstSight")
        config.write_text("this is no TOML")
        wait_until(lambda: one.controller.metrics.get("config_valid") == 0)
        one.looks()
        assert one.codes("web") == ["FirstSight"]
        config.write_text(rule.format("Mon-Fri 08:00-17:00 UTC except calendar(closed)"))
        one.says("web", "ScheduleChanged")
        assert one.controller.metrics.get("config_valid") == 1
        closed.unlink()
        one.says("web", "BadAnnotation")
        shop.to(17)
        one.looks()
        assert shop.power("web") == "Running"
        closed.write_text("2026-12-24\n")
        one.says("web", "ScheduledStop")


@pytest.mark.parametrize(
    "what",
    [
        {"kind": "cut-watch", "after_events": 1},
        {"kind": "error", "status": 410},
        {"kind": "error", "status": 500},
        {"kind": "reset-before"},
        {"kind": "truncate"},
    ],
    ids=lambda what: "-".join(map(str, what.values())),
)
def test_watches_that_break_miss_nothing(shop: World, what: dict[str, Any]) -> None:
    shop.create("web")
    fault(shop, rate=0.5, verbs=["watch"], **what)
    with replica(shop.session) as one:
        one.says("web", "FirstSight")
        for number in range(3):
            shop.create(f"more-{number}")
            one.says(f"more-{number}", "FirstSight")
        shop.session.delete(VIRTUAL_MACHINES, "web")
        shop.advance(minutes=3)
        wait_until(lambda: one.looks() or one.controller.metrics.get("managed_vms") == 3)
        heal(shop)


def test_a_cluster_that_fails_for_a_while_is_taken_up_again(shop: World) -> None:
    shop.create("web")
    with replica(shop.session) as one:
        one.says("web", "FirstSight")
        fault(shop, kind="error", status=403, resources=["configmaps"])
        wait_until(one.controller.unready)
        shop.to(18)
        assert shop.power("web") == "Running"
        heal(shop)
        one.says("web", "ScheduledStop")
        assert [line.event for line in one.lines if line.problem].count("failed") >= 1


def test_order_is_kept_without_waiting(shop: World) -> None:
    shop.create("db", start_order="1")
    shop.create("web", start_order="2")
    shop.create("free")
    with replica(shop.session) as one:
        one.says("free", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")
        one.says("free", "ScheduledStop")
        one.says("db", "NeedsAnother")
        assert "ScheduledStop" not in one.codes("db")
        assert shop.power("web") == "Stopped"
        one.says("db", "ScheduledStop")
        assert shop.power("db") == "Stopped"
        shop.to(8, days=1)
        one.says("db", "ScheduledStart")
        one.says("free", "ScheduledStart")
        assert "ScheduledStart" not in one.codes("web")
        assert shop.power("db") == "Running"
        one.says("web", "ScheduledStart")


def test_no_more_are_started_than_a_minute_allows(shop: World) -> None:
    names = [f"web-{number}" for number in range(4)]
    for name in names:
        shop.create(name)
    with replica(shop.session, starts_a_minute=3) as one:
        one.says(names[-1], "FirstSight")
        shop.to(18)
        wait_until(lambda: all("ScheduledStop" in one.codes(name) for name in names))
        shop.advance(minutes=5)
        shop.to(8, days=1)
        wait_until(lambda: any("Paced" in one.codes(name) for name in names))
        (paced,) = (name for name in names if "Paced" in one.codes(name))
        for name in names:
            if name != paced:
                one.says(name, "ScheduledStart")
        one.looks()
        assert [name for name in names if "Paced" in one.codes(name)] == [paced]


def test_a_limit_is_said_and_nothing_done(shop: World) -> None:
    from vmkit.units import Limit

    shop.create("web")
    shop.run()
    with replica(shop.session, max_changes=Limit(0)) as one:
        wait_until(lambda: one.passes)
        shop.to(18)
        wait_until(lambda: one.controller.metrics.get("passes_total", "failed"))
        assert any(line.error is not None and line.error.code == "LimitExceeded" for line in one.lines)
    assert shop.power("web") == "Running"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(shop: World) -> None:
    shop.create("web")
    shop.run()
    lease = LeaseOptions("shop")
    with replica(shop.session, watch=replace(BRISK, lease=lease), dry_run=True) as one:
        wait_until(lambda: one.passes)
        shop.to(18)
        wait_until(lambda: any("would be stopped" in line.text for line in one.lines))
    assert shop.power("web") == "Running"
    assert shop.session.find(LEASES, lease.name) is None


def test_a_namespace_that_begins_to_speak_is_heard(shop: World) -> None:
    shop.create("web", None)
    with replica(shop.session) as one:
        wait_until(lambda: one.passes)
        shop.session.patch(NAMESPACES, "shop", {"metadata": {"annotations": {"vmkit.io/schedule": OFFICE}}})
        one.says("web", "FirstSight")


def test_a_clock_set_back_repeats_nothing(shop: World) -> None:
    shop.create("web")
    with replica(shop.session) as one:
        one.says("web", "FirstSight")
        shop.to(18)
        one.says("web", "ScheduledStop")
        # As far as the controller knows the clock was ahead: the next answer sets it back by a day.
        one.controller._clock.tell(shop.now.replace(day=3))
        wait_until(lambda: one.controller.metrics.get("clock_steps_total") >= 2)
        one.looks()
    assert entries(shop, "web") == ["stop"]
    assert codes(shop.run()) == {}


def test_another_instant_and_hasty_lists_are_refused(shop: World) -> None:
    with pytest.raises(UsageError, match="acts now"):
        Controller(shop.session, PowerHands(shop.session), PassOptions(at=shop.now, dry_run=True))
    with pytest.raises(UsageError, match="takes time"):
        WatchOptions(resync=BRISK.resync / 1000)


def test_a_defect_in_any_thread_ends_it_loudly(shop: World) -> None:
    class NoSettings(Settings):
        def sources_of(self, namespace: str) -> list[Any]:
            raise ZeroDivisionError(namespace)

    shop.create("web")
    controller = Controller(
        shop.session, PowerHands(shop.session), PassOptions(namespace="shop", settings=NoSettings()), BRISK
    )
    with pytest.raises(ZeroDivisionError):
        controller.run()


def test_a_watcher_that_breaks_says_so_and_leaves_no_old_picture(shop: World) -> None:
    class Torn(Picture):
        def put(self, kind: Kind, key: Key, document: dict[str, Any]) -> None:
            raise ZeroDivisionError

    picture, crashes = Torn(Settings(), lambda: None), list[Exception]()
    for kind in Kind:
        picture.replace_all(kind, {})
    watcher = Watcher(
        shop.session, picture, Kind.VMS, namespace="shop", label_selector="", resync_seconds=600,
        on_state=lambda kind, error: None, on_crash=crashes.append,
    )  # fmt: skip
    watcher.start()
    shop.create("web")
    wait_until(lambda: shop.annotate("web", tick=str(time.monotonic())) or crashes)
    watcher.stop()
    assert isinstance(crashes[0], ZeroDivisionError)
    assert not picture.complete


def test_stopped_from_any_thread_before_it_ever_ran_it_ends(shop: World) -> None:
    controller = Controller(shop.session, PowerHands(shop.session), PassOptions(namespace="shop"), BRISK)
    controller.stop()
    thread = threading.Thread(target=controller.run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
