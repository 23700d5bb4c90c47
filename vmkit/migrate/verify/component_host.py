"""The process that runs a component: ``python -m vmkit.migrate.verify.component_host compile|serve FILE ...``.

A process of its own, so that what it takes can be measured and bounded, and so that it can be ended. It serves on
a free port of loopback and writes the port on stdout; what the component is told (`Settings`) comes as JSON on
stdin.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from wasmtime import WasmtimeError

from vmkit.migrate.verify.wasi_http import HttpComponent, Settings, compile_component

_BODY_BYTES: Final = 64 * 2**20
# What belongs to a connection (RFC 9110 7.6.1): the server's own business.
_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade"})


class _Handler(BaseHTTPRequestHandler):
    component: HttpComponent
    protocol_version = "HTTP/1.1"
    timeout = 60

    def version_string(self) -> str:
        return "vmkit"

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _BODY_BYTES:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP]
        try:
            reply = self.component.handle(self.command, self.path, headers, body)
        except WasmtimeError as error:
            # The last line of a trap says what it was; the ones before are its stack.
            print(str(error).strip().splitlines()[-1], file=sys.stderr, flush=True)  # noqa: T201
            self.send_error(500, "the component trapped")
            return
        if reply.log:
            sys.stderr.write(reply.log.decode("utf-8", "backslashreplace"))
            sys.stderr.flush()
        self.send_response_only(reply.status or 500)
        for name, value in reply.headers:
            if name not in _HOP and name != "content-length":
                self.send_header(name, value.decode("latin-1").replace("\r", "").replace("\n", ""))
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Requests are no news."""


def main(arguments: list[str]) -> int:
    """Compiles FILE into TARGET, or serves a compiled FILE until it is ended."""
    match arguments:
        case ["compile", wasm, target]:
            try:
                compile_component(Path(wasm), Path(target))
            except WasmtimeError as error:
                print(str(error).strip().splitlines()[0], file=sys.stderr)  # noqa: T201
                return 1
            return 0
        case ["serve", compiled]:
            settings = Settings(**json.load(sys.stdin))
            try:
                _Handler.component = HttpComponent(Path(compiled), settings)
            except (WasmtimeError, ValueError) as error:
                print(str(error).strip().splitlines()[0], file=sys.stderr)  # noqa: T201
                return 1
            with HTTPServer(("127.0.0.1", 0), _Handler) as server:
                print(server.server_address[1], flush=True)  # noqa: T201
                server.serve_forever()
            return 0
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
