"""Debian's docker-registry on loopback, with a folder of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from tests.migrate.guests import need

_DEADLINE_SECONDS = 60


@contextmanager
def run_registry(folder: Path, *, password_file: Path | None = None) -> Iterator[str]:
    """Runs a registry until the block ends; gives "127.0.0.1:PORT". It chooses its port itself."""
    program = need("docker-registry", "docker-registry")
    folder.mkdir(parents=True)
    log = folder / "log"
    config = folder / "config.yml"
    auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {password_file}\n" if password_file else ""
    config.write_text(
        "version: 0.1\nlog:\n  level: info\n"
        f"storage:\n  filesystem:\n    rootdirectory: {folder / 'data'}\n"
        f"http:\n  addr: 127.0.0.1:0\n{auth}"
    )
    with log.open("wb") as file:
        process = subprocess.Popen([program, "serve", str(config)], stdout=file, stderr=file)
        try:
            yield f"127.0.0.1:{_port(process, log)}"
        finally:
            process.terminate()
            process.wait(timeout=_DEADLINE_SECONDS)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that it listens on, once it answers there."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    pool = urllib3.PoolManager(retries=False)
    try:
        while time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            found = [line for line in log.read_text().splitlines() if "listening on 127.0.0.1:" in line]
            if found:
                port = int(found[-1].split("listening on 127.0.0.1:")[1].split('"')[0].split()[0].rstrip(","))
                try:
                    if pool.request("GET", f"http://127.0.0.1:{port}/v2/").status in (200, 401):
                        return port
                except urllib3.exceptions.HTTPError:
                    pass
            time.sleep(0.02)
    finally:
        pool.clear()
    raise AssertionError(f"the registry does not answer: {log.read_text()}")
