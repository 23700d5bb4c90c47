"""What ``vmkit install`` put into the cluster: whether it is there, runs, and runs once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from vmkit.cluster.resources import CRON_JOBS, DEPLOYMENTS, JOBS
from vmkit.doctor.look import Look, Object, condition, entries, mapping, target_of
from vmkit.doctor.model import Check, Finding, Kind, Severity

LATE: Final = timedelta(hours=2)
"""Twice as long as between two runs of the rarest job that ``vmkit install`` writes."""
_NAME: Final = "app.kubernetes.io/name"
_PART: Final = "app.kubernetes.io/component"

RUNNING = Kind("jobs.running", Severity.OK, "A part of vmkit runs in the cluster as it should.")
NONE = Kind(
    "jobs.none",
    Severity.INFO,
    "vmkit does not run in the cluster.",
    why="schedules and stop-idle act only when somebody runs them",
    mend="vmkit install schedule --image IMAGE | kubectl apply -f -",
)
SUSPENDED = Kind(
    "jobs.suspended",
    Severity.WARNING,
    "A CronJob of vmkit is suspended.",
    why="nothing is started or stopped by it",
    mend='kubectl -n NAMESPACE patch cronjob NAME --type=merge -p \'{"spec":{"suspend":false}}\'',
)
FAILING = Kind(
    "jobs.failing",
    Severity.PROBLEM,
    "The last run of a CronJob of vmkit failed, or its Deployment has no pod that is ready.",
    why="VMs are not started or stopped when they should be",
    mend="kubectl -n NAMESPACE logs -l app.kubernetes.io/name=vmkit --tail=50",
)
OVERDUE = Kind(
    "jobs.overdue",
    Severity.WARNING,
    "A CronJob of vmkit has not run for more than two hours.",
    why="VMs are not started or stopped when they should be",
    mend="kubectl -n NAMESPACE describe cronjob NAME",
)
TWICE = Kind(
    "jobs.twice",
    Severity.PROBLEM,
    "The same part of vmkit runs more than once.",
    why="each acts on the same VMs, by settings of its own",
    mend="keep one, and delete the others: kubectl delete cronjob or deployment",
)
VERSIONS = Kind(
    "jobs.two-versions",
    Severity.WARNING,
    "Parts of vmkit run with different images.",
    why="they may read the same annotations differently",
    mend="vmkit install with the same --image for all parts",
)


def run(look: Look) -> Iterator[Finding]:
    crons, deployments = _ours(look.list(CRON_JOBS)), _ours(look.list(DEPLOYMENTS))
    if not crons and not deployments:
        if look.knows(CRON_JOBS, DEPLOYMENTS):
            yield NONE.found("neither a CronJob nor a Deployment of vmkit is in the cluster")
        return
    jobs = look.list(JOBS) if crons else ()
    for cron in crons:
        yield _judge_cron(cron, jobs, look.now)
    for one in deployments:
        yield _judge_deployment(one)
    yield from _compare([("CronJob", one) for one in crons] + [("Deployment", one) for one in deployments])


def _ours(items: Sequence[Object]) -> list[Object]:
    return [one for one in items if mapping(one, "metadata", "labels").get(_NAME) == "vmkit"]


def _judge_cron(cron: Object, jobs: Sequence[Object], at: datetime) -> Finding:
    target, metadata = target_of(cron, "CronJob"), mapping(cron, "metadata")
    if mapping(cron, "spec").get("suspend") is True:
        return SUSPENDED.found(f"{target} is suspended", target=target, mend=_named(SUSPENDED, cron))
    ended = [
        job
        for job in jobs
        if any(
            owner.get("uid") == metadata.get("uid")
            for owner in entries(mapping(job, "metadata"), "ownerReferences")
        )
        and (condition(job, "Complete") == "True" or condition(job, "Failed") == "True")
    ]
    last = max(ended, key=lambda job: str(mapping(job, "metadata").get("creationTimestamp")), default=None)
    if last is not None and condition(last, "Failed") == "True":
        return FAILING.found(f"the last run of {target} failed", target=target, mend=_named(FAILING, cron))
    began = mapping(cron, "status").get("lastScheduleTime")
    since = _instant(began or metadata.get("creationTimestamp"))
    if since is not None and at - since > LATE:
        said = f"last ran at {began}" if began else "never ran"
        return OVERDUE.found(f"{target} {said}", target=target, mend=_named(OVERDUE, cron))
    return RUNNING.found(
        f"{target} {f'last ran at {began}' if began else 'is new, and has not run yet'}", target=target
    )


def _judge_deployment(one: Object) -> Finding:
    target = target_of(one, "Deployment")
    if not mapping(one, "status").get("readyReplicas"):
        return FAILING.found(f"{target} has no pod that is ready", target=target, mend=_named(FAILING, one))
    return RUNNING.found(f"{target} is ready", target=target)


def _compare(workloads: Sequence[tuple[str, Object]]) -> Iterator[Finding]:
    by_part: dict[str, list[str]] = defaultdict(list)
    images: dict[str, str] = {}
    for kind, one in workloads:
        target = target_of(one, kind)
        by_part[str(mapping(one, "metadata", "labels").get(_PART) or "")].append(target)
        path = ("jobTemplate", "spec", "template", "spec") if kind == "CronJob" else ("template", "spec")
        for container in entries(mapping(one, "spec", *path), "containers"):
            images.setdefault(str(container.get("image") or ""), target)
    for part, targets in by_part.items():
        if len(targets) > 1:
            yield TWICE.found(f"vmkit's {part or 'part without a name'} runs as {' and as '.join(targets)}")
    if len(images) > 1:
        yield VERSIONS.found("; ".join(f"{target} has {image}" for image, target in images.items()))


def _named(kind: Kind, item: Object) -> str:
    metadata = mapping(item, "metadata")
    return kind.mend.replace("NAMESPACE", str(metadata.get("namespace"))).replace(
        "NAME", str(metadata.get("name"))
    )


def _instant(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


CHECK = Check(
    "jobs",
    "What vmkit install put into the cluster: whether it runs, and runs once.",
    (RUNNING, NONE, SUSPENDED, FAILING, OVERDUE, TWICE, VERSIONS),
    run,
)
