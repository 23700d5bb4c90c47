"""Images and components go to a real registry and come back the same; a bad network costs a retry, not an image."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.migrate.guests import need
from tests.migrate.registry.server import run_registry
from vmkit.cli.main import cli
from vmkit.errors import ConfigError, EvidenceError, MissingTool, NotFound, Unauthorized, Unreachable, UsageError
from vmkit.migrate.oci.layout import CONFIG_TYPE, ImageConfig, LayoutWriter, encode, read_layout
from vmkit.migrate.registry.client import Registry
from vmkit.migrate.registry.credentials import Credentials, find_credentials
from vmkit.migrate.registry.reference import Reference, parse_reference
from vmkit.migrate.registry.transfer import pull_layout, push_layout
from vmkit.migrate.wasm.package import write_component_layout, write_spin_layout
from vmkit.migrate.wasm.spin import SpinApp, render_spin_toml

APP = SpinApp(
    name="greeter-wasm",
    service="greeter",
    image="",
    ports=[8080],
    environment={"COLOR": "blue"},
    secrets=["API_TOKEN"],
)
# "someone" with the password "hunter2", by htpasswd -B.
USER, PASSWORD = "someone", "hunter2"
HASH = "$2b$05$G5nxYo1dQPGAPW6Nz.FtSu.tNxGVWEN6KZW.i6xWZxgC/zdNP1FLC"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_registry(tmp_path_factory.mktemp("registry") / "here") as host:
        yield host


def make_image(folder: Path, content: bytes = b"content") -> Path:
    writer = LayoutWriter(folder)
    layer, diff_id = writer.add_layer(lambda write: write(content))
    config = writer.add_bytes(encode(ImageConfig(command=["/x"]).to_dict([diff_id])), CONFIG_TYPE)
    writer.finish(config, [layer])
    return folder


def connect(name: str, **options: Any) -> Registry:
    return Registry(parse_reference(name), plain_http=True, timeout_seconds=30, **options)


def test_an_image_comes_back_as_it_went(registry: str, tmp_path: Path) -> None:
    layout = read_layout(make_image(tmp_path / "image"))
    there = connect(f"{registry}/shop/web:1.0")
    first = push_layout(layout, there)
    assert (first.digest, first.uploaded, first.present) == (layout.manifest.digest, 2, 0)
    again = push_layout(layout, there)
    assert (again.digest, again.uploaded, again.present) == (layout.manifest.digest, 0, 2)
    back = pull_layout(there, tmp_path / "back")
    assert (back.manifest, back.config, back.layers) == (layout.manifest, layout.config, layout.layers)
    assert back.path(back.layers[0]).read_bytes() == layout.path(layout.layers[0]).read_bytes()
    by_digest = pull_layout(connect(f"{registry}/shop/web@{layout.manifest.digest}"), tmp_path / "digest")
    assert by_digest.manifest == layout.manifest
    there.close()


def test_other_programs_pull_what_was_pushed(registry: str, tmp_path: Path) -> None:
    layout = read_layout(make_image(tmp_path / "image"))
    push_layout(layout, connect(f"{registry}/shop/other:1.0"))
    skopeo = need("skopeo", "skopeo")
    done = subprocess.run(
        [skopeo, "inspect", "--raw", "--tls-verify=false", f"docker://{registry}/shop/other:1.0"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == layout.path(layout.manifest).read_bytes()
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
         f"docker://{registry}/shop/other:1.0", f"oci:{tmp_path}/copied:1.0"], check=True, timeout=60,
    )  # fmt: skip
    assert read_layout(tmp_path / "copied").manifest == layout.manifest


def test_components_have_the_layouts_that_their_hosts_read(registry: str, tmp_path: Path) -> None:
    wasm = tmp_path / "component.wasm"
    wasm.write_bytes(b"\0asm" + bytes(100))
    write_spin_layout(wasm, APP, tmp_path / "spin")
    write_component_layout(wasm, tmp_path / "plain", name="greeter")
    push_layout(read_layout(tmp_path / "spin"), connect(f"{registry}/greeter:spin"))
    push_layout(read_layout(tmp_path / "plain"), connect(f"{registry}/greeter:plain"))
    spin = pull_layout(connect(f"{registry}/greeter:spin"), tmp_path / "spin-back")
    assert [one.media_type for one in spin.layers] == [
        "application/vnd.wasm.content.layer.v1+wasm", "application/vnd.fermyon.spin.application.v1+config",
    ]  # fmt: skip
    locked = json.loads(spin.path(spin.layers[1]).read_bytes())
    config = json.loads(spin.path(spin.config).read_bytes())
    assert config["config"]["Labels"]["com.fermyon.spin.lockedAppDigest"] == spin.layers[1].digest
    assert config["architecture"] == "wasm"
    [component] = locked["components"]
    assert component["source"] == {"content_type": "application/wasm", "digest": spin.layers[0].digest}
    assert component["env"] == {"COLOR": "blue"}
    assert component["config"] == {"api_token": "{{ api_token }}"}
    assert locked["triggers"][0]["trigger_config"] == {"component": "greeter-wasm", "route": "/..."}
    plain = pull_layout(connect(f"{registry}/greeter:plain"), tmp_path / "plain-back")
    assert [one.media_type for one in plain.layers] == ["application/wasm"]
    assert plain.config.media_type == "application/vnd.wasm.config.v0+json"
    assert plain.path(plain.layers[0]).read_bytes() == wasm.read_bytes()


def test_large_blobs_go_in_chunks(registry: str, tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path / "image")
    (tmp_path / "blob").write_bytes(bytes(range(256)) * 3000)
    blob = writer.add_file(tmp_path / "blob", "application/octet-stream")
    writer.finish(writer.add_bytes(b"{}", CONFIG_TYPE), [blob])
    there = connect(f"{registry}/large:1", chunk_bytes=100_000)
    push_layout(read_layout(tmp_path / "image"), there)
    assert read_layout(tmp_path / "image").layers == pull_layout(there, tmp_path / "back").layers


class _Broken(BaseHTTPRequestHandler):
    """Takes uploads, but breaks off in the middle of the second chunk, once."""

    taken = bytearray()
    broken = False
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self._answer(202, Location="/v2/x/blobs/uploads/1?state=a")

    def do_PATCH(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        assert int(self.headers["Content-Range"].split("-")[0]) == len(kind.taken)
        if kind.taken and not kind.broken:
            kind.broken = True
            kind.taken += data[: len(data) // 2]
            self.close_connection = True
            return
        kind.taken += data
        self._answer(202, Location="/v2/x/blobs/uploads/1?state=b")

    def do_GET(self) -> None:
        self._answer(204, Location="/v2/x/blobs/uploads/1?state=c", Range=f"0-{len(type(self).taken) - 1}")

    def do_PUT(self) -> None:
        self._answer(201)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


def test_an_interrupted_upload_goes_on_where_it_stopped(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        content = bytes(range(256)) * 16
        (tmp_path / "blob").write_bytes(content)
        blob = LayoutWriter(tmp_path / "image").add_file(tmp_path / "blob", "x/y")
        there = connect(f"127.0.0.1:{server.server_port}/x:1", chunk_bytes=1000)
        assert there.push_blob(blob, tmp_path / "blob")
        there.close()
        assert _Broken.broken
        assert bytes(_Broken.taken) == content
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_password_is_asked_for_and_given(tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(f"{USER}:{HASH}\n")
    layout = read_layout(make_image(tmp_path / "image"))
    with run_registry(tmp_path / "registry", password_file=passwords) as host:
        with pytest.raises(Unauthorized) as raised:
            push_layout(layout, connect(f"{host}/x:1"))
        assert f"podman login {host}" in raised.value.hint
        with pytest.raises(Unauthorized) as raised:
            push_layout(layout, connect(f"{host}/x:1", credentials=Credentials(USER, "wrong", origin="a-file")))
        assert "a-file" in raised.value.hint
        assert "wrong" not in str(raised.value.to_dict())
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
        known = find_credentials(host, environment={"DOCKER_CONFIG": str(tmp_path)})
        assert known is not None
        assert PASSWORD not in repr(known)
        assert push_layout(layout, connect(f"{host}/x:1", credentials=known)).uploaded == 2


def test_what_is_not_there_and_who_does_not_answer(registry: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        pull_layout(connect(f"{registry}/nothing:1"), tmp_path / "a")
    with pytest.raises(Unreachable):
        pull_layout(connect("127.0.0.1:1/nothing:1"), tmp_path / "b")
    blob = read_layout(make_image(tmp_path / "image")).layers[0]
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(EvidenceError, match="shorter"):
        connect(f"{registry}/short:1").push_blob(blob, tmp_path / "short")


def test_credential_helpers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"credHelpers": {"reg.example": "mine"}, "credsStore": "gone"})
    )
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    with pytest.raises(MissingTool, match="docker-credential-mine"):
        find_credentials("reg.example", environment=environment)
    with pytest.raises(MissingTool, match="docker-credential-gone"):
        find_credentials("other.example", environment=environment)
    helper = tmp_path / "docker-credential-mine"
    helper.write_text(
        '#!/bin/sh\nread server\necho "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"for $server\\"}"\n'
    )
    helper.chmod(0o755)
    found = find_credentials("reg.example", environment=environment)
    assert found == Credentials(identity_token="for reg.example", origin="docker-credential-mine")
    helper.write_text("#!/bin/sh\necho credentials not found in native keychain\nexit 1\n")
    assert find_credentials("reg.example", environment=environment) is None
    (tmp_path / "config.json").write_text('{"credHelpers": {"reg.example": "../../bin/sh"}}')
    with pytest.raises(ConfigError, match="no name of a credential helper"):
        find_credentials("reg.example", environment=environment)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ConfigError, match="cannot be understood"):
        find_credentials("reg.example", environment=environment)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("reg.example/a/b:1", Reference("reg.example", "a/b", "1")),
        ("localhost/a", Reference("localhost", "a")),
        ("[::1]:5000/a:x", Reference("[::1]:5000", "a", "x")),
        ("debian", Reference("docker.io", "library/debian")),
        ("someone/web:2", Reference("docker.io", "someone/web", "2")),
        (f"r.example/a@sha256:{'0' * 64}", Reference("r.example", "a", "latest", f"sha256:{'0' * 64}")),
    ],
)
def test_names_of_images(text: str, found: Reference) -> None:
    assert parse_reference(text) == found
    assert found.is_loopback == (found.host in ("localhost", "[::1]:5000"))


@pytest.mark.parametrize(
    "text",
    ["", "UPPER.example/Web", "reg.example/", "reg.example/a:", "reg.example/a b", "r.example/../x", "a@sha256:1"],
)
def test_what_is_no_name_of_an_image(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_the_command_line(registry: str, tmp_path: Path) -> None:
    image = make_image(tmp_path / "image")
    done = CliRunner().invoke(cli, ["migrate", "push", str(image), f"{registry}/cli/web:1"])
    assert (done.exit_code, done.stdout) == (0, f"{registry}/cli/web@{read_layout(image).manifest.digest}\n")
    folder = tmp_path / "wasm"
    folder.mkdir()
    (folder / "spin.toml").write_text(render_spin_toml(APP))
    missing = CliRunner().invoke(cli, ["migrate", "push", str(folder), f"{registry}/cli/greeter"])
    assert missing.exit_code == 2
    assert f"vmkit migrate build {folder}" in missing.stderr
    (folder / "component.wasm").write_bytes(b"\0asm" + bytes(200))
    for kind, layers in (("spin", 2), ("component", 1)):
        done = CliRunner().invoke(
            cli, ["migrate", "push", str(folder), f"{registry}/cli/greeter:{kind}", "--as", kind]
        )
        assert done.exit_code == 0, done.output
        assert len(pull_layout(connect(f"{registry}/cli/greeter:{kind}"), tmp_path / kind).layers) == layers
    bad = CliRunner().invoke(cli, ["migrate", "push", str(folder), "NO NAME"])
    assert bad.exit_code == 2
