from datetime import UTC, datetime, timedelta

import pytest

from vmkit.lab.builtin.types import register
from vmkit.lab.clock import Clock
from vmkit.lab.controller import Context
from vmkit.lab.controllers.deployments import DeploymentController, template_hash
from vmkit.lab.controllers.garbage import GarbageCollector
from vmkit.lab.controllers.jobs import CronJobController, JobController
from vmkit.lab.controllers.kubelet import KubeletController
from vmkit.lab.controllers.replicas import ReplicaSetController, StatefulSetController
from vmkit.lab.events import EventRecorder
from vmkit.lab.nodes import build_node, plan_nodes
from vmkit.lab.resources import Registry
from vmkit.lab.store import Store

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
CONTAINER = {"name": "app", "image": "registry.example/app:1"}


class Cluster:
    """A store with the controllers of workloads, and a clock that stands still between steps."""

    def __init__(self, runner=None):
        self.clock = Clock(start=START, frozen=True)
        self.registry = Registry()
        register(self.registry)
        self.store = Store(self.clock)
        recorder = EventRecorder(self.store, self.clock, self.registry.get("", "events"))
        self.context = Context(store=self.store, clock=self.clock, registry=self.registry, recorder=recorder)
        for shape in plan_nodes(workers=2):
            node = build_node(shape, 0, at="2026-11-02T08:00:00Z")
            self.store.create(self.registry.get("", "nodes"), node)
        for controller in (
            GarbageCollector(self.context),
            DeploymentController(self.context),
            ReplicaSetController(self.context),
            StatefulSetController(self.context),
            JobController(self.context),
            CronJobController(self.context),
            KubeletController(self.context, runner=runner),
        ):
            controller.start()

    def create(self, group, plural, name, spec, **metadata):
        rtype = self.registry.get(group, plural)
        made = self.store.create(rtype, {"metadata": {"name": name, "namespace": "a", **metadata}, "spec": spec})
        self.clock.settle()
        return made

    def get(self, group, plural, name):
        return self.store.get(self.registry.get(group, plural), "a", name)

    def change(self, group, plural, name, **spec):
        rtype = self.registry.get(group, plural)
        obj = self.store.get(rtype, "a", name)
        obj["spec"] |= spec
        self.store.update(rtype, obj)
        self.clock.settle()

    def delete(self, group, plural, name):
        self.store.delete(self.registry.get(group, plural), "a", name)
        self.clock.settle()

    def after(self, **delta):
        self.clock.advance(timedelta(**delta))

    def phases(self):
        pods = self.store.list(self.registry.get("", "pods"), "a")
        return sorted(pod["status"]["phase"] for pod in pods)

    def reasons(self):
        return {event["reason"] for event in self.store.list(self.registry.get("", "events"), "a")}


@pytest.fixture
def cluster():
    made = Cluster()
    yield made
    assert made.context.failures == []


def deployment(replicas=2, image="registry.example/app:1"):
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{**CONTAINER, "image": image}]}}
    return {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}


def test_a_deployment_becomes_available_once_its_pods_run(cluster):
    cluster.create("apps", "deployments", "web", deployment())
    assert cluster.phases() == ["Pending", "Pending"]
    assert cluster.get("apps", "deployments", "web")["status"]["unavailableReplicas"] == 2
    cluster.after(seconds=3)
    assert cluster.phases() == ["Running", "Running"]
    status = cluster.get("apps", "deployments", "web")["status"]
    assert (status["readyReplicas"], status["availableReplicas"]) == (2, 2)
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Available": "True",
        "Progressing": "True",
    }
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Started"} <= cluster.reasons()


def test_pods_stay_off_the_control_plane_and_spread(cluster):
    cluster.create("apps", "deployments", "web", deployment())
    pods = cluster.store.list(cluster.registry.get("", "pods"), "a")
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == ["worker-1", "worker-2"]


def test_a_pod_that_no_node_takes_waits_and_says_so(cluster):
    cluster.create("", "pods", "lonely", {"containers": [CONTAINER], "nodeSelector": {"disk": "gold"}})
    pod = cluster.get("", "pods", "lonely")
    assert pod["status"]["phase"] == "Pending"
    [condition] = pod["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert "FailedScheduling" in cluster.reasons()


def test_scaling_and_deleting_a_deployment(cluster):
    cluster.create("apps", "deployments", "web", deployment())
    cluster.after(seconds=3)
    cluster.change("apps", "deployments", "web", replicas=1)
    cluster.after(seconds=2)
    assert cluster.phases() == ["Running"]
    cluster.delete("apps", "deployments", "web")
    cluster.after(seconds=2)
    assert cluster.phases() == []
    assert not list(cluster.store.list(cluster.registry.get("apps", "replicasets"), "a"))


def test_a_new_template_gets_a_new_replica_set_and_the_old_one_goes_to_zero(cluster):
    cluster.create("apps", "deployments", "web", deployment())
    cluster.after(seconds=3)
    cluster.change("apps", "deployments", "web", template=deployment(image="registry.example/app:2")["template"])
    cluster.after(seconds=4)
    sets = cluster.store.list(cluster.registry.get("apps", "replicasets"), "a")
    assert sorted(each["spec"]["replicas"] for each in sets) == [0, 2]
    revision = cluster.get("apps", "deployments", "web")["metadata"]["annotations"]
    assert revision == {"deployment.kubernetes.io/revision": "2"}


def test_the_template_hash_follows_the_template_alone():
    first = deployment()["template"]
    assert template_hash(first) == template_hash(deployment()["template"])
    assert template_hash(first) != template_hash(deployment(image="other")["template"])


def test_a_stateful_set_goes_up_and_down_in_order_and_keeps_its_claims(cluster):
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [CONTAINER]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
    }
    cluster.create("apps", "statefulsets", "db", spec)
    names = [entry.key.name for entry in cluster.store.entries(cluster.registry.get("", "pods"), "a")]
    assert names == ["db-0"]
    cluster.after(seconds=3)
    cluster.after(seconds=3)
    assert cluster.get("apps", "statefulsets", "db")["status"]["readyReplicas"] == 2
    cluster.change("apps", "statefulsets", "db", replicas=1)
    cluster.after(seconds=2)
    names = [entry.key.name for entry in cluster.store.entries(cluster.registry.get("", "pods"), "a")]
    assert names == ["db-0"]
    claims = cluster.store.entries(cluster.registry.get("", "persistentvolumeclaims"), "a")
    assert [entry.key.name for entry in claims] == ["data-db-0", "data-db-1"]


