"""Asks one side: over a connection that somebody opens, bounded in time and size, following nothing."""

from __future__ import annotations

import http.client
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from vmkit.migrate.verify.exchange import SAFE_METHODS, Answer, Request
from vmkit.migrate.verify.proof import Measured, Side

Dial = Callable[[float], socket.socket]
"""Opens a connection to the workload, within so many seconds; raises OSError."""

MAX_BODY_BYTES: Final = 64 * 2**20
ANSWER_SECONDS: Final = 60.0
_TRY_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 0.05
_WARM_ROUNDS: Final = 11


def dial_loopback(port: int) -> Dial:
    """Connections to a port of this machine; no proxy is asked, whatever the environment says."""
    return lambda seconds: socket.create_connection(("127.0.0.1", port), timeout=seconds)


def ask(dial: Dial, request: Request, *, host: str, timeout_seconds: float = ANSWER_SECONDS) -> Answer:
    """Sends one request on a connection of its own and reads the whole answer.

    Args:
        host: the Host header, where the request has none.
    """
    started = time.monotonic()
    connection = http.client.HTTPConnection("workload", timeout=timeout_seconds)
    try:
        connection.sock = dial(timeout_seconds)
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        names = {name.lower() for name, _ in request.headers}
        given = [] if "host" in names else [("Host", host)]
        if "user-agent" not in names:
            given.append(("User-Agent", "vmkit"))
        if (request.body or request.method not in SAFE_METHODS) and "content-length" not in names:
            given.append(("Content-Length", str(len(request.body))))
        for name, value in (*given, ("Connection", "close"), *request.headers):
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        body = bytearray()
        while piece := response.read(2**16):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                return Answer(0, problem=f"its body is larger than {MAX_BODY_BYTES // 2**20} MiB")
            if time.monotonic() - started > timeout_seconds:
                return Answer(0, problem=f"it was not complete after {timeout_seconds:g} s")
        if response.length:
            return Answer(0, problem=f"its body ended {response.length} bytes too early")
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, headers, bytes(body), time.monotonic() - started)
    except TimeoutError:
        return Answer(0, problem=f"none within {timeout_seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Some of these errors have no text.
        return Answer(0, problem=str(error) or type(error).__name__)
    finally:
        connection.close()


def ask_all(
    dial: Dial,
    requests: Sequence[Request],
    *,
    host: str,
    started: float,
    ready_seconds: float,
    alive: Callable[[], str] = lambda: "",
) -> Side:
    """Asks a side that has just been started: the first request until it is answered, then the others in order.

    Nothing but these requests is sent, so that a workload that counts its visitors counts the same on every side.

    Args:
        requests: at least one.
        host: the Host header.
        started: when it was started, by time.monotonic.
        ready_seconds: how long its first answer may take.
        alive: why nothing can come any more ("it ended with 1"), or "".
    """
    end = started + ready_seconds
    while True:
        # Emulated networks accept before their guest does, and then say nothing: no single try may wait for all.
        left = end - time.monotonic()
        first = ask(dial, requests[0], host=host, timeout_seconds=max(1.0, min(_TRY_SECONDS, left)))
        problem = alive()
        if not first.problem or problem or time.monotonic() > end:
            break
        time.sleep(_PAUSE_SECONDS)
    cold = time.monotonic() - started
    if first.problem:
        return Side(problem=problem or f"no answer within {ready_seconds:g} s ({first.problem})")
    answers = [first, *(ask(dial, request, host=host) for request in requests[1:])]
    return Side(tuple(answers), Measured(cold_seconds=cold, warm_seconds=_median(answers[1:] or answers)))


def ask_again(dial: Dial, requests: Sequence[Request], side: Side, *, host: str) -> Side:
    """Asks the first GET some times more, for the time of an answer once everything runs.

    Only for what is thrown away afterwards, and only when nothing is left to compare: asking may change its state.
    """
    again = next((one for one in requests if one.method == "GET" and not one.body), None)
    if again is None or side.problem:
        return side
    median = _median([ask(dial, again, host=host) for _ in range(_WARM_ROUNDS)])
    return side if median is None else replace(side, measured=replace(side.measured, warm_seconds=median))


def _median(answers: Sequence[Answer]) -> float | None:
    times = [one.seconds for one in answers if not one.problem]
    return statistics.median(times) if times else None
