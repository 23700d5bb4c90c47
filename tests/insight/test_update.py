"""When a change of size is worth it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from vmkit.insight.recommender import Recommendation, Resources
from vmkit.insight.update import Why, decide_worth

NEEDS = Recommendation(
    target=Resources(1000, 1000),
    lower=Resources(500, 500),
    upper=Resources(2000, 2000),
    confidence=8,
    sample_minutes=1,
)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("cpu", "memory", "running_for", "soon", "worth", "why"),
    [
        (499, 1000, HOUR, False, True, Why.TOO_SMALL),
        (1000, 499, None, False, True, Why.TOO_SMALL),
        (2001, 1000, HOUR, False, True, Why.TOO_LARGE),
        (499, 2001, HOUR, False, True, Why.TOO_SMALL),
        (500, 2000, HOUR, False, False, Why.TOO_YOUNG),
        (500, 2000, None, False, False, Why.TOO_YOUNG),
        (500, 2000, timedelta(hours=12), False, True, Why.DIFFERS),
        (1000, 1050, DAY, False, False, Why.CLOSE),
        (1060, 1060, DAY, False, True, Why.DIFFERS),
        (1000, 1000, HOUR, True, False, Why.TOO_YOUNG),
        (1000, 990, HOUR, True, True, Why.OUT_OF_MEMORY),
    ],
)
def test_a_change_is_worth_it(cpu, memory, running_for, soon, worth, why) -> None:
    decided = decide_worth(Resources(cpu, memory), NEEDS, running_for=running_for, soon_out_of_memory=soon)
    assert (decided.worth, decided.why) == (worth, why)
    assert decided.grows is (cpu < 1000 or memory < 1000)


def test_the_difference_adds_the_shares_of_cpu_and_memory() -> None:
    decided = decide_worth(Resources(2000, 800), NEEDS, running_for=DAY)
    assert decided.difference == pytest.approx(0.5 + 0.25)
