"""The time specs of the downscaler family, each with its known answer in every dialect it holds for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from vmkit import parse_schedule
from vmkit.errors import ScheduleError

CASES = json.loads((Path(__file__).parents[1] / "data" / "timespec.json").read_text("utf-8"))["cases"]
EVERY = [(case, dialect) for case in CASES for dialect in case["dialects"]]


def answer(case: dict[str, Any], dialect: str) -> bool | str:
    try:
        schedule = parse_schedule(
            case["spec"],
            timezone=case.get("default_timezone"),
            weekdays=case.get("default_weekframe"),
            dialect=None if dialect == "default" else dialect,
        )
    except ScheduleError as error:
        return "error" if error.column and error.message and error.hint else "error that helps nobody"
    return schedule.is_active(datetime.fromisoformat(case["at"]))


@pytest.mark.parametrize(
    ("case", "dialect"), EVERY, ids=[f"{dialect}-{case['spec'][:40]}-{case['at']}" for case, dialect in EVERY]
)
def test_the_answer_is_the_known_one(case: dict[str, Any], dialect: str) -> None:
    assert answer(case, dialect) == case["expected"]


def test_all_three_dialects_have_cases() -> None:
    assert {dialect for _, dialect in EVERY} == {"python", "go", "default"}
    assert len(EVERY) > 350
