"""A host for wasi:http components on wasmtime's Python package: one request, one fresh instance, nothing outside.

wasmtime's package brings no way to make an incoming request, but lets resources and functions be written in
Python. What a component imports is found by looking at its type; the interfaces of wasi:http/proxy 0.2 that make
sense without a file system and a network are answered here, everything else traps with its name. WIT definitions:
https://github.com/WebAssembly/wasi-http (and wasi-io, wasi-clocks, wasi-random, wasi-cli).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import (
    Component,
    ComponentInstanceType,
    FuncType,
    Linker,
    OptionType,
    Record,
    ResourceAny,
    ResourceHost,
    ResourceType,
    ResultType,
    ValType,
    Variant,
    VariantType,
)

HANDLER: Final = "wasi:http/incoming-handler@0.2."
_METHODS: Final = frozenset({"get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"})
# Two names for one resource: wasi:http/types has "headers" and "trailers" as other names of "fields".
_SAME: Final = {"io-error": "error", "headers": "fields", "trailers": "fields"}
_CHUNK: Final = 65536
_MEMORY_BYTES: Final = 2**30
_BODY_BYTES: Final = 64 * 2**20
_TICK_SECONDS: Final = 0.5


class Trap(Exception):
    """Ends the instance: it asked for what a proof does not give."""


@dataclass(slots=True)
class _Err:
    """The error side of a WIT result: a variant's tag, or "" where the error has no value."""

    tag: str = ""


@dataclass(slots=True)
class _Stream:
    data: bytes = b""
    at: int = 0


@dataclass(slots=True)
class _Sink:
    data: bytearray


@dataclass(slots=True)
class _Response:
    headers: list[tuple[str, bytes]]
    status: int = 200


@dataclass(slots=True)
class Reply:
    """What a component answered; ``status`` is 0 where it set no response. ``log`` is what it wrote on stderr."""

    status: int = 0
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    log: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a component is told: its environment, and what wasi:config/store answers (Spin's variables)."""

    variables: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, str] = field(default_factory=dict)


