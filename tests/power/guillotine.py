"""A proxy before the practice cluster that lets so many requests pass and then cuts every connection, for good.

What a run that goes through it has done then is what a run killed at that request has done.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import urllib3
import yaml

from tests.cluster.peer import write_kubeconfig
from vmkit.cluster import RetryPolicy, Session
from vmkit.lab import Lab

ONCE = RetryPolicy(attempts=1, first_contact_attempts=1, deadline_seconds=1)


class Guillotine:
    """Falls at request ``fall_at`` (from 1): before it reaches the server, or ``after`` it was carried out."""

    def __init__(self, lab: Lab, folder: Path, *, fall_at: int, after: bool) -> None:
        self.requests: list[str] = []
        self.fallen = False
        self._lab = lab
        self._folder = folder
        self._fall_at = fall_at
        self._after = after
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._pool = urllib3.PoolManager(maxsize=32, retries=False, ca_cert_data=_authority(lab))
        guillotine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def setup(self) -> None:
                super().setup()
                with guillotine._lock:
                    guillotine._open.add(self.connection)

            def finish(self) -> None:
                with guillotine._lock:
                    guillotine._open.discard(self.connection)
                super().finish()

            def forward(self) -> None:
                guillotine._forward(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = forward

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that goes away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._fall()
        self._server.shutdown()
        self._server.server_close()
        self._pool.clear()

    def connect(self, namespace: str) -> Session:
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        path = write_kubeconfig(
            self._folder / "guillotine", url, user={"token": self._lab.token}, namespace=namespace
        )
        return Session.connect(kubeconfig=path, retry=ONCE)

    def _fall(self) -> None:
        with self._lock:
            self.fallen = True
            connections, self._open = list(self._open), set()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else None
        with self._lock:
            self.requests.append(f"{handler.command} {handler.path}")
            last = len(self.requests) == self._fall_at
            gone = self.fallen
        if gone or (last and not self._after):
            self._fall()
            return
        headers = {
            key: value for key, value in handler.headers.items() if key.lower() not in {"host", "connection"}
        }
        with self._pool.request(
            handler.command, self._lab.url + handler.path, body=body, headers=headers, preload_content=False
        ) as answer:
            watching = "watch=true" in handler.path
            if last:
                if not watching:
                    answer.read()
                self._fall()
                return
            # The cluster's own clock, not this machine's: the practice cluster's may stand or run ahead.
            handler.send_response_only(answer.status)
            handler.send_header("Date", answer.headers["Date"])
            handler.send_header("Content-Type", answer.headers.get("content-type", "application/json"))
            if watching:
                handler.send_header("Connection", "close")
                handler.end_headers()
                for chunk in answer.read_chunked() if answer.chunked else iter(lambda: answer.read1(65536), b""):
                    handler.wfile.write(chunk)
                    handler.wfile.flush()
                handler.close_connection = True
                return
            content = answer.read()
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def _authority(lab: Lab) -> str | None:
    cluster = yaml.safe_load(Path(lab.kubeconfig).read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    data = cluster.get("certificate-authority-data")
    return base64.b64decode(data).decode() if data else None


def describe(guillotine: Guillotine) -> str:
    return json.dumps(guillotine.requests, indent=1)
