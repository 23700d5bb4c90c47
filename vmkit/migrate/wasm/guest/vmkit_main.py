"""The component's entry: takes a request from its host, asks the application, hands the answer back."""

from __future__ import annotations

import os
import sys
import traceback

import vmkit_settings
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    Method_Other,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
    Scheme_Https,
)

# Modules exist only where they were imported while the component was built: what programs import late comes now.
import encodings.idna  # isort: skip
import encodings.latin_1  # noqa: F401  # isort: skip

os.environ.update(vmkit_settings.ENVIRONMENT)
from vmkit_application import application  # isort: skip
from vmkit_wsgi import build_environ, call_application  # isort: skip

_READ_BYTES = 65536
_WRITE_BYTES = 4096  # the most that blocking-write-and-flush takes at once


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        os.environ.update(vmkit_settings.ENVIRONMENT)
        os.environ.update(_read_secrets())
        try:
            status, headers, parts = call_application(application, _environ(request))
            fields = Fields.from_list([(name, value.encode("latin-1")) for name, value in headers])
        except Exception:  # noqa: BLE001 - as every WSGI server does
            traceback.print_exc(file=sys.stderr)
            status, parts = 500, [b"Internal Server Error\n"]
            fields = Fields.from_list([("content-type", b"text/plain")])
        response = OutgoingResponse(fields)
        response.set_status_code(status)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            for part in parts:
                for start in range(0, len(part), _WRITE_BYTES):
                    stream.blocking_write_and_flush(part[start : start + _WRITE_BYTES])
        OutgoingBody.finish(body, None)


def _environ(request: IncomingRequest) -> dict[str, object]:
    method = request.method()
    name = method.value if isinstance(method, Method_Other) else type(method).__name__.partition("_")[2].upper()
    with request.headers() as headers:
        fields = [(key, bytes(value)) for key, value in headers.entries()]
    return build_environ(
        method=name,
        target=request.path_with_query() or "/",
        scheme="https" if isinstance(request.scheme(), Scheme_Https) else "http",
        authority=request.authority() or "",
        headers=fields,
        body=_read_body(request),
    )


def _read_body(request: IncomingRequest) -> bytes:
    parts = []
    with request.consume() as body, body.stream() as stream:
        while True:
            try:
                part = stream.blocking_read(_READ_BYTES)
            except Err:  # its end
                break
            parts.append(part)
    return b"".join(parts)


def _read_secrets() -> dict[str, str]:
    if not vmkit_settings.SECRETS:
        return {}
    from wit_world.imports import store

    # Spin's names of variables are in lower case.
    found = {name: store.get(name.lower()) for name in vmkit_settings.SECRETS}
    return {name: value for name, value in found.items() if value is not None}
