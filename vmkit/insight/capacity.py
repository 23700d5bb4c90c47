"""What a fleet's capacity is for: every reservation split, peaks that do and do not coincide, servers to spare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.errors import VmkitError
from vmkit.insight.assess import Assessment, build_load
from vmkit.insight.fleet import FleetFacts
from vmkit.insight.packing import NOTHING, Consolidation, Load, decide_consolidation
from vmkit.insight.recommender import DEFAULTS, Resources
from vmkit.insight.series import Grid, Peaks, VmSeries
from vmkit.insight.split import GROWTH_HORIZON, Split, decide_split
from vmkit.vm.reference import VmRef

_COINCIDENT_SHARE: Final = 0.99
_COURSE_POINTS: Final = 168


@dataclass(frozen=True, slots=True)
class VmCapacity:
    """One VM.

    Attributes:
        ref: the VM; owner, template: whose it is and what it was made from.
        running: whether it runs now; None where nobody knows.
        cpu: its CPUs, in thousandths; memory: in bytes.
        returned_share: the share of the time, 0 to 1, in which it did not run; None where nobody knows.
        problems: what is not known of it, in sentences.
    """

    ref: VmRef
    owner: str
    template: str
    running: bool | None
    cpu: Split
    memory: Split
    returned_share: float | None
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            "namespace": self.ref.namespace,
            "name": self.ref.name,
            "owner": self.owner,
            "template": self.template,
            "running": self.running,
            "cpuMillicores": _camel(self.cpu.to_dict()),
            "memoryBytes": _camel(self.memory.to_dict()),
            "stoppedShare": None if self.returned_share is None else round(self.returned_share, 4),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class FleetResource:
    """One resource of the whole fleet, in the unit of its split.

    Attributes:
        split: of all VMs together.
        sum_of_peaks: each VM's own peak, added up.
        coincident_peak: the largest use of all VMs at one instant; None where nothing was measured.
        coincident_p99: what all VMs together did not exceed for 99 % of the time.
        course: what all VMs together used over time, for a picture.
    """

    split: Split = field(default_factory=Split)
    sum_of_peaks: float | None = None
    coincident_peak: float | None = None
    coincident_p99: float | None = None
    course: tuple[tuple[datetime, float], ...] = ()

    @property
    def diversity(self) -> float | None:
        """How many times the coincident peak the sum of peaks is; None where nothing was used."""
        if not self.coincident_peak or self.sum_of_peaks is None:
            return None
        return self.sum_of_peaks / self.coincident_peak

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope."""
        return {
            **_camel(self.split.to_dict()),
            "sumOfPeaks": _rounded(self.sum_of_peaks),
            "coincidentPeak": _rounded(self.coincident_peak),
            "coincidentP99": _rounded(self.coincident_p99),
            "diversity": None if self.diversity is None else round(self.diversity, 3),
        }


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """All of it.

    Attributes:
        at: when; lookback: how far back use was looked at.
        vms: each VM, the one with the most memory just in case first.
        cpu, memory: of the fleet.
        requested, requested_resized: what the VMs' pods request together, now and right-sized.
        servers_now: the servers that could be off with the sizes VMs have; None where nodes could not be read.
        servers_resized: those that could be off once VMs have the sizes they should have.
        notices: what could not be known.
        errors: VMs that were named and are not there.
    """

    at: datetime
    lookback: timedelta
    vms: tuple[VmCapacity, ...]
    cpu: FleetResource
    memory: FleetResource
    requested: Resources = NOTHING
    requested_resized: Resources = NOTHING
    servers_now: Consolidation | None = None
    servers_resized: Consolidation | None = None
    notices: tuple[str, ...] = ()
    errors: tuple[VmkitError, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fleet's part of the envelope; the VMs are its items."""
        return {
            "at": self.at.isoformat(),
            "lookbackSeconds": int(self.lookback.total_seconds()),
            "cpuMillicores": self.cpu.to_dict(),
            "memoryBytes": self.memory.to_dict(),
            "requested": _requests_to_dict(self.requested),
            "requestedRightSized": _requests_to_dict(self.requested_resized),
            "serversNow": consolidation_to_dict(self.servers_now),
            "serversRightSized": consolidation_to_dict(self.servers_resized),
        }


class FleetPeaks:
    """Both resources' peaks, as series pass by."""

    def __init__(self, grid: Grid) -> None:
        self.cpu, self.memory = Peaks(grid), Peaks(grid)

    def add(self, series: VmSeries) -> None:
        """Counts one VM."""
        self.cpu.add(series.cpu_cores)
        self.memory.add(series.memory_bytes)


def build_capacity(
    fleet: FleetFacts,
    assessments: Iterable[Assessment],
    peaks: FleetPeaks | None,
    *,
    at: datetime,
    lookback: timedelta,
    margin: float = DEFAULTS.margin,
    horizon: timedelta = GROWTH_HORIZON,
    notices: Iterable[str] = (),
) -> CapacityReport:
    """Puts the report together. Pure, but for drawing the assessments.

    Args:
        fleet: the cluster.
        assessments: of its VMs; drawn one by one.
        peaks: filled while they are drawn; None where nothing was measured.
        at: now.
        lookback: how far back use was looked at.
        margin: the safety that is justified, as a share of the use.
        horizon: how long ahead growth is reserved for.
        notices: what else could not be known.
    """
    vms: list[VmCapacity] = []
    loads: dict[bool, list[Load]] = {False: list(fleet.servers.loads), True: list(fleet.servers.loads)}
    for assessment in assessments:
        vms.append(_split_vm(assessment, margin=margin, horizon=horizon))
        for resized, found in loads.items():
            load = build_load(assessment, fleet, resized=resized)
            if load is not None:
                found.append(load)
    # VMs that were not asked about take their room all the same.
    asked = {vm.ref for vm in vms}
    others = [load for ref, load in fleet.servers.launchers.items() if ref not in asked]
    vms.sort(key=lambda vm: (-vm.memory.just_in_case, -vm.cpu.just_in_case, vm.ref))
    servers = {
        resized: decide_consolidation(fleet.servers.servers, [*found, *others]) if fleet.servers.servers else None
        for resized, found in loads.items()
    }
    measured = peaks is not None and any(vm.returned_share is not None for vm in vms)
    return CapacityReport(
        at=at,
        lookback=lookback,
        vms=tuple(vms),
        cpu=_fleet_resource((vm.cpu for vm in vms), peaks.cpu if peaks and measured else None, 1000.0),
        memory=_fleet_resource((vm.memory for vm in vms), peaks.memory if peaks and measured else None, 1.0),
        requested=_sum(loads[False]),
        requested_resized=_sum(loads[True]),
        servers_now=servers[False],
        servers_resized=servers[True],
        notices=tuple(dict.fromkeys((*fleet.notices, *notices))),
        errors=fleet.errors,
    )


def render_drain_plan(servers: Consolidation) -> str:
    """The commands that empty servers, in order; empty where there is nothing to do.

    VMs are migrated before the drain, which shuts those down whose eviction strategy is not LiveMigrate (KubeVirt
    pkg/virt-api/webhooks/validating-webhook/admitters/pod-eviction-admitter.go).
    """
    lines: list[str] = []
    for off in servers.off:
        lines.append(f"kubectl cordon {off.server}")
        lines += [f"#   {move.load} fits on {move.target}" for move in off.moves]
        vms = [move.load for move in off.moves if move.is_vm]
        if vms:
            lines.append(f"vmkit live-migrate {' '.join(vms)} --wait")
        lines.append(f"kubectl drain {off.server} --ignore-daemonsets --delete-emptydir-data")
    return "\n".join(lines) + ("\n" if lines else "")


def consolidation_to_dict(servers: Consolidation | None) -> dict[str, Any] | None:
    """Servers as they stand in the envelope."""
    if servers is None:
        return None
    return {
        "servers": servers.servers,
        "needed": servers.needed,
        "off": [
            {
                "server": off.server,
                "moves": [{"load": move.load, "from": move.source, "to": move.target} for move in off.moves],
            }
            for off in servers.off
        ],
        "spare": servers.spare,
        "kept": dict(servers.kept),
        "unplaced": list(servers.unplaced),
        "stranded": _requests_to_dict(servers.stranded),
    }


def _split_vm(assessment: Assessment, *, margin: float, horizon: timedelta) -> VmCapacity:
    facts, study = assessment.facts, assessment.study
    shape = facts.shape
    problems = [problem.text for problem in study.problems]
    if shape.vcpus is None or shape.memory_bytes is None:
        problems.append(shape.problem or "its size is nowhere to be read")
    more: dict[str, Any] = {"margin": margin, "horizon": horizon, "redundancy": facts.redundancy}
    share = max(study.cpu_share, study.memory_share)
    return VmCapacity(
        ref=facts.ref,
        owner=facts.owner,
        template=facts.template,
        running=facts.running,
        cpu=decide_split(None if shape.vcpus is None else shape.vcpus * 1000, study.cpu, **more),
        memory=decide_split(shape.memory_bytes, study.memory, **more),
        returned_share=1.0 - share if share > 0 else None,
        problems=tuple(dict.fromkeys(problems)),
    )


def _fleet_resource(splits: Iterable[Split], peaks: Peaks | None, unit: float) -> FleetResource:
    total = sum(splits, Split())
    if peaks is None:
        return FleetResource(total)
    return FleetResource(
        total,
        sum_of_peaks=peaks.sum_of_peaks * unit,
        coincident_peak=peaks.coincident * unit,
        coincident_p99=peaks.percentile(_COINCIDENT_SHARE) * unit,
        course=tuple((at, value * unit) for at, value in peaks.course(_COURSE_POINTS)),
    )


def _sum(loads: Iterable[Load]) -> Resources:
    vms = [load.requests for load in loads if load.is_vm]
    return Resources(sum(one.cpu_millicores for one in vms), sum(one.memory_bytes for one in vms))


def _requests_to_dict(requests: Resources) -> dict[str, int]:
    return {"cpuMillicores": requests.cpu_millicores, "memoryBytes": requests.memory_bytes}


def _camel(values: Mapping[str, int]) -> dict[str, int]:
    def name(text: str) -> str:
        first, *rest = text.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {name(key): value for key, value in values.items()}


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
