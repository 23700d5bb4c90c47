"""Power runs where the cluster refuses, is away, or answers nonsense: each VM has its line, and a hint."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.peer import Answer, Peer, Seen, listing, refuse, vm
from tests.power.vms import create_running, look, manifest, running
from vmkit.cluster import Session
from vmkit.cluster.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, VIRTUAL_MACHINES
from vmkit.errors import ExitCode, FateUnknown, Forbidden, MissingApi, Unauthorized
from vmkit.lab import Lab
from vmkit.plan.model import Status
from vmkit.power import DeleteOptions, PowerOptions, Selection, Verb, run_delete, run_power
from vmkit.vm.markers import ORIGINAL_RUN_STRATEGY
from vmkit.vm.reference import VmRef

EVERYTHING = Selection(namespace="default", everything=True)
ONE_AT_A_TIME = PowerOptions(concurrency=1)


def in_state(
    name: str, printable: str = "Running", strategy: str = "Manual", version: int = 1, **meta: Any
) -> dict[str, Any]:
    document = vm(name, version)
    document["metadata"].update(meta)
    status = {"printableStatus": printable, "created": printable != "Stopped", "ready": printable == "Running"}
    return {**document, "spec": {"runStrategy": strategy, "template": {"spec": {}}}, "status": status}


class Script:
    """Answers by method and the end of the path; keeps to the last answer of each."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self._answers = {
            key: list(value) if isinstance(value, list) else [value] for key, value in answers.items()
        }
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        kind = {"PATCH": "patch", "DELETE": "delete"}.get(seen.method, "")
        if seen.method == "PUT":
            kind = path.rpartition("/")[2]
        elif seen.method == "GET":
            kind = "list" if path.endswith("virtualmachines") else "get"
        with self._lock:
            answers = self._answers[kind]
            return answers.pop(0) if len(answers) > 1 else answers[0]


def requests(peer: Peer) -> list[str]:
    return [f"{seen.method} {seen.path.partition('?')[0].rpartition('/')[2]}" for seen in peer.seen]


def test_stopping_many_takes_one_list_and_one_request_each(peer: Peer, tmp_path: Path) -> None:
    peer.script(Script(list=listing(*(in_state(f"vm-{number}") for number in range(20))), stop=Answer(202)))
    with peer.connect(tmp_path) as session:
        assert run_power(session, Verb.STOP, EVERYTHING).counts == {"changed": 20}
    assert sorted(requests(peer)) == ["GET virtualmachines"] + ["PUT stop"] * 20


def test_what_is_so_already_takes_no_request(peer: Peer, tmp_path: Path) -> None:
    peer.script(Script(list=listing(*(in_state(f"vm-{number}", "Stopped") for number in range(20)))))
    with peer.connect(tmp_path) as session:
        assert run_power(session, Verb.STOP, EVERYTHING).counts == {"unchanged": 20}
    assert requests(peer) == ["GET virtualmachines"]


def test_the_strategy_is_written_down_before_the_stop_that_loses_it(peer: Peer, tmp_path: Path) -> None:
    answered = in_state("vm-0")
    peer.script(
        Script(list=listing(in_state("vm-0", strategy="Once")), patch=Answer(200, b"{}"), stop=Answer(202))
    )
    with peer.connect(tmp_path) as session:
        run_power(session, Verb.STOP, EVERYTHING)
    assert requests(peer) == ["GET virtualmachines", "PATCH vm-0", "PUT stop"]
    assert peer.seen[1].body["metadata"]["annotations"] == {ORIGINAL_RUN_STRATEGY: "Once"}
    assert peer.seen[1].body["metadata"]["uid"] == answered["metadata"]["uid"]


def test_a_note_that_no_longer_holds_is_crossed_out(peer: Peer, tmp_path: Path) -> None:
    document = in_state("vm-0", strategy="Always", annotations={ORIGINAL_RUN_STRATEGY: "Once"})
    peer.script(Script(list=listing(document), patch=Answer(200, b"{}"), stop=Answer(202)))
    with peer.connect(tmp_path) as session:
        run_power(session, Verb.STOP, EVERYTHING)
    assert peer.seen[1].body["metadata"]["annotations"] == {ORIGINAL_RUN_STRATEGY: None}


def test_bringing_the_strategy_back_is_one_conditional_patch(peer: Peer, tmp_path: Path) -> None:
    document = in_state("vm-0", "Stopped", "Halted", 7, annotations={ORIGINAL_RUN_STRATEGY: "Once"})
    peer.script(Script(list=listing(document), patch=Answer(200, b"{}")))
    with peer.connect(tmp_path) as session:
        assert run_power(session, Verb.START, EVERYTHING).counts == {"changed": 1}
    assert requests(peer) == ["GET virtualmachines", "PATCH vm-0"]
    assert peer.seen[1].body == {
        "metadata": {"resourceVersion": "7", "annotations": {ORIGINAL_RUN_STRATEGY: None}},
        "spec": {"runStrategy": "Once"},
    }


