"""Requests: written down, recorded, or found in a guest's files."""

from __future__ import annotations

import pytest

from tests.migrate.guests import F, facts_of, guest, service, tree_of, unit
from vmkit.errors import ManifestError
from vmkit.migrate.services import build_services
from vmkit.migrate.verify.discover import discover_requests
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.requests import parse_access_log, parse_requests

LOG = """\
192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 5 "-" "curl/8"
192.0.2.1 - alice [23/Nov/2026:10:00:01 +0000] "POST /order HTTP/1.1" 200 5 "-" "curl/8"
192.0.2.1 - - [23/Nov/2026:10:00:02 +0000] "GET /a?b=1 HTTP/1.1" 200 5 "-" "curl/8"
192.0.2.1 - - [23/Nov/2026:10:00:03 +0000] "HEAD /c HTTP/1.1" 200 0 "-" "curl/8"
192.0.2.1 - - [23/Nov/2026:10:00:04 +0000] "\\x16\\x03\\x01" 400 0 "-" "-"
not a line of a log
"""


def test_a_request_file_says_what_is_asked() -> None:
    rows = [
        {"service": "web", "path": "/a?b=c"},
        {"service": "api", "method": "post", "path": "/x", "headers": {"X-Id": 7}, "body": "é"},
        {"service": "api", "method": "PUT", "bodyBase64": "AAE="},
    ]
    assert parse_requests({"requests": rows}, where="f") == [
        Request("web", "GET", "/a?b=c", origin="given"),
        Request("api", "POST", "/x", (("X-Id", "7"),), "é".encode(), "given"),
        Request("api", "PUT", "/", (), b"\0\1", "given"),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("x", "no mapping"), ({}, "names no service"), ({"service": "a", "method": "GET /"}, "no HTTP method"),
        ({"service": "a", "path": "x"}, "is no path"), ({"service": "a", "path": "/a b"}, "is no path"),
        ({"service": "a", "path": "/\r\nX: y"}, "is no path"), ({"service": "a", "path": "//evil"}, "is no path"),
        ({"service": "a", "headers": {"a b": "c"}}, "no name of a header"),
        ({"service": "a", "headers": {"a": "b\r\nc: d"}}, "no text of one line"),
        ({"service": "a", "headers": []}, None), ({"service": "a", "headers": ["x"]}, "no mapping"),
        ({"service": "a", "body": 3}, "no text"), ({"service": "a", "bodyBase64": "?"}, "no base64"),
        ({"service": "a", "body": "", "bodyBase64": ""}, "body and bodyBase64"),
        ({"service": "a", "url": "/"}, "not known: url"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_request_is_refused_with_its_number(row: object, says: str | None) -> None:
    document = {"requests": [{"service": "ok"}, row]}
    if says is None:
        assert len(parse_requests(document, where="f")) == 2
        return
    with pytest.raises(ManifestError, match=says) as caught:
        parse_requests(document, where="requests.yaml")
    assert caught.value.where == "requests.yaml, request 2"


@pytest.mark.parametrize("document", [None, [], {}, {"requests": {}}, {"requests": [], "x": 1}])
def test_a_file_that_holds_no_requests_is_refused(document: object) -> None:
    with pytest.raises(ManifestError):
        parse_requests(document, where="f")


def test_a_log_gives_each_safe_request_once_in_order() -> None:
    found = parse_access_log(LOG.splitlines(), service="web", origin="access.log")
    assert [(one.method, one.path, one.origin) for one in found] == [
        ("GET", "/a?b=1", "access.log"), ("HEAD", "/c", "access.log"),
    ]  # fmt: skip
    assert len(parse_access_log(LOG.splitlines(), service="web", origin="x", most=1)) == 1


NGINX = (
    service("nginx", unit("/usr/sbin/nginx", user=""))
    | {
        "/etc/nginx/nginx.conf": "http { server { listen 80; root /var/www/html; } }",
        "/var/www/html/index.html": "hi",
        "/var/www/html/a b/ü.css": "x",
        "/var/www/html/.htpasswd": "hidden",
        "/var/log/nginx/access.log": LOG,
    }
)  # fmt: skip
APP = service("app", unit("/usr/bin/python3 /srv/app/main.py")) | {
    "/srv/app/main.py": "from wsgiref.simple_server import make_server\n"
    "def app(environ, start_response):\n"
    "    if environ['PATH_INFO'] == '/healthz': pass\n"
    "    open('/etc/hostname'); route = '/items/'; text = '/has blank'\n"
    "    start_response('200 OK', []); return [b'']\n"
    "make_server('0.0.0.0', 8000, app).serve_forever()\n",
    "/srv/app/broken.py": "def (",
}


def discovered(name: str, files: dict[str, object], most: int = 40) -> list[str]:
    [found] = [one for one in build_services(facts_of(files)) if one.name == name]
    return [str(one) for one in discover_requests(tree_of(guest(files)), found, most=most)]


def test_a_site_is_asked_for_what_was_recorded_and_for_its_files_but_not_for_hidden_ones() -> None:
    assert discovered("nginx", NGINX) == [
        "GET /", "GET /a?b=1", "GET /a%20b/%C3%BC.css", "GET /index.html", "GET /vmkit-proof-of-what-is-not-there",
    ]  # fmt: skip


def test_an_application_is_asked_for_the_paths_that_its_code_names() -> None:
    assert discovered("app", APP) == [
        "GET /", "GET /healthz", "GET /items/", "GET /vmkit-proof-of-what-is-not-there",
    ]  # fmt: skip


def test_no_more_is_asked_than_was_said() -> None:
    assert discovered("nginx", NGINX, most=3) == ["GET /", "GET /a?b=1", "GET /vmkit-proof-of-what-is-not-there"]


def test_what_speaks_no_http_is_not_asked() -> None:
    files = service("db", unit("/usr/lib/postgresql/15/bin/postgres")) | {
        "/usr/lib/postgresql/15/bin/postgres": F(b"\x7fELF")
    }
    assert discovered("db", files) == []
