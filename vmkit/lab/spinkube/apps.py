"""The Spin Operator's part: a Deployment and a Service for each SpinApp, and its status.

Source: spin-operator api/v1alpha1/spinapp_types.go, internal/controller/spinapp_controller.go, internal/webhook.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from vmkit.lab.clock import format_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.resources import AdmissionRequest, Column, Object, ObjectKey, Registry, ResourceType, SchemaRef
from vmkit.lab.status import Cause, invalid
from vmkit.lab.store import Event

GROUP: Final = "core.spinkube.dev"
APPS: Final = (GROUP, "spinapps")
EXECUTORS: Final = (GROUP, "spinappexecutors")
MANAGER: Final = "spin-operator"
NAME_LABEL: Final = "core.spinkube.dev/app-name"
_RUNTIME_CLASS: Final = "wasmtime-spin-v2"
_PORT: Final = 80


def register_types(registry: Registry) -> None:
    """Serves SpinApp, SpinAppExecutor and Shim."""
    registry.add(
        _type(
            GROUP,
            "SpinApp",
            "spinapps",
            "spinapps.core.spinkube.dev_v1alpha1",
            Column("Ready", type="integer", path=".status.readyReplicas"),
            Column("Desired", type="integer", path=".spec.replicas"),
            Column("Executor", path=".spec.executor"),
        )
    )
    registry.add(
        _type(GROUP, "SpinAppExecutor", "spinappexecutors", "spinappexecutors.core.spinkube.dev_v1alpha1")
    )
    registry.add(
        _type(
            "runtime.spinkube.dev",
            "Shim",
            "shims",
            "shims.runtime.spinkube.dev_v1alpha1",
            Column("RuntimeClass", path=".spec.runtimeClass.name"),
            Column("Ready", type="integer", path=".status.nodesReady"),
            Column("Nodes", type="integer", path=".status.nodes"),
            namespaced=False,
        )
    )


def _type(
    group: str, kind: str, plural: str, schema: str, *columns: Column, namespaced: bool = True
) -> ResourceType:
    return ResourceType(
        group,
        "v1alpha1",
        kind,
        plural,
        namespaced=namespaced,
        subresources=("status",),
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=SchemaRef(schema),
        columns=columns,
    )


def build_spinkube_objects() -> list[Object]:
    """What an installation leaves: the executor, its runtime class, and the shim on every worker."""
    return [
        {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "SpinAppExecutor",
            "metadata": {"name": "containerd-shim-spin", "namespace": "default"},
            "spec": {
                "createDeployment": True,
                "deploymentConfig": {"installDefaultCACerts": True, "runtimeClassName": _RUNTIME_CLASS},
            },
        },
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": _RUNTIME_CLASS},
            "handler": "spin-v2",
            "scheduling": {"nodeSelector": {"spin": "true"}},
        },
        {
            "apiVersion": "runtime.spinkube.dev/v1alpha1",
            "kind": "Shim",
            "metadata": {"name": "spin-v2"},
            "spec": {
                "nodeSelector": {"spin": "true"},
                "containerdRuntimeOptions": {"SystemdCgroup": "true"},
                "runtimeClass": {"name": _RUNTIME_CLASS, "handler": "spin-v2"},
                "rolloutStrategy": {"type": "recreate"},
            },
        },
    ]


# --- admission ------------------------------------------------------------------------------------


def default_app(registry: Registry, request: AdmissionRequest, obj: Object) -> Object:
    """Fills in the only executor of the namespace, or one replica, where nothing is said."""
    spec = obj.get("spec")
    if not isinstance(spec, dict) or request.subresource:
        return obj
    if not spec.get("executor"):
        names = [entry.key.name for entry in request.store.entries(registry.get(*EXECUTORS), request.namespace)]
        if names:
            spec["executor"] = min(names)
    return obj


def validate_app(registry: Registry, request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Refuses a SpinApp without executor, and one whose replicas contradict its autoscaling.

    Raises:
        ApiError: 422 with the causes.
    """
    if request.operation == "DELETE" or request.subresource:
        return
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    executor, replicas = spec.get("executor") or "", spec.get("replicas") or 0
    if not executor:
        message = (
            "executor must be set, likely no default executor was set because you have no executors installed"
        )
        causes.append(Cause("FieldValueInvalid", f'Invalid value: "": {message}', "spec.executor"))
    elif request.store.find(registry.get(*EXECUTORS), request.namespace, executor) is None:
        causes.append(
            Cause("FieldValueInvalid", f'Invalid value: "{executor}": executor does not exist', "spec.executor")
        )
    if spec.get("enableAutoscaling"):
        if replicas != 0:
            message = f"Invalid value: {replicas}: replicas cannot be set when autoscaling is enabled"
            causes.append(Cause("FieldValueInvalid", message, "spec.replicas"))
    elif replicas < 1:
        causes.append(
            Cause("FieldValueInvalid", f"Invalid value: {replicas}: replicas must be > 0", "spec.replicas")
        )
    if causes:
        raise invalid(GROUP, "SpinApp", obj["metadata"].get("name", ""), causes)


# --- the operator ---------------------------------------------------------------------------------


