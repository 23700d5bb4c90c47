from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit import units
from vmkit.errors import QuantityError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1", 1),
        ("500m", Decimal("0.5")),
        ("10Gi", 10 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("1G", 10**9),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("12E-1", Decimal("1.2")),
        (".5", Decimal("0.5")),
        ("5.", 5),
        ("-1", -1),
        ("+2Ki", 2048),
        (7, 7),
        (0.25, Decimal("0.25")),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text, value):
    assert units.parse_quantity(text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("100GB", 'did you mean "100Gi"?'),
        ("100gib", 'did you mean "100Gi"?'),
        ("10 Gi", 'write it without spaces: "10Gi"'),
        ("", "a number and one of"),
        ("Gi", "a number and one of"),
        ("1..5", "a number and one of"),
        ("1e", "a number and one of"),
        ("0x10", "a number and one of"),
        ("９Gi", "a number and one of"),
        ("1Gi\n", "write it without spaces"),
        ("9" * 200, "a number and one of"),
        (True, 'write it as "10Gi"'),
        (float("nan"), 'write it as "10Gi"'),
    ],
)
def test_what_is_no_quantity_says_what_would_be(text, hint):
    with pytest.raises(QuantityError) as caught:
        units.parse_quantity(text, where="--disk")
    assert hint in caught.value.hint
    assert caught.value.where == "--disk"


@pytest.mark.parametrize("text", ["9E", "1e99", "10000000000G"])
def test_a_quantity_larger_than_int64_is_refused(text):
    if text == "9E":
        assert units.parse_quantity(text) == 9 * 10**18
        return
    with pytest.raises(QuantityError, match="larger than"):
        units.parse_quantity(text)


def test_bytes_round_up_and_are_never_negative():
    assert units.parse_bytes("1500m") == 2
    with pytest.raises(QuantityError, match="negative"):
        units.parse_bytes("-1Gi")


@given(st.integers(min_value=0, max_value=2**62))
def test_bytes_written_are_read_back_exactly(size):
    assert units.parse_bytes(units.format_bytes(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (123_456_789, "118 MiB"),
        (10 * 2**30, "10 GiB"),
        (1.25 * 2**30, "1.25 GiB"),
    ],
)
def test_sizes_for_people(size, text):
    assert units.format_size(size) == text


@pytest.mark.parametrize(("cores", "text"), [(2, "2"), (0.5, "500m"), (Decimal("0.0001"), "1m"), (1.5, "1500m")])
def test_cores(cores, text):
    assert units.format_cores(cores) == text


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1.5h", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("0s", timedelta(0)),
    ],
)
def test_durations(text, duration):
    assert units.parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", " ", "5", "5x", "m5", "30m1h", "1h1h", "-5m", "1h 30m", "1e3s", "9" * 400 + "d"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(QuantityError):
        units.parse_duration(text)


def test_a_duration_without_a_unit_is_told_which_it_could_have():
    with pytest.raises(QuantityError) as caught:
        units.parse_duration("5")
    assert caught.value.hint == 'say the unit: "5s", "5m" or "5h"?'


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_written_in_full_are_read_back(seconds):
    duration = timedelta(seconds=seconds)
    text = units.format_duration(duration, parts=4)
    read = units.parse_duration(text)
    # Only what stands below a gap ("2d" of 2 days and 5 seconds) may be left out.
    assert read <= duration
    if read != duration:
        assert duration - read < timedelta(days=1)


def test_limits():
    assert units.parse_limit("10").of(1000) == 10
    assert units.parse_limit("5%").of(1000) == 50
    assert units.parse_limit("5%").of(3) == 1
    assert units.parse_limit("0%").of(3) == 0
    assert units.parse_limit("100%").of(7) == 7
    assert [str(units.parse_limit(text)) for text in ("10", "5%", "2.5%")] == ["10", "5%", "2.5%"]


@pytest.mark.parametrize("text", ["", "-1", "101%", "5 %", "five", "1/2", "%"])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(QuantityError):
        units.parse_limit(text)


@given(st.text(max_size=300))
def test_no_text_whatever_does_more_than_raise_a_quantity_error(text):
    messages = []
    for parse in (units.parse_quantity, units.parse_bytes, units.parse_duration, units.parse_limit):
        try:
            parse(text)
        except QuantityError as error:
            messages.append(error.message)
    assert all(0 < len(message) < 200 for message in messages)
