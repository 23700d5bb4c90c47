"""A component in its host: what it is asked, told and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmkit.migrate.verify.artifacts import ComponentPlan
from vmkit.migrate.verify.component import ask_component
from vmkit.migrate.verify.exchange import Request
from vmkit.migrate.verify.proof import Side

APPLICATION = """
import json, os, sys, time, random

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("it went wrong")
    if path == "/loop":
        while True:
            pass
    if path == "/memory":
        bytes(2**31 - 1)
    if path == "/file":
        try:
            open("/etc/passwd")
            found = "read"
        except OSError:
            found = "no file"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [found.encode()]
    if path == "/large":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return [b"x" * 300_000]
    said = {
        "method": environ["REQUEST_METHOD"], "path": path, "query": environ["QUERY_STRING"],
        "host": environ.get("HTTP_HOST"), "id": environ.get("HTTP_X_ID"), "body": environ["wsgi.input"].read().decode(),
        "greeting": os.environ.get("GREETING"), "secret": os.environ.get("API_TOKEN"), "time": time.time() > 1e9,
        "random": 0 <= random.random() < 1,
    }
    print("asked", path, file=sys.stderr)
    start_response("201 Created", [("Content-Type", "application/json"), ("X-Two", "a"), ("X-Two", "b")])
    return [json.dumps(said).encode()]
"""


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vmkit.migrate.wasm.component import build_component

    folder = tmp_path_factory.mktemp("component")
    (folder / "src").mkdir()
    (folder / "src" / "service.py").write_text(APPLICATION)
    target = folder / "service.wasm"
    build_component(
        folder / "src", target, entry_point="service:app", environment={"GREETING": "hi"}, secrets=["API_TOKEN"]
    )
    return target


@pytest.fixture(scope="module")
def side(component: Path) -> Side:
    requests = [
        Request("s", "POST", "/a%20b?c=d", (("X-Id", "7"),), "é".encode()), Request("s", "HEAD", "/a"),
        Request("s", path="/large"), Request("s", path="/file"), Request("s", path="/fail"), Request("s", path="/memory"),
        Request("s", path="/after"),
    ]  # fmt: skip
    return ask_component(ComponentPlan(component, configuration=(("api_token", "shh"),)), requests, port=8081)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_component_sees_the_whole_request_and_what_it_is_told(side: Side) -> None:
    assert side.problem == ""
    first = side.answers[0]
    assert first.status == 201
    assert first.header("x-two") == "a, b"
    assert json.loads(first.body) == {
        "method": "POST", "path": "/a b", "query": "c=d", "host": "localhost:8081", "id": "7", "body": "é",
        "greeting": "hi", "secret": "shh", "time": True, "random": True,
    }  # fmt: skip


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_bodies_of_any_size_and_of_none_come_back(side: Side) -> None:
    assert (side.answers[1].status, side.answers[1].body) == (201, b"")
    assert len(side.answers[2].body) == 300_000


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_component_has_no_files_and_what_it_breaks_is_its_own(side: Side) -> None:
    assert side.answers[3].body == b"no file"
    assert [one.status for one in side.answers[4:6]] == [500, 500]
    assert side.answers[6].status == 201


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_request_that_never_ends_is_ended(component: Path, tmp_path: Path) -> None:
    from wasmtime import WasmtimeError

    from vmkit.migrate.verify.wasi_http import HttpComponent, Settings, compile_component

    compiled = tmp_path / "c.cwasm"
    compile_component(component, compiled)
    one = HttpComponent(compiled, Settings(), seconds=1)
    with pytest.raises(WasmtimeError, match="interrupt"):
        one.handle("GET", "/loop", (), b"")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be compiled"), (b"no wasm at all", "cannot be compiled"),
        (b"\0asm\x0d\0\1\0", "exports no wasi:http/incoming-handler@0.2"),
    ],
)  # fmt: skip
def test_what_is_no_component_for_http_is_told_in_a_line(content: bytes, says: str, tmp_path: Path) -> None:
    wasm = tmp_path / "a.wasm"
    wasm.write_bytes(content)
    found = ask_component(ComponentPlan(wasm), [Request("s")], scratch=tmp_path)
    assert says in found.problem
    assert "\n" not in found.problem
    assert [one.name for one in tmp_path.iterdir()] == ["a.wasm"]
