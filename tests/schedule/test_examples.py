"""examples/schedules: the scripts run, and the texts are understood."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from vmkit.schedule import Defaults, Scope, Source, read_calendar, resolve_sources

EXAMPLES = Path(__file__).parents[2] / "examples" / "schedules"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True, text=True, check=False, timeout=60,
        cwd=EXAMPLES.parents[1], env={"PYTHONPATH": str(EXAMPLES.parents[1]), "PATH": ""},
    )  # fmt: skip


def test_a_week_is_shown() -> None:
    shown = run("week.py", "daily 08:00-18:00 Asia/Tokyo").stdout.splitlines()
    assert shown[0] in ("now on", "now off")
    assert len(shown) == 15
    assert all(line.endswith(("08:00 JST  start", "18:00 JST  stop")) for line in shown[1:])
    refused = run("week.py", "Mon-Fry 08:00-18:00 UTC")
    assert refused.returncode == 2
    assert 'did you mean "Fri"?' in refused.stderr


def test_hours_off_are_counted() -> None:
    shown = run("hours_off.py", "always", "never", "Mon-Fri 08:00-18:00 Europe/Berlin").stdout.splitlines()
    assert shown[1].startswith(" 8760 h off, 100%")
    assert shown[2].startswith(f"{8760 - 261 * 10:5} h off,  70%")


def test_the_namespace_and_its_calendar_are_understood() -> None:
    namespace = yaml.safe_load((EXAMPLES / "team-namespace.yaml").read_text("utf-8"))
    calendar = read_calendar(EXAMPLES / "company-holidays.txt")
    source = Source(Scope.NAMESPACE, "Namespace team-shop", namespace["metadata"]["annotations"])
    effective = resolve_sources([source], Defaults(calendars={"company-holidays": calendar}))
    assert effective.problems == ()
    assert effective.timetable.is_active(datetime(2026, 5, 8, 12, tzinfo=UTC))
    assert not effective.timetable.is_active(datetime(2026, 5, 15, 12, tzinfo=UTC))


def test_a_week_is_rehearsed(tmp_path: Path) -> None:
    kept = {key: text for key, text in os.environ.items() if not key.startswith("VMKIT_") and key != "KUBECONFIG"}
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["sh", str(EXAMPLES / "rehearse.sh")],
        capture_output=True, text=True, check=False, timeout=280, cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "PATH": f"{scripts}{os.pathsep}{kept['PATH']}", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if " shop-dev " in line and " web-1 " in line]
    rehearsed = [(row[1][-2:], row[5], row[6]) for row in rows if row[0] in ("Mon", "Tue", "Wed", "Thu", "Fri")]
    # Nothing on Christmas Eve and on Christmas Day.
    assert rehearsed == [
        ("21", "start", "needless"), ("21", "stop", "done"),
        ("22", "start", "done"), ("22", "stop", "done"),
        ("23", "start", "done"), ("23", "stop", "done"),
    ]  # fmt: skip
    assert "kind: ValidatingAdmissionPolicy" in done.stdout
