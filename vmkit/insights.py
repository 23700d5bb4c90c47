"""What `vmkit.api.Vmkit` does about sizes, capacity and energy: joins reading, deciding and changing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vmkit.cluster.resources import PODS, VIRTUAL_MACHINES
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, DeadlineExceeded, UsageError, VmkitError
from vmkit.insight.assess import Assessment, assess_fleet
from vmkit.insight.autoscalers import AimedAutoscaler, read_aimed_autoscalers
from vmkit.insight.capacity import CapacityReport, FleetPeaks, build_capacity
from vmkit.insight.energy.account import EnergyReport, VmEnergy
from vmkit.insight.energy.factors import Site, build_site, find_factor
from vmkit.insight.energy.gather import Surroundings, gather_vm
from vmkit.insight.energy.kepler import KeplerReading, build_hours, read_kepler
from vmkit.insight.energy.model import CCF
from vmkit.insight.fleet import FleetFacts, read_fleet
from vmkit.insight.recommender import DEFAULTS, Settings
from vmkit.insight.resize import ResizeOptions, fulfil_wish, run_pending, run_resize
from vmkit.insight.series import SeriesSource, build_grid
from vmkit.insight.split import GROWTH_HORIZON
from vmkit.insight.study import bound_series
from vmkit.insight.usage import PrometheusUsage
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.summary import EnergySource, Unknown
from vmkit.plan.model import Outcome, Plan, Result
from vmkit.vm.markers import RESIZE_AT_STOP
from vmkit.vm.reference import VmRef
from vmkit.vm.state import VmView, read_vm

STEP: Final = timedelta(minutes=5)
CAPACITY_LOOKBACK: Final = timedelta(days=14)
"""Two weeks: the shortest in which growth shows, and every weekday occurs twice."""

SIZE_LOOKBACK: Final = timedelta(days=8)
"""As much history as the vertical pod autoscaler reads (recommender/input/history)."""
ENERGY_LOOKBACK: Final = timedelta(days=7)
_LAUNCHERS: Final = "kubevirt.io=virt-launcher"
MIN_GUEST_BYTES: Final = 512 * 2**20
"""No guest is made smaller than this: what it uses while it runs says nothing of what it needs to boot."""

_NO_PROMETHEUS: Final = Unknown("NoPrometheus", "there is no Prometheus to ask")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What `Insights.sizes` found.

    Attributes:
        assessments: each VM with the size it should have, in order.
        fleet: what was read of the cluster.
        autoscalers: vertical pod autoscalers aimed at VMs.
        errors: VMs that were named and are not there.
        notices: what could not be known, and what is dangerous.
        at: when; lookback: how far back use was looked at.
    """

    assessments: tuple[Assessment, ...]
    fleet: FleetFacts
    autoscalers: tuple[AimedAutoscaler, ...]
    errors: tuple[VmkitError, ...]
    notices: tuple[str, ...]
    at: datetime
    lookback: timedelta


