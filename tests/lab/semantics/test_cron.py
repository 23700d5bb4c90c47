from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.semantics.cron import CronError, parse_cron


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "now", "following"),
    [
        ("0 3 * * *", "2026-11-23T02:59:59", "2026-11-23T03:00"),
        ("0 3 * * *", "2026-11-23T03:00:00", "2026-11-24T03:00"),
        ("*/15 * * * *", "2026-11-23T10:07", "2026-11-23T10:15"),
        ("30 6 * * 1-5", "2026-11-27T07:00", "2026-11-30T06:30"),
        ("0 0 1 jan *", "2026-11-23T00:00", "2027-01-01T00:00"),
        ("0 0 13 * fri", "2026-11-23T00:00", "2026-11-27T00:00"),
        ("@weekly", "2026-11-23T00:00", "2026-11-29T00:00"),
        ("0 0 29 2 *", "2026-11-23T00:00", "2028-02-29T00:00"),
        ("5-10/2 8 * * *", "2026-11-23T08:05", "2026-11-23T08:07"),
        ("0 0 * * 7", "2026-11-23T00:00", "2026-11-29T00:00"),
    ],
)
def test_the_next_time(expression, now, following):
    assert parse_cron(expression).next_after(at(now)) == at(following)


def test_a_day_that_never_comes_has_no_next_time():
    assert parse_cron("0 0 30 2 *").next_after(at("2026-11-23T00:00")) is None


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "*/0 * * * *", "a * * * *", "5-1 * * * *", "0 24 * * *"]
)
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(CronError):
        parse_cron(text)


@given(st.text(alphabet="0123456789*/-, abc@", max_size=30))
def test_any_text_is_a_schedule_or_refused(text):
    try:
        schedule = parse_cron(text)
    except CronError:
        return
    following = schedule.next_after(at("2026-11-23T00:00"))
    assert following is None or following > at("2026-11-23T00:00")
