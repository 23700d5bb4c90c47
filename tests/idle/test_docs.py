"""docs/idle.md is held to the code: its program runs, its codes are those there are, its numbers are computed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vmkit.idle import PRESETS, find_preset
from vmkit.units import format_duration

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/idle.md").read_text(encoding="utf-8")


def test_the_program_prints_what_it_says() -> None:
    program, *_ = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == re.findall(r"^print.*# (.+)$", program, re.MULTILINE)


def test_every_code_is_explained() -> None:
    sources = [*ROOT.glob("vmkit/idle/*.py"), ROOT / "vmkit/metrics/summary.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    # Whoever asked for nothing has written no summary of it; "Idle" and the wording of a source need no row.
    used = set(re.findall(r'(?:Reason|Unknown)\(\s*"(\w+)"', text)) | set(re.findall(r'code="(\w+)"', text))
    explained = {code for code in re.findall(r"`(\w+)`", PAGE) if code[0].isupper()}
    assert used - {"Idle", "NotAsked"} <= explained


@pytest.mark.parametrize("name", PRESETS)
def test_the_longest_unseen_job_of_a_preset_is_that_of_the_table(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \|.*\| (\w+) \| (\w+) \|$", PAGE, re.MULTILINE)
    policy = find_preset(name)
    assert row == (format_duration(policy.lookback), format_duration(policy.longest_unseen_job(2)))
