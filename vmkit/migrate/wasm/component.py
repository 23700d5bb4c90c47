"""Builds a component with componentize-py, in a folder and an environment of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError, MissingTool
from vmkit.report.text import escape_text

WORLD: Final = "http-service"
WORLD_WITH_SECRETS: Final = "http-service-with-secrets"
_HERE: Final = Path(__file__).parent
_SHOWN: Final = 12
_RUN: Final = "import sys, componentize_py; sys.argv[0] = 'componentize-py'; sys.exit(componentize_py.script())"


@dataclass(frozen=True, slots=True)
class Component:
    """A built component: where it is and how large."""

    path: Path
    size_bytes: int


def build_component(
    application: Path,
    target: Path,
    *,
    entry_point: str,
    environment: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    timeout_seconds: float = 600.0,
) -> Component:
    """Builds a component for wasi:http 0.2 out of a WSGI application.

    The application is imported while it is built, inside a wasm sandbox: it sees its own modules, the given
    environment, and neither files nor network of this machine.

    Args:
        application: the folder with its modules and the libraries it needs.
        target: the component's file.
        entry_point: "module:callable".
        environment: variables that it has while it is built and while it runs.
        secrets: names of variables that its host gives it (wasi:config/store) when it runs.

    Raises:
        MissingTool: componentize-py is not installed.
        EvidenceError: the application cannot be imported there, or building takes too long.
    """
    module, _, name = entry_point.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise EvidenceError(
            "the application object is not known", hint="it is named as module:callable", where=entry_point
        )
    if find_spec("componentize_py") is None:
        raise MissingTool("componentize-py is not installed", hint="pip install 'vmkit[wasm]'")
    with tempfile.TemporaryDirectory(prefix="vmkit-wasm-") as scratch:
        work = Path(scratch)
        shutil.copytree(
            _HERE / "guest", work / "guest", ignore=shutil.ignore_patterns("__init__.py", "__pycache__")
        )
        (work / "guest" / "vmkit_application.py").write_text(
            f"import {module}\n\napplication = {module}.{name}\n", encoding="utf-8"
        )
        (work / "guest" / "vmkit_settings.py").write_text(
            f"ENVIRONMENT = {dict(environment or {})!r}\nSECRETS = {list(secrets)!r}\n", encoding="utf-8"
        )
        made = work / "component.wasm"
        _componentize(work, application.resolve(), made, WORLD_WITH_SECRETS if secrets else WORLD, timeout_seconds)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target)
    return Component(target, target.stat().st_size)


def _componentize(work: Path, application: Path, made: Path, world: str, timeout_seconds: float) -> None:
    # An empty environment stands in for the one that runs vmkit: componentize-py would take its packages too.
    packages = work / "environment" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (packages / "site-packages").mkdir(parents=True)
    command = [
        sys.executable, "-c", _RUN, "-d", str(_HERE / "wit"), "-w", world, "componentize", "vmkit_main",
        "-p", str(work / "guest"), "-p", str(application), "-o", str(made),
    ]  # fmt: skip
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    kept |= {"VIRTUAL_ENV": str(work / "environment"), "HOME": str(work), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(  # noqa: S603 - a fixed program; paths are arguments of their own
        command,
        cwd=work,
        env={
            **kept,
            "VIRTUAL_ENV": str(work / "environment"),
            "HOME": str(work),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise EvidenceError(
            f"building the component took longer than {timeout_seconds:g} s",
            hint="its modules may wait for something while they are imported",
            where=str(application),
        ) from error
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0 or not made.is_file():
        raise EvidenceError(
            f"no component could be built: {_explain(output.decode('utf-8', 'replace'))}",
            hint="a component has the standard library without threads, processes, sockets and native modules; "
            "make it a container",
            where=str(application),
        )


def _explain(output: str) -> str:
    """The line that says why: the last one that names an exception, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()][-200:]
    named = [line for line in lines if line.split(":", 1)[0].rpartition(".")[2].endswith(("Error", "Exception"))]
    return escape_text((named or lines or ["it said nothing"])[-1])[:500]
