"""What somebody sees who sits at a terminal: a real one, from the operating system."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.power.vms import create, manifest, stopped, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(60)
_DEADLINE_SECONDS = 20.0


def _at_terminal(lab: Lab, namespace: str, *arguments: str, answer: str = "", **env: str) -> tuple[int, str]:
    """Runs vmkit at a terminal, answers its question, and returns its exit code and all that was shown."""
    main, child = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    own = {"VMKIT_KUBECONFIG": lab.kubeconfig, "VMKIT_NAMESPACE": namespace, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env=clean | own | env,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([main], [], [], 0.2)
            if not ready:
                continue
            try:
                chunk = os.read(main, 4096)
            except OSError:  # the other end is closed: this is how terminals end
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
    return code, shown.decode().replace("\r\n", "\n")


def test_deleting_asks_and_only_yes_deletes(lab: Lab, session: Session, namespace: str) -> None:
    wait_until(session, create(session, manifest("web-1")), stopped)
    code, shown = _at_terminal(lab, namespace, "delete", "web-1", answer="n\n")
    assert code == 5
    assert f"delete {namespace}/web-1? [y/N] " in shown
    assert f"delete of {namespace}/web-1 was not confirmed" in shown
    assert session.find(VIRTUAL_MACHINES, "web-1") is not None
    code, shown = _at_terminal(lab, namespace, "delete", "web-1", "--wait", answer="y\n")
    assert (code, session.find(VIRTUAL_MACHINES, "web-1")) == (0, None)
    assert f"{namespace}/web-1 deleted" in shown


def test_a_plan_is_shown_before_the_question(lab: Lab, session: Session, namespace: str) -> None:
    wait_until(session, create(session, *[manifest(f"web-{n:02}") for n in range(25)]), stopped)
    code, shown = _at_terminal(lab, namespace, "start", "--all", answer="\n")
    assert code == 5
    assert f"  start {namespace}/web-00: it is stopped\n" in shown
    assert "  and 5 more; --dry-run=client lists them all\n" in shown
    assert "start 25 objects? [y/N] " in shown


def test_colours_at_a_terminal_unless_told_otherwise(lab: Lab, session: Session, namespace: str) -> None:
    _, shown = _at_terminal(lab, namespace, "get", "web-9")
    assert shown.startswith("\x1b[31merror:\x1b[0m ")
    assert "\x1b" not in _at_terminal(lab, namespace, "get", "web-9", NO_COLOR="1")[1]
    assert "\x1b" not in _at_terminal(lab, namespace, "get", "web-9", "--no-color")[1]
    assert "\x1b" not in _at_terminal(lab, namespace, "get", "web-9", VMKIT_COLOR="false")[1]


def test_names_from_a_terminal_are_not_waited_for(lab: Lab, session: Session, namespace: str) -> None:
    code, shown = _at_terminal(lab, namespace, "stop", "-", NO_COLOR="1")
    assert code == 2
    assert 'error: "-" reads names from stdin, and stdin is this terminal\n' in shown
