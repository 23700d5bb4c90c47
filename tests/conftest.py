"""What all tests share: one practice cluster a test process, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.browser.chromium import browser  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from vmkit.cluster import Session
    from vmkit.lab import Lab

_NUMBERS = itertools.count(1)
# No test fails for a slow machine. The usual run draws the same examples each time, so that a failure is the
# change's own; `HYPOTHESIS_PROFILE=explore` draws new ones, and many more.
settings.register_profile("usual", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
_KEPT = ("VMKIT_TEST_KUBECONFIG", "VMKIT_REQUIRE_TOOLS", "VMKIT_SCREENSHOTS")
_HOME = tempfile.mkdtemp(prefix="vmkit-tests-")


def pytest_configure() -> None:
    """Nothing of the person who runs the suite is looked at: no kubeconfig, no settings, no home."""
    for name in list(os.environ):
        if name == "KUBECONFIG" or (name.startswith("VMKIT_") and name not in _KEPT):
            del os.environ[name]
    os.environ["HOME"] = _HOME
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every program is installed (continuous integration), a test that is skipped has failed."""
    report = yield
    if report.skipped and os.environ.get("VMKIT_REQUIRE_TOOLS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be missing: {report.longrepr}"
    return report


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
