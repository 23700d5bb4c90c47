"""Whatever is done to a VM, in whatever order: what must always hold."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmkit.lab.kubevirt.printable import is_migrating

STRATEGIES = ("Always", "Halted", "Manual", "RerunOnFailure", "Once")
VERBS = st.sampled_from(["start", "stop", "restart", "migrate"]).map(lambda verb: ("call", verb))
INSTANCE_VERBS = st.sampled_from(["pause", "unpause", "softreboot", "reset"]).map(lambda verb: ("instance", verb))
STEPS = st.one_of(
    VERBS,
    INSTANCE_VERBS,
    st.sampled_from(STRATEGIES).map(lambda strategy: ("strategy", strategy)),
    st.sampled_from([0.3, 1, 3, 10, 40]).map(lambda seconds: ("wait", seconds)),
    st.sampled_from([("kill", "pod"), ("delete", "vmi"), ("delete", "vm"), ("create", "vm"), ("force", "stop")]),
    st.sampled_from(["none", "2", "boot"]).map(lambda crash: ("crash", crash)),
)


def do(cluster: Any, make_vm: Any, step: tuple[str, Any]) -> int:
    """Takes one step; the status of the answer."""
    kind, what = step
    base = "/apis/kubevirt.io/v1/namespaces/lab"
    if kind == "wait":
        cluster.advance(what)
        return 200
    if kind == "call":
        return int(cluster.call("m", what).status)
    if kind == "force":
        return int(cluster.call("m", "stop", {"gracePeriod": 0}).status)
    if kind == "instance":
        return int(cluster.instance_call("m", what, {}).status)
    if kind == "strategy":
        return int(cluster.patch_vm("m", {"spec": {"runStrategy": what}}).status)
    if kind == "crash":
        annotation = {"lab.vmkit.io/guest-crash": None if what == "none" else what}
        return int(cluster.patch_vm("m", {"metadata": {"annotations": annotation}}).status)
    if kind == "kill":
        for pod in cluster.pods():
            cluster.request("DELETE", f"/api/v1/namespaces/lab/pods/{pod['metadata']['name']}")
        return 200
    if kind == "create":
        return int(cluster.request("POST", f"{base}/virtualmachines", make_vm()).status)
    plural = "virtualmachineinstances" if what == "vmi" else "virtualmachines"
    return int(cluster.request("DELETE", f"{base}/{plural}/m").status)


def check(cluster: Any) -> None:
    """What holds at every moment."""
    assert cluster.context.failures == []
    live = [pod for pod in cluster.pods() if pod["status"]["phase"] in ("Pending", "Running")]
    vmi = cluster.vmi()
    migrating = vmi is not None and is_migrating(vmi)
    # A guest runs in one pod; a migration has two.
    ready = [
        pod for pod in live if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]
    assert len(ready) <= (2 if migrating else 1) + (
        1 if vmi is not None and "migrationState" in vmi["status"] else 0
    )
    types = cluster.kubevirt.types
    vm = cluster.store.find(types.vm, "lab", "m")
    if vm is None:
        return
    status = vm.get("status") or {}
    assert bool(status.get("created")) == (vmi is not None and "uid" in vmi["metadata"])
    shown = status.get("printableStatus")
    if "deletionTimestamp" in vm["metadata"]:
        assert shown == "Terminating"
    elif vmi is None:
        assert shown in ("Stopped", "CrashLoopBackOff")
    elif vmi["status"].get("phase") == "Running" and "deletionTimestamp" not in vmi["metadata"]:
        paused = (cluster.condition(vmi, "Paused") or {}).get("status") == "True"
        assert shown == ("Migrating" if migrating else "Paused" if paused else "Running")
        assert vmi["metadata"]["ownerReferences"][0]["uid"] == vm["metadata"]["uid"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strategy=st.sampled_from(STRATEGIES), steps=st.lists(STEPS, max_size=25))
def test_a_vm_stays_in_one_piece(make_cluster: Any, make_vm: Any, strategy: str, steps: list[Any]) -> None:
    cluster = make_cluster(workers=2)
    cluster.create(make_vm(strategy=strategy))
    check(cluster)
    for step in steps:
        status = do(cluster, make_vm, step)
        # 500: virt-api's own words for a request under way and for what an instance cannot do.
        assert status in (200, 201, 202, 404, 409, 500), step
        check(cluster)
    # Left alone, it comes to rest where its strategy wants it.
    cluster.patch_vm("m", {"metadata": {"annotations": {"lab.vmkit.io/guest-crash": None}}})
    cluster.instance_call("m", "unpause", {})
    cluster.advance(700)
    check(cluster)
    vm = cluster.store.find(cluster.kubevirt.types.vm, "lab", "m")
    if vm is None:
        assert cluster.pods() == []
    elif vm["spec"]["runStrategy"] == "Always":
        assert cluster.status() == "Running"
    elif vm["spec"]["runStrategy"] == "Halted":
        assert cluster.status() == "Stopped"
