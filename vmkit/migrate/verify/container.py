"""A workload's container, run by podman as its manifest says: no network, the VM's state as a copy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmkit.errors import EvidenceError, MissingTool
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.verify.artifacts import ContainerPlan
from vmkit.migrate.verify.client import ask_again, ask_all
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.processes import resident_bytes
from vmkit.migrate.verify.proof import Measured, Side
from vmkit.migrate.verify.relay import dialing_into, listens_beyond_loopback
from vmkit.migrate.verify.state import write_state

HINT: Final = "apt install podman"
READY_SECONDS: Final = 120.0
_CALL_SECONDS: Final = 600.0
_MEMORY_BYTES: Final = 2 * 2**30
_PROCESSES: Final = 2048
# Where limits may not be raised and cgroups are of the old kind or mixed (inside of VMs and of other sandboxes),
# podman's defaults fail with one of these, and the settings below work.
_REFUSED: Final = ("setrlimit", "rlimit", "cgroups in hybrid mode", "RLIMIT_")
_MODEST: Final = """[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    """podman, with settings that work on this machine. A context manager: containers and volumes go with it."""

    def __init__(self, *, scratch: Path | None = None) -> None:
        program = shutil.which("podman")
        if program is None:
            raise MissingTool("podman is not installed", hint=HINT)
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="vmkit-podman-", dir=scratch)
        self._environment = dict(os.environ)
        self.name = f"vmkit-proof-{secrets.token_hex(6)}"
        self._images: list[str] = []
        self._volumes: list[str] = []
        self.started = 0.0
        """When the container was started, by time.monotonic; an attempt that was refused does not count."""

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(["rm", "--force", "--time", "0", "--volumes", self.name])
        for volume in self._volumes:
            self._run(["volume", "rm", "--force", volume])
        for image in self._images:
            self._run(["rmi", image])
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        # In a session of its own: a Ctrl-C at the terminal must not end podman in the middle of cleaning up.
        return subprocess.run(  # noqa: S603 (podman from PATH; no argument is read as an option: names are checked)
            [self._program, *arguments],
            capture_output=True, stdin=subprocess.DEVNULL, env=self._environment, check=False,
            timeout=_CALL_SECONDS, start_new_session=True,
        )  # fmt: skip

    def call(self, *arguments: str) -> str:
        """Runs podman, once more with modest settings where this machine refuses its defaults.

        Raises:
            EvidenceError: podman says no; with its last line.
        """
        began = time.monotonic()
        done = self._run(arguments)
        said = done.stderr.decode("utf-8", "replace")
        if (
            done.returncode != 0
            and "CONTAINERS_CONF" not in self._environment
            and any(w in said for w in _REFUSED)
        ):
            self._be_modest()
            self._run(["rm", "--force", "--time", "0", self.name])
            began = time.monotonic()
            done = self._run(arguments)
            said = done.stderr.decode("utf-8", "replace")
        if arguments[0] == "run":
            self.started = began
        if done.returncode != 0:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            raise EvidenceError(f"podman {arguments[0]}: {lines[-1][:400] if lines else 'it gave no reason'}")
        return done.stdout.decode("utf-8", "replace").strip()

    def _be_modest(self) -> None:
        import resource

        def limit(which: int, most: int) -> int:
            hard = resource.getrlimit(which)[1]
            return most if hard == resource.RLIM_INFINITY else min(most, hard)

        text = _MODEST.format(
            files=limit(resource.RLIMIT_NOFILE, 20000), processes=limit(resource.RLIMIT_NPROC, 10000)
        )
        if shutil.which("runc") or shutil.which("runc", path="/usr/sbin:/sbin"):
            text = text.replace("[engine]\n", '[engine]\nruntime = "runc"\n')
        settings = self.folder / "containers.conf"
        settings.write_text(text, encoding="utf-8")
        self._environment["CONTAINERS_CONF"] = str(settings)

    def find_image(self, plan: ContainerPlan, folder: Path) -> str:
        """The image: out of the artifacts' OCI layout, else out of podman's storage; never pulled from anywhere.

        Raises:
            EvidenceError: it is in neither.
        """
        if plan.layout is not None:
            known = self.call("image", "ls", "--quiet", "--no-trunc").split()
            found = self.call("pull", "--quiet", f"oci:{plan.layout}").splitlines()[-1].strip()
            if found not in {one.removeprefix("sha256:") for one in known}:
                self._images.append(found)
            return found
        if plan.image.startswith("-") or self._run(["image", "exists", plan.image]).returncode != 0:
            raise EvidenceError(
                f"its image {plan.image} is not in podman's storage",
                hint=f"podman build -t {plan.image} {folder}",
                where=folder.name,
            )
        return plan.image

    def image_bytes(self, image: str) -> int | None:
        size = self.call("image", "inspect", "--format", "{{.Size}}", image)
        return int(size) if size.isdigit() else None

    def add_volume(self, content: Path | None) -> str:
        """A volume with a tar's content."""
        volume = f"{self.name}-{len(self._volumes)}"
        self._volumes.append(volume)
        self.call("volume", "create", volume)
        if content is not None:
            self.call("volume", "import", volume, str(content))
        return volume

    def run(self, plan: ContainerPlan, image: str, volumes: Mapping[str, str], *, seconds: float) -> int:
        """Starts the container; returns the process id of its first process.

        Raises:
            EvidenceError: it cannot be started, or ended at once.
        """
        variables = self.folder / "variables"
        # A file, not arguments: everybody on this machine may read those. The format knows no line ends.
        rows = [(name, value) for name, value in (*plan.variables, *plan.secrets) if "\n" not in value]
        variables.touch(mode=0o600)
        variables.write_text("".join(f"{name}={value}\n" for name, value in rows), encoding="utf-8")
        self.call(
            "run", *self._options(plan, volumes, variables, seconds), image, *plan.command[1:], *plan.arguments
        )
        state = json.loads(self.call("inspect", "--format", "{{json .State}}", self.name))
        if not state.get("Pid"):
            raise EvidenceError(self.ended() or "the container is gone")
        return int(state["Pid"])

    def _options(
        self, plan: ContainerPlan, volumes: Mapping[str, str], variables: Path, seconds: float
    ) -> list[str]:
        options = [
            "--detach", "--name", self.name, "--network", "none", "--pull", "never", "--log-driver", "k8s-file",
            "--timeout", str(int(seconds)), "--security-opt", "no-new-privileges", "--env-file", str(variables),
        ]  # fmt: skip
        if os.geteuid() == 0 or Path("/sys/fs/cgroup/cgroup.controllers").exists():
            # Without root, limits need cgroups of version 2.
            options += ["--memory", str(plan.memory_bytes or _MEMORY_BYTES), "--pids-limit", str(_PROCESSES)]
        if plan.user:
            options += ["--user", plan.user]
        if plan.working_directory:
            options += ["--workdir", plan.working_directory]
        if plan.command:
            options += ["--entrypoint", json.dumps([plan.command[0]])]
        if plan.low_ports:
            options += ["--sysctl", "net.ipv4.ip_unprivileged_port_start=0"]
        for one in plan.dropped:
            options += ["--cap-drop", one]
        for one in plan.capabilities:
            options += ["--cap-add", one]
        for path, volume in volumes.items():
            options += ["--volume", f"{volume}:{path}"]
        return options

    def ended(self) -> str:
        """Why the container runs no more, with the last line that it wrote; "" while it runs."""
        done = self._run(["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name])
        status, _, code = done.stdout.decode("utf-8", "replace").strip().partition(" ")
        if status in ("running", "created", "initialized"):
            return ""
        logs = self._run(["logs", "--tail", "20", self.name])
        lines = [one.strip() for one in (logs.stdout + logs.stderr).decode("utf-8", "replace").splitlines()]
        said = next((one for one in reversed(lines) if one), "")
        how = f"the container ended with {code}" if status else "the container is gone"
        return f"{how}: {said[:300]}" if said else how


@contextmanager
def _state(podman: Podman, plan: ContainerPlan, tree: Tree | None) -> Iterator[dict[str, str]]:
    """A volume for each of the plan's, filled with what the VM has there."""
    volumes: dict[str, str] = {}
    for index, path in enumerate(plan.volumes):
        content = podman.folder / f"state-{index}.tar"
        if tree is not None and write_state(tree, path, content):
            volumes[path] = podman.add_volume(content)
        else:
            volumes[path] = podman.add_volume(None)
        content.unlink(missing_ok=True)
    yield volumes


def ask_container(
    plan: ContainerPlan,
    folder: Path,
    port: int,
    requests: Sequence[Request],
    *,
    tree: Tree | None = None,
    ready_seconds: float = READY_SECONDS,
    scratch: Path | None = None,
) -> Side:
    """Runs a workload's container and asks it.

    It has no network at all: vmkit opens its connections inside of its namespace. Its volumes are new, filled with
    a copy of the VM's state where the VM's disk is at hand; all of it is gone afterwards.

    Args:
        folder: the workload's artifacts.
        port: what it listens on.
        requests: at least one.
        tree: the VM's files, for its state.

    Raises:
        MissingTool: podman or nsenter is not installed.
    """
    notes: list[str] = []
    empty = [name for name, value in plan.secrets if not value]
    if empty:
        notes.append(f"ran with empty secrets ({', '.join(empty)}): fill in {folder.name}/secret.yaml")
    if plan.volumes and tree is None:
        notes.append(f"ran without the VM's state in {', '.join(plan.volumes)}: --source copies it")
    long = [name for name, value in (*plan.variables, *plan.secrets) if "\n" in value]
    if long:
        notes.append(f"ran without variables of several lines, which podman cannot be given: {', '.join(long)}")
    with ExitStack() as stack:
        podman = stack.enter_context(Podman(scratch=scratch))
        try:
            image = podman.find_image(plan, folder)
            measured = Measured(image_bytes=podman.image_bytes(image), how="podman, without a network")
            volumes = stack.enter_context(_state(podman, plan, tree))
            pid = podman.run(plan, image, volumes, seconds=ready_seconds + 900)
        except EvidenceError as error:
            hint = f"; {error.hint}" if error.hint else ""
            return Side(problem=f"{error.message}{hint}", notes=tuple(notes))
        host = "localhost" if port == 80 else f"localhost:{port}"
        output = stack.enter_context((podman.folder / "relay.log").open("wb"))
        dial = stack.enter_context(dialing_into(pid, port, output=output))
        try:
            side = ask_all(
                dial,
                requests,
                host=host,
                started=podman.started,
                ready_seconds=ready_seconds,
                alive=podman.ended,
            )
            side = ask_again(dial, requests, side, host=host)
        except EvidenceError as error:
            return Side(problem=podman.ended() or error.message, measured=measured, notes=tuple(notes))
        if not side.problem and not listens_beyond_loopback(pid, port):
            side = replace(
                side, problem=f"it listens on loopback only: nobody outside of its pod reaches port {port}"
            )
        memory = resident_bytes(pid)
    return replace(
        side,
        measured=replace(
            measured,
            cold_seconds=side.measured.cold_seconds,
            warm_seconds=side.measured.warm_seconds,
            memory_bytes=memory,
        ),
        notes=tuple(notes),
    )
