"""The work of the CSI drivers and the volume controllers: claims get volumes, grow, and give them back.

Events, annotations and texts are those of kube-controller-manager's persistentvolume controller, the
external-provisioner and external-resizer sidecars, and ceph-csi.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import Object, ObjectKey, Registry
from vmkit.lab.rook.ceph import allocated_bytes
from vmkit.lab.rook.provisioning import ALLOCATED, bind, build_volume, find_refusal, is_ceph
from vmkit.lab.store import Event, Store
from vmkit.units import parse_bytes

PROVISION_SECONDS = 1.0
_RESIZE_SECONDS = 2.0
_RETRY_SECONDS = 15.0
POPULATOR_GROUP = "cdi.kubevirt.io"
PROTECTION = "kubernetes.io/pvc-protection"
SELECTED_NODE = "volume.kubernetes.io/selected-node"

CLAIMS = ("", "persistentvolumeclaims")
VOLUMES = ("", "persistentvolumes")
CLASSES = ("storage.k8s.io", "storageclasses")
PODS = ("", "pods")
SNAPSHOTS = ("snapshot.storage.k8s.io", "volumesnapshots")
CLUSTERS = ("ceph.rook.io", "cephclusters")


def claim_names(pod: Mapping[str, Any]) -> Iterator[str]:
    """The names of the claims a pod mounts."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if name:
            yield name


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether a pod's containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def find_users(store: Store, registry: Registry, namespace: str, name: str) -> list[Object]:
    """The pods that hold a claim, finished ones left out."""
    mark = f'"claimName":"{name}"'.encode()
    pods = registry.get(*PODS)
    return [
        pod
        for entry in store.entries(pods, namespace)
        if mark in entry.data
        for pod in (entry.decode(),)
        if name in claim_names(pod) and not is_finished(pod)
    ]


