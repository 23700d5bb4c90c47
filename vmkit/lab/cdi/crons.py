"""DataImportCrons: golden images imported on a schedule, kept as snapshots where the storage clones those better.

Source: CDI pkg/controller/dataimportcron-controller.go. A registry is polled at each scheduled time; the
practice cluster's registry has a new image every week, the first poll always finds one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from vmkit.lab.cdi.making import MANAGER
from vmkit.lab.cdi.resources import GROUP
from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.rook.classes import find_default_class
from vmkit.lab.rook.csi import CLAIMS, CLASSES, SNAPSHOTS
from vmkit.lab.semantics.cron import CronError, parse_cron
from vmkit.lab.store import Event

CRON_LABEL = "cdi.kubevirt.io/dataImportCron"
DIGEST = "cdi.kubevirt.io/storage.import.sourceDesiredDigest"
LAST_USE = "cdi.kubevirt.io/storage.import.lastUseTime"
IMAGE_AGE = timedelta(days=7)
_KEEP = 3
_INSTANCETYPE_LABELS = "instancetype.kubevirt.io/"


class ImportCronController(Controller):
    """Imports what a registry has, points the managed DataSource at it, and lets go of old imports."""

    name: ClassVar[str] = "dataimportcron-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        registry = context.registry
        self._crons = registry.get(GROUP, "dataimportcrons")
        self._volumes = registry.get(GROUP, "datavolumes")
        self._sources = registry.get(GROUP, "datasources")
        self._profiles = registry.get(GROUP, "storageprofiles")
        self._claims = registry.get(*CLAIMS)
        self._classes = registry.get(*CLASSES)
        self._snapshots = registry.get(*SNAPSHOTS)

    def setup(self) -> None:
        self.watch(self._crons)
        self.watch(self._volumes, _cron_keys)
        self.watch(self._snapshots, _cron_keys)

    def reconcile(self, key: ObjectKey) -> None:
        cron = self.store.find(self._crons, key.namespace, key.name)
        if cron is None:
            self._forget(key)
            return
        if cron["metadata"].get("deletionTimestamp"):
            return
        status: Object = dict(cron.get("status") or {})
        now = self.clock.now()
        self._poll(cron, status, now)
        self._ensure_source(key, cron)
        current = (status.get("currentImports") or [{}])[0]
        name = current.get("DataVolumeName", "")
        ready = self._advance(key, cron, status, name) if name else False
        status["sourceFormat"] = self._format(cron)
        up_to_date = (
            ("True", "UpToDate", "Latest import is up to date")
            if ready
            else (
                "False",
                "ImportNotScheduled" if not name else "ImportProgressing",
                "Import is progressing" if name else "No source digest",
            )
        )
        progressing = (
            ("False", "NoImport", "No current import")
            if ready or not name
            else ("True", "ImportProgressing", "Import is progressing")
        )
        status["conditions"] = [
            _condition(status, "Progressing", progressing, format_time(now)),
            _condition(status, "UpToDate", up_to_date, format_time(now)),
        ]
        if status != (cron.get("status") or {}):
            self.store.update(self._crons, {**cron, "status": status}, subresource="status", manager=MANAGER)

    # --- looking for a new image ------------------------------------------------------------------

    def _poll(self, cron: Object, status: Object, now: datetime) -> None:
        """Imports what the registry has if its time has come, and sets the timer for the next time."""
        key = ObjectKey(cron["metadata"]["namespace"], cron["metadata"]["name"])
        try:
            schedule = parse_cron(str(cron["spec"].get("schedule", "")))
        except CronError:
            return
        last = status.get("lastExecutionTimestamp")
        due = None if last is None else schedule.next_after(parse_time(last))
        if last is None or (due is not None and due <= now):
            status["lastExecutionTimestamp"] = format_time(now)
            digest = image_digest(_url(cron), now)
            name = f"{cron['spec']['managedDataSource']}-{digest[7:19]}"
            current = (status.get("currentImports") or [{}])[0]
            if current.get("Digest") != digest:
                status["currentImports"] = [{"DataVolumeName": name, "Digest": digest}]
            due = schedule.next_after(now)
        if due is not None:
            self.requeue_after(key, (due - now).total_seconds() + 0.001)

    def _advance(self, key: ObjectKey, cron: Object, status: Object, name: str) -> bool:
        """Brings the present import on its way; returns whether its content is there."""
        volume = self.store.find(self._volumes, key.namespace, name)
        as_snapshot = self._format(cron) == "snapshot"
        snapshot = self.store.find(self._snapshots, key.namespace, name) if as_snapshot else None
        if snapshot is not None and (snapshot.get("status") or {}).get("readyToUse"):
            if volume is not None:
                self.store.delete(self._volumes, key.namespace, name)
            self._finish(key, cron, status, {"snapshot": {"namespace": key.namespace, "name": name}}, name)
            return True
        if volume is None and snapshot is None:
            self.store.create(self._volumes, self._build_volume(cron, name), manager=MANAGER)
            return False
        done = volume is not None and (volume.get("status") or {}).get("phase") == "Succeeded"
        if not done:
            return False
        if as_snapshot:
            if snapshot is None:
                self.store.create(self._snapshots, self._build_snapshot(cron, name), manager=MANAGER)
            return False
        self._finish(key, cron, status, {"pvc": {"namespace": key.namespace, "name": name}}, name)
        return True

    def _finish(self, key: ObjectKey, cron: Object, status: Object, source: Object, name: str) -> None:
        if (status.get("lastImportedPVC") or {}).get("name") == name:
            return
        status["lastImportedPVC"] = {"namespace": key.namespace, "name": name}
        status["lastImportTimestamp"] = format_time(self.clock.now())
        data_source = self.store.find(self._sources, key.namespace, cron["spec"]["managedDataSource"])
        if data_source is not None:
            data_source["spec"] = {"source": source}
            self.store.update(self._sources, data_source, manager=MANAGER)
        self._collect(key, cron, keep=name)

    def _collect(self, key: ObjectKey, cron: Object, *, keep: str) -> None:
        """Deletes imports beyond ``importsToKeep``, the oldest first."""
        if cron["spec"].get("garbageCollect", "Outdated") != "Outdated":
            return
        wanted = int(cron["spec"].get("importsToKeep", _KEEP))
        rtype = self._snapshots if self._format(cron) == "snapshot" else self._volumes
        imports = list(self.store.list(rtype, key.namespace, labels={CRON_LABEL: key.name}))
        imports.sort(key=lambda each: (each["metadata"]["name"] == keep, each["metadata"]["creationTimestamp"]))
        for each in imports[: max(0, len(imports) - wanted)]:
            self.store.delete(rtype, key.namespace, each["metadata"]["name"])

    def _forget(self, key: ObjectKey) -> None:
        """What a deleted cron leaves: nothing, or everything under retention policy None (its imports are its
        own then)."""
        for rtype in (self._volumes, self._snapshots, self._sources):
            for each in self.store.list(rtype, key.namespace, labels={CRON_LABEL: key.name}):
                if (each["metadata"].get("annotations") or {}).get("lab.vmkit.io/retention") != "All":
                    self.store.delete(rtype, key.namespace, each["metadata"]["name"])

    # --- objects ----------------------------------------------------------------------------------

    def _format(self, cron: Object) -> str:
        spec = cron["spec"]["template"]["spec"]
        name = (spec.get("storage") or spec.get("pvc") or {}).get("storageClassName")
        if not name:
            default = find_default_class(self.store.list(self._classes))
            name = default["metadata"]["name"] if default is not None else ""
        profile = self.store.find(self._profiles, "", name) or {}
        return str((profile.get("status") or {}).get("dataImportCronSourceFormat") or "pvc")

    def _ensure_source(self, key: ObjectKey, cron: Object) -> None:
        name = cron["spec"]["managedDataSource"]
        if self.store.exists(self._sources, key.namespace, name):
            return
        self.store.create(
            self._sources,
            {
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": name, "namespace": key.namespace, **_marks(cron)},
                "spec": {"source": {}},
            },
            manager=MANAGER,
        )

    def _build_volume(self, cron: Object, name: str) -> Object:
        return {
            "apiVersion": f"{GROUP}/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": name, "namespace": cron["metadata"]["namespace"], **_marks(cron)},
            "spec": cron["spec"]["template"]["spec"],
        }

    def _build_snapshot(self, cron: Object, name: str) -> Object:
        return {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": cron["metadata"]["namespace"], **_marks(cron)},
            "spec": {"source": {"persistentVolumeClaimName": name}},
        }


def image_digest(url: str, at: datetime) -> str:
    """The digest a registry shows for an image: a new one each week."""
    week = int(at.timestamp() // IMAGE_AGE.total_seconds())
    return "sha256:" + hashlib.sha256(f"{url}@{week}".encode()).hexdigest()


def _url(cron: Object) -> str:
    registry = cron["spec"]["template"]["spec"].get("source", {}).get("registry", {})
    return str(registry.get("url") or registry.get("imageStream") or "")


def _marks(cron: Object) -> Object:
    labels = {
        key: value
        for key, value in (cron["metadata"].get("labels") or {}).items()
        if key.startswith(_INSTANCETYPE_LABELS)
    }
    marks: Object = {
        "labels": {**labels, CRON_LABEL: cron["metadata"]["name"], "app": "containerized-data-importer"}
    }
    if cron["spec"].get("retentionPolicy", "All") == "All":
        marks["annotations"] = {"lab.vmkit.io/retention": "All"}
    return marks


def _cron_keys(event: Event) -> Iterable[ObjectKey]:
    name = event.labels.get(CRON_LABEL)
    return (ObjectKey(event.key.namespace, name),) if name else ()


def _condition(old: Object, type_: str, values: tuple[str, str, str], at: str) -> Object:
    status, reason, message = values
    known = next((each for each in old.get("conditions") or () if each["type"] == type_), None)
    same = known is not None and (known["status"], known.get("reason"), known.get("message")) == values
    if known is not None and same:
        return dict(known)
    changed = known is None or known["status"] != status
    return {
        "lastHeartbeatTime": at,
        "lastTransitionTime": at if changed or known is None else known["lastTransitionTime"],
        "message": message,
        "reason": reason,
        "status": status,
        "type": type_,
    }
