"""What runs inside a component, run outside of one: PEP 3333 to the letter, and a site as a web server serves it."""

from __future__ import annotations

from typing import Any
from wsgiref.validate import validator

import pytest

from vmkit.migrate.wasm.guest.vmkit_static import Site
from vmkit.migrate.wasm.guest.vmkit_wsgi import build_environ, call_application

SITE = Site(
    {"/index.html": b"<p>home", "/docs/index.htm": b"docs", "/css/a.css": b"p{}", "/a b.txt": b"x", "/raw": b"\0"},
    indexes=("index.html", "index.htm"),
    modified={"/index.html": 1_700_000_000},
)


def ask(application: Any, target: str = "/", *, method: str = "GET", body: bytes = b"", **headers: str) -> Any:
    fields = [(name.replace("_", "-"), value.encode()) for name, value in headers.items()]
    environ = build_environ(
        method=method, target=target, scheme="http", authority="shop.example:8080", headers=fields, body=body
    )
    status, found, parts = call_application(application, environ)
    return status, dict(found), b"".join(parts)


def test_the_environment_is_what_the_standard_asks_for() -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ, body=environ["wsgi.input"].read(5))
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")])
        return [b"a", b"", b"b"]

    environ = build_environ(
        method="PUT", target="/caf%C3%A9/x%2Fy?q=1&q=2", scheme="https", authority="[::1]",
        headers=[("Cookie", b"a=1"), ("cookie", b"b=2"), ("X-Tag", b"1"), ("x-tag", b"2"), ("Content-Type", b"text/csv")],
        body=b"hello",
    )  # fmt: skip
    status, headers, parts = call_application(validator(application), environ)
    assert (status, headers, parts) == (
        201,
        [("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")],
        [b"a", b"b"],
    )
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/café/x/y"
    assert (seen["QUERY_STRING"], seen["REQUEST_METHOD"], seen["body"]) == ("q=1&q=2", "PUT", b"hello")
    assert (seen["HTTP_COOKIE"], seen["HTTP_X_TAG"], seen["CONTENT_TYPE"]) == ("a=1; b=2", "1,2", "text/csv")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"], seen["CONTENT_LENGTH"]) == ("[::1]", "443", "5")


def test_an_answer_to_head_has_no_body_and_hop_by_hop_headers_stay_here() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Connection", "close"), ("Content-Length", "4")])
        return [b"body"]

    assert ask(application, method="HEAD") == (200, {"content-length": "4"}, b"")


def test_an_application_that_writes_and_closes() -> None:
    closed = []

    class Result:
        def __iter__(self) -> Any:
            return iter([b"two"])

        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])(b"one ")
        return Result()

    assert ask(application) == (200, {}, b"one two")
    assert closed == [True]


def test_an_application_that_never_starts_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="without calling start_response"):
        ask(lambda environ, start_response: [])


@pytest.mark.parametrize(
    ("target", "status", "kind", "body"),
    [
        ("/", 200, "text/html", b"<p>home"), ("/index.html", 200, "text/html", b"<p>home"),
        ("/docs/", 200, "text/html", b"docs"), ("/css/a.css", 200, "text/css", b"p{}"),
        ("/a%20b.txt", 200, "text/plain", b"x"), ("/raw", 200, "application/octet-stream", b"\0"),
        ("/css/../index.html?x", 200, "text/html", b"<p>home"), ("//css//a.css", 200, "text/css", b"p{}"),
        ("/css/", 403, "text/plain", b"403 Forbidden\n"), ("/nothing", 404, "text/plain", b"404 Not Found\n"),
        ("/../etc/passwd", 400, "text/plain", b"400 Bad Request\n"), ("/index.html/", 404, "text/plain", b"404 Not Found\n"),
    ],
)  # fmt: skip
def test_a_site_answers_as_a_web_server_does(target: str, status: int, kind: str, body: bytes) -> None:
    found, headers, content = ask(validator(SITE), target)
    assert (found, headers["content-type"], content) == (status, kind, body)
    assert headers["content-length"] == str(len(body))


def test_a_folder_without_its_slash_is_sent_on() -> None:
    status, headers, _ = ask(SITE, "/docs")
    assert (status, headers["location"]) == (301, "http://shop.example:8080/docs/")


def test_what_did_not_change_is_not_sent_again() -> None:
    _, headers, _ = ask(SITE)
    assert headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert ask(SITE, If_None_Match=headers["etag"])[::2] == (304, b"")
    assert ask(SITE, If_Modified_Since=headers["last-modified"])[0] == 304
    assert ask(SITE, If_None_Match='"other"', If_Modified_Since=headers["last-modified"])[0] == 200


def test_a_site_is_only_read() -> None:
    assert ask(SITE, method="POST", body=b"x")[:2] == (
        405, {"content-type": "text/plain", "content-length": "16", "allow": "GET, HEAD"},
    )  # fmt: skip
    assert ask(SITE, method="HEAD")[2] == b""