class ClaimController(Controller):
    """Binds claims to new volumes, expands them, and lets them go when nobody uses them."""

    name: ClassVar[str] = "csi-provisioner"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = context.registry.get(*CLAIMS)
        self._volumes = context.registry.get(*VOLUMES)
        self._classes = context.registry.get(*CLASSES)
        self._pods = context.registry.get(*PODS)
        self._snapshots = context.registry.get(*SNAPSHOTS)
        self._clusters = context.registry.get(*CLUSTERS)
        self._due: dict[tuple[str, str], datetime] = {}
        self._waiting: set[ObjectKey] = set()

    def setup(self) -> None:
        self.watch(self._claims, self._claim_keys)
        self.watch(self._pods, self._pod_keys)
        self.watch(self._classes, lambda event: tuple(self._waiting))
        self.watch(self._volumes, self._volume_keys)

    def _claim_keys(self, event: Event) -> Iterable[ObjectKey]:
        if event.type == "DELETED":
            self._waiting.discard(event.key)
            self._release(event.object)
            return ()
        return (event.key,)

    def _volume_keys(self, event: Event) -> Iterable[ObjectKey]:
        # A volume made by hand may be what a waiting claim names.
        if not self._waiting or event.type != "ADDED":
            return ()
        return tuple(self._waiting)

    def _pod_keys(self, event: Event) -> Iterable[ObjectKey]:
        # Pods matter to claims that wait for a first consumer, and to claims that wait to be deleted.
        if not self._waiting or b"persistentVolumeClaim" not in event.object_bytes:
            return ()
        return [
            key
            for name in claim_names(event.object)
            for key in (ObjectKey(event.key.namespace, name),)
            if key in self._waiting
        ]

    def reconcile(self, key: ObjectKey) -> None:
        claim = self.store.find(self._claims, key.namespace, key.name)
        if claim is None:
            self._waiting.discard(key)
            return
        if claim["metadata"].get("deletionTimestamp"):
            self._let_go(key, claim)
        elif (claim.get("status") or {}).get("phase") == "Bound":
            self._waiting.discard(key)
            self._expand(key, claim)
        elif (claim["spec"].get("dataSourceRef") or {}).get("apiGroup") != POPULATOR_GROUP:
            # What CDI fills, CDI binds: it hands over a volume of its own.
            self._waiting.add(key)
            self._provision(key, claim)

    # --- a volume for a claim ---------------------------------------------------------------------

    def _provision(self, key: ObjectKey, claim: Object) -> None:
        spec = claim["spec"]
        if spec.get("volumeName"):
            self._bind_existing(claim)
            return
        class_name = spec.get("storageClassName")
        if not class_name:
            return
        storage_class = self.store.find(self._classes, "", class_name)
        if storage_class is None:
            self._warn(
                claim,
                "ProvisioningFailed",
                f'storageclass.storage.k8s.io "{class_name}" not found',
                "persistentvolume-controller",
            )
            return
        provisioner = str(storage_class["provisioner"])
        if provisioner == "kubernetes.io/no-provisioner":
            return
        node = self._consumer_node(key, claim)
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and not node:
            self._tell_once(
                claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
            )
            return
        if self._is_refused(key, claim, storage_class) or not self._is_due(key, claim, PROVISION_SECONDS):
            return
        origin = self._source_origin(key, claim)
        if origin is None:
            return
        provision(self.context, claim, storage_class, origin=origin, node=node)

    def _is_refused(self, key: ObjectKey, claim: Object, storage_class: Object) -> bool:
        provisioner = str(storage_class["provisioner"])
        refusal = find_refusal(claim["spec"], provisioner) or self._storage_trouble(provisioner)
        if refusal:
            name = storage_class["metadata"]["name"]
            message = f'failed to provision volume with StorageClass "{name}": {refusal}'
            self._warn(claim, "ProvisioningFailed", message, f"{provisioner}_csi-provisioner")
            self.requeue_after(key, _RETRY_SECONDS)
        return bool(refusal)

    def _storage_trouble(self, provisioner: str) -> str:
        if not is_ceph(provisioner):
            return ""
        namespace = provisioner.split(".", 1)[0]
        for cluster in self.store.list(self._clusters, namespace):
            details = ((cluster.get("status") or {}).get("ceph") or {}).get("details") or {}
            if any(detail.get("severity") == "HEALTH_ERR" for detail in details.values()):
                return "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
        return ""

    def _source_origin(self, key: ObjectKey, claim: Object) -> str | None:
        """What the new volume starts from: "blank" or "clone"; None while its source is not ready."""
        source = claim["spec"].get("dataSourceRef") or claim["spec"].get("dataSource")
        if not source:
            return "blank"
        namespace = source.get("namespace") or key.namespace
        if source["kind"] == "VolumeSnapshot":
            snapshot = self.store.find(self._snapshots, namespace, source["name"])
            ready = snapshot is not None and (snapshot.get("status") or {}).get("readyToUse")
        else:
            origin = self.store.find(self._claims, namespace, source["name"])
            ready = origin is not None and (origin.get("status") or {}).get("phase") == "Bound"
        if not ready:
            message = (
                f"failed to provision volume: error getting handle for DataSource Type {source['kind']}"
                f" by Name {source['name']}: it is not ready"
            )
            self._warn(claim, "ProvisioningFailed", message, "csi-provisioner")
            self.requeue_after(key, _RETRY_SECONDS)
            return None
        return "clone"

    def _bind_existing(self, claim: Object) -> None:
        volume = self.store.find(self._volumes, "", claim["spec"]["volumeName"])
        if volume is None:
            return
        reference = volume["spec"].get("claimRef") or {}
        metadata = claim["metadata"]
        if reference and (reference.get("namespace"), reference.get("name")) != (
            metadata["namespace"],
            metadata["name"],
        ):
            return
        volume["spec"]["claimRef"] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        }
        write_volume(self.context, volume, phase="Bound")
        write_bound(self.context, claim, volume, "")

    def _consumer_node(self, key: ObjectKey, claim: Object) -> str:
        annotated = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, "")
        if annotated:
            return str(annotated)
        for pod in find_users(self.store, self.registry, key.namespace, key.name):
            node = pod["spec"].get("nodeName")
            if node:
                return str(node)
            return self._any_node()
        return ""

    def _any_node(self) -> str:
        for node in self.store.list(self.registry.get("", "nodes")):
            if not node["spec"].get("taints") and not node["spec"].get("unschedulable"):
                return str(node["metadata"]["name"])
        return ""

    def _is_due(self, key: ObjectKey, claim: Object, seconds: float) -> bool:
        uid = claim["metadata"]["uid"]
        now = self.clock.now()
        due = self._due.setdefault((uid, "work"), now + timedelta(seconds=seconds))
        if now < due:
            self.requeue_after(key, (due - now).total_seconds())
            return False
        del self._due[uid, "work"]
        return True

    # --- growing ----------------------------------------------------------------------------------

    def _expand(self, key: ObjectKey, claim: Object) -> None:
        asked = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        held = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
        if asked is None or held is None or parse_bytes(asked) <= parse_bytes(held):
            return
        status = claim["status"]
        if not any(condition["type"] == "Resizing" for condition in status.get("conditions") or ()):
            at = format_time(self.clock.now())
            status["conditions"] = [
                {"lastProbeTime": None, "lastTransitionTime": at, "status": "True", "type": "Resizing"}
            ]
            self.store.update(self._claims, claim, subresource="status", manager="csi-resizer")
            self.recorder.record(
                claim,
                "Resizing",
                "External resizer is resizing volume " + str(claim["spec"].get("volumeName")),
                component="external-resizer",
            )
        if not self._is_due(key, claim, _RESIZE_SECONDS):
            return
        volume = self.store.find(self._volumes, "", claim["spec"].get("volumeName", ""))
        if volume is not None:
            volume["spec"]["capacity"] = {"storage": asked}
            self.store.update(self._volumes, volume, manager="csi-resizer")
        fresh = self.store.get(self._claims, key.namespace, key.name)
        fresh["status"]["capacity"] = {"storage": asked}
        fresh["status"].pop("conditions", None)
        self.store.update(self._claims, fresh, subresource="status", manager="csi-resizer")
        self.recorder.record(
            fresh,
            "FileSystemResizeSuccessful",
            "MountVolume.NodeExpandVolume succeeded for volume",
            component="kubelet",
        )

    # --- letting go -------------------------------------------------------------------------------

    def _let_go(self, key: ObjectKey, claim: Object) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if PROTECTION not in finalizers:
            return
        if find_users(self.store, self.registry, key.namespace, key.name):
            self._waiting.add(key)
            return
        self._waiting.discard(key)
        claim["metadata"]["finalizers"] = [item for item in finalizers if item != PROTECTION]
        self.store.update(self._claims, claim, manager="kube-controller-manager")

    def _release(self, claim: Object) -> None:
        """What happens to the volume of a claim that is gone: its reclaim policy says."""
        self._due = {mark: at for mark, at in self._due.items() if mark[0] != claim["metadata"]["uid"]}
        name = claim["spec"].get("volumeName")
        volume = self.store.find(self._volumes, "", name) if name else None
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            delete_volume(self.context, volume)
        else:
            write_volume(self.context, volume, phase="Released")

    def _warn(self, claim: Object, reason: str, message: str, component: str) -> None:
        self.recorder.record(claim, reason, message, component=component, type="Warning")

    def _tell_once(self, claim: Object, reason: str, message: str) -> None:
        mark = (claim["metadata"]["uid"], reason)
        if mark not in self._due:
            self._due[mark] = self.clock.now()
            self.recorder.record(claim, reason, message, component="persistentvolume-controller")


