"""The cluster these tests run on: the practice cluster, or the one VMKIT_TEST_KUBECONFIG names.

Everything happens in one namespace made for the run and removed after it; nothing outside is touched.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator

import pytest

from vmkit.cluster import Session
from vmkit.cluster.resources import NAMESPACES

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session in a namespace of its own, which is gone when the tests are over."""
    given = os.environ.get("VMKIT_TEST_KUBECONFIG")
    kubeconfig = given or request.getfixturevalue("lab").kubeconfig
    name = f"vmkit-contract-{secrets.token_hex(4)}"
    with Session.connect(kubeconfig=kubeconfig, namespace=name) as session:
        made = session.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            yield session
        finally:
            session.delete(NAMESPACES, name, uid=made["metadata"]["uid"])
            _wait_until_gone(session, name)


def _wait_until_gone(session: Session, name: str) -> None:
    found = session.find(NAMESPACES, name)
    if found is None:
        return
    with session.watch(
        NAMESPACES,
        field_selector=f"metadata.name={name}",
        resource_version=found["metadata"]["resourceVersion"],
        timeout_seconds=300,
    ) as watch:
        assert any(event.type == "DELETED" for event in watch), f"namespace {name} stays"


@pytest.fixture
def vm_name() -> str:
    """A name no other test of the run uses."""
    return f"vm-{next(_NUMBERS)}"
