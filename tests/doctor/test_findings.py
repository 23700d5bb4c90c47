"""Each finding is provoked once on a practice cluster: systems present, absent, and broken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.doctor.trouble import Trouble, added, nothing, patched, refused, removed, together
from tests.power.vms import manifest
from vmkit.cluster import Session
from vmkit.cluster.resources import (
    CDIS,
    CEPH_BLOCK_POOLS,
    CEPH_CLUSTERS,
    CRON_JOBS,
    JOBS,
    KUBEVIRTS,
    NODES,
    STORAGE_CLASSES,
    VIRTUAL_MACHINES,
    VOLUME_SNAPSHOT_CLASSES,
    Resource,
)
from vmkit.cluster.retry import RetryPolicy
from vmkit.doctor import Check, Look, Severity, examine
from vmkit.doctor.checks import CHECKS
from vmkit.doctor.checks.downscalers import SLEEP_INFOS
from vmkit.doctor.checks.wasm import CLASSES as RUNTIME_CLASSES
from vmkit.doctor.look import Object, Sights
from vmkit.doctor.run import choose_checks
from vmkit.errors import UsageError
from vmkit.lab import Lab
from vmkit.lab.faults import Fault

pytestmark = pytest.mark.timeout(120)


def _kubevirt(status: dict[str, object]) -> Trouble:
    return patched(KUBEVIRTS, "kubevirt", {"status": status}, namespace="kubevirt", status=True)


def _ceph(**annotations: str) -> Trouble:
    marks = {f"lab.vmkit.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return patched(CEPH_CLUSTERS, "rook-ceph", {"metadata": {"annotations": marks}}, namespace="rook-ceph")


_PLAIN_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "plain-block"},
    "provisioner": "rook-ceph.rbd.csi.ceph.com",
    "parameters": {"clusterID": "rook-ceph", "pool": "replicapool", "imageFeatures": "layering"},
}
_WORKERS = ("worker-1", "worker-2")
_NO_KVM = {"status": {"allocatable": {"devices.kubevirt.io/kvm": "0"}}}
_NO_DEFAULT = {
    "metadata": {
        "annotations": {
            "storageclass.kubevirt.io/is-default-virt-class": "false",
            "storageclass.kubernetes.io/is-default-class": "false",
        }
    }
}
_CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "wasmtime-spin"},
    "handler": "spin",
}
_SHIM = {
    "apiVersion": "runtime.spinkube.dev/v1alpha1",
    "kind": "Shim",
    "metadata": {"name": "slight"},
    "spec": {
        "fetchStrategy": {"type": "anonymousHttp", "anonHttp": {"location": "https://example.org/slight.tar.gz"}},
        "runtimeClass": {"name": "wasmtime-slight", "handler": "slight"},
        "rolloutStrategy": {"type": "recreate"},
    },
}


def _autoscaler(mode: str) -> dict[str, Any]:
    target = {"apiVersion": "pool.kubevirt.io/v1beta1", "kind": "VirtualMachinePool", "name": "web"}
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"targetRef": target, "updatePolicy": {"updateMode": mode}},
    }


def _marked(annotations: dict[str, str]) -> dict[str, Any]:
    vm = manifest("marked", "Manual", annotations=annotations)
    return {**vm, "metadata": {**vm["metadata"], "namespace": "default"}}


_LABELS = {"app.kubernetes.io/name": "vmkit", "app.kubernetes.io/component": "schedule"}
_SCALED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "pool.kubevirt.io/v1beta1", "kind": "VirtualMachinePool", "name": "web"},
        "triggers": [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 20 * * *"}}],
    },
}


def _pod(image: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "one", "image": image}]}}


def _deployment(name: str, image: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    chosen = labels or {"app": name}
    # No replica: the practice cluster would have a pod of it ready at once.
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": chosen},
        "spec": {"replicas": 0, "selector": {"matchLabels": chosen}, "template": _pod(image, chosen)},
    }


def _cron(*, suspend: bool = False) -> dict[str, Any]:
    pod = _pod("registry.invalid/vmkit:1", _LABELS)
    pod["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "vmkit-schedule", "namespace": "default", "labels": _LABELS},
        "spec": {"schedule": "0 0 1 1 *", "suspend": suspend, "jobTemplate": {"spec": {"template": pod}}},
    }


def _owned(strategy: str) -> dict[str, Any]:
    vm = manifest("kept", strategy, labels={"argocd.argoproj.io/instance": "shop"})
    return {**vm, "metadata": {**vm["metadata"], "namespace": "default"}}


def _application(*, heals: bool) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "https://git.example/shop", "path": "."},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "default"},
            "syncPolicy": {"automated": {"selfHeal": heals}},
        },
    }


CASES: dict[str, Trouble] = {
    "kubevirt.deployed": nothing(),
    "kubevirt.absent": refused("kubevirts"),
    "kubevirt.unknown": refused("kubevirts", status=403),
    "kubevirt.not-deployed": _kubevirt({"phase": "Deploying"}),
    "kubevirt.degraded": _kubevirt({"conditions": [{"type": "Degraded", "status": "True"}]}),
    "kubevirt.updating": _kubevirt({"targetKubeVirtVersion": "v1.10.0"}),
    "kubevirt.old": _kubevirt({"observedKubeVirtVersion": "v1.2.1"}),
    "kubevirt.changes-wait": nothing(),
    "kubevirt.gates": patched(
        KUBEVIRTS,
        "kubevirt",
        {"spec": {"configuration": {"developerConfiguration": {"featureGates": ["Snapshot"]}}}},
        namespace="kubevirt",
    ),
    "kubevirt.no-kvm": together([patched(NODES, node, _NO_KVM, status=True) for node in _WORKERS]),
    "cdi.deployed": nothing(),
    "cdi.absent": refused("cdis"),
    "cdi.unknown": refused("storageprofiles", status=403),
    "cdi.not-deployed": patched(CDIS, "cdi", {"status": {"phase": "Error"}}),
    "cdi.profile-unknown": nothing(),
    "cdi.no-default-class": together(
        [patched(STORAGE_CLASSES, name, _NO_DEFAULT) for name in ("local-path", "rook-ceph-block")]
    ),
    "rook.healthy": nothing(),
    "rook.absent": refused("cephclusters"),
    "rook.unknown": refused("cephclusters", status=403),
    "rook.refuses": _ceph(ceph_used="91%"),
    "rook.warns": _ceph(ceph_troubles="MON_DOWN"),
    "rook.image-features": added(_PLAIN_CLASS),
    "rook.no-snapshot-class": removed(VOLUME_SNAPSHOT_CLASSES, "csi-rbdplugin-snapclass"),
    "rook.no-class": removed(STORAGE_CLASSES, "rook-ceph-block"),
    "autoscalers.none": nothing(),
    "autoscalers.unknown": refused("verticalpodautoscalers", status=403),
    "autoscalers.watching": added(_autoscaler("Off")),
    "autoscalers.aimed": added(_autoscaler("Recreate")),
    "wasm.ready": nothing(),
    "wasm.absent": refused("spinappexecutors", "spinapps"),
    "wasm.unknown": refused("runtimeclasses", status=403),
    "wasm.executor": removed(RUNTIME_CLASSES, "wasmtime-spin-v2"),
    "wasm.runtime-class": removed(RUNTIME_CLASSES, "wasmtime-spin-v2"),
    "wasm.shim": added(_SHIM),
    "wasm.shim-unready": refused("shims"),
    "wasm.nodes": together(
        [patched(NODES, node, {"metadata": {"labels": {"spin": "false"}}}) for node in _WORKERS]
    ),
    "wasm.handler": patched(NODES, "worker-1", {"metadata": {"labels": {"spin-v2": "failed"}}}),
    "wasm.handler-unsure": added(_CLASS),
    "wasm.kwasm": patched(NODES, "worker-1", {"metadata": {"annotations": {"kwasm.sh/kwasm-node": "true"}}}),
    "gitops.none": nothing(),
    "gitops.unknown": refused("virtualmachines", status=403),
    "gitops.safe": added(_owned("Manual"), _application(heals=True)),
    "gitops.drift": added(_owned("Halted"), _application(heals=False)),
    "gitops.fight": added(_owned("Halted"), _application(heals=True)),
    "gitops.owner-unreadable": added(_owned("Halted")),
    "edge.none": nothing(),
    "edge.unknown": refused("nodes", status=403),
    "edge.answering": patched(NODES, "worker-1", {"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}}),
    "downscalers.none": nothing(),
    "downscalers.unknown": refused("deployments", status=403),
    "downscalers.present": added(_deployment("downscaler", "ghcr.io/caas-team/py-kube-downscaler:26.4.0")),
    "downscalers.annotations": added(_marked({"downscaler/uptime": "Mon-Fri 08:00-20:00 UTC"})),
    "downscalers.scales-vms": added(_SCALED),
    "jobs.none": nothing(),
    "jobs.unknown": refused("cronjobs", status=403),
    "jobs.running": added(_cron()),
    "jobs.suspended": added(_cron(suspend=True)),
    "jobs.failing": added(_deployment("vmkit-schedule", "registry.invalid/vmkit:1", _LABELS)),
    "jobs.twice": added(_cron(), _deployment("vmkit-schedule", "registry.invalid/vmkit:1", _LABELS)),
    "jobs.two-versions": added(_cron(), _deployment("vmkit-schedule", "registry.invalid/vmkit:2", _LABELS)),
}
"""Every finding that needs no Prometheus, with what brings it about."""

_ELSEWHERE = {
    "permissions": "allowed limited missing unknown",
    "prometheus": "knows-vms absent silent no-vms no-instances lacks-metric renamed-labels no-rules unknown",
    "kepler": "pods absent pods-off legacy fake-meter impossible unknown",
}
ELSEWHERE = {f"{check}.{finding}" for check, findings in _ELSEWHERE.items() for finding in findings.split()}
"""Those that other files of this folder provoke."""

HELD: dict[str, dict[Resource, Sequence[Object]]] = {
    "wasm.no-executor": {},
    "downscalers.two-controllers": {
        VIRTUAL_MACHINES: [_marked({"vmkit.io/schedule": "Mon-Fri 08:00-20:00"})],
        SLEEP_INFOS: [
            {
                "metadata": {"name": "nights", "namespace": "default"},
                "spec": {"patches": [{"target": {"group": "kubevirt.io", "kind": "VirtualMachine"}}]},
            }
        ],
    },
    "jobs.overdue": {
        CRON_JOBS: [
            {
                "metadata": {"name": "vmkit-stop-idle", "namespace": "vmkit", "labels": _LABELS},
                "status": {"lastScheduleTime": "2026-01-01T00:17:00Z"},
            }
        ]
    },
    "edge.silent": {
        NODES: [
            {
                "metadata": {"name": "edge-1", "labels": {"node-role.kubernetes.io/edge": ""}},
                "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
            }
        ]
    },
    "rook.silent": {CEPH_CLUSTERS: [{"metadata": {"name": "ceph", "namespace": "rook-ceph"}}]},
    "rook.pool-not-ready": {
        CEPH_CLUSTERS: [{"metadata": {"name": "ceph", "namespace": "rook-ceph"}}],
        CEPH_BLOCK_POOLS: [{"metadata": {"name": "pool"}, "status": {"phase": "Failure"}}],
    },
}
"""States that the practice cluster's own controllers would mend at once, as objects."""


