"""Which ports services listen on, from configuration: sockets units, known servers, command lines, variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vmkit.migrate.facts import Evidence, Listener, Unit
from vmkit.migrate.inspect.unit_files import parse_unit, split_words
from vmkit.migrate.inspect.units import SEARCH_PATH
from vmkit.migrate.tree.rooted import Tree

_PORT_OPTION: Final = re.compile(
    r"^--?(?:[\w.-]*-)?(?:port|http-port|listen-port|server\.port|server-port)$|^-p$|^--server\.port$"
)
_BIND_OPTION: Final = re.compile(
    r"^--?(?:b|bind|listen|address|addr|http|http-address|listen-address|web\.listen-address|host-port|http-socket|"
    r"http\.addr|server\.address)$"
)
_ADDRESS: Final = re.compile(r"^(?:https?://|tcp://)?(?P<host>\[[0-9a-fA-F:]*\]|[\w.*-]*):(?P<port>[0-9]{1,5})/?$")
_PORT_VARIABLE: Final = re.compile(r"^(?:[A-Z0-9]+_)*(?:PORT|LISTEN_PORT|HTTP_PORT|SERVER_PORT)$")
_ADDRESS_VARIABLE: Final = re.compile(r"^(?:[A-Z0-9]+_)*(?:BIND|LISTEN|ADDR|ADDRESS|BIND_ADDRESS|LISTEN_ADDR)$")
# Variables that name a port of somebody else.
_FOREIGN_VARIABLE: Final = re.compile(
    r"^(?:DB|DATABASE|POSTGRES|PG|MYSQL|REDIS|SMTP|MAIL|MONGO|AMQP|RABBITMQ|"
    r"PROXY|REMOTE|KAFKA|LDAP|MEMCACHED|STATSD|SYSLOG)"
)


@dataclass(frozen=True, slots=True)
class _KnownServer:
    program: str
    services: tuple[str, ...]
    files: tuple[str, ...]
    port: int
    port_pattern: str
    address_pattern: str
    default_address: str = "*"
    http: bool = False


# Where servers say their port, and the port that they take when nothing says one. Patterns have one group.
_SERVERS: Final = (
    _KnownServer(
        "postgres",
        ("postgresql",),
        ("/etc/postgresql", "/var/lib/pgsql"),
        5432,
        r"^\s*port\s*=\s*([0-9]+)",
        r"^\s*listen_addresses\s*=\s*'([^']*)'",
        "localhost",
    ),
    _KnownServer(
        "mysqld",
        ("mysql", "mariadb", "mysqld"),
        ("/etc/mysql", "/etc/my.cnf", "/etc/my.cnf.d"),
        3306,
        r"^\s*port\s*=\s*([0-9]+)",
        r"^\s*bind[-_]address\s*=\s*(\S+)",
    ),
    _KnownServer(
        "redis-server",
        ("redis", "redis-server", "valkey"),
        ("/etc/redis", "/etc/redis.conf"),
        6379,
        r"^port\s+([0-9]+)",
        r"^bind\s+(\S+)",
        "localhost",
    ),
    _KnownServer(
        "mongod",
        ("mongod", "mongodb"),
        ("/etc/mongod.conf", "/etc/mongodb.conf"),
        27017,
        r"^\s*port\s*[:=]\s*([0-9]+)",
        r"^\s*bind_?[iI]p\s*[:=]\s*(\S+)",
        "localhost",
    ),
    _KnownServer(
        "memcached",
        ("memcached",),
        ("/etc/memcached.conf",),
        11211,
        r"^-p\s+([0-9]+)",
        r"^-l\s+(\S+)",
        "localhost",
    ),
    _KnownServer(
        "rabbitmq",
        ("rabbitmq-server",),
        ("/etc/rabbitmq/rabbitmq.conf",),
        5672,
        r"^listeners\.tcp\.\w+\s*=\s*(?:\S*:)?([0-9]+)",
        r"^listeners\.tcp\.\w+\s*=\s*(\S+):[0-9]+",
    ),
    _KnownServer(
        "vsftpd",
        ("vsftpd",),
        ("/etc/vsftpd.conf", "/etc/vsftpd/vsftpd.conf"),
        21,
        r"^listen_port=([0-9]+)",
        r"^listen_address=(\S+)",
    ),
    _KnownServer("bind", ("named", "bind9"), (), 53, "", ""),
    _KnownServer("dovecot", ("dovecot",), (), 143, "", ""),
    _KnownServer("postfix", ("postfix",), (), 25, "", "", "localhost"),
    _KnownServer("exim", ("exim4",), (), 25, "", "", "localhost"),
    _KnownServer("smbd", ("smbd", "smb"), (), 445, "", ""),
    _KnownServer(
        "elasticsearch",
        ("elasticsearch", "opensearch"),
        ("/etc/elasticsearch/elasticsearch.yml",),
        9200,
        r"^http\.port:\s*([0-9]+)",
        r"^network\.host:\s*(\S+)",
        "localhost",
        True,
    ),
    _KnownServer(
        "cassandra",
        ("cassandra",),
        ("/etc/cassandra/cassandra.yaml",),
        9042,
        r"^native_transport_port:\s*([0-9]+)",
        r"^rpc_address:\s*(\S+)",
        "localhost",
    ),
    _KnownServer(
        "tomcat",
        ("tomcat", "tomcat9", "tomcat10"),
        ("/etc/tomcat9/server.xml", "/etc/tomcat10/server.xml", "/etc/tomcat/server.xml"),
        8080,
        r'<Connector\s+port="([0-9]+)"',
        r'<Connector[^>]*\baddress="([^"]+)"',
        "*",
        True,
    ),
    _KnownServer(
        "grafana",
        ("grafana-server",),
        ("/etc/grafana/grafana.ini",),
        3000,
        r"^http_port\s*=\s*([0-9]+)",
        r"^http_addr\s*=\s*(\S+)",
        "*",
        True,
    ),
    _KnownServer("prometheus", ("prometheus",), (), 9090, "", "", "*", True),
)


def inspect_listeners(tree: Tree, units: Sequence[Unit], known: Sequence[Listener]) -> list[Listener]:
    """The listeners of the given services; those of web servers come in as ``known``.

    What a program's own code says is added by `vmkit.migrate.inspect.runtimes`.
    """
    enabled = {unit.name for unit in units}
    found = [one for one in known if one.service in enabled]
    covered = {one.service for one in found}
    for unit in units:
        if unit.name in covered:
            continue
        found += (
            _from_socket(tree, unit) or _from_haproxy(tree, unit) or _from_server(tree, unit) or from_command(unit)
        )
    return found


def _from_socket(tree: Tree, unit: Unit) -> list[Listener]:
    if unit.started_by != "socket":
        return []
    name = f"{unit.name.removesuffix('.service')}.socket"
    for folder in SEARCH_PATH:
        path = f"{folder}/{name}"
        text = tree.read_text(path)
        if text is None:
            continue
        section = parse_unit(text)
        found: list[Listener] = []
        for key, protocol in (("ListenStream", "tcp"), ("ListenDatagram", "udp")):
            for value in section.all("Socket", key):
                evidence = [Evidence(path=path)]
                if value.startswith(("/", "@")):
                    found.append(Listener(protocol="unix", address=value, service=unit.name, evidence=evidence))
                    continue
                match = re.search(r"([0-9]{1,5})$", value)
                if match:
                    address = value[: match.start()].rstrip(":") or "*"
                    found.append(
                        Listener(
                            protocol=protocol,
                            address=address,
                            port=int(match[1]),
                            service=unit.name,
                            evidence=evidence,
                        )
                    )
        return found
    return []


def _from_haproxy(tree: Tree, unit: Unit) -> list[Listener]:
    if unit.name != "haproxy.service":
        return []
    path = "/etc/haproxy/haproxy.cfg"
    found: list[Listener] = []
    for number, line in enumerate(tree.read_lines(path), 1):
        match = re.match(r"\s*bind\s+(\S*):([0-9]{1,5})\b", line)
        if match:
            found.append(
                Listener(
                    protocol="tcp",
                    address=match[1] or "*",
                    port=int(match[2]),
                    service=unit.name,
                    program="haproxy",
                    http=True,
                    evidence=[Evidence(path=path, line=number)],
                )
            )
    return found


def _from_server(tree: Tree, unit: Unit) -> list[Listener]:
    name = re.sub(r"(?:@.*)?\.service$", "", unit.name)
    server = next((one for one in _SERVERS if name in one.services), None)
    if server is None:
        return []
    port, address, evidence = server.port, server.default_address, list(unit.evidence[:1])
    origin = "default"
    for path in _configuration_files(tree, server.files):
        text = tree.read_text(path, limit=2**20) or ""
        line = _search(server.port_pattern, text)
        if line is not None:
            port, origin = int(line[0][:6]), "configuration"
            evidence = [Evidence(path=path, line=line[1])]
        line = _search(server.address_pattern, text)
        if line is not None:
            address, origin = line[0], "configuration"
            evidence = [Evidence(path=path, line=line[1])]
    if not 0 < port < 65536:
        return []
    return [
        Listener(
            protocol="tcp",
            address=address,
            port=port,
            service=unit.name,
            program=server.program,
            origin=origin,
            http=server.http,
            evidence=evidence,
        )
    ]


def _configuration_files(tree: Tree, places: Sequence[str]) -> list[str]:
    found: list[str] = []
    for place in places:
        if tree.is_file(place):
            found.append(place)
        elif tree.is_directory(place):
            for entry in tree.walk(place):
                if entry.path.endswith((".conf", ".cnf")) and tree.is_file(entry.path):
                    found.append(entry.path)
                if len(found) > 200:
                    break
    return sorted(found)


def _search(pattern: str, text: str) -> tuple[str, int] | None:
    if not pattern:
        return None
    match = re.search(pattern, text, re.MULTILINE)
    return (match[1], text.count("\n", 0, match.start(1)) + 1) if match else None


def from_command(unit: Unit) -> list[Listener]:
    """What a command line and its variables say: "--port 8080", "-b 0.0.0.0:8000", PORT=8080."""
    places: list[tuple[str, int, str]] = []
    variables = {one.name: one for one in unit.environment}

    def expand(word: str) -> str:
        def value(match: re.Match[str]) -> str:
            one = variables.get(match[1])
            return one.value or "" if one else ""

        return re.sub(r"\$\{?([A-Z_][A-Z0-9_]*)\}?", value, word)

    for command in unit.commands:
        words = [expand(word) for word in split_words(command)]
        for index, word in enumerate(words[1:], 1):
            option, equals, value = word.partition("=")
            following = value if equals else words[index + 1] if index + 1 < len(words) else ""
            if _PORT_OPTION.match(option) and following.isdigit():
                places.append(("*", int(following[:6]), unit.path))
            elif _BIND_OPTION.match(option):
                places += _parse_address(following, unit.path)
            elif re.match(r"-Dserver\.port=[0-9]+$", word):
                places.append(("*", int(value[:6]), unit.path))
    if not places:
        for one in unit.environment:
            if one.value is None or _FOREIGN_VARIABLE.match(one.name):
                continue
            if _PORT_VARIABLE.match(one.name) and one.value.isdigit():
                places.append(("*", int(one.value[:6]), one.source or unit.path))
            elif _ADDRESS_VARIABLE.match(one.name):
                places += _parse_address(one.value, one.source or unit.path)
    distinct = {(port): (address, path) for address, port, path in reversed(places) if 0 < port < 65536}
    return [
        Listener(
            protocol="tcp",
            address=address,
            port=port,
            service=unit.name,
            http=_speaks_http(unit),
            evidence=[Evidence(path=path)],
        )
        for port, (address, path) in sorted(distinct.items())
    ]


def _parse_address(text: str, path: str) -> list[tuple[str, int, str]]:
    match = _ADDRESS.match(text)
    return [(match["host"] or "*", int(match["port"]), path)] if match else []


_HTTP_PROGRAMS: Final = re.compile(
    r"\b(?:gunicorn|uvicorn|hypercorn|waitress-serve|daphne|puma|unicorn|http\.server|flask)\b"
)


def _speaks_http(unit: Unit) -> bool:
    return any(_HTTP_PROGRAMS.search(command) for command in unit.commands)
