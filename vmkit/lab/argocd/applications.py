"""The application controller: compares on every change, and heals by itself where an Application says so.

Source: Argo CD controller/appcontroller.go (self-heal after 5 s, then backing off by three up to 300 s),
docs/user-guide/{auto_sync,sync_windows}.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

import yaml

from vmkit.lab.argocd import NAMESPACE
from vmkit.lab.argocd.drift import find_drift, heal, judge_health, read_ignored, worst_health
from vmkit.lab.argocd.resources import APPLICATIONS, PROJECTS
from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.semantics.cron import CronError, parse_cron
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event

MANAGER = "argocd-controller"
TRACKING = "argocd.argoproj.io/tracking-id"
INSTANCE = "app.kubernetes.io/instance"
SKIP = "argocd.argoproj.io/skip-reconcile"
_HEAL_SECONDS = 5.0
_BACKOFF_FACTOR = 3
_FIRST_BACKOFF_SECONDS = 2.0
_MAX_BACKOFF_SECONDS = 300.0
_CALM_SECONDS = 600.0
"""After so long without a heal the next one is prompt again."""


class ApplicationController(Controller):
    """Keeps each Application's status, and what it manages as Git has it."""

    name: ClassVar[str] = "argocd-application-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._applications = context.registry.get(*APPLICATIONS)
        self._projects = context.registry.get(*PROJECTS)
        self._maps = context.registry.get("", "configmaps")
        self._healed: dict[ObjectKey, tuple[int, datetime]] = {}
        self._due: dict[ObjectKey, datetime] = {}

    def setup(self) -> None:
        self.watch(self._applications)
        self.watch(self._maps, self._map_keys)
        self.watch(self._projects, lambda event: [entry.key for entry in self.store.entries(self._applications)])
        vms = self.registry.find("kubevirt.io", "virtualmachines")
        if vms is not None:
            self.watch(vms, self._managed_keys)

    def _map_keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.key.namespace != NAMESPACE:
            return ()
        return [ObjectKey(NAMESPACE, event.key.name)]

    def _managed_keys(self, event: Event) -> Iterable[ObjectKey]:
        if TRACKING.encode() in event.object_bytes:
            tracking = ((event.object["metadata"].get("annotations")) or {}).get(TRACKING, "")
            return [_application_key(tracking.partition(":")[0])]
        name = event.labels.get(INSTANCE)
        return [ObjectKey(NAMESPACE, name)] if name else ()

    def reconcile(self, key: ObjectKey) -> None:
        application = self.store.find(self._applications, key.namespace, key.name)
        if application is None or application["metadata"].get("deletionTimestamp"):
            return
        if (application["metadata"].get("annotations") or {}).get(SKIP) == "true":
            return
        manifests, revision = self._read_manifests(application)
        drifted = self._compare(application, manifests)
        if drifted and self._wants_sync(key, application, revision):
            self._sync(key, application, manifests, revision)
            drifted = self._compare(application, manifests)
        elif not drifted:
            self._due.pop(key, None)
            if manifests and "operationState" not in (application.get("status") or {}):
                # It is as Git has it: whoever made it so has applied this revision.
                self._remember_sync(key, application, revision)
        self._report(key, application, manifests, revision, drifted)

    # --- what is wanted ---------------------------------------------------------------------------

    def _read_manifests(self, application: Object) -> tuple[list[Object], str]:
        source = application["spec"].get("source") or {}
        url = str(source.get("repoURL", ""))
        namespace, _, name = url.removeprefix("lab://").partition("/")
        found = self.store.find(self._maps, namespace, name) if url.startswith("lab://") else None
        if found is None:
            return [], ""
        data: Mapping[str, str] = found.get("data") or {}
        text = "".join(f"{key}\n{data[key]}\n" for key in sorted(data))
        manifests: list[Object] = []
        for key in sorted(data):
            try:
                documents = list(yaml.load_all(data[key], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
            except yaml.YAMLError:
                continue
            manifests += [
                each for each in documents if isinstance(each, dict) and (each.get("metadata") or {}).get("name")
            ]
        default = (application["spec"].get("destination") or {}).get("namespace", "")
        for manifest in manifests:
            manifest["metadata"].setdefault("namespace", default)
        return manifests, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def _find_live(self, manifest: Object) -> Object | None:
        rtype = self.registry.find_kind(manifest.get("apiVersion", ""), manifest.get("kind", ""))
        if rtype is None:
            return None
        namespace = manifest["metadata"]["namespace"] if rtype.namespaced else ""
        return self.store.find(rtype, namespace, manifest["metadata"]["name"])

    def _compare(self, application: Object, manifests: list[Object]) -> list[Object]:
        """The manifests whose live object differs."""
        differences = application["spec"].get("ignoreDifferences") or ()
        drifted = []
        for manifest in manifests:
            live = self._find_live(manifest)
            ignored = read_ignored(differences, live) if live is not None else []
            if find_drift(manifest, live, ignored):
                drifted.append(manifest)
        return drifted

    # --- whether and when to sync -----------------------------------------------------------------

    def _wants_sync(self, key: ObjectKey, application: Object, revision: str) -> bool:
        automated = (application["spec"].get("syncPolicy") or {}).get("automated")
        if automated is None or automated.get("enabled") is False or self._is_denied(application):
            return False
        status = application.get("status") or {}
        if (status.get("operationState") or {}).get("syncResult", {}).get("revision") != revision:
            return True  # a new commit is applied as a whole, whether or not drift is healed
        if not automated.get("selfHeal"):
            return False
        now = self.clock.now()
        due = self._due.get(key)
        if due is None:
            due = self._due[key] = now + timedelta(seconds=self._pause_seconds(key, now))
        if now < due:
            self.requeue_after(key, (due - now).total_seconds())
            return False
        return True

    def _pause_seconds(self, key: ObjectKey, now: datetime) -> float:
        count, last = self._healed.get(key, (0, now))
        if count == 0 or (now - last).total_seconds() > _CALM_SECONDS:
            self._healed[key] = (0, now)
            return _HEAL_SECONDS
        return max(
            _HEAL_SECONDS,
            min(_FIRST_BACKOFF_SECONDS * float(_BACKOFF_FACTOR) ** (count - 1), _MAX_BACKOFF_SECONDS),
        )

    def _is_denied(self, application: Object) -> bool:
        name = application["spec"].get("project", "default")
        project = self.store.find(self._projects, NAMESPACE, name)
        now = self.clock.now()
        return any(
            window.get("kind") == "deny" and _matches(window, application) and is_window_open(window, now)
            for window in ((project or {}).get("spec") or {}).get("syncWindows") or ()
        )

    def _sync(self, key: ObjectKey, application: Object, manifests: list[Object], revision: str) -> None:
        options = (application["spec"].get("syncPolicy") or {}).get("syncOptions") or ()
        differences = application["spec"].get("ignoreDifferences") or ()
        for manifest in manifests:
            rtype = self.registry.find_kind(manifest.get("apiVersion", ""), manifest.get("kind", ""))
            if rtype is None:
                continue
            live = self._find_live(manifest)
            tracked = self._track(key, manifest)
            try:
                if live is None:
                    self.store.create(rtype, tracked, manager=MANAGER)
                    continue
                kept = read_ignored(differences, live) if "RespectIgnoreDifferences=true" in options else []
                healed = heal(tracked, live, kept)
                if healed != live:
                    self.store.update(rtype, healed, manager=MANAGER)
            except ApiError as error:
                self.recorder.record(
                    application,
                    "OperationCompleted",
                    f"Sync operation to {revision} failed: {error.message}",
                    component=MANAGER,
                    type="Warning",
                )
        now = self.clock.now()
        count, _ = self._healed.get(key, (0, now))
        self._healed[key] = (count + 1, now)
        self._due.pop(key, None)
        self._remember_sync(key, application, revision)
        self.recorder.record(
            application, "OperationCompleted", f"Sync operation to {revision} succeeded", component=MANAGER
        )

    def _remember_sync(self, key: ObjectKey, application: Object, revision: str) -> None:
        """Notes in an Application's status that a revision has been applied."""
        at = format_time(self.clock.now())
        fresh = self.store.get(self._applications, key.namespace, key.name)
        fresh.setdefault("status", {})["operationState"] = {
            "finishedAt": at,
            "message": "successfully synced (all tasks run)",
            "operation": {"initiatedBy": {"automated": True}, "sync": {"revision": revision}},
            "phase": "Succeeded",
            "startedAt": at,
            "syncResult": {"revision": revision, "source": application["spec"].get("source") or {"repoURL": ""}},
        }
        application["status"] = self.store.update(self._applications, fresh, manager=MANAGER)["status"]

    def _track(self, key: ObjectKey, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        group = str(manifest.get("apiVersion", "")).rpartition("/")[0]
        tracking = f"{key.name}:{group}/{manifest.get('kind')}:{metadata['namespace']}/{metadata['name']}"
        annotations = {**(metadata.get("annotations") or {}), TRACKING: tracking}
        return {**manifest, "metadata": {**metadata, "annotations": annotations}}

    # --- what is said -----------------------------------------------------------------------------

    def _report(
        self, key: ObjectKey, application: Object, manifests: list[Object], revision: str, drifted: list[Object]
    ) -> None:
        resources, states = [], []
        for manifest in manifests:
            live = self._find_live(manifest)
            health, message = ("Missing", "") if live is None else judge_health(live)
            states.append(health)
            group, _, version = str(manifest.get("apiVersion", "")).rpartition("/")
            described: dict[str, Any] = {
                "group": group,
                "health": {"status": health, **({"message": message} if message else {})},
                "kind": manifest.get("kind"),
                "name": manifest["metadata"]["name"],
                "namespace": manifest["metadata"]["namespace"],
                "status": "OutOfSync" if manifest in drifted else "Synced",
                "version": version,
            }
            resources.append(described)
        old = application.get("status") or {}
        spec = application["spec"]
        status = {
            **old,
            "health": {"status": worst_health(states)},
            "resources": resources,
            "sync": {
                "comparedTo": {
                    "destination": spec.get("destination") or {},
                    "source": spec.get("source") or {"repoURL": ""},
                },
                "revision": revision,
                "status": "Unknown" if not revision else "OutOfSync" if drifted else "Synced",
            },
        }
        if {name: value for name, value in old.items() if name != "reconciledAt"} == status | {}:
            return
        status["reconciledAt"] = format_time(self.clock.now())
        if {**old, "reconciledAt": ""} == {**status, "reconciledAt": ""}:
            return
        fresh = self.store.find(self._applications, key.namespace, key.name)
        if fresh is not None:
            self.store.update(self._applications, {**fresh, "status": status}, manager=MANAGER)


def _application_key(name: str) -> ObjectKey:
    # An Application outside Argo CD's own namespace is written namespace_name.
    namespace, _, rest = name.partition("_")
    return ObjectKey(namespace, rest) if rest else ObjectKey(NAMESPACE, name)


def _matches(window: Mapping[str, Any], application: Object) -> bool:
    names, namespaces = window.get("applications") or (), window.get("namespaces") or ()
    target = (application["spec"].get("destination") or {}).get("namespace", "")
    return _any_glob(names, application["metadata"]["name"]) or _any_glob(namespaces, target)


def _any_glob(patterns: Iterable[str], value: str) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(value, pattern) for pattern in patterns)


def is_window_open(window: Mapping[str, Any], at: datetime) -> bool:
    """Whether a sync window's schedule (five fields, in its time zone, UTC by default) is open at an instant."""
    from zoneinfo import ZoneInfo

    from vmkit.errors import QuantityError
    from vmkit.units import parse_duration

    try:
        schedule = parse_cron(str(window.get("schedule", "")))
        length = parse_duration(str(window.get("duration", "")))
        offset = at.astimezone(ZoneInfo(window.get("timeZone") or "UTC")).utcoffset() or timedelta(0)
    except (CronError, QuantityError, KeyError, ValueError):
        return False
    local = at + offset
    opened = schedule.next_after(local - length)
    return opened is not None and opened <= local
