"""Programs that a proof starts: found, bounded, ended together with whoever started them; and what they use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from vmkit.errors import MissingTool

_END_SECONDS: Final = 10.0


def find_program(name: str, hint: str) -> str:
    """Where a program is.

    Raises:
        MissingTool: it is not installed; the hint says how to.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise MissingTool(f"{name} is not installed", hint=hint)
    return path


@contextmanager
def running(
    command: Sequence[str],
    *,
    output: IO[bytes] | int,
    environment: Mapping[str, str] | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program, and ends it with all its children at the end of the block, whatever ends it.

    It is in a session of its own: a Ctrl-C at the terminal reaches vmkit, which then ends it in order. Where vmkit
    itself is killed, the kernel ends it (setpriv's parent death signal).
    """
    guard = shutil.which("setpriv")
    child = subprocess.Popen(  # noqa: S603 (programs found by name on PATH; the arguments are ours)
        [*([guard, "--pdeathsig", "KILL"] if guard else []), *command],
        stdin=stdin,
        stdout=output if stdout is None else stdout,
        stderr=output,
        env=None if environment is None else dict(environment),
        start_new_session=True,
        pass_fds=pass_fds,
    )
    try:
        yield child
    finally:
        end(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def end(child: subprocess.Popen[bytes]) -> None:
    """Asks a program's whole session to end, and makes it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_END_SECONDS)


def ended(child: subprocess.Popen[bytes], log: Path) -> str:
    """Why nothing can come from a program any more ("it ended with 1: ..."), or "" while it runs."""
    code = child.poll()
    if code is None:
        return ""
    said = last_line(log)
    how = f"it ended with {code}" if code >= 0 else f"it was ended by signal {-code}"
    return f"{how}: {said}" if said else how


def last_line(log: Path, *, most: int = 300) -> str:
    """The last line of text in a log; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    return next((line[:most] for line in reversed(lines) if line), "")


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process and all below it; memory they share counts once where the kernel tells.

    None where it cannot be read.
    """
    total = 0
    for one in _family(pid):
        amount = _resident(one)
        if amount is not None:
            total += amount
    return total or None


def _family(pid: int) -> Iterator[int]:
    waiting, seen = [pid], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one
        with contextlib.suppress(OSError, ValueError):
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(word) for word in (task / "children").read_text().split()]


def _resident(pid: int) -> int | None:
    # Pss shares out what several processes map; not everybody may read it of others' processes.
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
    return None
