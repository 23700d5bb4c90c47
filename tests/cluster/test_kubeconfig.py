from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.peer import Peer, Seen, refuse, reply, write_kubeconfig
from vmkit.cluster import Session
from vmkit.cluster.kubeconfig import find_place, read_token_expiry
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.errors import ConfigError, Unauthorized


def test_an_explicit_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_kubeconfig(tmp_path / "other", "http://127.0.0.1:1", context="other")
    mine = write_kubeconfig(tmp_path / "mine", "http://127.0.0.1:2", context="mine", namespace="team")
    monkeypatch.setenv("KUBECONFIG", str(other))
    assert find_place(mine).context == "mine"
    assert find_place(mine).namespace == "team"
    assert find_place().context == "other"


def test_a_list_of_files_is_merged_and_the_first_to_say_something_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_kubeconfig(tmp_path / "a", "http://127.0.0.1:1", context="first")
    second = write_kubeconfig(tmp_path / "b", "http://127.0.0.1:2", context="second")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    assert find_place().context == "first"
    assert find_place(context="second").context == "second"
    # Both files call their cluster "c": the first one's counts, as for kubectl.
    assert find_place(context="second").cluster["server"] == "http://127.0.0.1:1"
    assert Session.connect(context="second").server == "http://127.0.0.1:1"


def test_the_home_folders_file_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kube").mkdir()
    write_kubeconfig(tmp_path / ".kube" / "config", "http://127.0.0.1:1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_place().context == "practice"


def test_no_configuration_at_all_points_to_the_practice_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError) as caught:
        find_place()
    assert "vmkit lab up" in caught.value.hint


CONTEXT = "contexts: [{name: a, context: {cluster: c, user: u}}]\n"
CURRENT = "current-context: a\n" + CONTEXT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("- a\n", "holds no mapping"),
        ("a: [1,\n  token: hunter2\n", "is no YAML at line"),
        ("contexts: 3\n", "contexts is no list"),
        ("contexts: [{context: {}}]\n", "an entry of contexts has no name"),
        ("contexts: []\n", "names no current context"),
        ("current-context: b\n" + CONTEXT, "there is no context 'b'"),
        (CURRENT, "there is no cluster 'c'"),
        (CURRENT + "clusters: [{name: c, cluster: {}}]\nusers: [{name: u}]\n", "no usable server"),
        (
            CURRENT + "clusters: [{name: c, cluster: {server: 'http://x:port'}}]\nusers: [{name: u}]\n",
            "no usable server",
        ),
        (CURRENT + "clusters: [{name: c, cluster: {server: 'http://x'}}]\n", "there is no user 'u'"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Session.connect(kubeconfig=path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "hunter2" not in caught.value.message


def test_a_missing_file_and_a_misspelt_context_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Session.connect(kubeconfig=tmp_path / "nowhere")
    path = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", context="practice")
    with pytest.raises(ConfigError) as caught:
        Session.connect(kubeconfig=path, context="practise")
    assert caught.value.hint == "did you mean 'practice'?"


def test_certificate_files_that_are_missing_or_no_certificates_are_named(tmp_path: Path) -> None:
    missing = write_kubeconfig(
        tmp_path / "a", "https://127.0.0.1:1", cluster={"certificate-authority": "gone.pem"}
    )
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        Session.connect(kubeconfig=missing)
    garbled = write_kubeconfig(
        tmp_path / "b", "https://127.0.0.1:1", cluster={"certificate-authority-data": "%%%"}
    )
    with pytest.raises(ConfigError, match="no certificate or key"):
        Session.connect(kubeconfig=garbled)


def plugin(tmp_path: Path, code: str) -> dict[str, object]:
    script = tmp_path / "plugin.py"
    script.write_text(code, encoding="utf-8")
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(script)]}
    return {"exec": {**command, "interactiveMode": "Never"}}


CREDENTIAL = """
import json, pathlib
count = pathlib.Path(__file__).with_suffix(".count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": f"token-{number}"}}))
"""


def test_a_credential_plugin_gives_the_token(tmp_path: Path, peer: Peer) -> None:
    path = write_kubeconfig(tmp_path / "config", peer.url, user=plugin(tmp_path, CREDENTIAL))
    with Session.connect(kubeconfig=path) as session:
        session.get(VIRTUAL_MACHINES, "web-1")
    assert peer.seen[0].headers["authorization"] == "Bearer token-1"


def test_a_refused_token_is_fetched_anew_once(tmp_path: Path, peer: Peer) -> None:
    def answer(seen: Seen):
        if seen.headers["authorization"] == "Bearer token-1":
            return refuse(401, "Unauthorized", "Unauthorized")
        return reply(200, {"kind": "VirtualMachine"})

    peer.script(answer)
    path = write_kubeconfig(tmp_path / "config", peer.url, user=plugin(tmp_path, CREDENTIAL))
    with Session.connect(kubeconfig=path) as session:
        assert session.get(VIRTUAL_MACHINES, "web-1")["kind"] == "VirtualMachine"
    assert [seen.headers["authorization"] for seen in peer.seen] == ["Bearer token-1", "Bearer token-2"]


def test_a_credential_plugin_that_fails_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    user = plugin(tmp_path, "import sys; sys.exit('log in first')")
    path = write_kubeconfig(tmp_path / "config", "http://127.0.0.1:1", user=user)
    with pytest.raises(ConfigError) as caught:
        Session.connect(kubeconfig=path)
    assert "gave no credentials" in caught.value.message
    assert "log in first" in caught.value.message
    assert capfd.readouterr().err == ""


def token_ending(at: int) -> str:
    parts = ({"alg": "none"}, {"exp": at}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_an_expired_token_is_told_from_a_wrong_one(tmp_path: Path, peer: Peer) -> None:
    peer.script(refuse(401, "Unauthorized", "Unauthorized"))
    expired = token_ending(1_600_000_000)
    with pytest.raises(Unauthorized) as caught:
        Session.connect(kubeconfig=peer.kubeconfig(tmp_path, token=expired)).get(VIRTUAL_MACHINES, "web-1")
    assert "expired" in caught.value.message
    assert "ago" in caught.value.message
    assert expired not in caught.value.message + caught.value.hint
    with pytest.raises(Unauthorized) as caught:
        Session.connect(kubeconfig=peer.kubeconfig(tmp_path, token="wrong")).get(VIRTUAL_MACHINES, "web-1")
    assert "does not accept the credentials" in caught.value.message
    assert "wrong" not in str(caught.value)


def test_the_end_of_a_token_is_read_where_it_says_so() -> None:
    assert read_token_expiry(f"Bearer {token_ending(1_700_000_000)}") == datetime(
        2023, 11, 14, 22, 13, 20, tzinfo=UTC
    )
    for header in (None, "", "Bearer x", "Bearer a.b.c", "Basic abc"):
        assert read_token_expiry(header) is None
