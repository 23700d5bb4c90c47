"""Every built-in resource type of the practice cluster (k8s.io/api, as a 1.36 server serves them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmkit.lab.builtin import checks, columns, defaults, fields, pod_defaults
from vmkit.lab.resources import ALL_VERBS, Registry, ResourceType, SchemaRef

_FILE: Final = "kubernetes"
_ALL: Final = ("all",)
_CREATE: Final = ("create",)
_PART: Final = ("get", "patch", "update")


def _type(group: str, version: str, kind: str, plural: str, definition: str, **settings: Any) -> ResourceType:
    """A built-in type. ``definition`` names its schema below io.k8s (empty: none)."""
    schema = SchemaRef(_FILE, f"io.k8s.{definition}.{kind}") if definition else None
    settings.setdefault("prepare", defaults.PREPARE.get((group, kind)))
    settings.setdefault("columns", columns.COLUMNS.get((group, kind), ()))
    settings.setdefault("empty", {"metadata": {}})
    selectable = fields.SELECTABLE.get((group, kind))
    if selectable is not None:
        settings.setdefault("selectable_names", selectable[0])
        settings.setdefault("selectable_fields", selectable[1])
    return ResourceType(group, version, kind, plural, schema=schema, **settings)


def _core(kind: str, plural: str, **settings: Any) -> ResourceType:
    return _type("", "v1", kind, plural, "api.core.v1", **settings)


_TEMPLATE: Final[Mapping[str, Any]] = {"metadata": {}, "spec": {}}
_STATUS: Final = ("status",)
_SCALE: Final = ("status", "scale")

NAMESPACES: Final = _core(
    "Namespace",
    "namespaces",
    namespaced=False,
    short_names=("ns",),
    subresources=_STATUS,
    validate_name="label",
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    finalizing=lambda obj: bool((obj.get("spec") or {}).get("finalizers")),
    on_delete=defaults.begin_namespace_deletion,
    prepare_update=defaults.keep_namespace_finalizers,
    empty={"metadata": {}, "spec": {}, "status": {}},
)
EVENTS: Final = _core(
    "Event",
    "events",
    short_names=("ev",),
    create_on_update=True,
    empty={"metadata": {}, "involvedObject": {}, "source": {}},
)
NODES: Final = _core(
    "Node",
    "nodes",
    namespaced=False,
    short_names=("no",),
    subresources=_STATUS,
    empty={"metadata": {}, "spec": {}, "status": {"nodeInfo": {}, "daemonEndpoints": {}}},
)
PODS: Final = _core(
    "Pod",
    "pods",
    short_names=("po",),
    categories=_ALL,
    subresources=_STATUS,
    returns_deleted=True,
    generation=True,
    graceful_seconds=pod_defaults.pod_grace_seconds,
    empty={"metadata": {}, "spec": {}, "status": {}},
)
CONFIG_MAPS: Final = _core("ConfigMap", "configmaps", short_names=("cm",))
SECRETS: Final = _core("Secret", "secrets")
SERVICES: Final = _core(
    "Service",
    "services",
    short_names=("svc",),
    categories=_ALL,
    subresources=_STATUS,
    returns_deleted=True,
    validate_name="label1035",
    prepare_update=defaults.keep_service_addresses,
    empty={"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}},
)
SERVICE_ACCOUNTS: Final = _core("ServiceAccount", "serviceaccounts", short_names=("sa",), returns_deleted=True)
CLAIMS: Final = _core(
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    short_names=("pvc",),
    subresources=_STATUS,
    returns_deleted=True,
    empty={"metadata": {}, "spec": {"resources": {}}, "status": {}},
)
VOLUMES: Final = _core(
    "PersistentVolume",
    "persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    subresources=_STATUS,
    returns_deleted=True,
    empty={"metadata": {}, "spec": {}, "status": {}},
)
ENDPOINTS: Final = _core("Endpoints", "endpoints", short_names=("ep",), create_on_update=True)
LIMIT_RANGES: Final = _core("LimitRange", "limitranges", short_names=("limits",), create_on_update=True)
QUOTAS: Final = _core(
    "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=_STATUS, returns_deleted=True
)
POD_TEMPLATES: Final = _core("PodTemplate", "podtemplates", returns_deleted=True)
REPLICATION_CONTROLLERS: Final = _core(
    "ReplicationController",
    "replicationcontrollers",
    short_names=("rc",),
    categories=_ALL,
    subresources=_SCALE,
    generation=True,
    scale_paths=(".spec.replicas", ".status.replicas", ".spec.selector"),
)
BINDINGS: Final = _core("Binding", "bindings", verbs=_CREATE)

DEPLOYMENTS: Final = _type(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    "api.apps.v1",
    short_names=("deploy",),
    categories=_ALL,
    subresources=_SCALE,
    generation=True,
    scale_paths=(".spec.replicas", ".status.replicas", ".spec.selector"),
    empty={"metadata": {}, "spec": {"strategy": {}, "template": _TEMPLATE}, "status": {}},
)
REPLICA_SETS: Final = _type(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    "api.apps.v1",
    short_names=("rs",),
    categories=_ALL,
    subresources=_SCALE,
    generation=True,
    scale_paths=(".spec.replicas", ".status.replicas", ".spec.selector"),
    empty={"metadata": {}, "spec": {"template": _TEMPLATE}, "status": {}},
)
STATEFUL_SETS: Final = _type(
    "apps",
    "v1",
    "StatefulSet",
    "statefulsets",
    "api.apps.v1",
    short_names=("sts",),
    categories=_ALL,
    subresources=_SCALE,
    generation=True,
    scale_paths=(".spec.replicas", ".status.replicas", ".spec.selector"),
    empty={"metadata": {}, "spec": {"template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
)
DAEMON_SETS: Final = _type(
    "apps",
    "v1",
    "DaemonSet",
    "daemonsets",
    "api.apps.v1",
    short_names=("ds",),
    categories=_ALL,
    subresources=_STATUS,
    generation=True,
    empty={"metadata": {}, "spec": {"template": _TEMPLATE, "updateStrategy": {}}, "status": {}},
)
CONTROLLER_REVISIONS: Final = _type("apps", "v1", "ControllerRevision", "controllerrevisions", "api.apps.v1")

JOBS: Final = _type(
    "batch",
    "v1",
    "Job",
    "jobs",
    "api.batch.v1",
    categories=_ALL,
    subresources=_STATUS,
    generation=True,
    empty={"metadata": {}, "spec": {"template": _TEMPLATE}, "status": {}},
)
CRON_JOBS: Final = _type(
    "batch",
    "v1",
    "CronJob",
    "cronjobs",
    "api.batch.v1",
    short_names=("cj",),
    categories=_ALL,
    subresources=_STATUS,
    generation=True,
    empty={
        "metadata": {},
        "spec": {"jobTemplate": {"metadata": {}, "spec": {"template": _TEMPLATE}}},
        "status": {},
    },
)

_RBAC: Final = "rbac.authorization.k8s.io"
ROLES: Final = _type(_RBAC, "v1", "Role", "roles", "api.rbac.v1", validate_name="path", create_on_update=True)
CLUSTER_ROLES: Final = _type(
    _RBAC,
    "v1",
    "ClusterRole",
    "clusterroles",
    "api.rbac.v1",
    namespaced=False,
    validate_name="path",
    create_on_update=True,
)
ROLE_BINDINGS: Final = _type(
    _RBAC, "v1", "RoleBinding", "rolebindings", "api.rbac.v1", validate_name="path", create_on_update=True
)
CLUSTER_ROLE_BINDINGS: Final = _type(
    _RBAC,
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    "api.rbac.v1",
    namespaced=False,
    validate_name="path",
    create_on_update=True,
)

_STORAGE: Final = "storage.k8s.io"
STORAGE_CLASSES: Final = _type(
    _STORAGE,
    "v1",
    "StorageClass",
    "storageclasses",
    "api.storage.v1",
    namespaced=False,
    short_names=("sc",),
    returns_deleted=True,
)
LEASES: Final = _type("coordination.k8s.io", "v1", "Lease", "leases", "api.coordination.v1", create_on_update=True)

CRDS: Final = ResourceType(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=_STATUS,
    generation=True,
    schema=SchemaRef(_FILE, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"),
    columns=columns.CRD_COLUMNS,
    empty={"metadata": {}, "spec": {"names": {}}, "status": {"acceptedNames": {}}},
)
API_SERVICES: Final = ResourceType(
    "apiregistration.k8s.io",
    "v1",
    "APIService",
    "apiservices",
    namespaced=False,
    categories=("api-extensions",),
    subresources=_STATUS,
    schema=SchemaRef(_FILE, "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService"),
    columns=columns.API_SERVICE_COLUMNS,
    empty={"metadata": {}, "spec": {}, "status": {}},
)

_SNAPSHOT: Final = "snapshot.storage.k8s.io"
SNAPSHOTS: Final = ResourceType(
    _SNAPSHOT,
    "v1",
    "VolumeSnapshot",
    "volumesnapshots",
    short_names=("vs",),
    subresources=_STATUS,
    custom=True,
    generation=True,
    unconditional_update=False,
    schema=SchemaRef("volumesnapshots", "VolumeSnapshot"),
    columns=columns.SNAPSHOT_COLUMNS,
)
SNAPSHOT_CLASSES: Final = ResourceType(
    _SNAPSHOT,
    "v1",
    "VolumeSnapshotClass",
    "volumesnapshotclasses",
    namespaced=False,
    short_names=("vsclass", "vsclasses"),
    custom=True,
    generation=True,
    unconditional_update=False,
    schema=SchemaRef("volumesnapshots", "VolumeSnapshotClass"),
    columns=columns.SNAPSHOT_CLASS_COLUMNS,
)
SNAPSHOT_CONTENTS: Final = ResourceType(
    _SNAPSHOT,
    "v1",
    "VolumeSnapshotContent",
    "volumesnapshotcontents",
    namespaced=False,
    short_names=("vsc", "vscs"),
    subresources=_STATUS,
    custom=True,
    generation=True,
    unconditional_update=False,
    schema=SchemaRef("volumesnapshots", "VolumeSnapshotContent"),
    columns=columns.SNAPSHOT_CONTENT_COLUMNS,
)

_ADMISSION: Final = "admissionregistration.k8s.io"

BUILTIN: Final = (
    BINDINGS,
    CONFIG_MAPS,
    ENDPOINTS,
    EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    CLAIMS,
    VOLUMES,
    PODS,
    POD_TEMPLATES,
    REPLICATION_CONTROLLERS,
    QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    API_SERVICES,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    _type("events.k8s.io", "v1", "Event", "events", "api.events.v1", short_names=("ev",), create_on_update=True),
    _type(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "api.autoscaling.v2",
        versions=("v2", "v1"),
        short_names=("hpa",),
        categories=_ALL,
        subresources=_STATUS,
        empty={"metadata": {}, "spec": {"scaleTargetRef": {}}, "status": {}},
    ),
    CRON_JOBS,
    JOBS,
    _type(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "api.certificates.v1",
        namespaced=False,
        short_names=("csr",),
        subresources=("status",),
        empty={"metadata": {}, "spec": {}},
    ),
    _type(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "api.networking.v1",
        short_names=("netpol",),
        generation=True,
        empty={"metadata": {}, "spec": {}},
    ),
    _type(
        "networking.k8s.io",
        "v1",
        "Ingress",
        "ingresses",
        "api.networking.v1",
        short_names=("ing",),
        subresources=_STATUS,
        generation=True,
        empty={"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}},
    ),
    _type(
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        "api.networking.v1",
        namespaced=False,
        generation=True,
        empty={"metadata": {}, "spec": {}},
    ),
    _type(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "api.policy.v1",
        short_names=("pdb",),
        subresources=_STATUS,
        generation=True,
        empty={"metadata": {}, "spec": {}, "status": {}},
    ),
    ROLES,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLE_BINDINGS,
    STORAGE_CLASSES,
    _type(_STORAGE, "v1", "CSIDriver", "csidrivers", "api.storage.v1", namespaced=False, returns_deleted=True),
    _type(_STORAGE, "v1", "CSINode", "csinodes", "api.storage.v1", namespaced=False, returns_deleted=True),
    _type(_STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities", "api.storage.v1"),
    _type(
        _STORAGE,
        "v1",
        "VolumeAttachment",
        "volumeattachments",
        "api.storage.v1",
        namespaced=False,
        subresources=_STATUS,
        returns_deleted=True,
    ),
    _type(
        _ADMISSION,
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "api.admissionregistration.v1",
        namespaced=False,
        categories=("api-extensions",),
        generation=True,
    ),
    _type(
        _ADMISSION,
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "api.admissionregistration.v1",
        namespaced=False,
        categories=("api-extensions",),
        generation=True,
    ),
    _type(
        _ADMISSION,
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "api.admissionregistration.v1",
        namespaced=False,
        categories=("api-extensions",),
        subresources=_STATUS,
        generation=True,
    ),
    _type(
        _ADMISSION,
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "api.admissionregistration.v1",
        namespaced=False,
        categories=("api-extensions",),
        generation=True,
    ),
    CRDS,
    _type(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "api.scheduling.v1",
        namespaced=False,
        short_names=("pc",),
        generation=True,
    ),
    LEASES,
    _type("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "api.node.v1", namespaced=False),
    _type("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "api.discovery.v1", generation=True),
    *(
        ResourceType("resource.k8s.io", "v1", kind, plural, namespaced=namespaced, generation=True)
        for kind, plural, namespaced in (
            ("DeviceClass", "deviceclasses", False),
            ("ResourceClaim", "resourceclaims", True),
            ("ResourceClaimTemplate", "resourceclaimtemplates", True),
            ("ResourceSlice", "resourceslices", False),
        )
    ),
    _type(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "FlowSchema",
        "flowschemas",
        "api.flowcontrol.v1",
        namespaced=False,
        subresources=_STATUS,
        generation=True,
        empty={"metadata": {}, "spec": {}, "status": {}},
    ),
    _type(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "api.flowcontrol.v1",
        namespaced=False,
        subresources=_STATUS,
        generation=True,
        empty={"metadata": {}, "spec": {}, "status": {}},
    ),
    SNAPSHOTS,
    SNAPSHOT_CLASSES,
    SNAPSHOT_CONTENTS,
)


def register(registry: Registry) -> None:
    """Serves every built-in type."""
    for rtype in BUILTIN:
        # Hooks that other parts add belong to one registry, so each gets its own copy of the type.
        registry.add(_fresh(rtype))
    for (group, kind), validate in checks.VALIDATE.items():
        for rtype in registry:
            if (rtype.group, rtype.kind) == (group, kind):
                registry.admit(rtype, validate=validate)
    registry.declare("", "namespaces", ("finalize", {"verbs": ("update",)}))
    registry.declare(
        "",
        "pods",
        ("log", {"verbs": ("get",)}),
        ("eviction", {"verbs": _CREATE, "group": "policy", "version": "v1", "kind": "Eviction"}),
        ("binding", {"verbs": _CREATE, "kind": "Binding"}),
        ("ephemeralcontainers", {"verbs": _PART}),
    )
    registry.declare(
        "",
        "serviceaccounts",
        ("token", {"verbs": _CREATE, "group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}),
    )


def _fresh(rtype: ResourceType) -> ResourceType:
    settings = {name: getattr(rtype, name) for name in rtype.__dataclass_fields__}
    settings.update(mutate=list(rtype.mutate), validate=list(rtype.validate))
    return ResourceType(**settings)


__all__ = ["ALL_VERBS", "BUILTIN", "register"]
