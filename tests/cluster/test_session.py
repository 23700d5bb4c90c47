from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.peer import QUICK, Answer, Peer, Seen, listing, refuse, reply, vm, write_kubeconfig
from vmkit.cluster import Resource, RetryPolicy, Session
from vmkit.cluster.resources import DATA_VOLUMES, SECRETS, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES
from vmkit.errors import (
    AlreadyExists,
    Conflict,
    FateUnknown,
    MalformedReply,
    ManifestError,
    MissingApi,
    NotFound,
    ServerFault,
    Throttled,
    Unreachable,
)

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}


def test_requests_go_where_the_api_serves_them(peer: Peer, tmp_path: Path) -> None:
    with peer.connect(tmp_path, namespace="shop") as session:
        session.get(VIRTUAL_MACHINES, "web-1")
        session.get(VIRTUAL_MACHINES, "web-1", "other")
        session.list_page(VIRTUAL_MACHINES)
        session.list_page(VIRTUAL_MACHINES, "shop", label_selector="a=b,c!=d", limit=5)
        session.call_subresource(VIRTUAL_MACHINES, "web-1", "stop", body={"gracePeriod": 3})
        session.call_subresource(VIRTUAL_MACHINE_INSTANCES, "web-1", "guestosinfo", method="GET")
        session.delete(VIRTUAL_MACHINES, "web-1", uid="u", propagation="Background")
        session.patch(VIRTUAL_MACHINES, "web-1", {"metadata": {}}, subresource="status")
        session.apply({**CONFIG_MAP, "metadata": {"name": "a:b"}}, force=True, dry_run=True)
    kubevirt, served = "/apis/kubevirt.io/v1/namespaces", "/apis/subresources.kubevirt.io/v1/namespaces"
    assert [(seen.method, seen.path) for seen in peer.seen] == [
        ("GET", f"{kubevirt}/shop/virtualmachines/web-1"),
        ("GET", f"{kubevirt}/other/virtualmachines/web-1"),
        ("GET", "/apis/kubevirt.io/v1/virtualmachines?limit=500"),
        ("GET", f"{kubevirt}/shop/virtualmachines?labelSelector=a%3Db%2Cc%21%3Dd&limit=5"),
        ("PUT", f"{served}/shop/virtualmachines/web-1/stop"),
        ("GET", f"{served}/shop/virtualmachineinstances/web-1/guestosinfo"),
        ("DELETE", f"{kubevirt}/shop/virtualmachines/web-1"),
        ("PATCH", f"{kubevirt}/shop/virtualmachines/web-1/status?fieldManager=vmkit"),
        (
            "PATCH",
            "/api/v1/namespaces/shop/configmaps/a:b"
            "?dryRun=All&fieldManager=vmkit&fieldValidation=Strict&force=true",
        ),
    ]  # fmt: skip
    assert peer.seen[4].body == {"gracePeriod": 3}
    assert peer.seen[4].headers["accept"] == "*/*"
    assert peer.seen[6].body["preconditions"] == {"uid": "u"}
    assert peer.seen[7].headers["content-type"] == "application/merge-patch+json"
    assert peer.seen[8].headers["content-type"] == "application/apply-patch+yaml"
    assert all(seen.headers["authorization"] == "Bearer secret-token" for seen in peer.seen)
    assert all(seen.headers["user-agent"].startswith("vmkit/") for seen in peer.seen)


def test_no_name_climbs_out_of_its_collection(peer: Peer, tmp_path: Path) -> None:
    with peer.connect(tmp_path) as session:
        session.get(VIRTUAL_MACHINES, "../../secrets/s")
        with pytest.raises(ManifestError):
            session.get(VIRTUAL_MACHINES, "..")
    assert peer.seen[0].path.endswith("/virtualmachines/..%2F..%2Fsecrets%2Fs")