class _Exchange:
    """One request: its resources by number, and the functions that a component may call."""

    def __init__(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes, settings: Settings
    ) -> None:
        self.method, self.path, self.body = method, path, body
        self.headers = [(name.lower(), value.encode("latin-1", "replace")) for name, value in headers]
        self.settings = settings
        self.reply = Reply()
        self._resources: dict[int, Any] = {}
        self._next = 0

    def own(self, kind: str, value: Any = None) -> ResourceHost:
        self._next += 1
        self._resources[self._next] = value
        return ResourceHost.own(self._next, _resource_number(kind))

    def get(self, handle: ResourceHost) -> Any:
        return self._resources[handle.rep]

    def drop(self, number: int) -> None:
        self._resources.pop(number, None)

    # --- wasi:io ---------------------------------------------------------------------------------------------

    def read(self, handle: ResourceHost, length: int) -> bytes | _Err:
        stream = self.get(handle)
        piece = stream.data[stream.at : stream.at + min(length, _CHUNK)]
        stream.at += len(piece)
        return piece or _Err("closed")

    def skip(self, handle: ResourceHost, length: int) -> int | _Err:
        skipped = self.read(handle, length)
        return skipped if isinstance(skipped, _Err) else len(skipped)

    def write(self, handle: ResourceHost, data: bytes) -> None:
        sink = self.get(handle).data
        if len(sink) + len(data) > _BODY_BYTES:
            raise Trap(f"the component answered more than {_BODY_BYTES // 2**20} MiB")
        sink.extend(data)

    # --- wasi:http -------------------------------------------------------------------------------------------

    def request_method(self, _: ResourceHost) -> Variant:
        name = self.method.lower()
        return Variant(name) if name in _METHODS else Variant("other", self.method)

    def authority(self) -> str:
        return next((value.decode("latin-1") for name, value in self.headers if name == "host"), "")

    def fields_from(self, rows: list[tuple[str, bytes]]) -> ResourceHost:
        return self.own("fields", [(name.lower(), bytes(value)) for name, value in rows])

    def new_response(self, fields: ResourceHost) -> ResourceHost:
        return self.own("outgoing-response", _Response(self.get(fields)))

    def append(self, handle: ResourceHost, name: str, value: bytes) -> None:
        self.get(handle).append((name.lower(), bytes(value)))

    def replace(self, handle: ResourceHost, name: str, values: list[bytes]) -> None:
        rows = self.get(handle)
        rows[:] = [row for row in rows if row[0] != name.lower()] + [(name.lower(), bytes(one)) for one in values]

    def set_status(self, handle: ResourceHost, status: int) -> None:
        self.get(handle).status = status

    def set_response(self, _: ResourceHost, result: Any) -> None:
        if isinstance(result, Variant):
            if result.tag == "err":
                self.reply.status = 500
                return
            result = result.payload
        response = self.get(result)
        self.reply.status, self.reply.headers = response.status, response.headers

    def functions(self) -> dict[str, dict[str, Callable[..., Any]]]:
        """Interface (without its version) -> function -> what answers it."""

        def wall_clock() -> Record:
            now, record = time.time_ns(), Record()
            record.seconds, record.nanoseconds = now // 10**9, now % 10**9  # type: ignore[attr-defined]
            return record

        def pollable(*_: Any) -> ResourceHost:
            # Everything here is at hand at once: whatever is waited for is ready.
            return self.own("pollable")

        def random(length: int) -> bytes:
            if length > _CHUNK * 16:
                raise Trap("the component asked for too many random bytes at once")
            return os.urandom(length)

        def number() -> int:
            return int.from_bytes(os.urandom(8), "little")

        def nothing(*_: Any) -> None:
            return None

        def rows(handle: ResourceHost, name: str) -> list[bytes]:
            return [value for key, value in self.get(handle) if key == name.lower()]

        def log() -> ResourceHost:
            return self.own("output-stream", _Sink(self.reply.log))

        return {
            "wasi:clocks/monotonic-clock": {
                "now": time.monotonic_ns, "resolution": lambda: 1, "subscribe-duration": pollable,
                "subscribe-instant": pollable,
            },
            "wasi:clocks/wall-clock": {"now": wall_clock},
            "wasi:random/random": {"get-random-bytes": random, "get-random-u64": number},
            "wasi:random/insecure": {"get-insecure-random-bytes": random, "get-insecure-random-u64": number},
            "wasi:random/insecure-seed": {"insecure-seed": lambda: (number(), number())},
            "wasi:cli/environment": {
                "get-environment": lambda: list(self.settings.variables.items()), "get-arguments": list,
                "initial-cwd": nothing,
            },
            "wasi:cli/stdin": {"get-stdin": lambda: self.own("input-stream", _Stream())},
            "wasi:cli/stdout": {"get-stdout": log},
            "wasi:cli/stderr": {"get-stderr": log},
            "wasi:cli/terminal-stdin": {"get-terminal-stdin": nothing},
            "wasi:cli/terminal-stdout": {"get-terminal-stdout": nothing},
            "wasi:cli/terminal-stderr": {"get-terminal-stderr": nothing},
            "wasi:config/store": {
                "get": self.settings.configuration.get,
                "get-all": lambda: list(self.settings.configuration.items()),
            },
            "wasi:filesystem/preopens": {"get-directories": list},
            "wasi:io/poll": {
                "poll": lambda waiting: list(range(len(waiting))), "[method]pollable.block": nothing,
                "[method]pollable.ready": lambda _: True,
            },
            "wasi:io/streams": {
                "[method]input-stream.read": self.read, "[method]input-stream.blocking-read": self.read,
                "[method]input-stream.skip": self.skip, "[method]input-stream.blocking-skip": self.skip,
                "[method]input-stream.subscribe": pollable, "[method]output-stream.subscribe": pollable,
                "[method]output-stream.check-write": lambda _: _CHUNK,
                "[method]output-stream.write": self.write,
                "[method]output-stream.blocking-write-and-flush": self.write,
                "[method]output-stream.flush": nothing, "[method]output-stream.blocking-flush": nothing,
            },
            "wasi:http/types": {
                "[constructor]fields": lambda: self.own("fields", []),
                "[static]fields.from-list": self.fields_from,
                "[method]fields.entries": lambda handle: list(self.get(handle)),
                "[method]fields.get": rows, "[method]fields.has": lambda handle, name: bool(rows(handle, name)),
                "[method]fields.append": self.append, "[method]fields.set": self.replace,
                "[method]fields.delete": lambda handle, name: self.replace(handle, name, []),
                "[method]fields.clone": lambda handle: self.own("fields", list(self.get(handle))),
                "[method]incoming-request.method": self.request_method,
                "[method]incoming-request.path-with-query": lambda _: self.path,
                "[method]incoming-request.scheme": lambda _: Variant("HTTP"),
                "[method]incoming-request.authority": lambda _: self.authority(),
                "[method]incoming-request.headers": lambda _: self.own("fields", list(self.headers)),
                "[method]incoming-request.consume": lambda _: self.own("incoming-body"),
                "[method]incoming-body.stream": lambda _: self.own("input-stream", _Stream(self.body)),
                "[static]incoming-body.finish": lambda _: self.own("future-trailers"),
                "[method]future-trailers.subscribe": pollable,
                "[constructor]outgoing-response": self.new_response,
                "[method]outgoing-response.status-code": lambda handle: self.get(handle).status,
                "[method]outgoing-response.set-status-code": self.set_status,
                "[method]outgoing-response.headers": lambda handle: self.own("fields", self.get(handle).headers),
                "[method]outgoing-response.body": lambda _: self.own("outgoing-body"),
                "[method]outgoing-body.write": lambda _: self.own("output-stream", _Sink(self.reply.body)),
                "[static]outgoing-body.finish": nothing,
                "[static]response-outparam.set": self.set_response,
            },
        }  # fmt: skip


_NUMBERS: dict[str, int] = {}


def _resource_number(kind: str) -> int:
    kind = _SAME.get(kind, kind)
    return _NUMBERS.setdefault(kind, len(_NUMBERS) + 1)


