"""The programs of docs/python.md, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.power.vms import create, manifest, stopped, wait_until
from vmkit import Vmkit
from vmkit.cluster import Session
from vmkit.lab import Lab

pytestmark = pytest.mark.timeout(90)

PAGE = (Path(__file__).resolve().parent.parent / "docs/python.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_every_program_of_the_page_runs(
    number: int, lab: Lab, session: Session, namespace: str, tmp_path: Path
) -> None:
    wait_until(session, create(session, manifest("app-1", labels={"app": "web"})), stopped)
    kubeconfig = yaml.safe_load(Path(lab.kubeconfig).read_text())
    kubeconfig["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number]],
        env=os.environ | {"KUBECONFIG": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_call_of_the_table_exists() -> None:
    calls = set(re.findall(r"vk\.(\w+)\(", PAGE))
    assert calls >= {"create", "clone", "start", "live_migrate", "delete", "get", "describe"}
    assert all(callable(getattr(Vmkit, call)) for call in calls)