def test_empty_answers_of_subresources_are_fine(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(202), Answer(200, b"plain", content_type="text/plain"), reply(200, {"hostname": "web"}))
    with peer.connect(tmp_path) as session:
        assert session.call_subresource(VIRTUAL_MACHINES, "web-1", "stop") is None
        assert session.call_subresource(VIRTUAL_MACHINES, "web-1", "stop") is None
        assert session.call_subresource(VIRTUAL_MACHINES, "web-1", "x", method="GET") == {"hostname": "web"}


# --- lists --------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_and_one_page_ahead(peer: Peer, tmp_path: Path) -> None:
    held = threading.Event()
    second = listing(vm("c"), token="t2", version=11)
    peer.script(listing(vm("a"), vm("b"), token="t1"), replace(second, hold=held), listing(vm("d"), version=11))
    with peer.connect(tmp_path) as session:
        found = session.list(VIRTUAL_MACHINES, page_size=2)
        assert peer.seen == []
        assert [next(found)["metadata"]["name"], next(found)["metadata"]["name"]] == ["a", "b"]
        held.set()
        assert [item["metadata"]["name"] for item in found] == ["c", "d"]
        assert found.resource_version == "10"
    assert [seen.path.partition("continue=")[2] for seen in peer.seen] == ["", "t1", "t2"]


def test_a_list_forgotten_between_two_pages_begins_anew_without_repeating(peer: Peer, tmp_path: Path) -> None:
    peer.script(
        listing(vm("a"), vm("b"), token="t1", version=10),
        refuse(410, "Expired", "The provided continue parameter is too old"),
        listing(vm("a", 2), vm("b"), token="t2", version=20),
        listing(vm("c"), version=20),
    )
    with peer.connect(tmp_path) as session:
        found = session.list(VIRTUAL_MACHINES)
        assert [item["metadata"]["name"] for item in found] == ["a", "b", "c"]
        # "a" may have changed since it was given: a watch has to begin at the first list.
        assert found.resource_version == "10"


def test_one_bad_object_does_not_end_a_list(peer: Peer, tmp_path: Path) -> None:
    peer.script(reply(200, {"metadata": {"resourceVersion": "1"}, "items": [vm("a"), 3, None, {}, vm("b")]}))
    with peer.connect(tmp_path) as session:
        assert len(list(session.list(VIRTUAL_MACHINES))) == 5
    peer.script(Answer(200, b'{"items": [{"a": "\xff"}, {"a": "b"}]}'))
    with peer.connect(tmp_path) as session:
        assert list(session.list(VIRTUAL_MACHINES)) == [{}, {"a": "b"}]
    peer.script(reply(200, {"metadata": {}, "items": None}))
    with peer.connect(tmp_path) as session:
        assert list(session.list(VIRTUAL_MACHINES)) == []


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b'{"items": 3}', b"<html>login</html>", b'{"a": "\xff"}']
)
def test_an_answer_that_is_no_list_is_named(peer: Peer, tmp_path: Path, body: bytes) -> None:
    peer.script(Answer(200, body))
    with peer.connect(tmp_path) as session, pytest.raises(MalformedReply) as caught:
        list(session.list(VIRTUAL_MACHINES))
    assert "virtualmachines" in caught.value.message


# --- patience -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        refuse(503, "ServiceUnavailable"),
        refuse(429, "TooManyRequests", headers={"Retry-After": "0"}),
        refuse(500, "InternalError", "etcdserver: leader changed"),
        Answer(502, b"bad gateway", content_type="text/plain"),
        Answer(hang_up=True),
        Answer(200, b'{"kind": "VirtualMachine"}', cut_at=5),
    ],
)
def test_reading_is_tried_again(peer: Peer, tmp_path: Path, bad: Answer) -> None:
    peer.script(bad, bad, reply(200, vm("web-1")))
    with peer.connect(tmp_path) as session:
        assert session.get(VIRTUAL_MACHINES, "web-1")["metadata"]["name"] == "web-1"
    assert len(peer.seen) == 3


