"""The command line, run in this process as a shell would run it, in an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.cli.running import Ran, Run
from vmkit.cli.main import cli

if TYPE_CHECKING:
    from vmkit.lab import Lab


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig, no settings and no colours of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("VMKIT_") or name in ("KUBECONFIG", "NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Ran:
        result = CliRunner().invoke(cli, list(arguments), input=stdin, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def vmkit(run: Run, lab: Lab, namespace: str) -> Run:
    """The command line, in the test's own namespace of the practice cluster."""

    def invoke(*arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Ran:
        own = {"VMKIT_KUBECONFIG": lab.kubeconfig, "VMKIT_NAMESPACE": namespace}
        return run(*arguments, stdin=stdin, env=own | (env or {}))

    return invoke
