"""From what a VM needs to the size it should have."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.insight.recommender import Recommendation, Resources
from vmkit.insight.shape import (
    Catalog,
    Rollout,
    Topology,
    compute_overhead,
    compute_requests,
    read_instancetype,
    read_rollout,
    read_shape,
)
from vmkit.insight.sizing import Effect, Proposal, choose_topology, decide_size
from vmkit.insight.update import decide_worth

_GIB = 2**30
_LIVE = Rollout(live_update=True, workload_updates=True)


def _type(name: str, cpu: int, memory: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "instancetype.kubevirt.io/v1beta1",
        "kind": "VirtualMachineClusterInstancetype",
        "metadata": {"name": name},
        "spec": {"cpu": {"guest": cpu, **more}, "memory": {"guest": memory}},
    }


def _catalog() -> Catalog:
    items = [
        _type("u1.small", 1, "2Gi"), _type("u1.medium", 1, "4Gi"), _type("u1.large", 2, "8Gi"),
        _type("u1.2xlarge", 8, "32Gi"), _type("cx1.large", 2, "4Gi", dedicatedCPUPlacement=True),
        _type("o1.medium", 1, "4Gi", model="host-passthrough"),
    ]  # fmt: skip
    read = [found for item in items if (found := read_instancetype(item)) is not None]
    assert len(read) == len(items)
    return Catalog({("", one.name): one for one in read})


def _vm(domain: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {"runStrategy": "Always", **spec, "template": {"spec": {"domain": domain or {"devices": {}}}}},
    }


def _vmi(domain: dict[str, Any] | None = None, *, migratable: bool = True, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "LiveMigratable", "status": "True" if migratable else "False"}]
    return {"spec": {"domain": domain or {}}, "status": {"phase": "Running", "conditions": conditions, **status}}


def _decide(
    vm: dict[str, Any],
    needs: tuple[int, float],
    *,
    vmi: dict[str, Any] | None = None,
    rollout: Rollout = _LIVE,
    bounds: tuple[float, float] = (0.9, 1.1),
    running: bool | None = True,
) -> Proposal:
    shape = read_shape(vm, vmi, _catalog())
    target = Resources(needs[0], int(needs[1] * _GIB))

    def scale(factor: float) -> Resources:
        return Resources(int(target[0] * factor), int(target[1] * factor))

    recommendation = Recommendation(target, scale(bounds[0]), scale(bounds[1]), 8.0, 11_520.0)
    worth = None
    if shape.reserved is not None:
        worth = decide_worth(shape.reserved, recommendation, running_for=timedelta(days=3))
    return decide_size(
        shape, recommendation, worth, _catalog(), namespace="shop", rollout=rollout, running=running
    )


def test_an_instancetype_becomes_the_smallest_of_its_series_that_fits() -> None:
    found = _decide(_vm(instancetype={"name": "u1.2xlarge", "revisionName": "old"}), (900, 3.1))
    assert found.size is not None
    assert (found.size.instancetype, found.size.vcpus) == ("u1.medium", 1)
    assert found.patch == {"spec": {"instancetype": {"name": "u1.medium", "revisionName": None}}}
    assert found.saved == Resources(7000, 28 * _GIB)
    assert (found.effect, found.effect_text) == (Effect.RESTART, "fewer CPUs need a restart")


def test_a_series_is_left_only_by_name() -> None:
    found = _decide(_vm(instancetype={"name": "u1.2xlarge"}), (9000, 40))
    assert (found.size, found.reason.code) == (None, "NoneFits")
    assert "u1" in found.reason.text
    # o1.medium is as large as u1.medium, and of another series.
    assert _decide(_vm(instancetype={"name": "o1.medium"}), (100, 1.0)).reason.code == "Fits"


def test_a_plain_domain_gets_whole_cpus_and_steps_of_memory() -> None:
    domain = {"cpu": {"cores": 8, "sockets": 1, "threads": 1}, "memory": {"guest": "32Gi"}}
    found = _decide(_vm(domain), (1200, 3.3))
    assert found.size is not None
    assert (found.size.vcpus, found.size.memory_bytes) == (2, 14 * 256 * 2**20)
    assert found.patch == {
        "spec": {
            "template": {
                "spec": {
                    "domain": {
                        "cpu": {"sockets": 1, "cores": 2, "threads": 1},
                        "memory": {"guest": "3584Mi"},
                    }
                }
            }
        }
    }


def test_requests_and_limits_of_a_domain_keep_their_ratio() -> None:
    domain = {
        "cpu": {"sockets": 4},
        "memory": {"guest": "8Gi"},
        "resources": {"requests": {"memory": "4Gi", "cpu": "2"}, "limits": {"memory": "10Gi", "cpu": "4"}},
    }
    patch = _decide(_vm(domain), (1900, 3.9)).patch["spec"]["template"]["spec"]["domain"]
    assert patch["cpu"] == {"sockets": 2, "cores": 1, "threads": 1}
    assert patch["memory"] == {"guest": "4Gi"}
    assert patch["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "5Gi"}
    }  # fmt: skip


def test_memory_that_stands_in_the_requests_is_changed_there() -> None:
    domain = {"cpu": {"cores": 1}, "resources": {"requests": {"memory": "8Gi"}}}
    patch = _decide(_vm(domain), (800, 1.9)).patch["spec"]["template"]["spec"]["domain"]
    assert patch == {"resources": {"requests": {"memory": "2Gi"}}}


_GROWING = {"cpu": {"sockets": 1, "cores": 2}, "memory": {"guest": "4Gi"}}
_ROOM = {"cpu": {"sockets": 1, "cores": 2, "maxSockets": 4}, "memory": {"guest": "4Gi", "maxGuest": "16Gi"}}


@pytest.mark.parametrize(
    ("needs", "vmi", "rollout", "running", "effect", "text"),
    [
        ((3500, 7.9), _vmi(_ROOM), _LIVE, True, Effect.LIVE, "while it runs"),
        ((3500, 7.9), _vmi(_ROOM), _LIVE, False, Effect.START, "stopped"),
        ((3500, 7.9), _vmi(_ROOM), _LIVE, None, Effect.LIVE, "while it runs"),
        ((3500, 7.9), _vmi(_ROOM), Rollout(False, True), True, Effect.RESTART, "Stage"),
        ((3500, 7.9), _vmi(_ROOM), Rollout(None, True), True, Effect.RESTART, "cannot be read"),
        ((3500, 7.9), _vmi(_ROOM), Rollout(True, False), True, Effect.RESTART, "LiveMigrate"),
        ((3500, 7.9), _vmi(_ROOM, migratable=False), _LIVE, True, Effect.RESTART, "cannot be migrated"),
        ((3500, 19.0), _vmi(_ROOM), _LIVE, True, Effect.RESTART, "beyond 16 GiB"),
        ((9500, 7.9), _vmi(_ROOM), _LIVE, True, Effect.RESTART, "sockets cannot go beyond 4"),
        ((1900, 1.0), _vmi(_ROOM), _LIVE, True, Effect.RESTART, "less memory"),
        ((900, 7.9), _vmi(_ROOM), _LIVE, True, Effect.RESTART, "fewer CPUs"),
        ((3500, 7.9), None, _LIVE, True, Effect.RESTART, "cannot be migrated"),
    ],
)
def test_a_change_says_when_it_holds(
    needs: tuple[int, float], vmi: Any, rollout: Rollout, running: bool | None, effect: Effect, text: str
) -> None:
    found = _decide(_vm(_GROWING), needs, vmi=vmi, rollout=rollout, running=running)
    assert found.effect is effect
    assert text in found.effect_text


@pytest.mark.parametrize(
    ("vm", "text"),
    [
        (_vm({"cpu": {"cores": 4, "dedicatedCpuPlacement": True}, "memory": {"guest": "8Gi"}}), "dedicated"),
        (_vm(instancetype={"name": "cx1.large"}), "dedicated"),
        (_vm({"cpu": {"cores": 4, "realtime": {}}, "memory": {"guest": "8Gi"}}), "realtime"),
        (_vm({"cpu": {"cores": 4}, "memory": {"guest": "8Gi", "hugepages": {"pageSize": "2Mi"}}}), "huge pages"),
        (_vm({"cpu": {"cores": 4}, "memory": {"guest": "8Gi"}, "devices": {"gpus": [{"name": "g"}]}}), "device"),
        (
            {
                **_vm({"cpu": {"cores": 4}, "memory": {"guest": "8Gi"}}),
                "metadata": {"ownerReferences": [{"kind": "VirtualMachinePool"}]},
            },
            "pool",
        ),
    ],
)
def test_some_sizes_are_nobodys_to_recommend(vm: dict[str, Any], text: str) -> None:
    found = _decide(vm, (100, 1.0))
    assert (found.size, found.reason.code) == (None, "Fixed")
    assert text in found.reason.text


def test_an_instancetype_nobody_can_read_leaves_the_vm_alone() -> None:
    running = _vmi({"cpu": {"sockets": 4}, "memory": {"guest": "16Gi"}})
    found = _decide(_vm(instancetype={"name": "gone"}), (100, 1.0), vmi=running)
    assert found.size is None
    assert found.now is not None
    assert (found.now.vcpus, found.now.memory_bytes) == (4, 16 * _GIB)
    assert "gone cannot be read" in found.reason.text
    assert _decide(_vm(instancetype={"name": "gone"}), (100, 1.0)).reason.code == "Unreadable"


def test_what_the_rule_does_not_want_is_not_proposed() -> None:
    domain = {"cpu": {"cores": 2}, "memory": {"guest": "4Gi"}}
    found = _decide(_vm(domain), (1990, 3.99), bounds=(0.5, 2.0))
    assert (found.size, found.reason.code) == (None, "Close")


@pytest.mark.parametrize(
    ("current", "vcpus", "expected"),
    [
        (Topology(4, 1, 1), 2, Topology(2, 1, 1)),
        (Topology(1, 8, 1), 3, Topology(1, 3, 1)),
        (Topology(1, 8, 2), 3, Topology(1, 2, 2)),
        (Topology(2, 4, 1), 3, Topology(1, 3, 1)),
        (Topology(2, 4, 1), 9, Topology(3, 4, 1)),
        (Topology(1, 2, 1), 4, Topology(2, 2, 1)),
        (Topology(1, 2, 1), 3, Topology(1, 3, 1)),
        (Topology(1, 1, 1), 5, Topology(5, 1, 1)),
        (Topology(1, 1, 1), 1, Topology(1, 1, 1)),
    ],
)
def test_topologies_change_as_little_as_they_can(current: Topology, vcpus: int, expected: Topology) -> None:
    assert choose_topology(current, vcpus) == expected


@given(st.builds(Topology, st.integers(1, 16), st.integers(1, 16), st.integers(1, 2)), st.integers(1, 300))
def test_a_topology_has_enough_cpus_and_less_than_a_socket_too_many(current: Topology, vcpus: int) -> None:
    found = choose_topology(current, vcpus)
    assert vcpus <= found.vcpus < vcpus + current.cores * current.threads
    assert found.threads == current.threads


def test_the_clusters_settings_are_read_from_the_kubevirt_object() -> None:
    settings = {
        "vmRolloutStrategy": "Stage",
        "developerConfiguration": {"cpuAllocationRatio": 4, "memoryOvercommit": 150},
        "liveUpdateConfiguration": {"maxHotplugRatio": 2},
    }
    methods = {"workloadUpdateMethods": ["LiveMigrate", "Evict"]}
    found = read_rollout({"spec": {"configuration": settings, "workloadUpdateStrategy": methods}})
    assert found == Rollout(False, True, 4, 150, 2)
    assert read_rollout(None).live_update is None
    assert read_rollout({"status": {"observedKubeVirtVersion": "v1.9.0"}}).live_update is True
    assert read_rollout({"status": {"observedKubeVirtVersion": "v1.5.3"}}).live_update is False
    assert read_rollout({"spec": {"configuration": 7}, "status": {"observedKubeVirtVersion": "x"}}) == Rollout()


def test_launchers_request_a_tenth_of_a_core_and_the_guests_memory_with_overhead() -> None:
    shape = read_shape(_vm(_GROWING), None, Catalog())
    requests = compute_requests(shape, Rollout())
    assert requests == Resources(200, 4 * _GIB + compute_overhead(2, 4 * _GIB))
    known = read_shape(_vm(_GROWING), _vmi(memory={"memoryOverhead": "300Mi"}), Catalog())
    assert compute_requests(known, Rollout()) == Resources(200, 4 * _GIB + 300 * 2**20)
    half = compute_requests(known, Rollout(cpu_allocation_ratio=1), size=Resources(1000, 2 * _GIB))
    assert half == Resources(1000, 2 * _GIB + 300 * 2**20 - 4 * 2**20 - 8 * 2**20)
    assert compute_requests(read_shape(_vm(instancetype={"name": "x"}), None, Catalog()), Rollout()) is None


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-9, 10**20), st.text(max_size=5), st.floats()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["spec", "template", "domain", "cpu", "memory", "guest", "cores", "requests", "resources",
                     "instancetype", "name", "metadata", "status", "conditions"]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_no_object_stops_the_reading(junk: Any) -> None:
    vm = junk if isinstance(junk, dict) else {"spec": junk}
    shape = read_shape(vm, vm, _catalog())
    decide_size(shape, None, None, _catalog(), namespace="a", rollout=read_rollout(vm), running=None)
    read_instancetype(vm)
    assert shape.vcpus is None or shape.vcpus >= 1
