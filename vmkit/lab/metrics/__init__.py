"""The series a monitoring system would have scraped from the practice cluster, computed from the lab's seed,
never stored.

Names and labels: KubeVirt docs/observability/metrics.md and pkg/monitoring/metrics; Kepler docs/user/metrics.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context
    from vmkit.lab.metrics.service import MetricsService


def install(context: Context) -> MetricsService:
    """The monitoring of a lab; to be called once KubeVirt's types are served."""
    from vmkit.lab.metrics.service import MetricsService

    return MetricsService(context)
