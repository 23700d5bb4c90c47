"""What the API server fills in on built-in kinds (pkg/apis/*/v1/defaults.go and the strategies'
PrepareForCreate).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vmkit.lab.builtin.pod_defaults import default_template, prepare_pod
from vmkit.lab.resources import Object


def begin_namespace_deletion(obj: Object) -> None:
    """A namespace says that it is ending."""
    obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    obj["metadata"].pop("deletionGracePeriodSeconds", None)


def keep_namespace_finalizers(new: Object, old: Object, subresource: str) -> None:
    """spec.finalizers change through the finalize subresource alone."""
    if subresource != "finalize":
        finalizers = (old.get("spec") or {}).get("finalizers")
        new["spec"] = {**(new.get("spec") or {})}
        new["spec"].pop("finalizers", None)
        if finalizers:
            new["spec"]["finalizers"] = finalizers


def keep_service_addresses(new: Object, old: Object, subresource: str) -> None:
    """An update that leaves the allocated addresses out keeps them."""
    spec, before = new.get("spec"), old.get("spec") or {}
    if subresource or not isinstance(spec, dict):
        return
    if spec.get("type", "ClusterIP") == "ExternalName":
        return
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]


def _part(obj: Object, name: str) -> dict[str, Any]:
    part = dict(obj.get(name) or {})
    obj[name] = part
    return part


def prepare_namespace(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("finalizers", ["kubernetes"])
    obj["status"] = {"phase": "Active"}
    obj["metadata"]["labels"] = {
        **(obj["metadata"].get("labels") or {}),
        "kubernetes.io/metadata.name": obj["metadata"]["name"],
    }


def prepare_secret(obj: Object, at: datetime) -> None:
    plain = obj.pop("stringData", None)
    if plain:
        data = _part(obj, "data")
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    obj.setdefault("type", "Opaque")


def prepare_service(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec["ports"] = [
        {"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or ()
    ]
    if not spec["ports"]:
        del spec["ports"]
    if spec["type"] != "ExternalName":
        address = spec.get("clusterIP") or _address("10.96", obj["metadata"])
        spec["clusterIP"] = address
        spec.setdefault("clusterIPs", [address])
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
        for index, port in enumerate(spec.get("ports", ())):
            port.setdefault("nodePort", 30000 + (_number(obj["metadata"]) + index) % 2768)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    obj.setdefault("status", {"loadBalancer": {}})


def _number(metadata: Mapping[str, Any]) -> int:
    return zlib.crc32(f"{metadata.get('namespace', '')}/{metadata.get('name', '')}".encode())


def _address(prefix: str, metadata: Mapping[str, Any]) -> str:
    number = _number(metadata)
    return f"{prefix}.{number >> 8 & 255}.{number & 255 or 1}"


def prepare_deployment(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = dict(spec.get("strategy") or {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {
            "maxSurge": "25%",
            "maxUnavailable": "25%",
            **(strategy.get("rollingUpdate") or {}),
        }
    spec["strategy"] = strategy
    default_template(spec)
    obj["status"] = {}


def prepare_replica_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("replicas", 1)
    default_template(spec)
    obj["status"] = {"replicas": 0}


def prepare_stateful_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    spec.setdefault("serviceName", "")
    default_template(spec)
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


def prepare_daemon_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault(
        "updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    )
    default_template(spec)
    counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    obj["status"] = dict.fromkeys(counts, 0)


def _default_job_spec(spec: dict[str, Any]) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    default_template(spec)


def prepare_job(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    _default_job_spec(spec)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    metadata = obj["metadata"]
    if not spec.get("manualSelector"):
        # The controller's own labels tie pods to their Job (pkg/registry/batch/job/strategy.go).
        ties = {
            "batch.kubernetes.io/controller-uid": metadata["uid"],
            "batch.kubernetes.io/job-name": metadata["name"],
            "controller-uid": metadata["uid"],
            "job-name": metadata["name"],
        }
        template = dict(spec.get("template") or {})
        inner = dict(template.get("metadata") or {})
        inner["labels"] = {**(inner.get("labels") or {}), **ties}
        template["metadata"] = inner
        spec["template"] = template
        spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}})
        if not metadata.get("labels"):
            # A Job without labels is labelled as its pods are (pkg/apis/batch/v1/defaults.go).
            metadata["labels"] = dict(inner["labels"])
    obj["status"] = {}


def prepare_cron_job(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    job_template = _part(spec, "jobTemplate")
    job_template.setdefault("metadata", {})
    job = _part(job_template, "spec")
    job_pod = _part(job, "template")
    job_pod.setdefault("metadata", {})
    default_template(job)
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    obj["status"] = {}


def prepare_claim(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {"phase": "Pending"})
    finalizers = obj["metadata"].get("finalizers") or []
    if "kubernetes.io/pvc-protection" not in finalizers:
        obj["metadata"]["finalizers"] = [*finalizers, "kubernetes.io/pvc-protection"]


def prepare_volume(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    obj.setdefault("status", {"phase": "Pending"})


def prepare_storage_class(obj: Object, at: datetime) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def prepare_binding(obj: Object, at: datetime) -> None:
    role = _part(obj, "roleRef")
    role.setdefault("apiGroup", "rbac.authorization.k8s.io")
    subjects = obj.get("subjects")
    if isinstance(subjects, list):
        filled = []
        for subject in subjects:
            each = dict(subject)
            if each.get("kind") in ("User", "Group"):
                each.setdefault("apiGroup", "rbac.authorization.k8s.io")
            filled.append(each)
        obj["subjects"] = filled


def prepare_node(obj: Object, at: datetime) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {})


def prepare_event(obj: Object, at: datetime) -> None:
    """Structs that are never left out of an Event: its source and its times, null when unknown."""
    obj.setdefault("source", {})
    for field in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(field, None)
    obj.setdefault("reportingComponent", "")
    obj.setdefault("reportingInstance", "")


def prepare_role(obj: Object, at: datetime) -> None:
    obj.setdefault("rules", None)


def prepare_network_policy(obj: Object, at: datetime) -> None:
    """pkg/apis/networking/v1/defaults.go."""
    spec = _part(obj, "spec")
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")


def prepare_disruption_budget(obj: Object, at: datetime) -> None:
    counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    _part(obj, "spec")
    obj["status"] = dict.fromkeys(counts, 0)


def prepare_quota(obj: Object, at: datetime) -> None:
    _part(obj, "spec")
    obj["status"] = {}


def prepare_limit_range(obj: Object, at: datetime) -> None:
    """A container's default limit is its maximum, its default request its limit (core/v1/defaults.go)."""
    spec = _part(obj, "spec")
    limits = []
    for item in spec.get("limits") or ():
        filled = dict(item)
        if filled.get("type") == "Container":
            default = {**(filled.get("max") or {}), **(filled.get("default") or {})}
            request = {**(filled.get("min") or {}), **default, **(filled.get("defaultRequest") or {})}
            filled.update({"default": default} if default else {})
            filled.update({"defaultRequest": request} if request else {})
        limits.append(filled)
    spec["limits"] = limits or None


