"""Where monitoring and the kubelet ask: /metrics, /healthz and /readyz."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from vmkit.errors import ConfigError, UsageError
from vmkit.schedule.controller.metrics import CONTENT_TYPE
from vmkit.schedule.controller.permissions import DEFAULT_PORT, HEALTH_PATH, METRICS_PATH, READY_PATH

_TIMEOUT_SECONDS: Final = 10.0
_PLAIN: Final = "text/plain; charset=utf-8"


def parse_listen(text: str) -> tuple[str, int]:
    """Reads "ADDRESS:PORT", ":PORT" (every address) or "[::1]:PORT".

    Raises:
        UsageError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    number = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not (colon and number) or ("[" in host) != ("]" in host):
        raise UsageError(f"--listen {text!r} names no port", hint=f"such as :{DEFAULT_PORT}")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Server:
    """Answers GET and HEAD, from threads of its own; a context manager.

    Args:
        listen: address (empty for every one) and port (0 for a free one).
        metrics: the text of /metrics.
        unwell: why /healthz says no; empty where it says yes. The kubelet then starts the pod anew.
        unready: likewise for /readyz.

    Raises:
        ConfigError: nobody can listen there.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        *,
        metrics: Callable[[], str],
        unwell: Callable[[], str],
        unready: Callable[[], str],
    ) -> None:
        def answer(path: str) -> tuple[int, str, str]:
            if path == METRICS_PATH:
                return 200, CONTENT_TYPE, metrics()
            if path in (HEALTH_PATH, READY_PATH):
                why = unwell() if path == HEALTH_PATH else unready()
                return (503 if why else 200), _PLAIN, f"{why or 'ok'}\n"
            return 404, _PLAIN, f"{METRICS_PATH}, {HEALTH_PATH} and {READY_PATH} are here\n"

        class Handler(_Handler):
            def find(self, path: str) -> tuple[int, str, str]:
                return answer(path)

        host, port = listen
        try:
            self._server = _Listener((host, port), Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            where = f"{host}:{port}"
            raise ConfigError(f"cannot listen at {where}: {why}", hint="--listen names another port") from error

    @property
    def address(self) -> str:
        """Where it listens, "127.0.0.1:9108"."""
        host, port = self._server.server_address[:2]
        text = str(host)
        return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.1}, name="vmkit-http", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listen: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        # Every address means those of both families, where there are two: pods may have either.
        self.both = not listen[0] and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if self.both or ":" in listen[0] else socket.AF_INET
        super().__init__(listen, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: that asks the name service for the host's full name.
        _bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def _bind(server: _Listener) -> None:
    """Binds the socket, and no more."""
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if server.both:
        server.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.socket.bind(server.server_address)
    server.server_address = server.socket.getsockname()
    server.server_name, server.server_port = str(server.server_address[0]), int(server.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_SECONDS
    server_version = "vmkit"
    sys_version = ""

    def find(self, path: str) -> tuple[int, str, str]:
        raise AssertionError(path)  # Every server brings its own.

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def _reply(self, *, with_body: bool) -> None:
        status, kind, text = self.find(self.path.partition("?")[0])
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: probes come every few seconds."""
