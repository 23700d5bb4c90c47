"""examples/rightsize and examples/energy, run as they stand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.insight.history import write_history
from tests.power.vms import create, manifest, stopped, wait_until
from tests.real.prometheus import PrometheusServer, require_prometheus
from tests.test_examples import EXAMPLES, own_environment
from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def prometheus(session: Session, namespace: str) -> Iterator[str]:
    require_prometheus()
    document = manifest("web-1", labels={"vmkit.io/owner": f"owner-of-{namespace}"})
    document["spec"]["template"]["spec"]["domain"].update({"cpu": {"sockets": 4}, "memory": {"guest": "8Gi"}})
    wait_until(session, create(session, document), stopped)
    session.get(NAMESPACES, namespace)
    assert session.server_time is not None
    with PrometheusServer(write_history(namespace, ["web-1"], session.server_time.timestamp())) as server:
        yield server.url


def _run(lab: Lab, home: Path, *command: str) -> str:
    environment = own_environment(home) | {"KUBECONFIG": lab.kubeconfig}
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sizes_are_added_up_by_owner(lab: Lab, namespace: str, prometheus: str, tmp_path: Path) -> None:
    script = str(EXAMPLES / "rightsize" / "by_owner.py")
    assert f"| owner-of-{namespace} | 1 | 3 | 5.5 |" in _run(lab, tmp_path, sys.executable, script, prometheus)


def test_energy_is_added_up_by_owner(lab: Lab, namespace: str, prometheus: str, tmp_path: Path) -> None:
    written = _run(lab, tmp_path, "sh", str(EXAMPLES / "energy" / "run.sh"), prometheus)
    (row,) = [line for line in written.splitlines() if line.startswith(f"owner-of-{namespace},")]
    assert row.split(",")[1:4] == ["1", "0", "1.680000"]
    assert (tmp_path / "energy.csv").read_text() == written
    assert "What VMs take" in (tmp_path / "energy.html").read_text()
