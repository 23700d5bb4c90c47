"""The controllers that keep StorageProfiles and DataSources up to date."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vmkit.lab.cdi.making import MANAGER
from vmkit.lab.cdi.profiles import build_profile_status, is_recognized
from vmkit.lab.cdi.resources import GROUP
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.rook.csi import CLAIMS, CLASSES, SNAPSHOTS
from vmkit.lab.rook.snapshots import SNAPSHOT_CLASSES
from vmkit.lab.store import Event


class StorageProfileController(Controller):
    """One StorageProfile for each StorageClass, of its name, gone when the class is."""

    name: ClassVar[str] = "storageprofile-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._profiles = context.registry.get(GROUP, "storageprofiles")
        self._classes = context.registry.get(*CLASSES)
        self._snapshot_classes = context.registry.get(*SNAPSHOT_CLASSES)

    def setup(self) -> None:
        self.watch(self._classes)
        self.watch(self._profiles)
        self.watch(
            self._snapshot_classes,
            lambda event: [entry.key for entry in self.store.entries(self._classes)],
        )

    def reconcile(self, key: ObjectKey) -> None:
        storage_class = self.store.find(self._classes, "", key.name)
        profile = self.store.find(self._profiles, "", key.name)
        if storage_class is None:
            if profile is not None:
                self.store.delete(self._profiles, "", key.name)
            return
        old = (profile or {}).get("status") or {}
        status = build_profile_status(
            storage_class, (profile or {}).get("spec") or {}, self.store.list(self._snapshot_classes)
        )
        recognized = is_recognized(storage_class)
        status["conditions"] = [_recognition(old, recognized, format_time(self.clock.now()))]
        if profile is None:
            profile = {
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "StorageProfile",
                "metadata": {
                    "name": key.name,
                    "labels": {
                        "app": "containerized-data-importer",
                        "app.kubernetes.io/component": "storage",
                        "app.kubernetes.io/managed-by": "cdi-controller",
                        "cdi.kubevirt.io": "",
                    },
                },
                "spec": {},
                "status": status,
            }
            self.store.create(self._profiles, profile, manager=MANAGER)
        elif status != old:
            self.store.update(self._profiles, {**profile, "status": status}, manager=MANAGER)


def _recognition(old: Object, recognized: bool, at: str) -> Object:
    status = "True" if recognized else "False"
    known = next((each for each in old.get("conditions") or () if each["type"] == "Recognized"), None)
    if known is not None and known["status"] == status:
        return dict(known)
    reason = "RecognizedProvisioner" if recognized else "UnrecognizedProvisioner"
    message = "Provisioner is recognized" if recognized else "Provisioner is not recognized"
    return {
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "message": message,
        "reason": reason,
        "status": status,
        "type": "Recognized",
    }


class DataSourceController(Controller):
    """Says of each DataSource whether its source is there and complete (condition Ready).

    Source: CDI pkg/controller/datasource-controller.go.
    """

    name: ClassVar[str] = "datasource-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sources = context.registry.get(GROUP, "datasources")
        self._volumes = context.registry.get(GROUP, "datavolumes")
        self._claims = context.registry.get(*CLAIMS)
        self._snapshots = context.registry.get(*SNAPSHOTS)
        self._users: dict[tuple[str, ObjectKey], set[ObjectKey]] = {}

    def setup(self) -> None:
        self.watch(self._sources, self._source_keys)
        for kind, rtype in (("pvc", self._claims), ("pvc", self._volumes), ("snapshot", self._snapshots)):
            self.watch(rtype, lambda event, kind=kind: self._users.get((kind, event.key), ()))  # type: ignore[misc]

    def _source_keys(self, event: Event) -> Iterable[ObjectKey]:
        return (event.key, *self._users.get(("dataSource", event.key), ()))

    def reconcile(self, key: ObjectKey) -> None:
        found = self.store.find(self._sources, key.namespace, key.name)
        for users in self._users.values():
            users.discard(key)
        if found is None:
            return
        source = (found.get("spec") or {}).get("source") or {}
        ready, reason, message = self._judge(key, source)
        old = found.get("status") or {}
        condition = _ready(old, ready, reason, message, format_time(self.clock.now()))
        status: Object = {"conditions": [condition]}
        if resolved := self._resolve(source):
            status["source"] = resolved
        if status != old:
            self.store.update(self._sources, {**found, "status": status}, subresource="status", manager=MANAGER)

    def _resolve(self, source: Object) -> Object:
        if "dataSource" not in source:
            return source
        other = self.store.find(self._sources, source["dataSource"]["namespace"], source["dataSource"]["name"])
        return ((other or {}).get("spec") or {}).get("source") or {}

    def _judge(self, key: ObjectKey, source: Object) -> tuple[str, str, str]:
        kind = next((each for each in ("pvc", "snapshot", "dataSource") if source.get(each)), "")
        if not kind:
            return "False", "NoSource", "No source specified"
        where = ObjectKey(source[kind].get("namespace") or key.namespace, source[kind]["name"])
        self._users.setdefault((kind, where), set()).add(key)
        if kind == "pvc":
            return self._judge_claim(where)
        if kind == "snapshot":
            snapshot = self.store.find(self._snapshots, *where)
            if snapshot is None:
                return "False", "NotFound", "Snapshot not found"
            if (snapshot.get("status") or {}).get("readyToUse"):
                return "True", "Ready", "DataSource is ready to be consumed"
            return "False", "SnapshotNotReady", "Snapshot phase is not ready"
        other = self.store.find(self._sources, *where)
        conditions = ((other or {}).get("status") or {}).get("conditions") or []
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return (
            ("True", "Ready", "DataSource is ready to be consumed")
            if ready
            else ("False", "NotFound", "DataSource not found")
        )

    def _judge_claim(self, where: ObjectKey) -> tuple[str, str, str]:
        volume = self.store.find(self._volumes, *where)
        if volume is not None:
            phase = (volume.get("status") or {}).get("phase", "")
            if phase == "Succeeded":
                return "True", "Ready", "DataSource is ready to be consumed"
            return "False", phase or "Pending", f"Import DataVolume phase {phase or 'Pending'}"
        claim = self.store.find(self._claims, *where)
        if claim is None:
            return "False", "NotFound", "PVC not found"
        bound = (claim.get("status") or {}).get("phase") == "Bound"
        return (
            ("True", "Ready", "DataSource is ready to be consumed")
            if bound
            else ("False", "Pending", "PVC is not bound")
        )


def _ready(old: Object, status: str, reason: str, message: str, at: str) -> Object:
    known = next((each for each in old.get("conditions") or () if each["type"] == "Ready"), None)
    built = {"message": message, "reason": reason, "status": status, "type": "Ready"}
    if known is None or known["status"] != status:
        return {**built, "lastHeartbeatTime": at, "lastTransitionTime": at}
    if (known.get("reason"), known.get("message")) != (reason, message):
        return {**built, "lastHeartbeatTime": at, "lastTransitionTime": known["lastTransitionTime"]}
    return dict(known)
