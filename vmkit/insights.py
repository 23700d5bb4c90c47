"""What `vmkit.api.Vmkit` does about sizes, capacity and energy: joins reading, deciding and changing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, DeadlineExceeded
from vmkit.insight.assess import assess_fleet
from vmkit.insight.capacity import CapacityReport, FleetPeaks, build_capacity
from vmkit.insight.fleet import read_fleet
from vmkit.insight.recommender import DEFAULTS
from vmkit.insight.series import SeriesSource, build_grid
from vmkit.insight.split import GROWTH_HORIZON
from vmkit.insight.usage import PrometheusUsage
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.summary import Unknown
from vmkit.vm.reference import VmRef

STEP: Final = timedelta(minutes=5)
CAPACITY_LOOKBACK: Final = timedelta(days=14)
"""Two weeks: the shortest in which growth shows, and every weekday occurs twice."""

_NO_PROMETHEUS: Final = Unknown("NoPrometheus", "there is no Prometheus to ask")


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
