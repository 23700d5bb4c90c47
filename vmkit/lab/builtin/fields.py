"""Field selectors beyond name and namespace (pkg/apis/*/v1/conversion.go of kubernetes)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vmkit.lab.resources import Object


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _select(*paths: str, **fallbacks: str) -> tuple[tuple[str, ...], Callable[[Object], Mapping[str, str]]]:
    parts = [(path, path.split(".")) for path in paths]

    def read(obj: Object) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for path, steps in parts:
            value: Any = obj
            for step in steps:
                value = value.get(step) if isinstance(value, Mapping) else None
            found[path] = _text(value) or fallbacks.get(steps[-1], "")
        return found

    return paths, read


def _read_event(obj: Object) -> Mapping[str, str]:
    involved = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    return {
        **{f"involvedObject.{name}": _text(involved.get(name)) for name in names},
        "reason": _text(obj.get("reason")),
        "reportingComponent": _text(obj.get("reportingComponent")),
        "source": _text(source.get("component")) or _text(obj.get("reportingComponent")),
        "type": _text(obj.get("type")),
    }


_EVENT_FIELDS: Final = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
    "reportingComponent", "source", "type",
)  # fmt: skip

SELECTABLE: Final[Mapping[tuple[str, str], tuple[tuple[str, ...], Callable[[Object], Mapping[str, str]]]]] = {
    ("", "Pod"): _select(
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName", hostNetwork="false",
    ),
    ("", "Node"): _select("spec.unschedulable", unschedulable="false"),
    ("", "Namespace"): _select("status.phase"),
    ("", "Secret"): _select("type"),
    ("", "Service"): _select("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): _select("status.replicas", replicas="0"),
    ("", "Event"): (_EVENT_FIELDS, _read_event),
    ("apps", "ReplicaSet"): _select("status.replicas", replicas="0"),
    ("batch", "Job"): _select("status.successful", successful="0"),
    ("certificates.k8s.io", "CertificateSigningRequest"): _select("spec.signerName"),
}  # fmt: skip
