"""Web servers' ports and folders of files: nginx and Apache."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from typing import Final

from vmkit.migrate.facts import Evidence, Listener, StaticSite
from vmkit.migrate.inspect.nginx import parse_listen, read_servers
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

_MAX_SITE_FILES: Final = 100_000
_MAX_INCLUDES: Final = 300
_APACHE: Final = (("apache2", "/etc/apache2/apache2.conf"), ("httpd", "/etc/httpd/conf/httpd.conf"))
_APACHE_DYNAMIC: Final = re.compile(
    r"^\s*(?:ProxyPass(?:Match)?|WSGIScriptAlias|ScriptAlias(?:Match)?|FcgidWrapper|SetHandler\s+\"?(?:proxy|application/x-httpd"
    r"|cgi-script)|AddHandler\s+(?:cgi-script|application/x-httpd)|PassengerEnabled\s+on|RewriteRule|AuthType|"
    r"Require\s+(?:valid-user|user|group|ip|host)|SSLRequire|Dav\s+on|Alias(?:Match)?\s)",
    re.IGNORECASE,
)


def inspect_webservers(tree: Tree) -> tuple[list[Listener], list[StaticSite]]:
    """The listeners and sites of nginx and Apache, as configured."""
    listeners: list[Listener] = []
    sites: list[StaticSite] = []
    for server in read_servers(tree):
        evidence = [Evidence(path=server.path, line=server.line)]
        for address, port, tls in server.listens:
            listeners.append(
                Listener(
                    protocol="tcp",
                    address=address,
                    port=port,
                    service="nginx.service",
                    program="nginx",
                    http=not tls,
                    evidence=evidence,
                )
            )
        dynamic = [f"{text} ({path}:{line})" for text, path, line in server.dynamic]
        sites.append(
            _site(
                tree,
                server.root or "/usr/share/nginx/html",
                service="nginx.service",
                names=server.names,
                port=server.listens[0][1],
                dynamic=dynamic,
                evidence=evidence,
            )
        )
    for name, main in _APACHE:
        if tree.is_file(main):
            _read_apache(tree, f"{name}.service", main, listeners, sites)
    return _distinct(listeners), sites


def _distinct(listeners: list[Listener]) -> list[Listener]:
    found: dict[tuple[str, int | None, str], Listener] = {}
    for one in listeners:
        # "[::]:80" beside "80" is one port.
        address = "*" if one.address in ("*", "[::]", "0.0.0.0", "") else one.address  # noqa: S104 (compared only)
        found.setdefault((address, one.port, one.service), one)
    return list(found.values())


def _site(
    tree: Tree,
    root: str,
    *,
    service: str,
    names: list[str],
    port: int,
    dynamic: list[str],
    evidence: list[Evidence],
) -> StaticSite:
    size = files = 0
    for entry in tree.walk(root):
        if entry.kind is Kind.FILE:
            files += 1
            stat = tree.stat_at(entry.location)
            size += stat.size if stat else 0
            if re.search(r"\.(?:php|phtml|cgi|pl|asp|aspx|jsp)$", entry.path) and len(dynamic) < 20:
                dynamic.append(f"{entry.path} is a program, not a file to serve")
        elif entry.kind is Kind.SYMLINK and tree.locate(entry.path) is None:
            dynamic.append(f"{entry.path} is a link that leads nowhere")
        if files >= _MAX_SITE_FILES:
            dynamic.append(f"more than {_MAX_SITE_FILES} files")
            break
    if not tree.is_directory(root):
        dynamic.append(f"its folder {root} is not there")
    return StaticSite(
        service=service,
        root=root,
        server_names=names,
        port=port,
        size_bytes=size,
        files=files,
        dynamic=dynamic[:50],
        evidence=evidence,
    )


# --- Apache --------------------------------------------------------------------------------------------------


def _read_apache(tree: Tree, service: str, main: str, listeners: list[Listener], sites: list[StaticSite]) -> None:
    lines = list(_apache_lines(tree, main, posixpath.dirname(main), [0]))
    root, names, port = "", [], 80
    dynamic: list[str] = []
    place: Evidence | None = None
    found_listen = False
    for path, number, line in lines:
        words = line.split()
        directive = words[0].lower() if words else ""
        value = words[1].strip('"') if len(words) > 1 else ""
        if directive == "listen" and value:
            parsed = parse_listen(value)
            if parsed is not None:
                port = parsed[1] if not found_listen else port
                found_listen = True
                listeners.append(
                    Listener(
                        protocol="tcp",
                        address=parsed[0],
                        port=parsed[1],
                        service=service,
                        program="apache",
                        http=parsed[1] != 443,
                        evidence=[Evidence(path=path, line=number)],
                    )
                )
        elif directive == "documentroot" and value:
            if root and value != root:
                dynamic.append(f"a second folder, {value} ({path}:{number})")
            root = root or value
            place = place or Evidence(path=path, line=number)
        elif directive in ("servername", "serveralias"):
            names += words[1:]
        elif _APACHE_DYNAMIC.match(line) and len(dynamic) < 50:
            dynamic.append(f"{' '.join(words[:2])} ({path}:{number})")
    if root and place is not None:
        sites.append(_site(tree, root, service=service, names=names, port=port, dynamic=dynamic, evidence=[place]))


def _apache_lines(tree: Tree, path: str, base: str, count: list[int]) -> list[tuple[str, int, str]]:
    count[0] += 1
    if count[0] > _MAX_INCLUDES:
        return []
    found: list[tuple[str, int, str]] = []
    conditions: list[bool] = []
    for number, line in enumerate(tree.read_lines(path), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        lowered = text.lower()
        # TLS modules that are not enabled do not listen.
        if lowered.startswith("<ifmodule"):
            conditions.append("ssl_module" in lowered or "mod_gnutls" in lowered or "mod_ssl" in lowered)
        elif lowered.startswith("</ifmodule") and conditions:
            conditions.pop()
        elif any(conditions) and not _has_tls(tree, base):
            continue
        elif re.match(r"include(?:optional)?\s", lowered):
            pattern = posixpath.join(
                base if "/conf" not in base else posixpath.dirname(base), text.split(None, 1)[1].strip('"')
            )
            folder, name = posixpath.split(pattern)
            for place in tree.files(folder):
                if fnmatch.fnmatchcase(posixpath.basename(place), name):
                    found += _apache_lines(tree, place, base, count)
        else:
            found.append((path, number, text))
    return found


def _has_tls(tree: Tree, base: str) -> bool:
    return tree.is_file(f"{base}/mods-enabled/ssl.load") or tree.is_file("/etc/httpd/conf.d/ssl.conf")