def compile_component(wasm: Path, target: Path) -> None:
    """Compiles a component for this machine, as a node does once when it pulls it.

    Raises:
        WasmtimeError: it is no component.
    """
    target.write_bytes(Component.from_file(_engine(), str(wasm)).serialize())


def _engine() -> Engine:
    config = Config()
    config.epoch_interruption = True
    return Engine(config)


class HttpComponent:
    """A compiled component that answers requests; each in an instance of its own, as Spin and wasmtime serve do.

    Args:
        compiled: what `compile_component` wrote, on this machine: it is trusted.
        settings: what the component is told.
        seconds: the most that one request may take.

    Raises:
        WasmtimeError: it cannot be loaded.
        ValueError: it does not handle HTTP requests of WASI 0.2.
    """

    def __init__(self, compiled: Path, settings: Settings, *, seconds: float = 60.0) -> None:
        self._engine = _engine()
        self._component = Component.deserialize_file(self._engine, str(compiled))
        self._settings = settings
        self._ticks = max(1, int(seconds / _TICK_SECONDS))
        self._exchange: _Exchange | None = None
        names = [name for name in self._component.type.exports(self._engine) if name.startswith(HANDLER)]
        if not names:
            raise ValueError(f"it exports no {HANDLER}x")
        self._handler = names[0]
        self._linker = Linker(self._engine)
        self._link()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            self._engine.increment_epoch()

    def _link(self) -> None:
        known = _Exchange("GET", "/", (), b"", Settings()).functions()
        for name, extern in self._component.type.imports(self._engine).items():
            if not isinstance(extern.ty, ComponentInstanceType):
                continue
            interface = name.partition("@")[0]
            with self._linker.root() as root, root.add_instance(name) as instance:
                for item, one in extern.ty.exports(self._engine).items():
                    if isinstance(one.ty, ResourceType):
                        instance.add_resource(item, ResourceType.host(_resource_number(item)), self._drop)
                    elif isinstance(one.ty, FuncType):
                        is_known = item in known.get(interface, {})
                        result = one.ty.result
                        instance.add_func(
                            item, self._answer(interface, item, result) if is_known else _refuse(f"{name}#{item}")
                        )

    def _drop(self, _: Any, number: int) -> None:
        if self._exchange is not None:
            self._exchange.drop(number)

    def _answer(self, interface: str, name: str, result: ValType | None) -> Callable[..., Any]:
        def call(store: Any, *arguments: Any) -> Any:
            assert self._exchange is not None
            function = self._functions[interface][name]
            return _lower(function(*(_lift(store, one) for one in arguments)), result)

        return call

    def handle(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Reply:
        """Answers one request.

        Raises:
            WasmtimeError: the component trapped, or took too long or too much memory.
        """
        self._exchange = exchange = _Exchange(method, path, headers, body, self._settings)
        self._functions = exchange.functions()
        store = Store(self._engine)
        store.set_limits(memory_size=_MEMORY_BYTES)
        store.set_epoch_deadline(self._ticks)
        try:
            instance = self._linker.instantiate(store, self._component)
            inside = instance.get_export_index(store, self._handler)
            index = None if inside is None else instance.get_export_index(store, "handle", inside)
            function = None if index is None else instance.get_func(store, index)
            if function is None:
                raise WasmtimeError("it exports no handle function")
            function(store, exchange.own("incoming-request"), exchange.own("response-outparam"))
        finally:
            self._exchange = None
        return exchange.reply


def _refuse(name: str) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise Trap(f"the component called {name}, which a proof does not give it")

    return call


def _lift(store: Any, value: Any) -> Any:
    """Every resource handle in a value in its host form, which also gives borrowed ones back."""
    if isinstance(value, ResourceAny):
        return value.to_host(store)
    if isinstance(value, Variant):
        return Variant(value.tag, _lift(store, value.payload))
    if isinstance(value, tuple):
        return tuple(_lift(store, one) for one in value)
    if isinstance(value, list):
        return [_lift(store, one) for one in value]
    return value


def _lower(value: Any, kind: ValType | None) -> Any:
    """A function's result as wasmtime's package wants it: sides of a variant get a tag only where their Python
    classes do not tell them apart."""
    if not isinstance(kind, ResultType):
        return value
    cases = [("ok", kind.ok), ("err", kind.err)]
    failed = isinstance(value, _Err)
    if failed:
        value = _lower_variant(value.tag, kind.err)
    return Variant("err" if failed else "ok", value) if _needs_tags(cases) else value


def _lower_variant(tag: str, kind: ValType | None) -> Any:
    if isinstance(kind, VariantType) and _needs_tags(kind.cases):
        return Variant(tag)
    return None


def _needs_tags(cases: Iterable[tuple[str, ValType | OptionType | None]]) -> bool:
    seen: set[type] = set()
    for _, kind in cases:
        own: set[type] = set()
        if kind is None:
            own.add(object)
        else:
            kind.add_classes(own)
        if own & seen:
            return True
        seen |= own
    return False