class Insights:
    """The calls about what VMs really need: ``vk.insights.capacity()``.

    Args:
        session: with the cluster.
        prometheus: a client of its Prometheus; None for none.
        source: where use is read from, in place of Prometheus.
    """

    def __init__(
        self,
        session: Session,
        prometheus: PrometheusClient | None = None,
        *,
        source: SeriesSource | None = None,
    ) -> None:
        self._session, self._prometheus = session, prometheus
        if source is None and prometheus is not None:
            source = PrometheusUsage(prometheus)
        self._source = source

    def capacity(
        self,
        *,
        names: Collection[VmRef] = (),
        namespace: str | None = None,
        selector: str = "",
        lookback: timedelta = CAPACITY_LOOKBACK,
        step: timedelta = STEP,
        horizon: timedelta = GROWTH_HORIZON,
        at: datetime | None = None,
    ) -> CapacityReport:
        """What reservations are for, and which servers could be off.

        Args:
            names: only these VMs.
            namespace: only of this namespace; None for all.
            selector: only those whose labels match.
            lookback: how far back use is looked at.
            step: between two samples.
            horizon: how long ahead growth is reserved for.
            at: the end of the lookback; None for now.

        Raises:
            ClusterError: the VMs cannot be read.
            UsageError: lookback and step make no sense.
        """
        at = at or self._session.server_time or datetime.now(UTC)
        grid = build_grid(at, lookback, step)
        fleet = read_fleet(self._session, names=names, namespace=namespace, label_selector=selector)
        peaks = FleetPeaks(grid)
        notices: tuple[str, ...] = ()
        try:
            assessments = list(
                assess_fleet(fleet, self._source, grid, at=at, why_unknown=_NO_PROMETHEUS, on_series=peaks.add)
            )
        except (ClusterError, DeadlineExceeded) as error:
            why = Unknown(error.code, error.message)
            assessments = list(assess_fleet(fleet, None, grid, at=at, why_unknown=why))
            notices = (f"use is not known: {error.message}",)
        if self._source is None:
            notices = (f"use is not known: {_NO_PROMETHEUS.text}",)
        else:
            notices += self._source.notices
        return build_capacity(
            fleet,
            assessments,
            peaks,
            at=at,
            lookback=lookback,
            margin=DEFAULTS.margin,
            horizon=horizon,
            notices=notices,
        )

    def sizes(
        self,
        *,
        names: Collection[VmRef] = (),
        namespace: str | None = None,
        selector: str = "",
        lookback: timedelta = SIZE_LOOKBACK,
        step: timedelta = STEP,
        percentile: float = DEFAULTS.target_percentile,
        margin: float = DEFAULTS.margin,
        min_memory_bytes: int = MIN_GUEST_BYTES,
        at: datetime | None = None,
    ) -> Sizes:
        """The size each VM should have.

        Args:
            names, namespace, selector, lookback, step, at: as for `capacity`.
            percentile: of the use, 0 to 1, that a VM is sized for.
            margin: what is added to it.
            min_memory_bytes: no guest is made smaller.

        Raises:
            UsageError: there is no Prometheus, or a number makes no sense.
            ClusterError, DeadlineExceeded: VMs or their use cannot be read.
        """
        if self._source is None:
            raise UsageError(
                "there is no Prometheus to ask what VMs use",
                hint="give its address with --prometheus, as http://prometheus.monitoring:9090",
            )
        at = at or self._session.server_time or datetime.now(UTC)
        grid = build_grid(at, lookback, step)
        fleet = read_fleet(self._session, names=names, namespace=namespace, label_selector=selector, servers=False)
        settings = build_settings(percentile=percentile, margin=margin, min_memory_bytes=min_memory_bytes)
        found = sorted(assess_fleet(fleet, self._source, grid, at=at, settings=settings), key=lambda one: one.ref)
        aimed = tuple(one for one in read_aimed_autoscalers(self._session, namespace) if one.dangerous)
        notices = (*fleet.notices, *self._source.notices, *map(str, aimed))
        return Sizes(tuple(found), fleet, aimed, fleet.errors, notices, at, lookback)

    def energy(
        self,
        *,
        names: Collection[VmRef] = (),
        namespace: str | None = None,
        selector: str = "",
        lookback: timedelta = ENERGY_LOOKBACK,
        step: timedelta = STEP,
        kepler_zone: str = "package",
        default_site: Site | None = None,
        sites: Mapping[str, Site] | None = None,
        at: datetime | None = None,
    ) -> EnergyReport:
        """What VMs took, and what that stands for in carbon.

        Args:
            names, namespace, selector, lookback, step, at: as for `capacity`.
            kepler_zone: which part of the machine; zones overlap, so it is one.
            default_site: carbon factor, PUE and WUE; the world's average where nothing is said.
            sites: others by the zones and regions of nodes.

        Raises:
            UsageError: there is no Prometheus, or a number makes no sense.
            ClusterError, DeadlineExceeded: VMs or their use cannot be read.
        """
        if self._prometheus is None or self._source is None:
            raise UsageError(
                "there is no Prometheus to ask what VMs take",
                hint="give its address with --prometheus, as http://prometheus.monitoring:9090",
            )
        at = at or self._session.server_time or datetime.now(UTC)
        grid = build_grid(at, lookback, step)
        fleet = read_fleet(self._session, names=names, namespace=namespace, label_selector=selector)
        by_ref = {vm.ref: vm for vm in fleet.vms if vm.ref.name}
        notices = list(fleet.notices)
        pods: list[Mapping[str, Any]] = []
        try:
            pods = list(self._session.list(PODS, namespace, label_selector=_LAUNCHERS))
        except ClusterError as error:
            notices.append(f"launchers cannot be read: {error.message}")
        kepler = read_kepler(self._prometheus, by_ref, pods, build_hours(grid), zone=kepler_zone)
        around = Surroundings(kepler, default_site or build_site(factor=find_factor("WORLD")), sites or {})
        found: list[VmEnergy] = []
        for series in self._source.read(by_ref.keys(), grid):
            bounded, _ = bound_series(series, by_ref[series.ref].shape)
            found.append(gather_vm(by_ref[series.ref], bounded, grid, fleet, around))
        found.sort(key=lambda vm: (-(vm.active_kwh or 0.0), vm.ref))
        notices += [*kepler.problems, *self._source.notices]
        if kepler.fake:
            notices.append("Kepler's meter is the one for development: it invents its numbers")
        return EnergyReport(
            at,
            lookback,
            tuple(found),
            describe_method(kepler),
            claims=not kepler.fake,
            errors=fleet.errors,
            notices=tuple(dict.fromkeys(notices)),
        )

    def resize(
        self,
        assessments: Iterable[Assessment],
        options: ResizeOptions | None = None,
        *,
        confirm: Callable[[Plan], None] | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Result:
        """Gives VMs the sizes that were found. See `vmkit.insight.resize.run_resize`."""
        return run_resize(self._session, assessments, options, confirm=confirm, on_outcome=on_outcome)

    def resize_pending(
        self,
        options: ResizeOptions | None = None,
        *,
        names: Collection[VmRef] = (),
        namespace: str | None = None,
        selector: str = "",
        confirm: Callable[[Plan], None] | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> Result:
        """Gives stopped VMs the sizes that wait for a stop. See `vmkit.insight.resize.run_pending`.

        Raises:
            ClusterError: the VMs cannot be read.
        """
        fleet = read_fleet(self._session, names=names, namespace=namespace, label_selector=selector, servers=False)
        found = run_pending(self._session, fleet, options, confirm=confirm, on_outcome=on_outcome)
        return replace(found, notices=(*found.notices, *fleet.notices, *(str(error) for error in fleet.errors)))


def describe_method(kepler: KeplerReading) -> str:
    """Who measured, or which model estimates, in a sentence without a full stop."""
    if kepler.source is None:
        return f"there is no Kepler: estimated by the model {CCF.name} ({CCF.source})"
    zone = "" if kepler.source is EnergySource.KEPLER_LEGACY else f", zone {kepler.zone}"
    return f"measured by Kepler ({kepler.source}{zone})"


def build_settings(*, percentile: float, margin: float, min_memory_bytes: int) -> Settings:
    """The recommender's settings with other numbers.

    Raises:
        UsageError: a number makes no sense.
    """
    if not DEFAULTS.lower_percentile <= percentile <= 1:  # not a number fails this as well
        raise UsageError(
            f"a VM cannot be sized for the percentile {percentile * 100:g}",
            hint=f"from {DEFAULTS.lower_percentile:.0%} to 100%",
        )
    if not 0 <= margin <= 10:
        raise UsageError(f"a margin of {margin * 100:g}% makes no sense", hint="such as 15%")
    return replace(
        DEFAULTS,
        target_percentile=percentile,
        upper_percentile=max(percentile, DEFAULTS.upper_percentile),
        margin=margin,
        min_memory_bytes=max(min_memory_bytes, DEFAULTS.min_memory_bytes),
    )


def fulfil_before_start(session: Session, view: VmView) -> VmView:
    """Gives a stopped VM the size it waits for; called right before a schedule starts it.

    Whatever is wrong with the wish, the VM starts all the same: it is left as it is, with its annotation.

    Returns:
        The VM as it is now.
    """
    if RESIZE_AT_STOP not in view.annotations:
        return view
    try:
        fleet = read_fleet(session, names=(view.ref,), servers=False)
        for vm in fleet.vms:
            fulfil_wish(session, vm, fleet, ResizeOptions())
        return read_vm(session.get(VIRTUAL_MACHINES, view.ref.name, view.ref.namespace))
    except VmkitError:
        return view
