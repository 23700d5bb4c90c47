"""How proposed sizes look."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.insight.tables import AT, TableSource, constant, office, vm, vmi
from vmkit.insight.assess import Assessment, assess_fleet
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.series import build_grid
from vmkit.insight.shape import Catalog, Rollout, read_shape
from vmkit.insight.show_sizes import render_sizes, size_to_dict
from vmkit.report.documents import render_json
from vmkit.vm.reference import VmRef
from vmkit.vm.state import read_vm

_GOLDEN = Path(__file__).parent.parent / "golden" / "insight"


def assessments() -> list[Assessment]:
    vms = []
    for document, running in (
        (vm("big", cores=8, memory="32Gi"), True),
        (vm("blind", cores=2, memory="4Gi"), True),
        (vm("desk", cores=4, memory="8Gi", running=False), False),
        (vm("fits", cores=1, memory="2560Mi"), True),
        (vm("tight", cores=1, memory="2Gi"), True),
    ):
        instance = vmi(document["metadata"]["name"]) if running else None
        vms.append(VmFacts(read_vm(document, instance), read_shape(document, instance, Catalog()), running))
    fleet = FleetFacts(tuple(vms), Catalog(), Rollout(live_update=True, workload_updates=True))
    uses = {
        VmRef("shop", "big"): constant(1.2, 5.0),
        VmRef("shop", "desk"): office(1.0, 3.0),
        VmRef("shop", "fits"): constant(0.8, 2.0),
        VmRef("shop", "tight"): constant(0.9, 1.9),
    }
    grid = build_grid(AT, timedelta(days=8), timedelta(minutes=30))
    return list(assess_fleet(fleet, TableSource(uses), grid, at=AT))


@pytest.mark.parametrize(
    ("name", "output"), [("sizes.txt", "table"), ("sizes-wide.txt", "wide"), ("sizes.csv", "csv")]
)
def test_the_list_looks_as_it_did(name: str, output: str) -> None:
    assert render_sizes(assessments(), output) == (_GOLDEN / name).read_text(encoding="utf-8")


def test_the_items_look_as_they_did() -> None:
    written = render_json([size_to_dict(one) for one in assessments()]) + "\n"
    assert written == (_GOLDEN / "sizes.json").read_text(encoding="utf-8")
    rows = {row["name"]: row for row in json.loads(written)}
    assert "patch" in rows["big"]
    assert "patch" not in rows["blind"]


def test_of_no_vms_there_is_a_line() -> None:
    assert render_sizes([], "table") == "0 of 0 VMs should have another size\n"
