"""What each service runs on: from its command to a language, an entry point and the application's own folder."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from vmkit.migrate.facts import Evidence, Listener, Runtime, StaticSite, Unit
from vmkit.migrate.inspect.javascript_code import inspect_node
from vmkit.migrate.inspect.packages import Ownership
from vmkit.migrate.inspect.python_code import PythonApplication, scan_application
from vmkit.migrate.inspect.system import read_machine
from vmkit.migrate.inspect.unit_files import split_words
from vmkit.migrate.tree.rooted import Tree

_HEAD_BYTES: Final = 4096
_WRAPPERS: Final = frozenset(
    {"env", "nice", "ionice", "setsid", "exec", "authbind", "chrt", "numactl", "stdbuf", "sudo", "nohup"}
)
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh"})
_WSGI_SERVERS: Final = frozenset({"gunicorn", "gunicorn3", "waitress-serve", "mod_wsgi-express", "uwsgi"})
_ASGI_SERVERS: Final = frozenset({"uvicorn", "hypercorn", "daphne"})
_INTERPRETERS: Final = (
    (re.compile(r"^python[0-9.]*$|^pypy[0-9.]*$"), "python"),
    (re.compile(r"^node(?:js)?$"), "node"),
    (re.compile(r"^java$"), "java"),
    (re.compile(r"^ruby[0-9.]*$|^bundle$|^puma$|^unicorn$|^rails$"), "ruby"),
    (re.compile(r"^php[0-9.]*$|^php-fpm[0-9.]*$"), "php"),
    (re.compile(r"^perl[0-9.]*$"), "perl"),
    (re.compile(r"^dotnet$"), "dotnet"),
    (re.compile(r"^(?:npm|yarn|pnpm|npx|pm2(?:-runtime)?)$"), "node"),
    (re.compile(r"^deno$|^bun$"), "node"),
    (re.compile(r"^beam\.smp$|^erl$|^mix$|^elixir$"), "erlang"),
)
_SERVERS: Final = {
    "nginx": "nginx",
    "apache2": "apache",
    "apachectl": "apache",
    "apache2ctl": "apache",
    "httpd": "apache",
    "mysqld": "mysql",
    "mariadbd": "mysql",
    "mysqld_safe": "mysql",
    "postgres": "postgresql",
    "postmaster": "postgresql",
    "pg_ctlcluster": "postgresql",
    "redis-server": "redis",
    "mongod": "mongodb",
    "memcached": "memcached",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "varnishd": "varnish",
    "squid": "squid",
    "rabbitmq-server": "rabbitmq",
    "postgresql": "postgresql",
}
_SERVICE_SERVERS: Final = re.compile(
    r"^(?P<name>postgresql|mysql|mariadb|redis(?:-server)?|mongod|mongodb|rabbitmq-server|elasticsearch|opensearch|cassandra|"
    r"influxdb|couchdb|neo4j|etcd|clickhouse-server|minio|valkey|memcached)(?:@.*|-[0-9.]+)?\.service$"
)


def inspect_runtimes(
    tree: Tree, units: Sequence[Unit], sites: Sequence[StaticSite], ownership: Ownership
) -> tuple[list[Runtime], list[Listener]]:
    """A runtime for each service that is a workload, and the listeners that programs' own code names."""
    runtimes: list[Runtime] = []
    listeners: list[Listener] = []
    for unit in units:
        if unit.role != "workload":
            continue
        runtime, found = _runtime(tree, unit, sites)
        runtimes.append(msgspec.structs.replace(runtime, packages=_packages(tree, unit, runtime, ownership)))
        listeners += found
    return runtimes, listeners


