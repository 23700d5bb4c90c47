"""The manifests under which idle VMs are stopped in a cluster: an hourly job, under an account that may do what a
run does, and nothing else; an admission policy confines it to vmkit's own annotations and the run strategy.
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
    build_namespace,
    build_namespace_roles,
    build_network_policy,
    build_service_account,
)
from vmkit.errors import UsageError
from vmkit.guard.switch import DEFAULT_NAME as SWITCH
from vmkit.idle.running.brake import NAME as SHARES
from vmkit.metrics.prometheus.rules import build_prometheus_rule

PART: Final = "stop-idle"
_PROMETHEUS_PORTS: Final = (9090, 9091, 9092)
"""Prometheus, and the ports at which OpenShift's and Thanos' queriers answer."""

CLUSTER_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get", "list", "patch"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstances"], "verbs": ["list"]},
    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachineinstancemigrations"], "verbs": ["list"]},
    {
        "apiGroups": ["subresources.kubevirt.io"],
        "resources": ["virtualmachineinstances/userlist"],
        "verbs": ["get"],
    },
    {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/stop"], "verbs": ["update"]},
    {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]},
    {"apiGroups": ["kustomize.toolkit.fluxcd.io"], "resources": ["kustomizations"], "verbs": ["get"]},
    {"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"], "verbs": ["get"]},
)
"""What a run over all namespaces asks for."""

OWN_RULES: Final[tuple[Mapping[str, Any], ...]] = (
    {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [SWITCH, SHARES], "verbs": ["get"]},
    # Roles know no names that begin so: the months of the ledger cannot be told from other ConfigMaps.
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "create", "patch"]},
)
"""In its own namespace: the switch that suspends every change, the share of idle VMs, the ledger."""


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What to install.

    Attributes:
        namespace: where the job, its account, the switch and the ledger live.
        image: the image that holds vmkit.
        minute: of each hour at which it runs.
        stop: it may stop VMs; without, it only notes them.
        everything: it looks at all VMs; without, at those that are labelled.
        recording_rules: a Prometheus operator is to precompute what runs ask for: with them one query tells of
            thousands of VMs.
        arguments: further arguments of ``vmkit stop-idle run``.

    Raises:
        UsageError: there is no such minute.
    """

    namespace: str = "vmkit"
    image: str = ""
    minute: int = 17
    stop: bool = False
    everything: bool = False
    recording_rules: bool = False
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.minute <= 59:
            raise UsageError(f"an hour has no minute {self.minute}", hint="0 to 59")


def build_manifests(options: InstallOptions) -> list[dict[str, Any]]:
    """The objects, in the order in which they are to be made.

    Raises:
        UsageError: there is no such namespace name, or no image is given.
    """
    component = Component(PART, options.namespace)
    command = ["vmkit", "stop-idle", "run", f"--switch={options.namespace}/{SWITCH}"]
    command += ["--all-namespaces"] if options.everything else []
    command += ["--yes"] if options.stop else []
    process = Process(options.image, [*command, *options.arguments])
    return [
        build_namespace(component),
        build_service_account(component),
        *build_cluster_roles(component, CLUSTER_RULES),
        *build_namespace_roles(component, OWN_RULES),
        *build_admission_policy(component, what="stop-idle"),
        build_network_policy(component, egress_ports=_PROMETHEUS_PORTS),
        *((build_prometheus_rule(options.namespace, labels=component.labels),) if options.recording_rules else ()),
        build_cron_job(component, process, schedule=f"{options.minute} * * * *"),
    ]
