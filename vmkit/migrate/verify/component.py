"""A workload's component, run by wasmtime's Python package in a process of its own: no files, no network."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmkit.errors import MissingTool
from vmkit.migrate.verify.artifacts import ComponentPlan
from vmkit.migrate.verify.client import ask_again, ask_all, dial_loopback
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.processes import ended, last_line, resident_bytes, running
from vmkit.migrate.verify.proof import Measured, Side

HINT: Final = "pip install 'vmkit[wasm]'"
COMPILE_SECONDS: Final = 600.0
READY_SECONDS: Final = 120.0
_HOST: Final = "vmkit.migrate.verify.component_host"


def ask_component(
    plan: ComponentPlan,
    requests: Sequence[Request],
    *,
    port: int = 80,
    ready_seconds: float = READY_SECONDS,
    scratch: Path | None = None,
) -> Side:
    """Runs a component and asks it.

    It is compiled first, which is timed apart: a node does that once, when it pulls the component.

    Args:
        requests: at least one.
        port: what the VM's workload listens on, for the Host header: both sides are asked the same.

    Raises:
        MissingTool: wasmtime's package is not installed.
    """
    if importlib.util.find_spec("wasmtime") is None:
        raise MissingTool("wasmtime is not installed", hint=HINT)
    host = [sys.executable, "-P", "-m", _HOST]
    with tempfile.TemporaryDirectory(prefix="vmkit-component-", dir=scratch) as name:
        folder = Path(name)
        compiled, log = folder / "component.cwasm", folder / "log"
        with log.open("wb") as output:
            begun = time.monotonic()
            with running([*host, "compile", str(plan.wasm.absolute()), str(compiled)], output=output) as compiler:
                try:
                    code = compiler.wait(COMPILE_SECONDS)
                except subprocess.TimeoutExpired:
                    return Side(problem=f"it was not compiled within {COMPILE_SECONDS:g} s")
            if code != 0:
                return Side(
                    problem=f"it cannot be compiled: {last_line(log) or f'the compiler ended with {code}'}"
                )
            note = (
                f"compiled in {time.monotonic() - begun:.1f} s, which a node does once when it pulls the component"
            )
            started = time.monotonic()
            with running(
                [*host, "serve", str(compiled)], output=output, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as child:
                assert child.stdin is not None
                told = {"variables": dict(plan.variables), "configuration": dict(plan.configuration)}
                child.stdin.write(json.dumps(told).encode())
                child.stdin.close()
                listening = _read_port(child, ready_seconds)
                if listening is None:
                    return Side(problem=ended(child, log) or f"it was not loaded within {ready_seconds:g} s")
                dial, at = dial_loopback(listening), "localhost" if port == 80 else f"localhost:{port}"
                side = ask_all(
                    dial,
                    requests,
                    host=at,
                    started=started,
                    ready_seconds=ready_seconds,
                    alive=lambda: ended(child, log),
                )
                side = ask_again(dial, requests, side, host=at)
                memory = resident_bytes(child.pid)
        trapped = [one for one in side.answers if one.status == 500]
        said = last_line(log) if trapped else ""
    measured = Measured(
        cold_seconds=side.measured.cold_seconds,
        warm_seconds=side.measured.warm_seconds,
        image_bytes=plan.wasm.stat().st_size,
        memory_bytes=memory,
        how="wasmtime's Python package, an instance a request, no files, no network",
    )
    return replace(side, measured=measured, notes=(note, *([f"it wrote: {said}"] if said else [])))


def _read_port(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    line = child.stdout.readline().strip() if ready else b""
    if ready and not line:  # it is about to end: its exit code and last words are worth a moment
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
    return int(line) if line.isdigit() else None
