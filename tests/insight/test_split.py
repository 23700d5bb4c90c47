"""The parts of a reservation: they add up, whatever is thrown at them."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.insight.split import (
    Need,
    Part,
    Split,
    compute_growth,
    compute_percentile,
    compute_slope,
    decide_split,
    keep_amounts,
)

_ANY = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
_GIB = 2**30


@given(
    reserved=st.one_of(_ANY, st.integers(min_value=-5, max_value=2**50)),
    need=st.builds(Need, base=_ANY, target=_ANY, growth_a_day=_ANY),
    margin=st.floats(allow_nan=True, allow_infinity=True),
    horizon=st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=4000)),
    redundancy=st.floats(allow_nan=True, allow_infinity=True),
)
def test_the_parts_always_add_up_to_what_is_reserved(
    reserved: float | None, need: Need, margin: float, horizon: timedelta, redundancy: float
) -> None:
    split = decide_split(reserved, need, margin=margin, horizon=horizon, redundancy=redundancy)
    parts = [split.part(part) for part in Part]
    known = reserved is not None and math.isfinite(reserved) and reserved > 0
    assert split.reserved == (math.ceil(reserved) if known and reserved is not None else 0)
    assert sum(parts) == split.reserved
    assert min(parts) >= 0
    assert split.deficit >= 0
    assert all(isinstance(part, int) for part in parts)
    if need.target is None or not math.isfinite(need.target) or need.target < 0:
        assert split.just_in_case == 0, "what nobody measured is no waste"


@given(st.lists(st.tuples(st.integers(0, 10**12), _ANY, _ANY), max_size=20))
def test_a_sum_of_splits_is_a_split(rows: list[tuple[int, float | None, float | None]]) -> None:
    splits = [decide_split(reserved, Need(base, target), margin=0.15) for reserved, base, target in rows]
    total = sum(splits, Split())
    assert total.reserved == sum(reserved for reserved, _, _ in rows)
    assert sum(total.part(part) for part in Part) == total.reserved


def test_each_part_takes_what_its_formula_says() -> None:
    split = decide_split(
        16 * _GIB, Need(base=2 * _GIB, target=4 * _GIB, growth_a_day=_GIB / 60), margin=0.15, redundancy=0.25
    )
    assert split.base == 2 * _GIB
    assert split.variable == 2 * _GIB
    assert split.safety == pytest.approx(0.6 * _GIB, abs=2)
    assert split.growth == pytest.approx(0.5 * _GIB, abs=2)
    assert split.redundancy == pytest.approx(4 * _GIB, abs=2)
    assert split.just_in_case == pytest.approx(6.9 * _GIB, abs=4)
    assert (split.unknown, split.deficit) == (0, 0)
    assert split.needed == split.reserved - split.just_in_case


def test_a_vm_that_needs_more_than_it_has_wastes_nothing() -> None:
    split = decide_split(1000, Need(base=600, target=1900), margin=0.15, redundancy=0.5)
    assert (split.base, split.variable, split.safety, split.redundancy) == (600, 400, 0, 0)
    assert split.just_in_case == 0
    assert split.deficit == math.ceil(1900 * 1.15) - 1000


def test_without_measurements_only_the_group_is_known() -> None:
    assert decide_split(4000, Need(), margin=0.15) == Split(reserved=4000, unknown=4000)
    assert decide_split(4000, Need(), margin=0.15, redundancy=0.5) == Split(4000, redundancy=2000, unknown=2000)


def test_use_that_falls_reserves_no_growth() -> None:
    assert decide_split(4000, Need(100, 200, growth_a_day=-50.0), margin=0.1).growth == 0


def test_a_base_above_the_target_is_the_target() -> None:
    split = decide_split(4000, Need(base=900, target=500), margin=0.0)
    assert (split.base, split.variable) == (500, 0)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0), (0.11, 2.0), (0.5, 5.0), (0.95, 10.0), (1.0, 10.0)],
)
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert compute_percentile([float(number) for number in range(1, 11)], share) == expected


def test_no_values_have_no_percentile() -> None:
    assert compute_percentile([], 0.5) is None
    assert keep_amounts([math.nan, math.inf, -1.0, 3.0, 0.0]) == [0.0, 3.0]


def test_the_trend_ignores_days_out_of_the_ordinary() -> None:
    points = [(float(day), 10.0 + 2.0 * day) for day in range(20)]
    points[7] = (7.0, 10_000.0)
    points[13] = (13.0, 0.0)
    assert compute_slope(points) == pytest.approx(2.0)
    assert compute_slope([(1.0, 5.0)]) is None
    assert compute_slope([(1.0, 5.0), (1.0, 9.0)]) is None


def test_growth_needs_a_fortnight_of_known_days() -> None:
    def series(days: int, hole: int = 0) -> list[float]:
        values = [100.0 + day for day in range(days) for _ in range(24)]
        for day in range(hole):
            values[day * 24 : day * 24 + 13] = [math.nan] * 13
        return values

    assert compute_growth(series(14), step_seconds=3600) == pytest.approx(1.0)
    assert compute_growth(series(13), step_seconds=3600) is None
    assert compute_growth(series(14, hole=1), step_seconds=3600) is None
    assert compute_growth(series(20, hole=3), step_seconds=3600) == pytest.approx(1.0)
    assert compute_growth([], step_seconds=300) is None
