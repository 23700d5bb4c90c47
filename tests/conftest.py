"""What all tests share: one practice cluster a test process, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vmkit.cluster import Session
    from vmkit.lab import Lab

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A practice cluster in which a minute takes half a second. Shared: use `namespace`."""
    from vmkit.lab import Lab

    with Lab(speed=120.0, seed=7) as one:
        yield one


@pytest.fixture
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace of the practice cluster that is this test's own, and goes with it."""
    from vmkit.cluster import Session
    from vmkit.cluster.resources import NAMESPACES

    name = f"test-{os.getpid()}-{next(_NUMBERS)}"
    with Session.connect(kubeconfig=lab.kubeconfig) as session:
        session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield name
        session.delete(NAMESPACES, name)


@pytest.fixture
def session(lab: Lab, namespace: str) -> Iterator[Session]:
    """A session with the practice cluster, in the test's namespace."""
    from vmkit.cluster import Session

    with Session.connect(kubeconfig=lab.kubeconfig, namespace=namespace) as one:
        yield one
