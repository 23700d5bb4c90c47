"""``vmkit stop-idle`` and ``vmkit ledger``, on a practice cluster whose fleet has been used for weeks."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.cli.running import Ran
from vmkit.cli.main import cli
from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINES
from vmkit.lab import Lab

Vmkit = Callable[..., Ran]
_DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def full() -> Iterator[Lab]:
    """Of its namespace shop-dev, dev-1 is idle; web-1 and web-2 are in use, and legacy-1 is paused."""
    with Lab(fleet=30, seed=1, frozen=True, clock_start=datetime(2026, 3, 2, 7, tzinfo=UTC)) as lab:
        with Session.connect(kubeconfig=lab.kubeconfig) as session:
            session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vmkit"}})
        yield lab


@pytest.fixture
def vmkit(full: Lab) -> Vmkit:
    def invoke(*arguments: str) -> Ran:
        env = {"VMKIT_KUBECONFIG": full.kubeconfig, "VMKIT_NAMESPACE": "shop-dev", "COLUMNS": "200"}
        result = CliRunner().invoke(cli, list(arguments), env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


def notes_on(lab: Lab, name: str) -> dict[str, str]:
    with Session.connect(kubeconfig=lab.kubeconfig) as session:
        found: dict[str, str] = session.get(VIRTUAL_MACHINES, name, "shop-dev")["metadata"]["annotations"]
        return found


def test_looking_changes_nothing_and_says_everything(vmkit: Vmkit, full: Lab, tmp_path: Path) -> None:
    files = [tmp_path / f"idle.{kind}" for kind in ("json", "md", "html")]
    reports = [word for file in files for word in ("--report", str(file))]
    ran = vmkit("stop-idle", "--all", "--dry-run", "-o", "json", *reports)
    assert ran.code == 0
    document = json.loads(ran.out)
    states = {item["name"]: (item["state"], item["action"]) for item in document["items"]}
    assert states["dev-1"] == ("idle", "mark")
    assert states["web-2"] == ("busy", "none")
    assert document["report"]["counts"] == {"idle": 1, "busy": 2, "unknown": 1}
    assert document["report"]["savings"]["vcpus"] == 2
    assert "vmkit.io/idle-mark" not in notes_on(full, "dev-1")
    written = json.loads(files[0].read_text())
    assert [item["name"] for item in written["items"]] == sorted(states)
    assert "dev-1" in files[1].read_text()
    assert files[2].read_text().startswith("<!")
    table = vmkit("stop-idle", "--all", "--dry-run", "-o", "table")
    assert table.out.splitlines()[0].split() == ["NAMESPACE", "NAME", "STATE", "ACTION", "STOP-AFTER", "REASON"]
    assert "4 VMs: 1 idle, 2 busy, 1 unknown" in table.err
    assert len(vmkit("stop-idle", "--all", "--dry-run", "-o", "csv").out.splitlines()) == 5
    assert yaml.safe_load(vmkit("stop-idle", "dev-1", "--dry-run", "-o", "yaml").out)["kind"] == "IdleReport"


def test_explain_shows_each_criterion_with_its_number(vmkit: Vmkit) -> None:
    ran = vmkit("stop-idle", "explain", "dev-1")
    assert ran.code == 0
    assert "shop-dev/dev-1 is idle" in ran.out
    assert ran.out.count("of the 5m rate") == 6
    assert "a run would note it as idle" in ran.out
    busy = vmkit("stop-idle", "explain", "web-2", "-o", "json")
    [item] = json.loads(busy.out)["items"]
    assert item["state"] == "busy"
    assert any(finding["low"] is False for finding in item["findings"])
    assert "policy aws" in vmkit("stop-idle", "explain", "dev-1", "--preset", "aws").out
    assert vmkit("stop-idle", "explain", "nobody").code == 3
    assert vmkit("stop-idle", "nobody", "--dry-run").code == 3


def test_nothing_is_looked_at_that_nobody_named(vmkit: Vmkit) -> None:
    ran = vmkit("stop-idle")
    assert (ran.code, ran.out) == (0, "")
    assert "labelled vmkit.io/stop-idle=enabled" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stop-now"], "without a terminal VMs are only noted"),
        (["--notice", "0s"], "a notice is between"),
        (["--lookback", "2h"], "sees no whole day"),
        (["--percentile", "95"], "cannot see a job"),
        (["--cpu-share", "80"], "is in use"),
        (["--preset", "aws", "--cpu-cores", "1"], "its own"),
        (["--report", "idle.pdf"], "how should it be written"),
        (["--webhook", "chat"], "no address"),
        (["--switch", "here"], "names no ConfigMap"),
        (["web-1", "--all"], "not both"),
        (["--compare", "aws"], "over"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(
    vmkit: Vmkit, arguments: list[str], said: str
) -> None:
    ran = vmkit("stop-idle", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_prometheus_that_is_away_leaves_all_of_it_unknown(vmkit: Vmkit) -> None:
    ran = vmkit("stop-idle", "--all", "--yes", "--prometheus", "http://127.0.0.1:9")
    assert ran.code == 0
    assert "0 idle" in ran.err
    assert "of no VM it is known whether it is used" in ran.err


def test_at_a_terminal_it_shows_the_plan_and_asks(full: Lab, vmkit: Vmkit) -> None:
    ended, shown = at_a_terminal(full, "n\n")
    assert (ended, "mark shop-dev/dev-1" in shown) == (5, True)
    assert "vmkit.io/idle-mark" not in notes_on(full, "dev-1")
    ended, shown = at_a_terminal(full, "y\n")
    assert (ended, "shop-dev/dev-1 noted as idle" in shown) == (0, True)
    vmkit("stop-idle", "snooze", "dev-1", "--for", "1h")
    vmkit("stop-idle", "snooze", "dev-1", "--clear")


def test_it_is_noted_snoozed_noted_again_stopped_and_counted(vmkit: Vmkit, full: Lab) -> None:
    told: list[dict[str, object]] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        webhook = f"http://127.0.0.1:{server.server_address[1]}/secret"
        ran = vmkit("stop-idle", "--all", "--webhook", webhook)
    finally:
        server.shutdown()
        server.server_close()
    assert "shop-dev/dev-1 noted as idle" in ran.out
    assert [(each["marked"], each["stopped"]) for each in told] == [(1, 0)]
    assert "vmkit stop-idle snooze dev-1" in notes_on(full, "dev-1")["vmkit.io/idle-notice"]
    assert "until 2026-03-09" in vmkit("stop-idle", "snooze", "dev-1", "--for", "7d").out
    assert "vmkit.io/idle-mark" not in notes_on(full, "dev-1")
    assert "somebody asked for peace" in vmkit("stop-idle", "explain", "dev-1").out
    assert vmkit("stop-idle", "snooze", "dev-1").code == 2
    assert vmkit("stop-idle", "snooze", "dev-1", "--until", "2026-01-01T00:00:00Z").code == 2
    assert vmkit("stop-idle", "snooze", "dev-1", "--for", "900d").code == 2
    assert vmkit("stop-idle", "snooze", "nobody", "--for", "1d").code == 3
    assert "no more" in vmkit("stop-idle", "snooze", "dev-1", "--clear").out
    assert vmkit("stop-idle", "--all", "--webhook", "http://127.0.0.1:9/secret").err.count("secret") == 0
    full.advance(timedelta(hours=25))
    assert "nobody has agreed to stops" in vmkit("stop-idle", "--all").out
    ran = vmkit("stop-idle", "--all", "--yes")
    assert "shop-dev/dev-1 stopped" in ran.out
    run_id = ran.err.partition("vmkit undo ")[2].split()[0]
    full.advance(timedelta(hours=2))
    assert "dana@example.com" in vmkit("ledger").out
    [item] = json.loads(vmkit("ledger", "--record", "-o", "json").out)["items"]
    assert (item["name"], item["off"][0]["code"]) == ("dev-1", "StoppedIdle")
    assert 2 <= item["hours"] < 2.2
    assert "vmkit_ledger_vcpu_hours" in vmkit("ledger", "-o", "prometheus").out
    assert "StoppedIdle" in vmkit("history", "dev-1", "-o", "json").out
    assert "shop-dev/dev-1 started" in vmkit("undo", run_id).out


def at_a_terminal(lab: Lab, answer: str) -> tuple[int, str]:
    """Runs it over shop-dev, and answers its question."""
    main, child = pty.openpty()
    env = {**os.environ, "VMKIT_KUBECONFIG": lab.kubeconfig, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", "stop-idle", "-n", "shop-dev", "--all"],
        stdin=child, stdout=child, stderr=child, env=env, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    shown, deadline = b"", time.monotonic() + _DEADLINE_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([main], [], [], 0.2)[0]:
                continue
            try:
                chunk = os.read(main, 4096)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
            if answer and b"[y/N] " in shown:
                os.write(main, answer.encode())
                answer = ""
    finally:
        os.close(main)
        code = process.wait(timeout=_DEADLINE_SECONDS)
    return code, shown.decode()
