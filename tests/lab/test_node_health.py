import pytest

from tests.lab.storage_world import World
from vmkit.lab.node_health import NodeController
from vmkit.lab.nodes import plan_nodes, plan_nodes_for


@pytest.fixture
def world():
    return World(extra=lambda context: [NodeController(context)])


def node(world):
    return world.get("", "nodes", "worker-1", "")


def silence(world, silent):
    found = node(world)
    found["metadata"].setdefault("annotations", {})["lab.vmkit.io/silent"] = "true" if silent else "false"
    world.update(found)


def ready(world):
    return next(each for each in node(world)["status"]["conditions"] if each["type"] == "Ready")


def test_a_silent_node_is_given_up_after_forty_seconds(world):
    silence(world, True)
    world.advance(39)
    assert ready(world)["status"] == "True"
    world.advance(2)
    assert (ready(world)["status"], ready(world)["message"]) == ("Unknown", "Kubelet stopped posting node status.")
    taints = {(each["key"], each["effect"]) for each in node(world)["spec"]["taints"]}
    assert taints == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }


def test_kubevirt_gives_a_silent_node_up_after_five_minutes(world):
    silence(world, True)
    world.advance(299)
    assert node(world)["metadata"]["labels"]["kubevirt.io/schedulable"] == "true"
    world.advance(2)
    assert node(world)["metadata"]["labels"]["kubevirt.io/schedulable"] == "false"


def test_a_node_that_returns_is_as_before(world):
    before = node(world)
    silence(world, True)
    world.advance(1000)
    silence(world, False)
    world.advance(1)
    after = node(world)
    assert "taints" not in after["spec"]
    assert [each["status"] for each in after["status"]["conditions"]] == [
        each["status"] for each in before["status"]["conditions"]
    ]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert ("NodeReady", "Node worker-1 status is now: NodeReady") in world.events("worker-1", "default")


def test_a_short_silence_goes_unnoticed(world):
    silence(world, True)
    world.advance(20)
    silence(world, False)
    world.advance(600)
    assert ready(world)["status"] == "True"
    assert "taints" not in node(world)["spec"]


@pytest.mark.parametrize(
    ("labels", "tolerations", "leaves"),
    [
        ({}, [], True),
        ({"app-offline.kubeedge.io": "autonomy"}, [], False),
        ({}, [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}], False),
        (
            {},
            [
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ],
            True,
        ),
    ],
)
def test_pods_leave_a_silent_node_unless_they_tolerate_it(world, labels, tolerations, leaves):
    world.make(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "a", "labels": labels},
            "spec": {
                "containers": [{"name": "c", "image": "registry.example/c:1"}],
                "nodeName": "worker-1",
                "tolerations": tolerations,
            },
        }
    )
    silence(world, True)
    world.advance(330)
    pod = world.get("", "pods", "p")
    assert "deletionTimestamp" not in pod["metadata"]
    world.advance(20)
    pod = world.find("", "pods", "p")
    assert (pod is None or "deletionTimestamp" in pod["metadata"]) == leaves


def test_every_node_has_its_lease(world):
    leases = {each["metadata"]["name"] for each in world.list("coordination.k8s.io", "leases", "kube-node-lease")}
    assert leases == {each["metadata"]["name"] for each in world.list("", "nodes", None)}


def test_a_cluster_has_as_many_nodes_as_its_guests_need():
    gib = 1024**3
    assert len(plan_nodes_for(10 * gib, 10)) == 5
    large = plan_nodes_for(10_000 * gib, 2000)
    assert sum(shape.memory_bytes for shape in large if shape.role == "worker") * 3 / 4 >= 10_000 * gib
    assert plan_nodes(edge=True)[-1].role == "edge"
