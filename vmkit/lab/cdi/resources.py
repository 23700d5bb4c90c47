"""The resource types of cdi.kubevirt.io and upload.cdi.kubevirt.io, and the objects of a fresh installation.

Source: CDI's CRDs (names, short names, printer columns) and its operator's defaults.
"""

from __future__ import annotations

from vmkit.lab.resources import Column, Object, Registry, ResourceType, SchemaRef

GROUP = "cdi.kubevirt.io"
UPLOAD_GROUP = "upload.cdi.kubevirt.io"
VERSION = "v1beta1"
NAMESPACE = "cdi"
_FILE = "cdi.kubevirt.io_v1beta1"
_AGE = Column("Age", type="date", path=".metadata.creationTimestamp")


def register_types(registry: Registry) -> None:
    """Serves every type of cdi.kubevirt.io."""
    registry.add(
        _type(
            "CDI",
            "cdis",
            _AGE,
            Column("Phase", path=".status.phase"),
            namespaced=False,
            singular="cdi",
            short_names=("cdi", "cdis"),
            subresources=(),
        )
    )
    registry.add(_type("CDIConfig", "cdiconfigs", namespaced=False, subresources=()))
    registry.add(_type("StorageProfile", "storageprofiles", namespaced=False, subresources=()))
    registry.add(
        _type(
            "DataVolume",
            "datavolumes",
            Column("Phase", path=".status.phase", description="The phase the data volume is in"),
            Column(
                "Progress",
                path=".status.progress",
                description="Transfer progress in percentage if known, N/A otherwise",
            ),
            Column(
                "Restarts",
                type="integer",
                path=".status.restartCount",
                description="The number of times the transfer has been restarted.",
            ),
            _AGE,
            short_names=("dv", "dvs"),
            categories=("all",),
        )
    )
    registry.add(_type("DataSource", "datasources", short_names=("das",), categories=("all",)))
    registry.add(
        _type(
            "DataImportCron",
            "dataimportcrons",
            Column(
                "Format", path=".status.sourceFormat", description="The format in which created sources are saved"
            ),
            short_names=("dic", "dics"),
            categories=("all",),
        )
    )
    registry.add(_type("ObjectTransfer", "objecttransfers", namespaced=False, short_names=("ot", "ots")))
    registry.add(_type("VolumeImportSource", "volumeimportsources", subresources=()))
    registry.add(_type("VolumeUploadSource", "volumeuploadsources", subresources=()))
    registry.add(_type("VolumeCloneSource", "volumeclonesources", subresources=()))
    # Populators for disks that Forklift brings from other platforms; nothing here acts on them.
    for kind, short in (("OvirtVolumePopulator", "ovvp"), ("OpenstackVolumePopulator", "osvp")):
        registry.add(
            ResourceType(
                group="forklift.cdi.kubevirt.io",
                version=VERSION,
                kind=kind,
                plural=f"{kind.lower()}s",
                short_names=(short, f"{short}s"),
                subresources=("status",),
                custom=True,
                generation=True,
                unconditional_update=False,
                columns=(_AGE,),
            )
        )


def _type(
    kind: str,
    plural: str,
    *columns: Column,
    namespaced: bool = True,
    singular: str = "",
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    subresources: tuple[str, ...] = ("status",),
) -> ResourceType:
    return ResourceType(
        GROUP,
        VERSION,
        kind,
        plural,
        singular=singular,
        namespaced=namespaced,
        short_names=short_names,
        categories=categories,
        subresources=subresources,
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=SchemaRef(_FILE, f"io.kubevirt.cdi.v1beta1.{kind}"),
        columns=columns,
    )


def build_cdi_objects(version: str) -> list[Object]:
    """The namespace, the CDI object of a finished installation, and its configuration."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"cdi.kubevirt.io": ""}},
        },
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "CDI",
            "metadata": {"name": "cdi", "finalizers": ["operator.cdi.kubevirt.io"]},
            "spec": {
                "config": {"featureGates": ["HonorWaitForFirstConsumer"]},
                "imagePullPolicy": "IfNotPresent",
                "infra": {"nodeSelector": {"kubernetes.io/os": "linux"}},
                "workload": {"nodeSelector": {"kubernetes.io/os": "linux"}},
            },
            "status": {
                "conditions": [
                    {
                        "message": "Deployment Completed",
                        "reason": "DeployCompleted",
                        "status": "True",
                        "type": "Available",
                    },
                    {"status": "False", "type": "Progressing"},
                    {"status": "False", "type": "Degraded"},
                ],
                "observedVersion": version,
                "operatorVersion": version,
                "targetVersion": version,
                "phase": "Deployed",
            },
        },
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "CDIConfig",
            "metadata": {
                "name": "config",
                "labels": {"app": "containerized-data-importer", "cdi.kubevirt.io": ""},
            },
            "spec": {"featureGates": ["HonorWaitForFirstConsumer"]},
            "status": {
                "filesystemOverhead": {"global": "0.06"},
                "preallocation": False,
                "scratchSpaceStorageClass": "local-path",
                "uploadProxyURL": "cdi-uploadproxy.cdi.svc",
            },
        },
    ]
