"""What holds and why; what is allowed and probably not meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vmkit.schedule import (
    Defaults,
    Scope,
    Source,
    Wish,
    explain_timetable,
    explain_vm,
    lint_schedule,
    parse_calendar,
    parse_schedule,
    resolve_sources,
)

NOON = datetime(2026, 2, 2, 12, tzinfo=UTC)


def test_the_rule_that_holds_is_named_with_its_place() -> None:
    schedule = parse_schedule("Tue 08:00-18:00, Mon 09:00-17:00 Europe/Berlin")
    explanation = explain_timetable(schedule, NOON, count=3)
    assert (explanation.active, explanation.wish) == (True, Wish.ON)
    assert [(rule.text, rule.column) for rule in explanation.rules] == [("Mon 09:00-17:00 Europe/Berlin", 18)]
    assert str(explanation.at) == "2026-02-02 13:00:00+01:00"
    assert [(f"{one.local:%a %H:%M %Z}", str(one.transition.side)) for one in explanation.coming] == [
        ("Mon 17:00 CET", "stop"), ("Tue 08:00 CET", "start"), ("Tue 18:00 CET", "stop"),
    ]  # fmt: skip
    assert [one.rules[0].text for one in explanation.coming][1] == "Tue 08:00-18:00"


def test_moments_are_explained_by_the_last_one_passed() -> None:
    explanation = explain_timetable(parse_schedule("start 08:00; stop 18:00 UTC"), NOON, count=1)
    assert [rule.text for rule in explanation.rules] == ["start 08:00"]
    assert explanation.coming[0].rules[0].text == "stop 18:00 UTC"


def test_a_window_that_a_clock_change_swallows_is_told() -> None:
    explanation = explain_timetable(parse_schedule("Sun 02:00-03:00 Europe/Berlin"), NOON)
    ((at, rule),) = explanation.skipped
    assert str(at) == "2026-03-29 03:00:00+02:00"
    assert rule.text == "Sun 02:00-03:00 Europe/Berlin"
    assert len(explanation.coming) == 10


def test_what_stands_above_the_schedule_is_told() -> None:
    def explain(**annotations: str) -> tuple[str, str]:
        values = {"vmkit.io/schedule": "always"} | {f"vmkit.io/{key}": text for key, text in annotations.items()}
        sources = [Source(Scope.VM, "VM", values)]
        found = explain_vm(resolve_sources(sources, Defaults()), NOON)
        return found.held_by, found.decided_by.keys[0]

    assert explain() == ("", "vmkit.io/schedule")
    assert explain(exclude="true") == ("excluded", "vmkit.io/exclude")
    assert explain(**{"force-downtime": "true"}) == ("forced down", "vmkit.io/force-downtime")
    until = "2026-02-02T15:00:00Z"
    assert explain(**{"keep-up-until": until})[0] == "kept up until 2026-02-02T15:00:00+00:00"
    assert explain(**{"exclude-until": until})[0].startswith("excluded until")


def test_a_vm_without_a_schedule_is_explained_too() -> None:
    found = explain_vm(resolve_sources([], Defaults()), NOON)
    assert (found.schedule, found.decided_by, found.held_by, found.problems) == (None, None, "", ())


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Mon-Fri 08:00-18:00 Europe/Berlin", []),
        ("always", []),
        ("Mon-Fri 00:00-23:59 UTC", ["MinuteBeforeMidnight"]),
        ("Mon-Sun 00:00-24:00 UTC", ["NeverChanges"]),
        ("2020-01-01 08:00-18:00 UTC", ["NeverChanges", "Past"]),
        ("2020-01-01 08:00-18:00, Mon 08:00-18:00 UTC", ["Past"]),
        ("Mon 08:00-12:00,11:00-18:00 UTC", ["Overlap"]),
        ("Sun 02:00-03:00 Europe/Berlin", ["SkippedHour"]),
        ("Mon 08:00-18:00 Etc/GMT-1", ["InvertedSign"]),
        ("Mon 08:00-12:00,12:02-18:00 UTC", ["Blip"]),
        ("stop 20:00 UTC", ["OneSided"]),
        ("Mon 08:00-18:00 UTC except 2025-12-24", ["ExceptionsPast"]),
        ("Mon 08:00-18:00 UTC except 12-24, 2025-12-24", []),
    ],
)
def test_findings(text: str, codes: list[str]) -> None:
    findings = lint_schedule(parse_schedule(text), NOON)
    assert [finding.code for finding in findings] == codes
    assert all(finding.text for finding in findings)


def test_a_calendar_that_has_run_out_is_found() -> None:
    calendars = {"company": parse_calendar("2024-12-24\n2025-12-24\n", name="company")}
    schedule = parse_schedule("Mon 08:00-18:00 UTC except 12-31, calendar(company)", calendars=calendars)
    assert [finding.code for finding in lint_schedule(schedule, NOON)] == ["ExceptionsPast"]


def test_the_inverted_sign_is_spelt_out() -> None:
    (finding,) = lint_schedule(parse_schedule("Mon 08:00-18:00 Etc/GMT-1"), NOON)
    assert "UTC+01:00" in finding.text
