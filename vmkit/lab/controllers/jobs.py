"""Jobs run pods to an end; CronJobs make Jobs on a schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vmkit.lab.clock import format_time, parse_time
from vmkit.lab.controller import Context, Controller
from vmkit.lab.controllers.ownership import controller_of, controller_reference, is_controlled_by
from vmkit.lab.resources import Object, ObjectKey
from vmkit.lab.semantics.cron import CronError, CronSchedule, parse_cron
from vmkit.lab.store import Event

_MANAGER: Final = "kube-controller-manager"
_BACKOFF_SECONDS: Final = 10.0
_MAX_BACKOFF_SECONDS: Final = 600.0
_MISSED_RUNS: Final = 20_000
"""How far a jump of the clock is followed: two weeks of a job that runs every minute."""


class JobController(Controller):
    name: ClassVar[str] = "job-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = self.registry.get("batch", "jobs")
        self._pods = self.registry.get("", "pods")

    def setup(self) -> None:
        self.watch(self._jobs)
        self.watch(self._pods, self._owner_keys)

    def _owner_keys(self, event: Event) -> list[ObjectKey]:
        if b'"Job"' not in event.object_bytes:
            return []
        reference = controller_of(event.object)
        if reference is None or reference.get("kind") != "Job":
            return []
        return [ObjectKey(event.key.namespace, reference["name"])]

    def reconcile(self, key: ObjectKey) -> None:
        job = self.store.find(self._jobs, key.namespace, key.name)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return
        spec, status = job["spec"], dict(job.get("status") or {})
        if _finished(job):
            self._expire(job)
            return
        if spec.get("suspend"):
            self._suspend(job, status)
            return
        labels = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        pods = [
            each
            for each in self.store.list(self._pods, key.namespace, labels=labels)
            if is_controlled_by(each, job)
        ]
        active = [each for each in pods if each["status"].get("phase") in ("Pending", "Running")]
        succeeded = {_index(each): each for each in pods if each["status"].get("phase") == "Succeeded"}
        failed = [each for each in pods if each["status"].get("phase") == "Failed"]
        status.setdefault("startTime", format_time(self.clock.now()))
        done = (
            len(succeeded) if _indexed(job) else sum(each["status"].get("phase") == "Succeeded" for each in pods)
        )
        status = _counted(status, active=len(active), succeeded=done, failed=len(failed))
        completions = spec.get("completions")
        deadline = spec.get("activeDeadlineSeconds")
        age = (self.clock.now() - parse_time(status["startTime"])).total_seconds()
        if len(failed) > int(spec.get("backoffLimit", 6)):
            self._fail(job, status, active, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif deadline is not None and age >= deadline:
            self._fail(job, status, active, "DeadlineExceeded", "Job was active longer than specified deadline")
        elif done >= (1 if completions is None else completions) and not active:
            self._complete(job, status)
        else:
            if deadline is not None:
                self.requeue_after(key, deadline - age)
            wait = self._wait_after_failures(failed)
            if wait > 0:
                self.requeue_after(key, wait)
            else:
                self._make_pods(job, active, succeeded, done)
            self._report(job, status)

    def _wait_after_failures(self, failed: list[Object]) -> float:
        if not failed:
            return 0
        pause: float = min(_BACKOFF_SECONDS * 2.0 ** min(len(failed) - 1, 20), _MAX_BACKOFF_SECONDS)
        last = max(parse_time(_ended_at(each)) for each in failed)
        return pause - (self.clock.now() - last).total_seconds()

    def _make_pods(
        self, job: Object, active: list[Object], succeeded: dict[int | None, Object], done: int
    ) -> None:
        spec = job["spec"]
        completions = spec.get("completions")
        left = int(spec.get("parallelism", 1)) - len(active)
        if completions is not None:
            left = min(left, completions - done - len(active))
        busy = {_index(each) for each in active} | set(succeeded)
        free = iter(index for index in range(completions or 0) if index not in busy)
        for _ in range(max(0, left)):
            self._make_pod(job, next(free, None) if _indexed(job) else None)

    def _make_pod(self, job: Object, index: int | None) -> None:
        template = job["spec"].get("template") or {}
        given = template.get("metadata") or {}
        name = job["metadata"]["name"]
        metadata: Object = {
            "namespace": job["metadata"]["namespace"],
            "generateName": f"{name}-" if index is None else f"{name}-{index}-",
            "labels": dict(given.get("labels") or {}),
            "ownerReferences": [controller_reference(job)],
            "finalizers": [],
        }
        annotations = dict(given.get("annotations") or {})
        spec = dict(template.get("spec") or {})
        if index is not None:
            annotations["batch.kubernetes.io/job-completion-index"] = str(index)
            metadata["labels"]["batch.kubernetes.io/job-completion-index"] = str(index)
            variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
            spec["containers"] = [
                {**each, "env": [*(each.get("env") or ()), variable]} for each in spec.get("containers") or ()
            ]
        if annotations:
            metadata["annotations"] = annotations
        made = self.store.create(self._pods, {"metadata": metadata, "spec": spec}, manager=_MANAGER)
        message = f"Created pod: {made['metadata']['name']}"
        self.recorder.record(job, "SuccessfulCreate", message, component=self.name)

    def _complete(self, job: Object, status: Object) -> None:
        status["completionTime"] = format_time(self.clock.now())
        message = "Reached expected number of succeeded pods"
        self._conclude(job, status, ("SuccessCriteriaMet", "Complete"), "CompletionsReached", message)
        self.recorder.record(job, "Completed", "Job completed", component=self.name)

    def _fail(self, job: Object, status: Object, active: list[Object], reason: str, message: str) -> None:
        for pod in active:
            self.store.delete(self._pods, pod["metadata"]["namespace"], pod["metadata"]["name"])
        status = _counted(status, active=0, succeeded=status.get("succeeded", 0), failed=status.get("failed", 0))
        self._conclude(job, status, ("FailureTarget", "Failed"), reason, message)
        self.recorder.record(job, reason, message, component=self.name, type="Warning")

    def _suspend(self, job: Object, status: Object) -> None:
        status.pop("startTime", None)
        present = any(each["type"] == "Suspended" for each in status.get("conditions") or ())
        if not present:
            self._conclude(job, status, ("Suspended",), "JobSuspended", "Job suspended")

    def _conclude(self, job: Object, status: Object, types: tuple[str, ...], reason: str, message: str) -> None:
        now = format_time(self.clock.now())
        status["conditions"] = [
            *(status.get("conditions") or ()),
            *(
                {
                    "type": type_,
                    "status": "True",
                    "reason": reason,
                    "message": message,
                    "lastProbeTime": now,
                    "lastTransitionTime": now,
                }
                for type_ in types
            ),
        ]
        self._report(job, status)
        self.enqueue(ObjectKey(job["metadata"]["namespace"], job["metadata"]["name"]))

    def _report(self, job: Object, status: Object) -> None:
        if job.get("status") != status:
            job["status"] = status
            self.store.update(self._jobs, job, manager=_MANAGER, subresource="status")

    def _expire(self, job: Object) -> None:
        lifetime = job["spec"].get("ttlSecondsAfterFinished")
        if lifetime is None:
            return
        key = ObjectKey(job["metadata"]["namespace"], job["metadata"]["name"])
        last = max(parse_time(each["lastTransitionTime"]) for each in job["status"]["conditions"])
        left = lifetime - (self.clock.now() - last).total_seconds()
        if left > 0:
            self.requeue_after(key, left)
        else:
            self.store.delete(self._jobs, key.namespace, key.name, propagation="Foreground")


def _finished(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def _indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def _index(pod: Object) -> int | None:
    text = (pod["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index")
    return None if text is None else int(text)


def _counted(status: Object, *, active: int, succeeded: int, failed: int) -> Object:
    counted = {field: value for field, value in status.items() if field not in ("active", "succeeded", "failed")}
    counts = {"active": active, "succeeded": succeeded, "failed": failed}
    return {**counted, **{field: value for field, value in counts.items() if value}}


def _ended_at(pod: Object) -> str:
    for container in pod["status"].get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return str(ended["finishedAt"])
    return str(pod["metadata"]["creationTimestamp"])


class CronJobController(Controller):
    name: ClassVar[str] = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._crons = self.registry.get("batch", "cronjobs")
        self._jobs = self.registry.get("batch", "jobs")

    def setup(self) -> None:
        self.watch(self._crons)
        self.watch(self._jobs, self._owner_keys)

    def _owner_keys(self, event: Event) -> list[ObjectKey]:
        reference = controller_of(event.object)
        if reference is None or reference.get("kind") != "CronJob":
            return []
        return [ObjectKey(event.key.namespace, reference["name"])]

    def reconcile(self, key: ObjectKey) -> None:
        cron = self.store.find(self._crons, key.namespace, key.name)
        if cron is None or "deletionTimestamp" in cron["metadata"]:
            return
        jobs = [each for each in self.store.list(self._jobs, key.namespace) if is_controlled_by(each, cron)]
        self._trim(cron, jobs)
        self._report(cron, jobs)
        if cron["spec"].get("suspend"):
            return
        try:
            schedule = parse_cron(cron["spec"]["schedule"])
            zone = ZoneInfo(cron["spec"].get("timeZone") or "UTC")
        except (CronError, ZoneInfoNotFoundError, ValueError) as error:
            self.recorder.record(cron, "InvalidSchedule", str(error), component=self.name, type="Warning")
            return
        now = self.clock.now()
        since = parse_time(
            (cron.get("status") or {}).get("lastScheduleTime") or cron["metadata"]["creationTimestamp"]
        )
        due = _latest(schedule, zone, since, now)
        if due is not None:
            self._run(cron, jobs, due)
        following = _next(schedule, zone, now)
        if following is not None:
            self.requeue_after(key, (following - now).total_seconds())

    def _run(self, cron: Object, jobs: list[Object], due: datetime) -> None:
        spec = cron["spec"]
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None and (self.clock.now() - due).total_seconds() > deadline:
            message = f"Missed scheduled time to start a job: {format_time(due)}"
            self.recorder.record(cron, "MissSchedule", message, component=self.name, type="Warning")
            return
        active = [each for each in jobs if not _finished(each)]
        if active and spec.get("concurrencyPolicy") == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.record(cron, "JobAlreadyActive", message, component=self.name)
            return
        if spec.get("concurrencyPolicy") == "Replace":
            for job in active:
                self.store.delete(self._jobs, job["metadata"]["namespace"], job["metadata"]["name"])
        template = spec.get("jobTemplate") or {}
        given = template.get("metadata") or {}
        # The name follows from the minute, so that a restarted controller cannot start the same run twice.
        name = f"{cron['metadata']['name']}-{int(due.timestamp()) // 60}"
        if not self.store.exists(self._jobs, cron["metadata"]["namespace"], name):
            metadata: Object = {
                "name": name,
                "namespace": cron["metadata"]["namespace"],
                "annotations": {
                    **(given.get("annotations") or {}),
                    "batch.kubernetes.io/cronjob-scheduled-timestamp": format_time(due),
                },
                "ownerReferences": [controller_reference(cron)],
            }
            if given.get("labels"):
                metadata["labels"] = given["labels"]
            job = {"metadata": metadata, "spec": template.get("spec") or {}}
            self.store.create(self._jobs, job, manager=_MANAGER)
            self.recorder.record(cron, "SuccessfulCreate", f"Created job {name}", component=self.name)
        fresh = self.store.get(self._crons, cron["metadata"]["namespace"], cron["metadata"]["name"])
        fresh["status"] = {**(fresh.get("status") or {}), "lastScheduleTime": format_time(due)}
        self.store.update(self._crons, fresh, manager=_MANAGER, subresource="status")

    def _trim(self, cron: Object, jobs: list[Object]) -> None:
        for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            ended = [each for each in jobs if _ended_as(each, kind)]
            ended.sort(key=lambda job: (job["metadata"]["creationTimestamp"], job["metadata"]["name"]))
            keep = int(cron["spec"].get(limit, 3 if kind == "Complete" else 1))
            for job in ended[: max(0, len(ended) - keep)]:
                jobs.remove(job)
                self.store.delete(
                    self._jobs, job["metadata"]["namespace"], job["metadata"]["name"], propagation="Background"
                )

    def _report(self, cron: Object, jobs: list[Object]) -> None:
        status = dict(cron.get("status") or {})
        active = [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "namespace": each["metadata"]["namespace"],
                "name": each["metadata"]["name"],
                "uid": each["metadata"]["uid"],
            }
            for each in jobs
            if not _finished(each)
        ]
        status.pop("active", None)
        if active:
            status["active"] = active
        ended = [str(each["status"]["completionTime"]) for each in jobs if _ended_as(each, "Complete")]
        if ended:
            status["lastSuccessfulTime"] = max(ended)
        if status != (cron.get("status") or {}):
            cron["status"] = status
            cron.update(self.store.update(self._crons, cron, manager=_MANAGER, subresource="status"))


def _ended_as(job: Object, kind: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _next(schedule: CronSchedule, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The first run after an instant; the expression is read on the zone's wall clock."""
    wall = at.astimezone(zone).replace(tzinfo=UTC)
    found = schedule.next_after(wall)
    return None if found is None else found.replace(tzinfo=zone).astimezone(UTC)


def _latest(schedule: CronSchedule, zone: ZoneInfo, since: datetime, now: datetime) -> datetime | None:
    """The last run due in (since, now], or None; runs missed before it are not made up for."""
    latest, at = None, since
    for _ in range(_MISSED_RUNS):
        following = _next(schedule, zone, at)
        if following is None or following > now or following <= at:
            return latest
        latest = at = following
    return latest
