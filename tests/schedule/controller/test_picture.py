"""What watches tell is put together, and only what matters wakes anybody."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.schedule.controller.picture import Kind, Picture
from vmkit.schedule.running.settings import NamespaceRule, Settings
from vmkit.schedule.sources import SCHEDULE, Scope, Source

WEB = ("shop", "web")


def vm(version: str = "1", status: str = "Running", **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u", "resourceVersion": version,
            "annotations": {f"vmkit.io/{key}": text for key, text in annotations.items()},
        },
        "spec": {"runStrategy": "Always", "template": {"spec": {"domain": {}}}},
        "status": {"printableStatus": status},
    }  # fmt: skip


def vmi(node: str = "n1", version: str = "1") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "i", "resourceVersion": version},
        "spec": {"domain": {}},
        "status": {"phase": "Running", "nodeName": node},
    }


class Woken:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1

    def by(self, act: Any) -> bool:
        before = self.times
        act()
        return self.times > before


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def picture(woken: Woken) -> Picture:
    one = Picture(Settings(), woken)
    one.replace_all(Kind.VMS, {WEB: vm()})
    one.replace_all(Kind.INSTANCES, {WEB: vmi()})
    assert not one.complete
    assert woken.times == 0
    one.replace_all(Kind.NAMESPACES, {("", "shop"): {"metadata": {"name": "shop"}}})
    assert one.complete
    assert woken.times == 1
    return one


def test_a_vm_is_seen_with_its_instance(picture: Picture) -> None:
    _, (subject,) = picture.look()
    assert (subject.view.node, str(subject.view.power), subject.effective.timetable) == ("n1", "Running", None)


def test_only_what_matters_wakes(picture: Picture, woken: Woken) -> None:
    picture.look()
    assert not woken.by(lambda: picture.put(Kind.VMS, WEB, vm("2")))
    assert picture.look()[1][0].view.resource_version == "2"
    assert not woken.by(lambda: picture.put(Kind.INSTANCES, WEB, vmi(version="2")))
    assert not woken.by(lambda: picture.put(Kind.NAMESPACES, ("", "shop"), {"metadata": {"labels": {"a": "b"}}}))
    assert not woken.by(lambda: picture.drop(Kind.INSTANCES, ("shop", "other")))
    assert not woken.by(lambda: picture.replace_all(Kind.VMS, {WEB: vm("2")}))
    assert woken.by(lambda: picture.put(Kind.VMS, WEB, vm("3", status="Stopped")))
    assert woken.by(lambda: picture.put(Kind.VMS, WEB, vm("4", schedule="always")))
    assert woken.by(lambda: picture.put(Kind.INSTANCES, WEB, vmi("n2")))
    assert woken.by(lambda: picture.drop(Kind.INSTANCES, WEB))
    assert woken.by(lambda: picture.replace_all(Kind.VMS, {}))
    assert picture.look()[1] == ()


def test_a_namespace_speaks_for_its_vms_from_the_moment_it_does(picture: Picture, woken: Woken) -> None:
    assert picture.look()[1][0].effective.timetable is None
    speaking = {"metadata": {"name": "shop", "annotations": {SCHEDULE: "Mon-Fri 08:00-18:00 UTC"}}}
    assert woken.by(lambda: picture.put(Kind.NAMESPACES, ("", "shop"), speaking))
    assert picture.look()[1][0].effective.timetable is not None
    assert woken.by(lambda: picture.drop(Kind.NAMESPACES, ("", "shop")))
    assert picture.look()[1][0].effective.timetable is None


def test_other_settings_hold_at_once(picture: Picture, woken: Woken) -> None:
    picture.look()
    rule = NamespaceRule(("sh*",), Source(Scope.CONFIG, "file", {SCHEDULE: "never UTC"}))
    assert woken.by(lambda: picture.set_settings(Settings(rules=(rule,))))
    assert picture.look()[1][0].effective.timetable is not None


def test_what_nobody_tells_of_any_more_makes_it_incomplete(picture: Picture, woken: Woken) -> None:
    picture.lose(Kind.INSTANCES)
    assert not picture.complete
    assert not woken.by(lambda: picture.put(Kind.VMS, WEB, vm("5", status="Stopped")))
    assert woken.by(lambda: picture.replace_all(Kind.INSTANCES, {}))
    assert str(picture.look()[1][0].view.power) == "Stopped"
