"""ReplicaSets keep so many pods; StatefulSets keep them in order and by name."""

from __future__ import annotations

from typing import ClassVar, Final

from vmkit.lab.controller import Context, Controller
from vmkit.lab.controllers.ownership import controller_of, controller_reference, is_controlled_by
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.store import Event

_MANAGER: Final = "kube-controller-manager"
_ENDED: Final = ("Succeeded", "Failed")


class _PodKeeper(Controller):
    """What both kinds share: the owner's pods, made from its template."""

    plural: ClassVar[str]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owners = self.registry.get("apps", self.plural)
        self._pods = self.registry.get("", "pods")

    def setup(self) -> None:
        self.watch(self._owners)
        self.watch(self._pods, self._owner_keys)

    def _owner_keys(self, event: Event) -> list[ObjectKey]:
        if b'"ownerReferences"' not in event.object_bytes:
            return []
        reference = controller_of(event.object)
        if reference is None or reference.get("kind") != self._owners.kind:
            return []
        return [ObjectKey(event.key.namespace, reference["name"])]

    def _pods_of(self, owner: Object) -> list[Object]:
        namespace = owner["metadata"]["namespace"]
        labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
        return [
            pod for pod in self.store.list(self._pods, namespace, labels=labels) if is_controlled_by(pod, owner)
        ]

    def _build_pod(self, owner: Object) -> Object:
        template = owner["spec"].get("template") or {}
        given = template.get("metadata") or {}
        metadata: Object = {
            "namespace": owner["metadata"]["namespace"],
            "ownerReferences": [controller_reference(owner)],
        }
        metadata |= {field: given[field] for field in ("labels", "annotations") if given.get(field)}
        return {"metadata": metadata, "spec": dict(template.get("spec") or {})}

    def _report(self, owner: Object, status: Object) -> None:
        status["observedGeneration"] = owner["metadata"].get("generation", 1)
        if owner.get("status") != status:
            owner["status"] = status
            self.store.update(self._owners, owner, manager=_MANAGER, subresource="status")


class ReplicaSetController(_PodKeeper):
    name: ClassVar[str] = "replicaset-controller"
    plural: ClassVar[str] = "replicasets"

    def reconcile(self, key: ObjectKey) -> None:
        owner = self.store.find(self._owners, key.namespace, key.name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        pods = [pod for pod in self._pods_of(owner) if pod["status"].get("phase") not in _ENDED]
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        wanted = int(owner["spec"].get("replicas", 1))
        for _ in range(wanted - len(alive)):
            pod = self._build_pod(owner)
            pod["metadata"]["generateName"] = f"{key.name}-"
            made = self.store.create(self._pods, pod, manager=_MANAGER)
            name = made["metadata"]["name"]
            self.recorder.record(owner, "SuccessfulCreate", f"Created pod: {name}", component=self.name)
        # The youngest and least ready go first, as they are the cheapest to lose.
        alive.sort(key=lambda pod: (_is_ready(pod), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        for pod in alive[: max(0, len(alive) - wanted)]:
            name = pod["metadata"]["name"]
            self.store.delete(self._pods, key.namespace, name)
            self.recorder.record(owner, "SuccessfulDelete", f"Deleted pod: {name}", component=self.name)
        present = [pod for pod in self._pods_of(owner) if "deletionTimestamp" not in pod["metadata"]]
        ready = sum(_is_ready(pod) for pod in present)
        status: Object = {"replicas": len(present)}
        if present:
            status["fullyLabeledReplicas"] = len(present)
        if ready:
            status |= {"readyReplicas": ready, "availableReplicas": ready}
        self._report(owner, status)


class StatefulSetController(_PodKeeper):
    name: ClassVar[str] = "statefulset-controller"
    plural: ClassVar[str] = "statefulsets"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = self.registry.get("", "persistentvolumeclaims")

    def reconcile(self, key: ObjectKey) -> None:
        owner = self.store.find(self._owners, key.namespace, key.name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return
        wanted = int(owner["spec"].get("replicas", 1))
        pods = {pod["metadata"]["name"]: pod for pod in self._pods_of(owner)}
        in_order = owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        for index in range(wanted):
            pod = pods.get(f"{key.name}-{index}")
            if pod is None:
                self._make(owner, index)
            if in_order and (pod is None or not _is_ready(pod)):
                break
        else:
            for name in sorted(pods, key=_ordinal, reverse=True):
                if _ordinal(name) >= wanted and "deletionTimestamp" not in pods[name]["metadata"]:
                    self.store.delete(self._pods, key.namespace, name)
                    if in_order:
                        break
        present = self._pods_of(owner)
        ready = sum(_is_ready(pod) for pod in present)
        status: Object = {
            "replicas": len(present),
            "currentReplicas": len(present),
            "updatedReplicas": len(present),
            "availableReplicas": ready,
        }
        if ready:
            status["readyReplicas"] = ready
        self._report(owner, status)

    def _make(self, owner: Object, index: int) -> None:
        namespace, name = owner["metadata"]["namespace"], f"{owner['metadata']['name']}-{index}"
        pod = self._build_pod(owner)
        pod["metadata"]["name"] = name
        pod["metadata"]["labels"] = {
            **(pod["metadata"].get("labels") or {}),
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(index),
        }
        pod["spec"]["hostname"] = name
        volumes = list(pod["spec"].get("volumes") or ())
        for claim in owner["spec"].get("volumeClaimTemplates") or ():
            claim_name = f"{claim['metadata']['name']}-{name}"
            if not self.store.exists(self._claims, namespace, claim_name):
                # Claims outlive the set on purpose: they hold the data.
                metadata = {**claim["metadata"], "name": claim_name, "namespace": namespace}
                made = {"metadata": metadata, "spec": claim.get("spec") or {}}
                self.store.create(self._claims, made, manager=_MANAGER)
            source = {"persistentVolumeClaim": {"claimName": claim_name}}
            volumes.append({"name": claim["metadata"]["name"], **source})
        if volumes:
            pod["spec"]["volumes"] = volumes
        self.store.create(self._pods, pod, manager=_MANAGER)
        message = f"create Pod {name} in StatefulSet {owner['metadata']['name']} successful"
        self.recorder.record(owner, "SuccessfulCreate", message, component=self.name)


def _ordinal(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
