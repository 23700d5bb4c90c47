"""What the API server fills in on built-in kinds (pkg/apis/*/v1/defaults.go and the strategies'
PrepareForCreate).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from vmkit.lab.resources import Object

_DEFAULT_GRACE_SECONDS: Final = 30


def pod_grace_seconds(obj: Object, asked: int | None) -> int:
    """How long a pod may take to end: what was asked, else its own; none when it never ran or has ended."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    own = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
    return max(0, int(own if asked is None else asked))


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


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Defaults of a pod's spec, also inside templates (in place)."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for field in ("containers", "initContainers"):
        if isinstance(spec.get(field), list):
            spec[field] = [_default_container(each) for each in spec[field]]
    account = spec.get("serviceAccountName")
    if account:
        spec.setdefault("serviceAccount", account)


def _default_container(container: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(container)
    image = str(filled.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    filled.setdefault(
        "imagePullPolicy", "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"
    )
    filled.setdefault("terminationMessagePath", "/dev/termination-log")
    filled.setdefault("terminationMessagePolicy", "File")
    filled.setdefault("resources", {})
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in filled["ports"]]
    limits = (filled["resources"] or {}).get("limits")
    if limits:
        filled["resources"] = {
            **filled["resources"],
            "requests": {**limits, **(filled["resources"].get("requests") or {})},
        }
    return filled


def prepare_pod(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault(
        "tolerations",
        [
            {
                "effect": "NoExecute",
                "key": f"node.kubernetes.io/{trouble}",
                "operator": "Exists",
                "tolerationSeconds": 300,
            }
            for trouble in ("not-ready", "unreachable")
        ],
    )
    status = _part(obj, "status")
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", _quality(spec))


def _quality(spec: Mapping[str, Any]) -> str:
    requests = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(each.get("requests") or each.get("limits") for each in requests):
        return "BestEffort"
    for each in requests:
        limits, asked = each.get("limits") or {}, each.get("requests") or {}
        if any(kind not in limits or asked.get(kind, limits[kind]) != limits[kind] for kind in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _default_template(spec: dict[str, Any]) -> None:
    template = dict(spec.get("template") or {})
    if isinstance(template.get("spec"), dict):
        inner = dict(template["spec"])
        default_pod_spec(inner)
        template["spec"] = inner
        spec["template"] = template


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
    _default_template(spec)
    obj["status"] = {}


def prepare_replica_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("replicas", 1)
    _default_template(spec)
    obj["status"] = {"replicas": 0}


def prepare_stateful_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    spec.setdefault("serviceName", "")
    _default_template(spec)
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


def prepare_daemon_set(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault(
        "updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    )
    _default_template(spec)
    counts = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    obj["status"] = dict.fromkeys(counts, 0)


def default_job_spec(spec: dict[str, Any]) -> None:
    """Defaults of a Job's spec, also inside a CronJob (in place)."""
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    _default_template(spec)


def prepare_job(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
    default_job_spec(spec)
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
    obj["status"] = {}


def prepare_cron_job(obj: Object, at: datetime) -> None:
    spec = _part(obj, "spec")
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


PREPARE: Final[Mapping[tuple[str, str], Callable[[Object, datetime], None]]] = {
    ("", "Namespace"): prepare_namespace,
    ("", "Secret"): prepare_secret,
    ("", "Service"): prepare_service,
    ("", "Pod"): prepare_pod,
    ("", "PersistentVolumeClaim"): prepare_claim,
    ("", "PersistentVolume"): prepare_volume,
    ("", "Node"): prepare_node,
    ("apps", "Deployment"): prepare_deployment,
    ("apps", "ReplicaSet"): prepare_replica_set,
    ("apps", "StatefulSet"): prepare_stateful_set,
    ("apps", "DaemonSet"): prepare_daemon_set,
    ("batch", "Job"): prepare_job,
    ("batch", "CronJob"): prepare_cron_job,
    ("storage.k8s.io", "StorageClass"): prepare_storage_class,
    ("rbac.authorization.k8s.io", "RoleBinding"): prepare_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): prepare_binding,
}
