"""Subresources of pods: log, eviction, binding."""

from __future__ import annotations

from typing import Final

from vmkit.lab.builtin.types import PODS
from vmkit.lab.resources import Registry, Response, SubresourceRequest
from vmkit.lab.semantics.decoding import decode_object
from vmkit.lab.semantics.selectors import build_label_selector
from vmkit.lab.status import ApiError, bad_request, conflict, method_not_allowed, success

LOG_ANNOTATION: Final = "lab.vmkit.io/log"
"""Where a pod's output is kept, for containers that have run as local processes."""


def register(registry: Registry) -> None:
    """Serves them."""
    registry.handle("", "pods", "log", _read_log)
    registry.handle("", "pods", "eviction", lambda request: _evict(registry, request))
    registry.handle("", "pods", "binding", _bind)


def _read_log(request: SubresourceRequest) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    pod = request.store.get(PODS, request.namespace, request.name)
    names = [each["name"] for each in (pod.get("spec") or {}).get("containers") or ()]
    container = request.query.get("container", "")
    if container and container not in names:
        raise bad_request(f"container {container} is not valid for pod {request.name}")
    if not container and len(names) > 1:
        raise bad_request(
            f"a container name must be specified for pod {request.name}, choose one of: [{' '.join(names)}]"
        )
    text = (pod["metadata"].get("annotations") or {}).get(LOG_ANNOTATION, "")
    lines = text.splitlines(keepends=True)
    tail = request.query.get("tailLines", "")
    if tail.isdigit():
        lines = lines[-int(tail) :] if int(tail) else []
    return Response(body="".join(lines), content_type="text/plain")


def _evict(registry: Registry, request: SubresourceRequest) -> Response:
    if request.method != "POST":
        raise method_not_allowed()
    eviction = decode_object(
        request.body, request.content_type, kind="Eviction", custom=False, api_version="policy/v1"
    )
    pod = request.store.get(PODS, request.namespace, request.name)
    options = eviction.get("deleteOptions") or {}
    budgets = registry.get("policy", "poddisruptionbudgets")
    for budget in request.store.list(budgets, request.namespace):
        selector = build_label_selector((budget.get("spec") or {}).get("selector"))
        if not selector.matches(pod["metadata"].get("labels") or {}):
            continue
        allowed = (budget.get("status") or {}).get("disruptionsAllowed", 0)
        if allowed < 1:
            needed = (budget.get("status") or {}).get("desiredHealthy", 0)
            healthy = (budget.get("status") or {}).get("currentHealthy", 0)
            name = budget["metadata"]["name"]
            cause = {
                "reason": "DisruptionBudget",
                "message": f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently",
            }
            raise ApiError(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
                details={"causes": [cause]},
            )
    dry_run = "dryRun" in request.query or bool(options.get("dryRun"))
    request.store.delete(
        PODS,
        request.namespace,
        request.name,
        grace_seconds=options.get("gracePeriodSeconds"),
        dry_run=dry_run,
    )
    answer = success()
    answer.pop("details")
    answer["code"] = 201
    return Response(201, body=answer)


def _bind(request: SubresourceRequest) -> Response:
    if request.method != "POST":
        raise method_not_allowed()
    binding = decode_object(request.body, request.content_type, kind="Binding", custom=False, api_version="v1")
    node = str((binding.get("target") or {}).get("name", ""))
    pod = request.store.get(PODS, request.namespace, request.name)
    if pod["spec"].get("nodeName"):
        why = f'pod {request.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict("", "pods/binding", request.name, why)
    pod["spec"]["nodeName"] = node
    request.store.update(PODS, pod, manager="kube-scheduler")
    answer = success()
    answer.pop("details")
    answer["code"] = 201
    return Response(201, body=answer)