@pytest.fixture(scope="module")
def ailing() -> Iterator[tuple[Lab, Session]]:
    """A cluster of its own: what is broken here concerns all of it."""
    with (
        Lab(seed=5, speed=60.0, nodes=2) as lab,
        Session.connect(kubeconfig=lab.kubeconfig, retry=RetryPolicy(attempts=3)) as session,
    ):
        yield lab, session


@pytest.mark.parametrize("wanted", CASES)
def test_a_finding_is_provoked(ailing: tuple[Lab, Session], wanted: str) -> None:
    lab, session = ailing
    with CASES[wanted](lab, session):
        deadline = time.monotonic() + 60
        while True:
            found = examine(session, checks=[wanted.partition(".")[0]]).findings
            if any(one.kind.id == wanted for one in found):
                break
            assert time.monotonic() < deadline, [one.kind.id for one in found]
            time.sleep(0.05)
    (finding, *_) = (one for one in found if one.kind.id == wanted)
    assert finding.what
    assert finding.severity in (Severity.OK, Severity.INFO) or (finding.kind.why and finding.mend)


class _Held(Sights):
    def __init__(self, session: Session, held: dict[Resource, Sequence[Object]]) -> None:
        super().__init__(session)
        self._held = held

    def list(self, resource: Resource) -> Sequence[Object]:
        return self._held.get(resource, ())


