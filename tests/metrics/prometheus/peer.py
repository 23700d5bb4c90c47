"""A small HTTP server that answers like a Prometheus in trouble."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs


@dataclass
class Asked:
    """One request that came."""

    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass
class Told:
    """What is answered."""

    status: int = 200
    body: bytes = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    headers: Mapping[str, str] = field(default_factory=dict)


class Peer:
    """Answers every POST with what a function says, and remembers what came."""

    def __init__(self, answer: Callable[[Asked], Told]) -> None:
        self.asked: list[Asked] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                form = {key: values[0] for key, values in parse_qs(text).items()}
                asked = Asked(self.path, {key.lower(): value for key, value in self.headers.items()}, form)
                peer.asked.append(asked)
                told = answer(asked)
                with contextlib.suppress(ConnectionError):  # a client that gave up is not there any more
                    self.send_response(told.status)
                    for key, value in {"Content-Type": "application/json", **told.headers}.items():
                        self.send_header(key, value)
                    self.send_header("Content-Length", str(len(told.body)))
                    self.end_headers()
                    self.wfile.write(told.body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)
