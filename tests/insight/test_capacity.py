"""The capacity report: from objects and use to numbers, table, CSV and page."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.insight.tables import AT, GIB, AwaySource, TableSource, Use, constant, node, office, pod, vm, vmi
from vmkit.errors import Unreachable
from vmkit.insight.assess import assess_fleet
from vmkit.insight.capacity import CapacityReport, FleetPeaks, build_capacity
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.series import build_grid
from vmkit.insight.servers import read_servers
from vmkit.insight.shape import Catalog, Rollout, read_shape
from vmkit.insight.show_capacity import build_page, render_capacity
from vmkit.insight.split import Part
from vmkit.metrics.summary import Unknown
from vmkit.report.documents import render_json
from vmkit.report.page.html import render_html
from vmkit.report.page.markdown import render_markdown
from vmkit.vm.reference import VmRef
from vmkit.vm.state import read_vm

_GOLDEN = Path(__file__).parent.parent / "golden" / "insight"
_DAYS = timedelta(days=8)
_STEP = timedelta(minutes=30)


def _facts(document: dict[str, Any], *, running: bool, redundancy: float = 0.0) -> VmFacts:
    instance = vmi(document["metadata"]["name"]) if running else None
    view = read_vm(document, instance)
    shape = read_shape(document, instance, Catalog())
    return VmFacts(view, shape, running, view.labels.get("vmkit.io/owner", ""), redundancy=redundancy)


def _fleet(**more: Any) -> FleetFacts:
    vms = (
        _facts(vm("big", cores=8, memory="32Gi", owner="ann"), running=True),
        _facts(vm("desk", cores=4, memory="8Gi", owner="ben"), running=False),
        _facts(vm("pair-1", cores=2, memory="8Gi"), running=True, redundancy=0.5),
        _facts(vm("blind", cores=2, memory="4Gi"), running=True),
        _facts(vm("tight", cores=1, memory="2Gi"), running=True),
    )
    nodes = [
        node("ceph-1"), node("n1"), node("n2"), node("n3", memory="128Gi"),
        node("control", **{"node-role.kubernetes.io__control-plane": ""}),
    ]  # fmt: skip
    pods = [
        pod("osd", "ceph-1", "4Gi", app="rook-ceph-osd", owner="ReplicaSet"),
        pod("l-big", "n1", "33Gi", cpu="800m", vm="big"),
        pod("l-pair", "n2", "9Gi", cpu="200m", vm="pair-1"),
        pod("l-blind", "n2", "5Gi", cpu="200m", vm="blind"),
        pod("l-tight", "n3", "3Gi", vm="tight"),
        pod("web", "n3", "1Gi", owner="ReplicaSet"),
        pod("handler", "n1", "1Gi", owner="DaemonSet"),
    ]
    return FleetFacts(vms, Catalog(), Rollout(True, True), read_servers(nodes, pods), **more)


def _uses() -> dict[VmRef, Use]:
    return {
        VmRef("shop", "big"): lambda hours: (0.2 if hours % 24 < 22 else 2.0, 3.0 if hours % 24 < 12 else 4.0),
        VmRef("shop", "desk"): office(1.0, 3.0),
        VmRef("shop", "pair-1"): constant(0.5, 2.0),
        VmRef("shop", "tight"): constant(0.9, 1.9),
    }


def capacity_report(fleet: FleetFacts | None = None, uses: dict[VmRef, Use] | None = None) -> CapacityReport:
    fleet = fleet or _fleet()
    grid = build_grid(AT, _DAYS, _STEP)
    peaks = FleetPeaks(grid)
    source = TableSource(_uses() if uses is None else uses)
    found = assess_fleet(fleet, source, grid, at=AT, on_series=peaks.add)
    return build_capacity(fleet, found, peaks, at=AT, lookback=_DAYS)


def test_every_vm_adds_up_and_so_does_the_fleet() -> None:
    report = capacity_report()
    assert {str(one.ref): one.cpu.reserved for one in report.vms} == {
        "shop/big": 8000, "shop/desk": 4000, "shop/pair-1": 2000, "shop/blind": 2000, "shop/tight": 1000
    }  # fmt: skip
    for one in report.vms:
        for split in (one.cpu, one.memory):
            assert sum(split.part(part) for part in Part) == split.reserved
    assert report.memory.split.reserved == 54 * GIB
    assert sum(report.cpu.split.part(part) for part in Part) == report.cpu.split.reserved == 17_000


def test_stopped_time_is_a_gap_and_not_a_use_of_nothing() -> None:
    desk = next(one for one in capacity_report().vms if one.ref.name == "desk")
    assert desk.cpu.base == pytest.approx(1000, rel=0.01)
    assert desk.returned_share == pytest.approx(14 / 24, abs=0.02)


def test_what_nobody_measured_is_unknown_and_not_waste() -> None:
    blind = next(one for one in capacity_report().vms if one.ref.name == "blind")
    assert (blind.cpu.unknown, blind.cpu.just_in_case) == (2000, 0)
    assert blind.problems == ("no samples of it",)


def test_redundancy_is_no_waste_and_a_vm_too_small_says_what_it_is_short_of() -> None:
    report = {one.ref.name: one for one in capacity_report().vms}
    assert report["pair-1"].memory.redundancy == 4 * GIB
    assert report["tight"].memory.deficit > 0
    assert report["tight"].memory.just_in_case == 0


def test_peaks_that_do_not_coincide_are_told_from_those_that_do() -> None:
    nights: Use = lambda hours: (2.0, 1.0) if hours % 24 < 12 else (0.0, 1.0)  # noqa: E731
    days: Use = lambda hours: (2.0, 1.0) if hours % 24 >= 12 else (0.0, 1.0)  # noqa: E731
    report = capacity_report(uses={VmRef("shop", "big"): nights, VmRef("shop", "desk"): days})
    assert report.cpu.coincident_peak == pytest.approx(2000)
    assert report.cpu.sum_of_peaks == pytest.approx(4000)
    assert report.cpu.diversity == pytest.approx(2.0)


def test_servers_with_ceph_or_the_control_plane_stay_on() -> None:
    servers = capacity_report().servers_now
    assert servers is not None
    assert servers.kept == {"ceph-1": "runs a Ceph OSD", "control": "is part of the control plane"}
    assert servers.needed + len(servers.off) == 5
    assert {off.server for off in servers.off} == {"n2"} or servers.spare
    moved = {move.load: move.target for off in servers.off for move in off.moves}
    assert "control" not in moved.values()


def test_right_sized_pods_request_less() -> None:
    report = capacity_report()
    assert report.requested_resized.memory_bytes < report.requested.memory_bytes
    assert report.requested_resized.cpu_millicores < report.requested.cpu_millicores


def test_without_nodes_nothing_is_said_about_servers() -> None:
    fleet = _fleet()
    report = capacity_report(FleetFacts(fleet.vms, fleet.catalog, fleet.rollout))
    assert report.servers_now is None
    assert "nothing is said about servers" in render_capacity(report, "table")
    assert report.to_dict()["serversNow"] is None


def test_a_source_that_is_away_raises_and_a_report_without_one_says_unknown() -> None:
    fleet, grid = _fleet(), build_grid(AT, _DAYS, _STEP)
    with pytest.raises(Unreachable):
        list(assess_fleet(fleet, AwaySource(), grid, at=AT))
    why = Unknown("NoPrometheus", "there is no Prometheus to ask")
    found = assess_fleet(fleet, None, grid, at=AT, why_unknown=why)
    report = build_capacity(fleet, found, FleetPeaks(grid), at=AT, lookback=_DAYS)
    assert report.cpu.split.unknown + report.cpu.split.redundancy == report.cpu.split.reserved
    assert report.cpu.coincident_peak is None
    assert report.cpu.diversity is None


@pytest.mark.parametrize("lie", [-5.0, math.nan, math.inf, 1e12])
def test_a_lying_meter_changes_nothing_about_the_others(lie: float) -> None:
    honest = capacity_report()
    uses = _uses()
    uses[VmRef("shop", "blind")] = constant(lie, lie)
    report = capacity_report(uses=uses)
    for ref in ("big", "desk", "tight"):
        mine, other = (next(one for one in each.vms if one.ref.name == ref) for each in (honest, report))
        assert mine == other
    blind = next(one for one in report.vms if one.ref.name == "blind")
    assert blind.cpu.unknown == 2000
    assert blind.problems
    assert report.cpu.coincident_peak == honest.cpu.coincident_peak


def test_a_wide_table_has_every_vm_and_a_narrow_one_says_how_many_are_missing() -> None:
    fleet = _fleet()
    many = tuple(_facts(vm(f"vm-{number}", cores=1, memory="1Gi"), running=False) for number in range(30))
    report = capacity_report(FleetFacts(many, fleet.catalog, fleet.rollout))
    assert "and 10 more VMs" in render_capacity(report, "table")
    assert render_capacity(report, "wide").count("\n") > 60


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("capacity.txt", lambda report: render_capacity(report, "table")),
        ("capacity.csv", lambda report: render_capacity(report, "csv")),
        ("capacity.md", lambda report: render_markdown(build_page(report))),
    ],
)
def test_the_report_looks_as_it_did(name: str, render: Any) -> None:
    assert render(capacity_report()) == (_GOLDEN / name).read_text(encoding="utf-8")


def test_the_page_is_one_file_with_everything_in_it() -> None:
    html = render_html(build_page(capacity_report()))
    assert "shop/big" in html
    assert "<script" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_the_document_looks_as_it_did() -> None:
    report = capacity_report()
    document = {"fleet": report.to_dict(), "items": [one.to_dict() for one in report.vms]}
    assert render_json(document) + "\n" == (_GOLDEN / "capacity.json").read_text(encoding="utf-8")
