"""examples/schedules: the scripts run, and the texts are understood."""

from __future__ import annotations

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