def job(**spec):
    return {"template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}, **spec}


def test_a_job_runs_its_pods_to_the_end(cluster):
    cluster.create("batch", "jobs", "once", job(completions=3, parallelism=2))
    assert len(cluster.phases()) == 2
    cluster.after(seconds=30)
    status = cluster.get("batch", "jobs", "once")["status"]
    assert status["succeeded"] == 3
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]


def test_an_indexed_job_gives_every_pod_its_number(cluster):
    cluster.create("batch", "jobs", "many", job(completions=3, parallelism=3, completionMode="Indexed"))
    pods = cluster.store.list(cluster.registry.get("", "pods"), "a")
    numbers = {pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods}
    assert numbers == {"0", "1", "2"}


def test_a_suspended_job_starts_nothing_until_it_is_let(cluster):
    cluster.create("batch", "jobs", "held", job(suspend=True))
    assert cluster.phases() == []
    cluster.change("batch", "jobs", "held", suspend=False)
    assert cluster.phases() == ["Pending"]


def test_a_finished_job_goes_when_its_time_is_up(cluster):
    cluster.create("batch", "jobs", "brief", job(ttlSecondsAfterFinished=60))
    cluster.after(seconds=30)
    assert cluster.get("batch", "jobs", "brief")["status"]["succeeded"] == 1
    cluster.after(seconds=61)
    assert not list(cluster.store.list(cluster.registry.get("batch", "jobs"), "a"))


class Failing:
    """A runner whose every command ends with code 3."""

    def wants(self, pod):
        return True

    def start(self, pod, ended):
        ended(3, "no such file")

    def stop(self, uid):
        pass

    def output(self, uid):
        return None


def test_a_job_whose_command_fails_is_tried_again_with_pauses_and_then_given_up():
    cluster = Cluster(runner=Failing())
    cluster.create("batch", "jobs", "bad", job(backoffLimit=1))
    cluster.after(minutes=2)
    status = cluster.get("batch", "jobs", "bad")["status"]
    assert status["failed"] == 2
    assert [(each["type"], each["reason"]) for each in status["conditions"]][-1] == (
        "Failed",
        "BackoffLimitExceeded",
    )
    pods = cluster.store.list(cluster.registry.get("", "pods"), "a")
    ended = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in pods]
    assert [(each["exitCode"], each["message"]) for each in ended] == [(3, "no such file")] * 2
    assert cluster.context.failures == []


def test_a_cron_job_runs_when_its_time_comes_and_keeps_a_short_history(cluster):
    cluster.create("batch", "cronjobs", "tidy", {"schedule": "0 * * * *", "jobTemplate": {"spec": job()}})
    cluster.after(minutes=59)
    assert not list(cluster.store.list(cluster.registry.get("batch", "jobs"), "a"))
    cluster.after(minutes=2)
    [made] = cluster.store.list(cluster.registry.get("batch", "jobs"), "a")
    assert made["metadata"]["name"] == f"tidy-{int(datetime(2026, 11, 2, 9, tzinfo=UTC).timestamp()) // 60}"
    cluster.after(hours=6)
    assert len(list(cluster.store.list(cluster.registry.get("batch", "jobs"), "a"))) == 3
    status = cluster.get("batch", "cronjobs", "tidy")["status"]
    assert status["lastScheduleTime"] == "2026-11-02T15:00:00Z"


def test_a_cron_job_reads_its_schedule_in_its_own_zone(cluster):
    spec = {"schedule": "30 9 * * *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": job()}}
    cluster.create("batch", "cronjobs", "berlin", spec)
    cluster.after(minutes=31)
    status = cluster.get("batch", "cronjobs", "berlin")["status"]
    assert status["lastScheduleTime"] == "2026-11-02T08:30:00Z"


def test_a_cron_job_that_forbids_company_skips_a_run_while_one_is_on(cluster):
    spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job(suspend=True)}}
    cluster.create("batch", "cronjobs", "alone", spec)
    cluster.after(minutes=5)
    assert len(list(cluster.store.list(cluster.registry.get("batch", "jobs"), "a"))) == 1
    assert "JobAlreadyActive" in cluster.reasons()


def test_a_schedule_that_cannot_be_read_is_reported_not_raised(cluster):
    cluster.create("batch", "cronjobs", "odd", {"schedule": "every noon", "jobTemplate": {"spec": job()}})
    assert "InvalidSchedule" in cluster.reasons()
