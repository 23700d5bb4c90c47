"""VolumeSnapshots: a content for each, ready a little later.

Source: kubernetes-csi/external-snapshotter pkg/common-controller (events, annotations, error texts).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.rook.csi import CLAIMS, SNAPSHOTS, VOLUMES
from vmkit.lab.store import Event
from vmkit.units import parse_bytes

CONTENTS = ("snapshot.storage.k8s.io", "volumesnapshotcontents")
SNAPSHOT_CLASSES = ("snapshot.storage.k8s.io", "volumesnapshotclasses")
DEFAULT_SNAPSHOT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
READY_SECONDS = 2.0
_COMPONENT = "snapshot-controller"
_RETRY_SECONDS = 10.0


class SnapshotController(Controller):
    """Cuts snapshots of bound claims and removes their contents with them."""

    name: ClassVar[str] = "snapshot-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._snapshots = context.registry.get(*SNAPSHOTS)
        self._contents = context.registry.get(*CONTENTS)
        self._classes = context.registry.get(*SNAPSHOT_CLASSES)
        self._claims = context.registry.get(*CLAIMS)
        self._volumes = context.registry.get(*VOLUMES)
        self._due: dict[str, datetime] = {}

    def setup(self) -> None:
        self.watch(self._snapshots, self._keys)

    def _keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.type == "DELETED":
            self._remove_content(event.object)
            return ()
        return (event.key,)

    def reconcile(self, key: ObjectKey) -> None:
        snapshot = self.store.find(self._snapshots, key.namespace, key.name)
        if snapshot is None or snapshot["metadata"].get("deletionTimestamp"):
            return
        status = snapshot.get("status") or {}
        if status.get("readyToUse"):
            return
        content = self._find_content(key, snapshot)
        if content is None:
            return
        if not status.get("boundVolumeSnapshotContentName"):
            status = {"boundVolumeSnapshotContentName": content["metadata"]["name"], "readyToUse": False}
            self._write_status(snapshot, status)
            snapshot = self.store.get(self._snapshots, key.namespace, key.name)
        now = self.clock.now()
        due = self._due.setdefault(snapshot["metadata"]["uid"], now + timedelta(seconds=READY_SECONDS))
        if now < due:
            self.requeue_after(key, (due - now).total_seconds())
            return
        del self._due[snapshot["metadata"]["uid"]]
        self._finish(snapshot, content)

    def _find_content(self, key: ObjectKey, snapshot: Object) -> Object | None:
        source = snapshot["spec"].get("source") or {}
        if source.get("volumeSnapshotContentName"):
            return self.store.find(self._contents, "", source["volumeSnapshotContentName"])
        name = f"snapcontent-{snapshot['metadata']['uid']}"
        known = self.store.find(self._contents, "", name)
        if known is not None:
            return known
        wanted = source.get("persistentVolumeClaimName", "")
        claim = self.store.find(self._claims, key.namespace, wanted)
        why = ""
        if claim is None:
            missing = f'"persistentvolumeclaim \\"{wanted}\\" not found"'
            why = f"failed to retrieve PVC {wanted} from the lister: {missing}"
        elif (claim.get("status") or {}).get("phase") != "Bound":
            why = f"the PVC {wanted} is not yet bound to a PV, will not attempt to take a snapshot"
        if claim is None or why:
            self._fail(
                key,
                snapshot,
                "SnapshotContentCreationFailed",
                f"Failed to create snapshot content with error {why}",
            )
            return None
        volume = self.store.find(self._volumes, "", claim["spec"]["volumeName"]) or {"spec": {}}
        driver = (volume["spec"].get("csi") or {}).get("driver", "")
        snapshot_class = self._choose_class(snapshot, driver)
        if snapshot_class is None:
            self._fail(
                key,
                snapshot,
                "GetSnapshotClassFailed",
                "Failed to get snapshot class with error cannot find default snapshot class",
            )
            return None
        if not snapshot["spec"].get("volumeSnapshotClassName"):
            snapshot["spec"]["volumeSnapshotClassName"] = snapshot_class["metadata"]["name"]
            self.store.update(self._snapshots, snapshot, manager=_COMPONENT)
        self.recorder.record(
            snapshot,
            "CreatingSnapshot",
            f"Waiting for a snapshot {key.namespace}/{key.name} to be created by the CSI driver.",
            component=_COMPONENT,
        )
        return self.store.create(
            self._contents,
            self._build_content(name, snapshot, snapshot_class, volume, claim),
            manager=_COMPONENT,
            with_status=True,
        )

    def _choose_class(self, snapshot: Object, driver: str) -> Object | None:
        wanted = snapshot["spec"].get("volumeSnapshotClassName")
        if wanted:
            return self.store.find(self._classes, "", wanted)
        fitting = [item for item in self.store.list(self._classes) if item.get("driver") == driver]
        marked = [
            item
            for item in fitting
            if (item["metadata"].get("annotations") or {}).get(DEFAULT_SNAPSHOT_CLASS) == "true"
        ]
        return next(iter(marked or (fitting if len(fitting) == 1 else [])), None)

    def _build_content(
        self, name: str, snapshot: Object, snapshot_class: Object, volume: Object, claim: Object
    ) -> Object:
        metadata = snapshot["metadata"]
        return {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": name,
                "finalizers": ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
            },
            "spec": {
                "deletionPolicy": snapshot_class.get("deletionPolicy", "Delete"),
                "driver": snapshot_class["driver"],
                "source": {"volumeHandle": (volume["spec"].get("csi") or {}).get("volumeHandle", "")},
                "sourceVolumeMode": claim["spec"].get("volumeMode", "Filesystem"),
                "volumeSnapshotClassName": snapshot_class["metadata"]["name"],
                "volumeSnapshotRef": {
                    "apiVersion": "snapshot.storage.k8s.io/v1",
                    "kind": "VolumeSnapshot",
                    "name": metadata["name"],
                    "namespace": metadata["namespace"],
                    "uid": metadata["uid"],
                },
            },
        }

    def _finish(self, snapshot: Object, content: Object) -> None:
        now = self.clock.now()
        source = snapshot["spec"].get("source") or {}
        claim = self.store.find(
            self._claims, snapshot["metadata"]["namespace"], source.get("persistentVolumeClaimName", "")
        )
        size = ((claim or {}).get("status") or {}).get("capacity", {}).get("storage", "0")
        status = {
            "boundVolumeSnapshotContentName": content["metadata"]["name"],
            "creationTime": format_time(now),
            "readyToUse": True,
            "restoreSize": size,
        }
        content["status"] = {
            "creationTime": int(now.timestamp() * 1_000_000_000),
            "readyToUse": True,
            "restoreSize": parse_bytes(size),
            "snapshotHandle": f"0001-0009-rook-ceph-0000000000000002-{snapshot['metadata']['uid']}",
        }
        self.store.update(self._contents, content, subresource="status", manager="csi-snapshotter")
        self._write_status(snapshot, status)
        where = f"{snapshot['metadata']['namespace']}/{snapshot['metadata']['name']}"
        self.recorder.record(
            snapshot,
            "SnapshotCreated",
            f"Snapshot {where} was successfully created by the CSI driver.",
            component=_COMPONENT,
        )
        self.recorder.record(snapshot, "SnapshotReady", f"Snapshot {where} is ready to use.", component=_COMPONENT)

    def _fail(self, key: ObjectKey, snapshot: Object, reason: str, message: str) -> None:
        error = {"message": message, "time": format_time(self.clock.now())}
        known = (snapshot.get("status") or {}).get("error") or {}
        if known.get("message") != message:
            self._write_status(snapshot, {"readyToUse": False, "error": error})
        self.recorder.record(snapshot, reason, message, component=_COMPONENT, type="Warning")
        self.requeue_after(key, _RETRY_SECONDS)

    def _write_status(self, snapshot: Object, status: Object) -> None:
        fresh = self.store.get(self._snapshots, snapshot["metadata"]["namespace"], snapshot["metadata"]["name"])
        self.store.update(self._snapshots, {**fresh, "status": status}, subresource="status", manager=_COMPONENT)

    def _remove_content(self, snapshot: Object) -> None:
        name = (snapshot.get("status") or {}).get("boundVolumeSnapshotContentName", "")
        content = self.store.find(self._contents, "", name)
        if content is None or content["spec"].get("deletionPolicy") != "Delete":
            return
        content["metadata"].pop("finalizers", None)
        self.store.update(self._contents, content, manager=_COMPONENT)
        self.store.delete(self._contents, "", name)
