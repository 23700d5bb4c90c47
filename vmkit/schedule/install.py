"""The manifests under which schedules run in a cluster: a job that makes a pass now and then, or the controller.

Either has an account that may do what it does, and nothing else; an admission policy confines it to vmkit's own
annotations and the run strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.deploy import (
    Component,
    Process,
    build_admission_policy,
    build_cluster_roles,
    build_cron_job,
    build_deployment,
    build_disruption_budget,
    build_namespace,
    build_namespace_roles,
    build_network_policy,
    build_service,
    build_service_account,
    build_service_monitor,
)
from vmkit.errors import UsageError
from vmkit.schedule.controller.permissions import (
    CONTROLLER_RULES,
    DEFAULT_PORT,
    HEALTH_PATH,
    LEASE_RULES,
    METRICS_PATH,
    READY_PATH,
)

PART: Final = "schedule"
SWITCH: Final = "vmkit-switch"

CLUSTER_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["list"]},
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

SWITCH_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [SWITCH], "verbs": ["get"]},
)
"""In its own namespace: the switch that suspends every change."""


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What to install.

    Attributes:
        namespace: where it, its account and the suspend switch live.
        image: the image that holds vmkit.
        controller: the controller instead of a job.
        every_minutes: how often a job makes a pass; a divisor of 60, so that the hour begins with one.
        service_monitor: a Prometheus operator is to read the controller's metrics.
        arguments: further arguments of ``vmkit schedule run``.

    Raises:
        UsageError: these do not go together.
    """

    namespace: str = "vmkit"
    image: str = ""
    controller: bool = False
    every_minutes: int = 5
    service_monitor: bool = False
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.every_minutes < 1 or 60 % self.every_minutes:
            raise UsageError(
                f"every {self.every_minutes} minutes does not divide the hour",
                hint="one of 1, 2, 3, 5, 10, 15, 30",
            )
        if self.service_monitor and not self.controller:
            raise UsageError("a job is gone before anybody reads its metrics", hint="add --controller")


def build_manifests(options: InstallOptions) -> list[dict[str, Any]]:
    """The objects, in the order in which they are to be made.

    Raises:
        UsageError: there is no such namespace name, or no image is given.
    """
    component = Component(PART, options.namespace)
    command = [
        "vmkit", "schedule", "run", "--all-namespaces", "--yes", f"--switch={options.namespace}/{SWITCH}",
    ]  # fmt: skip
    if options.controller:
        command += ["--watch", f"--listen=:{DEFAULT_PORT}", f"--lease-namespace={options.namespace}"]
    process = Process(options.image, [*command, *options.arguments])
    cluster_rules = (*CLUSTER_RULES, *CONTROLLER_RULES) if options.controller else CLUSTER_RULES
    own_rules = (*SWITCH_RULES, *LEASE_RULES) if options.controller else SWITCH_RULES
    return [
        build_namespace(component),
        build_service_account(component),
        *build_cluster_roles(component, cluster_rules),
        *build_namespace_roles(component, own_rules),
        *build_admission_policy(component, what="schedules"),
        build_network_policy(component, ingress_port=DEFAULT_PORT if options.controller else None),
        *(_build_controller(component, process, options) if options.controller else ()),
        *(() if options.controller else [_build_job(component, process, options)]),
    ]


def _build_job(component: Component, process: Process, options: InstallOptions) -> dict[str, Any]:
    return build_cron_job(component, process, schedule=f"*/{options.every_minutes} * * * *")


def _build_controller(component: Component, process: Process, options: InstallOptions) -> list[dict[str, Any]]:
    monitor = [
        build_service(component, port=DEFAULT_PORT),
        build_service_monitor(component, path=METRICS_PATH),
    ]
    return [
        build_disruption_budget(component),
        build_deployment(component, process, port=DEFAULT_PORT, health_path=HEALTH_PATH, ready_path=READY_PATH),
        *(monitor if options.service_monitor else ()),
    ]
