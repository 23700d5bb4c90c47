"""Runs the guest's greeter on a free port of loopback, in place of the VM: python serve_greeter.py PORT_FILE"""

from __future__ import annotations

import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

sys.path.insert(0, str(Path(__file__).parent / "guest"))
from greeter import app


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
    port = Path(sys.argv[1])
    written = port.with_suffix(".new")
    written.write_text(f"{server.server_port}\n", encoding="ascii")
    written.rename(port)
    server.serve_forever()
