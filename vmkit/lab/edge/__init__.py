"""Types that other tools bring and nothing in the practice cluster acts on: KEDA, the vertical pod autoscaler,
KubeEdge.

They are served and validated against their schemas, so that what vmkit emits for them can be applied and read
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vmkit.lab.resources import Column, ResourceType, SchemaRef

if TYPE_CHECKING:
    from vmkit.lab.resources import Registry

_ANYTHING: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
_AGE: Final = Column("Age", type="date", path=".metadata.creationTimestamp")


def register(registry: Registry) -> None:
    """Serves keda.sh, autoscaling.k8s.io and apps.kubeedge.io."""
    registry.add(
        _type(
            "keda.sh",
            "v1alpha1",
            "ScaledObject",
            "scaledobjects",
            SchemaRef("scaledobjects.keda.sh_v1alpha1"),
            Column("ScaleTargetKind", path=".status.scaleTargetKind"),
            Column("ScaleTargetName", path=".spec.scaleTargetRef.name"),
            Column("Min", type="integer", path=".spec.minReplicaCount"),
            Column("Max", type="integer", path=".spec.maxReplicaCount"),
            _AGE,
            short_names=("so",),
        )
    )
    registry.add(
        _type(
            "autoscaling.k8s.io",
            "v1",
            "VerticalPodAutoscaler",
            "verticalpodautoscalers",
            SchemaRef("verticalpodautoscalers.autoscaling.k8s.io_v1"),
            Column("Mode", path=".spec.updatePolicy.updateMode"),
            Column("CPU", path=".status.recommendation.containerRecommendations[0].target.cpu"),
            Column("Mem", path=".status.recommendation.containerRecommendations[0].target.memory"),
            _AGE,
            short_names=("vpa",),
        )
    )
    for kind, plural, short_names in (
        ("NodeGroup", "nodegroups", ("ng",)),
        ("EdgeApplication", "edgeapplications", ("eapp",)),
    ):
        registry.add(
            _type(
                "apps.kubeedge.io",
                "v1alpha1",
                kind,
                plural,
                _ANYTHING,
                _AGE,
                short_names=short_names,
                namespaced=kind != "NodeGroup",
            )
        )


def _type(
    group: str,
    version: str,
    kind: str,
    plural: str,
    schema: SchemaRef | Mapping[str, Any],
    *columns: Column,
    short_names: tuple[str, ...],
    namespaced: bool = True,
) -> ResourceType:
    return ResourceType(
        group,
        version,
        kind,
        plural,
        namespaced=namespaced,
        short_names=short_names,
        subresources=("status",),
        custom=True,
        generation=True,
        unconditional_update=False,
        schema=schema,
        columns=columns,
    )
