import pytest

from tests.lab.storage_world import World
from vmkit.lab.status import ApiError


@pytest.fixture
def world():
    world = World()
    world.make(
        {
            "apiVersion": "core.spinkube.dev/v1alpha1",
            "kind": "SpinAppExecutor",
            "metadata": {"name": "containerd-shim-spin", "namespace": "a"},
            "spec": {"createDeployment": True, "deploymentConfig": {"runtimeClassName": "wasmtime-spin-v2"}},
        }
    )
    return world


def app(**spec):
    return {
        "apiVersion": "core.spinkube.dev/v1alpha1",
        "kind": "SpinApp",
        "metadata": {"name": "hello", "namespace": "a"},
        "spec": {"image": "ghcr.io/x/hello:1", **spec},
    }


def test_an_app_gets_its_deployment_and_service(world):
    world.make(app(replicas=2))
    world.advance(1)
    deployment = world.get("apps", "deployments", "hello")
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    assert (pod["runtimeClassName"], pod["containers"][0]["image"]) == ("wasmtime-spin-v2", "ghcr.io/x/hello:1")
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "SpinApp"
    service = world.get("", "services", "hello")
    assert service["spec"]["selector"] == {"core.spinkube.dev/app.hello.status": "ready"}
    status = world.get("core.spinkube.dev", "spinapps", "hello")["status"]
    assert (status["activeScheduler"], status["readyReplicas"]) == ("containerd-shim-spin", 0)


def test_a_changed_app_changes_its_deployment(world):
    world.make(app(replicas=1))
    found = world.get("core.spinkube.dev", "spinapps", "hello")
    found["spec"] |= {"replicas": 3, "image": "ghcr.io/x/hello:2"}
    world.update(found)
    world.advance(1)
    deployment = world.get("apps", "deployments", "hello")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "ghcr.io/x/hello:2"


def test_an_autoscaled_app_leaves_the_replicas_to_its_scaler(world):
    world.make(app(enableAutoscaling=True))
    deployment = world.get("apps", "deployments", "hello")
    deployment["spec"]["replicas"] = 5
    world.update(deployment)
    world.advance(1)
    assert world.get("apps", "deployments", "hello")["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": 0}, "replicas must be > 0"),
        ({"enableAutoscaling": True, "replicas": 2}, "replicas cannot be set when autoscaling is enabled"),
        ({"replicas": 1, "executor": "none"}, "executor does not exist"),
    ],
)
def test_an_app_that_the_operator_refuses(world, spec, message):
    with pytest.raises(ApiError, match=message) as caught:
        world.make(app(**spec))
    assert caught.value.code == 422


def test_types_of_other_tools_are_served(world):
    for api_version, kind in (
        ("keda.sh/v1alpha1", "ScaledObject"),
        ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
        ("apps.kubeedge.io/v1alpha1", "NodeGroup"),
        ("runtime.spinkube.dev/v1alpha1", "Shim"),
    ):
        assert world.registry.find_kind(api_version, kind) is not None
