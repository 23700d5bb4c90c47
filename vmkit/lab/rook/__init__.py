"""Rook and its Ceph cluster in the practice cluster: storage and snapshot classes, the CSI drivers' work, health
and capacity.

`register` serves the types and their admission, `seed` puts a fresh Ceph cluster into a lab, `controllers` make
it work.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkit.lab.controller import Context, Controller
    from vmkit.lab.resources import Object, Registry


def register(registry: Registry) -> None:
    """Serves ceph.rook.io, and gives claims the admission of the API server's storage plugins."""
    from vmkit.lab.rook import admission, csi, resources

    resources.register(registry)
    claims = registry.get(*csi.CLAIMS)
    registry.admit(
        claims,
        mutate=partial(admission.default_claim, registry),
        validate=partial(admission.check_resize, registry),
    )


def seed_objects() -> list[Object]:
    """What a fresh cluster has: the namespace, the classes, and the Ceph cluster with its pools."""
    from vmkit.lab.rook.classes import NAMESPACE, build_csi_drivers, build_snapshot_classes, build_storage_classes
    from vmkit.lab.rook.resources import build_ceph_objects

    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *build_csi_drivers(),
        *build_storage_classes(),
        *build_snapshot_classes(),
        *build_ceph_objects(),
    ]


def controllers(context: Context) -> list[Controller]:
    """The operator's, the drivers' and the snapshot controller."""
    from vmkit.lab.rook.clusters import CephController, PoolController
    from vmkit.lab.rook.csi import ClaimController
    from vmkit.lab.rook.snapshots import SnapshotController

    return [
        ClaimController(context),
        SnapshotController(context),
        CephController(context),
        PoolController(context),
    ]
