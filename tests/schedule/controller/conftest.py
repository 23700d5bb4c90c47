from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.schedule_run.world import World, world


@pytest.fixture
def shop() -> Iterator[World]:
    with world() as one:
        yield one
