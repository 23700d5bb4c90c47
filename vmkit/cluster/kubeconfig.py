"""Finds the cluster the way kubectl does, and holds what is needed to authenticate to it.

Order: an explicit file; ``$KUBECONFIG``, a list of files merged so that the first one to say something wins;
``~/.kube/config``; the service account of the pod this runs in. Reading users' credentials (tokens, certificates,
credential plugins, their renewal) is left to the ``kubernetes`` package.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from kubernetes import config as kubernetes_config
from kubernetes.client.configuration import Configuration
from kubernetes.config.config_exception import ConfigException

from vmkit.errors import ConfigError, Unreachable

_IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CREDENTIAL_CACHE_SECONDS: Final = 30.0
"""How long a token is used before its source is asked again. Sources renew minutes before expiry."""

# What the kubernetes package raises on files it cannot make sense of.
_UNREADABLE: Final = (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)

_RIGHT_FILE: Final = "is it the right file?"
_MEND_FILE: Final = "mend the file; kubectl config view shows what kubectl reads in it"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster was found.

    Attributes:
        files: the kubeconfig files, in order; empty inside a pod.
        context: the context's name; empty inside a pod.
        namespace: the context's namespace, or "default".
        cluster: the context's ``cluster`` mapping.
        user: the context's ``user`` mapping.
    """

    files: tuple[Path, ...]
    context: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """For messages: the context and its files, or that it is the pod's own account."""
        if not self.files:
            return "the pod's service account"
        return f"context {self.context!r} of {', '.join(str(path) for path in self.files)}"


def find_place(kubeconfig: Path | str | None = None, context: str | None = None) -> Place:
    """Finds the cluster.

    Raises:
        ConfigError: no configuration, an unreadable one, or one without the context asked for.
    """
    files = _find_files(kubeconfig)
    if not files:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and (_IN_CLUSTER / "token").is_file():
            return Place((), "", _read_namespace(), {}, {})
        looked = os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigError(
            f"no cluster is configured: {looked} does not exist, and this is no pod of a cluster",
            hint="give --kubeconfig FILE or set KUBECONFIG; to practise without a cluster: vmkit lab up",
        )
    merged = _merge([(path, _read_document(path)) for path in files])
    where = ", ".join(str(path) for path in files)
    name = context or merged["current-context"]
    if not name:
        raise ConfigError(
            f"{where} names no current context",
            hint=f"give --context; there are: {_names(merged['contexts'])}",
            where=where,
        )
    entry = _pick(merged["contexts"], name, what="context", where=where)
    cluster_name, user_name = entry.get("cluster"), entry.get("user")
    if not isinstance(cluster_name, str):
        raise ConfigError(f"context {name!r} names no cluster", hint=_MEND_FILE, where=where)
    cluster = _pick(merged["clusters"], cluster_name, what="cluster", where=where)
    user = _pick(merged["users"], user_name, what="user", where=where) if isinstance(user_name, str) else {}
    _check_server(cluster, cluster_name, where)
    for entry_name, body in ((cluster_name, cluster), (str(user_name), user)):
        _check_certificates(body, entry_name, where)
    namespace = entry.get("namespace")
    return Place(files, name, namespace if isinstance(namespace, str) and namespace else "default", cluster, user)


def _find_files(kubeconfig: Path | str | None) -> tuple[Path, ...]:
    if kubeconfig is not None:
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"kubeconfig {path} does not exist" if not path.exists() else f"kubeconfig {path} is no file",
                hint="check --kubeconfig",
                where=str(path),
            )
        return (path,)
    listed = os.environ.get("KUBECONFIG")
    texts = listed.split(os.pathsep) if listed else ["~/.kube/config"]
    paths = (Path(text).expanduser() for text in texts if text)
    return tuple(path for path in paths if path.is_file())


def _read_document(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"kubeconfig {path} cannot be read: {error.strerror}", hint="check who may read it", where=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"kubeconfig {path} is no UTF-8 text", hint=_RIGHT_FILE, where=str(path)) from error
    except yaml.YAMLError as error:
        # The parser's own text quotes the lines around the mistake, and these may hold a token.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ConfigError(f"kubeconfig {path} is no YAML{place}", hint=_MEND_FILE, where=str(path)) from error
    if not isinstance(document, dict):
        what = "is empty" if document is None else "holds no mapping"
        raise ConfigError(f"kubeconfig {path} {what}", hint=_RIGHT_FILE, where=str(path))
    return document


