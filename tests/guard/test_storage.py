"""The storage gate: health and projected fullness of Ceph."""

from __future__ import annotations

from typing import Any

import pytest

from vmkit.guard.storage import StorageHealth, decide_storage

TI = 2**40


def cluster(
    health: Any = "HEALTH_OK", used: Any = 0.5, namespace: str = "rook-ceph", **details: Any
) -> dict[str, Any]:
    capacity = {"bytesTotal": 10 * TI, "bytesUsed": int(used * 10 * TI)} if isinstance(used, float) else used
    return {
        "metadata": {"name": "rook-ceph", "namespace": namespace},
        "status": {"ceph": {"health": health, "capacity": capacity, "details": details}},
    }


@pytest.mark.parametrize(
    ("clusters", "requested", "health", "code"),
    [
        ([cluster()], TI, StorageHealth.HEALTHY, "CephHealthy"),
        ([cluster("HEALTH_WARN", OSD_NEARFULL={})], 0, StorageHealth.DEGRADED, "CephHealthWarning"),
        ([cluster("HEALTH_ERR", OSD_FULL={})], 0, StorageHealth.REFUSED, "CephHealthError"),
        ([cluster(used=0.86)], 0, StorageHealth.REFUSED, "CephTooFull"),
        ([cluster(used=0.85)], 0, StorageHealth.HEALTHY, "CephHealthy"),
        # Three copies: 1.2 TiB more are 3.6 TiB of 10.
        ([cluster(used=0.5)], int(1.2 * TI), StorageHealth.REFUSED, "CephTooFull"),
        ([cluster("HEALTH_WARN", used=0.9)], 0, StorageHealth.REFUSED, "CephTooFull"),
        ([], 0, StorageHealth.UNKNOWN, "NoCephCluster"),
        (None, 0, StorageHealth.UNKNOWN, "CephNotReadable"),
        ([{"metadata": {"namespace": "rook-ceph"}}], 0, StorageHealth.UNKNOWN, "CephSilent"),
        ([cluster(health=7, used={"bytesTotal": "x"})], 0, StorageHealth.UNKNOWN, "CephSilent"),
        ([cluster(), cluster("HEALTH_ERR")], 0, StorageHealth.REFUSED, "CephHealthError"),
    ],
)  # fmt: skip
def test_the_verdict(clusters: Any, requested: int, health: StorageHealth, code: str):
    verdict = decide_storage(clusters, requested)
    assert (verdict.health, verdict.reason.code) == (health, code)
    assert verdict.reason.text


def test_only_the_cluster_of_the_storage_class_counts():
    clusters = [cluster("HEALTH_ERR", namespace="other"), cluster()]
    assert decide_storage(clusters, 0, cluster_namespace="rook-ceph").health is StorageHealth.HEALTHY
    assert decide_storage(clusters, 0, cluster_namespace="gone").health is StorageHealth.UNKNOWN


def test_fewer_replicas_take_less():
    assert decide_storage([cluster()], int(1.2 * TI), replicas=2).health is StorageHealth.HEALTHY
    verdict = decide_storage([cluster()], TI, replicas=1)
    assert verdict.projected_ratio == pytest.approx(0.6)


def test_the_words_name_the_codes_of_ceph():
    verdict = decide_storage([cluster("HEALTH_WARN", MON_DOWN={}, OSD_NEARFULL={})], 0)
    assert "MON_DOWN, OSD_NEARFULL" in verdict.reason.text
