"""Any text is a schedule or a ScheduleError with a column; nothing else ever comes out."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vmkit.errors import ScheduleError
from vmkit.schedule import lint_schedule, parse_calendar, parse_schedule
from vmkit.schedule.zones import zone_names

AT = datetime(2026, 2, 2, 12, tzinfo=UTC)
DIALECTS = (None, "python", "go")

words = st.sampled_from(
    [
        "Mon",
        "Mon-Fri",
        "Sat,Sun",
        "daily",
        "weekdays",
        "always",
        "never",
        "from",
        "until",
        "start",
        "stop",
        "except",
        "cron(",
        ")",
        "holidays(DE)",
        "calendar(x)",
        "08:00",
        "08:00-18:00",
        "20:00-06:00",
        "24:00",
        "24:30",
        "-",
        ",",
        ";",
        "..",
        "\n",
        "\t",
        "UTC",
        "CET",
        "Europe/Berlin",
        "Local",
        "2026-02-02",
        "12-24",
        "02-30",
        "2026-02-02T08:00:00Z",
        "2026-02-02T08:00:00+01:00",
        "2026-10-25T02:30",
        "0001-01-01",
        "9999-12-31T23:59:59Z",
        "0",
        "8",
        "*",
        "*",
        "1-5",
        "*/5",
        "99",
        "٠٨:٠٠",
        "–",
        "\x00",
        "\ufeff",
        "+01:00",
        "8am",
    ]
)
times = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda pair: f"{pair[0]:02}:{pair[1]:02}")
days = st.sampled_from(["Mon", "Mon-Fri", "Sat,Sun", "daily", "2026-02-03", "12-24..01-02", "Fri-Mon"])
windows = st.builds("{} {}-{}".format, days, times, times)
moments = st.builds("start {0} {1}; stop {0} {2}".format, days, times, times)
specs = st.builds(
    "{} {}".format,
    st.one_of(st.lists(windows, min_size=1, max_size=4).map("; ".join), moments),
    st.sampled_from(sorted(name for name in zone_names() if "/" in name)),
)


def attempt(text: str, dialect: str | None) -> None:
    try:
        schedule = parse_schedule(text, dialect=dialect)
    except ScheduleError as error:
        if error.column is None or not 1 <= error.column <= len(text) + 1:
            raise AssertionError(f"{text!r}: {error.message} has column {error.column}") from error
        return
    schedule.is_active(AT)
    following = schedule.next_change(AT)
    assert following is None or following > AT
    lint_schedule(schedule, AT)


@given(st.text(max_size=120), st.sampled_from(DIALECTS))
@example("\udcff", None)
@example("Mon-Fri 08:00-18:00 " + "a/" * 4000, None)
@example("Mon-Fri 08:00-18:00 ../../etc/passwd", "go")
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_parser(text: str, dialect: str | None) -> None:
    attempt(text, dialect)


@given(st.lists(words, max_size=12).map(" ".join), st.sampled_from(DIALECTS))
@settings(max_examples=500, deadline=None)
def test_no_mixture_of_words_breaks_the_parser(text: str, dialect: str | None) -> None:
    attempt(text, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "piece", ["Mon,", "a", " ", ",", "(", "08:00-", "cron(", "Mon-Fri 08:00-18:00 UTC, ", "12-24,", "\n", "0 "]
)
def test_a_hundred_kilobytes_are_refused_at_once(piece: str, dialect: str | None) -> None:
    begun = time.process_time()
    for text in (piece * (100_000 // len(piece)), piece * (16_000 // len(piece)), "except " + piece * 4000):
        with pytest.raises(ScheduleError):
            parse_schedule(text, dialect=dialect)
    assert time.process_time() - begun < 2


@given(
    st.text(max_size=200)
    | st.text(max_size=200).map(lambda text: f"BEGIN:VCALENDAR\nBEGIN:VEVENT\n{text}\nEND:VEVENT\nEND:VCALENDAR")
)
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_the_calendar_reader(text: str) -> None:
    try:
        found = parse_calendar(text)
    except ScheduleError:
        return
    assert isinstance(AT.toordinal() in found, bool)


@given(specs, st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=300, deadline=None)
def test_answers_agree_with_each_other(text: str, at: datetime) -> None:
    try:
        schedule = parse_schedule(text)
    except ScheduleError as error:
        assert "ends when it starts" in error.message  # noqa: PT017 - both outcomes are fine, each with its condition
        return
    following = schedule.next_change(at)
    found = schedule.transitions(at + timedelta(microseconds=1), at + timedelta(days=10))
    assert (following in {one.at for one in found}) is (
        following is not None and following < at + timedelta(days=10)
    )
    for one in found:
        assert schedule.is_active(one.at) is one.active
        assert schedule.latest_transition(one.at, timedelta()) == one
        assert schedule.next_change(one.at - timedelta(microseconds=1)) == one.at
    if found and len(schedule.windows):
        assert schedule.is_active(found[0].at - timedelta(microseconds=1)) is not found[0].active
    opposite = schedule.as_downtime().as_downtime()
    assert opposite.transitions(at, at + timedelta(days=3)) == schedule.transitions(at, at + timedelta(days=3))
