"""The kinds of objects vmkit talks about, and where the API serves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from vmkit.errors import ManifestError

# What the path of a request may carry unescaped: names of RBAC objects hold colons, the rest is RFC 3986's.
_SAFE: Final = ":@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object as one version of the API serves it.

    Attributes:
        group: the API group; empty for the core group.
        version: the version of the group, "v1".
        plural: the name in paths, "virtualmachines".
        kind: the name in manifests, "VirtualMachine".
        namespaced: whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests write it: "kubevirt.io/v1", "v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """As kubectl and RBAC name it: "virtualmachines.kubevirt.io", "secrets"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path of the collection, of one object, or of an object's subresource.

        ``namespace=None`` means all of them, and is the only choice for kinds outside namespaces.
        """
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace is not None:
            base = f"{base}/namespaces/{_segment(namespace)}"
        path = f"{base}/{self.plural}"
        if name:
            path = f"{path}/{_segment(name)}"
        return f"{path}/{subresource}" if subresource else path

    def __str__(self) -> str:
        return self.qualified_name


def _segment(text: str) -> str:
    # "." and ".." would climb out of the collection; nothing in Kubernetes can be called so.
    if text in {".", ".."}:
        raise ManifestError(f"{text!r} names no object")
    return text if text.isalnum() else quote(text, safe=_SAFE)


# --- KubeVirt -------------------------------------------------------------------------------------------
VIRTUAL_MACHINES: Final = Resource("kubevirt.io", "v1", "virtualmachines", "VirtualMachine")
VIRTUAL_MACHINE_INSTANCES: Final = Resource(
    "kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance"
)
VIRTUAL_MACHINE_INSTANCE_MIGRATIONS: Final = Resource(
    "kubevirt.io", "v1", "virtualmachineinstancemigrations", "VirtualMachineInstanceMigration"
)
KUBEVIRTS: Final = Resource("kubevirt.io", "v1", "kubevirts", "KubeVirt")
VIRTUAL_MACHINE_POOLS: Final = Resource("pool.kubevirt.io", "v1beta1", "virtualmachinepools", "VirtualMachinePool")
INSTANCETYPES: Final = Resource(
    "instancetype.kubevirt.io", "v1beta1", "virtualmachineinstancetypes", "VirtualMachineInstancetype"
)
CLUSTER_INSTANCETYPES: Final = Resource(
    "instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterinstancetypes",
    "VirtualMachineClusterInstancetype", namespaced=False,
)  # fmt: skip
PREFERENCES: Final = Resource(
    "instancetype.kubevirt.io", "v1beta1", "virtualmachinepreferences", "VirtualMachinePreference"
)
CLUSTER_PREFERENCES: Final = Resource(
    "instancetype.kubevirt.io", "v1beta1", "virtualmachineclusterpreferences",
    "VirtualMachineClusterPreference", namespaced=False,
)  # fmt: skip
VIRTUAL_MACHINE_SNAPSHOTS: Final = Resource(
    "snapshot.kubevirt.io", "v1beta1", "virtualmachinesnapshots", "VirtualMachineSnapshot"
)
VIRTUAL_MACHINE_RESTORES: Final = Resource(
    "snapshot.kubevirt.io", "v1beta1", "virtualmachinerestores", "VirtualMachineRestore"
)
VIRTUAL_MACHINE_CLONES: Final = Resource(
    "clone.kubevirt.io", "v1beta1", "virtualmachineclones", "VirtualMachineClone"
)
VIRTUAL_MACHINE_TEMPLATES: Final = Resource(
    "template.kubevirt.io", "v1beta1", "virtualmachinetemplates", "VirtualMachineTemplate"
)

# --- Containerized Data Importer ------------------------------------------------------------------------
DATA_VOLUMES: Final = Resource("cdi.kubevirt.io", "v1beta1", "datavolumes", "DataVolume")
DATA_SOURCES: Final = Resource("cdi.kubevirt.io", "v1beta1", "datasources", "DataSource")
DATA_IMPORT_CRONS: Final = Resource("cdi.kubevirt.io", "v1beta1", "dataimportcrons", "DataImportCron")
STORAGE_PROFILES: Final = Resource(
    "cdi.kubevirt.io", "v1beta1", "storageprofiles", "StorageProfile", namespaced=False
)
CDIS: Final = Resource("cdi.kubevirt.io", "v1beta1", "cdis", "CDI", namespaced=False)

# --- storage ----------------------------------------------------------------------------------------------
STORAGE_CLASSES: Final = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
VOLUME_SNAPSHOTS: Final = Resource("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot")
VOLUME_SNAPSHOT_CLASSES: Final = Resource(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", namespaced=False
)
VOLUME_SNAPSHOT_CONTENTS: Final = Resource(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False
)
CEPH_CLUSTERS: Final = Resource("ceph.rook.io", "v1", "cephclusters", "CephCluster")
CEPH_BLOCK_POOLS: Final = Resource("ceph.rook.io", "v1", "cephblockpools", "CephBlockPool")
CEPH_FILESYSTEMS: Final = Resource("ceph.rook.io", "v1", "cephfilesystems", "CephFilesystem")

# --- core and the groups beside it --------------------------------------------------------------------------
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
PERSISTENT_VOLUMES: Final = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
PERSISTENT_VOLUME_CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PODS: Final = Resource("", "v1", "pods", "Pod")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SERVICES: Final = Resource("", "v1", "services", "Service")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS: Final = Resource("", "v1", "events", "Event")
RESOURCE_QUOTAS: Final = Resource("", "v1", "resourcequotas", "ResourceQuota")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS: Final = Resource("apps", "v1", "statefulsets", "StatefulSet")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
CRON_JOBS: Final = Resource("batch", "v1", "cronjobs", "CronJob")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
VERTICAL_POD_AUTOSCALERS: Final = Resource(
    "autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler"
)
SELF_SUBJECT_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

# --- those who may own a VM -----------------------------------------------------------------------------------
APPLICATIONS: Final = Resource("argoproj.io", "v1alpha1", "applications", "Application")
KUSTOMIZATIONS: Final = Resource("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization")
HELM_RELEASES: Final = Resource("helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease")

KNOWN: Final[Mapping[tuple[str, str], Resource]] = {
    (resource.api_version, resource.kind): resource
    for resource in tuple(globals().values())
    if isinstance(resource, Resource)
}
"""Every resource above by apiVersion and kind: these need no discovery."""

# Which software serves a group, in words that continue "install ...".
_PROVIDERS: Final[Mapping[str, str]] = {
    "kubevirt.io": "KubeVirt (https://kubevirt.io/user-guide/cluster_admin/installation)",
    "cdi.kubevirt.io": "the Containerized Data Importer (https://github.com/kubevirt/containerized-data-importer)",
    "ceph.rook.io": "Rook (https://rook.io/docs/rook/latest/Getting-Started/quickstart)",
    "snapshot.storage.k8s.io": "the CSI snapshot controller (https://github.com/kubernetes-csi/external-snapshotter)",
    "template.kubevirt.io": "KubeVirt 1.9 or newer, whose Template feature gate is on",
    "argoproj.io": "Argo CD (https://argo-cd.readthedocs.io)",
    "kustomize.toolkit.fluxcd.io": "Flux (https://fluxcd.io)",
    "helm.toolkit.fluxcd.io": "Flux (https://fluxcd.io)",
}


def describe_provider(group: str) -> str:
    """What to install so that a group is served; empty where that is not known."""
    if group in _PROVIDERS:
        return _PROVIDERS[group]
    return _PROVIDERS["kubevirt.io"] if group.endswith(".kubevirt.io") else ""


def read_identity(manifest: Mapping[str, Any]) -> tuple[str, str, str, str | None]:
    """A manifest's apiVersion, kind, name and namespace (None where it names none).

    Raises:
        ManifestError: one of the first three is missing or no text.
    """
    metadata = manifest.get("metadata")
    found = {
        "apiVersion": manifest.get("apiVersion"),
        "kind": manifest.get("kind"),
        "metadata.name": metadata.get("name") if isinstance(metadata, Mapping) else None,
    }
    missing = [path for path, value in found.items() if not isinstance(value, str) or not value]
    if missing:
        raise ManifestError(
            f"this is no Kubernetes object: {_join(missing)} missing or no text",
            hint="a manifest needs apiVersion, kind and metadata.name",
            where=str(found["metadata.name"] or found["kind"] or ""),
        )
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return (
        str(found["apiVersion"]),
        str(found["kind"]),
        str(found["metadata.name"]),
        namespace if isinstance(namespace, str) and namespace else None,
    )


def _join(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"
