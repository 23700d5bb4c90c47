"""A pass over a cluster: what it does, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.schedule_run.world import OFFICE, World, codes
from vmkit.cluster.resources import CONFIG_MAPS, NAMESPACES, NODES, VIRTUAL_MACHINES
from vmkit.errors import LimitExceeded, UsageError
from vmkit.plan import Plan
from vmkit.schedule.running import PassOptions, read_settings, run_pass
from vmkit.schedule.running.switch import Switch
from vmkit.schedule.vetoes import Policy
from vmkit.units import Limit
from vmkit.vm.history import parse_history


def test_a_day_of_a_vm_with_office_hours(shop: World) -> None:
    shop.create("web")
    assert codes(shop.run()) == {"web": "FirstSight"}
    assert codes(shop.run()) == {}
    shop.to(18)
    assert codes(shop.run()) == {"web": "ScheduledStop"}
    assert shop.power("web") == "Stopped"
    view = shop.look("web")
    assert view.annotations["vmkit.io/last-action"].startswith("stop at 2026-02-02T18:00:00Z: the schedule asks")
    (entry,) = parse_history(view.annotations)
    assert (entry.verb, entry.code) == ("stop", "ScheduledStop")
    assert ("ScheduledStop", entry.text) in shop.events("web")
    assert codes(shop.run()) == {}
    shop.to(8, days=1)
    assert codes(shop.run()) == {"web": "ScheduledStart"}
    assert shop.power("web") == "Running"
    assert str(shop.look("web").run_strategy) == "Always"


def test_a_person_wins_until_the_next_transition(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    shop.run()
    shop.advance(minutes=20)
    shop.call("web", "start")
    shop.run()
    assert shop.power("web") == "Running"
    shop.to(17, 30, days=1)
    shop.run()
    shop.call("web", "stop")
    shop.to(8, days=1)
    assert codes(shop.run()) == {"web": "StoppedByHand"}
    assert shop.power("web") == "Stopped"


def test_a_bad_annotation_leaves_that_vm_alone_and_says_so(shop: World) -> None:
    shop.create("bad", "Mon-Fry 08:00-18:00 UTC")
    shop.create("huge", "Mon 08:00-18:00, " * 6000)
    shop.create("odd", order_is="x", start_order="first")
    shop.create("torn", schedule_state="{")
    shop.create("good")
    result = shop.run()
    assert codes(result) == {
        "bad": "BadAnnotation", "huge": "BadAnnotation", "odd": "BadAnnotation", "torn": "BadAnnotation",
        "good": "FirstSight",
    }  # fmt: skip
    assert result.exit_code == 1
    (event,) = shop.events("bad")
    assert event[0] == "BadAnnotation"
    shop.run()
    assert len(shop.events("bad")) == 1
    shop.to(18)
    assert codes(shop.run())["good"] == "ScheduledStop"
    assert {shop.power(name) for name in ("bad", "huge", "odd", "torn")} == {"Running"}


def test_the_namespace_and_the_config_file_speak_where_the_vm_does_not(shop: World, tmp_path) -> None:
    shop.create("plain", None)
    shop.create("own", "Mon-Fri 08:00-20:00 UTC")
    config = tmp_path / "schedules.toml"
    config.write_text('[[rule]]\nnamespaces = ["sh*"]\nschedule = "Mon-Fri 08:00-19:00 UTC"\n')
    settings = read_settings(config)
    shop.run(settings=settings)
    shop.to(9)
    shop.run(settings=settings)
    shop.to(18)
    assert codes(shop.run(settings=settings)) == {}
    shop.session.patch(NAMESPACES, "shop", {"metadata": {"annotations": {"vmkit.io/schedule": OFFICE}}})
    assert codes(shop.run(settings=settings)) == {"plain": "ScheduleChanged"}
    shop.to(18, days=1)
    assert codes(shop.run(settings=settings))["plain"] == "ScheduledStop"
    assert shop.power("own") == "Running"


def test_a_calendar_that_is_gone_is_a_notice_and_leaves_its_vms_alone(shop: World, tmp_path) -> None:
    shop.create("web", f"{OFFICE} except calendar(closed)")
    settings = read_settings(calendars={"closed": tmp_path / "none.ics"})
    result = shop.run(settings=settings)
    assert codes(result) == {"web": "BadAnnotation"}
    assert any("closed" in notice for notice in result.notices)


def test_what_a_restart_would_lose_is_not_stopped(shop: World) -> None:
    shop.create("web", safe=False)
    shop.run()
    shop.to(18)
    assert codes(shop.run()) == {"web": "DiskLost"}
    assert shop.power("web") == "Running"
    shop.annotate("web", restart_safe="true")
    assert codes(shop.run()) == {"web": "ScheduledStop"}


def test_a_vm_on_a_silent_node_waits_until_the_node_answers(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.to(17, 58)
    node = shop.look("web").node
    shop.session.patch(NODES, node, {"metadata": {"annotations": {"lab.vmkit.io/silent": "true"}}})
    shop.advance(minutes=2)
    assert codes(shop.run()) == {"web": "NodeSilent"}
    assert "queued" in shop.look("web").annotations["vmkit.io/schedule-state"]
    shop.session.patch(NODES, node, {"metadata": {"annotations": {"lab.vmkit.io/silent": None}}})
    shop.advance(minutes=2)
    assert codes(shop.run()) == {"web": "ScheduledStop"}


def test_nothing_is_done_while_the_switch_suspends(shop: World) -> None:
    shop.create("web")
    shop.run()
    switch = Switch(namespace="shop")
    switch.set(shop.session, suspended=True)
    shop.to(18)
    assert codes(shop.run(switch=switch)) == {"web": "Suspended"}
    assert shop.power("web") == "Running"
    switch.set(shop.session, suspended=False)
    assert codes(shop.run(switch=switch)) == {"web": "ScheduledStop"}
    shop.session.patch(CONFIG_MAPS, switch.name, {"data": {"suspend": "perhaps"}}, "shop")
    assert switch.is_suspended(shop.session)


def test_a_dry_run_shows_the_same_plan_and_writes_nothing(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    before = shop.look("web").resource_version
    result = shop.run(dry_run=True)
    assert [(one.verb, str(one.status)) for one in result.outcomes] == [("stop", "planned")]
    assert shop.look("web").resource_version == before
    later = shop.run(dry_run=True, at=shop.now + timedelta(days=1, hours=-10))
    assert codes(later) == {"web": "AlreadyRunning"}
    with pytest.raises(UsageError):
        PassOptions(at=shop.now)


def test_a_limit_holds_before_the_first_change(shop: World) -> None:
    for name in ("a", "b"):
        shop.create(name)
    shop.run()
    shop.to(18)
    with pytest.raises(LimitExceeded):
        shop.run(max_changes=Limit(count=1))
    assert (shop.power("a"), shop.power("b")) == ("Running", "Running")


def test_the_plan_is_shown_before_anything_is_done(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.to(18)
    shown: list[Plan] = []
    run_pass(shop.session, shop.hands, PassOptions(namespace="shop"), confirm=shown.append)
    assert [change.verb for change in shown[0]] == ["stop"]


def test_people_are_told_before_a_stop(shop: World) -> None:
    shop.create("web", warn_before_stop="15m")
    shop.run()
    shop.to(9)
    shop.run()
    shop.to(17, 50)
    assert codes(shop.run()) == {"web": "StopAhead"}
    assert shop.events("web")[-1] == ("StopAhead", "it will be stopped at 2026-02-02T18:00:00Z")
    assert shop.look("web").annotations["vmkit.io/last-action"].startswith("warn at")
    shop.to(18)
    assert codes(shop.run()) == {"web": "ScheduledStop"}


def test_downscaler_annotations_need_honour_and_adoption(shop: World) -> None:
    shop.create("web", None)
    marks = {"downscaler/uptime": "Mon-Fri 08:00-18:00 UTC"}
    shop.session.patch(VIRTUAL_MACHINES, "web", {"metadata": {"annotations": marks}})
    assert codes(shop.run()) == {}
    settings = read_settings(honour_downscaler="python")
    assert codes(shop.run(settings=settings)) == {"web": "NotAdopted"}
    assert codes(shop.run(settings=settings, adopt=True)) == {"web": "FirstSight"}
    shop.to(18, 5)
    assert codes(shop.run(settings=settings)) == {"web": "ScheduledStop"}


def test_starts_follow_their_order_and_stops_reverse_it(shop: World) -> None:
    shop.create("app", depends_on="db")
    shop.create("db")
    shop.create("front", depends_on="app")
    shop.create("lone", depends_on="nobody")
    shop.run()
    shop.lab.call(lambda: shop.lab.clock.run(speed=600))
    shop.lab.advance(timedelta(hours=11) - (shop.now - shop.now.replace(hour=7, minute=0)))
    result = shop.run(ready_timeout=timedelta(seconds=30))
    assert codes(result) == dict.fromkeys(("app", "db", "front", "lone"), "ScheduledStop")
    at = {name: _changed_at(shop, name) for name in ("app", "db", "front")}
    assert at["front"] <= at["app"] <= at["db"]
    shop.lab.call(shop.lab.clock.freeze)
    shop.to(8, days=1)
    shop.lab.call(lambda: shop.lab.clock.run(speed=600))
    result = shop.run(ready_timeout=timedelta(seconds=30))
    assert codes(result) == {
        **dict.fromkeys(("app", "db", "front"), "ScheduledStart"), "lone": "NeedsAnother"
    }  # fmt: skip
    started = {name: shop.look(name).instance.started_at for name in ("app", "db", "front")}
    assert started["db"] <= started["app"]


def test_vms_that_depend_on_each_other_are_left_as_they_are(shop: World) -> None:
    shop.create("a", depends_on="b")
    shop.create("b", depends_on="a")
    shop.run()
    shop.to(18)
    result = shop.run()
    assert codes(result) == {"a": "DependencyCycle", "b": "DependencyCycle"}
    assert result.exit_code == 1


def test_enforcing_undoes_what_people_do(shop: World) -> None:
    shop.create("web")
    policy = Policy(enforce=True)
    shop.run(policy=policy)
    shop.to(18)
    shop.run(policy=policy)
    shop.advance(minutes=15)
    shop.call("web", "start")
    shop.advance(minutes=15)
    assert codes(shop.run(policy=policy)) == {"web": "ScheduledStop"}


def _changed_at(shop: World, name: str) -> str:
    from vmkit.cluster.resources import VIRTUAL_MACHINES

    for entry in shop.session.get(VIRTUAL_MACHINES, name)["status"]["conditions"]:
        if entry["type"] == "Ready":
            return str(entry["lastTransitionTime"])
    raise AssertionError(name)