def prepare_pod_autoscaler(obj: Object, at: datetime) -> None:
    """pkg/apis/autoscaling/v2/defaults.go, and v1's."""
    spec = _part(obj, "spec")
    spec.setdefault("minReplicas", 1)
    if obj.get("apiVersion") == "autoscaling/v1":
        obj["status"] = {"currentReplicas": 0, "desiredReplicas": 0}
        return
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}


def prepare_priority_class(obj: Object, at: datetime) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


PREPARE: Final[Mapping[tuple[str, str], Callable[[Object, datetime], None]]] = {
    ("", "Namespace"): prepare_namespace,
    ("", "Secret"): prepare_secret,
    ("", "Service"): prepare_service,
    ("", "Pod"): prepare_pod,
    ("", "PersistentVolumeClaim"): prepare_claim,
    ("", "PersistentVolume"): prepare_volume,
    ("", "Node"): prepare_node,
    ("", "Event"): prepare_event,
    ("", "ResourceQuota"): prepare_quota,
    ("", "LimitRange"): prepare_limit_range,
    ("networking.k8s.io", "NetworkPolicy"): prepare_network_policy,
    ("policy", "PodDisruptionBudget"): prepare_disruption_budget,
    ("scheduling.k8s.io", "PriorityClass"): prepare_priority_class,
    ("apps", "Deployment"): prepare_deployment,
    ("apps", "ReplicaSet"): prepare_replica_set,
    ("apps", "StatefulSet"): prepare_stateful_set,
    ("apps", "DaemonSet"): prepare_daemon_set,
    ("autoscaling", "HorizontalPodAutoscaler"): prepare_pod_autoscaler,
    ("batch", "Job"): prepare_job,
    ("batch", "CronJob"): prepare_cron_job,
    ("storage.k8s.io", "StorageClass"): prepare_storage_class,
    ("rbac.authorization.k8s.io", "Role"): prepare_role,
    ("rbac.authorization.k8s.io", "ClusterRole"): prepare_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): prepare_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): prepare_binding,
}
