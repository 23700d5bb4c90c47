"""Secrets: their names and places, never their values. Other inspectors ask here before they keep a value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from vmkit.migrate.facts import Evidence, Secret, Unit
from vmkit.migrate.tree.rooted import Tree
from vmkit.migrate.tree.volume import Kind

WITHHELD: Final = "***"  # what stands in place of a value
_MAX_FILES: Final = 4000
_SCAN_BYTES: Final = 256 * 2**10
_MAX_SECRETS: Final = 500

_SECRET_NAME: Final = re.compile(
    r"(?:^|[_.\-0-9]|(?<=[a-z])(?=password|passwd|secret))(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"secret[_-]?key|credentials?|auth[_-]?key|encryption[_-]?key|signing[_-]?key|client[_-]?secret|salt|dsn|"
    r"connection[_-]?string|database[_-]?url|db[_-]?url)(?:$|[_.\-0-9])",
    re.IGNORECASE,
)
# Names that say where a secret is, or talk about one, but are none.
_NOT_SECRET: Final = re.compile(
    r"(?:_file|_path|_dir|_length|_policy|_ttl|_expiry|_expires|_timeout|_url_path|authentication)$", re.IGNORECASE
)
_ASSIGNMENT: Final = re.compile(
    r"""^\s*(?:export\s+|set\s+|\$|['"])?(?P<name>[A-Za-z][\w.\-]{0,80})['"\]]*\s*(?:=>|[:=])\s*"""
    r"""(?P<value>"[^"]*"|'[^']*'|[^\s#;,]+)"""
)
_CREDENTIALS_IN_URL: Final = re.compile(
    r"(?P<head>\b[a-z][a-z0-9+.\-]*://[^\s/:@]*:)(?P<secret>[^\s@/]+)(?=@)", re.IGNORECASE
)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_CLOUD_KEYS: Final = (
    ("AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("Google API key", re.compile(r"\bAIza[0-9A-Za-z_\-]{35}\b")),
    ("GitHub token", re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36,}\b")),
    ("Slack token", re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}\b")),
    ("JSON web token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")),
)
_OPTION: Final = re.compile(
    r"(?P<head>(?:^|\s)--?(?P<name>[A-Za-z][\w.\-]*)(?:=|\s+))(?P<value>\"[^\"]*\"|'[^']*'|[^\s'\"-][^\s]*)"
)
_INLINE: Final = re.compile(
    r"(?P<head>(?:^|[\s;'\"])(?P<name>[A-Za-z_]\w*)=)(?P<value>\"[^\"]*\"|'[^']*'|[^\s;'\"]+)"
)
_EMPTY_VALUES: Final = frozenset(
    {"", "none", "null", "false", "true", "changeme", "no", "yes", "0", "1", "required", "optional", "nil"}
)
# Files that are secrets as a whole, by the end of their path.
_SECRET_FILES: Final = (
    (re.compile(r"/\.pgpass$"), "database password file"),
    (re.compile(r"/\.my\.cnf$"), "database password file"),
    (re.compile(r"/\.netrc$"), "login file"),
    (re.compile(r"/\.aws/credentials$"), "cloud credentials"),
    (re.compile(r"/\.docker/config\.json$"), "registry credentials"),
    (re.compile(r"/\.kube/config$"), "kubeconfig"),
    (re.compile(r"/\.git-credentials$"), "login file"),
    (re.compile(r"/\.htpasswd$"), "password file"),
    (re.compile(r"/\.ssh/id_[a-z0-9_]+$"), "private key"),
    (re.compile(r"\.(?:keytab|jks|p12|pfx)$"), "key store"),
)
_TEXT_SUFFIXES: Final = re.compile(
    r"\.(?:conf|cfg|cnf|ini|env|properties|toml|ya?ml|json|xml|sh|py|js|php|rb|pl|service|pem|key|txt|sql|config)$"
    r"|/[^/.]*$|/\.env(?:\.\w+)?$"
)
_LIBRARIES: Final = re.compile(r"/(?:site-packages|dist-packages|node_modules|vendor/bundle)/")
_SKIP: Final = (
    "/usr/share/",
    "/usr/lib/python",
    "/var/lib/dpkg/",
    "/etc/ssl/certs/",
    "/usr/share/ca-certificates/",
)


def is_secret_name(name: str) -> bool:
    """Whether a variable or key is called like a secret ("DB_PASSWORD", "apiToken", "DATABASE_URL")."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return bool(_SECRET_NAME.search(words)) and not _NOT_SECRET.search(words)


def withhold(name: str, value: str) -> str | None:
    """A variable's value as it may be shown: None where its name is a secret's or it looks like one."""
    if is_secret_name(name) or _PRIVATE_KEY.search(value) or any(key.search(value) for _, key in _CLOUD_KEYS):
        return None
    return _CREDENTIALS_IN_URL.sub(rf"\g<head>{WITHHELD}", value)


def redact(command: str) -> str:
    """A command line with passwords in options, assignments and URLs replaced by "***"."""

    def hide(match: re.Match[str]) -> str:
        return f"{match['head']}{WITHHELD}" if is_secret_name(match["name"]) else match[0]

    text = _OPTION.sub(hide, command)
    text = _INLINE.sub(hide, text)
    text = _CREDENTIALS_IN_URL.sub(rf"\g<head>{WITHHELD}", text)
    # mysql -pSECRET and curl -u user:SECRET have no name to go by
    text = re.sub(r"(\bmysql\w*\b[^|;&]*?\s-p)(?=\S)[^\s]+", rf"\g<1>{WITHHELD}", text)
    text = re.sub(r"(\s(?:-u|--user)[\s=]+[^\s:]+:)[^\s]+", rf"\g<1>{WITHHELD}", text)
    for _, key in _CLOUD_KEYS:
        text = key.sub(WITHHELD, text)
    return text


def inspect_secrets(tree: Tree, paths: Iterable[str], units: Iterable[Unit]) -> list[Secret]:
    """Looks for secrets in the given files (those no package owns, and changed configuration) and in units.

    Args:
        paths: files to look into.
        units: their variables whose value was withheld are secrets too.
    """
    found: dict[tuple[str, str, int | None], Secret] = {}

    def add(name: str, kind: str, path: str, line: int | None, services: list[str] | None = None) -> None:
        if len(found) < _MAX_SECRETS:
            key = (name, path, line)
            found.setdefault(
                key,
                Secret(name=name, kind=kind, services=services or [], evidence=[Evidence(path=path, line=line)]),
            )

    users_of: dict[str, list[str]] = {}
    for unit in units:
        for place in unit.environment_files:
            users_of.setdefault(place, []).append(unit.name)
    checked: set[str] = set()
    wanted = [*users_of, *(path for path in paths if _TEXT_SUFFIXES.search(path) or _is_secret_file(path))]
    for path in wanted[:_MAX_FILES]:
        if path in checked or path.startswith(_SKIP) or _LIBRARIES.search(path):
            continue
        checked.add(path)
        for name, kind, line in _scan_file(tree, path):
            add(name, kind, path, line, users_of.get(path))
    if len(wanted) > _MAX_FILES:
        tree.note_problem(f"only {_MAX_FILES} of {len(wanted)} files were searched for secrets")
    for unit in units:
        for variable in unit.environment:
            if variable.value is None and variable.source not in unit.environment_files:
                add(variable.name, "variable", variable.source or unit.path, None, [unit.name])
    return sorted(found.values(), key=lambda one: (one.evidence[0].path, one.evidence[0].line or 0, one.name))


def _is_secret_file(path: str) -> str:
    return next((kind for pattern, kind in _SECRET_FILES if pattern.search(path)), "")


def _scan_file(tree: Tree, path: str) -> Sequence[tuple[str, str, int | None]]:
    whole = _is_secret_file(path)
    name = path.rsplit("/", 1)[-1]
    if whole:
        return [(name, whole, None)] if tree.kind(path) is Kind.FILE else []
    raw = tree.read_bytes(path, limit=_SCAN_BYTES)
    if not raw or b"\0" in raw[:4096]:
        return []
    return scan_text(raw.decode("utf-8", "backslashreplace"))


def scan_text(text: str) -> list[tuple[str, str, int]]:
    """The secrets in a text: (name, kind, line from 1)."""
    found: list[tuple[str, str, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > 4096 or line.lstrip().startswith(("#", ";", "//")):
            continue
        if _PRIVATE_KEY.search(line):
            found.append(("private key", "private key", number))
            continue
        match = _ASSIGNMENT.match(line)
        if match and is_secret_name(match["name"]) and _is_value(match["value"]):
            found.append((match["name"], "variable", number))
            continue
        if _CREDENTIALS_IN_URL.search(line):
            found.append((match["name"] if match else "password in a URL", "password in a URL", number))
            continue
        found += [(kind, "key", number) for kind, pattern in _CLOUD_KEYS if pattern.search(line)]
    return found


def _is_value(text: str) -> bool:
    # A reference to another variable, a function call or a placeholder is no secret.
    value = text.strip("\"'")
    if value.lower() in _EMPTY_VALUES or value.startswith(("$", "%(", "{{", "<")):
        return False
    return text[0] in "\"'" or not re.match(r"[A-Za-z_][\w.]*[(\[]", value)
