"""What starts fast has to stay free of what loads slowly."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "kubernetes",
    "aiohttp",
    "urllib3",
    "tenacity",
    "rich",
    "yaml",
    "jinja2",
    "msgspec",
    "vmkit.lab",
    "vmkit.cluster.session",
)
TEMPLATES_NEED = ("yaml", "jinja2", "msgspec")


def _loaded(*arguments: str) -> set[str]:
    code = (
        "import sys\n"
        "from vmkit.cli.main import cli\n"
        f"try: cli({list(arguments)!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("stop", "--help"), ("completion", "bash")])
def test_help_loads_nothing_slow(arguments: tuple[str, ...]) -> None:
    loaded = _loaded(*arguments)
    assert not loaded & set(HEAVY)


def test_help_loads_no_command() -> None:
    loaded = _loaded("--help")
    assert not loaded & {f"vmkit.cli.{name}" for name in ("power", "get", "describe", "create", "template", "lab")}


def test_listing_templates_loads_neither_the_client_nor_the_lab() -> None:
    assert not _loaded("template", "list") & set(HEAVY) - set(TEMPLATES_NEED)
