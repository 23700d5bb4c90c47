"""Recorded creations over HTTP, most of them refused: each is answered as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.replay import Replay, load_scenario
from vmkit.lab import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(frozen=True, tls=False) as lab:
        yield lab


def test_admission_answers_as_recorded(lab: Lab) -> None:
    run = Replay(lab, load_scenario("admission"))
    run.prepare()
    assert [f"{step['step']}: {line}" for step in run.steps for line in run.play(step)] == []
