"""The practice cluster as one object: a thread with an event loop that owns all state, and a server on
loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from vmkit.errors import ConfigError, UsageError
from vmkit.lab.clock import Clock
from vmkit.lab.faults import Fault, Faults, parse_fault
from vmkit.lab.kubeconfig import build_kubeconfig, write_private

if TYPE_CHECKING:
    from vmkit.lab.assembly import World
    from vmkit.lab.store import Store

T = TypeVar("T")

RELEASES: Final = ("1.2", "1.5", "1.9")
_START_SECONDS: Final = 30.0


class Lab:
    """A practice cluster.

        with Lab(seed=1, fleet=50) as lab:
            ...  # any client, with lab.kubeconfig

    Args:
        port: where it listens on 127.0.0.1; 0: any free port.
        seed: decides every name, address and measurement.
        speed: virtual seconds a real second.
        frozen: the clock stands until it is advanced.
        clock_start: the first instant (aware); None: now.
        kubevirt: which release it behaves like: "1.2", "1.5" or "1.9".
        kubeconfig: where to write the kubeconfig; None: a temporary file, removed at the end.
        name: names cluster, user and context in the kubeconfig.
        tls: serve HTTPS with a certificate of its own. kubectl sends a token over nothing else.
        token: the lab's own user's; None: a fresh one.
        nodes: how many worker nodes.
        edge: whether one of the nodes is a KubeEdge one.
        fleet: how many VMs it starts with.
        state: a saved state to start from.
        faults: what goes wrong from the beginning.
        run_jobs: Jobs and CronJobs run their containers' commands as local processes.

    Raises:
        UsageError: a setting makes no sense.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 1,
        speed: float = 1.0,
        frozen: bool = False,
        clock_start: datetime | None = None,
        kubevirt: str = "1.9",
        kubeconfig: str | os.PathLike[str] | None = None,
        name: str = "lab",
        tls: bool = True,
        token: str | None = None,
        nodes: int = 4,
        edge: bool = False,
        fleet: int = 0,
        state: str | os.PathLike[str] | None = None,
        faults: Sequence[Fault | Mapping[str, Any]] = (),
        run_jobs: bool = False,
    ) -> None:
        if kubevirt not in RELEASES:
            raise UsageError(f"there is no KubeVirt {kubevirt!r} here", hint="one of " + ", ".join(RELEASES))
        if speed <= 0:
            raise UsageError("the speed of a clock is above zero", hint="use frozen=True to let it stand")
        if clock_start is not None and clock_start.tzinfo is None:
            raise UsageError("clock_start needs a time zone", hint="datetime(..., tzinfo=UTC)")
        if not 0 <= port <= 65535:
            raise UsageError(f"{port} is no port", hint="0 takes any free one")
        if nodes < 1:
            raise UsageError("a cluster has at least one worker node")
        if fleet < 0:
            raise UsageError("a fleet has no negative size")
        self.name = name
        self.token = token or secrets.token_urlsafe(24)
        self.clock = Clock(start=clock_start, speed=speed, frozen=frozen)
        self.faults = Faults(seed)
        for fault in faults:
            self.faults.add(fault if isinstance(fault, Fault) else parse_fault(fault))
        self._seed = seed
        self._asked_port = port
        self._tls = tls
        self._fleet = fleet
        self._state = None if state is None else Path(state)
        self._kubeconfig = None if kubeconfig is None else Path(kubeconfig)
        self._options: dict[str, object] = {
            "kubevirt": kubevirt,
            "nodes": nodes,
            "edge": edge,
            "seed": seed,
            "run_jobs": run_jobs,
        }
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._world: World | None = None
        self._port = 0
        self._authority: bytes | None = None

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts the thread and waits until the server answers.

        Raises:
            UsageError: the port is taken.
            ConfigError: the state cannot be read.
        """
        if self._thread is not None:
            raise UsageError("this lab has been started already", hint="make a new Lab for another run")
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name=f"vmkit-lab-{self.name}", daemon=True
        )
        self._thread.start()
        ready.wait(_START_SECONDS)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        self._write_kubeconfig()
        return self

    def stop(self) -> None:
        """Ends watches, server and thread; harmless when it has ended already."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
            self._thread.join()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the lab has ended (``/vmkit.io/lab/down`` ends it from outside); says whether it has."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # --- using it --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, or https with TLS."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def authority(self) -> str | None:
        """The certificate authority (PEM) to trust, or None where it serves plain HTTP."""
        return None if self._authority is None else self._authority.decode()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def kubeconfig(self) -> str:
        """Path of the kubeconfig."""
        assert self._kubeconfig is not None, "the lab has not been started"
        return str(self._kubeconfig)

    @property
    def world(self) -> World:
        """Everything behind the server; to be touched on the loop thread alone (`call`)."""
        assert self._world is not None, "the lab has not been started"
        return self._world

    @property
    def store(self) -> Store:
        """The objects; to be touched on the loop thread alone (`call`)."""
        return self.world.store

    def call(self, fn: Callable[[], T]) -> T:
        """Runs a function on the loop thread, where all state lives, and returns its value."""
        if threading.current_thread() is self._thread:
            return fn()
        assert self._loop is not None, "the lab has not been started"

        async def run() -> T:
            return fn()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def advance(self, delta: timedelta) -> None:
        """Moves the clock forward, running everything that falls due on the way."""
        self.call(lambda: self.clock.advance(delta))

    def settle(self) -> None:
        """Lets controllers finish what is due now."""
        self.call(self.clock.settle)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the state to a file (it holds the objects' secrets, and is readable by the user alone)."""
        from vmkit.lab.state import dump_state

        write_private(Path(path), self.call(lambda: dump_state(self.world)))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Replaces the state by a saved one.

        Raises:
            ConfigError: the file is no state.
        """
        data = _read(Path(path))
        from vmkit.lab.state import load_state

        self.call(lambda: load_state(self.world, data))

    # --- inside ----------------------------------------------------------------------------------------

    def _write_kubeconfig(self) -> None:
        if self._kubeconfig is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="vmkit-lab-")
            self._kubeconfig = Path(self._scratch.name) / "kubeconfig"
        document = build_kubeconfig(self.name, self.url, self.token, authority=self._authority)
        write_private(self._kubeconfig, document)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._main(ready))
        except BaseException as error:  # noqa: BLE001 - handed to whoever called start()
            self._failure = error
        finally:
            ready.set()

    async def _main(self, ready: threading.Event) -> None:
        from vmkit.lab.assembly import build_world
        from vmkit.lab.control import Control
        from vmkit.lab.http.app import Server
        from vmkit.lab.http.dispatch import Dispatcher

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._options["run_jobs"]:
            from vmkit.lab.controllers.processes import Home

            self._options["home"] = Home(lambda: self.url, lambda: self._authority, self._post)
        tls = self._certificates() if self._tls else None
        world = build_world(self.clock, seed=self._seed, token=self.token, options=self._options)
        self._world = world
        if self._state is not None:
            from vmkit.lab.state import load_state

            load_state(world, _read(self._state))
        elif self._fleet:
            from vmkit.lab.fleet.load import load_fleet

            load_fleet(world.context, self._fleet, seed=self._seed)
        control = Control(world, self.faults, self._stop.set)
        dispatcher = Dispatcher(
            world.store,
            world.registry,
            self.clock,
            world.tokens,
            address=lambda: f"127.0.0.1:{self._port}",
            control=control.answer,
        )
        server = Server(dispatcher, self.faults)
        try:
            await server.start("127.0.0.1", self._asked_port, tls)
        except OSError as error:
            raise UsageError(
                f"cannot listen on port {self._asked_port}: {error.strerror or error}",
                hint="choose another port, or 0 for any free one",
            ) from error
        self._port = server.port
        self._options["server"] = self.url
        self.clock.on_error = lambda error: world.context.failures.append(f"{type(error).__name__}: {error}")
        world.start()
        self.clock.settle()
        self.clock.attach(self._loop)
        ready.set()
        try:
            await self._stop.wait()
        finally:
            self.clock.detach()
            world.stop()
            await server.stop()

    def _post(self, fn: Callable[[], object]) -> None:
        """Has the loop thread run a function soon; where the lab has ended meanwhile, nobody is left to care."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(fn)

    def _certificates(self) -> ssl.SSLContext:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._authority = authority.cert_pem.bytes()
        self._options["certificate_authority"] = self._authority.decode()
        return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the state: {error.strerror or error}",
            hint="give a file that `save` has written",
            where=str(path),
        ) from error