def test_patience_ends(peer: Peer, tmp_path: Path) -> None:
    peer.script(refuse(503, "ServiceUnavailable", "the server is currently unable to handle the request"))
    with peer.connect(tmp_path) as session, pytest.raises(ServerFault, match="currently unable"):
        session.get(VIRTUAL_MACHINES, "web-1")
    assert len(peer.seen) == QUICK.attempts


def test_the_wait_a_server_asks_for_is_kept_unless_patience_ends_before(peer: Peer, tmp_path: Path) -> None:
    peer.script(refuse(429, "TooManyRequests", "slow down", headers={"Retry-After": "60"}))
    with peer.connect(tmp_path) as session, pytest.raises(Throttled, match="slow down"):
        session.get(VIRTUAL_MACHINES, "web-1")
    assert len(peer.seen) == 1


@pytest.mark.parametrize("final", [refuse(403, "Forbidden"), refuse(404, "NotFound", details={"name": "web-1"}),
                                   refuse(409, "Conflict"), refuse(422, "Invalid")])  # fmt: skip
def test_a_no_is_not_argued_with(peer: Peer, tmp_path: Path, final: Answer) -> None:
    peer.script(final)
    with peer.connect(tmp_path) as session, pytest.raises(Exception, match="web-1"):
        session.get(VIRTUAL_MACHINES, "web-1")
    assert len(peer.seen) == 1


def test_a_verb_is_not_repeated_when_nobody_knows_whether_it_was_heard(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(hang_up=True))
    with peer.connect(tmp_path) as session, pytest.raises(FateUnknown):
        session.call_subresource(VIRTUAL_MACHINES, "web-1", "restart")
    assert len(peer.seen) == 1


def test_a_verb_that_was_turned_away_unheard_is_repeated(peer: Peer, tmp_path: Path) -> None:
    for turned_away in (refuse(429, "TooManyRequests"), refuse(503, "ServiceUnavailable")):
        peer.script(turned_away, Answer(202))
        with peer.connect(tmp_path) as session:
            session.call_subresource(VIRTUAL_MACHINES, "web-1", "restart")
    assert len(peer.seen) == 4


def test_a_server_that_is_not_there_is_told_soon(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    with pytest.raises(Unreachable) as caught:
        Session.connect(kubeconfig=path, retry=QUICK).get(VIRTUAL_MACHINES, "web-1")
    assert "http://127.0.0.1:1 cannot be reached: connection refused" in caught.value.message
    assert "vmkit lab up" in caught.value.hint


def test_a_server_that_does_not_answer_in_time_is_told_from_one_that_is_not_there(
    peer: Peer, tmp_path: Path
) -> None:
    never = threading.Event()
    peer.script(Answer(hold=never))
    try:
        with peer.connect(tmp_path, request_timeout_seconds=0.1) as session, pytest.raises(FateUnknown) as caught:
            session.call_subresource(VIRTUAL_MACHINES, "web-1", "stop")
    finally:
        never.set()
    assert "did not answer in time" in caught.value.message


def test_a_silent_server_is_asked_about_three_times_and_that_is_said_once(peer: Peer, tmp_path: Path) -> None:
    never = threading.Event()
    heard: list[str] = []
    peer.script(Answer(hold=never))
    patient = RetryPolicy(base_seconds=0.001, cap_seconds=0.001)
    more = {"request_timeout_seconds": 0.2, "retry": patient, "on_warning": heard.append}
    try:
        with peer.connect(tmp_path, **more) as session, pytest.raises(FateUnknown):
            session.get(VIRTUAL_MACHINES, "web-1")
    finally:
        never.set()
    assert 2 <= len(peer.seen) <= 3
    assert heard == [f"no answer from {peer.url} yet; trying again"]


def test_a_server_that_speaks_no_tls_is_said_to(peer: Peer, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", peer.url.replace("http:", "https:"))
    with pytest.raises(Unreachable, match="cannot agree on TLS"):
        Session.connect(kubeconfig=path, retry=QUICK).get(VIRTUAL_MACHINES, "web-1")


def test_the_address_is_shown_without_what_may_be_secret(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "http://user:hunter2@127.0.0.1:1/prefix")
    session = Session.connect(kubeconfig=path, retry=QUICK)
    assert session.server == "http://127.0.0.1:1/prefix"
    with pytest.raises(Unreachable) as caught:
        session.get(VIRTUAL_MACHINES, "web-1")
    assert "hunter2" not in str(caught.value)


# --- creating ---------------------------------------------------------------------------------------------------


def test_a_create_whose_answer_was_lost_is_looked_up(peer: Peer, tmp_path: Path) -> None:
    stored = {**CONFIG_MAP, "metadata": {"name": "c", "namespace": "default", "uid": "u"}}
    peer.script(Answer(hang_up=True), reply(200, stored))
    with peer.connect(tmp_path) as session:
        assert session.create(Resource("", "v1", "configmaps", "ConfigMap"), CONFIG_MAP) == stored
    assert [seen.method for seen in peer.seen] == ["POST", "GET"]


def test_a_secret_whose_answer_was_lost_is_known_again_by_what_it_holds(peer: Peer, tmp_path: Path) -> None:
    sent = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    stored = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "uid": "u"}, "data": {"a": "Yg=="}}
    peer.script(Answer(hang_up=True), reply(200, stored))
    with peer.connect(tmp_path) as session:
        assert session.create(SECRETS, sent) == stored
    peer.script(Answer(hang_up=True), reply(200, {**stored, "data": {"a": "eA=="}}))
    with peer.connect(tmp_path) as session, pytest.raises(AlreadyExists):
        session.create(SECRETS, sent)


