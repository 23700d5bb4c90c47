"""Sizes on a cluster: read, changed, left for the next stop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.insight.tables import GIB, TableSource, Use, constant
from tests.power.test_bad_clusters import as_account
from tests.power.vms import create, create_running, look, manifest, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.errors import InputError, LimitExceeded, UsageError
from vmkit.insight.autoscalers import find_aimed_autoscalers
from vmkit.insight.fleet import read_fleet
from vmkit.insight.resize import ResizeOptions, parse_wish, render_wish
from vmkit.insight.shape import Catalog, read_shape
from vmkit.insight.sizing import Effect, Size
from vmkit.insights import Insights, Sizes, build_settings, fulfil_before_start
from vmkit.lab import Lab
from vmkit.plan.model import Result, Status
from vmkit.schedule.rules import Side
from vmkit.scheduling import PowerHands
from vmkit.units import Limit
from vmkit.vm.markers import RESIZE_AT_STOP
from vmkit.vm.reference import VmRef

pytestmark = pytest.mark.timeout(120)


def _sized(name: str, *, sockets: int = 4, memory: str = "8Gi", **more: Any) -> dict[str, Any]:
    document = manifest(name, **more)
    domain = document["spec"]["template"]["spec"]["domain"]
    domain["cpu"] = {"sockets": sockets, "cores": 1, "threads": 1}
    domain["memory"] = {"guest": memory}
    return document


def _insights(session: Session, uses: dict[VmRef, Use]) -> Insights:
    return Insights(session, source=TableSource(uses))


def _sizes(session: Session, uses: dict[VmRef, Use]) -> Sizes:
    return _insights(session, uses).sizes(namespace=session.namespace)


def _domain(session: Session, ref: VmRef) -> dict[str, Any]:
    vm = session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)
    domain: dict[str, Any] = vm["spec"]["template"]["spec"]["domain"]
    return domain


def _statuses(result: Result) -> dict[str, Status]:
    return {outcome.target.name: outcome.status for outcome in result.outcomes}


def test_a_stopped_vm_is_changed_at_once(session: Session) -> None:
    (ref,) = create(session, _sized("web-1"))
    wait_until(session, [ref], stopped)
    found = _sizes(session, {ref: constant(0.7, 2.0)})
    (one,) = found.assessments
    assert one.proposal.effect is Effect.START
    result = Insights(session).resize(found.assessments)
    assert _statuses(result) == {"web-1": Status.CHANGED}
    domain = _domain(session, ref)
    assert domain["cpu"]["sockets"] == 1
    assert domain["memory"]["guest"] == "2560Mi"


def test_nothing_is_changed_without_being_told(session: Session) -> None:
    (ref,) = create(session, _sized("web-1"))
    wait_until(session, [ref], stopped)
    found = _sizes(session, {ref: constant(0.7, 2.0)})
    before = session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)["metadata"]["resourceVersion"]
    for dry_run in ("client", "server"):
        result = Insights(session).resize(found.assessments, ResizeOptions(dry_run=dry_run))
        assert _statuses(result) == {"web-1": Status.PLANNED}
    assert session.get(VIRTUAL_MACHINES, ref.name, ref.namespace)["metadata"]["resourceVersion"] == before


def test_a_running_vm_keeps_its_size_until_it_is_stopped(session: Session) -> None:
    (ref,) = create_running(session, _sized("web-1"))
    found = _sizes(session, {ref: constant(0.7, 2.0)})
    (one,) = found.assessments
    assert one.proposal.effect is Effect.RESTART
    result = Insights(session).resize(found.assessments, ResizeOptions(at_next_stop=True))
    assert _statuses(result) == {"web-1": Status.CHANGED}
    assert look(session, ref).annotations[RESIZE_AT_STOP] == "vcpus=1,memory=2560Mi"
    assert _domain(session, ref)["cpu"]["sockets"] == 4

    early = Insights(session).resize_pending(namespace=ref.namespace)
    assert [outcome.reason.code for outcome in early.outcomes] == ["NotStopped"]
    session.call_subresource(VIRTUAL_MACHINES, ref.name, "stop", ref.namespace, body={})
    wait_until(session, [ref], stopped)
    done = Insights(session).resize_pending(namespace=ref.namespace)
    assert _statuses(done) == {"web-1": Status.CHANGED}
    assert _domain(session, ref)["cpu"]["sockets"] == 1
    assert RESIZE_AT_STOP not in look(session, ref).annotations
    assert Insights(session).resize_pending(namespace=ref.namespace).outcomes == ()


def test_a_schedule_gives_the_size_right_before_it_starts_a_vm(session: Session) -> None:
    wish = {RESIZE_AT_STOP: "vcpus=2,memory=3Gi"}
    (ref,) = create(session, _sized("web-1", annotations=wish))
    wait_until(session, [ref], stopped)
    view = fulfil_before_start(session, look(session, ref))
    assert RESIZE_AT_STOP not in view.annotations
    assert view.resource_version == look(session, ref).resource_version
    assert (view.cpu_cores, view.memory_bytes) == (2, 3 * GIB)


@pytest.mark.parametrize(
    "wish", ["", "vcpus=0,memory=1Gi", "vcpus=2", "instancetype=u1.small", "memory=lots,vcpus=1"]
)
def test_a_wish_that_is_no_size_stops_no_start(session: Session, wish: str) -> None:
    (ref,) = create(session, _sized("web-1", annotations={RESIZE_AT_STOP: wish}))
    wait_until(session, [ref], stopped)
    view = look(session, ref)
    assert fulfil_before_start(session, view) == view
    assert _domain(session, ref)["cpu"]["sockets"] == 4
    result = Insights(session).resize_pending(namespace=ref.namespace)
    assert [outcome.status for outcome in result.outcomes] == [Status.FAILED]


def test_a_vm_that_changed_meanwhile_is_left_alone(session: Session) -> None:
    (ref,) = create(session, _sized("web-1"))
    wait_until(session, [ref], stopped)
    found = _sizes(session, {ref: constant(0.7, 2.0)})
    session.patch(VIRTUAL_MACHINES, ref.name, {"metadata": {"labels": {"touched": "yes"}}}, ref.namespace)
    result = Insights(session).resize(found.assessments)
    (outcome,) = result.outcomes
    assert (outcome.status, outcome.reason.code) == (Status.FAILED, "Conflict")
    assert _domain(session, ref)["cpu"]["sockets"] == 4


def test_what_git_decides_is_changed_in_git(session: Session) -> None:
    mark = {"argocd.argoproj.io/tracking-id": "shop:kubevirt.io/VirtualMachine:shop/web-1"}
    (ref,) = create(session, _sized("web-1", annotations=mark))
    wait_until(session, [ref], stopped)
    found = _sizes(session, {ref: constant(0.7, 2.0)})
    (outcome,) = Insights(session).resize(found.assessments).outcomes
    assert outcome.status is Status.REFUSED
    assert _domain(session, ref)["cpu"]["sockets"] == 4
    despite = Insights(session).resize(found.assessments, ResizeOptions(despite_gitops=True))
    assert _statuses(despite) == {"web-1": Status.CHANGED}


def test_a_vm_nobody_measured_is_left_alone(session: Session) -> None:
    refs = create(session, _sized("web-1"), _sized("web-2"))
    wait_until(session, refs, stopped)
    found = _sizes(session, {refs[1]: constant(math.nan, math.nan)})
    assert [one.proposal.size for one in found.assessments] == [None, None]
    assert Insights(session).resize(found.assessments).outcomes == ()


def test_a_run_that_would_change_too_many_changes_none(session: Session) -> None:
    refs = create(session, _sized("web-1"), _sized("web-2"))
    wait_until(session, refs, stopped)
    found = _sizes(session, dict.fromkeys(refs, constant(0.7, 2.0)))
    with pytest.raises(LimitExceeded):
        Insights(session).resize(found.assessments, ResizeOptions(max_changes=Limit(count=1)))
    assert _domain(session, refs[0])["cpu"]["sockets"] == 4


def test_without_prometheus_no_size_is_proposed(session: Session) -> None:
    with pytest.raises(UsageError, match="no Prometheus"):
        Insights(session).sizes(namespace=session.namespace)


def test_names_that_are_not_there_are_errors(session: Session) -> None:
    fleet = read_fleet(session, names=[VmRef(session.namespace, "gone")])
    assert [error.code for error in fleet.errors] == ["NotFound"]
    assert fleet.vms == ()
    assert fleet.servers.servers


@pytest.mark.parametrize(
    ("percentile", "margin"), [(0.2, 0.15), (1.2, 0.15), (0.9, -1.0), (0.9, 20.0), (math.nan, 0.1)]
)
def test_numbers_that_make_no_sense_are_refused(percentile: float, margin: float) -> None:
    with pytest.raises(UsageError):
        build_settings(percentile=percentile, margin=margin, min_memory_bytes=0)


@pytest.mark.parametrize("size", [Size(2, 4 * GIB), Size(1, 2560 * 2**20)])
def test_wishes_read_back_as_they_were_written(size: Size, session: Session) -> None:
    (ref,) = create(session, _sized("web-1"))
    (vm,) = read_fleet(session, names=[ref], servers=False).vms
    assert parse_wish(render_wish(size), Catalog(), vm) == size
    with pytest.raises(InputError):
        parse_wish("vcpus=2,memory=4Gi,image=evil", Catalog(), vm)


def test_with_rights_to_vms_alone_sizes_are_found_and_the_rest_is_said(
    session: Session, lab: Lab, tmp_path: Path
) -> None:
    (ref,) = create(session, _sized("web-1"))
    wait_until(session, [ref], stopped)
    rule = {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get", "list"]}
    with as_account(session, lab, tmp_path, [rule]) as jobber:
        source = TableSource({ref: constant(0.7, 2.0)})
        found = Insights(jobber, source=source).sizes(namespace=ref.namespace)
        report = Insights(jobber, source=source).capacity(namespace=ref.namespace)
    (one,) = found.assessments
    assert one.proposal.size == Size(1, 2560 * 2**20)
    # Nobody may see instances, but the VM itself says that it is stopped; of the cluster's settings nobody knows.
    assert one.proposal.effect in (Effect.START, Effect.RESTART)
    assert any("instances cannot be read" in notice for notice in found.notices)
    assert any("nodes cannot be read" in notice for notice in report.notices)
    assert report.servers_now is None
    assert report.memory.split.reserved == 8 * GIB


def test_autoscalers_aimed_at_vms_are_found() -> None:
    def autoscaler(name: str, api: str, kind: str, mode: str | None) -> dict[str, Any]:
        policy = {"updatePolicy": {"updateMode": mode}} if mode else {}
        target = {"apiVersion": api, "kind": kind, "name": "web"}
        return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"targetRef": target, **policy}}

    items: list[Any] = [
        autoscaler("pool", "pool.kubevirt.io/v1beta1", "VirtualMachinePool", None),
        autoscaler("reads", "kubevirt.io/v1", "VirtualMachineInstanceReplicaSet", "Off"),
        autoscaler("fine", "apps/v1", "Deployment", "Auto"),
        {"metadata": None, "spec": 7},
    ]
    found = list(find_aimed_autoscalers(items))
    assert [(one.name, one.dangerous) for one in found] == [("pool", True), ("reads", False)]
    assert "updateMode: Off" in str(found[0])


def test_the_size_of_a_shape_is_read_as_kubevirt_reads_it(session: Session) -> None:
    (ref,) = create_running(session, _sized("web-1", sockets=2, memory="1Gi"))
    vmi = session.get(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
    shape = read_shape(session.get(VIRTUAL_MACHINES, ref.name, ref.namespace), vmi, Catalog())
    assert (shape.vcpus, shape.memory_bytes) == (2, GIB)
    assert shape.max_sockets == 8
    assert shape.max_guest_bytes == 4 * GIB


def test_a_scheduled_start_brings_the_size_that_was_waiting(session: Session) -> None:
    (ref,) = create(session, _sized("web-1", annotations={RESIZE_AT_STOP: "vcpus=2,memory=3Gi"}))
    wait_until(session, [ref], stopped)
    outcome = PowerHands(session).act(look(session, ref), Side.START)
    assert outcome.ok
    wait_until(session, [ref], lambda view: view.alive)
    vmi = session.get(VIRTUAL_MACHINE_INSTANCES, ref.name, ref.namespace)
    assert vmi["spec"]["domain"]["cpu"]["sockets"] == 2
    assert vmi["spec"]["domain"]["memory"]["guest"] == "3Gi"
    assert RESIZE_AT_STOP not in look(session, ref).annotations


def test_a_group_counts_whole_though_one_member_is_asked_about(session: Session) -> None:
    group = {"vmkit.io/ha-group": "web"}
    refs = create(session, *(_sized(f"web-{number}", labels=group) for number in (1, 2, 3)))
    wait_until(session, refs, stopped)
    (one,) = read_fleet(session, names=refs[:1]).vms
    assert one.redundancy == pytest.approx(1 / 3)
    few = read_fleet(session, names=refs[1:], servers=False)
    assert [vm.ref for vm in few.vms] == refs[1:]
    assert [vm.running for vm in few.vms] == [False, False]
