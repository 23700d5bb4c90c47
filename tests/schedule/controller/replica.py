"""Controllers in tests: in a thread of this process, or as a process of its own (``python -m``)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmkit.cluster import Session
from vmkit.schedule.controller.controller import Controller, WatchOptions
from vmkit.schedule.controller.election import LeaseOptions
from vmkit.schedule.controller.lines import Line
from vmkit.schedule.running import Hands, PassOptions
from vmkit.scheduling import PowerHands

ROOT = Path(__file__).parents[3]
BRISK = WatchOptions(heartbeat_seconds=0.1, again_seconds=0.2)
LEASE = LeaseOptions("shop", lease_seconds=4.0, renew_seconds=2.5, retry_seconds=0.3)


def wait_until(condition: Callable[[], Any], what: Callable[[], object] = lambda: "") -> None:
    """Until it holds: for a minute at most, whatever machine this is."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"it did not come to be so: {what()}"
        time.sleep(0.02)


class Replica:
    """A controller in a thread."""

    def __init__(self, session: Session, hands: Hands | None, watch: WatchOptions, **options: Any) -> None:
        self.lines: list[Line] = []
        options.setdefault("namespace", "shop")
        reload = options.pop("reload", None)
        self.controller = Controller(
            session,
            hands or PowerHands(session),
            PassOptions(**options),
            watch,
            reload=reload,
            on_line=self.lines.append,
        )
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.controller.run()
        except BaseException as error:
            self.failure = error

    @property
    def passes(self) -> float:
        return self.controller.metrics.get("passes_total", "ok")

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure

    def codes(self, name: str) -> list[str]:
        """What was said about a VM, in order."""
        return [
            line.outcome.reason.code
            for line in list(self.lines)
            if line.outcome is not None and line.outcome.target.name == name
        ]

    def says(self, name: str, code: str) -> None:
        wait_until(lambda: self.failure or code in self.codes(name), lambda: [str(line) for line in self.lines])
        self._raise()

    def looks(self) -> None:
        """Waits for a pass that begins from now on."""
        before = self.passes

        def twice() -> bool:
            self.controller.look_now()
            return self.failure is not None or self.passes >= before + 2

        wait_until(twice, lambda: [str(line) for line in self.lines])
        self._raise()

    def stop(self) -> None:
        self.controller.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._raise()


@contextmanager
def replica(
    session: Session, hands: Hands | None = None, watch: WatchOptions = BRISK, **options: Any
) -> Iterator[Replica]:
    one = Replica(session, hands, watch, **options)
    try:
        yield one
    finally:
        one.stop()


class Process:
    """A controller in a process of its own."""

    def __init__(self, kubeconfig: str, folder: Path, name: str) -> None:
        self._log = folder / f"{name}.log"
        self._file = self._log.open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, kubeconfig],
            cwd=ROOT,
            stderr=self._file,
            stdout=self._file,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(60)
        self._file.close()


def main(kubeconfig: str) -> None:
    with Session.connect(kubeconfig=kubeconfig, namespace="shop") as session:
        Controller(
            session,
            PowerHands(session),
            PassOptions(namespace="shop"),
            replace(BRISK, lease=LEASE),
            on_line=lambda line: print(line, flush=True),
        ).run()


if __name__ == "__main__":
    main(sys.argv[1])
