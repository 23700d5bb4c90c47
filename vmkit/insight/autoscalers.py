"""Vertical pod autoscalers that are aimed at VMs, which they can only harm.

An autoscaler changes what a launcher's pod requests, never what its guest has: with less memory requested than the
guest has, the node kills it. And the pods it evicts are VMs. (kubernetes/autoscaler
vertical-pod-autoscaler/pkg/updater, pkg/admission-controller; a VirtualMachine has no scale subresource, pools and
replica sets have.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmkit.cluster.resources import VERTICAL_POD_AUTOSCALERS
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError

_GROUPS: Final = ("kubevirt.io", "pool.kubevirt.io")


@dataclass(frozen=True, slots=True)
class AimedAutoscaler:
    """One of them.

    Attributes:
        namespace, name: its own.
        target: "VirtualMachinePool web".
        mode: its update mode; anything but "Off" is dangerous.
    """

    namespace: str
    name: str
    target: str
    mode: str

    @property
    def dangerous(self) -> bool:
        return self.mode != "Off"

    def __str__(self) -> str:
        return (
            f"VerticalPodAutoscaler {self.namespace}/{self.name} ({self.mode}) is aimed at {self.target}: it "
            "would restart guests, and give their pods less memory than the guests have; set updateMode: Off"
        )


def find_aimed_autoscalers(items: Iterable[Mapping[str, Any]]) -> Iterator[AimedAutoscaler]:
    """Those among VerticalPodAutoscaler objects whose target runs as VMs, harmless ones included. Pure."""
    for item in items:
        metadata, spec = _mapping(item, "metadata"), _mapping(item, "spec")
        target = _mapping(spec, "targetRef")
        group = str(target.get("apiVersion") or "").partition("/")[0]
        kind = str(target.get("kind") or "")
        if group in _GROUPS or kind.startswith("VirtualMachine"):
            yield AimedAutoscaler(
                str(metadata.get("namespace") or ""),
                str(metadata.get("name") or ""),
                f"{kind} {target.get('name') or ''}".strip(),
                str(_mapping(spec, "updatePolicy").get("updateMode") or "Auto"),
            )


def read_aimed_autoscalers(session: Session, namespace: str | None = None) -> tuple[AimedAutoscaler, ...]:
    """Those of a namespace, or of all; none where there are no autoscalers, or nobody may look."""
    try:
        return tuple(find_aimed_autoscalers(session.list(VERTICAL_POD_AUTOSCALERS, namespace)))
    except ClusterError:
        return ()


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}
