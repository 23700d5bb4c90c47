"""Deployments: one ReplicaSet for each version of the pod template; the present one holds the pods."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar, Final

from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.controllers.ownership import controller_of, controller_reference, is_controlled_by
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.store import Event

_MANAGER: Final = "kube-controller-manager"
_HASH_LABEL: Final = "pod-template-hash"
_REVISION: Final = "deployment.kubernetes.io/revision"


class DeploymentController(Controller):
    """A new template takes over at once; rolling out step by step is not simulated."""

    name: ClassVar[str] = "deployment-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._deployments = self.registry.get("apps", "deployments")
        self._sets = self.registry.get("apps", "replicasets")

    def setup(self) -> None:
        self.watch(self._deployments)
        self.watch(self._sets, self._owner_keys)

    def _owner_keys(self, event: Event) -> list[ObjectKey]:
        reference = controller_of(event.object)
        if reference is None or reference.get("kind") != "Deployment":
            return []
        return [ObjectKey(event.key.namespace, reference["name"])]

    def reconcile(self, key: ObjectKey) -> None:
        deployment = self.store.find(self._deployments, key.namespace, key.name)
        if deployment is None or "deletionTimestamp" in deployment["metadata"]:
            return
        digest = template_hash(deployment["spec"].get("template") or {})
        wanted = int(deployment["spec"].get("replicas", 1))
        owned = [each for each in self.store.list(self._sets, key.namespace) if is_controlled_by(each, deployment)]
        present = next((each for each in owned if each["metadata"]["labels"].get(_HASH_LABEL) == digest), None)
        if present is None:
            present = self._make_set(
                deployment, digest, wanted, revision=1 + max(map(_revision, owned), default=0)
            )
        else:
            self._scale(deployment, present, wanted)
        for each in owned:
            if each["metadata"]["name"] != present["metadata"]["name"]:
                self._scale(deployment, each, 0)
        revision = str(_revision(present))
        annotations = deployment["metadata"].setdefault("annotations", {})
        if annotations.get(_REVISION) != revision:
            annotations[_REVISION] = revision
            deployment = self.store.update(self._deployments, deployment, manager=_MANAGER)
        self._report(deployment, present, wanted)

    def _make_set(self, deployment: Object, digest: str, replicas: int, *, revision: int) -> Object:
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        template = deployment["spec"].get("template") or {}
        given = template.get("metadata") or {}
        labels = {**(given.get("labels") or {}), _HASH_LABEL: digest}
        selector = deployment["spec"].get("selector") or {}
        made = self.store.create(
            self._sets,
            {
                "metadata": {
                    "name": f"{name}-{digest}",
                    "namespace": namespace,
                    "labels": labels,
                    "annotations": {_REVISION: str(revision)},
                    "ownerReferences": [controller_reference(deployment)],
                },
                "spec": {
                    "replicas": replicas,
                    "selector": {
                        **selector,
                        "matchLabels": {**(selector.get("matchLabels") or {}), _HASH_LABEL: digest},
                    },
                    "template": {**template, "metadata": {**given, "labels": labels}},
                },
            },
            manager=_MANAGER,
        )
        self.recorder.record(
            deployment,
            "ScalingReplicaSet",
            f"Scaled up replica set {name}-{digest} from 0 to {replicas}",
            component=self.name,
        )
        return made

    def _scale(self, deployment: Object, replica_set: Object, replicas: int) -> None:
        before = int(replica_set["spec"].get("replicas", 0))
        if before == replicas:
            return
        replica_set["spec"]["replicas"] = replicas
        replica_set.update(self.store.update(self._sets, replica_set, manager=_MANAGER))
        direction = "up" if replicas > before else "down"
        self.recorder.record(
            deployment,
            "ScalingReplicaSet",
            f"Scaled {direction} replica set {replica_set['metadata']['name']} from {before} to {replicas}",
            component=self.name,
        )

    def _report(self, deployment: Object, present: Object, wanted: int) -> None:
        counts = present.get("status") or {}
        replicas, ready = int(counts.get("replicas", 0)), int(counts.get("readyReplicas", 0))
        status: Object = {"observedGeneration": deployment["metadata"].get("generation", 1)}
        if replicas:
            status |= {"replicas": replicas, "updatedReplicas": replicas}
        if ready:
            status |= {"readyReplicas": ready, "availableReplicas": ready}
        if ready < wanted:
            status["unavailableReplicas"] = wanted - ready
        available = ready >= wanted
        name = present["metadata"]["name"]
        before = {each["type"]: each for each in (deployment.get("status") or {}).get("conditions") or ()}
        status["conditions"] = [
            self._condition(
                before,
                "Available",
                available,
                "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
                f"Deployment {'has' if available else 'does not have'} minimum availability.",
            ),
            self._condition(
                before,
                "Progressing",
                True,
                "NewReplicaSetAvailable" if available else "ReplicaSetUpdated",
                f'ReplicaSet "{name}" {"has successfully progressed" if available else "is progressing"}.',
            ),
        ]
        if deployment.get("status") != status:
            deployment["status"] = status
            self.store.update(self._deployments, deployment, manager=_MANAGER, subresource="status")

    def _condition(self, before: dict[str, Object], type_: str, holds: bool, reason: str, message: str) -> Object:
        now = format_time(self.clock.now())
        old = before.get(type_)
        status = "True" if holds else "False"
        if old is not None and (old["status"], old["reason"], old["message"]) == (status, reason, message):
            return old
        turned = now if old is None or old["status"] != status else old["lastTransitionTime"]
        return {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": turned,
            "lastUpdateTime": now,
        }


def template_hash(template: Object) -> str:
    """A short name for a pod template, the same for the same template.

    Kubernetes' own hash hangs on Go's memory layout; what matters to anybody is that it changes with the template.
    """
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in digest[:10])


def _revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(_REVISION, 0))