def _packages(tree: Tree, unit: Unit, runtime: Runtime, ownership: Ownership) -> list[str]:
    """The packages that the program, its interpreter, its system libraries and its unit came with."""
    words = _command(unit)
    places = [*words[:1], *(f"/usr/lib/python3/dist-packages/{name}/__init__.py" for name in runtime.libraries)]
    if words and not words[0].startswith("/"):
        places += [f"{folder}/{words[0]}" for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin")]
    if runtime.language == "python":
        places.append("/usr/bin/python3")
        # Distributions split the standard library: what is imported says which parts are needed.
        for folder in (name for name in tree.names("/usr/lib") if name.startswith("python3")):
            for name in runtime.imports:
                places += [f"/usr/lib/{folder}/{name}.py", f"/usr/lib/{folder}/{name}/__init__.py"]
    if runtime.language == "node":
        places.append("/usr/bin/node")
    found = {ownership.package_of(tree.real_path(place) or place) for place in places}
    # A link such as /usr/bin/python3 and what it points to may come from two packages.
    found |= {ownership.package_of(place) for place in places}
    return sorted((found | {unit.package}) - {""})


def _runtime(tree: Tree, unit: Unit, sites: Sequence[StaticSite]) -> tuple[Runtime, list[Listener]]:
    evidence = list(unit.evidence)
    known = _SERVICE_SERVERS.match(unit.name)
    words = _command(unit)
    if known:
        return Runtime(service=unit.name, language="native", program=_family(known["name"]), evidence=evidence), []
    if not words:
        return Runtime(service=unit.name, language="", problems=["no command is known"], evidence=evidence), []
    program = posixpath.basename(words[0])
    if program in _SERVERS:
        static = [site for site in sites if site.service == unit.name]
        application = "static" if static and not any(site.dynamic for site in static) else ""
        root = static[0].root if len(static) == 1 else ""
        return (
            Runtime(
                service=unit.name,
                language="native",
                program=_SERVERS[program],
                application=application,
                root=root,
                evidence=evidence,
            ),
            [],
        )
    if program in _WSGI_SERVERS or program in _ASGI_SERVERS:
        return _python_server(tree, unit, words, program)
    language = _language(program)
    if language == "":
        language, words = _through_shebang(tree, words, unit)
        program = posixpath.basename(words[0])
        if program in _WSGI_SERVERS or program in _ASGI_SERVERS:
            return _python_server(tree, unit, words, program)
    if language == "python":
        return _python(tree, unit, words)
    if language == "node":
        return inspect_node(tree, unit, words)
    if language == "java":
        return Runtime(
            service=unit.name,
            language="java",
            program="java",
            entry_point=_java_entry(words),
            root=_folder(unit, _java_entry(words)),
            evidence=evidence,
        ), []
    if language:
        entry = next((word for word in words[1:] if not word.startswith("-")), words[0])
        return Runtime(
            service=unit.name,
            language=language,
            program=program,
            entry_point=entry,
            root=_folder(unit, entry),
            evidence=evidence,
        ), []
    return _binary(tree, unit, words[0]), []


def _family(name: str) -> str:
    return {
        "mariadb": "mysql",
        "redis-server": "redis",
        "valkey": "redis",
        "mongod": "mongodb",
        "rabbitmq-server": "rabbitmq",
        "opensearch": "elasticsearch",
        "clickhouse-server": "clickhouse",
    }.get(name, name)


def _command(unit: Unit) -> list[str]:
    """The words of what really runs: wrappers and "sh -c" taken off."""
    words = split_words(unit.commands[-1]) if unit.commands else []
    for _ in range(4):
        if not words:
            break
        program = posixpath.basename(words[0])
        if program in _WRAPPERS:
            rest = words[1:]
            while rest and (rest[0].startswith("-") or "=" in rest[0]):
                rest = rest[1:]
            words = rest
        elif program in _SHELLS and len(words) > 2 and words[1] in ("-c", "-lc", "-ec", "-xc"):
            script = re.split(r"&&|;|\|", words[2])[-1]
            words = [word for word in split_words(script) if word != "exec"]
        else:
            break
    return words


def _language(program: str) -> str:
    return next((language for pattern, language in _INTERPRETERS if pattern.match(program)), "")


def _through_shebang(tree: Tree, words: list[str], unit: Unit) -> tuple[str, list[str]]:
    """For a script that is started by name: the language its first line asks for, and the words in full."""
    path = words[0] if words[0].startswith("/") else posixpath.join(unit.working_directory or "/", words[0])
    if posixpath.basename(words[0]) in _SHELLS:
        return "shell", words
    head = tree.read_bytes(path, limit=_HEAD_BYTES) or b""
    if not head.startswith(b"#!"):
        return "", words
    line = split_words(head.split(b"\n", 1)[0][2:].decode("utf-8", "replace").strip())
    if line and posixpath.basename(line[0]) == "env":
        line = [word for word in line[1:] if not word.startswith("-")]
    program = posixpath.basename(line[0]) if line else ""
    if program in _SHELLS:
        return "shell", words
    # "#!/srv/app/venv/bin/python3" in venv/bin/gunicorn: the script is the program.
    name = posixpath.basename(path)
    if _language(program) == "python" and (name in _WSGI_SERVERS or name in _ASGI_SERVERS):
        return "python", words
    return _language(program), [line[0], *words] if line else words


def _folder(unit: Unit, entry: str) -> str:
    if entry.startswith("/"):
        return posixpath.dirname(posixpath.normpath(entry))
    return unit.working_directory


# --- Python --------------------------------------------------------------------------------------------------


def _python(tree: Tree, unit: Unit, words: list[str]) -> tuple[Runtime, list[Listener]]:
    arguments = words[1:]
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("-m", "-c"):
        arguments = arguments[1:]
    if not arguments or arguments[0] == "-c":
        problem = "its Python code stands in the command line"
        return Runtime(
            service=unit.name, language="python", program=words[0], problems=[problem], evidence=unit.evidence
        ), []
    if arguments[0] == "-m":
        module = arguments[1] if len(arguments) > 1 else ""
        if module in _WSGI_SERVERS or module in _ASGI_SERVERS:
            return _python_server(tree, unit, arguments[1:], module)
        entry = _module_path(tree, unit.working_directory or "/", module)
        if not entry:
            problem = f"the module {module} was not found in its working directory"
            return Runtime(
                service=unit.name,
                language="python",
                program=words[0],
                entry_point=module,
                problems=[problem],
                evidence=unit.evidence,
            ), []
    else:
        entry = posixpath.normpath(posixpath.join(unit.working_directory or "/", arguments[0]))
    return _python_runtime(tree, unit, program=words[0], entry=entry, root=_folder(unit, entry))


def _program_path(unit: Unit) -> str:
    words = _command(unit)
    return words[0] if words else ""


def _python_server(tree: Tree, unit: Unit, words: list[str], server: str) -> tuple[Runtime, list[Listener]]:
    folder = unit.working_directory
    for index, word in enumerate(words):
        if word in ("--chdir", "--app-dir", "--pythonpath") and index + 1 < len(words):
            folder = words[index + 1]
        elif word.startswith(("--chdir=", "--app-dir=")):
            folder = word.partition("=")[2]
    target = next(
        (word for word in words[1:] if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(\))?", word)), ""
    )
    module, _, name = target.partition(":")
    entry = _module_path(tree, folder or "/", module) if module else ""
    kind = "asgi" if server in _ASGI_SERVERS or "UvicornWorker" in " ".join(words) else "wsgi"
    if not entry:
        problem = f"the application {target or '(not named on the command line)'} was not found"
        return Runtime(
            service=unit.name,
            language="python",
            program=server,
            entry_point=target,
            application=kind,
            root=folder,
            problems=[problem],
            evidence=unit.evidence,
        ), []
    return _python_runtime(
        tree,
        unit,
        program=server,
        entry=entry,
        root=folder or _folder(unit, entry),
        kind=kind,
        name=name.removesuffix("()"),
    )


def _module_path(tree: Tree, folder: str, module: str) -> str:
    base = posixpath.join(folder, *module.split("."))
    for path in (f"{base}.py", f"{base}/__main__.py", f"{base}/__init__.py"):
        if tree.is_file(path):
            return path
    return ""


def _python_runtime(
    tree: Tree, unit: Unit, *, program: str, entry: str, root: str, kind: str = "", name: str = ""
) -> tuple[Runtime, list[Listener]]:
    variables = {one.name: one.value for one in unit.environment if one.value is not None}
    scan: PythonApplication = scan_application(
        tree, root, entry=entry, program=_program_path(unit), variables=variables
    )
    problems = list(scan.problems)
    if not tree.is_file(entry):
        problems.append(f"{entry} is not there")
    module = posixpath.relpath(entry, root).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    called = name or scan.callable_name
    application = kind or scan.application
    runtime = Runtime(
        service=unit.name,
        language="python",
        program=program,
        entry_point=f"{module}:{called}" if called else entry,
        application=application,
        framework=scan.framework,
        root=root,
        imports=scan.foreign_imports,
        libraries=sorted(scan.libraries),
        unresolved=sorted(scan.unresolved),
        native_modules=scan.native_modules,
        file_writes=scan.file_writes,
        dynamic=scan.dynamic,
        threads_or_processes=scan.threads_or_processes,
        source_bytes=scan.source_bytes,
        problems=problems,
        evidence=[*unit.evidence, Evidence(path=entry)],
    )
    listeners = [
        Listener(
            protocol="tcp",
            address=address,
            port=port,
            service=unit.name,
            program="python",
            http=application in ("wsgi", "asgi"),
            evidence=[place],
        )
        for address, port, place in scan.ports
    ]
    return runtime, listeners


# --- everything else -----------------------------------------------------------------------------------------


def _java_entry(words: list[str]) -> str:
    for index, word in enumerate(words):
        if word == "-jar" and index + 1 < len(words):
            return words[index + 1]
    return next((word for word in words[1:] if not word.startswith("-")), "")


def _binary(tree: Tree, unit: Unit, path: str) -> Runtime:
    head = tree.read_bytes(path, limit=2**20) or b""
    machine = read_machine(head)
    language = "native" if machine else ""
    if machine and b"\xff Go buildinf:" in head:
        language = "go"
    elif machine and b"/rustc/" in head:
        language = "rust"
    problems = [] if machine else [f"{path} is not there" if not head else f"{path} is no program that is known"]
    return Runtime(
        service=unit.name,
        language=language,
        program=posixpath.basename(path),
        entry_point=path,
        root=_folder(unit, path),
        problems=problems,
        evidence=unit.evidence,
    )