@pytest.mark.parametrize("wanted", HELD)
def test_a_state_that_does_not_last_is_a_finding(session: Session, wanted: str) -> None:
    (check,) = choose_checks([wanted.partition(".")[0]])
    found = list(check.run(Look(_Held(session, HELD[wanted]))))
    assert wanted in [one.kind.id for one in found]


_JUNK: list[Object] = [
    {},
    {"metadata": None, "spec": None, "status": None},
    {"metadata": {"name": 7, "labels": [], "annotations": "x"}, "spec": [1], "status": "Ready"},
    {
        "metadata": {
            "labels": _LABELS | {"node-role.kubernetes.io/edge": ""},
            "annotations": {"downscaler/x": None},
        }
    },
    {
        "metadata": {"name": "x", "namespace": None, "labels": {"argocd.argoproj.io/instance": "y"}},
        "spec": {"targetRef": {"kind": None}, "patches": {}, "scaleTargetRef": 4, "deploymentConfig": None},
        "status": {"conditions": [None, {"type": None}], "lastScheduleTime": "yesterday", "nodes": None},
        "provisioner": "a.rbd.csi.ceph.com",
        "parameters": None,
        "scheduling": None,
    },
]


class _Junk(Sights):
    def list(self, resource: Resource) -> Sequence[Object]:
        return _JUNK


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.name != "permissions"], ids=lambda it: it.name
)
def test_objects_that_are_none_bring_no_check_down(session: Session, check: Check) -> None:
    assert all(one.what for one in check.run(Look(_Junk(session))))


