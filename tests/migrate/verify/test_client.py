"""Asking: what is sent, what is kept of the answer, and that nothing is waited for for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.migrate.verify.servers import serving
from vmkit.migrate.verify.client import ask, ask_again, ask_all, dial_loopback
from vmkit.migrate.verify.exchange import Request

OK = {"/": (200, "text/plain", b"hello\n"), "/other": (302, "text/html", b"")}


@contextmanager
def speaking(data: bytes, *, hold: float = 0.0) -> Iterator[int]:
    """A server that says the same to everybody, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(data)
                    ended.wait(hold)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_request_is_sent_as_it_was_written_and_the_answer_kept_whole() -> None:
    with serving(OK) as server:
        found = ask(
            dial_loopback(server.port), Request("w", "POST", "/?a=b", (("X-Id", "7"),), b"body"), host="old:80"
        )
        assert (found.status, found.body, found.problem) == (404, b"nothing here\n", "")
        assert found.header("content-type") == "text/plain"
        [(method, path, headers, body)] = server.asked
    assert (method, path, body) == ("POST", "/?a=b", b"body")
    assert headers == {
        "Host": "old:80", "User-Agent": "vmkit", "Content-Length": "4", "Connection": "close", "X-Id": "7",
    }  # fmt: skip


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with serving(OK) as server:
        assert ask(dial_loopback(server.port), Request("w", path="/other"), host="h").status == 302
        assert len(server.asked) == 1


def test_what_is_no_http_is_a_problem_and_no_crash() -> None:
    with speaking(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert "SSH-2.0" in ask(dial_loopback(port), Request("w"), host="h").problem
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as port:
        assert ask(dial_loopback(port), Request("w"), host="h").problem
    with speaking(b"") as port:
        assert ask(dial_loopback(port), Request("w"), host="h").problem


def test_an_answer_that_never_ends_is_given_up() -> None:
    with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", hold=60) as port:
        started = time.monotonic()
        found = ask(dial_loopback(port), Request("w"), host="h", timeout_seconds=0.3)
        assert found.problem == "none within 0.3 s"
        assert time.monotonic() - started < 30


def test_a_side_that_starts_slowly_is_asked_each_request_once() -> None:
    """What counts its visitors must count the same on every side."""
    refusals = iter(range(3))

    with serving(OK) as server:

        def dial(seconds: float) -> socket.socket:
            if next(refusals, None) is not None:
                raise ConnectionRefusedError(111, "refused")
            return dial_loopback(server.port)(seconds)

        requests = [Request("w"), Request("w", path="/other"), Request("w", "HEAD")]
        side = ask_all(dial, requests, host="h", started=time.monotonic(), ready_seconds=60)
        assert [one.status for one in side.answers] == [200, 302, 200]
        assert [(method, path) for method, path, _, _ in server.asked] == [
            ("GET", "/"),
            ("GET", "/other"),
            ("HEAD", "/"),
        ]
        assert side.measured.cold_seconds is not None
        assert side.measured.cold_seconds > 0.1
        warm = ask_again(dial, requests, side, host="h")
        assert warm.answers == side.answers
        assert {path for _, path, _, _ in server.asked[3:]} == {"/"}


def test_a_side_that_ended_is_not_waited_for() -> None:
    started = time.monotonic()
    side = ask_all(
        dial_loopback(1),
        [Request("w")],
        host="h",
        started=started,
        ready_seconds=600,
        alive=lambda: "it ended with 3",
    )
    assert side.problem == "it ended with 3"
    assert time.monotonic() - started < 60


def test_a_side_that_never_answers_is_given_up_with_what_was_seen_last() -> None:
    side = ask_all(dial_loopback(1), [Request("w")], host="h", started=time.monotonic(), ready_seconds=0.2)
    assert side.problem.startswith("no answer within 0.2 s (")
    assert "refused" in side.problem
