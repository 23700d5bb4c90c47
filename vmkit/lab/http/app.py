"""The server itself: aiohttp in front of the dispatcher, with faults on demand in between."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from vmkit.lab.faults import Fault, Faults
from vmkit.lab.http.dispatch import CONTROL_PREFIX, Answer, Dispatcher, Streaming, render_error
from vmkit.lab.http.request import Request, parse_query, parse_target
from vmkit.lab.semantics.decoding import MAX_BODY_BYTES, too_large
from vmkit.lab.status import ApiError, internal_error, service_unavailable, too_many_requests

if TYPE_CHECKING:
    from vmkit.lab.http.watch import Watch

_BOOKMARK_SECONDS: Final = 60.0
_SLOW_CHUNK: Final = 512


class Server:
    """Listens on loopback and answers until it is stopped."""

    def __init__(self, dispatcher: Dispatcher, faults: Faults) -> None:
        self._dispatcher = dispatcher
        self._faults = faults
        self._watches: set[Watch] = set()
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Opens the port (0: any free one).

        Raises:
            OSError: the port is taken.
        """
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends watches and closes the port."""
        self._stopping.set()
        for watch in tuple(self._watches):
            watch.stop()
            watch.wake()
        if self._runner is not None:
            transports = [one.transport for one in self._runner.server.connections] if self._runner.server else []
            await self._runner.cleanup()
            for transport in transports:
                # A TLS peer that is gone never answers the farewell.
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(0)  # Lets the loop close the sockets.

    # --- one request -----------------------------------------------------------------------------------

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            method=incoming.method,
            path=incoming.rel_url.raw_path,
            query=parse_query(incoming.rel_url.raw_query_string),
            headers={},
        )
        headers: dict[str, str] = {}
        for name, value in incoming.headers.items():
            key = name.lower()
            separator = "\n" if key == "impersonate-group" else ", "
            headers[key] = f"{headers[key]}{separator}{value}" if key in headers else value
        request.headers = headers
        try:
            request.body = await self._read(incoming)
        except ApiError as error:
            return _plain(render_error(error))
        fault = None
        if self._faults and not request.path.startswith(CONTROL_PREFIX):
            fault = self._faults.pick(parse_target(request))
        if fault is not None:
            refused = await self._before(incoming, fault)
            if refused is not None:
                return refused
        answer = self._dispatcher.answer(request)
        if isinstance(answer, Streaming):
            return await self._stream(incoming, answer, fault)
        # The server's clock is the lab's: clients count ages from it.
        answer.headers.append(("Date", format_datetime(self._dispatcher.clock.now(), usegmt=True)))
        if fault is not None:
            return await self._after(incoming, answer, fault)
        return _plain(answer)

    async def _read(self, incoming: web.BaseRequest) -> bytes:
        if not incoming.can_read_body:
            return b""
        length = incoming.content_length
        if length is not None and length > 2 * MAX_BODY_BYTES:
            raise too_large()
        body = bytearray()
        async for chunk in incoming.content.iter_any():
            body += chunk
            if len(body) > 2 * MAX_BODY_BYTES:
                raise too_large()
        return bytes(body)

    # --- faults ----------------------------------------------------------------------------------------

    async def _before(self, incoming: web.BaseRequest, fault: Fault) -> web.StreamResponse | None:
        if fault.delay_seconds:
            await self._pause(fault.delay_seconds)
        if fault.kind in ("reset-before", "away"):
            _reset(incoming)
            return web.Response(status=503)
        if fault.kind == "throttle":
            return _plain(render_error(too_many_requests(fault.retry_after_seconds)))
        if fault.kind == "webhook-timeout":
            # Only writes go through webhooks.
            name = fault.message or "virtualmachine-validator.kubevirt.io"
            text = f'failed calling webhook "{name}": failed to call webhook: context deadline exceeded'
            return _plain(render_error(internal_error(text)))
        if fault.kind == "error":
            if fault.status == 503:
                error = service_unavailable()
            elif fault.status == 500:
                error = internal_error(fault.message or "etcdserver: request timed out")
            else:
                error = ApiError(fault.status, "", fault.message or "the server is not well")
            return _plain(render_error(error))
        return None

    async def _after(self, incoming: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
        if fault.kind == "reset-after":
            _reset(incoming)
            return web.Response(status=503)
        if fault.kind in ("truncate", "slow"):
            return await self._spoil(incoming, answer, fault)
        return _plain(answer)

    async def _spoil(self, incoming: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=_headers(answer))
        response.content_length = len(answer.body)
        await response.prepare(incoming)
        if fault.kind == "truncate":
            await response.write(answer.body[: len(answer.body) // 2])
            _reset(incoming)
            return response
        chunks = [answer.body[at : at + _SLOW_CHUNK] for at in range(0, len(answer.body), _SLOW_CHUNK)]
        for chunk in chunks:
            await self._pause(fault.slow_seconds / max(1, len(chunks)))
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    # --- watches ---------------------------------------------------------------------------------------

    async def _stream(
        self, incoming: web.BaseRequest, streaming: Streaming, fault: Fault | None
    ) -> web.StreamResponse:
        watch = streaming.watch
        loop = asyncio.get_running_loop()
        deadline = loop.time() + streaming.seconds
        stirred = asyncio.Event()
        watch.wake = stirred.set
        watch.paused = fault is not None and fault.kind == "stale-watch"
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self._watches.add(watch)
        try:
            try:
                watch.start()
            except ApiError as error:
                return _plain(render_error(error))
            await response.prepare(incoming)
            next_bookmark = loop.time() + _BOOKMARK_SECONDS
            limit = fault.after_events if fault is not None and fault.kind == "cut-watch" else None
            while True:
                while watch.pending:
                    if limit is not None and limit <= 0:
                        _reset(incoming)
                        return response
                    if limit is None:
                        batch = b"".join(watch.pending)
                        watch.pending.clear()
                    else:
                        batch = watch.pending.popleft()
                        limit -= 1
                    await response.write(batch)
                now = loop.time()
                if watch.ended or now >= deadline or self._stopping.is_set():
                    break
                if now >= next_bookmark:
                    watch.bookmark()
                    next_bookmark = now + _BOOKMARK_SECONDS
                    continue
                stirred.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stirred.wait(), min(deadline, next_bookmark) - now)
            await response.write_eof()
        except ConnectionError:
            # The client has gone; nothing is left to tell it.
            return response
        finally:
            watch.stop()
            self._watches.discard(watch)
        return response


def _headers(answer: Answer) -> list[tuple[str, str]]:
    headers = list(answer.headers)
    if answer.content_type:
        headers.append(("Content-Type", answer.content_type))
    return headers


def _plain(answer: Answer) -> web.Response:
    from multidict import CIMultiDict

    headers = CIMultiDict(_headers(answer))
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _reset(incoming: web.BaseRequest) -> None:
    """Cuts the connection hard, as a crashed or unreachable server does."""
    transport = incoming.transport
    if transport is not None:
        abort = getattr(transport, "abort", transport.close)
        abort()
