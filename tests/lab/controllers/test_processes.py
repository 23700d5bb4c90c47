import queue
import time

import pytest

from tests.lab.controllers.test_workloads import Cluster
from vmkit.lab.access.tokens import Tokens
from vmkit.lab.controllers.processes import Home, ProcessRunner


@pytest.fixture
def cluster():
    """A cluster whose Jobs run for real; what processes report is worked off in `until`."""
    made = Cluster.__new__(Cluster)
    posted = queue.SimpleQueue()

    class Late:
        """The runner needs the store that the cluster is about to make."""

        inner = None

        def __getattr__(self, name):
            return getattr(self.inner, name)

    late = Late()
    Cluster.__init__(made, runner=late)
    tokens = Tokens(made.store, made.clock, admin_token="admin", key=b"key")
    home = Home(lambda: "http://127.0.0.1:1", lambda: None, posted.put)
    late.inner = ProcessRunner(made.store, made.registry, tokens, home)
    made.store.create(
        made.registry.get("", "serviceaccounts"), {"metadata": {"name": "default", "namespace": "a"}}
    )

    def until_ended(name):
        made.after(seconds=3)
        posted.get(timeout=30)()
        made.clock.settle()
        [pod] = made.store.list(made.registry.get("", "pods"), "a", labels={"job-name": name})
        return pod["status"]["containerStatuses"][0]["state"]["terminated"], late.output(pod["metadata"]["uid"])

    made.until_ended = until_ended
    yield made
    late.close()
    assert made.context.failures == []


def run(*command, **container):
    container = {"name": "run", "image": "registry.example/tool:1", "command": list(command), **container}
    return {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}


def test_a_command_runs_with_its_environment_and_nothing_of_ours(cluster, monkeypatch):
    monkeypatch.setenv("PRIVATE", "keep out")
    cluster.create("batch", "jobs", "hello", run("sh", "-c", "echo $GREETING $PRIVATE; pwd", env=[
        {"name": "WHO", "value": "world"},
        {"name": "GREETING", "value": "hello $(WHO)"},
    ]))  # fmt: skip
    state, output = cluster.until_ended("hello")
    assert state["exitCode"] == 0
    first, folder = output.decode().split()[:2], output.decode().split()[-1]
    assert first == ["hello", "world"]
    assert "keep" not in output.decode()
    assert "vmkit-lab-pod-" in folder
    assert cluster.get("batch", "jobs", "hello")["status"]["succeeded"] == 1


def test_a_failing_command_fails_its_job_and_the_end_of_its_output_is_kept(cluster):
    cluster.create("batch", "jobs", "bad", run("sh", "-c", "echo it broke >&2; exit 4"))
    state, output = cluster.until_ended("bad")
    assert (state["exitCode"], state["message"].strip(), output.strip()) == (4, "it broke", b"it broke")
    assert cluster.get("batch", "jobs", "bad")["status"]["failed"] == 1


def test_a_command_that_is_not_there_says_so(cluster):
    cluster.create("batch", "jobs", "none", run("/no/such/program"))
    state, _ = cluster.until_ended("none")
    assert state["exitCode"] == 127
    assert "/no/such/program" in state["message"]


def test_an_image_without_a_command_cannot_be_run_unless_it_is_our_own(cluster):
    cluster.create("batch", "jobs", "odd", run(image="registry.example/odd:1"))
    state, _ = cluster.until_ended("odd")
    assert "names no command" in state["message"]


def test_secrets_and_config_maps_come_as_variables_and_files(cluster):
    registry, store = cluster.registry, cluster.store
    store.create(
        registry.get("", "secrets"), {"metadata": {"name": "s", "namespace": "a"}, "data": {"k": "aHVzaA=="}}
    )
    store.create(
        registry.get("", "configmaps"), {"metadata": {"name": "c", "namespace": "a"}, "data": {"f": "text"}}
    )
    spec = run("sh", "-c", 'echo "$SECRET $NAME"; cat "$0"', "/etc/config/f",
        env=[
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        ],
        volumeMounts=[{"name": "v", "mountPath": "/etc/config"}],
    )  # fmt: skip
    spec["template"]["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "c"}}]
    cluster.create("batch", "jobs", "given", spec)
    state, output = cluster.until_ended("given")
    assert (state["exitCode"], output.decode()) == (0, "hush a\ntext")


def test_a_variable_from_a_secret_that_is_missing_fails_the_container(cluster):
    missing = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "nope", "key": "k"}}}]
    cluster.create("batch", "jobs", "poor", run("true", env=missing))
    state, _ = cluster.until_ended("poor")
    assert state["exitCode"] == 127
    assert "nope" in state["message"]


def test_the_kubeconfig_holds_the_service_account(cluster):
    cluster.create("batch", "jobs", "who", run("sh", "-c", "cat $KUBECONFIG; stat -c ' %a' $KUBECONFIG"))
    _, output = cluster.until_ended("who")
    text = output.decode()
    assert "server: http://127.0.0.1:1" in text
    assert "namespace: a" in text
    assert text.split()[-1] == "600"


def test_deleting_the_job_ends_its_process(cluster):
    cluster.create("batch", "jobs", "long", run("sleep", "60"))
    cluster.after(seconds=3)
    began = time.monotonic()
    cluster.delete("batch", "jobs", "long")
    cluster.after(seconds=60)
    assert cluster.phases() == []
    assert time.monotonic() - began < 10