def conflict(text: str) -> Answer:
    return refuse(409, "Conflict", f'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm-0": {text}')


def test_a_vm_that_is_another_than_it_seemed_is_read_again(peer: Peer, tmp_path: Path) -> None:
    from tests.cluster.peer import reply

    now = reply(200, in_state("vm-0", "Stopped", version=2))
    peer.script(Script(list=listing(in_state("vm-0")), stop=conflict("VM is not running"), get=now))
    with peer.connect(tmp_path) as session:
        assert run_power(session, Verb.STOP, EVERYTHING).counts == {"unchanged": 1}
    assert requests(peer) == ["GET virtualmachines", "PUT stop", "GET vm-0"]


def test_a_stop_whose_answer_was_lost_is_looked_up(peer: Peer, tmp_path: Path) -> None:
    from tests.cluster.peer import reply

    stopping = reply(200, in_state("vm-0", "Stopping", version=2))
    peer.script(Script(list=listing(in_state("vm-0")), stop=Answer(hang_up=True), get=stopping))
    with peer.connect(tmp_path) as session:
        assert run_power(session, Verb.STOP, EVERYTHING).counts == {"changed": 1}
    assert requests(peer) == ["GET virtualmachines", "PUT stop", "GET vm-0"]


def test_a_restart_whose_answer_was_lost_is_not_asked_for_twice(peer: Peer, tmp_path: Path) -> None:
    peer.script(Script(list=listing(in_state("vm-0")), restart=Answer(hang_up=True)))
    with peer.connect(tmp_path) as session:
        (outcome,) = run_power(session, Verb.RESTART, EVERYTHING).outcomes
    assert outcome.status is Status.FAILED
    assert isinstance(outcome.error, FateUnknown)
    assert requests(peer).count("PUT restart") == 1


def test_mistyped_vms_in_the_middle_of_a_list_are_refused_alone(peer: Peer, tmp_path: Path) -> None:
    bad = in_state("bad")
    bad["spec"] = {"runStrategy": 3}
    worse = {"metadata": "nothing"}
    peer.script(Script(list=listing(in_state("vm-0"), bad, worse, in_state("vm-1")), stop=Answer(202)))
    with peer.connect(tmp_path) as session:
        result = run_power(session, Verb.STOP, EVERYTHING)
    assert [outcome.status for outcome in result.outcomes] == [
        Status.CHANGED, Status.REFUSED, Status.REFUSED, Status.CHANGED,
    ]  # fmt: skip
    assert "runStrategy is 3" in result.outcomes[1].reason.text
    assert result.exit_code is ExitCode.SOME_FAILED


def test_a_cluster_that_goes_away_ends_the_run_and_every_vm_has_its_line(peer: Peer, tmp_path: Path) -> None:
    answers = [Answer(202), refuse(401, "Unauthorized", "Unauthorized")]
    peer.script(Script(list=listing(*(in_state(f"vm-{number}") for number in range(50))), stop=answers))
    with peer.connect(tmp_path) as session:
        result = run_power(session, Verb.STOP, EVERYTHING, ONE_AT_A_TIME)
    assert result.counts == {"changed": 1, "failed": 1, "not-tried": 48}
    assert isinstance(result.outcomes[1].error, Unauthorized)


def test_a_cluster_without_kubevirt_is_told_what_to_install(peer: Peer, tmp_path: Path) -> None:
    peer.script(Answer(404, b"404 page not found\n", content_type="text/plain"))
    with peer.connect(tmp_path) as session, pytest.raises(MissingApi) as caught:
        run_power(session, Verb.STOP, EVERYTHING)
    assert "KubeVirt" in caught.value.hint
    assert caught.value.exit_code is ExitCode.CLUSTER


def test_a_webhook_that_refuses_is_quoted_and_not_tried_again(peer: Peer, tmp_path: Path) -> None:
    denied = refuse(500, "InternalError", 'admission webhook "v.kubevirt.io" denied the request: gate is off')
    peer.script(Script(list=listing(in_state("vm-0")), stop=denied))
    with peer.connect(tmp_path) as session:
        (outcome,) = run_power(session, Verb.STOP, EVERYTHING).outcomes
    assert "gate is off" in outcome.reason.text
    assert requests(peer).count("PUT stop") == 1


# --- GitOps -----------------------------------------------------------------------------------------------------

TRACKED = {"argocd.argoproj.io/tracking-id": "shop:kubevirt.io/VirtualMachine:default/vm-0"}
APPLICATION = {"metadata": {"name": "shop"}, "spec": {"syncPolicy": {"automated": {"selfHeal": True}}}}


