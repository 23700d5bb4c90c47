"""One VM after the other: what it has, what it uses, what it should have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from vmkit.insight.fleet import FleetFacts, VmFacts
from vmkit.insight.packing import NOTHING, Load
from vmkit.insight.recommender import DEFAULTS, Resources, Settings
from vmkit.insight.series import Grid, SeriesSource, VmSeries
from vmkit.insight.shape import Rollout, compute_requests
from vmkit.insight.sizing import Proposal, decide_size
from vmkit.insight.study import Study, bound_series, study_vm
from vmkit.insight.update import decide_worth
from vmkit.metrics.summary import Unknown
from vmkit.vm.reference import VmRef


@dataclass(frozen=True, slots=True)
class Assessment:
    """One VM: its facts, what its use says, and the size it should have."""

    facts: VmFacts
    study: Study
    proposal: Proposal

    @property
    def ref(self) -> VmRef:
        return self.facts.ref


def assess_vm(facts: VmFacts, study: Study, fleet: FleetFacts, *, at: datetime) -> Assessment:
    """The size a VM should have. Pure.

    Args:
        facts: the VM.
        study: what its use says.
        fleet: the named sizes, and what the cluster does with changes.
        at: now.
    """
    reserved, worth = facts.shape.reserved, None
    if study.recommendation is not None and reserved is not None:
        instance = facts.view.instance
        started_at = instance.started_at if instance is not None and facts.running else None
        # A stopped VM has no run that a restart would cut short: its bounds alone do not hold it back.
        ran = at - started_at if started_at is not None else None
        worth = decide_worth(reserved, study.recommendation, running_for=ran)
    proposal = decide_size(
        facts.shape,
        study.recommendation,
        worth,
        fleet.catalog,
        namespace=facts.ref.namespace,
        rollout=fleet.rollout,
        running=facts.running,
    )
    return Assessment(facts, study, proposal)


def assess_fleet(
    fleet: FleetFacts,
    source: SeriesSource | None,
    grid: Grid,
    *,
    at: datetime,
    settings: Settings = DEFAULTS,
    why_unknown: Unknown | None = None,
    on_series: Callable[[VmSeries], None] | None = None,
) -> Iterator[Assessment]:
    """Assesses every VM of a fleet, one at a time.

    Args:
        fleet: the cluster.
        source: where use is read from; None where there is none ...
        why_unknown: ... and why.
        grid: the instants.
        at: now.
        settings: the recommender's.
        on_series: shown every VM's clean series as it passes by.

    Raises:
        VmkitError: nothing can be read from the source at all.
    """
    by_ref: Mapping[VmRef, VmFacts] = {vm.ref: vm for vm in fleet.vms if vm.ref.name}
    if source is None:
        nothing = Study(problems=() if why_unknown is None else (why_unknown,))
        for facts in by_ref.values():
            yield assess_vm(facts, nothing, fleet, at=at)
        return
    for series in source.read(by_ref.keys(), grid):
        facts = by_ref[series.ref]
        bounded, problems = bound_series(series, facts.shape)
        if on_series is not None:
            on_series(bounded)
        study = study_vm(bounded, grid, settings)
        if problems:
            study = replace(study, problems=(*study.problems, *problems))
        yield assess_vm(facts, study, fleet, at=at)


def build_load(assessment: Assessment, fleet: FleetFacts, *, resized: bool) -> Load | None:
    """What a VM occupies, for `vmkit.insight.packing`.

    A stopped VM that ran within the time looked at, or of which nobody knows, will want room again; one that did
    not run at all is no load.

    Args:
        assessment: the VM.
        fleet: the cluster.
        resized: with the size it should have.
    """
    facts, proposal = assessment.facts, assessment.proposal
    launcher = fleet.servers.launchers.get(facts.ref)
    used = math.ceil(assessment.study.cpu.target or 0.0)
    change = NOTHING
    if resized and proposal.size is not None:
        size = Resources(proposal.size.vcpus * 1000, proposal.size.memory_bytes)
        change = _difference(facts, fleet.rollout, size)
    if launcher is not None:
        pinned = launcher.pinned or ("cannot be migrated" if facts.shape.migratable is False else "")
        return replace(launcher, requests=_add(launcher.requests, change), pinned=pinned, used_cpu_millicores=used)
    never_ran = assessment.study.last_seconds is None and not assessment.study.problems
    requests = compute_requests(facts.shape, fleet.rollout)
    if requests is None or (facts.running is False and (never_ran or _told_nothing(assessment))):
        return None
    return Load(str(facts.ref), _add(requests, change), used_cpu_millicores=used)


def _told_nothing(assessment: Assessment) -> bool:
    """Whether the only thing wrong is that there are no samples: monitoring works, and the VM did not run."""
    problems = assessment.study.problems
    return bool(problems) and all(each.code in ("NoSamples", "TooFewSamples") for each in problems)


def _difference(facts: VmFacts, rollout: Rollout, size: Resources) -> Resources:
    now, then = compute_requests(facts.shape, rollout), compute_requests(facts.shape, rollout, size=size)
    if now is None or then is None:
        return NOTHING
    return Resources(then.cpu_millicores - now.cpu_millicores, then.memory_bytes - now.memory_bytes)


def _add(one: Resources, other: Resources) -> Resources:
    return Resources(
        max(one.cpu_millicores + other.cpu_millicores, 0), max(one.memory_bytes + other.memory_bytes, 0)
    )