class SpinAppController(Controller):
    """Makes the Deployment and the Service of each SpinApp, keeps them as the app says, and reports."""

    name: ClassVar[str] = "spinapp-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        registry = context.registry
        self._apps = registry.get(*APPS)
        self._executors = registry.get(*EXECUTORS)
        self._deployments = registry.get("apps", "deployments")
        self._services = registry.get("", "services")

    def setup(self) -> None:
        self.watch(self._apps)
        self.watch(self._deployments, _owner_keys)
        self.watch(
            self._executors,
            lambda event: [entry.key for entry in self.store.entries(self._apps, event.key.namespace)],
        )

    def reconcile(self, key: ObjectKey) -> None:
        app = self.store.find(self._apps, key.namespace, key.name)
        if app is None or app["metadata"].get("deletionTimestamp"):
            return
        executor = self.store.find(self._executors, key.namespace, app["spec"].get("executor", ""))
        if executor is None:
            return
        if (executor.get("spec") or {}).get("createDeployment"):
            self._ensure(self._deployments, self._build_deployment(app, executor))
        self._ensure(self._services, self._build_service(app))
        deployment = self.store.find(self._deployments, key.namespace, key.name)
        ready = int(((deployment or {}).get("status") or {}).get("readyReplicas", 0))
        status = {
            "activeScheduler": app["spec"].get("executor", ""),
            "conditions": _conditions(app, ready, format_time(self.clock.now())),
            "readyReplicas": ready,
        }
        if status != app.get("status"):
            self.store.update(self._apps, {**app, "status": status}, subresource="status", manager=MANAGER)

    def _ensure(self, rtype: ResourceType, wanted: Object) -> None:
        metadata = wanted["metadata"]
        live = self.store.find(rtype, metadata["namespace"], metadata["name"])
        if live is None:
            self.store.create(rtype, wanted, manager=MANAGER)
            return
        if not any(owner.get("kind") == "SpinApp" for owner in live["metadata"].get("ownerReferences") or ()):
            return
        spec = {**live["spec"], **wanted["spec"]}
        if "replicas" not in wanted["spec"]:
            spec["replicas"] = live["spec"].get("replicas")
        if spec != live["spec"]:
            self.store.update(rtype, {**live, "spec": spec}, manager=MANAGER)

    def _build_deployment(self, app: Object, executor: Object) -> Object:
        spec, name = app["spec"], app["metadata"]["name"]
        settings = (executor.get("spec") or {}).get("deploymentConfig") or {}
        labels = {NAME_LABEL: name, f"core.spinkube.dev/app.{name}.status": "ready"}
        container: Object = {
            "name": name,
            "image": spec.get("image", ""),
            "command": ["/"],
            "ports": [{"containerPort": _PORT, "name": "http-app"}],
            "resources": spec.get("resources") or {},
        }
        if spec.get("variables"):
            container["env"] = [
                {
                    "name": f"SPIN_VARIABLE_{each['name'].upper()}",
                    **({"value": each["value"]} if "value" in each else {"valueFrom": each.get("valueFrom")}),
                }
                for each in spec["variables"]
            ]
        built: Object = {
            "selector": {"matchLabels": {NAME_LABEL: name}},
            "template": {
                "metadata": {
                    "labels": {**labels, **(spec.get("podLabels") or {})},
                    "annotations": spec.get("podAnnotations") or {},
                },
                "spec": {
                    "containers": [container],
                    "runtimeClassName": settings.get("runtimeClassName", _RUNTIME_CLASS),
                },
            },
        }
        if not spec.get("enableAutoscaling"):
            built["replicas"] = spec.get("replicas", 1)
        return _owned(app, "apps/v1", "Deployment", built, annotations=spec.get("deploymentAnnotations"))

    def _build_service(self, app: Object) -> Object:
        name = app["metadata"]["name"]
        built: Object = {
            "ports": [{"name": "http-app", "port": 80, "protocol": "TCP", "targetPort": "http-app"}],
            "selector": {f"core.spinkube.dev/app.{name}.status": "ready"},
            "type": "ClusterIP",
        }
        return _owned(app, "v1", "Service", built, annotations=app["spec"].get("serviceAnnotations"))


def _owned(app: Object, api_version: str, kind: str, spec: Object, *, annotations: Object | None) -> Object:
    metadata = app["metadata"]
    owner = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": "SpinApp",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    built = {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": {NAME_LABEL: metadata["name"]},
        "ownerReferences": [owner],
        **({"annotations": annotations} if annotations else {}),
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": built, "spec": spec}


def _owner_keys(event: Event) -> Iterable[ObjectKey]:
    name = event.labels.get(NAME_LABEL)
    return (ObjectKey(event.key.namespace, name),) if name else ()


def _conditions(app: Object, ready: int, at: str) -> list[Object]:
    available = ready > 0
    values = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.") if available else (
        "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )  # fmt: skip
    known = next(
        (each for each in (app.get("status") or {}).get("conditions") or () if each["type"] == "Available"), None
    )
    if known is not None and known["status"] == values[0]:
        return [dict(known)]
    return [
        {
            "lastTransitionTime": at,
            "message": values[2],
            "reason": values[1],
            "status": values[0],
            "type": "Available",
        }
    ]
