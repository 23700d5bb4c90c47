"""Copies state from the VM's disk into volumes: from a snapshot for the proof, then for good. Pure.

A Job mounts a claim restored from a snapshot of the VM's disk, read-only, and rsyncs each directory into the claim
of the new pod. Run again with the service stopped it brings over what was written since.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from vmkit.migrate.services import Service, ServiceKind

Manifest = dict[str, Any]
DISK: Final = "vm-disk"
_IMAGE: Final = "docker.io/library/debian:stable-slim"
_GIB: Final = 2**30
# Finds the partition that holds the path, whatever the disk's layout, and mounts it without replaying its journal.
_SCRIPT: Final = """set -eu
apt-get update -qq && apt-get install -y -qq --no-install-recommends rsync util-linux >/dev/null
device="$(losetup --find --show --read-only --partscan /dev/vm-disk)"
trap 'losetup --detach "$device"' EXIT
mkdir -p /vm
for part in "$device" "$device"p*; do
  [ -b "$part" ] || continue
  mount -o ro,noload "$part" /vm 2>/dev/null || mount -o ro,norecovery "$part" /vm 2>/dev/null || continue
  if [ -d "/vm$SOURCE" ]; then
    rsync --archive --hard-links --acls --xattrs --sparse --numeric-ids --delete "/vm$SOURCE/" /data/
    umount /vm
    exit 0
  fi
  umount /vm
done
echo "no partition of the disk holds $SOURCE" >&2
exit 1
"""


def build_data_copies(
    service: Service, *, name: str, claim: str, disk_bytes: int = 0, storage_class: str | None = None
) -> list[Manifest]:
    """A snapshot of the VM's disk, a claim restored from it, and a Job for each directory of state.

    Args:
        name: of the workload's objects.
        claim: the claim of the VM's disk.
        disk_bytes: how large that disk is; the restored one cannot be smaller.

    Returns:
        Nothing where the workload keeps no state.
    """
    if not service.data:
        return []
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "vmkit"}
    restored: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Block",
        "resources": {"requests": {"storage": f"{max(1, math.ceil(disk_bytes / _GIB))}Gi"}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": f"{name}-{DISK}"},
    }
    if storage_class is not None:
        restored["storageClassName"] = storage_class
    found = [
        _object(
            "snapshot.storage.k8s.io/v1",
            "VolumeSnapshot",
            f"{name}-{DISK}",
            labels,
            {"source": {"persistentVolumeClaimName": claim}},
        ),
        _object("v1", "PersistentVolumeClaim", f"{name}-{DISK}", labels, restored),
    ]
    for index, one in enumerate(service.data):
        target = f"data-{index}-{name}-0" if service.kind is ServiceKind.SERVICE else f"{name}-data-{index}"
        found.append(_job(f"{name}-copy-{index}", labels, source=one.path, disk=f"{name}-{DISK}", claim=target))
    return found


def _job(name: str, labels: Mapping[str, str], *, source: str, disk: str, claim: str) -> Manifest:
    container = {
        "name": "copy",
        "image": _IMAGE,
        "command": ["/bin/sh", "-c", _SCRIPT],
        "env": [{"name": "SOURCE", "value": source}],
        # Mounting a file system needs it; the disk is a copy, and read-only.
        "securityContext": {"privileged": True},
        "volumeDevices": [{"name": "disk", "devicePath": "/dev/vm-disk"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "disk", "persistentVolumeClaim": {"claimName": disk}},
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
        ],
    }
    spec = {"backoffLimit": 2, "template": {"metadata": {"labels": dict(labels)}, "spec": pod}}
    return _object("batch/v1", "Job", name, labels, spec)


def _object(version: str, kind: str, name: str, labels: Mapping[str, str], spec: Manifest) -> Manifest:
    metadata = {"name": name, "labels": dict(labels)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
