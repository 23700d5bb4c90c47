"""What is said to hold at once does so, where a cluster carries live updates out; what is said to wait, waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.insight.tables import TableSource, Use, constant
from tests.power.vms import create_running, look, manifest, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import KUBEVIRTS, VIRTUAL_MACHINE_INSTANCES
from vmkit.insight.sizing import Effect
from vmkit.insights import Insights
from vmkit.lab import Lab
from vmkit.vm.reference import VmRef

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def live() -> Iterator[Session]:
    """A cluster of its own, whose KubeVirt migrates VMs to carry changes out."""
    with Lab(speed=120.0, seed=11) as lab, Session.connect(kubeconfig=lab.kubeconfig) as session:
        (kubevirt,) = session.list(KUBEVIRTS)
        metadata = kubevirt["metadata"]
        patch = {"spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": ["LiveMigrate"]}}}
        session.patch(KUBEVIRTS, metadata["name"], patch, metadata["namespace"])
        yield session


def _sized(name: str) -> dict[str, Any]:
    document = manifest(name)
    domain = document["spec"]["template"]["spec"]["domain"]
    domain["cpu"] = {"sockets": 2, "cores": 1, "threads": 1}
    domain["memory"] = {"guest": "2Gi"}
    return document


def _resize(session: Session, ref: VmRef, use: Use) -> Effect | None:
    insights = Insights(session, source=TableSource({ref: use}))
    found = insights.sizes(names=[ref])
    result = insights.resize(found.assessments)
    assert result.ok, result
    return found.assessments[0].proposal.effect


def test_growing_holds_at_once(live: Session) -> None:
    (ref,) = create_running(live, _sized("grows"))
    assert _resize(live, ref, constant(3.0, 3.0)) is Effect.LIVE

    deadline = time.monotonic() + 60
    while live.get(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)["spec"]["domain"]["cpu"]["sockets"] != 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not look(live, ref).restart_required


def test_shrinking_waits_for_a_restart(live: Session) -> None:
    (ref,) = create_running(live, _sized("shrinks"))
    assert _resize(live, ref, constant(0.3, 0.6)) is Effect.RESTART
    wait_until(live, [ref], lambda view: view.restart_required)
    vmi = live.get(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
    assert vmi["spec"]["domain"]["memory"]["guest"] == "2Gi"