def test_a_create_that_was_not_heard_is_sent_again(peer: Peer, tmp_path: Path) -> None:
    missing = refuse(404, "NotFound", details={"name": "c"})
    peer.script(Answer(hang_up=True), missing, reply(201, CONFIG_MAP))
    with peer.connect(tmp_path) as session:
        assert session.create(Resource("", "v1", "configmaps", "ConfigMap"), CONFIG_MAP) == CONFIG_MAP
    assert [seen.method for seen in peer.seen] == ["POST", "GET", "POST"]


def test_what_somebody_else_created_meanwhile_is_not_taken_for_ours(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(hang_up=True), reply(200, {**CONFIG_MAP, "data": {"a": "other"}}))
    with peer.connect(tmp_path) as session, pytest.raises(AlreadyExists):
        session.create(Resource("", "v1", "configmaps", "ConfigMap"), CONFIG_MAP)


def test_a_create_without_a_name_cannot_be_looked_up(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(hang_up=True))
    body = {**CONFIG_MAP, "metadata": {"generateName": "c-"}}
    with peer.connect(tmp_path) as session, pytest.raises(FateUnknown):
        session.create(Resource("", "v1", "configmaps", "ConfigMap"), body)
    assert len(peer.seen) == 1


# --- discovery, access, warnings --------------------------------------------------------------------------


def test_kinds_that_are_in_no_table_are_discovered_once(peer: Peer, tmp_path: Path) -> None:
    resources = [
        {"name": "shims", "kind": "Shim", "namespaced": False},
        {"name": "shims/status", "kind": "Shim", "namespaced": False},
    ]
    peer.script(reply(200, {"kind": "APIResourceList", "resources": resources}))
    with peer.connect(tmp_path) as session:
        for _ in range(2):
            found = session.resource_for("runtime.spinkube.dev/v1alpha1", "Shim")
            assert found == Resource("runtime.spinkube.dev", "v1alpha1", "shims", "Shim", namespaced=False)
        assert session.resource_for("kubevirt.io/v1", "VirtualMachine") is VIRTUAL_MACHINES
        with pytest.raises(MissingApi, match="serves no Nonsense"):
            session.resource_for("runtime.spinkube.dev/v1alpha1", "Nonsense")
    assert [seen.path for seen in peer.seen] == ["/apis/runtime.spinkube.dev/v1alpha1"]


