"""What VMs took: the arithmetic, and what is not known."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.insight.tables import AT, node, pod, vm, vmi
from vmkit.insight.energy.account import GROUPS, EnergyReport, VmEnergy
from vmkit.insight.energy.factors import Factor, build_site
from vmkit.insight.energy.gather import Surroundings, gather_vm
from vmkit.insight.energy.kepler import KeplerReading, VmJoules
from vmkit.insight.energy.model import CCF
from vmkit.insight.energy.show import build_page, render_energy
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.series import Grid, VmSeries, build_grid
from vmkit.insight.servers import read_servers
from vmkit.insight.shape import Catalog, Rollout, read_shape
from vmkit.metrics.summary import EnergySource, Unknown
from vmkit.report.page.markdown import render_markdown
from vmkit.vm.reference import VmRef
from vmkit.vm.state import read_vm

_GOLDEN = Path(__file__).parents[2] / "golden" / "insight"
_SITE = build_site(factor=Factor(400.0, "DE", "a table", 2023), pue=1.5, wue_litres=0.2)
_REF = VmRef("shop", "web")


def _grid() -> Grid:
    return build_grid(AT, timedelta(hours=10), timedelta(minutes=30))


def _facts(*, running: bool = True, name: str = "web") -> VmFacts:
    document = vm(name, cores=2, memory="8Gi", running=running, owner="ann")
    instance = vmi(name) if running else None
    return VmFacts(
        read_vm(document, instance), read_shape(document, instance, Catalog()), running, "ann", "debian", "mon-fri"
    )


def _fleet(**labels: str) -> FleetFacts:
    nodes = [node("n1", cpu="8", memory="16Gi", **labels)]
    servers = read_servers(nodes, [pod("l", "n1", "9Gi", cpu="200m", vm="web")])
    return FleetFacts((_facts(),), Catalog(), Rollout(), servers)


def _series(values: list[float], **more: Any) -> VmSeries:
    return VmSeries(_REF, array("d", values), array("d", values), **more)


def _kepler(joules: list[float], **more: Any) -> KeplerReading:
    vms = {_REF: VmJoules(array("d", joules), {"n1": len(joules)})}
    return KeplerReading(EnergySource.KEPLER_PODS, "package", vms, {"n1": 40.0}, **more)


def _gather(series: VmSeries, kepler: KeplerReading, *, running: bool = True, **labels: str) -> VmEnergy:
    return gather_vm(_facts(running=running), series, _grid(), _fleet(**labels), Surroundings(kepler, _SITE))


def test_joules_become_kilowatt_hours_grams_and_litres() -> None:
    found = _gather(_series([0.5] * 20), _kepler([360_000.0] * 10))
    assert found.active_kwh == pytest.approx(1.0)
    assert found.facility_kwh == pytest.approx(1.5)
    assert found.grams == pytest.approx(600.0)
    assert found.litres == pytest.approx(0.2)
    assert (found.running_hours, found.stopped_hours, found.coverage) == (10.0, 0.0, 1.0)
    # It requests a bit over half of the server's memory, which idles at 40 W.
    assert found.idle_kwh == pytest.approx(40 * 10 * 8.26 / 16 / 1000, rel=0.01)
    assert found.sci_grams == pytest.approx(((found.grams or 0) + (found.idle_grams or 0)) / 10)
    assert found.source is EnergySource.KEPLER_PODS


def test_stopping_avoids_the_work_and_not_the_idle_energy() -> None:
    nothing = [math.nan] * 10
    found = _gather(_series([0.5] * 10 + nothing), _kepler([360_000.0] * 5 + [math.nan] * 5))
    assert (found.running_hours, found.stopped_hours) == (5.0, 5.0)
    assert found.avoided_kwh == pytest.approx(found.active_kwh)
    assert found.idle_kwh == pytest.approx(40 * 5 * 8.26 / 16 / 1000, rel=0.01)


def test_hours_that_nobody_measured_lower_the_coverage() -> None:
    found = _gather(_series([0.5] * 20), _kepler([360_000.0] * 4 + [math.nan] * 6))
    assert found.coverage == pytest.approx(0.4)


def test_without_kepler_a_named_model_estimates() -> None:
    found = _gather(_series([1.5] * 20), KeplerReading(None, "package"))
    assert found.source is EnergySource.MODEL
    assert found.active_kwh == pytest.approx(1.5 * (3.5 - 0.74) * 10 / 1000)
    assert found.idle_kwh == pytest.approx((2 * 0.74 + 8 * 1.073741824 * 0.392) * 10 / 1000)
    assert CCF.active_watts(0) == 0


def test_a_vm_kepler_does_not_know_is_unknown_and_no_zero() -> None:
    found = _gather(_series([0.5] * 20), replace(_kepler([]), vms={}))
    assert (found.active_kwh, found.grams, found.sci_grams, found.source) == (None, None, None, None)
    assert "Kepler says nothing of it" in found.problems


def test_a_vm_that_did_not_run_took_nothing_and_a_silent_one_nobody_knows() -> None:
    series = _series([math.nan] * 20, problems=(Unknown("NoSamples", "no samples"),))
    empty = KeplerReading(EnergySource.KEPLER_PODS, "package")
    stopped = _gather(series, empty, running=False)
    assert (stopped.active_kwh, stopped.idle_kwh, stopped.running_hours) == (0.0, 0.0, 0.0)
    assert stopped.sci_grams is None
    assert _gather(series, empty).active_kwh is None
    away = _series([math.nan] * 20, problems=(Unknown("Unreachable", "Prometheus is away"),))
    assert _gather(away, empty, running=False).active_kwh is None


def test_a_node_leads_to_its_site() -> None:
    site = build_site("par1", factor=Factor(56.0, "FR", "a table", 2023), pue=1.2)
    around = Surroundings(_kepler([3.6e6] * 10), _SITE, {"par1": site})
    fleet = _fleet(**{"topology.kubernetes.io__zone": "par1"})
    found = gather_vm(_facts(), _series([0.5] * 20), _grid(), fleet, around)
    assert found.site.name == "par1"
    assert found.grams == pytest.approx(10 * 1.2 * 56)
    assert found.litres is None


def energy_report() -> EnergyReport:
    one = _gather(_series([0.5] * 20), _kepler([360_000.0] * 10))
    two = replace(one, ref=VmRef("shop", "batch"), owner="ben", schedule="", active_kwh=0.25)
    lost = replace(one, ref=VmRef("lab", "lost"), active_kwh=None, source=None, problems=("Kepler says nothing",))
    return EnergyReport(AT, timedelta(days=7), (one, two, lost), "measured by Kepler (kepler-pod, zone package)")


def test_groups_add_up_what_is_known_and_count_what_is_not() -> None:
    report = energy_report()
    for by in GROUPS:
        groups = report.grouped(by)
        assert sum(group.vms for group in groups) == 3
        assert sum(group.unknown for group in groups) == 1
        assert sum(group.active_kwh for group in groups) == pytest.approx(1.25)
    assert [group.name for group in report.grouped("owner")] == ["ann", "ben"]
    assert report.grouped("namespace")[1].active_kwh == 0


@pytest.mark.parametrize(
    ("name", "output", "by"),
    [("energy.txt", "table", "vm"), ("energy.csv", "csv", "vm"), ("energy-owner.txt", "table", "owner")],
)
def test_the_report_looks_as_it_did(name: str, output: str, by: str) -> None:
    assert render_energy(energy_report(), output, by=by) == (_GOLDEN / name).read_text(encoding="utf-8")


def test_the_page_looks_as_it_did() -> None:
    assert render_markdown(build_page(energy_report(), by="owner")) == (_GOLDEN / "energy.md").read_text(
        encoding="utf-8"
    )


def test_a_meter_for_development_claims_no_savings() -> None:
    report = replace(energy_report(), claims=False)
    assert report.to_dict()["savingsMayBeClaimed"] is False
    assert "claim no savings" in render_markdown(build_page(report, by="vm"))