# --- also used by CDI, which makes volumes of its own ---------------------------------------------


def provision(context: Context, claim: Object, storage_class: Object, *, origin: str, node: str = "") -> None:
    """Makes a volume for a claim and binds them.

    Args:
        context: the lab's.
        claim: the claim as it is stored now.
        storage_class: its class.
        origin: "blank", "clone" or "import": how much the volume holds at once (`allocated_bytes`).
        node: the machine that uses it first; needed for local volumes.
    """
    store, registry = context.store, context.registry
    size = parse_bytes(claim["spec"]["resources"]["requests"]["storage"])
    volume = build_volume(claim, storage_class, allocated=allocated_bytes(size, origin), node=node)
    volumes = registry.get(*VOLUMES)
    provisioner = str(storage_class["provisioner"])
    if not store.exists(volumes, "", volume["metadata"]["name"]):
        store.create(volumes, volume, manager="csi-provisioner", with_status=True)
        name = volume["metadata"]["name"]
        context.recorder.record(
            claim,
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {name}",
            component=f"{provisioner}_csi-provisioner",
        )
    write_bound(context, claim, volume, provisioner)


def write_bound(context: Context, claim: Object, volume: Object, provisioner: str) -> None:
    """Stores a claim as bound to a volume: its spec first, then its status, as the controllers do."""
    claims = context.registry.get(*CLAIMS)
    bound = bind(claim, volume, provisioner)
    if not provisioner:
        for key in tuple(bound["metadata"]["annotations"]):
            if key.endswith("/storage-provisioner"):
                del bound["metadata"]["annotations"][key]
    status = bound["status"]
    stored = context.store.update(claims, bound, manager="kube-controller-manager")
    context.store.update(
        claims, {**stored, "status": status}, subresource="status", manager="kube-controller-manager"
    )


def write_volume(context: Context, volume: Object, *, phase: str) -> None:
    """Stores a volume and its phase."""
    volumes = context.registry.get(*VOLUMES)
    stored = context.store.update(volumes, volume, manager="kube-controller-manager")
    status = {**(volume.get("status") or {}), "phase": phase}
    context.store.update(
        volumes, {**stored, "status": status}, subresource="status", manager="kube-controller-manager"
    )


def delete_volume(context: Context, volume: Object) -> None:
    """Deletes a volume whose claim is gone, its protection first."""
    volumes = context.registry.get(*VOLUMES)
    volume["metadata"].pop("finalizers", None)
    context.store.update(volumes, volume, manager="csi-provisioner")
    context.store.delete(volumes, "", volume["metadata"]["name"])


def grow_allocation(context: Context, volume_name: str, byte_count: int) -> None:
    """Records that a volume holds more than before (a guest wrote to it)."""
    volumes = context.registry.get(*VOLUMES)
    volume = context.store.find(volumes, "", volume_name)
    if volume is None or ALLOCATED not in (volume["metadata"].get("annotations") or {}):
        return
    volume["metadata"]["annotations"][ALLOCATED] = str(byte_count)
    context.store.update(volumes, volume)
