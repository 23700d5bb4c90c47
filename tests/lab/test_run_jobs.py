"""A CronJob written for a cluster, tried end to end: its command runs here, under its own service account."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.wire import Wire
from vmkit.lab import Lab

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
CRONS = "/apis/batch/v1/namespaces/default/cronjobs"
PODS = "/api/v1/namespaces/default/pods"
START = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


def cron_job(*arguments):
    container = {"name": "vmkit", "image": "registry.example/vmkit:1", "args": list(arguments)}
    job = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    return {"metadata": {"name": "look"}, "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": job}}}


def ended_pod(wire):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pod in wire.get(PODS).body["items"]:
            if pod["status"].get("phase") in ("Succeeded", "Failed") and "annotations" in pod["metadata"]:
                return pod
        time.sleep(0.05)
    pytest.fail("the job's pod did not end")


@pytest.mark.parametrize(("allowed", "phase"), [(True, "Succeeded"), (False, "Failed")])
def test_a_cron_job_runs_vmkit_with_the_rights_of_its_account_and_no_others(allowed, phase):
    with Lab(run_jobs=True, speed=20, clock_start=START) as lab:
        wire = Wire(lab)
        if allowed:
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubevirt.io:view"}
            account = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
            bound = wire.post(ROLES, {"metadata": {"name": "viewer"}, "roleRef": role, "subjects": [account]})
            assert bound.status == 201
        assert wire.post(CRONS, cron_job("get", "-o", "json")).status == 201
        lab.advance(timedelta(hours=1))
        pod = ended_pod(wire)
        log = wire.get(f"{PODS}/{pod['metadata']['name']}/log", accept="*/*").raw.decode()
        assert pod["status"]["phase"] == phase, log
        if allowed:
            assert json.loads(log[log.index("{") :])["exitCode"] == 0
        else:
            assert "virtualmachines" in log
            assert "forbidden" in log.lower() or "may not" in log.lower()
        assert lab.call(lambda: lab.world.context.failures) == []


def test_without_being_asked_nothing_is_run():
    with Lab(speed=20, clock_start=START) as lab:
        wire = Wire(lab)
        assert wire.post(CRONS, cron_job("no-such-command")).status == 201
        lab.advance(timedelta(hours=1, minutes=1))
        [pod] = wire.get(PODS).body["items"]
        assert pod["status"]["phase"] == "Succeeded"
        assert wire.get(f"{PODS}/{pod['metadata']['name']}/log", accept="*/*").raw == b""
