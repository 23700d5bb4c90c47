"""A real Prometheus on loopback, with a history that a test writes.

    with PrometheusServer(text) as server:
        client = PrometheusClient(server.url)

The history is OpenMetrics text with a time on every sample. promtool turns it into blocks; with one block for all
of it that takes a second for a million samples.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType

import pytest

_START_SECONDS = 120.0
_LONGEST_BLOCK = "1024h"


def require_prometheus() -> None:
    """Skips a test where Debian's package ``prometheus`` is not installed; continuous integration has it."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not on PATH: install the package prometheus")


class PrometheusServer:
    """Debian's Prometheus over a history.

    Args:
        history: OpenMetrics text, in pieces; with ``# EOF`` at the end.
        arguments: more of Prometheus's own, such as ``--query.max-samples=100000``.
        rules: a file of recording rules, as text.
        config: more of ``prometheus.yml``, as text.
    """

    def __init__(
        self,
        history: Iterable[str] = ("# EOF\n",),
        *,
        arguments: Iterable[str] = (),
        rules: str = "",
        config: str = "",
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="vmkit-prometheus-"))
        self._log = (self._directory / "log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._write_blocks(history)
            self._write_settings(rules, config)
            self._arguments = list(arguments)
            self._start()
        except BaseException:
            self.close()
            raise

    def _write_blocks(self, history: Iterable[str]) -> None:
        text = self._directory / "history"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(history)
        if text.stat().st_size <= len("# EOF\n"):
            (self._directory / "data").mkdir()
            return
        done = subprocess.run(
            [
                "promtool",
                "tsdb",
                "create-blocks-from",
                "openmetrics",
                "--quiet",
                f"--max-block-duration={_LONGEST_BLOCK}",
                str(text),
                str(self._directory / "data"),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        text.unlink()

    def _write_settings(self, rules: str, config: str) -> None:
        lines = ["global:", "  evaluation_interval: 1s"]
        if rules:
            (self._directory / "rules.yml").write_text(rules, encoding="utf-8")
            lines += ["rule_files:", f"  - {self._directory / 'rules.yml'}"]
        self._settings = self._directory / "prometheus.yml"
        self._settings.write_text("\n".join([*lines, config, ""]), encoding="utf-8")

    def _start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._settings}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                "--storage.tsdb.retention.time=100y",
                "--storage.tsdb.min-block-duration=2h",
                "--storage.tsdb.max-block-duration=2h",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle",
                *self._arguments,
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, self.log()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as reply:
                if reply.status == 200:
                    return
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """The end of what it has said."""
        return (self._directory / "log").read_text(errors="replace")[-3000:]

    @property
    def process_id(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    def record(self, rules: str, start: datetime, end: datetime) -> None:
        """Lets recording rules have run all that time: promtool evaluates them over the history."""
        file = self._directory / "recorded.yml"
        file.write_text(rules, encoding="utf-8")
        done = subprocess.run(
            [
                "promtool",
                "tsdb",
                "create-blocks-from",
                "rules",
                f"--url={self.url}",
                f"--start={start.timestamp():.0f}",
                f"--end={end.timestamp():.0f}",
                "--eval-interval=300s",
                f"--output-dir={self._directory / 'data'}",
                str(file),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        self._stop()
        self._start()  # blocks are looked for at the start

    def freeze(self) -> None:
        """Lets it accept connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it, and takes its data away."""
        self._stop()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(timeout=60)
            self._process = None

    def __enter__(self) -> PrometheusServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
