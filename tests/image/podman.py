"""podman with settings that also work inside of sandboxes and VMs."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("podman", "runc", "mmdebstrap")
_SETTINGS: Final = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing_programs() -> list[str]:
    """Which of the programs that build and run images are not installed."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Podman:
    """Calls of podman. `clean` removes the images it is for."""

    def __init__(self, folder: Path) -> None:
        settings = folder / "containers.conf"
        settings.write_text(_SETTINGS)
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        self._environment = {**os.environ, "CONTAINERS_CONF": str(settings), "PATH": path}
        mark = secrets.token_hex(4)
        self.base, self.image = f"localhost/vmkit-test-base:{mark}", f"localhost/vmkit-test:{mark}"

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """One call, whatever comes of it."""
        return subprocess.run(
            ["podman", *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, env=self._environment, check=False,
            timeout=timeout,
        )  # fmt: skip

    def call(self, *arguments: str, timeout: float = 600) -> str:
        """One call that has to succeed; what it writes to stdout."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"podman {arguments[0]}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def clean(self) -> None:
        """Removes its images."""
        for image in (self.image, self.base):
            self.run("rmi", "--force", image)
