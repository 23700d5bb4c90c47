"""Table columns of built-in kinds, as kubernetes' printers show them
(pkg/printers/internalversion/printers.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from vmkit.lab.resources import Column, Object
from vmkit.lab.semantics.jsonpath import find_first
from vmkit.lab.semantics.tables import AGE_DESCRIPTION, age

Cell = Callable[[Object, datetime], Any]

_DATA_DESCRIPTION: Final = (
    "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. "
    "Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap "
    "with the keys in the BinaryData field, this is enforced during validation process."
)


def _at(path: str, fallback: Any = "") -> Cell:
    def read(obj: Object, at: datetime) -> Any:
        value = find_first(path, obj)
        return fallback if value is None or value == "" else value

    return read


def _text(name: str, value: Cell, *, wide: bool = False, description: str = "", type: str = "string") -> Column:  # noqa: A002
    return Column(name, type=type, description=description, priority=1 if wide else 0, value=value)


def _path(name: str, path: str, fallback: Any = "", *, wide: bool = False, type: str = "string") -> Column:  # noqa: A002
    return _text(name, _at(path, fallback), wide=wide, type=type)


_AGE: Final = Column(
    "Age", description=AGE_DESCRIPTION, value=lambda obj, at: age(obj["metadata"].get("creationTimestamp"), at)
)


def _joined(values: Iterable[Any], *, none: str = "<none>") -> str:
    return ",".join(str(each) for each in values) or none


def format_selector(selector: Mapping[str, Any] | None) -> str:
    """A selector (matchLabels and matchExpressions, or plain labels) in one line."""
    if not selector:
        return "<none>"
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {}) or {}
    parts = [f"{key}={value}" for key, value in sorted(labels.items())]
    for each in selector.get("matchExpressions") or ():
        operator = {"In": "in", "NotIn": "notin"}.get(each.get("operator", ""))
        if operator:
            parts.append(f"{each['key']} {operator} ({','.join(sorted(each.get('values') or ()))})")
        else:
            parts.append(("!" if each.get("operator") == "DoesNotExist" else "") + each["key"])
    return ",".join(parts) or "<none>"


# --- pods -----------------------------------------------------------------------------------------------------


def _pod_ready(obj: Object, at: datetime) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or ()
    total = len((obj.get("spec") or {}).get("containers") or ())
    return f"{sum(1 for each in statuses if each.get('ready'))}/{total}"


def pod_phase(obj: Object, at: datetime) -> str:
    """What kubectl shows as a pod's status."""
    status = obj.get("status") or {}
    reason: str = status.get("reason") or status.get("phase") or ""
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    if reason == "Completed" and any(
        (each.get("state") or {}).get("running") and each.get("ready")
        for each in status.get("containerStatuses") or ()
    ):
        reason = "Running"
    if obj["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _pod_restarts(obj: Object, at: datetime) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or ()
    return str(sum(each.get("restartCount", 0) for each in statuses))


def _pod_gates(obj: Object, at: datetime) -> str:
    gates = (obj.get("spec") or {}).get("readinessGates") or ()
    if not gates:
        return "<none>"
    conditions = {each["type"]: each.get("status") for each in (obj.get("status") or {}).get("conditions") or ()}
    return f"{sum(1 for gate in gates if conditions.get(gate['conditionType']) == 'True')}/{len(gates)}"


_POD: Final = (
    _text("Ready", _pod_ready),
    _text("Status", pod_phase),
    _text("Restarts", _pod_restarts),
    _AGE,
    _path("IP", ".status.podIP", "<none>", wide=True),
    _path("Node", ".spec.nodeName", "<none>", wide=True),
    _path("Nominated Node", ".status.nominatedNodeName", "<none>", wide=True),
    _text("Readiness Gates", _pod_gates, wide=True),
)

# --- nodes ----------------------------------------------------------------------------------------------------


def _node_status(obj: Object, at: datetime) -> str:
    ready = [each for each in (obj.get("status") or {}).get("conditions") or () if each.get("type") == "Ready"]
    words = [] if not ready else ["Ready" if ready[0].get("status") == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words) or "Unknown"


def _node_roles(obj: Object, at: datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    return _joined(sorted(key[len(prefix) :] for key in labels if key.startswith(prefix) and key != prefix))


def _node_address(kind: str) -> Cell:
    return lambda obj, at: next(
        (each["address"] for each in (obj.get("status") or {}).get("addresses") or () if each.get("type") == kind),
        "<none>",
    )


_NODE: Final = (
    _text("Status", _node_status),
    _text("Roles", _node_roles),
    _AGE,
    _path("Version", ".status.nodeInfo.kubeletVersion"),
    _text("Internal-IP", _node_address("InternalIP"), wide=True),
    _text("External-IP", _node_address("ExternalIP"), wide=True),
    _path("OS-Image", ".status.nodeInfo.osImage", "<unknown>", wide=True),
    _path("Kernel-Version", ".status.nodeInfo.kernelVersion", "<unknown>", wide=True),
    _path("Container-Runtime", ".status.nodeInfo.containerRuntimeVersion", "<unknown>", wide=True),
)

# --- services, storage ------------------------------------------------------------------------------------------


def _service_ports(obj: Object, at: datetime) -> str:
    parts = []
    for port in (obj.get("spec") or {}).get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return _joined(parts)


def _service_outside(obj: Object, at: datetime) -> str:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") == "LoadBalancer":
        ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found = [each.get("ip") or each.get("hostname") for each in ingress] + list(spec.get("externalIPs") or ())
        return _joined(found, none="<pending>")
    return _joined(spec.get("externalIPs") or ())


_MODES: Final = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(values: Iterable[str] | None) -> str:
    return ",".join(_MODES.get(each, each) for each in values or ())


def _claim_status(obj: Object, at: datetime) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase", ""))


_CLAIM: Final = (
    _text("Status", _claim_status),
    _path("Volume", ".spec.volumeName"),
    _text("Capacity", lambda obj, at: _bound(obj, find_first(".status.capacity.storage", obj))),
    _text("Access Modes", lambda obj, at: _bound(obj, _modes((obj.get("status") or {}).get("accessModes")))),
    _path("StorageClass", ".spec.storageClassName"),
    _path("VolumeAttributesClass", ".spec.volumeAttributesClassName", "<unset>"),
    _AGE,
    _path("VolumeMode", ".spec.volumeMode", "<unset>", wide=True),
)


def _bound(obj: Object, value: Any) -> str:
    return str(value or "") if (obj.get("spec") or {}).get("volumeName") else ""


def _volume_claim(obj: Object, at: datetime) -> str:
    claim = (obj.get("spec") or {}).get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


_VOLUME: Final = (
    _path("Capacity", ".spec.capacity.storage"),
    _text("Access Modes", lambda obj, at: _modes((obj.get("spec") or {}).get("accessModes"))),
    _path("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
    _text("Status", _claim_status),
    _text("Claim", _volume_claim),
    _path("StorageClass", ".spec.storageClassName"),
    _path("VolumeAttributesClass", ".spec.volumeAttributesClassName", "<unset>"),
    _path("Reason", ".status.reason"),
    _AGE,
    _path("VolumeMode", ".spec.volumeMode", "<unset>", wide=True),
)

_STORAGE_CLASS: Final = (
    _path("Provisioner", ".provisioner"),
    _path("ReclaimPolicy", ".reclaimPolicy", "Delete"),
    _path("VolumeBindingMode", ".volumeBindingMode", "Immediate"),
    _text("AllowVolumeExpansion", lambda obj, at: "true" if obj.get("allowVolumeExpansion") else "false"),
    _AGE,
)

# --- workloads --------------------------------------------------------------------------------------------------


def _ratio(done: str, wanted: str) -> Cell:
    return lambda obj, at: f"{find_first(done, obj) or 0}/{find_first(wanted, obj) or 0}"


def _containers(field: str) -> Cell:
    def read(obj: Object, at: datetime) -> str:
        spec = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
        return ",".join(str(each.get(field, "")) for each in spec.get("containers") or ())

    return read


_WIDE_CONTAINERS: Final = (
    _text("Containers", _containers("name"), wide=True),
    _text("Images", _containers("image"), wide=True),
)
_SELECTOR: Final = _text(
    "Selector", lambda obj, at: format_selector((obj.get("spec") or {}).get("selector")), wide=True
)


def _job_status(obj: Object, at: datetime) -> str:
    conditions = {
        each["type"] for each in (obj.get("status") or {}).get("conditions") or () if each.get("status") == "True"
    }
    if "Complete" in conditions:
        return "Complete"
    if "Failed" in conditions:
        return "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return "Suspended" if "Suspended" in conditions else "Running"


def _job_duration(obj: Object, at: datetime) -> str:
    from vmkit.lab.clock import parse_time
    from vmkit.lab.semantics.tables import format_age

    status = obj.get("status") or {}
    if not status.get("startTime"):
        return ""
    end = parse_time(status["completionTime"]) if status.get("completionTime") else at
    return format_age(end - parse_time(status["startTime"]))


def _last_seen(obj: Object, at: datetime) -> str:
    return age(obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp"), at)


def _event_object(obj: Object, at: datetime) -> str:
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


_EVENT: Final = (
    Column("Last Seen", value=_last_seen),
    _path("Type", ".type"),
    _path("Reason", ".reason"),
    _text("Object", _event_object),
    _path("Subobject", ".involvedObject.fieldPath", wide=True),
    _path("Source", ".source.component", wide=True),
    _text("Message", lambda obj, at: str(obj.get("message") or obj.get("note") or "").strip()),
    _text("First Seen", lambda obj, at: age(obj.get("firstTimestamp"), at), wide=True),
    _path("Count", ".count", 1, wide=True),
    _text("Name", lambda obj, at: obj["metadata"]["name"], wide=True),
)


def _role_of(obj: Object, at: datetime) -> str:
    role = obj.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Cell:
    def read(obj: Object, at: datetime) -> str:
        return ", ".join(
            f"{each.get('namespace')}/{each.get('name')}" if kind == "ServiceAccount" else str(each.get("name"))
            for each in obj.get("subjects") or ()
            if each.get("kind") == kind
        )

    return read


_BINDING: Final = (
    _text("Role", _role_of),
    _AGE,
    _text("Users", _subjects("User"), wide=True),
    _text("Groups", _subjects("Group"), wide=True),
    _text("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
_ROLE: Final = (Column("Created At", type="date", value=lambda obj, at: obj["metadata"].get("creationTimestamp")),)

COLUMNS: Final[Mapping[tuple[str, str], tuple[Column, ...]]] = {
    ("", "Pod"): _POD,
    ("", "Node"): _NODE,
    ("", "Namespace"): (_path("Status", ".status.phase"), _AGE),
    ("", "ConfigMap"): (
        _text(
            "Data",
            lambda obj, at: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()),
            description=_DATA_DESCRIPTION,
        ),
        _AGE,
    ),
    ("", "Secret"): (_path("Type", ".type"), _text("Data", lambda obj, at: len(obj.get("data") or ())), _AGE),
    ("", "Service"): (
        _path("Type", ".spec.type"),
        _path("Cluster-IP", ".spec.clusterIP", "<none>"),
        _text("External-IP", _service_outside),
        _text("Port(s)", _service_ports),
        _AGE,
        _text("Selector", lambda obj, at: format_selector((obj.get("spec") or {}).get("selector")), wide=True),
    ),
    ("", "ServiceAccount"): (_text("Secrets", lambda obj, at: len(obj.get("secrets") or ())), _AGE),
    ("", "PersistentVolumeClaim"): _CLAIM,
    ("", "PersistentVolume"): _VOLUME,
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("storage.k8s.io", "StorageClass"): _STORAGE_CLASS,
    ("apps", "Deployment"): (
        _text("Ready", _ratio(".status.readyReplicas", ".spec.replicas")),
        _path("Up-to-date", ".status.updatedReplicas", 0),
        _path("Available", ".status.availableReplicas", 0),
        _AGE,
        *_WIDE_CONTAINERS,
        _SELECTOR,
    ),
    ("apps", "ReplicaSet"): (
        _path("Desired", ".spec.replicas", 0, type="integer"),
        _path("Current", ".status.replicas", 0, type="integer"),
        _path("Ready", ".status.readyReplicas", 0, type="integer"),
        _AGE,
        *_WIDE_CONTAINERS,
        _SELECTOR,
    ),
    ("apps", "StatefulSet"): (
        _text("Ready", _ratio(".status.readyReplicas", ".spec.replicas")),
        _AGE,
        *_WIDE_CONTAINERS,
    ),
    ("apps", "DaemonSet"): (
        _path("Desired", ".status.desiredNumberScheduled", 0, type="integer"),
        _path("Current", ".status.currentNumberScheduled", 0, type="integer"),
        _path("Ready", ".status.numberReady", 0, type="integer"),
        _path("Up-to-date", ".status.updatedNumberScheduled", 0, type="integer"),
        _path("Available", ".status.numberAvailable", 0, type="integer"),
        _text(
            "Node Selector", lambda obj, at: format_selector(find_first(".spec.template.spec.nodeSelector", obj))
        ),
        _AGE,
        *_WIDE_CONTAINERS,
        _SELECTOR,
    ),
    ("apps", "ControllerRevision"): (
        _text("Controller", lambda obj, at: _controller_of(obj)),
        _path("Revision", ".revision", 0),
        _AGE,
    ),
    ("batch", "Job"): (
        _text("Status", _job_status),
        _text("Completions", _ratio(".status.succeeded", ".spec.completions")),
        _text("Duration", _job_duration),
        _AGE,
        *_WIDE_CONTAINERS,
        _SELECTOR,
    ),
    ("batch", "CronJob"): (
        _path("Schedule", ".spec.schedule"),
        _path("Timezone", ".spec.timeZone", "<none>"),
        _text("Suspend", lambda obj, at: "True" if (obj.get("spec") or {}).get("suspend") else "False"),
        _text("Active", lambda obj, at: len((obj.get("status") or {}).get("active") or ()), type="integer"),
        _text(
            "Last Schedule",
            lambda obj, at: age(t, at) if (t := find_first(".status.lastScheduleTime", obj)) else "<none>",
        ),
        _AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        _path("Min Available", ".spec.minAvailable", "N/A"),
        _path("Max Unavailable", ".spec.maxUnavailable", "N/A"),
        _path("Allowed Disruptions", ".status.disruptionsAllowed", 0, type="integer"),
        _AGE,
    ),
    ("coordination.k8s.io", "Lease"): (_path("Holder", ".spec.holderIdentity"), _AGE),
    ("scheduling.k8s.io", "PriorityClass"): (
        _path("Value", ".value", 0, type="integer"),
        _text("Global-Default", lambda obj, at: bool(obj.get("globalDefault")), type="boolean"),
        _AGE,
        _path("PreemptionPolicy", ".preemptionPolicy", "PreemptLowerPriority"),
    ),
    ("node.k8s.io", "RuntimeClass"): (_path("Handler", ".handler"), _AGE),
    ("networking.k8s.io", "NetworkPolicy"): (
        _text("Pod-Selector", lambda obj, at: format_selector((obj.get("spec") or {}).get("podSelector"))),
        _AGE,
    ),
    ("rbac.authorization.k8s.io", "RoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io", "Role"): _ROLE,
    ("rbac.authorization.k8s.io", "ClusterRole"): _ROLE,
}


def _controller_of(obj: Object) -> str:
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            return f"{str(owner.get('kind', '')).lower()}{'.' + group if group else ''}/{owner.get('name')}"
    return "<none>"


def _created(obj: Object, at: datetime) -> Any:
    return obj["metadata"].get("creationTimestamp")


CRD_COLUMNS: Final = (Column("Created At", type="date", value=_created),)
API_SERVICE_COLUMNS: Final = (
    _text("Service", lambda obj, at: _service_of(obj)),
    _text(
        "Available",
        lambda obj, at: find_first('.status.conditions[?(@.type=="Available")].status', obj) or "Unknown",
    ),
    _AGE,
)


def _service_of(obj: Object) -> str:
    service = (obj.get("spec") or {}).get("service")
    return f"{service.get('namespace')}/{service.get('name')}" if service else "Local"


_CUSTOM_AGE: Final = Column("Age", type="date", path=".metadata.creationTimestamp")
SNAPSHOT_COLUMNS: Final = (
    Column("ReadyToUse", type="boolean", path=".status.readyToUse"),
    Column("SourcePVC", path=".spec.source.persistentVolumeClaimName"),
    Column("SourceSnapshotContent", path=".spec.source.volumeSnapshotContentName"),
    Column("RestoreSize", path=".status.restoreSize"),
    Column("SnapshotClass", path=".spec.volumeSnapshotClassName"),
    Column("SnapshotContent", path=".status.boundVolumeSnapshotContentName"),
    Column("CreationTime", type="date", path=".status.creationTime"),
    _CUSTOM_AGE,
)
SNAPSHOT_CLASS_COLUMNS: Final = (
    Column("Driver", path=".driver"),
    Column("DeletionPolicy", path=".deletionPolicy"),
    _CUSTOM_AGE,
)
SNAPSHOT_CONTENT_COLUMNS: Final = (
    Column("ReadyToUse", type="boolean", path=".status.readyToUse"),
    Column("RestoreSize", type="integer", path=".status.restoreSize"),
    Column("DeletionPolicy", path=".spec.deletionPolicy"),
    Column("Driver", path=".spec.driver"),
    Column("VolumeSnapshotClass", path=".spec.volumeSnapshotClassName"),
    Column("VolumeSnapshot", path=".spec.volumeSnapshotRef.name"),
    Column("VolumeSnapshotNamespace", path=".spec.volumeSnapshotRef.namespace"),
    _CUSTOM_AGE,
)
