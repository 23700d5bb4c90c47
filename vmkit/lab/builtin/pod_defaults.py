"""What the API server fills in on pods and pod templates (pkg/apis/core/v1/defaults.go)."""

from __future__ import annotations

from collections.abc import Mapping
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
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(filled.get(probe), dict):
            filled[probe] = _default_probe(filled[probe])
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in filled["ports"]]
    limits = (filled["resources"] or {}).get("limits")
    if limits:
        filled["resources"] = {
            **filled["resources"],
            "requests": {**limits, **(filled["resources"].get("requests") or {})},
        }
    return filled


def _default_probe(probe: Mapping[str, Any]) -> dict[str, Any]:
    filled = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, **probe}
    if isinstance(filled.get("httpGet"), dict):
        filled["httpGet"] = {"path": "/", "scheme": "HTTP", **filled["httpGet"]}
    return filled


def prepare_pod(obj: Object, at: datetime) -> None:
    """Defaults of a pod, and what admission adds to every pod."""
    spec = dict(obj.get("spec") or {})
    obj["spec"] = spec
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
    status = dict(obj.get("status") or {})
    obj["status"] = status
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


def default_template(spec: dict[str, Any]) -> None:
    """Defaults of the pod template in a workload's spec (in place)."""
    template = dict(spec.get("template") or {})
    if isinstance(template.get("spec"), dict):
        inner = dict(template["spec"])
        default_pod_spec(inner)
        template["spec"] = inner
        spec["template"] = template
