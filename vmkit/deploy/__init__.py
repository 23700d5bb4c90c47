"""What runs in a cluster, as manifests: blocks that every ``vmkit install`` puts together.

component    what is installed: its name, its labels, where it lives; namespace and service account
rights       roles with their bindings
confinement  an admission policy over what roles cannot tell apart, and a network policy
workloads    CronJob, Deployment, PodDisruptionBudget, Service, ServiceMonitor

Everything here is pure: values in, manifests out.
"""

from vmkit.deploy.component import Component, build_namespace, build_service_account
from vmkit.deploy.confinement import build_admission_policy, build_network_policy
from vmkit.deploy.rights import build_cluster_roles, build_namespace_roles
from vmkit.deploy.workloads import (
    Process,
    build_cron_job,
    build_deployment,
    build_disruption_budget,
    build_service,
    build_service_monitor,
)

__all__ = [
    "Component",
    "Process",
    "build_admission_policy",
    "build_cluster_roles",
    "build_cron_job",
    "build_deployment",
    "build_disruption_budget",
    "build_namespace",
    "build_namespace_roles",
    "build_network_policy",
    "build_service",
    "build_service_account",
    "build_service_monitor",
]
