"""The manifests under which schedules run in a cluster: an account that may do what a pass does, and nothing else.

Roles cannot tell fields apart: who may patch VMs could rewrite their whole spec. An admission policy confines the
account to vmkit's own annotations and the run strategy (Kubernetes documentation, "Validating Admission Policy":
`object` and `oldObject` of custom resources are maps, `request.userInfo` names who asks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.errors import UsageError

NAME: Final = "vmkit-schedule"
SWITCH: Final = "vmkit-switch"
_LABELS: Final[Mapping[str, str]] = {"app.kubernetes.io/name": "vmkit", "app.kubernetes.io/component": "schedule"}
_USER: Final = 65532
"""The user that distroless images call "nonroot"."""

CLUSTER_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["list"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["list"]},
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/start"], "verbs": ["update"]},
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/stop"], "verbs": ["update"]},
    {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]},
    {"apiGroups": ["kustomize.toolkit.fluxcd.io"], "resources": ["kustomizations"], "verbs": ["get"]},
    {"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": ["get"]},
    {"apiGroups": ["ceph.rook.io"], "resources": ["cephclusters"], "verbs": ["list"]},
)
"""What a pass over all namespaces asks for."""


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What to install.

    Attributes:
        namespace: where the job, its account and the suspend switch live.
        image: the image that holds vmkit.
        every_minutes: how often a pass is made; a divisor of 60, so that the hour begins with one.
        arguments: further arguments of ``vmkit schedule run``.
    """

    namespace: str = "vmkit"
    image: str = ""
    every_minutes: int = 5
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.image:
            raise UsageError("which image holds vmkit?", hint="--image registry.example/vmkit:1.0")
        if self.every_minutes < 1 or 60 % self.every_minutes:
            raise UsageError(
                f"every {self.every_minutes} minutes does not divide the hour",
                hint="one of 1, 2, 3, 5, 10, 15, 30",
            )


def build_manifests(options: InstallOptions) -> list[dict[str, Any]]:
    """The objects, in the order in which they are to be made."""
    namespace = options.namespace
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {**_LABELS, "pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(NAME, namespace)},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": _metadata(NAME),
            "rules": [dict(rule) for rule in CLUSTER_RULES],
        },
        _binding("ClusterRole", namespace),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": _metadata(NAME, namespace),
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [SWITCH], "verbs": ["get"]}
            ],
        },
        _binding("Role", namespace),
        *_policy(namespace),
        _network_policy(namespace),
        _cron_job(options),
    ]


def _metadata(name: str, namespace: str | None = None) -> dict[str, Any]:
    placed = {} if namespace is None else {"namespace": namespace}
    return {"name": name, **placed, "labels": dict(_LABELS)}


def _binding(kind: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": f"{kind}Binding",
        "metadata": _metadata(NAME, namespace if kind == "Role" else None),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }


def _policy(namespace: str) -> list[dict[str, Any]]:
    old, new = "oldObject.metadata.?annotations.orValue({})", "object.metadata.?annotations.orValue({})"
    free = "['runStrategy', 'running']"

    def only(key_is_free: str, left: str, right: str) -> str:
        return f"{left}.all(key, {key_is_free} || (key in {right} && {right}[key] == {left}[key]))"

    own = "key.startsWith('vmkit.io/')"
    validations = [
        {
            "expression": f"{only(own, new, old)} && {only(own, old, new)}",
            "message": "schedules may write no annotations but vmkit.io's",
        },
        {
            "expression": f"{only(f'key in {free}', 'object.spec', 'oldObject.spec')} && "
            f"{only(f'key in {free}', 'oldObject.spec', 'object.spec')}",
            "message": "schedules may change nothing of a VM's spec but its run strategy",
        },
        {
            "expression": " && ".join(
                f"object.metadata.?{field} == oldObject.metadata.?{field}"
                for field in ("labels", "finalizers", "ownerReferences")
            ),
            "message": "schedules may not change labels, finalizers or owners of a VM",
        },
    ]
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": _metadata(NAME),
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": ["kubevirt.io"],
                            "apiVersions": ["*"],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": ["virtualmachines"],
                        }
                    ]
                },
                "matchConditions": [
                    {
                        "name": "by-schedules",
                        "expression": f"request.userInfo.username == 'system:serviceaccount:{namespace}:{NAME}'",
                    }
                ],
                "validations": [
                    {"expression": "request.operation == 'UPDATE'", "message": "schedules make no VMs"},
                    *validations,
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": _metadata(NAME),
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        },
    ]


def _network_policy(namespace: str) -> dict[str, Any]:
    """Nobody may connect to it; it may ask for names and reach API servers, whose addresses no policy knows."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(NAME, namespace),
        "spec": {
            "podSelector": {"matchLabels": dict(_LABELS)},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
                {"ports": [{"protocol": "TCP", "port": port} for port in (443, 6443)]},
            ],
        },
    }


def _cron_job(options: InstallOptions) -> dict[str, Any]:
    command = ["vmkit", "schedule", "run", "--all-namespaces", "--yes", f"--switch={options.namespace}/{SWITCH}"]
    container = {
        "name": "schedule",
        "image": options.image,
        "command": [*command, *options.arguments],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }
    pod = {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(NAME, options.namespace),
        "spec": {
            "schedule": f"*/{options.every_minutes} * * * *",
            # Two at once do no harm, and no good either.
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 240,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,  # The next pass is the next try.
                    "activeDeadlineSeconds": 1800,
                    "template": {"metadata": {"labels": dict(_LABELS)}, "spec": pod},
                }
            },
        },
    }