def test_a_fight_with_a_gitops_tool_is_refused_with_its_remedy_unless_wanted(peer: Peer, tmp_path: Path) -> None:
    from tests.cluster.peer import reply

    owned = in_state("vm-0", strategy="Always", annotations=TRACKED)
    free = in_state("vm-1", strategy="Always")
    safe = in_state("vm-2", strategy="Manual", annotations=TRACKED)
    peer.script(Script(list=listing(owned, free, safe), get=reply(200, APPLICATION), stop=Answer(202)))
    with peer.connect(tmp_path) as session:
        result = run_power(session, Verb.STOP, EVERYTHING)
        assert [outcome.status for outcome in result.outcomes] == [Status.REFUSED, Status.CHANGED, Status.CHANGED]
        error = result.outcomes[0].error
        assert error is not None
        assert "RespectIgnoreDifferences=true" in error.hint
        assert "--despite-gitops" in error.hint
        assert len(result.notices) == 1
        assert "GitOps: fight" in result.notices[0]
        assert run_power(session, Verb.STOP, EVERYTHING, PowerOptions(despite_gitops=True)).counts == {
            "changed": 3
        }


def test_an_owner_that_cannot_be_read_is_a_warning(peer: Peer, tmp_path: Path) -> None:
    owned = in_state("vm-0", strategy="Always", annotations=TRACKED)
    peer.script(Script(list=listing(owned), get=refuse(403, "Forbidden", "no"), stop=Answer(202)))
    with peer.connect(tmp_path) as session:
        result = run_power(session, Verb.STOP, EVERYTHING)
    assert result.counts == {"changed": 1}
    assert "GitOps: unknown" in result.notices[0]


# --- rights, on the practice cluster ---------------------------------------------------------------------------


def as_account(session: Session, lab: Lab, folder: Path, rules: list[dict[str, Any]]) -> Session:
    """A session of a service account that may do no more than this."""
    from tests.cluster.peer import write_kubeconfig

    namespace = session.namespace
    session.create(
        SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "jobber"}}
    )
    api = "rbac.authorization.k8s.io"
    session.create(ROLES, {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": rules})
    session.create(
        ROLE_BINDINGS,
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "r"},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "jobber", "namespace": namespace}],
        },
    )
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = session.call_subresource(SERVICE_ACCOUNTS, "jobber", "token", namespace, body=review, method="POST")
    assert answer is not None
    import yaml

    cluster = yaml.safe_load(Path(lab.kubeconfig).read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    path = write_kubeconfig(
        folder / "jobber",
        cluster.pop("server"),
        cluster=cluster,
        user={"token": answer["status"]["token"]},
        namespace=namespace,
    )
    return Session.connect(kubeconfig=path)


READ = {
    "apiGroups": ["kubevirt.io"],
    "resources": ["virtualmachines", "virtualmachineinstances"],
    "verbs": ["get", "list", "watch"],
}


def test_a_forbidden_verb_names_the_missing_rule(session: Session, lab: Lab, tmp_path: Path) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always"))
    with as_account(session, lab, tmp_path, [READ]) as jobber:
        (outcome,) = run_power(jobber, Verb.STOP, Selection(names=(ref,))).outcomes
        assert isinstance(outcome.error, Forbidden)
        assert 'resources: ["virtualmachines/stop"], verbs: ["update"]' in outcome.error.hint
        with pytest.raises(Forbidden) as caught:
            run_power(jobber, Verb.STOP, Selection(namespace="default", everything=True))
        assert 'verbs: ["list"]' in caught.value.hint
        assert not jobber.can_i("update", VIRTUAL_MACHINES, session.namespace, subresource="stop")
    assert running(look(session, ref))


def test_the_verbs_alone_are_right_enough_to_stop(session: Session, lab: Lab, tmp_path: Path) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always"))
    stop = {"apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/stop"], "verbs": ["update"]}
    with as_account(session, lab, tmp_path, [READ, stop]) as jobber:
        result = run_power(jobber, Verb.STOP, Selection(names=(ref,)), PowerOptions(wait=True, timeout_seconds=30))
    assert result.ok, result.outcomes


def test_a_vm_whose_disks_cannot_be_looked_up_is_not_deleted(session: Session, lab: Lab, tmp_path: Path) -> None:
    (ref,) = create_running(session, manifest("web-1", "Always", disk=True))
    delete = {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["delete", "patch"]}
    with as_account(session, lab, tmp_path, [READ, delete]) as jobber:
        (outcome,) = run_delete(jobber, Selection(names=(ref,)), DeleteOptions()).outcomes
    assert isinstance(outcome.error, Forbidden)
    assert "datavolumes" in outcome.error.hint
    assert running(look(session, VmRef(session.namespace, "web-1")))
