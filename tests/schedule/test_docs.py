"""docs/schedules.md holds what the code does: every schedule in it, and every reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vmkit.errors import ScheduleError
from vmkit.schedule import parse_schedule, sources

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/schedules.md").read_text("utf-8")
MONDAY = datetime(2026, 2, 2, tzinfo=UTC)


def table(heading: str) -> list[list[str]]:
    """The rows under a table's first line."""
    _, _, after = PAGE.partition(heading + "\n")
    lines = after.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


EXAMPLES = table("| Schedule | Transitions |")
REFUSED = table("| Schedule | Column | Hint |")
CLOCK = table("| Schedule | Day | Transitions |")


def transitions(text: str, start: datetime, days: int, form: str) -> str:
    found = parse_schedule(text).transitions(start, start + timedelta(days=days))
    return ", ".join(f"{at:{form}} {'on' if active else 'off'}" for at, active in found)


def test_there_are_examples() -> None:
    assert (len(EXAMPLES), len(REFUSED), len(CLOCK)) == (18, 8, 7)


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_an_example_does_what_the_page_says(row: list[str]) -> None:
    assert transitions(row[0].strip("`"), MONDAY, 7, "%a %H:%M") == row[1].strip("| ")


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_is_refused_is_refused_as_the_page_says(row: list[str]) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(row[0].strip("`"))
    assert [str(caught.value.column), caught.value.hint] == row[1:]


@pytest.mark.parametrize("row", CLOCK, ids=lambda row: f"{row[0]} {row[1]}")
def test_clock_changes_are_as_the_page_says(row: list[str]) -> None:
    day = datetime.fromisoformat(row[1]).replace(tzinfo=UTC)
    assert transitions(row[0].strip("`"), day, 1, "%H:%M") == row[2].strip("| ")


def test_every_reason_is_on_the_page() -> None:
    code = "".join((ROOT / "vmkit/schedule" / name).read_text("utf-8") for name in ("decide.py", "vetoes.py"))
    reasons = set(re.findall(r'(?:_none|Reason)\(\s*"([A-Z][A-Za-z]+)"', code))
    reasons |= set(re.findall(r'return "([A-Z][A-Za-z]+)", f"', code)) | {
        "NodeSilent",
        "ScheduledStart",
        "ScheduledStop",
    }
    assert len(reasons) > 30
    assert {reason for reason in reasons if f"`{reason}`" not in PAGE} == set()


def test_every_annotation_is_on_the_page() -> None:
    own = {value for value in vars(sources).values() if isinstance(value, str) and value.startswith("vmkit.io/")}
    assert {key for key in own - {sources.LAST_ACTION} if f"`{key}`" not in PAGE} == set()
