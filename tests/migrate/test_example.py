"""examples/migrate runs, and says what its README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.migrate.guests import need

ROOT = Path(__file__).parents[2]


def test_the_example_runs_and_judges_as_its_readme_says(tmp_path: Path) -> None:
    need("mke2fs", "e2fsprogs")
    need("qemu-img", "qemu-utils")
    wrapper = tmp_path / "vmkit"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vmkit "$@"\n')
    wrapper.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}:/usr/sbin",
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "migrate" / "run.sh")],
        capture_output=True, text=True, timeout=280, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines()]
    becomes = {
        line[0]: line[2] for line in shown if len(line) > 4 and line[1] in ("service", "job") and line[2].islower()
    }
    assert becomes == {"nginx": "wasm", "greeter": "wasm", "notes": "container", "cron-notes-1": "container"}
    assert "example-not-a-real-secret" not in done.stdout
    assert "3 answers, all the same" in done.stdout
    assert [line for line in shown if line[:3] == ["greeter", "wasm", "proven"]]
    assert "Excellent fit (100, proven)" in done.stdout
