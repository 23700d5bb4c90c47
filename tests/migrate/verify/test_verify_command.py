"""``vmkit migrate verify`` as people type it; a small server stands in for the running VM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.migrate.guests import build_ext4, guest, need, service, unit, write_files
from tests.migrate.verify.servers import Recording, serving
from vmkit.cli.main import cli

ANSWERS = {"/": (200, "text/plain", b"hello"), "/healthz": (200, "text/plain", b"ok")}
MANIFEST = """\
kind: Deployment
spec: {template: {spec: {containers: [{image: localhost/vmkit-test/no-such-image, ports: [{containerPort: 8000}]}]}}}
"""
WEB = service("web", unit("/usr/bin/python3 /srv/web/web.py")) | {
    "/srv/web/web.py": "from wsgiref.simple_server import make_server\ndef app(environ, start_response):\n"
    "    start_response('200 OK', []); return []\nmake_server('0.0.0.0', 8000, app).serve_forever()\n",
}
# A component that is none: it exports nothing.
EMPTY_COMPONENT = b"\0asm\x0d\0\1\0"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["migrate", "verify", *(str(one) for one in arguments)])


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    folder = tmp_path / "old-web"
    for name in ("web", "api"):
        (folder / name).mkdir(parents=True)
        (folder / name / "manifests.yaml").write_text(MANIFEST)
    (folder / "web" / "web.wasm").write_bytes(EMPTY_COMPONENT)
    return folder


def url(server: Recording, name: str = "") -> str:
    return f"{name}{'=' if name else ''}http://127.0.0.1:{server.port}"


def test_what_cannot_be_run_is_not_proven_and_says_why(artifacts: Path) -> None:
    with serving(ANSWERS) as server:
        done = run(artifacts, "--vm-url", url(server), "--service", "web", "--runner", "wasm")
        assert [one[1] for one in server.asked] == ["/"]
    assert done.exit_code == 6, done.output
    document = json.loads((artifacts / "proof.json").read_text())
    [target] = document["targets"]
    assert (target["service"], target["target"], target["outcome"]) == ("web", "wasm", "not proven")
    assert "wasi:http/incoming-handler" in target["reason"]
    assert "not proven" in done.stdout


def test_a_live_vm_gets_only_safe_requests_unless_a_file_says_otherwise(artifacts: Path, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(
        '1.2.3.4 - - [t] "POST /order HTTP/1.1" 200 5 "-" "-"\n1.2.3.4 - - [t] "GET /healthz HTTP/1.1" 200 5 "-" "-"\n'
    )
    with serving(ANSWERS) as server:
        run(artifacts, "--vm-url", url(server), "--service", "web", "--access-log", f"web={log}")
        assert [one[:2] for one in server.asked] == [("GET", "/healthz")]
        written = tmp_path / "requests.yaml"
        written.write_text("requests:\n- {service: web, method: POST, path: /order, body: x}\n")
        run(artifacts, "--vm-url", url(server), "--service", "web", "--requests", written)
        assert [(one[0], one[1], one[3]) for one in server.asked[1:]] == [("POST", "/order", b"x")]


def test_each_workload_may_have_its_own_address(artifacts: Path) -> None:
    with serving(ANSWERS) as web, serving(ANSWERS) as api:
        done = run(
            artifacts, "--vm-url", url(web, "web"), "--vm-url", url(api, "api"), "-o", "json", "--runner", "wasm"
        )
        assert (len(web.asked), len(api.asked)) == (1, 1)
    assert set(json.loads(done.stdout)["vm"]) == {"api", "web"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "there is nothing to compare with"),
        (["--vm-url", "https://x"], "is no http://HOST:PORT"), (["--vm-url", "http://x/path"], "is no http://HOST:PORT"),
        (["--vm-url", "http://x:port"], "is no URL"), (["--vm-url", "http://a", "--vm-url", "http://b"], "given twice"),
        (["--vm-url", "mail=http://x"], "--vm-url names 'mail'"),
        (["--vm-url", "http://x", "--service", "mail"], "--service names 'mail'"),
        (["--vm-url", "http://x", "--disk", "d"], "--disk belongs to --source"),
        (["--vm-url", "http://x", "--access-log", "x"], "names no workload"),
        (["--vm-url", "http://x", "--access-log", "web=/nowhere"], "cannot be read"),
        (["--vm-url", "http://x", "--vm-memory", "lots"], "lots"),
        (["--vm-url", "http://x", "--requests", "/nowhere"], "cannot be read"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_told_before_anything_runs(
    arguments: list[str], says: str, artifacts: Path
) -> None:
    done = run(artifacts, *arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert not (artifacts / "proof.json").exists()


def test_a_request_for_a_workload_without_artifacts_is_a_mistake(artifacts: Path, tmp_path: Path) -> None:
    written = tmp_path / "requests.yaml"
    written.write_text("requests: [{service: mail}]")
    done = run(artifacts, "--vm-url", "http://x", "--requests", written)
    assert done.exit_code == 2
    assert "there are api, web" in done.stderr


def test_a_file_that_is_no_yaml_is_told_with_its_place(artifacts: Path, tmp_path: Path) -> None:
    written = tmp_path / "requests.yaml"
    written.write_text("requests:\n- {service: web, path: /?a=b}\n")
    done = run(artifacts, "--vm-url", "http://x", "--requests", written)
    assert done.exit_code == 2
    assert "requests.yaml:2:" in done.stderr
    assert "quotation marks" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_that_was_started(
    number: signal.Signals, artifacts: Path, tmp_path: Path
) -> None:
    """An empty disk never boots: vmkit waits for it until it is told to end."""
    need("qemu-system-x86_64", "qemu-system-x86")
    disk, scratch = tmp_path / "disk.raw", tmp_path / "scratch"
    scratch.mkdir()
    folder = write_files(tmp_path / "guest", guest(WEB))
    build_ext4(disk, folder)
    command = [sys.executable, "-m", "vmkit", "migrate", "verify", artifacts, "--source", disk, "--scratch", scratch,
               "--accelerator", "tcg", "--vm-memory", "64Mi", "--service", "web"]  # fmt: skip
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3]
    )
    try:
        assert _wait(lambda: _of_qemu(scratch) and list(scratch.glob("*/serial.log")))
        child.send_signal(number)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130, said
    assert _wait(lambda: not _of_qemu(scratch))
    assert list(scratch.iterdir()) == []


def _wait(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _of_qemu(scratch: Path) -> list[str]:
    """The processes that were started with something in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in words[0] and any(str(scratch).encode() in word for word in words):
            found.append(path.parent.name)
    return found


def test_a_folder_that_is_no_artifacts_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--vm-url", "http://x")
    assert done.exit_code == 2
    assert "vmkit migrate generate" in done.stderr


def test_a_folder_as_source_gives_requests_but_cannot_be_booted(artifacts: Path, tmp_path: Path) -> None:
    root = write_files(tmp_path / "root", guest(WEB))
    done = run(artifacts, "--source", root, "--service", "web", "--runner", "wasm")
    assert done.exit_code == 6, done.output
    assert "a folder cannot be booted" in done.stdout
