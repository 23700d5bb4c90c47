"""One Prometheus for all tests that only read: fleets whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.metrics.fleets import KNOWN, render_history
from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.metrics.prometheus.client import PrometheusClient


@pytest.fixture(scope="session")
def known_fleet() -> Iterator[PrometheusServer]:
    """A Prometheus with 15 days of `KNOWN`, in the namespace "shop"."""
    require_prometheus()
    with PrometheusServer(render_history([("shop", KNOWN)], days=15)) as server:
        yield server


@pytest.fixture
def prometheus(known_fleet: PrometheusServer) -> PrometheusClient:
    """A client of `known_fleet`."""
    return PrometheusClient(known_fleet.url)
