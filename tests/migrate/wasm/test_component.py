"""A real component out of a WSGI application: built in a sandbox, and fit for a host of wasi:http 0.2."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

from vmkit.errors import EvidenceError
from vmkit.migrate.wasm.component import build_component

SHOP = """
import os
GREETING = os.environ["GREETING"]
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [GREETING.encode()]
"""


def write(folder: Path, **modules: str) -> Path:
    folder.mkdir()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_component_fits_every_host_of_wasi_http(tmp_path: Path) -> None:
    made = build_component(
        write(tmp_path / "app", shop=SHOP), tmp_path / "out" / "shop.wasm", entry_point="shop:app",
        environment={"GREETING": "hello"},
    )  # fmt: skip
    assert made.path.read_bytes()[:4] == b"\0asm"
    assert made.size_bytes == made.path.stat().st_size < 40 * 2**20
    engine = Engine()
    component = Component.from_file(engine, str(made.path))
    assert "wasi:http/incoming-handler@0.2.0" in component.type.exports(engine)
    assert all(name.startswith("wasi:") and "@0.2." in name for name in component.type.imports(engine))
    linker = Linker(engine)
    linker.add_wasip2()
    linker.add_wasi_http()
    # The types of everything it imports are compared with the host's own.
    store = Store(engine)
    store.set_wasi(WasiConfig())
    store.set_wasi_http()
    linker.instantiate(store, component)


@pytest.mark.parametrize(
    ("source", "entry", "why"),
    [
        (
            "import os\nassert 'HOME' not in os.environ\napp = open('/etc/passwd').read()",
            "shop:app",
            "No such file or directory: '/etc/passwd'",
        ),
        ("x = 1", "shop:app(); import os", "the application object is not known"),
    ],
)
def test_what_cannot_become_a_component_says_why(source: str, entry: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError) as raised:
        build_component(write(tmp_path / "app", shop=source), tmp_path / "x.wasm", entry_point=entry)
    assert why in raised.value.message
    assert not (tmp_path / "x.wasm").exists()


def test_an_application_that_never_comes_back_is_stopped(tmp_path: Path) -> None:
    folder = write(tmp_path / "app", shop="while True: pass")
    with pytest.raises(EvidenceError, match="took longer than 3 s"):
        build_component(folder, tmp_path / "x.wasm", entry_point="shop:app", timeout_seconds=3)