def _merge(documents: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"clusters": {}, "contexts": {}, "users": {}, "current-context": ""}
    for path, document in documents:
        current = document.get("current-context")
        if isinstance(current, str):
            merged["current-context"] = merged["current-context"] or current
        for section, inner in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            entries = document.get(section) or []
            if not isinstance(entries, list):
                raise ConfigError(f"kubeconfig {path}: {section} is no list", hint=_MEND_FILE, where=str(path))
            for entry in entries:
                if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                    raise ConfigError(
                        f"kubeconfig {path}: an entry of {section} has no name", hint=_MEND_FILE, where=str(path)
                    )
                body = entry.get(inner)
                merged[section].setdefault(entry["name"], body if isinstance(body, dict) else {})
    return merged


def _pick(entries: Mapping[str, Mapping[str, Any]], name: str, *, what: str, where: str) -> Mapping[str, Any]:
    if name in entries:
        return entries[name]
    close = difflib.get_close_matches(name, entries, n=1)
    raise ConfigError(
        f"there is no {what} {name!r} in {where}",
        hint=f"did you mean {close[0]!r}?" if close else f"there are: {_names(entries)}",
        where=where,
    )


def _names(entries: Mapping[str, Any]) -> str:
    return ", ".join(list(entries)[:20]) or "none"


def _check_server(cluster: Mapping[str, Any], name: str, where: str) -> None:
    server = cluster.get("server")
    try:
        parts = urlsplit(server) if isinstance(server, str) else None
        usable = parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)
        if parts is not None:
            _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"cluster {name!r} of {where} has no usable server",
            hint='clusters[].cluster.server is an address like "https://10.0.0.1:6443"',
            where=where,
        )


def _check_certificates(body: Mapping[str, Any], name: str, where: str) -> None:
    for key in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
        text = body.get(key)
        if not text:
            continue
        try:
            usable = b"-----BEGIN" in base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            usable = False
        if not usable:
            raise ConfigError(
                f"{key} of {name!r} in {where} is no certificate or key",
                hint="it is the base64 form of a PEM file",
                where=where,
            )


def _read_namespace() -> str:
    try:
        return (_IN_CLUSTER / "namespace").read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


class Credentials:
    """Who we are at a place: the client's configuration, and the Authorization header, renewed as its source says.

    Thread-safe.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._configuration = _load(place)
        self._header = _read_header(self._configuration)
        self._fresh_until = time.monotonic() + _CREDENTIAL_CACHE_SECONDS

    @property
    def configuration(self) -> Configuration:
        return self._configuration

    def header(self) -> str | None:
        """The value of the Authorization header, or None without a token."""
        if time.monotonic() >= self._fresh_until:
            with self._lock:
                if time.monotonic() >= self._fresh_until:
                    self._header = _read_header(self._configuration)
                    self._fresh_until = time.monotonic() + _CREDENTIAL_CACHE_SECONDS
        return self._header

    def renew(self, refused: str | None) -> bool:
        """After the server refused a header: reads the credentials anew. True where that gave another one."""
        with self._lock:
            if self._header == refused:
                self._configuration = _load(self.place)
                self._header = _read_header(self._configuration)
                self._fresh_until = time.monotonic() + _CREDENTIAL_CACHE_SECONDS
            return self._header != refused


def _load(place: Place) -> Configuration:
    configuration = Configuration()
    with _quiet_package() as remarks:
        try:
            if place.files:
                kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.pathsep.join(str(path) for path in place.files),
                    context=place.context,
                    client_configuration=configuration,
                )
            else:
                kubernetes_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            raise ConfigError(f"{place.origin} cannot be used: {_first_line(error)}") from error
    if "exec" in place.user and not configuration.api_key and not configuration.cert_file:
        plugin = place.user["exec"]
        command = plugin.get("command", "?") if isinstance(plugin, Mapping) else "?"
        said = f": {remarks[-1]}" if remarks else ""
        raise ConfigError(
            f"credential plugin {command!r} of {place.origin} gave no credentials{said}",
            hint=f"run {command!r} by hand to see why",
        )
    return configuration


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:256] if text else type(error).__name__


def _read_header(configuration: Configuration) -> str | None:
    with _quiet_package():
        try:
            header = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except _UNREADABLE as error:
            raise Unreachable(f"the credentials cannot be renewed: {_first_line(error)}") from error
    return header if isinstance(header, str) else None


@contextmanager
def _quiet_package() -> Iterator[list[str]]:
    """Keeps the package from writing its complaints to stderr; they become part of an error instead."""
    remarks: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "kubernetes" in record.pathname:
                remarks.append(_first_line(Exception(record.getMessage())))

    handler = Collector()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield remarks
    finally:
        root.removeHandler(handler)


def read_token_expiry(header: str | None) -> datetime | None:
    """When a bearer token ends, where it is a JSON Web Token that says so. The token is not checked."""
    parts = (header or "").rpartition(" ")[2].split(".")
    if len(parts) != 3:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(payload["exp"], UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
