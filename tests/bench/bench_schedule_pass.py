"""What a whole pass costs beside listing, and how many VMs it stops in a second.

    python tests/bench/bench_schedule_pass.py

Looking: CPU time for ten thousand VMs from the decoded objects to the decisions, each object read, its annotations
understood, its timetable asked, its memory compared; nothing is due (bound: one second).
Acting: by the wall clock, on an evening on which every VM is due, against a practice cluster in a process of its
own, whose work is most of what is measured: a stop is seven requests, so that it can be cut off anywhere, and an
instance that shuts down. py-kube-downscaler acts on 137 Deployments a second, with one request each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.power.vms import manifest
from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINES
from vmkit.lab.remote import RemoteLab
from vmkit.schedule.running import PassOptions, Settings, run_pass
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.passing import Pace
from vmkit.schedule.running.subjects import Subject, Surroundings
from vmkit.schedule.running.vigil import Vigil
from vmkit.schedule.state import STATE, StoredState, render_state
from vmkit.scheduling import PowerHands

VMS = 10_000
ACTING = 400
RUNS = 3
BOUND_SECONDS = 1.0
NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)


def _machine(number: int) -> dict[str, Any]:
    text = f"Mon-Fri 0{6 + number % 3}:{number % 60:02}-18:00 UTC"
    marks = {"vmkit.io/schedule": text, "vmkit.io/restart-safe": "true"}
    return manifest(f"vm-{number}", "Always", annotations=marks)


def _objects() -> list[tuple[bytes, bytes]]:
    """VMs at rest with their instances, as a list has them."""
    surroundings, found = Surroundings(Settings(), {"shop": {}}), []
    born = "2026-01-01T00:00:00Z"
    for number in range(VMS):
        vm = _machine(number)
        vm["metadata"] |= {"namespace": "shop", "uid": f"u{number}", "creationTimestamp": born}
        vm["status"] = {"printableStatus": "Running", "created": True, "ready": True}
        vmi = {
            "metadata": {"name": f"vm-{number}", "namespace": "shop", "uid": f"i{number}"},
            "spec": {"volumes": vm["spec"]["template"]["spec"]["volumes"]},
            "status": {"phase": "Running", "nodeName": f"n{number % 40}"},
        }
        digest = surroundings.subject(vm, vmi).effective.fingerprint
        state = StoredState(f"u{number}", NOON - timedelta(hours=1), digest)
        vm["metadata"]["annotations"][STATE] = render_state(state)
        found.append((msgspec.json.encode(vm), msgspec.json.encode(vmi)))
    return found


def look() -> float:
    """CPU seconds."""
    objects, best = _objects(), float("inf")
    for _ in range(RUNS):
        surroundings, spent = Surroundings(Settings(), {"shop": {}}), 0.0
        subjects: list[Subject] = []
        for vm_bytes, vmi_bytes in objects:
            vm, vmi = msgspec.json.decode(vm_bytes), msgspec.json.decode(vmi_bytes)
            begun = time.process_time()
            subjects.append(surroundings.subject(vm, vmi))
            spent += time.process_time() - begun
        vigil = Vigil(surroundings, tuple(subjects), NOON, Pace(60), lambda: True, lambda subject, decision: True)
        nobody: Any = None  # A pass that finds nothing to do asks nobody.
        hands: Hands = nobody
        begun = time.process_time()
        result = run_pass(nobody, hands, PassOptions(), vigil=vigil, stopping=threading.Event())
        spent += time.process_time() - begun
        assert not result.outcomes
        best = min(best, spent)
    return best


def act() -> float:
    """Stops a second."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        command = [sys.executable, "-m", "vmkit", "lab", "up", "--name", "bench-pass", "--frozen"]
        command += ["--start", "2026-02-02T07:00:00+00:00", "--nodes", "20", "--kubeconfig", str(kubeconfig)]
        lab = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"HOME": folder, "PATH": ""})
        try:
            deadline = time.monotonic() + 60
            while not (kubeconfig.exists() and kubeconfig.stat().st_size):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            remote = RemoteLab.from_kubeconfig(kubeconfig)
            with Session.connect(kubeconfig=kubeconfig, namespace="shop") as session:
                return _act(remote, session)
        finally:
            lab.terminate()
            lab.wait()


def _act(remote: RemoteLab, session: Session) -> float:
    session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: session.create(VIRTUAL_MACHINES, _machine(number), "shop"), range(ACTING)))
    remote.move_clock(advance_seconds=3600)
    hands = PowerHands(session)
    run_pass(session, hands)
    remote.move_clock(to="2026-02-02T18:00:00+00:00")
    begun = time.monotonic()
    result = run_pass(session, hands)
    seconds = time.monotonic() - begun
    assert sum(outcome.verb == "stop" and outcome.ok for outcome in result.outcomes) == ACTING
    return ACTING / seconds


def main() -> int:
    """Prints a line for each; 1 where looking is beyond its bound."""
    spent = look()
    print(f"{spent:8.2f} s   looking at {VMS} VMs, beyond listing (bound {BOUND_SECONDS:g})")
    print(f"{act():8.0f} /s  stops, of {ACTING} VMs at once")
    return int(spent >= BOUND_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
