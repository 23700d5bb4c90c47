"""Ctrl-C, to a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.power.vms import create_running, manifest, wait_until
from vmkit.cluster import Session
from vmkit.cluster.resources import VIRTUAL_MACHINES
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("output", ["table", "json"])
def test_an_interrupted_wait_lists_what_was_asked_for(
    lab: Lab, session: Session, namespace: str, output: str
) -> None:
    refs = create_running(session, manifest("web-1", grace_seconds=7200, ignores_acpi="true"))
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", "stop", "web-1", "--wait", "--timeout", "2h", "-o", output],
        env=os.environ | {"VMKIT_KUBECONFIG": lab.kubeconfig, "VMKIT_NAMESPACE": namespace},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(session, refs, lambda view: view.power == "Stopping")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert f"error: {namespace}/web-1 not seen stopped: " in err
    if output == "json":
        document = json.loads(out)
        assert (document["exitCode"], document["items"][0]["error"]["code"]) == (130, "Interrupted")


def test_an_interrupted_creation_lists_what_was_created(lab: Lab, session: Session, namespace: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", "create", "web-1", "-t", "debian", "--wait", "-o", "json"],
        env=os.environ | {"VMKIT_KUBECONFIG": lab.kubeconfig, "VMKIT_NAMESPACE": namespace},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with session.watch(VIRTUAL_MACHINES, namespace, timeout_seconds=20) as watch:
            for event in watch:
                if event.type in ("ADDED", "MODIFIED"):
                    break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in err
    # The import may be over before the signal: then all is well, and otherwise it is told.
    assert process.returncode in (0, 130), (out, err)
    assert ("not seen created: it was created" in err) == (process.returncode == 130), (out, err)
