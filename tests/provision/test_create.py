"""Creating VMs on the practice cluster: desired state, done once however often it is asked for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.power.guillotine import Guillotine, describe
from vmkit.cluster import Session
from vmkit.cluster.resources import (
    CEPH_BLOCK_POOLS,
    CEPH_CLUSTERS,
    DATA_SOURCES,
    DATA_VOLUMES,
    SECRETS,
    SERVICES,
    STORAGE_CLASSES,
    VIRTUAL_MACHINES,
    VOLUME_SNAPSHOT_CLASSES,
)
from vmkit.errors import (
    AnswerError,
    LimitExceeded,
    ManifestError,
    NotConfirmed,
    StorageUnhealthy,
    TemplateError,
    UsageError,
    VmkitError,
)
from vmkit.lab import Lab
from vmkit.plan.model import ObjectRef, Outcome, Plan, Status
from vmkit.power import PowerOptions, Selection, run_power
from vmkit.provision.catalog import Catalog
from vmkit.provision.create import run_create
from vmkit.provision.options import CreateOptions, CreateResult
from vmkit.provision.progress import Progress
from vmkit.provision.request import CreateRequest, expand_count, read_fleet
from vmkit.vm.reference import VmRef

CATALOG = Catalog(project=Path("/nonexistent"), user=Path("/nonexistent"))
SECRET = "correct-horse-battery"
WAIT = CreateOptions(wait=True, timeout_seconds=60)


def create(session: Session, *requests: CreateRequest, **options: Any) -> CreateResult:
    return run_create(session, requests, CreateOptions(**options), catalog=CATALOG)


def only(result: CreateResult) -> Outcome:
    assert len(result.outcomes) == 1
    return result.outcomes[0]


def web(name: str = "web-1", **answers: Any) -> CreateRequest:
    # A container disk is there at once, and a short script keeps cloud-init inline.
    return CreateRequest(name, "debian", answers={"image": "blank", **answers})


# --- once, and again ---------------------------------------------------------------------------------------------


def test_a_vm_is_created_and_waited_for(session: Session):
    steps: list[tuple[ObjectRef, Progress]] = []
    heard: list[Outcome] = []
    request = CreateRequest("web-1", "debian", disks={"data": "10Gi"})
    result = run_create(
        session, [request], WAIT, catalog=CATALOG, on_outcome=heard.append,
        on_progress=lambda ref, progress: steps.append((ref, progress)),
    )  # fmt: skip
    assert only(result).status is Status.CHANGED
    assert heard == list(result.outcomes)
    vm = session.get(VIRTUAL_MACHINES, "web-1")
    assert vm["status"]["printableStatus"] == "Running"
    assert vm["metadata"]["labels"]["vmkit.io/template"] == "debian"
    assert session.get(DATA_VOLUMES, "web-1-data")["status"]["phase"] == "Succeeded"
    assert any("import" in progress.text and progress.fraction for _, progress in steps)
    assert steps[-1][1].done


def test_what_is_there_as_asked_for_is_unchanged(session: Session):
    request = CreateRequest("db", "database", answers={"password": SECRET, "image": "blank"})
    assert only(create(session, request)).status is Status.CHANGED
    version = session.get(VIRTUAL_MACHINES, "db")["metadata"]["generation"]
    again = only(create(session, request))
    assert (again.status, again.reason.code) == (Status.UNCHANGED, "Equal")
    assert session.get(VIRTUAL_MACHINES, "db")["metadata"]["generation"] == version


def test_what_differs_is_refused_with_the_diff_and_changed_when_told_to(session: Session):
    create(session, web())
    refused = create(session, web(cpu=4))
    assert only(refused).status is Status.REFUSED
    assert refused.exit_code == 5
    error = only(refused).error
    assert error is not None
    diff = error.to_dict()["diff"]
    assert "-          sockets: 2" in diff
    assert "+          sockets: 4" in diff
    assert session.get(VIRTUAL_MACHINES, "web-1")["spec"]["template"]["spec"]["domain"]["cpu"]["sockets"] == 2
    updated = only(create(session, web(cpu=4), update=True))
    assert (updated.status, updated.verb) == (Status.CHANGED, "update")
    assert session.get(VIRTUAL_MACHINES, "web-1")["spec"]["template"]["spec"]["domain"]["cpu"]["sockets"] == 4
    assert only(create(session, web(cpu=4))).status is Status.UNCHANGED


def test_a_size_written_in_another_way_is_no_difference(session: Session):
    create(session, web(memory="2Gi"))
    assert only(create(session, web(memory="2048Mi"))).status is Status.UNCHANGED


def test_a_field_somebody_added_is_theirs(session: Session):
    create(session, web())
    session.patch(VIRTUAL_MACHINES, "web-1", {"metadata": {"labels": {"owner": "ada"}}})
    assert only(create(session, web())).status is Status.UNCHANGED


def test_a_field_vmkit_does_not_send_any_more_is_a_difference(session: Session):
    labelled = CreateRequest("web-1", "debian", answers={"image": "blank"}, labels={"team": "blue"})
    create(session, labelled)
    refused = only(create(session, web()))
    assert refused.status is Status.REFUSED
    assert "team: blue" in refused.error.to_dict()["diff"]  # type: ignore[union-attr]
    create(session, web(), update=True)
    assert "team" not in session.get(VIRTUAL_MACHINES, "web-1")["metadata"]["labels"]


def test_a_vm_being_deleted_is_not_created_over(session: Session):
    create(session, web(run_strategy="Halted"))
    session.patch(VIRTUAL_MACHINES, "web-1", {"metadata": {"finalizers": ["example.com/hold"]}})
    session.delete(VIRTUAL_MACHINES, "web-1")
    outcome = only(create(session, web(run_strategy="Halted")))
    assert outcome.status is Status.FAILED
    assert "being deleted" in outcome.reason.text
    session.patch(VIRTUAL_MACHINES, "web-1", {"metadata": {"finalizers": None}})


# --- power -------------------------------------------------------------------------------------------------------


def test_create_never_starts_what_was_stopped_and_never_stops_what_was_started(session: Session, namespace: str):
    create(session, web(), wait=True, timeout_seconds=60)
    run_power(session, "stop", Selection((VmRef(namespace, "web-1"),)), PowerOptions(wait=True))
    assert only(create(session, web())).status is Status.UNCHANGED
    assert only(create(session, web(cpu=8), update=True)).status is Status.CHANGED
    stopped = session.get(VIRTUAL_MACHINES, "web-1")
    assert stopped["spec"]["runStrategy"] == "Halted"
    assert stopped["spec"]["template"]["spec"]["domain"]["cpu"]["sockets"] == 8
    applied = next(
        entry["fieldsV1"] for entry in stopped["metadata"]["managedFields"]
        if entry["manager"] == "vmkit" and entry["operation"] == "Apply"
    )  # fmt: skip
    assert "f:runStrategy" not in applied["f:spec"]
    run_power(session, "start", Selection((VmRef(namespace, "web-1"),)), PowerOptions(wait=True))
    create(session, web(cpu=2, run_strategy="Halted"), update=True)
    assert session.get(VIRTUAL_MACHINES, "web-1")["spec"]["runStrategy"] == "Always"


def test_an_update_of_a_vm_nobody_stopped_keeps_its_run_strategy(session: Session):
    create(session, web(run_strategy="Manual"))
    create(session, web(run_strategy="Always", cpu=4), update=True)
    assert session.get(VIRTUAL_MACHINES, "web-1")["spec"]["runStrategy"] == "Manual"


# --- many --------------------------------------------------------------------------------------------------------


def test_many_are_created_and_only_the_missing_ones_the_second_time(session: Session):
    first = expand_count(web("vm", run_strategy="Halted"), 20)
    assert create(session, *first).counts == {"changed": 20}
    both = create(session, *expand_count(web("vm", run_strategy="Halted"), 40))
    assert both.counts == {"changed": 20, "unchanged": 20}
    assert [outcome.target.name for outcome in both.outcomes] == [f"vm-{number}" for number in range(1, 41)]


def test_one_that_fails_leaves_the_others(session: Session):
    create(session, web("vm-2", run_strategy="Halted", cpu=9))
    result = create(session, *expand_count(web("vm", run_strategy="Halted"), 3))
    assert [outcome.status for outcome in result.outcomes] == [Status.CHANGED, Status.REFUSED, Status.CHANGED]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("requests", "error"),
    [
        ([web(), web()], UsageError),
        ([web(), CreateRequest("x", "no-such-template")], TemplateError),
        ([web(), CreateRequest("x", "debian", answers={"cpus": 1})], AnswerError),
        ([web(), CreateRequest("x", "debian", storage="no-such-class")], UsageError),
        ([web(), CreateRequest("x", "debian", disks={"cloudinit": "1Gi"})], AnswerError),
    ],
)
def test_a_mistake_in_one_request_sends_nothing_for_any(session: Session, requests: list[Any], error: type[Any]):
    with pytest.raises(error):
        create(session, *requests)
    assert list(session.list(VIRTUAL_MACHINES, session.namespace)) == []


def test_two_requests_whose_templates_make_one_object_are_refused(session: Session, tmp_path: Path):
    fixed = tmp_path / "fixed.yaml"
    fixed.write_text(
        "apiVersion: vmkit.io/v1\nkind: Template\nname: fixed\ntitle: T\nobjects:\n  - name: c\n    body: |\n"
        "      apiVersion: v1\n      kind: ConfigMap\n      metadata:\n        name: always-this\n"
    )
    with pytest.raises(ManifestError, match="asked for twice"):
        create(session, CreateRequest("a", str(fixed)), CreateRequest("b", str(fixed)))


def test_what_admission_would_refuse_is_refused_before_it_is_sent(session: Session, tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: vmkit.io/v1\nkind: Template\nname: bad\ntitle: T\nobjects:\n  - name: vm\n    body: |\n"
        "      apiVersion: kubevirt.io/v1\n      kind: VirtualMachine\n      metadata:\n        name: {{ name }}\n"
        "      spec:\n        runStrategy: Sometimes\n        template: {spec: {domain: {devices: {}}}}\n"
    )
    with pytest.raises(ManifestError, match="Sometimes"):
        create(session, CreateRequest("a", str(bad)))


def test_more_changes_than_allowed_are_refused(session: Session):
    from vmkit.units import parse_limit

    with pytest.raises(LimitExceeded):
        create(session, *expand_count(web("vm"), 3), max_changes=parse_limit("2"))
    assert list(session.list(VIRTUAL_MACHINES, session.namespace)) == []


def test_nobody_says_yes_and_nothing_is_sent(session: Session):
    def no(plan: Plan) -> None:
        assert [change.verb for change in plan] == ["create"]
        raise NotConfirmed("no")

    with pytest.raises(NotConfirmed):
        run_create(session, [web()], catalog=CATALOG, confirm=no)
    assert session.find(VIRTUAL_MACHINES, "web-1") is None


# --- looking before ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", ["client", "server"])
def test_a_dry_run_changes_nothing(session: Session, dry_run: Any):
    request = CreateRequest("db", "database", answers={"password": SECRET})
    result = create(session, request, dry_run=dry_run, manifests=True, diff=True)
    assert only(result).status is Status.PLANNED
    assert result.dry_run == dry_run
    assert {manifest["kind"] for manifest in result.manifests} == {
        "Secret",
        "DataVolume",
        "VirtualMachine",
        "Service",
    }
    assert "+kind: VirtualMachine" in only(result).detail["diff"]
    for resource in (VIRTUAL_MACHINES, SECRETS, DATA_VOLUMES, SERVICES):
        assert [item["metadata"]["name"] for item in session.list(resource, session.namespace)] == []


def test_a_dry_run_on_the_server_is_checked_by_the_server(session: Session, tmp_path: Path):
    odd = tmp_path / "odd.yaml"
    odd.write_text(
        "apiVersion: vmkit.io/v1\nkind: Template\nname: odd\ntitle: T\nobjects:\n  - name: s\n    body: |\n"
        "      apiVersion: v1\n      kind: Service\n      metadata:\n        name: {{ name }}\n"
        "      spec:\n        ports: [{port: 0}]\n"
    )
    assert only(create(session, CreateRequest("a", str(odd)), dry_run="client")).status is Status.PLANNED
    assert only(create(session, CreateRequest("a", str(odd)), dry_run="server")).status is Status.FAILED


# --- secrets -----------------------------------------------------------------------------------------------------


def everything_shown(result: CreateResult) -> str:
    return json.dumps([result.to_dict(), list(result.manifests)])


def test_a_secret_is_in_nothing_that_people_see(session: Session):
    request = CreateRequest("db", "database", answers={"password": SECRET, "image": "blank"})
    encoded = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"
    shown = [
        create(session, request, dry_run="client", manifests=True, diff=True),
        create(session, request, manifests=True),
        create(session, CreateRequest("db", "database", answers={"password": "another-one-123", "image": "blank"}),
               manifests=True, diff=True),
    ]  # fmt: skip
    for result in shown:
        text = everything_shown(result)
        assert SECRET not in text
        assert encoded not in text
        assert "another-one-123" not in text
        assert any(notice.startswith("left out: Secret ") for notice in result.notices)
    data = session.get(SECRETS, "db-database")["data"]
    assert data["password"] == encoded
    shown_on_demand = create(session, request, dry_run="client", manifests=True, show_secrets=True)
    assert encoded in everything_shown(shown_on_demand)


def test_cloud_init_with_a_secret_goes_to_a_secret_and_with_the_vm(session: Session):
    create(session, web(password=SECRET))
    vm = session.get(VIRTUAL_MACHINES, "web-1")
    volume = vm["spec"]["template"]["spec"]["volumes"][-1]
    assert volume["cloudInitNoCloud"] == {"secretRef": {"name": "web-1-cloudinit"}}
    owners = session.get(SECRETS, "web-1-cloudinit")["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [vm["metadata"]["uid"]]


def test_data_outlives_the_vm(session: Session):
    create(session, CreateRequest("db", "database", answers={"password": SECRET, "image": "blank"}))
    assert "ownerReferences" not in session.get(DATA_VOLUMES, "db-data")["metadata"]


def test_files_for_git_hold_stubs_instead_of_secrets(session: Session, tmp_path: Path):
    request = CreateRequest("db", "database", answers={"password": SECRET, "image": "blank"})
    result = create(session, request, output_dir=tmp_path)
    assert session.find(VIRTUAL_MACHINES, "db") is None
    folder = tmp_path / session.namespace
    assert sorted(path.name for path in folder.iterdir()) == ["db.secrets.yaml", "db.yaml"]
    assert not any(SECRET in path.read_text() for path in folder.iterdir())
    stub = next(iter(yaml.safe_load_all((folder / "db.secrets.yaml").read_text())))
    assert stub["stringData"] == {"userdata": "(fill in)"} or stub["stringData"]["password"] == "(fill in)"
    assert any(notice.startswith("left out") for notice in result.notices)
    (folder / "db.secrets.yaml").write_text("mine\n")
    again = create(session, request, output_dir=tmp_path)
    assert only(again).status is Status.UNCHANGED
    assert (folder / "db.secrets.yaml").read_text() == "mine\n"
    create(session, request, output_dir=tmp_path / "open", show_secrets=True)
    assert (tmp_path / "open" / session.namespace / "db.secrets.yaml").stat().st_mode & 0o077 == 0


# --- storage -----------------------------------------------------------------------------------------------------


def test_storage_is_chosen_and_said(session: Session):
    result = create(session, CreateRequest("web-1", "debian"))
    assert any(remark.startswith("storage: rook-ceph-block") for remark in result.remarks)
    claim = session.get(VIRTUAL_MACHINES, "web-1")["spec"]["dataVolumeTemplates"][0]["spec"]["storage"]
    assert claim["storageClassName"] == "rook-ceph-block"


def test_a_golden_image_is_cloned_rather_than_imported(session: Session, namespace: str):
    session.create(DATA_VOLUMES, {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": "golden"},
        "spec": {"source": {"blank": {}}, "storage": {
            "storageClassName": "rook-ceph-block", "resources": {"requests": {"storage": "5Gi"}}}},
    })  # fmt: skip
    session.create(DATA_SOURCES, {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataSource", "metadata": {"name": "golden"},
        "spec": {"source": {"pvc": {"namespace": namespace, "name": "golden"}}},
    })  # fmt: skip
    with closing(session.watch(DATA_SOURCES, namespace, timeout_seconds=30)) as watch:
        for event in watch:
            conditions = event.object.get("status", {}).get("conditions", [])
            if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                break
    images = [f"datasource:{namespace}/golden", "docker://quay.io/containerdisks/debian:13"]
    result = create(session, CreateRequest("web-1", "debian", answers={"image": images}), wait=True)
    spec = session.get(VIRTUAL_MACHINES, "web-1")["spec"]["dataVolumeTemplates"][0]["spec"]
    assert spec["sourceRef"] == {"kind": "DataSource", "name": "golden", "namespace": namespace}
    assert "source" not in spec
    assert any("cloned rather than imported" in remark for remark in result.remarks)
    assert only(result).reason.code == "Ready"


def test_storage_that_would_be_too_full_takes_no_more(session: Session):
    total = next(iter(session.list(CEPH_CLUSTERS)))["status"]["ceph"]["capacity"]["bytesTotal"]
    huge = CreateRequest("huge", "debian", answers={"disk": str(total), "image": "blank"})
    with pytest.raises(StorageUnhealthy) as caught:
        create(session, huge)
    assert "--ignore-storage-health" in caught.value.hint
    assert session.find(VIRTUAL_MACHINES, "huge") is None
    result = create(session, huge, ignore_storage_health=True, dry_run="client")
    assert only(result).status is Status.PLANNED
    assert any("full" in notice for notice in result.notices)


@pytest.fixture
def lonely_class(session: Session) -> Iterator[str]:
    """A storage class of Rook whose CephCluster is nowhere in sight, as with external clusters."""
    name = f"lonely-{session.namespace}"
    session.create(STORAGE_CLASSES, {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "rook-ceph.rbd.csi.ceph.com", "parameters": {"clusterID": "elsewhere", "pool": "p"},
    })  # fmt: skip
    yield name
    session.delete(STORAGE_CLASSES, name)


def test_without_a_ceph_cluster_health_is_unknown_and_said(session: Session, lonely_class: str):
    request = CreateRequest("web-1", "debian", answers={"image": "blank"}, storage=lonely_class)
    result = create(session, request, dry_run="server")
    assert only(result).status is Status.PLANNED
    assert any("health of the storage is unknown" in notice for notice in result.notices)


# --- waiting -----------------------------------------------------------------------------------------------------


def test_an_import_that_cannot_work_ends_the_waiting_with_the_reason(session: Session):
    request = CreateRequest("web-1", "debian", answers={"image": "https://images.example/lab-fail-404.img"})
    outcome = only(create(session, request, wait=True, timeout_seconds=60))
    assert outcome.status is Status.FAILED
    assert "disk web-1-root cannot be filled" in outcome.reason.text


def test_waiting_has_an_end(session: Session):
    outcome = only(create(session, CreateRequest("web-1", "debian"), wait=True, timeout_seconds=0.05))
    assert outcome.status is Status.TIMED_OUT
    assert session.find(VIRTUAL_MACHINES, "web-1") is not None


def test_a_vm_that_is_not_to_run_is_ready_when_its_disks_are(session: Session):
    outcome = only(create(session, CreateRequest("a", "debian", answers={"run_strategy": "Halted"}), wait=True))
    assert outcome.reason.code == "Ready"
    assert session.get(DATA_VOLUMES, "a-root")["status"]["phase"] == "Succeeded"


# --- conflicts ---------------------------------------------------------------------------------------------------


def test_a_vm_that_changes_while_it_is_looked_at_is_read_again(session: Session):
    create(session, web())

    def meanwhile(plan: Plan) -> None:
        session.patch(
            VIRTUAL_MACHINES, "web-1", {"metadata": {"annotations": {"example.com/seen": "1"}}}, session.namespace
        )

    result = run_create(session, [web(cpu=4)], CreateOptions(update=True), catalog=CATALOG, confirm=meanwhile)
    assert only(result).status is Status.CHANGED
    spec = session.get(VIRTUAL_MACHINES, "web-1", session.namespace)["spec"]
    assert spec["template"]["spec"]["domain"]["cpu"]["sockets"] == 4
    assert spec["runStrategy"] == "Always"


def test_a_field_somebody_else_manages_is_left_unless_told_otherwise(session: Session):
    create(session, web())
    session.apply(
        {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web-1"},
         "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 600}}}},
        field_manager="somebody", force=True,
    )  # fmt: skip
    outcome = only(create(session, web(), update=True))
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert "--force-conflicts" in outcome.error.hint
    assert only(create(session, web(), update=True, force_conflicts=True)).status is Status.CHANGED


@pytest.mark.parametrize(
    ("setting", "text", "missing"),
    [
        ("instancetype", "u1.medum", "there is no instancetype 'u1.medum'"),
        ("instancetype", "namespaced/own", "there is no instancetype 'own' in namespace"),
        ("preference", "debain", "there is no preference 'debain'"),
    ],
)
def test_a_size_that_is_not_there_is_refused_before_anything_is_sent(session: Session, setting, text, missing):
    request = dataclasses.replace(CreateRequest("sized", "debian"), **{setting: text})
    with pytest.raises(AnswerError) as refused:
        create(session, request)
    assert missing in refused.value.message
    assert refused.value.hint
    assert session.find(VIRTUAL_MACHINES, "sized", session.namespace) is None


# --- templates without a VM, and all examples ----------------------------------------------------------------


def test_objects_without_a_vm_are_compared_whole(session: Session):
    request = CreateRequest(f"pool-{session.namespace}", "rook-block")
    try:
        assert only(create(session, request)).status is Status.CHANGED
        assert only(create(session, request)).status is Status.UNCHANGED
        differs = CreateRequest(request.name, "rook-block", answers={"reclaim": "Retain"})
        assert only(create(session, differs)).status is Status.REFUSED
    finally:
        session.delete(STORAGE_CLASSES, request.name)
        session.delete(VOLUME_SNAPSHOT_CLASSES, request.name)
        session.delete(CEPH_BLOCK_POOLS, request.name, "rook-ceph")


EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples" / "templates").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_one_that_the_cluster_takes(session: Session, path: Path):
    here = [dataclasses.replace(request, namespace="") for request in read_fleet(path)]
    result = create(session, *here, dry_run="server")
    assert set(result.counts) == {"planned"}, result.to_dict()


# --- killed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before it is carried out", "after"])
def test_a_run_killed_at_any_request_is_completed_by_running_it_again(
    lab: Lab, session: Session, tmp_path: Path, after: bool
):
    off = {"image": "blank", "run_strategy": "Halted"}
    fall_at = 0
    fell = True
    while fell:
        fall_at += 1
        requests = [
            CreateRequest(f"db-{fall_at}", "database", answers={"password": SECRET, **off}),
            CreateRequest(f"web-{fall_at}", "debian", answers={"password": SECRET, **off}),
        ]
        with Guillotine(lab, tmp_path, fall_at=fall_at, after=after) as guillotine:
            with guillotine.connect(session.namespace) as doomed, suppress(VmkitError):
                run_create(doomed, requests, CreateOptions(concurrency=1), catalog=CATALOG)
            fell = guillotine.fallen
        completed = create(session, *requests)
        assert completed.ok, (describe(guillotine), completed.to_dict())
        assert create(session, *requests).counts == {"unchanged": 2}
        for request in requests:
            uid = session.get(VIRTUAL_MACHINES, request.name)["metadata"]["uid"]
            secret = session.get(SECRETS, f"{request.name}-cloudinit")
            assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [uid]
    assert fall_at > 10
