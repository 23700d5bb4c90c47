"""podman with a storage of its own, which is gone afterwards; with settings that work inside of VMs and sandboxes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.migrate.guests import need

SETTINGS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def run(*command: str | Path, timeout: float = 600) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@contextmanager
def own_storage() -> Iterator[None]:
    """Everything that calls podman in the block, in this process and below it, uses a storage of the test's own."""
    need("podman", "podman")
    need("runc", "runc")
    folder = Path(tempfile.mkdtemp(prefix="vmkit-podman-test-"))
    (folder / "containers.conf").write_text(SETTINGS)
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    kept = {name: os.environ.get(name) for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF")}
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
    os.environ["CONTAINERS_STORAGE_CONF"] = str(folder / "storage.conf")
    try:
        yield
    finally:
        # Before 5, podman leaves its storage mounted on itself.
        subprocess.run(["umount", folder / "storage" / "overlay"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
