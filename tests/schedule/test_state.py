"""What is remembered between passes."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.errors import ScheduleError
from vmkit.schedule import StoredState, parse_state, render_state
from vmkit.schedule.rules import Side
from vmkit.schedule.state import Pending

instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
states = st.builds(
    StoredState,
    uid=st.text(max_size=40),
    since=instants,
    schedule=st.text("0123456789abcdef", max_size=12),
    stopped_at=st.none() | instants,
    pending=st.none() | st.builds(Pending, st.sampled_from(Side), instants, instants),
    warned_for=st.none() | instants,
    warned_at=st.none() | instants,
    queued=st.none() | instants,
    forced=st.none() | st.sampled_from(Side),
)


@given(states)
def test_what_is_written_is_what_is_read(state: StoredState) -> None:
    assert parse_state(render_state(state)) == state


@given(st.text(max_size=200) | st.from_regex(r'\{"uid":"a","since":.{0,30}\}'))
def test_what_others_wrote_is_refused_or_read(text: str) -> None:
    with contextlib.suppress(ScheduleError):
        assert isinstance(parse_state(text), StoredState)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        '{"uid":1,"since":"2026-01-01T00:00:00Z"}',
        '{"uid":"a","since":"2026-01-01T00:00:00"}',
        '{"uid":"a","since":7}',
        '{"uid":"a","since":"2026-01-01T00:00:00Z","pending":7}',
        "[" * 100_000,
        '{"uid":"a","since":"2026-01-01T00:00:00Z","forced":"sideways"}',
    ],
)
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="is not what vmkit wrote"):
        parse_state(text)


def test_the_text_is_short() -> None:
    at = datetime(2026, 2, 2, 18, tzinfo=UTC)
    text = render_state(StoredState("0b7e1c9a-0000-4000-8000-000000000001", at, "a1b2c3d4e5f6", stopped_at=at))
    assert text == (
        '{"uid":"0b7e1c9a-0000-4000-8000-000000000001","since":"2026-02-02T18:00:00Z","schedule":"a1b2c3d4e5f6",'
        '"stoppedAt":"2026-02-02T18:00:00Z"}'
    )
