"""A small server on loopback that answers as a test tells it to, also badly.

with Peer() as peer:
    peer.script(reply(503), reply(200, {...}))      # one answer a request, the last one for ever
    session = peer.connect()
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from vmkit.cluster import RetryPolicy, Session

QUICK = RetryPolicy(attempts=4, first_contact_attempts=2, deadline_seconds=5, base_seconds=0.001, cap_seconds=0.01)


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What to do about a request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    hang_up: bool = False
    """Close the connection without an answer."""
    cut_at: int | None = None
    """Close it after so many bytes of the body."""
    hold: threading.Event | None = None
    """Do not answer before this is set."""
    stay_open: bool = False
    """Send the body in chunks and keep the stream open until the peer ends."""


Script = Callable[[Seen], Answer]


def reply(status: int = 200, document: Any = None, **more: Any) -> Answer:
    """A JSON answer."""
    body = b"" if document is None else json.dumps(document).encode()
    return Answer(status, body, **more)


def refuse(status: int, reason: str, message: str = "no", *, details: Any = None, **more: Any) -> Answer:
    """A Status answer."""
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message,
                "code": status, "details": details or {}}  # fmt: skip
    return reply(status, document, **more)


def events(*items: tuple[str, Any], **more: Any) -> Answer:
    """A watch stream."""
    lines = [json.dumps({"type": kind, "object": document}) for kind, document in items]
    return Answer(body="".join(f"{line}\n" for line in lines).encode(), **more)


def vm(name: str, version: int = 1, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": metadata, **more}


def listing(*items: Any, token: str = "", version: int = 10) -> Answer:
    metadata = {"resourceVersion": str(version), **({"continue": token} if token else {})}
    return reply(200, {"kind": "VirtualMachineList", "metadata": metadata, "items": list(items)})


class Peer:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._script: Script = lambda _: reply(200, {"items": []})
        self._over = threading.Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                seen = Seen(
                    self.command,
                    self.path,
                    {key.lower(): value for key, value in self.headers.items()},
                    json.loads(body) if body else None,
                )
                peer.seen.append(seen)
                peer._send(self, peer._script(seen))

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """A client that goes away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, *answers: Answer | Script) -> None:
        """Answers in this order; the last one again and again."""
        rest = list(answers)
        lock = threading.Lock()

        def pick(seen: Seen) -> Answer:
            with lock:
                answer = rest.pop(0) if len(rest) > 1 else rest[0]
            return answer(seen) if callable(answer) else answer

        self._script = pick

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.hold is not None:
            answer.hold.wait(60)
        if answer.hang_up:
            self._hang_up(handler)
            return
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.content_type)
        for key, value in answer.headers.items():
            handler.send_header(key, value)
        if answer.stay_open:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for line in answer.body.splitlines(keepends=True):
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                handler.wfile.flush()
            self._over.wait(60)
            return
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body if answer.cut_at is None else answer.body[: answer.cut_at])
        handler.wfile.flush()
        if answer.cut_at is not None:
            self._hang_up(handler)

    @staticmethod
    def _hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def kubeconfig(self, folder: Path, *, token: str = "secret-token", namespace: str = "default") -> Path:
        return write_kubeconfig(folder / "config", self.url, user={"token": token}, namespace=namespace)

    def connect(self, folder: Path, **more: Any) -> Session:
        more.setdefault("retry", QUICK)
        return Session.connect(kubeconfig=self.kubeconfig(folder), **more)


def write_kubeconfig(
    path: Path,
    server: str,
    *,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    namespace: str = "default",
    context: str = "practice",
) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