def test_an_api_that_is_not_installed_says_what_to_install(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(404, b"404 page not found\n", content_type="text/plain"))
    with peer.connect(tmp_path) as session:
        with pytest.raises(MissingApi) as caught:
            list(session.list(DATA_VOLUMES))
        assert "Containerized Data Importer" in caught.value.hint
        with pytest.raises(MissingApi):
            session.resource_for("example.org/v1", "Thing")
        assert not session.serves(DATA_VOLUMES)


def test_access_is_asked_for_the_group_that_serves_a_verb(peer: Peer, tmp_path: Path) -> None:
    peer.script(reply(201, {"status": {"allowed": True}}), reply(201, {"status": {"allowed": False}}))
    with peer.connect(tmp_path) as session:
        assert session.can_i("update", VIRTUAL_MACHINES, "shop", "web-1", "stop")
        assert not session.can_i("list", SECRETS)
    assert peer.seen[0].body["spec"]["resourceAttributes"] == {
        "verb": "update", "group": "subresources.kubevirt.io", "resource": "virtualmachines",
        "subresource": "stop", "namespace": "shop", "name": "web-1",
    }  # fmt: skip
    assert peer.seen[1].body["spec"]["resourceAttributes"] == {"verb": "list", "resource": "secrets"}


def test_a_warning_is_passed_on_once(peer: Peer, tmp_path: Path) -> None:
    heard: list[str] = []
    peer.script(
        reply(200, vm("a"), headers={"Warning": '299 - "spec.running is deprecated, please use spec.runStrategy"'})
    )
    with peer.connect(tmp_path, on_warning=heard.append) as session:
        session.get(VIRTUAL_MACHINES, "a")
        session.get(VIRTUAL_MACHINES, "a")
    assert heard == ["spec.running is deprecated, please use spec.runStrategy"]


def test_a_session_serves_many_threads(peer: Peer, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Answer:
        return reply(200, vm(seen.path.rsplit("/", 1)[-1]))

    peer.script(answer)
    with peer.connect(tmp_path, connections=4) as session:
        wrong: list[str] = []

        def read(number: int) -> None:
            for turn in range(20):
                name = f"vm-{number}-{turn}"
                if session.get(VIRTUAL_MACHINES, name)["metadata"]["name"] != name:
                    wrong.append(name)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert wrong == []
    assert len(peer.seen) == 160


def test_conditional_requests_say_when_the_condition_fails(peer: Peer, tmp_path: Path) -> None:
    peer.script(refuse(409, "Conflict", "the object has been modified"))
    with peer.connect(tmp_path) as session:
        with pytest.raises(Conflict):
            session.replace(VIRTUAL_MACHINES, vm("web-1"))
        with pytest.raises(Conflict):
            session.patch(VIRTUAL_MACHINES, "web-1", {"metadata": {"resourceVersion": "1"}})
        with pytest.raises(Conflict):
            session.delete(VIRTUAL_MACHINES, "web-1", uid="other")
    peer.script(refuse(404, "NotFound", details={"name": "web-1"}))
    with peer.connect(tmp_path) as session:
        assert session.find(VIRTUAL_MACHINES, "web-1") is None
        with pytest.raises(NotFound):
            session.delete(VIRTUAL_MACHINES, "web-1")


@pytest.mark.parametrize(
    "manifest", [{}, {"apiVersion": "v1"}, {"apiVersion": "v1", "kind": "Pod", "metadata": 3}]
)
def test_what_is_no_object_is_not_applied(peer: Peer, tmp_path: Path, manifest: dict[str, object]) -> None:
    with peer.connect(tmp_path) as session, pytest.raises(ManifestError):
        session.apply(manifest)
    assert peer.seen == []
