"""The DataVolume controller: makes the claim, lets the content arrive on the lab's clock, and reports.

Source: CDI pkg/controller/datavolume. As CDI does where a CSI driver provides the class, the claim names a
populator's source and stays Pending until its content is complete; where none does (local-path), it is bound first
and filled then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vmkit.lab.cdi.claims import ClaimNotValidError, build_claim_spec
from vmkit.lab.cdi.cloning import CloneChoice
from vmkit.lab.cdi.making import (
    CLONE_PHASE,
    CLONE_TYPE,
    FALLBACK,
    IMMEDIATE,
    MANAGER,
    POPULATED_FOR,
    POPULATOR,
    STARTED,
    UPLOADED,
    Source,
    StorageReader,
    build_annotations,
    build_claim,
    populator_reference,
    source_bytes,
)
from vmkit.lab.cdi.phases import (
    CLONE_PHASES,
    ClaimView,
    CloneNames,
    Verdict,
    build_status,
    clone_stages,
    judge_clone,
    judge_copy,
    judge_import,
    judge_upload,
)
from vmkit.lab.cdi.resources import GROUP
from vmkit.lab.cdi.transfers import POD_START_SECONDS, plan_copy, plan_import, view_transfer
from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.rook.csi import CLAIMS, CLASSES, PODS, SELECTED_NODE, SNAPSHOTS, claim_names, find_users, provision
from vmkit.lab.status import ApiError
from vmkit.lab.store import Event
from vmkit.units import parse_bytes

_DATA_VOLUMES = (GROUP, "datavolumes")
_ANYWHERE = ObjectKey("", "")


class DataVolumeController(Controller):
    """Brings DataVolumes to Succeeded, or says what keeps them."""

    name: ClassVar[str] = "datavolume-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        registry = context.registry
        self._volumes = registry.get(*_DATA_VOLUMES)
        self._sources = registry.get(GROUP, "datasources")
        self._profiles = registry.get(GROUP, "storageprofiles")
        self._claims = registry.get(*CLAIMS)
        self._classes = registry.get(*CLASSES)
        self._snapshots = registry.get(*SNAPSHOTS)
        self._pods = registry.get(*PODS)
        self._storage = StorageReader(context)
        self._unfinished: set[ObjectKey] = set()
        self._reporting: ObjectKey | None = None
        self._waiting: dict[tuple[str, ObjectKey], set[ObjectKey]] = {}

    def setup(self) -> None:
        self.watch(self._volumes, self._volume_keys)
        self.watch(self._claims, self._claim_keys)
        self.watch(self._snapshots, lambda event: self._woken("snapshot", event.key))
        self.watch(self._sources, lambda event: self._woken("source", event.key))
        self.watch(self._profiles, lambda event: self._woken("profile", _ANYWHERE))
        self.watch(self._pods, self._pod_keys)

    def _volume_keys(self, event: Event) -> Iterable[ObjectKey]:
        # The end of one import may be what a clone of it waits for.
        done = b'"phase":"Succeeded"' in event.object_bytes
        # What was just reported needs no second look.
        own = () if event.key == self._reporting else (event.key,)
        return (*own, *(self._woken("pvc", event.key) if done else ()))

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        own = (event.key,) if event.type == "DELETED" or event.key in self._unfinished else ()
        return (*own, *self._woken("pvc", event.key))

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        if not self._unfinished or b"persistentVolumeClaim" not in event.object_bytes:
            return
        for name in claim_names(event.object):
            key = ObjectKey(event.key.namespace, name)
            if key in self._unfinished:
                yield key
            yield from self._woken("pvc", key)

    def _wait_for(self, kind: str, what: ObjectKey, key: ObjectKey) -> None:
        self._waiting.setdefault((kind, what), set()).add(key)

    def _woken(self, kind: str, what: ObjectKey) -> Iterable[ObjectKey]:
        return self._waiting.pop((kind, what), ())

    def reconcile(self, key: ObjectKey) -> None:
        volume = self.store.find(self._volumes, key.namespace, key.name)
        if volume is None or volume["metadata"].get("deletionTimestamp"):
            self._unfinished.discard(key)
            return
        if (volume.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self._unfinished.discard(key)
            if volume["status"]["phase"] == "Failed" or self._is_claim_healthy(key):
                return
        self._unfinished.add(key)
        claim = self.store.find(self._claims, key.namespace, key.name)
        source = self._resolve_source(key, volume)
        if source is None:
            self._report(volume, claim, Verdict("Pending"))
            return
        if claim is None:
            claim = self._create_claim(key, volume, source)
            if claim is None:
                return
        if not self._is_ours(volume, claim):
            return
        verdict = self._judge(key, volume, claim, source)
        if verdict.finished:
            self._unfinished.discard(key)
            claim = self._complete(volume, claim, source)
        self._report(volume, claim, verdict)
        if verdict.next_seconds is not None:
            self.requeue_after(key, max(verdict.next_seconds, 0.001))

    def _is_claim_healthy(self, key: ObjectKey) -> bool:
        return self.store.exists(self._claims, key.namespace, key.name)

    # --- where the content comes from -------------------------------------------------------------

    def _resolve_source(self, key: ObjectKey, volume: Object) -> Source | None:
        spec = volume["spec"]
        source = spec.get("source")
        if spec.get("sourceRef"):
            reference = spec["sourceRef"]
            namespace = reference.get("namespace") or key.namespace
            source = self._follow(key, namespace, reference.get("name", ""))
            if source is None:
                return None
        if not source:
            target = spec.get("pvc") or spec.get("storage") or {}
            return Source("external") if target.get("dataSource") or target.get("dataSourceRef") else None
        for kind, rtype in (("pvc", self._claims), ("snapshot", self._snapshots)):
            if kind in source:
                namespace = source[kind].get("namespace") or key.namespace
                name = source[kind].get("name", "")
                return Source(kind, namespace, name, self.store.find(rtype, namespace, name))
        return Source(next((kind for kind in ("blank", "upload") if kind in source), "import"))

    def _follow(self, key: ObjectKey, namespace: str, name: str) -> Object | None:
        """The source a DataSource stands for; one DataSource may name another, once (CDI's depth limit)."""
        for _ in range(2):
            found = self.store.find(self._sources, namespace, name)
            source = ((found or {}).get("spec") or {}).get("source") or {}
            if "dataSource" not in source:
                if not source:
                    self._wait_for("source", ObjectKey(namespace, name), key)
                return source or None
            namespace, name = source["dataSource"]["namespace"], source["dataSource"]["name"]
        return None

    # --- the claim --------------------------------------------------------------------------------

    def _create_claim(self, key: ObjectKey, volume: Object, source: Source) -> Object | None:
        spec = volume["spec"]
        if source.is_clone and source.found is None:
            message = f"The source {source.kind} {source.name} doesn't exist"
            self.recorder.record(
                volume, "CloneWithoutSource", message, component=self._component(source), type="Warning"
            )
            self._report(volume, None, Verdict("Pending", note=("CloneWithoutSource", message)))
            self._wait_for(source.kind, ObjectKey(source.namespace, source.name), key)
            return None
        storage_class = self._storage.find_class(spec)
        try:
            if isinstance(storage_class, str):
                raise ClaimNotValidError(f'storageclass.storage.k8s.io "{storage_class}" not found')
            profile = self._storage.find_profile(storage_class)
            claim_spec = build_claim_spec(
                spec, storage_class=storage_class, profile_status=profile, source_bytes=source_bytes(source)
            )
        except ClaimNotValidError as error:
            self.recorder.record(
                volume, "ErrClaimNotValid", str(error), component=self._component(source), type="Warning"
            )
            self._report(volume, None, Verdict("", note=("ErrClaimNotValid", str(error))))
            self._wait_for("profile", _ANYWHERE, key)
            return None
        populates = (
            storage_class is not None and source.kind != "external" and self._storage.has_driver(storage_class)
        )
        annotations = build_annotations(volume, source)
        if populates:
            claim_spec["dataSourceRef"] = populator_reference(source, volume["metadata"]["uid"])
        if source.is_clone:
            assert storage_class is not None
            self._mark_choice(volume, annotations, self._storage.choose_clone(source, claim_spec, storage_class))
        self._mark_volume(volume, populates, annotations)
        self._report(volume, None, Verdict("Pending"))
        return self.store.create(self._claims, build_claim(volume, claim_spec, annotations), manager=MANAGER)

    def _mark_volume(self, volume: Object, populates: bool, annotations: dict[str, str]) -> None:
        marks = volume["metadata"].setdefault("annotations", {})
        marks[POPULATOR] = str(populates).lower()
        annotations[POPULATOR] = marks[POPULATOR]
        stored = self.store.update(self._volumes, volume, manager=MANAGER)
        volume["metadata"] = stored["metadata"]

    def _mark_choice(self, volume: Object, annotations: dict[str, str], choice: CloneChoice) -> None:
        for marks in (volume["metadata"].setdefault("annotations", {}), annotations):
            marks[CLONE_TYPE] = choice.strategy
            if choice.fallback:
                marks[FALLBACK] = choice.fallback
        if choice.fallback:
            self.recorder.record(
                volume, choice.reason, choice.fallback, component="clone-populator", type="Warning"
            )

    def _is_ours(self, volume: Object, claim: Object) -> bool:
        uid = volume["metadata"]["uid"]
        annotations = claim["metadata"].get("annotations") or {}
        if any(owner.get("uid") == uid for owner in claim["metadata"].get("ownerReferences") or ()):
            return True
        adopted = annotations.get(POPULATED_FOR) == volume["metadata"]["name"] or "true" in (
            annotations.get("cdi.kubevirt.io/allowClaimAdoption"),
            (volume["metadata"].get("annotations") or {}).get("cdi.kubevirt.io/allowClaimAdoption"),
        )
        if adopted and (claim.get("status") or {}).get("phase") == "Bound":
            claim["metadata"].setdefault("annotations", {})[POPULATED_FOR] = volume["metadata"]["name"]
            owner = build_claim(volume, {}, {})["metadata"]["ownerReferences"]
            claim["metadata"]["ownerReferences"] = [*(claim["metadata"].get("ownerReferences") or ()), *owner]
            stored = self.store.update(self._claims, claim, manager=MANAGER)
            claim["metadata"] = stored["metadata"]
            return True
        message = f'Resource "{claim["metadata"]["name"]}" already exists and is not managed by DataVolume'
        self.recorder.record(
            volume, "ErrResourceExists", message, component="datavolume-import-controller", type="Warning"
        )
        return False

    # --- how far it is ----------------------------------------------------------------------------

    def _judge(self, key: ObjectKey, volume: Object, claim: Object, source: Source) -> Verdict:
        annotations = claim["metadata"].get("annotations") or {}
        bound = (claim.get("status") or {}).get("phase") == "Bound"
        if annotations.get(POPULATED_FOR) == key.name and bound:
            return Verdict("Succeeded", "100.0%", running=("False", "Completed", ""), finished=True)
        if source.kind == "external":
            done = Verdict(
                "Succeeded", "100.0%", running=("False", "Completed", "Population Complete"), finished=True
            )
            return done if bound else Verdict("PendingPopulation")
        populates = annotations.get(POPULATOR) == "true"
        if not bound and self._waits_for_consumer(claim):
            return Verdict("PendingPopulation" if populates else "WaitForFirstConsumer")
        if not bound and not populates:
            # The claim has its consumer and will be bound in a moment.
            return Verdict("WaitForFirstConsumer" if self._binds_late(claim) else "Pending")
        if source.is_clone:
            blocked = None if STARTED in annotations else self._find_clone_obstacle(volume, source)
            if blocked is not None:
                self._wait_for(source.kind, ObjectKey(source.namespace, source.name), key)
                return blocked
        elapsed = self._elapsed_seconds(claim)
        if source.kind == "upload":
            uploaded = annotations.get(UPLOADED) == "Succeeded"
            left = POD_START_SECONDS - elapsed
            return judge_upload(left <= 0, uploaded, key.name, next_seconds=left)
        size = parse_bytes(claim["spec"]["resources"]["requests"]["storage"])
        if not source.is_clone:
            plan = plan_import(volume["spec"], annotations, size)
            return judge_import(view_transfer(plan, elapsed), key.name)
        return self._judge_clone(key, claim, source, size=size, elapsed=elapsed)

    def _judge_clone(self, key: ObjectKey, claim: Object, source: Source, *, size: int, elapsed: float) -> Verdict:
        annotations = claim["metadata"].get("annotations") or {}
        names = CloneNames(source.kind, source.namespace, source.name, key.namespace, key.name)
        strategy = annotations.get(CLONE_TYPE, "copy")
        if strategy == "copy":
            verdict = judge_copy(view_transfer(plan_copy(annotations, size), elapsed), names)
        else:
            expands = source.found is not None and size > (source_bytes(source) or size)
            stages = clone_stages(
                "csi-clone" if strategy == "csi-clone" else "snapshot", source.kind, expands=expands
            )
            verdict = judge_clone(stages, elapsed, names)
        wanted = CLONE_PHASES.get(verdict.phase, "")
        if wanted and annotations.get(CLONE_PHASE) != wanted and not verdict.finished:
            claim["metadata"].setdefault("annotations", {})[CLONE_PHASE] = wanted
            claim["metadata"] = self.store.update(self._claims, claim, manager=MANAGER)["metadata"]
        return verdict

    def _waits_for_consumer(self, claim: Object) -> bool:
        annotations = claim["metadata"].get("annotations") or {}
        if SELECTED_NODE in annotations or IMMEDIATE in annotations or not self._binds_late(claim):
            return False
        return not find_users(self.store, self.registry, claim["metadata"]["namespace"], claim["metadata"]["name"])

    def _binds_late(self, claim: Object) -> bool:
        storage_class = self.store.find(self._classes, "", claim["spec"].get("storageClassName") or "")
        return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _find_clone_obstacle(self, volume: Object, source: Source) -> Verdict | None:
        """What a clone waits for: its source to be there, to be filled, or to be let go by its pods."""
        names = CloneNames(
            source.kind, source.namespace, source.name, volume["metadata"]["namespace"], volume["metadata"]["name"]
        )
        waiting = judge_clone([("CloneScheduled", 1.0)], 0.0, names)
        scheduled = Verdict("CloneScheduled", event=waiting.event)
        if source.found is None:
            return scheduled
        if source.kind == "snapshot":
            return None if (source.found.get("status") or {}).get("readyToUse") else scheduled
        filling = self.store.find(self._volumes, source.namespace, source.name)
        if filling is not None and (filling.get("status") or {}).get("phase") != "Succeeded":
            return scheduled
        if (source.found.get("status") or {}).get("phase") != "Bound":
            return scheduled
        for pod in find_users(self.store, self.registry, source.namespace, source.name):
            message = f"pod {source.namespace}/{pod['metadata']['name']} using PersistentVolumeClaim {source.name}"
            self.recorder.record(
                volume, "CloneSourceInUse", message, component=self._component(source), type="Warning"
            )
            return scheduled
        return None

    def _elapsed_seconds(self, claim: Object) -> float:
        """Seconds since the content began to arrive; it begins now if it has not."""
        annotations = claim["metadata"].setdefault("annotations", {})
        now = self.clock.now()
        try:
            started = parse_time(annotations[STARTED])
        except (KeyError, ValueError):
            annotations[STARTED] = now.isoformat()
            claim["metadata"] = self.store.update(self._claims, claim, manager=MANAGER)["metadata"]
            return 0.0
        return (now - started).total_seconds()

    # --- the end ----------------------------------------------------------------------------------

    def _complete(self, volume: Object, claim: Object, source: Source) -> Object:
        """Binds a claim whose content is complete, and marks it as filled."""
        namespace, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
        if (claim.get("status") or {}).get("phase") != "Bound":
            storage_class = self.store.get(self._classes, "", claim["spec"]["storageClassName"])
            cloned = source.is_clone and (claim["metadata"].get("annotations") or {}).get(CLONE_TYPE) != "copy"
            origin = "clone" if cloned else "blank" if source.kind == "blank" else "import"
            users = find_users(self.store, self.registry, namespace, name)
            node = next((pod["spec"]["nodeName"] for pod in users if pod["spec"].get("nodeName")), "")
            provision(self.context, claim, storage_class, origin=origin, node=node)
        fresh = self.store.get(self._claims, namespace, name)
        annotations = fresh["metadata"].setdefault("annotations", {})
        annotations.pop(STARTED, None)
        annotations["cdi.kubevirt.io/storage.condition.running"] = "false"
        if source.is_clone:
            annotations[CLONE_PHASE] = "Succeeded"
        elif source.kind != "external":
            annotations[UPLOADED] = "Succeeded"
        return self.store.update(self._claims, fresh, manager=MANAGER)

    def _report(self, volume: Object, claim: Object | None, verdict: Verdict) -> None:
        old = volume.get("status") or {}
        view = None
        if claim is not None:
            view = ClaimView(claim["metadata"]["name"], (claim.get("status") or {}).get("phase", "Pending"))
        status = build_status(old, verdict, view, at=format_time(self.clock.now()))
        if status == old:
            return
        component = "datavolume-import-controller"
        if verdict.event is not None and verdict.phase != old.get("phase"):
            type_, reason, message = verdict.event
            component = _component_of(reason)
            self.recorder.record(volume, reason, message, component=component, type=type_)
        for condition, before in _changed_bound(status, old):
            if before is None or (condition.get("reason"), condition.get("message")) != (
                before.get("reason"),
                before.get("message"),
            ):
                self.recorder.record(
                    volume, condition.get("reason", ""), condition.get("message", ""), component=component
                )
        if verdict.running[1] == "Error" and not _was_failing(old):
            self.recorder.record(volume, "Error", verdict.running[2], component=component, type="Warning")
        try:
            # While a transfer only gets on, no field comes or goes: nobody's ownership changes.
            manager = "" if verdict.phase == old.get("phase") and status.keys() == old.keys() else MANAGER
            self._reporting = ObjectKey(volume["metadata"]["namespace"], volume["metadata"]["name"])
            stored = self.store.update(
                self._volumes, {**volume, "status": status}, subresource="status", manager=manager
            )
        except ApiError as error:
            if error.code != 404:
                raise
        else:
            volume.update(stored)
        finally:
            self._reporting = None

    def _component(self, source: Source) -> str:
        return {
            "upload": "datavolume-upload-controller",
            "pvc": "datavolume-pvc-clone-controller",
            "snapshot": "datavolume-snapshot-clone-controller",
        }.get(source.kind, "datavolume-import-controller")


def _component_of(reason: str) -> str:
    if reason.startswith("Upload"):
        return "datavolume-upload-controller"
    if reason.startswith("Import"):
        return "datavolume-import-controller"
    return "datavolume-pvc-clone-controller"


def _changed_bound(status: Object, old: Object) -> Iterable[tuple[Object, Object | None]]:
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    for condition in status["conditions"]:
        if condition["type"] == "Bound":
            yield condition, before.get("Bound")


def _was_failing(old: Object) -> bool:
    return any(
        condition["type"] == "Running" and condition.get("reason") == "Error"
        for condition in old.get("conditions") or ()
    )
