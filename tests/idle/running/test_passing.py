"""Runs on a practice cluster: what is idle is noted, and stopped by a later run if it is idle still."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.idle.running.world import SHOP, World, actions, codes, create_namespace
from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES, SERVICE_ACCOUNTS, VIRTUAL_MACHINES
from vmkit.errors import Refused, UsageError
from vmkit.guard.switch import Switch
from vmkit.idle.mark import NOTICE
from vmkit.idle.running import IdleOptions, Scope, run_idle
from vmkit.idle.verdict import State
from vmkit.idling import IdleHands
from vmkit.metrics.summary import Sessions, Signal, Unknown
from vmkit.plan import Status
from vmkit.units import Limit
from vmkit.vm.reference import VmRef
from vmkit.vm.strategy import RunStrategy


def test_an_idle_vm_is_noted_and_stopped_once_its_notice_is_over(shop: World) -> None:
    shop.create("web", strategy="RerunOnFailure")
    found = shop.run()
    assert actions(found) == {"web": "mark"}
    mark = shop.mark("web")
    assert mark is not None
    assert mark.stop_after - mark.marked_at == timedelta(hours=24)
    assert "vmkit stop-idle snooze web -n shop" in shop.look("web").annotations[NOTICE]
    shop.advance(hours=23)
    assert codes(shop.run()) == {"web": "Noticed"}
    shop.advance(hours=1)
    found = shop.run()
    assert actions(found) == {"web": "stop"}
    assert [(each.verb, each.status) for each in found.result.outcomes] == [("stop", Status.CHANGED)]
    assert shop.power("web") == "Stopped"
    assert shop.mark("web") is None
    [entry] = shop.stops("web")
    assert (entry.code, entry.vcpus, entry.active_watts) == ("StoppedIdle", 2, 1.0)
    assert sorted(shop.events("web")) == ["MarkedIdle", "StoppedIdle"]
    assert actions(shop.run()) == {"web": "none"}


def test_vmkit_start_brings_it_back_as_it_was(shop: World) -> None:
    from vmkit import Vmkit

    shop.create("web", strategy="Once")
    shop.run(stop_now=True)
    assert shop.power("web") == "Stopped"
    with Vmkit.connect(kubeconfig=shop.lab.kubeconfig, namespace=SHOP) as vk:
        vk.start("web")
    shop.advance(minutes=5)
    assert (shop.power("web"), shop.look("web").run_strategy) == ("Running", RunStrategy.ONCE)


@pytest.mark.parametrize("what", ["use", "session", "unknown", "restart", "spec", "snooze", "opt-out", "veto"])
def test_use_and_a_person_s_touch_take_the_note_away(shop: World, what: str) -> None:
    shop.create("web")
    shop.run()
    if what == "use":
        shop.source.levels["web"] = {Signal.CPU: 1.0}
    elif what == "session":
        shop.source.changes["web"] = {"sessions": Sessions(1, None, shop.now - timedelta(days=20))}
    elif what == "unknown":
        shop.source.unknown["*"] = Unknown("Unreachable", "Prometheus does not answer")
    elif what == "restart":
        shop.call("web", "restart")
        shop.advance(days=2)
    elif what == "spec":
        spec = {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}
        shop.session.patch(VIRTUAL_MACHINES, "web", spec)
    elif what == "snooze":
        until = shop.now + timedelta(days=7)
        shop.annotate("web", idle_snooze_until=until.isoformat())
    elif what == "opt-out":
        shop.session.patch(VIRTUAL_MACHINES, "web", {"metadata": {"labels": {"vmkit.io/stop-idle": "no"}}})
    else:
        shop.annotate("web", keep_up_until=(shop.now + timedelta(days=7)).isoformat())
    shop.advance(days=1)
    found = shop.run(scope=Scope(namespace=SHOP, everything=True))
    assert actions(found) == {"web": "clear"}
    assert shop.mark("web") is None
    assert NOTICE not in shop.look("web").annotations
    assert shop.power("web") == "Running"


def test_the_last_look_stops_a_stop(shop: World) -> None:
    shop.create("web")
    shop.run()
    shop.advance(days=1)
    summarize = shop.source.summarize

    def busy_a_moment_ago(refs, *, measures, at, lookback):  # type: ignore[no-untyped-def]
        if lookback < timedelta(days=1):
            shop.source.levels["web"] = {Signal.CPU: 1.0}
        return summarize(refs, measures=measures, at=at, lookback=lookback)

    shop.source.summarize = busy_a_moment_ago  # type: ignore[method-assign]
    found = shop.run()
    assert [(each.verb, each.reason.code) for each in found.result.outcomes] == [("clear", "InUse")]
    assert (shop.power("web"), shop.mark("web")) == ("Running", None)


def test_somebody_who_is_logged_in_keeps_it_up(shop: World) -> None:
    shop.create("web")
    shop.session.patch(
        VIRTUAL_MACHINES,
        "web",
        {"spec": {"template": {"metadata": {"annotations": {"lab.vmkit.io/guest-users": "ada"}}}}},
    )
    shop.call("web", "restart")
    shop.advance(days=30)
    [item] = shop.run().report.items
    assert item.reason.code == "LoggedIn"


def test_only_what_is_labelled_is_looked_at_unless_more_is_said(shop: World) -> None:
    create_namespace(shop.session, "team", labels={"vmkit.io/stop-idle": "enabled"})
    create_namespace(shop.session, "out", labels={"vmkit.io/stop-idle": "disabled"})
    shop.create("in", days=0)
    shop.create("plain", labels={"vmkit.io/stop-idle": "enabled"}, days=0)
    shop.session.patch(VIRTUAL_MACHINES, "plain", {"metadata": {"labels": {"vmkit.io/stop-idle": None}}})
    shop.create("not-me", labels={"vmkit.io/stop-idle": "disabled"}, days=90)
    assert codes(shop.run(scope=Scope(), dry_run=True)) == {"in": "MarkedIdle"}
    everything = codes(shop.run(scope=Scope(everything=True), dry_run=True))
    assert everything == {"in": "MarkedIdle", "plain": "MarkedIdle", "not-me": "OptedOut"}
    named = shop.run(scope=Scope(names=(VmRef(SHOP, "not-me"), VmRef(SHOP, "gone"))), dry_run=True)
    assert codes(named) == {"not-me": "OptedOut"}
    [missing] = [each for each in named.result.outcomes if each.target.name == "gone"]
    assert (missing.status, missing.reason.code) == (Status.FAILED, "NotFound")
    shop.session.patch(NAMESPACES, SHOP, {"metadata": {"labels": {"vmkit.io/stop-idle": "disabled"}}})
    assert set(codes(shop.run(scope=Scope(everything=True), dry_run=True)).values()) == {"OptedOut"}


def test_a_run_stops_no_more_than_its_share_those_that_waited_longest_first(shop: World) -> None:
    names = [f"web-{number}" for number in range(4)]
    shop.create(*names)
    shop.run()
    shop.advance(days=1)
    found = shop.run()  # 5 % of four, and at least one
    assert sorted(codes(found).values()) == ["NextRun", "NextRun", "NextRun", "StoppedIdle"]
    found = shop.run(max_stops=Limit(count=2))
    assert sorted(actions(found).values()) == ["none", "none", "stop", "stop"]


def test_marks_only_stops_nothing(shop: World) -> None:
    shop.create("web")
    shop.run(marks_only=True)
    shop.advance(days=1)
    assert codes(shop.run(marks_only=True)) == {"web": "NotAgreed"}
    assert shop.power("web") == "Running"


def test_of_a_group_one_member_at_a_time(shop: World) -> None:
    shop.create("a", "b", labels={"vmkit.io/ha-group": "db"})
    shop.run()
    shop.advance(days=1)
    found = shop.run(max_stops=Limit(percent=100))
    assert codes(found) == {"a": "StoppedIdle", "b": "GroupTurn"}
    assert codes(shop.run(stop_now=True)) == {"a": "NotRunning", "b": "GroupDegraded"}


def test_a_vm_that_others_need_is_in_use_while_they_run(shop: World) -> None:
    shop.create("db")
    shop.create("app", days=0, depends_on="db")
    assert codes(shop.run())["db"] == "NeededBy"


def test_a_service_with_traffic_leaves_it_unknown(shop: World) -> None:
    from vmkit.cluster.resources import SERVICES

    shop.create("web")
    shop.session.create(
        SERVICES,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "front"},
            "spec": {"selector": {"vm.kubevirt.io/name": "web"}, "ports": [{"port": 80}]},
        },
    )
    assert codes(shop.run()) == {"web": "MarkedIdle"}
    shop.source.levels["web"] = {Signal.NETWORK: 5000.0}
    assert codes(shop.run()) == {"web": "ServiceTraffic"}


def test_a_guest_without_an_agent_is_given_two_minutes(shop: World) -> None:
    shop.create("web", agent=False)
    shop.run(stop_now=True)
    assert shop.power("web") in {"Stopped", "Stopping"}
    shop.create("other", days=90)
    asked: list[int | None] = []
    stop = shop.hands.stop

    def record(view, *, grace_seconds):  # type: ignore[no-untyped-def]
        asked.append(grace_seconds)
        return stop(view, grace_seconds=grace_seconds)

    shop.hands.stop = record  # type: ignore[method-assign]
    shop.create("bare", agent=False)
    shop.run(
        stop_now=True, scope=Scope(names=(VmRef(SHOP, "bare"), VmRef(SHOP, "other"))), max_stops=Limit(count=2)
    )
    assert sorted(asked, key=str) == [120, None]


def test_a_run_ends_itself_where_far_more_is_idle_than_before(shop: World) -> None:
    names = [f"web-{number}" for number in range(5)]
    shop.create(*names)
    for name in names:
        shop.source.levels[name] = {Signal.CPU: 1.0}
    shop.run()
    shop.source.levels.clear()
    with pytest.raises(Refused, match="5 of 5 VMs are idle"):
        shop.run()
    assert [shop.mark(name) for name in names] == [None] * 5
    assert any("5 of 5" in each for each in shop.run(dry_run=True).result.notices)
    shop.run(accept_growth=True)
    assert None not in [shop.mark(name) for name in names]
    shop.run()


def test_the_switch_suspends_every_change(shop: World) -> None:
    shop.create("web")
    Switch().set(shop.session, suspended=True)
    found = shop.run(stop_now=True)
    assert [each.reason.code for each in found.result.outcomes] == ["Suspended"]
    assert (shop.power("web"), shop.mark("web")) == ("Running", None)


def test_its_schedule_starts_it_again_unless_it_is_to_stay_down(shop: World) -> None:
    from vmkit.schedule.running import PassOptions, run_pass
    from vmkit.scheduling import PowerHands

    def make_a_pass() -> None:
        run_pass(shop.session, PowerHands(shop.session), PassOptions(namespace=SHOP))
        shop.advance(minutes=5)

    shop.create("back", days=0, schedule="daily 08:00-22:00 UTC")
    shop.create("down", days=0, schedule="daily 08:00-22:00 UTC", idle_stay_down="true")
    make_a_pass()
    shop.advance(days=90)
    make_a_pass()
    shop.advance(hours=2)
    shop.run(stop_now=True, max_stops=Limit(count=2))
    assert (shop.power("back"), shop.power("down")) == ("Stopped", "Stopped")
    for _ in range(24):
        shop.advance(hours=1)
        make_a_pass()
        if shop.power("back") == "Running":
            break
    assert (shop.power("back"), shop.power("down")) == ("Running", "Stopped")


def test_one_bad_annotation_is_said_and_stops_nobody_else(shop: World) -> None:
    shop.create("bad", "worse", "good")
    shop.annotate("bad", idle_snooze_until="next week")
    shop.annotate("worse", idle_mark="{")
    found = shop.run()
    assert codes(found) == {"bad": "BadAnnotation", "worse": "BadAnnotation", "good": "MarkedIdle"}
    assert actions(shop.run())["worse"] == "mark"
    assert shop.mark("bad") is None


def test_a_clone_that_carries_a_copy_of_a_note_gets_one_of_its_own(shop: World) -> None:
    shop.create("web", "copy")
    shop.run(scope=Scope(names=(VmRef(SHOP, "web"),)))
    text = shop.look("web").annotations["vmkit.io/idle-mark"]
    shop.annotate("copy", idle_mark=text)
    shop.advance(days=1)
    found = shop.run(scope=Scope(names=(VmRef(SHOP, "copy"),)))
    assert actions(found) == {"copy": "mark"}


@pytest.mark.parametrize(
    "options",
    [
        {"notice": timedelta(0)},
        {"notice": timedelta(days=400)},
        {"stop_now": True, "marks_only": True},
        {"wave": 0},
        {"webhook": "chat"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        IdleOptions(**options)  # type: ignore[arg-type]


def test_whoever_may_only_see_a_namespace_learns_what_is_idle_and_stops_nothing(
    shop: World, tmp_path: Path
) -> None:
    shop.create("web")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ada", "namespace": SHOP}}
    group, rules = "rbac.authorization.k8s.io", [
        {"apiGroups": ["kubevirt.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["subresources.kubevirt.io"], "resources": ["*"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]},
    ]  # fmt: skip
    metadata = {"name": "ada", "namespace": SHOP}
    shop.session.apply(account)
    shop.session.apply({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    shop.session.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "ada"},
            "subjects": [{"kind": "ServiceAccount", "name": "ada", "namespace": SHOP}],
        }
    )
    made = shop.session.get(SERVICE_ACCOUNTS, "ada", SHOP)
    token, _ = shop.lab.call(lambda: shop.lab.world.tokens.issue(made, lifetime=None))
    document = yaml.safe_load(Path(shop.lab.kubeconfig).read_text(encoding="utf-8"))
    document["users"][0]["user"] = {"token": token}
    (tmp_path / "ada.yaml").write_text(yaml.safe_dump(document))
    with Session.connect(kubeconfig=tmp_path / "ada.yaml", namespace=SHOP) as session:
        options = IdleOptions(Scope(namespace=SHOP, everything=True), dry_run=True)
        [item] = run_idle(session, IdleHands(session), shop.source, options).report.items
    assert item.verdict.state is State.IDLE
    assert [each.code for each in item.verdict.held] == ["NamespaceUnread", "NodesUnread"]
