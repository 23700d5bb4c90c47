"""The promised speeds hold; measured in a process of its own, which nothing traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_transitions_and_decisions_are_as_fast_as_promised() -> None:
    script = ROOT / "tests" / "bench" / "bench_schedule.py"
    measured = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert measured.returncode == 0, measured.stdout + measured.stderr
