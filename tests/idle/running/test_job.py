"""The job of ``vmkit install stop-idle``, end to end: its own command, under its own account, beside a real
Prometheus that knows what the practice cluster's guests did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.real.prometheus import PrometheusServer, require_prometheus
from vmkit.cluster import Session
from vmkit.cluster.resources import JOBS, PODS, VIRTUAL_MACHINES
from vmkit.idle.install import InstallOptions, build_manifests
from vmkit.idle.mark import MARK
from vmkit.idle.policy import vmkit_policy
from vmkit.idle.report import Action
from vmkit.idle.running import IdleOptions, Scope
from vmkit.idling import Idling
from vmkit.lab import Lab
from vmkit.lab.metrics.openmetrics import DECISIVE, sample_times
from vmkit.lab.metrics.service import decode_facts
from vmkit.lab.remote import RemoteLab
from vmkit.practice import PracticeSource

LOOKBACK = timedelta(days=4)
DEADLINE_SECONDS = 120


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(fleet=40, seed=4, speed=1.0, run_jobs=True) as one:
        yield one


@pytest.fixture(scope="module")
def prometheus(lab: Lab) -> Iterator[str]:
    require_prometheus()
    facts = decode_facts(RemoteLab.from_kubeconfig(lab.kubeconfig).metric_facts())
    begin, end = facts.now // 300 * 300 - 5 * 86400, facts.now // 300 * 300 + 1800
    times = sample_times(begin, end, 300)
    *pieces, last = facts.exposition().render(times, only=DECISIVE)
    watched = "".join(f'up{{pod="virt-api-6f9"}} 1 {int(at)}\n' for at in times)
    with PrometheusServer([*pieces, "# TYPE up gauge\n", watched, last]) as server:
        yield server.url


def run_job(session: Session, manifests: list[dict[str, Any]]) -> tuple[str, str]:
    """Makes a Job of the CronJob's template; its pod's phase and log."""
    cron = manifests[-1]
    template = cron["spec"]["jobTemplate"]["spec"]
    metadata = {"name": "now", "namespace": "vmkit"}
    session.create(JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        for pod in session.list(PODS, "vmkit"):
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                log = session.call_subresource(PODS, pod["metadata"]["name"], "log", "vmkit", method="GET")
                return pod["status"]["phase"], json.dumps(log)
        time.sleep(0.1)
    pytest.fail("the job's pod did not end")


def test_the_job_notes_what_is_idle_by_what_prometheus_says(lab: Lab, prometheus: str) -> None:
    with Session.connect(kubeconfig=lab.kubeconfig, namespace="default") as session:
        source = PracticeSource(RemoteLab.from_kubeconfig(lab.kubeconfig))
        policy = vmkit_policy(lookback=LOOKBACK)
        expected = Idling(session, source=source).run(IdleOptions(Scope(everything=True), policy, dry_run=True))
        idle = {str(item.ref) for item in expected.report.items if item.action is Action.MARK}
        assert idle
        options = InstallOptions(
            image="vmkit:1",
            everything=True,
            arguments=("--lookback=4d", f"--prometheus={prometheus}", "-o", "json"),
        )
        manifests = build_manifests(options)
        for manifest in manifests:
            session.apply(manifest)
        phase, log = run_job(session, manifests)
        assert phase == "Succeeded", log
        marked = {
            f"{vm['metadata']['namespace']}/{vm['metadata']['name']}"
            for vm in session.list(VIRTUAL_MACHINES)
            if MARK in vm["metadata"].get("annotations", {})
        }
        assert marked == idle
        assert lab.call(lambda: lab.world.context.failures) == []
