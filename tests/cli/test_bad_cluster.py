"""Clusters that cannot be used: one error, one hint, the right exit code, never a traceback."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Run
from vmkit.cluster import Resource, Session
from vmkit.cluster.resources import SERVICE_ACCOUNTS
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(60)


def _with_token(path: Path, lab: Lab, token: str) -> str:
    """The lab's own kubeconfig with another token."""
    document = yaml.safe_load(Path(lab.kubeconfig).read_text())
    for user in document["users"]:
        user["user"] = {"token": token}
    path.write_text(yaml.safe_dump(document))
    return str(path)


def _kubeconfig(path: Path, server: str, token: str) -> str:
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return str(path)


@pytest.mark.parametrize(
    "text", ["clusters: [", "[]", "apiVersion: v1\nkind: Config\ncurrent-context: gone\n", ""]
)
def test_a_broken_kubeconfig(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.kubeconfig"
    path.write_text(text)
    ran = run("get", "--kubeconfig", str(path))
    assert (ran.code, ran.out) == (2, "")
    error, *hints = ran.err.splitlines()
    assert error.startswith("error: ")
    assert "broken.kubeconfig" in error
    assert all(hint.startswith("hint: ") for hint in hints)


def test_a_kubeconfig_that_is_not_there(run: Run, tmp_path: Path) -> None:
    ran = run("get", "--kubeconfig", str(tmp_path / "nowhere"))
    assert ran.code == 2
    assert "nowhere" in ran.err.splitlines()[0]


def test_a_context_that_is_not_there(run: Run, tmp_path: Path) -> None:
    path = _kubeconfig(tmp_path / "config", "http://127.0.0.1:1", "t")
    ran = run("get", "--kubeconfig", path, "--context", "prod")
    assert ran.code == 2
    assert "prod" in ran.err.splitlines()[0]


def test_a_cluster_that_is_away(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = run("get", "--kubeconfig", _kubeconfig(tmp_path / "config", server, "t"))
    assert (ran.code, ran.out) == (3, "")
    error, hint = ran.err.splitlines()
    assert server.removeprefix("http://") in error
    assert hint.startswith("hint: ")


def test_a_token_that_is_not_known(run: Run, lab: Lab, tmp_path: Path) -> None:
    ran = run("get", "-o", "json", "--kubeconfig", _with_token(tmp_path / "config", lab, "stale"))
    assert ran.code == 3
    assert json.loads(ran.out)["errors"][0]["code"] == "Unauthorized"
    assert "stale" not in ran.err + ran.out


def test_disks_that_may_not_be_read_are_unknown_not_missing(
    run: Run, lab: Lab, session: Session, namespace: str, tmp_path: Path
) -> None:
    source = {"name": "root", "dataVolume": {"name": "web-1-root"}}
    domain = {"devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]}, "memory": {"guest": "1Gi"}}
    session.apply({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web-1"},
        "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": domain, "volumes": [source]}}},
    })  # fmt: skip
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    session.apply({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "looker"},
        "rules": [{"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["get"]}],
    })  # fmt: skip
    session.apply({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "looker"},
        "roleRef": {**group, "kind": "Role", "name": "looker"},
        "subjects": [{"kind": "ServiceAccount", "name": "guest", "namespace": namespace}],
    })  # fmt: skip
    config = _with_token(tmp_path / "config", lab, _token_of_guest(session))
    ran = run("describe", "web-1", "-n", namespace, "--kubeconfig", config, "-o", "json")
    (item,) = json.loads(ran.out)["items"]
    assert [disk["phase"] for disk in item["volumes"]] == ["Unknown"]


def _token_of_guest(session: Session) -> str:
    session.create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guest"}})
    tokens = Resource("", "v1", "serviceaccounts/guest/token", "TokenRequest")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    token = session.create(tokens, request)["status"]["token"]
    assert isinstance(token, str)
    return token


def test_a_verb_that_is_not_allowed_names_the_rule_that_is_missing(
    run: Run, lab: Lab, session: Session, namespace: str, tmp_path: Path
) -> None:
    token = _token_of_guest(session)
    ran = run("get", "-n", namespace, "--kubeconfig", _with_token(tmp_path / "config", lab, token))
    assert (ran.code, ran.out) == (3, "")
    assert "virtualmachines" in ran.err
    assert "list" in ran.err
    assert token not in ran.err
