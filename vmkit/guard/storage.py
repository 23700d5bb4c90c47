"""Whether the storage can take new disks: the health and the fullness of Rook's CephClusters. Pure.

Source: rook pkg/apis/ceph.rook.io/v1/types.go, CephStatus and Capacity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vmkit.plan.model import Reason
from vmkit.units import format_size

FULL_RATIO: Final = 0.85
"""Ceph's own nearfull ratio: above it, health turns to a warning and rebalancing begins to fail."""
DEFAULT_REPLICAS: Final = 3
"""Rook's default pool size; each stored byte takes as many raw ones."""


class StorageHealth(StrEnum):
    """The verdict on a storage."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works, with warnings: go on, and say so."""
    REFUSED = "refused"
    """New disks would make things worse."""
    UNKNOWN = "unknown"
    """Nothing is known: no CephCluster in sight, or one that says nothing."""


@dataclass(frozen=True, slots=True)
class StorageVerdict:
    """What is known about a storage.

    Attributes:
        health: the verdict.
        reason: why.
        projected_ratio: raw bytes used after the request, of all raw bytes (0 to 1 and beyond); None if unknown.
    """

    health: StorageHealth
    reason: Reason
    projected_ratio: float | None = None


def decide_storage(
    ceph_clusters: Iterable[Mapping[str, Any]] | None,
    requested_bytes: int,
    *,
    cluster_namespace: str = "",
    replicas: int = DEFAULT_REPLICAS,
) -> StorageVerdict:
    """Judges whether ``requested_bytes`` more may be put on Ceph.

    Args:
        ceph_clusters: CephCluster objects; None where they cannot be listed.
        requested_bytes: what the new disks ask for, before replication. RBD allocates on writing, so this is the
            most they will take.
        cluster_namespace: the storage class's ``clusterID``: Rook's clusters are named by their namespace. Empty
            looks at all clusters, and the worst counts.
        replicas: how many raw bytes a stored byte takes.
    """
    if ceph_clusters is None:
        return StorageVerdict(
            StorageHealth.UNKNOWN,
            Reason("CephNotReadable", "the health of the storage is unknown: CephClusters cannot be listed"),
        )
    clusters = list(ceph_clusters)
    chosen = [
        item for item in clusters if not cluster_namespace or _metadata(item, "namespace") == cluster_namespace
    ]
    if not chosen:
        where = f" in namespace {cluster_namespace}" if cluster_namespace else ""
        return StorageVerdict(
            StorageHealth.UNKNOWN,
            Reason("NoCephCluster", f"the health of the storage is unknown: no CephCluster is in sight{where}"),
        )
    verdicts = [_judge(item, requested_bytes, replicas) for item in chosen]
    order = [StorageHealth.REFUSED, StorageHealth.UNKNOWN, StorageHealth.DEGRADED, StorageHealth.HEALTHY]
    return min(verdicts, key=lambda verdict: order.index(verdict.health))


def _judge(cluster: Mapping[str, Any], requested_bytes: int, replicas: int) -> StorageVerdict:
    name = f"CephCluster {_metadata(cluster, 'namespace')}/{_metadata(cluster, 'name')}"
    ceph = _mapping(_mapping(cluster.get("status")).get("ceph"))
    health = ceph.get("health")
    ratio, projected = _ratios(_mapping(ceph.get("capacity")), requested_bytes * replicas)
    codes = ", ".join(sorted(_mapping(ceph.get("details")))) or "no details given"
    if health == "HEALTH_ERR":
        return StorageVerdict(
            StorageHealth.REFUSED, Reason("CephHealthError", f"{name} is in HEALTH_ERR ({codes})"), projected
        )
    if ratio is not None and projected is not None and projected > FULL_RATIO:
        more = f" with {format_size(requested_bytes)} more" if requested_bytes else ""
        return StorageVerdict(
            StorageHealth.REFUSED,
            Reason(
                "CephTooFull",
                f"{name} would be {projected:.0%} full{more} ({ratio:.0%} now); {FULL_RATIO:.0%} is the limit",
            ),
            projected,
        )
    if health == "HEALTH_WARN":
        return StorageVerdict(
            StorageHealth.DEGRADED, Reason("CephHealthWarning", f"{name} is in HEALTH_WARN ({codes})"), projected
        )
    if health != "HEALTH_OK":
        return StorageVerdict(
            StorageHealth.UNKNOWN, Reason("CephSilent", f"{name} does not tell its health"), projected
        )
    full = f", {projected:.0%} full after this" if projected is not None else ", fullness unknown"
    return StorageVerdict(StorageHealth.HEALTHY, Reason("CephHealthy", f"{name} is in HEALTH_OK{full}"), projected)


def _ratios(capacity: Mapping[str, Any], more_raw_bytes: int) -> tuple[float | None, float | None]:
    total, used = capacity.get("bytesTotal"), capacity.get("bytesUsed")
    known = all(isinstance(number, int) and not isinstance(number, bool) for number in (total, used))
    if not known or not isinstance(total, int) or not isinstance(used, int) or total <= 0:
        return None, None
    return used / total, (used + more_raw_bytes) / total


def _metadata(item: Mapping[str, Any], key: str) -> str:
    value = _mapping(item.get("metadata")).get(key)
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
