"""A shop with VMs that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.idle.running.world import World, world


@pytest.fixture
def shop() -> Iterator[World]:
    with world() as one:
        yield one
