"""The resource types of ceph.rook.io that the practice cluster serves, and the objects of a fresh Ceph cluster.

Source: Rook deploy/examples/{cluster,pool,filesystem,object}.yaml and its CRDs (names, printer columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmkit.lab.resources import Column, Object, Registry, ResourceType, SchemaRef
from vmkit.lab.rook.classes import BLOCK_POOL, FILESYSTEM, NAMESPACE, OBJECT_STORE

GROUP = "ceph.rook.io"

# Rook's CRD of an object store, as far as the practice cluster reads it.
_OBJECT_STORE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["metadata", "spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "dataPool": {"type": "object", "nullable": True, "x-kubernetes-preserve-unknown-fields": True},
                "metadataPool": {"type": "object", "nullable": True, "x-kubernetes-preserve-unknown-fields": True},
                "gateway": {"type": "object", "nullable": True, "x-kubernetes-preserve-unknown-fields": True},
                "preservePoolsOnDelete": {"type": "boolean"},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def register(registry: Registry) -> None:
    """Serves CephCluster, CephBlockPool, CephFilesystem and CephObjectStore."""
    registry.add(
        _type(
            "CephCluster",
            "cephclusters",
            SchemaRef("cephclusters.ceph.rook.io_v1"),
            Column("DataDirHostPath", path=".spec.dataDirHostPath"),
            Column("MonCount", path=".spec.mon.count"),
            Column("Age", type="date", path=".metadata.creationTimestamp"),
            Column("Phase", path=".status.phase"),
            Column("Message", path=".status.message"),
            Column("Health", path=".status.ceph.health"),
            Column("External", path=".spec.external.enable"),
            Column("FSID", path=".status.ceph.fsid"),
            short_names=("ceph",),
        )
    )
    registry.add(
        _type(
            "CephBlockPool",
            "cephblockpools",
            SchemaRef("cephblockpools.ceph.rook.io_v1"),
            Column("Phase", path=".status.phase"),
            Column("Type", path=".status.info.type"),
            Column("FailureDomain", path=".status.info.failureDomain"),
            Column("Age", type="date", path=".metadata.creationTimestamp"),
            short_names=("cephbp",),
        )
    )
    registry.add(
        _type(
            "CephFilesystem",
            "cephfilesystems",
            SchemaRef("cephfilesystems.ceph.rook.io_v1"),
            Column("ActiveMDS", path=".spec.metadataServer.activeCount"),
            Column("Age", type="date", path=".metadata.creationTimestamp"),
            Column("Phase", path=".status.phase"),
            short_names=("cephfs",),
        )
    )
    registry.add(
        _type(
            "CephObjectStore",
            "cephobjectstores",
            _OBJECT_STORE_SCHEMA,
            Column("Phase", path=".status.phase"),
            Column("Endpoint", path=".status.info.endpoint"),
            Column("Age", type="date", path=".metadata.creationTimestamp"),
            short_names=("cephos",),
        )
    )


def _type(
    kind: str, plural: str, schema: SchemaRef | Mapping[str, Any], *columns: Column, short_names: tuple[str, ...]
) -> ResourceType:
    return ResourceType(
        GROUP,
        "v1",
        kind,
        plural,
        short_names=short_names,
        subresources=("status",),
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=schema,
        columns=columns,
    )


def build_ceph_objects() -> list[Object]:
    """A CephCluster of three hosts with four disks each, a replicated pool, a file system and an object store."""
    return [
        _object(
            "CephCluster",
            NAMESPACE,
            {
                "cephVersion": {"image": "quay.io/ceph/ceph:v20.2.4", "allowUnsupported": False},
                "dataDirHostPath": "/var/lib/rook",
                "mon": {"count": 3, "allowMultiplePerNode": False},
                "mgr": {"count": 2, "allowMultiplePerNode": False},
                "dashboard": {"enabled": True, "ssl": True},
                "storage": {"useAllNodes": True, "useAllDevices": True},
            },
        ),
        _object(
            "CephBlockPool",
            BLOCK_POOL,
            {"failureDomain": "host", "replicated": {"size": 3, "requireSafeReplicaSize": True}},
        ),
        _object(
            "CephFilesystem",
            FILESYSTEM,
            {
                "metadataPool": {"replicated": {"size": 3}},
                "dataPools": [{"name": "replicated", "replicated": {"size": 3}}],
                "metadataServer": {"activeCount": 1, "activeStandby": True},
            },
        ),
        _object(
            "CephObjectStore",
            OBJECT_STORE,
            {
                "metadataPool": {"replicated": {"size": 3}},
                "dataPool": {"replicated": {"size": 3}},
                "gateway": {"port": 80, "instances": 1},
            },
        ),
    ]


def _object(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "finalizers": [f"{kind.lower()}.{GROUP}"]},
        "spec": spec,
    }
