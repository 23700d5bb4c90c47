"""Rules for wasm: a strict allow-list. Whatever is not shown to be fine refuses, with its reason.

What Python can and cannot do in a component was tried with componentize-py 0.25: no sockets of its own, no threads,
no processes, no files beyond what the component carries; some modules cannot be imported at all. SpinKube serves
HTTP on one port and gives components no volumes (containerd-shim-spin issue 108).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmkit.migrate.rules.model import Category, Check, Hit, Rule, Scope, Subject, Target, hits
from vmkit.migrate.services import ServiceKind

MAX_SITE_BYTES: Final = 20 * 2**20
MAX_SOURCE_BYTES: Final = 10 * 2**20

# Standard library modules that cannot be imported in a component, or whose every use fails there.
PYTHON_WITHOUT: Final = frozenset(
    {"bz2", "lzma", "ctypes", "ssl", "fcntl", "mmap", "pwd", "grp", "resource", "curses", "tkinter", "readline",
     "termios", "tty", "pty", "syslog", "multiprocessing", "subprocess", "threading", "_thread", "socketserver",
     "signal", "dbm", "shelve", "sqlite3", "concurrent", "spwd", "crypt", "nis", "ossaudiodev", "msvcrt", "winreg"}
)  # fmt: skip
# wsgiref's own server stands behind `if __name__ == "__main__"`: the component brings the server.
_SERVED = frozenset({"wsgi"})
_NODE_FINE: Final = frozenset(
    {"url", "querystring", "path", "util", "events", "assert", "buffer", "string_decoder"}
)


def _job(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    return [] if service.kind is ServiceKind.SERVICE else [Hit(f"it is a {service.kind}")]


def _not_one_http_port(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    if service.kind is not ServiceKind.SERVICE:
        return []
    ports = service.ports
    if len(ports) > 1:
        return hits(
            [(f"it listens on {len(ports)} ports", [place for one in service.listeners for place in one.evidence])]
        )
    if not ports:
        return [Hit("no port is known")]
    return hits(
        (f"port {one.port} is not known to speak HTTP", one.evidence) for one in service.listeners if not one.http
    )


def _application(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    runtime = service.runtime
    if service.kind is not ServiceKind.SERVICE:
        return []
    if runtime is None:
        return [Hit("what it runs is not known")]
    if runtime.application in ("static", "fetch") or (
        runtime.language == "python" and runtime.application in _SERVED
    ):
        return []
    if runtime.application == "asgi":
        return hits([("an ASGI application: not proven to work as a component", runtime.evidence[:1])])
    if service.sites:
        return hits((text, one.evidence) for one in service.sites for text in one.dynamic)
    kind = runtime.program or runtime.language or "an unknown program"
    return hits([(f"{kind} is neither WSGI, nor a static site, nor a fetch handler", runtime.evidence[:1])])


def _entry_point(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    if runtime is None or runtime.application not in ("wsgi", "asgi") or ":" in runtime.entry_point:
        return []
    return hits([("the application object was not found", runtime.evidence[:1])])


def _state(subject: Subject) -> Iterable[Hit]:
    return hits((f"{one.path} ({one.reason})", one.evidence) for one in subject.workload.data)


def _file_writes(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    return hits((str(one), [one]) for one in (runtime.file_writes if runtime else ()))


def _processes(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    return hits((str(one), [one]) for one in (runtime.threads_or_processes if runtime else ()))


def _dynamic(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    return hits((str(one), [one]) for one in (runtime.dynamic if runtime else ()))


def _imports(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    if runtime is None:
        return []
    if runtime.language == "python":
        return [
            Hit(f"import {name}", tuple(runtime.evidence[-1:]))
            for name in runtime.imports
            if name in PYTHON_WITHOUT
        ]
    if runtime.language == "node":
        return [
            Hit(f"import {name}", tuple(runtime.evidence[-1:]))
            for name in runtime.imports
            if name not in _NODE_FINE
        ]
    return []


def _unresolved(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    if runtime is None or runtime.language != "python":
        return []
    return [Hit(f"{name} was not found", tuple(runtime.evidence[-1:])) for name in runtime.unresolved]


def _native(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    return [Hit(path) for path in (runtime.native_modules if runtime else ())]


def _scan_problems(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    if runtime is None or runtime.language not in ("python", "node"):
        return []
    return [Hit(text) for text in runtime.problems]


def _size(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    found = [
        Hit(f"{one.root} holds {one.size_bytes} bytes", tuple(one.evidence))
        for one in service.sites
        if one.size_bytes > MAX_SITE_BYTES
    ]
    if service.runtime is not None and service.runtime.source_bytes > MAX_SOURCE_BYTES:
        found.append(Hit(f"{service.runtime.source_bytes} bytes of source"))
    return found


def _many_sites(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    roots = sorted({one.root for one in service.sites})
    return [Hit(", ".join(roots))] if len(roots) > 1 else []


def _secrets(subject: Subject) -> Iterable[Hit]:
    return hits((one.name, one.evidence) for one in subject.workload.secrets)


def _wasm(name: str, category: Category, weight: int, assessment: str, remedy: str, check: Check) -> Rule:
    return Rule(f"wasm.{name}", Target.WASM, Scope.SERVICE, category, weight, assessment, remedy, check)


_CONTAINER: Final = "make it a container"

RULES: Final = (
    _wasm("not-a-service", Category.BLOCKER, 0, "SpinKube serves requests; what runs at times is no server",
          "make it a CronJob", _job),
    _wasm("one-http-port", Category.BLOCKER, 0, "a component answers HTTP on one port, and nothing else", _CONTAINER,
          _not_one_http_port),
    _wasm("application", Category.BLOCKER, 0, "it is not of the kinds that are known to work as a component", _CONTAINER,
          _application),
    _wasm("entry-point", Category.BLOCKER, 0, "a component needs the application object, not a program that serves it",
          "name the application on the command line (gunicorn module:app)", _entry_point),
    _wasm("local-state", Category.BLOCKER, 0, "it keeps state in files; a component has none that last",
          "move the state to a database or key-value store, or make it a container", _state),
    _wasm("file-writes", Category.BLOCKER, 0, "its code writes files or a local database",
          "move what it writes to a database or key-value store", _file_writes),
    _wasm("processes", Category.BLOCKER, 0, "its code starts threads or processes", _CONTAINER, _processes),
    _wasm("imports", Category.BLOCKER, 0, "its code uses modules that do not exist in a component", _CONTAINER, _imports),
    _wasm("unresolved-imports", Category.BLOCKER, 0, "libraries it imports were not found on the disk",
          "install them beside the application, then inspect again", _unresolved),
    _wasm("native-modules", Category.BLOCKER, 0, "it uses compiled modules; a component has no place for them", _CONTAINER,
          _native),
    _wasm("dynamic-code", Category.BLOCKER, 0, "it runs code that a scan cannot see",
          "read those lines; if they are harmless, override this rule", _dynamic),
    _wasm("incomplete-scan", Category.BLOCKER, 0, "its source could not be read wholly", _CONTAINER, _scan_problems),
    _wasm("size", Category.BLOCKER, 0, "it is too large to be carried in a component",
          "serve the files from an object store", _size),
    _wasm("many-sites", Category.BLOCKER, 0, "it serves several folders", "split it into one service a folder", _many_sites),
    _wasm("secrets", Category.MINOR, 5, "secrets stand in its files", "they become Spin variables from a Secret", _secrets),
)  # fmt: skip
