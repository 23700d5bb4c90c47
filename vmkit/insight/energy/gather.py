"""From what was read to what each VM took. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vmkit.insight.energy.account import JOULES_PER_KWH, VmEnergy
from vmkit.insight.energy.factors import Site
from vmkit.insight.energy.kepler import KeplerReading, VmJoules
from vmkit.insight.energy.model import CCF, PowerModel
from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.packing import Server
from vmkit.insight.series import Grid, VmSeries
from vmkit.insight.shape import compute_requests
from vmkit.metrics.summary import EnergySource

_WHOLE: float = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all VMs share.

    Attributes:
        kepler: what Kepler says; its source is None where it says nothing.
        sites: by name; a node's zone or region leads there.
        default_site: of nodes that lead nowhere.
        model: for clusters without Kepler.
    """

    kepler: KeplerReading
    default_site: Site
    sites: Mapping[str, Site] = field(default_factory=dict)
    model: PowerModel = CCF


def gather_vm(facts: VmFacts, series: VmSeries, grid: Grid, fleet: FleetFacts, around: Surroundings) -> VmEnergy:
    """What one VM took.

    Args:
        facts: the VM.
        series: its use, clean: gaps where it did not run.
        grid: of the series.
        fleet: for what the VM's launcher requests of its server.
        around: what all VMs share.
    """
    step_hours = grid.step_seconds / 3600
    cores = [value for value in series.cpu_cores if not math.isnan(value)]
    running = len(cores) * step_hours
    total = grid.count * step_hours
    joules = around.kepler.vms.get(facts.ref)
    problems = [problem.text for problem in series.problems]
    source: EnergySource | None = around.kepler.source
    silent = not cores and joules is None
    active: float | None
    idle: float | None
    coverage = 0.0
    if silent and facts.running is False and all(one.code == "NoSamples" for one in series.problems):
        # Monitoring works, and the VM did not run.
        active, idle, coverage, problems, source = 0.0, 0.0, _WHOLE, [], None
    elif source is not None:
        known = [] if joules is None else [value for value in joules.active if not math.isnan(value)]
        running = running or float(len(known))
        active = math.fsum(known) / JOULES_PER_KWH if known else None
        idle = _idle_of_nodes(facts, joules, fleet, around, running)
        coverage = min(len(known) / running, _WHOLE) if running else 0.0
        if active is None:
            problems.append("Kepler says nothing of it")
    elif cores:
        source = EnergySource.MODEL
        active = around.model.active_watts(math.fsum(cores)) * step_hours / 1000
        idle = _idle_of_model(facts, running, around.model)
        coverage = _WHOLE
    else:
        active = idle = None
    return VmEnergy(
        ref=facts.ref,
        owner=facts.owner,
        template=facts.template,
        schedule=facts.schedule,
        source=source if active is not None else None,
        site=_site_of(facts, joules, fleet, around),
        active_kwh=active,
        idle_kwh=idle,
        running_hours=running,
        stopped_hours=max(total - running, 0.0) if active is not None else 0.0,
        coverage=coverage,
        problems=tuple(dict.fromkeys(problems)),
    )


def _idle_of_model(facts: VmFacts, running_hours: float, model: PowerModel) -> float | None:
    if facts.shape.vcpus is None or facts.shape.memory_bytes is None:
        return None
    return model.idle_watts(facts.shape.vcpus, facts.shape.memory_bytes) * running_hours / 1000


def _idle_of_nodes(
    facts: VmFacts, joules: VmJoules | None, fleet: FleetFacts, around: Surroundings, running_hours: float
) -> float | None:
    """The VM's share of its servers' idle energy: what it requests of what a server can give, the larger share."""
    requests = compute_requests(facts.shape, fleet.rollout)
    if joules is None or requests is None:
        return None
    servers: dict[str, Server] = {server.name: server for server in fleet.servers.servers}
    counted = sum(joules.node_hours.values())
    watt_hours = 0.0
    for node, hours in joules.node_hours.items():
        server, watts = servers.get(node), around.kepler.idle_watts.get(node)
        if server is None or watts is None or not server.room.memory_bytes or not server.room.cpu_millicores:
            return None
        share = max(
            requests.cpu_millicores / server.room.cpu_millicores, requests.memory_bytes / server.room.memory_bytes
        )
        watt_hours += watts * min(share, _WHOLE) * running_hours * hours / counted
    return watt_hours / 1000


def _site_of(facts: VmFacts, joules: VmJoules | None, fleet: FleetFacts, around: Surroundings) -> Site:
    node = facts.view.node
    if not node and joules is not None and joules.node_hours:
        node = max(joules.node_hours, key=lambda name: joules.node_hours[name])
    for server in fleet.servers.servers:
        if server.name == node:
            return next(
                (around.sites[place] for place in server.places if place in around.sites), around.default_site
            )
    return around.default_site
