"""Python applications by their source: entry point, imports, and what a sandbox without files could not do.

The source is parsed, never imported or run. What a scan cannot see (exec, imports by computed name) is said.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vmkit.migrate.facts import Evidence
from vmkit.migrate.inspect.python_libraries import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_PLACES,
    SKIPPED_FOLDERS,
    library_folders,
    parse_source,
    resolve_libraries,
)
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

MAX_SOURCE_BYTES: Final = 20 * 2**20

_WSGI_FRAMEWORKS: Final = {
    "flask": "Flask",
    "bottle": "Bottle",
    "falcon": "Falcon",
    "django": "Django",
    "pyramid": "Pyramid",
    "werkzeug": "Werkzeug",
    "webob": "WebOb",
    "cherrypy": "CherryPy",
}
_ASGI_FRAMEWORKS: Final = {
    "fastapi": "FastAPI",
    "starlette": "Starlette",
    "quart": "Quart",
    "litestar": "Litestar",
    "sanic": "Sanic",
    "blacksheep": "BlackSheep",
}
_OWN_SERVERS: Final = {"aiohttp": "aiohttp", "tornado": "Tornado", "twisted": "Twisted"}
_WSGI_CALLS: Final = frozenset(
    {"Flask", "Bottle", "default_app", "get_wsgi_application", "make_wsgi_app", "WSGIApplication", "App"}
)
_ASGI_CALLS: Final = frozenset({"FastAPI", "Starlette", "Quart", "Litestar", "get_asgi_application"})
_WRITERS: Final = frozenset(
    {
        "write_text",
        "write_bytes",
        "mkdir",
        "makedirs",
        "unlink",
        "remove",
        "rename",
        "replace",
        "rmtree",
        "copyfile",
        "copytree",
        "touch",
        "symlink_to",
        "NamedTemporaryFile",
        "TemporaryFile",
        "TemporaryDirectory",
        "mkstemp",
        "mkdtemp",
    }
)
_WRITER_MODULES: Final = frozenset({"os", "shutil", "tempfile", "pathlib"})
_PROCESSES: Final = frozenset(
    {
        "Popen",
        "run",
        "call",
        "check_call",
        "check_output",
        "system",
        "fork",
        "spawnv",
        "execv",
        "Thread",
        "Process",
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "create_subprocess_exec",
        "create_subprocess_shell",
        "start_new_thread",
    }
)
_PROCESS_MODULES: Final = frozenset(
    {"subprocess", "os", "threading", "multiprocessing", "concurrent", "asyncio", "_thread"}
)
_LOCAL_DATABASES: Final = frozenset({"sqlite3", "dbm", "shelve", "lmdb", "plyvel"})


@dataclass(slots=True)
class PythonApplication:
    """What the source of one application says."""

    application: str = ""
    callable_name: str = ""
    framework: str = ""
    imports: set[str] = field(default_factory=set)
    local_modules: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)
    native_modules: list[str] = field(default_factory=list)
    file_writes: list[Evidence] = field(default_factory=list)
    dynamic: list[Evidence] = field(default_factory=list)
    threads_or_processes: list[Evidence] = field(default_factory=list)
    ports: list[tuple[str, int, Evidence]] = field(default_factory=list)
    source_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def foreign_imports(self) -> list[str]:
        return sorted(self.imports - self.local_modules)


def scan_application(
    tree: Tree, root: str, *, entry: str = "", program: str = "", variables: dict[str, str] | None = None
) -> PythonApplication:
    """Reads the Python files below ``root``.

    Args:
        entry: the file that is started; its application object and port count.
        program: the interpreter or server that starts it: a virtual environment is found beside it.
        variables: the service's environment, for ports that come from it.
    """
    found = PythonApplication()
    paths = [] if _shares_folder(root) else list(_sources(tree, root, found))
    if _shares_folder(root):
        found.problems.append(f"{root} is no folder of its own: only {entry or 'nothing'} was read")
    for path in dict.fromkeys([entry, *paths] if entry else paths):
        _scan_file(tree, path, found, entry=path == entry or not entry, variables=variables or {})
    if not found.callable_name and entry and not found.application:
        found.application = "script"
    folders = library_folders(tree, root, program, shared=_shares_folder(root))
    libraries = resolve_libraries(tree, folders, found.foreign_imports)
    found.libraries, found.unresolved = libraries.found, libraries.unresolved
    found.native_modules += libraries.native_modules
    found.problems += libraries.problems
    return found


def library_folders_of(tree: Tree, root: str, program: str) -> list[str]:
    """Where an application's libraries were looked for; the arguments are its runtime's root and program."""
    return library_folders(tree, root, program, shared=_shares_folder(root))


def _shares_folder(root: str) -> bool:
    return root in (
        "",
        "/",
        "/usr/bin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/local/sbin",
        "/bin",
        "/opt",
        "/srv",
        "/root",
        "/home",
    )


def _sources(tree: Tree, root: str, found: PythonApplication) -> Iterator[str]:
    count = 0
    for entry in tree.walk(root, enter=lambda path: posixpath.basename(path) not in SKIPPED_FOLDERS):
        name = posixpath.basename(entry.path)
        if entry.kind is not Kind.FILE:
            if entry.kind is Kind.DIRECTORY:
                found.local_modules.add(name)
            continue
        if name.endswith((".so", ".pyd")) and len(found.native_modules) < MAX_PLACES:
            found.native_modules.append(entry.path)
        if name.endswith(".py"):
            count += 1
            if count > MAX_FILES or found.source_bytes > MAX_SOURCE_BYTES:
                found.problems.append(
                    f"more than {MAX_FILES} files or {MAX_SOURCE_BYTES} bytes of source: not all was read"
                )
                return
            found.local_modules.add(name.removesuffix(".py"))
            yield entry.path


def _scan_file(tree: Tree, path: str, found: PythonApplication, *, entry: bool, variables: dict[str, str]) -> None:
    raw = tree.read_bytes(path, limit=MAX_FILE_BYTES + 1)
    if raw is None:
        return
    if len(raw) > MAX_FILE_BYTES:
        found.problems.append(f"{path} is longer than {MAX_FILE_BYTES} bytes: not read")
        return
    found.source_bytes += len(raw)
    module = parse_source(raw.decode("utf-8", "replace"))
    if module is None:
        found.problems.append(f"{path} is not understood: Python 2, or damaged")
        return
    scan = _Scan(path, found, variables)
    for node in ast.walk(module):
        scan.visit(node)
    if entry:
        scan.find_application(module)


class _Scan:
    def __init__(self, path: str, found: PythonApplication, variables: dict[str, str]) -> None:
        self._path, self._found, self._variables = path, found, variables

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            self._found.imports.update(one.name.split(".", 1)[0] for one in node.names)
            self._frameworks(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            self._found.imports.add(node.module.split(".", 1)[0])
            self._frameworks([node.module])
        elif isinstance(node, ast.Call):
            self._call(node)

    def _frameworks(self, names: Iterator[str] | list[str]) -> None:
        for name in names:
            top = name.split(".", 1)[0]
            framework = _WSGI_FRAMEWORKS.get(top) or _ASGI_FRAMEWORKS.get(top) or _OWN_SERVERS.get(top)
            if framework and not self._found.framework:
                self._found.framework = framework

    def _place(self, places: list[Evidence], node: ast.expr) -> None:
        if len(places) < MAX_PLACES:
            places.append(Evidence(path=self._path, line=node.lineno))

    def _call(self, node: ast.Call) -> None:
        name, owner = _called(node.func)
        if name in ("exec", "eval", "__import__", "import_module"):
            self._place(self._found.dynamic, node)
        elif _is_file_write(name, owner, node):
            self._place(self._found.file_writes, node)
        elif name in _PROCESSES and (owner in _PROCESS_MODULES or (owner == "" and name[0].isupper())):
            self._place(self._found.threads_or_processes, node)
        self._ports(name, node)

    def _ports(self, name: str, node: ast.Call) -> None:
        values: list[tuple[ast.expr | None, ast.expr]] = []
        if name in ("make_server", "WSGIServer", "HTTPServer", "ThreadingHTTPServer", "TCPServer") and node.args:
            if isinstance(node.args[0], ast.Tuple) and len(node.args[0].elts) == 2:
                values.append((node.args[0].elts[0], node.args[0].elts[1]))
            elif len(node.args) > 1:
                values.append((node.args[0], node.args[1]))
        elif name in ("run", "run_app", "serve", "listen", "run_simple"):
            keywords = {one.arg: one.value for one in node.keywords}
            if "port" in keywords:
                values.append((keywords.get("host"), keywords["port"]))
            elif name == "run_simple" and len(node.args) > 1:
                values.append((node.args[0], node.args[1]))
        for host, port in values:
            number = self._number(port)
            if number is not None and 0 < number < 65536 and len(self._found.ports) < MAX_PLACES:
                address = host.value if isinstance(host, ast.Constant) and isinstance(host.value, str) else "*"
                self._found.ports.append((address or "*", number, Evidence(path=self._path, line=node.lineno)))

    def _number(self, node: ast.expr, depth: int = 0) -> int | None:
        if isinstance(node, ast.Constant):
            text = str(node.value)
            return int(text) if text.isdigit() and len(text) <= 5 else None
        if isinstance(node, ast.Call) and depth < 4:
            name, _ = _called(node.func)
            if name == "int" and node.args:
                return self._number(node.args[0], depth + 1)
            if name in ("get", "getenv") and node.args and isinstance(node.args[0], ast.Constant):
                value = self._variables.get(str(node.args[0].value))
                if value is not None and value.isdigit() and len(value) <= 5:
                    return int(value)
                return self._number(node.args[1], depth + 1) if len(node.args) > 1 else None
        return None

    def find_application(self, module: ast.Module) -> None:
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and len(node.args.args) == 2 and not self._found.callable_name:
                if [one.arg for one in node.args.args][1] == "start_response":
                    self._take("wsgi", node.name)
            elif isinstance(node, ast.AsyncFunctionDef):
                if [one.arg for one in node.args.args] == ["scope", "receive", "send"]:
                    self._take("asgi", node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                name, owner = _called(node.value.func)
                if not isinstance(target, ast.Name):
                    continue
                if name in _ASGI_CALLS:
                    self._take("asgi", target.id)
                elif name in _WSGI_CALLS and (name != "App" or owner == "falcon"):
                    self._take("wsgi", target.id)

    def _take(self, kind: str, name: str) -> None:
        if not self._found.callable_name or name in ("app", "application"):
            self._found.application, self._found.callable_name = kind, name


def _called(function: ast.expr) -> tuple[str, str]:
    """The name that is called and the name before its dot: os.path.join -> ("join", "os")."""
    if isinstance(function, ast.Name):
        return function.id, ""
    if isinstance(function, ast.Attribute):
        owner = function.value
        while isinstance(owner, ast.Attribute):
            owner = owner.value
        return function.attr, owner.id if isinstance(owner, ast.Name) else "?"
    return "", "?"


def _is_file_write(name: str, owner: str, node: ast.Call) -> bool:
    if name == "open":
        return owner in ("dbm", "shelve") or (owner in ("", "io", "gzip", "bz2", "lzma") and _writes(node))
    if name == "connect":
        return owner in _LOCAL_DATABASES
    if name in ("FileHandler", "RotatingFileHandler", "TimedRotatingFileHandler"):
        return True
    # "replace" is a file's in os, and a text's elsewhere.
    return name in _WRITERS and (owner in _WRITER_MODULES or name not in ("remove", "replace", "rename"))


def _writes(node: ast.Call) -> bool:
    mode: ast.expr | None = node.args[1] if len(node.args) > 1 else None
    for keyword in node.keywords:
        if keyword.arg == "mode":
            mode = keyword.value
    if mode is None:
        return False
    # A mode that is computed may be any.
    return not isinstance(mode, ast.Constant) or any(letter in str(mode.value) for letter in "wax+")
