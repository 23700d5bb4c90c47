"""A component as a Spin application: its manifest, the objects that run it on SpinKube, and what scales it. Pure.

Sources: Spin's manifest version 2; spin-operator api/v1alpha1 and internal/controller (the Deployment has the
app's name, the pods' port is called http-app); KEDA's HTTP add-on v1alpha1; wasmCloud's runtime v1alpha1.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vmkit.errors import ManifestError

Manifest = dict[str, Any]
COMPONENT: Final = "component.wasm"
EXECUTOR: Final = "containerd-shim-spin"
RUNTIME_CLASS: Final = "wasmtime-spin-v2"
_SPIN: Final = "core.spinkube.dev/v1alpha1"
_INTERCEPTOR: Final = "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local"
_INTERCEPTOR_PORT: Final = 8080
# A Python component's pages and a few requests at once; measured with wasmtime, 34 MB for one host.
_MEMORY: Final = "128Mi"
_CPU: Final = "50m"


class Scaling(StrEnum):
    """How many pods answer: one, as many as their CPU asks for, or none while nobody asks."""

    FIXED = "fixed"
    CPU = "cpu"
    ZERO = "zero"


@dataclass(frozen=True, slots=True)
class SpinApp:
    """One component that answers HTTP.

    Attributes:
        name: of the app and its Deployment.
        service: the name under which clients know it.
        ports: the ports that clients know.
        environment: plain variables.
        secrets: names of variables whose values stand in the Secret ``service``.
    """

    name: str
    service: str
    image: str
    ports: Sequence[int]
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    description: str = ""
    scaling: Scaling = Scaling.CPU
    max_replicas: int = 10
    runtime_class: str = RUNTIME_CLASS
    hosts: Sequence[str] = ()


def variable_name(name: str) -> str:
    """A variable as Spin takes it: lower case, and single underscores between words (spin crates/expressions)."""
    found = re.sub(r"_+", "_", re.sub(r"[^a-z0-9]", "_", name.lower())).strip("_")
    return found if found[:1].isalpha() else f"v_{found}"


def render_spin_toml(app: SpinApp) -> str:
    """spin.toml, manifest version 2."""
    quote = json.dumps  # a JSON string is a TOML basic string
    lines = [
        "spin_manifest_version = 2", "", "[application]", f"name = {quote(app.name)}", 'version = "0.1.0"',
        f"description = {quote(app.description)}", "", "[[trigger.http]]", 'route = "/..."',
        f"component = {quote(app.name)}", "",
    ]  # fmt: skip
    if app.secrets:
        lines.append("[variables]")
        lines += [f"{variable_name(name)} = {{ required = true, secret = true }}" for name in app.secrets]
        lines.append("")
    lines += [f"[component.{app.name}]", f"source = {quote(COMPONENT)}", "allowed_outbound_hosts = []"]
    if app.environment:
        pairs = ", ".join(
            f"{quote(key)} = {_quote_value(value)}" for key, value in sorted(app.environment.items())
        )
        lines.append(f"environment = {{ {pairs} }}")
    if app.secrets:
        lines += ["", f"[component.{app.name}.variables]"]
        names = [variable_name(name) for name in app.secrets]
        lines += [f'{name} = "{{{{ {name} }}}}"' for name in names]
    return "\n".join(lines) + "\n"


def read_spin_toml(path: Path) -> SpinApp:
    """The application of a spin.toml that `render_spin_toml` wrote, with what stands in one.

    Raises:
        ManifestError: it is something else.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        [(name, component)] = document["component"].items()
        environment = {str(key): str(value) for key, value in component.get("environment", {}).items()}
        return SpinApp(
            name=str(name),
            service=str(name),
            image="",
            ports=(),
            environment=environment,
            secrets=tuple(map(str, document.get("variables", {}))),
            description=str(document["application"].get("description", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"is no spin.toml of one component: {error!r}", where=str(path)) from error


def _quote_value(value: str) -> str:
    # TOML has no escape for DEL, and JSON leaves it as it is.
    return json.dumps(value).replace("\x7f", "\\u007f")


def build_locked_app(app: SpinApp, *, digest: str) -> Manifest:
    """The application as spin registry push locks it (spin crates/locked-app); ``digest`` is the component's."""
    component: Manifest = {
        "id": app.name,
        "metadata": {"allowed_outbound_hosts": []},
        "source": {"content_type": "application/wasm", "digest": digest},
        "env": dict(sorted(app.environment.items())),
    }
    locked: Manifest = {
        "spin_lock_version": 0,
        "metadata": {"description": app.description, "name": app.name, "version": "0.1.0"},
        "triggers": [
            {
                "id": f"trigger-{app.name}",
                "trigger_type": "http",
                "trigger_config": {"component": app.name, "route": "/..."},
            }
        ],
        "components": [component],
    }
    if app.secrets:
        names = [variable_name(name) for name in app.secrets]
        locked["variables"] = {name: {"secret": True} for name in names}
        component["config"] = {name: f"{{{{ {name} }}}}" for name in names}
    return locked


def build_spin_objects(app: SpinApp) -> list[Manifest]:
    """What kubectl applies beside the container: executor, SpinApp, and what scales it; no Service yet."""
    spec: Manifest = {
        "executor": EXECUTOR,
        "image": app.image,
        "resources": {"requests": {"cpu": _CPU, "memory": _MEMORY}, "limits": {"memory": _MEMORY}},
    }
    if app.scaling is Scaling.FIXED:
        spec["replicas"] = 1
    else:
        # Then the operator leaves the number to somebody else, and refuses one in the spec.
        spec["enableAutoscaling"] = True
    if app.secrets:
        spec["variables"] = [
            {"name": variable_name(name), "valueFrom": {"secretKeyRef": {"name": app.service, "key": name}}}
            for name in app.secrets
        ]
    executor = {
        "createDeployment": True,
        "deploymentConfig": {"runtimeClassName": app.runtime_class, "installDefaultCACerts": True},
    }
    found = [
        # The operator looks for it in the app's own namespace.
        _object(_SPIN, "SpinAppExecutor", EXECUTOR, app, executor),
        _object(_SPIN, "SpinApp", app.name, app, spec),
    ]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.name}
    if app.scaling is Scaling.CPU:
        cpu = {"type": "Utilization", "averageUtilization": 70}
        scale = {
            "scaleTargetRef": target,
            "minReplicas": 1,
            "maxReplicas": app.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": cpu}}],
        }
        found.append(_object("autoscaling/v2", "HorizontalPodAutoscaler", app.name, app, scale))
    elif app.scaling is Scaling.ZERO:
        scale = {
            "hosts": list(app.hosts or [app.service]),
            "scaleTargetRef": {**target, "service": app.name, "port": 80},
            "replicas": {"min": 0, "max": app.max_replicas},
            "scaledownPeriod": 300,
        }
        found.append(_object("http.keda.sh/v1alpha1", "HTTPScaledObject", app.name, app, scale))
    return found


def build_service(app: SpinApp) -> Manifest:
    """The Service with the VM's old name, now leading to the component: applying it is the switch.

    With scaling to zero it leads to KEDA's interceptor, which holds requests while a pod starts; a Service alone
    has nowhere to keep them.
    """
    if app.scaling is Scaling.ZERO:
        ports = [{"name": f"tcp-{port}", "port": port, "targetPort": _INTERCEPTOR_PORT} for port in app.ports]
        return _object(
            "v1",
            "Service",
            app.service,
            app,
            {"type": "ExternalName", "externalName": _INTERCEPTOR, "ports": ports},
        )
    ports = [
        {"name": f"tcp-{port}", "protocol": "TCP", "port": port, "targetPort": "http-app"} for port in app.ports
    ]
    selector = {f"core.spinkube.dev/app.{app.name}.status": "ready"}
    return _object("v1", "Service", app.service, app, {"selector": selector, "ports": ports})


def build_runtime_class(name: str, handler: str, *, node_selector: Mapping[str, str] | None = None) -> Manifest:
    """A RuntimeClass for a handler that nodes have in their containerd's configuration."""
    found: Manifest = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "vmkit"}},
        "handler": handler,
    }
    return {**found, "scheduling": {"nodeSelector": dict(node_selector)}} if node_selector else found


def build_wasmcloud_objects(app: SpinApp) -> list[Manifest]:
    """The same component for wasmCloud: one WorkloadDeployment."""
    variables = [{"name": key, "value": value} for key, value in sorted(app.environment.items())]
    component: Manifest = {"name": app.name, "image": app.image}
    if variables:
        component["localResources"] = {"environment": {"config": dict(sorted(app.environment.items()))}}
    interface = {
        "namespace": "wasi",
        "package": "http",
        "interfaces": ["incoming-handler"],
        "config": {"host": (app.hosts or [app.service])[0]},
    }
    spec = {
        "replicas": 1,
        "template": {
            "spec": {
                "hostSelector": {"hostgroup": "default"},
                "components": [component],
                "hostInterfaces": [interface],
            }
        },
    }
    return [_object("runtime.wasmcloud.dev/v1alpha1", "WorkloadDeployment", app.name, app, spec)]


def _object(version: str, kind: str, name: str, app: SpinApp, spec: Manifest) -> Manifest:
    labels = {"app.kubernetes.io/name": app.service, "app.kubernetes.io/managed-by": "vmkit"}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec}
