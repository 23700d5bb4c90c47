from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.report.text import escape_lines, escape_text, format_age, format_span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1", "web-1"),
        ("grün 日本", "grün 日本"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202exyz", "abc\\u202exyz"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
    ],
)
def test_escapes_what_a_terminal_would_act_upon(text: str, expected: str) -> None:
    assert escape_text(text) == expected


@given(st.text())
def test_nothing_unprintable_survives(text: str) -> None:
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in escape_text(text))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape_text(text) == text


def test_documents_keep_their_lines() -> None:
    assert escape_lines("a\nb\x1b\nc") == "a\nb\\x1b\nc"


# The steps of k8s.io/apimachinery/pkg/util/duration.HumanDuration, from its own test table's borders.
@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(seconds=-5), "<invalid>"),
        (timedelta(seconds=-1), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=9, seconds=59), "9m59s"),
        (timedelta(minutes=10, seconds=30), "10m"),
        (timedelta(minutes=179), "179m"),
        (timedelta(hours=3, minutes=1), "3h1m"),
        (timedelta(hours=8), "8h"),
        (timedelta(hours=47, minutes=59), "47h"),
        (timedelta(hours=48), "2d"),
        (timedelta(days=3, hours=4), "3d4h"),
        (timedelta(days=8), "8d"),
        (timedelta(days=729), "729d"),
        (timedelta(days=730), "2y"),
        (timedelta(days=800), "2y70d"),
        (timedelta(days=365 * 8 + 3), "8y"),
    ],
)
def test_spans_are_written_as_kubectl_writes_them(span: timedelta, expected: str) -> None:
    assert format_span(span) == expected


def test_an_unknown_time_has_no_age() -> None:
    assert format_age(None, at=datetime(2026, 1, 1, tzinfo=UTC)) == "<unknown>"
