"""The Rook operator's part: health and capacity of CephClusters, and the phase of pools, file systems and object
stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vmkit.errors import QuantityError
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.rook.ceph import Capacity, build_ceph_status
from vmkit.lab.rook.csi import CLUSTERS, VOLUMES
from vmkit.lab.rook.provisioning import ALLOCATED
from vmkit.lab.rook.resources import GROUP
from vmkit.lab.store import Event
from vmkit.units import parse_bytes

TROUBLES_ANNOTATION = "lab.vmkit.io/ceph-troubles"
"""On a CephCluster: names of failing health checks, separated by commas ("MON_DOWN", "HEALTH_ERR")."""

CAPACITY_ANNOTATION = "lab.vmkit.io/ceph-capacity"
"""On a CephCluster: the raw size of all its disks ("46Ti")."""

USED_ANNOTATION = "lab.vmkit.io/ceph-used"
"""On a CephCluster: raw bytes that something else than this cluster's claims uses ("10Ti"), or a share of the
capacity ("86%")."""

REPLICAS = 3
_DEFAULT_CAPACITY = 12 * 3_840_755_982_336
_OWN_BYTES = 96 * 1024**3
"""What an empty Ceph cluster uses: its own databases and maps on every disk."""

_REFRESH_SECONDS = 5.0
"""How soon a change of the volumes shows. Rook itself asks Ceph every 60 s (status check interval)."""

_READY: dict[str, Object] = {
    "cephblockpools": {"phase": "Ready", "info": {"type": "Replicated", "failureDomain": "host"}},
    "cephfilesystems": {"phase": "Ready"},
    "cephobjectstores": {"phase": "Ready", "info": {"endpoint": "http://rook-ceph-rgw-my-store.rook-ceph.svc:80"}},
}


class CephController(Controller):
    """Keeps ``status.ceph`` of CephClusters: capacity follows what the volumes hold, health what is wrong."""

    name: ClassVar[str] = "rook-ceph-operator"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._clusters = context.registry.get(*CLUSTERS)
        self._volumes = context.registry.get(*VOLUMES)
        self._held: dict[str, int] = {}
        self._total = 0

    def setup(self) -> None:
        self._ends.append(self.store.subscribe(self._count, self._volumes))
        for entry in tuple(self.store.entries(self._volumes)):
            self._hold(entry.key.name, entry.decode())
        self.watch(self._clusters)

    def _count(self, event: Event) -> None:
        before = self._total
        self._hold(event.key.name, None if event.type == "DELETED" else event.object)
        if self._total != before:
            for entry in self.store.entries(self._clusters):
                self.requeue_after(entry.key, _REFRESH_SECONDS)

    def _hold(self, name: str, volume: Object | None) -> None:
        text = ((volume or {}).get("metadata", {}).get("annotations") or {}).get(ALLOCATED, "0")
        size = int(text) if text.isdigit() else 0
        self._total += size - self._held.pop(name, 0)
        if size:
            self._held[name] = size

    def reconcile(self, key: ObjectKey) -> None:
        cluster = self.store.find(self._clusters, key.namespace, key.name)
        if cluster is None:
            return
        if cluster["metadata"].get("deletionTimestamp"):
            cluster["metadata"].pop("finalizers", None)
            self.store.update(self._clusters, cluster, manager="rook")
            return
        old = cluster.get("status") or {}
        ceph = build_ceph_status(
            old.get("ceph") or {},
            read_capacity(cluster, self._total),
            read_troubles(cluster),
            at=format_time(self.clock.now()),
            fsid=(old.get("ceph") or {}).get("fsid") or cluster["metadata"]["uid"],
        )
        if not _differs(old.get("ceph") or {}, ceph):
            return
        status = {
            "ceph": ceph,
            "conditions": [
                {
                    "lastHeartbeatTime": ceph["lastChecked"],
                    "lastTransitionTime": cluster["metadata"]["creationTimestamp"],
                    "message": "Cluster created successfully",
                    "reason": "ClusterCreated",
                    "status": "True",
                    "type": "Ready",
                }
            ],
            "message": "Cluster created successfully",
            "phase": "Ready",
            "state": "Created",
            "storage": {"deviceClasses": [{"name": "ssd"}], "osd": {"storeType": {"bluestore": 12}}},
            "version": {"image": cluster["spec"].get("cephVersion", {}).get("image", ""), "version": "20.2.4-0"},
        }
        self.store.update(self._clusters, {**cluster, "status": status}, subresource="status", manager="rook")


class PoolController(Controller):
    """Reports pools, file systems and object stores ready a moment after they were made."""

    name: ClassVar[str] = "rook-ceph-pools"

    def setup(self) -> None:
        for plural in _READY:
            self.watch(self.registry.get(GROUP, plural), lambda event, plural=plural: _named(plural, event))  # type: ignore[misc]

    def reconcile(self, key: ObjectKey) -> None:
        plural, _, namespace = key.namespace.partition("/")
        rtype = self.registry.get(GROUP, plural)
        found = self.store.find(rtype, namespace, key.name)
        if found is None:
            return
        if found["metadata"].get("deletionTimestamp"):
            found["metadata"].pop("finalizers", None)
            self.store.update(rtype, found, manager="rook")
            return
        if (found.get("status") or {}).get("phase") == "Ready":
            return
        status = {**_READY[plural], "observedGeneration": found["metadata"].get("generation", 1)}
        self.store.update(rtype, {**found, "status": status}, subresource="status", manager="rook")


def _named(plural: str, event: Event) -> Iterable[ObjectKey]:
    return (ObjectKey(f"{plural}/{event.key.namespace}", event.key.name),)


def read_capacity(cluster: Object, held_bytes: int) -> Capacity:
    """The raw capacity of a CephCluster whose volumes hold so many bytes, with what its annotations add."""
    annotations = cluster["metadata"].get("annotations") or {}
    total = _size(annotations.get(CAPACITY_ANNOTATION), _DEFAULT_CAPACITY)
    other = annotations.get(USED_ANNOTATION, "")
    if other.endswith("%") and other[:-1].replace(".", "", 1).isdigit():
        return Capacity(total, min(total, int(total * float(other[:-1]) / 100) + held_bytes * REPLICAS))
    return Capacity(total, min(total, _OWN_BYTES + _size(other, 0) + held_bytes * REPLICAS))


def read_troubles(cluster: Object) -> list[str]:
    """The troubles a CephCluster's annotation calls for."""
    text = (cluster["metadata"].get("annotations") or {}).get(TROUBLES_ANNOTATION, "")
    return [name.strip() for name in text.split(",") if name.strip()]


def _size(text: str | None, default: int) -> int:
    try:
        return parse_bytes(text) if text else default
    except QuantityError:
        return default


def _differs(old: Object, new: Object) -> bool:
    def bare(status: Object) -> Object:
        kept = {key: value for key, value in status.items() if key not in ("lastChecked", "lastChanged")}
        kept["capacity"] = {
            key: value for key, value in (status.get("capacity") or {}).items() if key != "lastUpdated"
        }
        return kept

    return bare(old) != bare(new)
