"""The reports about capacity and energy, and vmkit rightsize, against a practice cluster and a real Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Run
from tests.insight.history import write_history
from tests.power.vms import create, create_running, look, manifest, stopped, wait_until
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES
from vmkit.vm.markers import RESIZE_AT_STOP

pytestmark = pytest.mark.timeout(180)

_GIB = 2**30


def _sized(name: str, **more: Any) -> dict[str, Any]:
    document = manifest(name, **more)
    domain = document["spec"]["template"]["spec"]["domain"]
    domain["cpu"] = {"sockets": 4, "cores": 1, "threads": 1}
    domain["memory"] = {"guest": "8Gi"}
    return document


@pytest.fixture
def prometheus(session: Session, namespace: str) -> Iterator[str]:
    require_prometheus()
    session.get(NAMESPACES, namespace)
    assert session.server_time is not None
    with PrometheusServer(write_history(namespace, ["web-1", "web-2"], session.server_time.timestamp())) as server:
        yield server.url


def test_capacity_splits_what_is_reserved(vmkit: Run, session: Session, prometheus: str, tmp_path: Path) -> None:
    refs = create(session, _sized("web-1"), _sized("dark"))
    wait_until(session, refs, stopped)
    pages = {"html": tmp_path / "c.html", "md": tmp_path / "c.md"}
    written = [argument for kind, path in pages.items() for argument in (f"--{kind}", str(path))]
    ran = vmkit("report", "capacity", "--prometheus", prometheus, "-o", "json", *written)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert (document["kind"], document["command"]) == ("CapacityReport", "report capacity")
    rows = {row["name"]: row for row in document["items"]}
    web = rows["web-1"]["cpuMillicores"]
    assert web["reserved"] == 4000
    assert web["base"] == pytest.approx(500, abs=2)
    assert rows["dark"]["memoryBytes"]["unknown"] == 8 * _GIB
    assert document["fleet"]["serversNow"]["servers"] >= 4
    assert pages["html"].read_text().startswith("<!doctype html>")
    assert "web-1" in pages["md"].read_text()
    table = vmkit("report", "capacity", "--prometheus", prometheus)
    assert "JUST-IN-CASE" in table.out
    csv = vmkit("report", "capacity", "web-1", "--prometheus", prometheus, "-o", "csv").out.splitlines()
    assert [line.split(",")[3] for line in csv] == ["resource", "cpu_millicores", "memory_bytes"]


def test_capacity_without_prometheus_says_what_it_does_not_know(vmkit: Run, session: Session) -> None:
    wait_until(session, create(session, _sized("web-1")), stopped)
    for more in ((), ("--prometheus", "http://127.0.0.1:1")):
        ran = vmkit("report", "capacity", "-o", "json", *more)
        assert ran.code == 0
        (row,) = json.loads(ran.out)["items"]
        assert row["memoryBytes"]["unknown"] == row["memoryBytes"]["reserved"] == 8 * _GIB
        assert "use is not known" in ran.err


def test_sizes_are_shown_applied_and_left_for_the_next_stop(vmkit: Run, session: Session, prometheus: str) -> None:
    wait_until(session, create(session, _sized("web-1")), stopped)
    (running,) = create_running(session, _sized("web-2"))
    ran = vmkit("rightsize", "--prometheus", prometheus)
    assert ran.code == 0, ran.err
    assert "2 of 2 VMs should have another size" in ran.out
    rows = {
        row["name"]: row
        for row in json.loads(vmkit("rightsize", "--prometheus", prometheus, "-o", "json").out)["items"]
    }
    assert rows["web-1"]["proposed"] == {"vcpus": 1, "memoryBytes": 2560 * 2**20}
    assert (rows["web-1"]["effect"], rows["web-2"]["effect"]) == ("Start", "Restart")
    assert look(session, running).annotations.get(RESIZE_AT_STOP) is None

    applied = vmkit("rightsize", "--prometheus", prometheus, "--apply", "--at-next-stop")
    assert applied.code == 0, applied.err
    assert "set to be resized: 1 CPU, 2.5 GiB, once it is stopped" in applied.out
    assert look(session, running).annotations[RESIZE_AT_STOP] == "vcpus=1,memory=2560Mi"
    pending = vmkit("rightsize", "--apply-pending")
    assert pending.code == 0
    assert "not stopped" in pending.out + pending.err
    assert vmkit("rightsize", "web-1", "--prometheus", prometheus).out.startswith("0 of 1 VMs")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("rightsize",), "no Prometheus"),
        (("rightsize", "--at-next-stop"), "--at-next-stop"),
        (("rightsize", "--apply", "--apply-pending"), "not both"),
        (("rightsize", "--prometheus", "nonsense"), "no address"),
        (("rightsize", "--prometheus", "http://127.0.0.1:1", "--percentile", "much"), "percentage"),
        (("rightsize", "--prometheus", "http://127.0.0.1:1", "--percentile", "20"), "percentile"),
        (("rightsize", "--prometheus", "http://127.0.0.1:1", "--lookback", "5m"), "lookback"),
        (("report", "energy"), "no Prometheus"),
        (("report", "energy", "--country", "Atlantis"), "no carbon factor"),
        (("report", "energy", "--country", "DE", "--grid-intensity", "5"), "give one of"),
        (("report", "energy", "--pue", "0.5"), "PUE"),
        (("report", "energy", "--sites", "/nowhere/sites.yaml"), "cannot be read"),
        (("report", "energy", "--carbon", "watttime"), "needs --carbon-zone"),
        (("report", "capacity", "--step", "0.1s"), "step"),
        (("report", "capacity", "--lookback", "400d"), "11000"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(vmkit: Run, arguments: tuple[str, ...], text: str) -> None:
    ran = vmkit(*arguments)
    assert ran.code in (2, 4), ran
    assert text in ran.err
    assert "Traceback" not in ran.err


def test_a_prometheus_that_is_away_ends_rightsize_with_its_error(vmkit: Run, session: Session) -> None:
    wait_until(session, create(session, _sized("web-1")), stopped)
    ran = vmkit("rightsize", "--prometheus", "http://127.0.0.1:1")
    assert ran.code not in (0, 70)
    assert "cannot be reached" in ran.err


def test_energy_is_measured_and_its_carbon_has_a_source(
    vmkit: Run, session: Session, prometheus: str, tmp_path: Path
) -> None:
    create_running(session, _sized("web-1"))
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites: {hut: {pue: 1.1, grid: 20}}\n")
    options = ("--prometheus", prometheus, "--country", "FR", "--pue", "1.25", "--sites", str(sites))
    ran = vmkit("report", "energy", *options, "-o", "json", "--html", str(tmp_path / "e.html"))
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    (row,) = document["items"]
    assert row["source"] == "kepler-pod"
    assert row["activeKwh"] == pytest.approx(10 * 7 * 24 / 1000, rel=0.02)
    assert row["gramsCo2"] == pytest.approx(row["activeKwh"] * 1.25 * 56, rel=0.001)
    (site,) = document["fleet"]["sites"]
    assert (site["zone"], site["year"], site["pue"]) == ("FR", 2023, 1.25)
    assert "What VMs take" in (tmp_path / "e.html").read_text()
    grouped = vmkit("report", "energy", *options, "--by", "namespace")
    assert grouped.out.splitlines()[0].split()[0] == "NAMESPACE"
    assert vmkit("report", "energy", *options, "-o", "csv").out.startswith("namespace,name,active_kwh")


def test_names_that_are_not_there_are_told_beside_the_rest(vmkit: Run, session: Session, prometheus: str) -> None:
    wait_until(session, create(session, _sized("web-1")), stopped)
    for arguments in (("report", "capacity"), ("report", "energy"), ("rightsize",)):
        ran = vmkit(*arguments, "web-1", "gone", "--prometheus", prometheus, "-o", "json")
        assert ran.code == 1, ran
        document = json.loads(ran.out)
        assert [row["name"] for row in document["items"]] == ["web-1"]
        assert document["errors"][0]["code"] == "NotFound"
