"""What runs: a CronJob, or a Deployment with what belongs to it. Its pods pass the "restricted" standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmkit.deploy.component import Component
from vmkit.errors import UsageError

_USER: Final = 65532
"""The user that distroless images call "nonroot"; vmkit's own image has it as well."""
_START_DEADLINE_SECONDS: Final = 240
_PORT_NAME: Final = "http"


@dataclass(frozen=True, slots=True)
class Process:
    """What a pod runs.

    Attributes:
        image: the image that holds vmkit.
        command: the words of the command, "vmkit" first.
        memory_request, memory_limit, cpu_request: resources, as Kubernetes writes them.
        environment: variables.

    Raises:
        UsageError: no image is given.
    """

    image: str
    command: Sequence[str]
    memory_request: str = "128Mi"
    memory_limit: str = "1Gi"
    cpu_request: str = "50m"
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.image or any(letter.isspace() for letter in self.image):
            raise UsageError("which image holds vmkit?", hint="--image registry.example/vmkit:1.0")


def _pod_spec(component: Component, process: Process, more: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": component.part,
        "image": process.image,
        "command": list(process.command),
        "resources": {
            "requests": {"cpu": process.cpu_request, "memory": process.memory_request},
            "limits": {"memory": process.memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }
    if process.environment:
        container["env"] = [{"name": name, "value": value} for name, value in process.environment]
    return {
        "serviceAccountName": component.name,
        "automountServiceAccountToken": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**container, **more}],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }


def build_cron_job(
    component: Component, process: Process, *, schedule: str, deadline_seconds: int = 1800
) -> dict[str, Any]:
    """A CronJob.

    Args:
        schedule: five fields of cron.
        deadline_seconds: after which a run is ended.
    """
    pod = {**_pod_spec(component, process, {}), "restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": component.metadata(),
        "spec": {
            "schedule": schedule,
            # Two at once do no harm, and no good either.
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _START_DEADLINE_SECONDS,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,  # The next run is the next try.
                    "activeDeadlineSeconds": deadline_seconds,
                    "template": {"metadata": {"labels": dict(component.labels)}, "spec": pod},
                }
            },
        },
    }


def build_deployment(
    component: Component,
    process: Process,
    *,
    port: int,
    health_path: str,
    ready_path: str,
    replicas: int = 2,
    grace_seconds: int = 60,
) -> dict[str, Any]:
    """A Deployment whose pods tell how they are on ``port``.

    Args:
        replicas: how many; one acts, the others stand by.
        grace_seconds: how long it has to finish what is under way.
    """

    def probe(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": _PORT_NAME}, "periodSeconds": 10, "timeoutSeconds": 5}

    more = {
        "ports": [{"name": _PORT_NAME, "containerPort": port}],
        # A list of ten thousand VMs may take its time.
        "startupProbe": {**probe(health_path), "failureThreshold": 30},
        "livenessProbe": {**probe(health_path), "failureThreshold": 6},
        "readinessProbe": probe(ready_path),
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(component.labels)},
    }
    pod = {
        **_pod_spec(component, process, more),
        "terminationGracePeriodSeconds": grace_seconds,
        "topologySpreadConstraints": [spread],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": component.metadata(),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(component.labels)},
            "template": {"metadata": {"labels": dict(component.labels)}, "spec": pod},
        },
    }


def build_disruption_budget(component: Component) -> dict[str, Any]:
    """Draining nodes takes one replica at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": component.metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(component.labels)}},
    }


def build_service(component: Component, *, port: int) -> dict[str, Any]:
    """Names the port of the metrics; without an address of its own, as each replica has numbers of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": component.metadata(),
        "spec": {
            "clusterIP": "None",
            "selector": dict(component.labels),
            "ports": [{"name": _PORT_NAME, "port": port, "targetPort": _PORT_NAME, "protocol": "TCP"}],
        },
    }


def build_service_monitor(component: Component, *, path: str, interval: str = "30s") -> dict[str, Any]:
    """Asks a Prometheus operator to read the metrics behind `build_service`."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": component.metadata(),
        "spec": {
            "selector": {"matchLabels": dict(component.labels)},
            "endpoints": [{"port": _PORT_NAME, "path": path, "interval": interval}],
        },
    }