def test_a_cron_job_whose_last_run_failed_is_failing(session: Session) -> None:
    cron = {"metadata": {"name": "vmkit-stop-idle", "namespace": "vmkit", "uid": "1", "labels": _LABELS}}
    runs = [
        {
            "metadata": {"creationTimestamp": f"2026-01-0{day}T00:00:00Z", "ownerReferences": [{"uid": "1"}]},
            "status": {"conditions": [{"type": kind, "status": "True"}]},
        }
        for day, kind in ((1, "Complete"), (2, "Failed"))
    ]
    (check,) = choose_checks(["jobs"])
    found = list(check.run(Look(_Held(session, {CRON_JOBS: [cron], JOBS: runs}))))
    assert [one.kind.id for one in found] == ["jobs.failing"]
    assert "kubectl -n vmkit logs" in found[0].mend


def test_every_finding_is_provoked_somewhere() -> None:
    known = {kind.id for check in CHECKS for kind in (*check.kinds, check.unknown)}
    assert known - {*CASES, *HELD, *ELSEWHERE} == set()
    assert {*CASES, *HELD, *ELSEWHERE} - known == set()


def test_the_rest_is_right_where_one_source_is_forbidden(ailing: tuple[Lab, Session]) -> None:
    lab, session = ailing
    with refused("kubevirts", status=403)(lab, session):
        found = [one.kind.id for one in examine(session, checks=["kubevirt", "cdi"]).findings]
    assert "kubevirt.unknown" in found
    assert "kubevirt.absent" not in found
    assert "cdi.deployed" in found


def test_the_worst_comes_first(ailing: tuple[Lab, Session]) -> None:
    lab, session = ailing
    with CASES["kubevirt.absent"](lab, session):
        found = examine(session, checks=["kubevirt", "cdi", "rook"])
    assert found.findings[0].kind.id == "kubevirt.absent"
    assert found.worst is Severity.PROBLEM


def test_a_check_that_takes_too_long_is_unknown(ailing: tuple[Lab, Session]) -> None:
    lab, session = ailing
    lab.call(lambda: lab.faults.add(Fault("delay", resources=["kubevirts"], delay_seconds=3.0)))
    try:
        found = examine(session, checks=["kubevirt"], check_seconds=0.5).findings
    finally:
        lab.call(lab.faults.clear)
    assert [one.kind.id for one in found] == ["kubevirt.unknown"]
    assert "longer than 0.5 seconds" in found[0].what


def test_a_check_that_is_not_there_is_named(session: Session) -> None:
    with pytest.raises(UsageError, match="rok"):
        examine(session, checks=["rok"])
    with pytest.raises(UsageError, match="dance"):
        examine(session, commands=["dance"])
