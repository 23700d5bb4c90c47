"""Capacity and right-sizing of a large fleet: seconds and memory.

    python -m tests.bench.bench_insight [VMS]

Ten thousand VMs with eight days of five-minute samples, drawn one after the other from a generated source: what is
measured is vmkit's own work, beside which Prometheus does its own.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from array import array
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from vmkit.insight.assess import assess_fleet
from vmkit.insight.capacity import FleetPeaks, build_capacity
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.packing import Load, Server
from vmkit.insight.recommender import Resources
from vmkit.insight.series import Grid, VmSeries, build_grid
from vmkit.insight.servers import Servers
from vmkit.insight.shape import Catalog, Rollout, Shape, Topology
from vmkit.insight.show_capacity import build_page, render_capacity
from vmkit.report.page.html import render_html
from vmkit.vm.reference import VmRef
from vmkit.vm.state import PowerState, VmView

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
GIB = 2**30


class GeneratedSource:
    """A few thousand patterns, shifted for each VM."""

    notices: tuple[str, ...] = ()

    def __init__(self, grid: Grid, *, seed: int = 1) -> None:
        draw = random.Random(seed)
        self._patterns = [
            (
                array("d", [abs(draw.gauss(0.4, 0.3)) for _ in range(grid.count)]),
                array("d", [(1.0 + draw.random()) * GIB for _ in range(grid.count)]),
            )
            for _ in range(50)
        ]

    def read(self, refs: Collection[VmRef], grid: Grid) -> Iterator[VmSeries]:
        for number, ref in enumerate(refs):
            cpu, memory = self._patterns[number % len(self._patterns)]
            turn = number % grid.count
            yield VmSeries(ref, cpu[turn:] + cpu[:turn], memory[turn:] + memory[:turn])


def build_fleet(count: int) -> FleetFacts:
    """VMs of a few sizes on servers of 512 GiB."""
    vms: list[VmFacts] = []
    launchers: dict[VmRef, Load] = {}
    per_server = 40
    for number in range(count):
        ref = VmRef(f"ns-{number // 100}", f"vm-{number}")
        cores, memory = (2, 4, 8)[number % 3], (4, 8, 16)[number % 3] * GIB
        shape = Shape(Topology(cores=cores), memory, declared_vcpus=True, declared_guest=True, migratable=True)
        vms.append(VmFacts(VmView(ref, power=PowerState.RUNNING), shape, True))
        launchers[ref] = Load(str(ref), Resources(cores * 100, memory + GIB // 4), f"n-{number // per_server}")
    servers = tuple(Server(f"n-{n}", Resources(128_000, 512 * GIB)) for n in range(count // per_server + 1))
    return FleetFacts(tuple(vms), Catalog(), Rollout(True, True), Servers(servers, (), launchers))


def measure(count: int) -> tuple[float, float]:
    """Seconds, and the process's largest size in MB."""
    lookback = timedelta(days=8)
    grid = build_grid(AT, lookback, timedelta(minutes=5))
    fleet, source, peaks = build_fleet(count), GeneratedSource(grid), FleetPeaks(grid)
    began = time.perf_counter()
    found = assess_fleet(fleet, source, grid, at=AT, on_series=peaks.add)
    report = build_capacity(fleet, found, peaks, at=AT, lookback=lookback)
    render_capacity(report, "wide")
    page = render_html(build_page(report))
    seconds = time.perf_counter() - began
    assert len(report.vms) == count
    assert report.servers_resized is not None
    print(
        f"  {len(report.servers_resized.off)} of {report.servers_resized.servers} servers could be off, "
        f"page of {len(page) / 1e6:.2f} MB"
    )
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seconds, megabytes = measure(count)
    print(f"{count} VMs, 8 days of 5-minute samples: {seconds:.1f} s (limit 60), {megabytes:.0f} MB (limit 500)")


if __name__ == "__main__":
    main()
