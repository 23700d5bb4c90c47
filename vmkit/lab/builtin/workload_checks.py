"""What the API server refuses about pods, the kinds that make pods, and Jobs (pkg/apis/*/validation)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmkit.lab.builtin.pod_checks import find_pod_changes, find_pod_spec_errors
from vmkit.lab.resources import AdmissionRequest, Object
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.semantics.selectors import build_label_selector
from vmkit.lab.status import Cause, invalid


def refuse(request: AdmissionRequest, obj: Object, causes: Iterator[Cause]) -> None:
    """Refuses an object for the causes there are.

    Raises:
        ApiError: 422, naming all of them.
    """
    found = list(causes)
    if found:
        rtype = request.rtype
        raise invalid(rtype.group, rtype.kind, obj["metadata"].get("name", ""), found)


def check_workload(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """A selector that selects the template, and does not change."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        selector = spec.get("selector")
        if selector is None:
            yield Cause("FieldValueRequired", "Required value", "spec.selector")
        elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
            message = f"empty selector is invalid for {request.rtype.kind.lower()}"
            yield invalid_value("spec.selector", selector, message)
        if selector is None or not build_label_selector(selector).matches(labels or {}):
            shown = None if labels is None else dict(sorted(labels.items()))
            message = "`selector` does not match template `labels`"
            yield invalid_value("spec.template.metadata.labels", shown, message)
        claims = [(one.get("metadata") or {}).get("name", "") for one in spec.get("volumeClaimTemplates") or ()]
        yield from find_pod_spec_errors(
            (spec.get("template") or {}).get("spec"), "spec.template.spec", claims=claims
        )
        policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy", "Always")
        if policy in ("Never", "OnFailure"):
            message = f'Unsupported value: "{policy}": supported values: "Always"'
            yield Cause("FieldValueNotSupported", message, "spec.template.spec.restartPolicy")
        if old is not None and selector != (old.get("spec") or {}).get("selector"):
            yield invalid_value("spec.selector", selector, "field is immutable")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


def check_pod(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Containers, their names and images, and known policies; what an update may change."""

    def causes() -> Iterator[Cause]:
        yield from find_pod_spec_errors(obj.get("spec"), "spec")
        if old is not None and not request.subresource:
            yield from find_pod_changes(obj.get("spec") or {}, old.get("spec") or {})

    if request.operation != "DELETE":
        refuse(request, obj, causes())


def _job_causes(spec: Mapping[str, Any], where: str) -> Iterator[Cause]:
    pod = (spec.get("template") or {}).get("spec") or {}
    for field in (
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ):
        number = spec.get(field)
        if isinstance(number, int) and number < 0:
            yield invalid_value(f"{where}.{field}", number, "must be greater than or equal to 0")
    yield from find_pod_spec_errors(pod, f"{where}.template.spec")
    policy = pod.get("restartPolicy")
    if policy == "Always":
        message = 'Required value: valid values: "OnFailure", "Never"'
        yield Cause("FieldValueRequired", message, f"{where}.template.spec.restartPolicy")


def check_job(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """Pods that end; a template and a number of completions that stay."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        yield from _job_causes(spec, "spec")
        before = (old or {}).get("spec") or {}
        for field in ("completions", "selector", "template", "completionMode"):
            if old is not None and not before.get("suspend") and spec.get(field) != before.get(field):
                yield invalid_value(f"spec.{field}", spec.get(field), "field is immutable")

    if request.operation != "DELETE":
        refuse(request, obj, causes())


def check_cron_job(request: AdmissionRequest, obj: Object, old: Object | None) -> None:
    """A schedule that can be read, and Jobs that would be accepted."""

    def causes() -> Iterator[Cause]:
        spec = obj.get("spec") or {}
        yield from _job_causes((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")
        schedule = spec.get("schedule", "")
        fields = schedule.split()
        if not schedule:
            yield Cause("FieldValueRequired", "Required value", "spec.schedule")
        elif not schedule.startswith(("@", "TZ=", "CRON_TZ=")) and len(fields) != 5:
            message = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
            yield invalid_value("spec.schedule", schedule, message)
        elif "TZ" in schedule:
            message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            yield invalid_value("spec.schedule", schedule, message)
        if len(obj["metadata"].get("name", "")) > 52:
            yield invalid_value("metadata.name", obj["metadata"]["name"], "must be no more than 52 characters")

    if request.operation != "DELETE":
        refuse(request, obj, causes())
