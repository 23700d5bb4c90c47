from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import vmkit

# What people may import. A change here is a change of the public interface.
PROMISED = {
    "CreateRequest", "ExitCode", "Lab", "Limit", "Outcome", "Plan", "PowerState", "Result", "RunStrategy",
    "Schedule", "Status", "VmRef", "VmView", "Vmkit", "VmkitError", "__version__", "parse_schedule",
}  # fmt: skip


def test_the_public_names_are_those_promised() -> None:
    assert set(vmkit.__all__) == PROMISED
    assert vmkit.__all__ == sorted(vmkit.__all__)
    assert dir(vmkit) == vmkit.__all__


@pytest.mark.parametrize("name", sorted(PROMISED - {"__version__"}))
def test_every_public_name_resolves_and_says_what_it_is(name: str) -> None:
    value = getattr(vmkit, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = vmkit.Nonsense  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_but_itself() -> None:
    code = "import sys; before = set(sys.modules); import vmkit; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [module for module in loaded if module.startswith("vmkit")] == ["vmkit"]


@pytest.mark.parametrize("method", ["connect", "get", "describe", "start", "stop", "restart", "pause", "unpause",
                                    "live_migrate", "delete", "create", "clone"])  # fmt: skip
def test_every_command_has_its_python_call(method: str) -> None:
    assert inspect.getdoc(getattr(vmkit.Vmkit, method))
