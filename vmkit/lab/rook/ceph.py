"""The health and capacity a CephCluster reports, as a pure function of what is stored and what is wrong.

Source: Rook pkg/apis/ceph.rook.io/v1/types.go (CephStatus, Capacity); Ceph's own ratios mon_osd_nearfull_ratio
0.85, mon_osd_backfillfull_ratio 0.90, mon_osd_full_ratio 0.95, and the names of its health checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

NEARFULL = 0.85
BACKFILLFULL = 0.90
FULL = 0.95

Severity = Literal["HEALTH_WARN", "HEALTH_ERR"]

# What Ceph says of the troubles that can be called for by name.
TROUBLES: Mapping[str, tuple[Severity, str]] = {
    "MON_DOWN": ("HEALTH_WARN", "1/3 mons down, quorum a,b"),
    "MON_CLOCK_SKEW": ("HEALTH_WARN", "clock skew detected on mon.b"),
    "OSD_DOWN": ("HEALTH_WARN", "1 osds down"),
    "OSD_HOST_DOWN": ("HEALTH_WARN", "1 host (4 osds) down"),
    "PG_DEGRADED": (
        "HEALTH_WARN",
        "Degraded data redundancy: 4211/88231 objects degraded (4.773%), 61 pgs degraded",
    ),
    "PG_AVAILABILITY": ("HEALTH_ERR", "Reduced data availability: 12 pgs inactive, 12 pgs incomplete"),
    "SLOW_OPS": ("HEALTH_WARN", "37 slow ops, oldest one blocked for 62 sec, osd.3 has slow ops"),
    "RECENT_CRASH": ("HEALTH_WARN", "1 daemons have recently crashed"),
    "TOO_FEW_PGS": ("HEALTH_WARN", "2 pools have too few placement groups"),
    "MDS_SLOW_METADATA_IO": ("HEALTH_WARN", "1 MDSs report slow metadata IOs"),
}


@dataclass(frozen=True)
class Capacity:
    """Raw bytes of a Ceph cluster; three replicas use three bytes a byte."""

    total_bytes: int
    used_bytes: int

    @property
    def available_bytes(self) -> int:
        """What is left, never below nothing."""
        return max(0, self.total_bytes - self.used_bytes)

    @property
    def ratio(self) -> float:
        """Used of total, 0 to 1; a cluster without disks counts as full."""
        return self.used_bytes / self.total_bytes if self.total_bytes > 0 else 1.0


def decide_health(capacity: Capacity, troubles: Iterable[str] = ()) -> tuple[str, dict[str, dict[str, str]]]:
    """The health and its details.

    Args:
        capacity: what is there and what is used.
        troubles: names of health checks that fail (`TROUBLES`, or any other name: a warning), or ``HEALTH_WARN``
            and ``HEALTH_ERR`` for one typical of the kind.
    """
    details: dict[str, dict[str, str]] = {}
    for name in troubles:
        code = {"HEALTH_WARN": "PG_DEGRADED", "HEALTH_ERR": "PG_AVAILABILITY"}.get(name, name)
        severity, message = TROUBLES.get(code, ("HEALTH_WARN", f"{code.lower().replace('_', ' ')}"))
        details[code] = {"severity": severity, "message": message}
    ratio = capacity.ratio
    if ratio >= FULL:
        details["OSD_FULL"] = {"severity": "HEALTH_ERR", "message": "12 full osd(s)"}
        details["POOL_FULL"] = {"severity": "HEALTH_ERR", "message": "2 pool(s) full"}
    elif ratio >= BACKFILLFULL:
        details["OSD_BACKFILLFULL"] = {"severity": "HEALTH_WARN", "message": "12 backfillfull osd(s)"}
        details["POOL_BACKFILLFULL"] = {"severity": "HEALTH_WARN", "message": "2 pool(s) backfillfull"}
    elif ratio >= NEARFULL:
        details["OSD_NEARFULL"] = {"severity": "HEALTH_WARN", "message": "12 nearfull osd(s)"}
        details["POOL_NEARFULL"] = {"severity": "HEALTH_WARN", "message": "2 pool(s) nearfull"}
    severities = {detail["severity"] for detail in details.values()}
    health = next((level for level in ("HEALTH_ERR", "HEALTH_WARN") if level in severities), "HEALTH_OK")
    return health, details


def build_ceph_status(
    old: Mapping[str, Any], capacity: Capacity, troubles: Iterable[str], *, at: str, fsid: str
) -> dict[str, Any]:
    """``status.ceph`` of a CephCluster.

    Args:
        old: the ``status.ceph`` before; what has not changed keeps its times.
        capacity: what is there and what is used.
        troubles: as in `decide_health`.
        at: the present instant as Rook writes it.
        fsid: the Ceph cluster's id.
    """
    health, details = decide_health(capacity, troubles)
    sizes = {
        "bytesTotal": capacity.total_bytes,
        "bytesUsed": capacity.used_bytes,
        "bytesAvailable": capacity.available_bytes,
    }
    status: dict[str, Any] = {
        "health": health,
        "fsid": fsid,
        "versions": {
            "mon": {VERSION: 3},
            "mgr": {VERSION: 2},
            "osd": {VERSION: 12},
            "mds": {VERSION: 2},
            "rgw": {VERSION: 1},
            "overall": {VERSION: 20},
        },
        "capacity": {**sizes, "lastUpdated": at},
        "lastChecked": at,
    }
    if details:
        status["details"] = details
    previous = old.get("health")
    if previous and previous != health:
        status["previousHealth"], status["lastChanged"] = previous, at
    elif old.get("previousHealth"):
        status["previousHealth"], status["lastChanged"] = old["previousHealth"], old.get("lastChanged", at)
    return status


VERSION = "ceph version 20.2.4 tentacle (stable)"


# --- how much of a claim is really stored ---------------------------------------------------------

_BLANK_SHARE = 0.002
_IMPORTED_SHARE = 0.35
_CLONED_SHARE = 0.05


def allocated_bytes(claim_bytes: int, origin: str) -> int:
    """What a thin RBD image of ``claim_bytes`` holds, before replication.

    Args:
        claim_bytes: the claim's size.
        origin: "blank" for an empty disk, "clone" for one that shares its parent's blocks, anything else for one
            that an image was written to.
    """
    share = {"blank": _BLANK_SHARE, "clone": _CLONED_SHARE}.get(origin, _IMPORTED_SHARE)
    return int(claim_bytes * share)
