"""What a check sees of the cluster: objects, rights and Prometheus, with what could not be seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from vmkit.cluster.resources import Resource
from vmkit.cluster.session import Session
from vmkit.errors import MissingApi, VmkitError
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.prometheus.discovery import discover_prometheus

Object = Mapping[str, Any]
QUERY_SECONDS: Final = 20.0


class Sights:
    """What has been read so far: each kind of object once, however many checks ask. Thread-safe."""

    def __init__(self, session: Session, prometheus: PrometheusClient | None = None) -> None:
        self.session = session
        self._given = prometheus
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._read: dict[str, Any] = {}

    def once(self, key: str, read: Callable[[], Any]) -> Any:
        """What ``read`` returned the first time; a `VmkitError` that it raised is raised again."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._read:
                try:
                    self._read[key] = read()
                except VmkitError as error:
                    self._read[key] = error
        found = self._read[key]
        if isinstance(found, VmkitError):
            raise found
        return found

    def list(self, resource: Resource) -> Sequence[Object]:
        """All objects of a kind, in all namespaces."""
        return self.once(resource.path(), lambda: list(self.session.list(resource)))  # type: ignore[no-any-return]

    def prometheus(self) -> PrometheusClient | None:
        """The Prometheus given, or found in the cluster."""
        if self._given is not None:
            return self._given
        found: PrometheusClient | None = self.once(
            "prometheus", lambda: discover_prometheus(self.session, timeout_seconds=QUERY_SECONDS)
        )
        return found


class Look:
    """One check's view.

    Args:
        sights: shared by all checks.
        commands: which of vmkit's commands are asked about (``--for``); empty for all.
    """

    def __init__(self, sights: Sights, commands: Sequence[str] = ()) -> None:
        self._sights = sights
        self._unseen: set[str] = set()
        self._absent: set[str] = set()
        self.commands = tuple(commands)
        self.unknowns: list[str] = []
        """What could not be seen, and why, in sentences."""

    @property
    def session(self) -> Session:
        """The session, for what is neither a list nor Prometheus."""
        return self._sights.session

    @property
    def namespace(self) -> str:
        """The namespace meant where none is named."""
        return self._sights.session.namespace

    @property
    def now(self) -> datetime:
        """The time by the cluster's clock."""
        return self._sights.session.server_time or datetime.now(UTC)

    def list(self, resource: Resource) -> Sequence[Object]:
        """The objects of a kind; none where the cluster does not serve it, or they cannot be read.

        `knows` tells the two apart.
        """
        try:
            return self._sights.list(resource)
        except MissingApi:
            self._absent.add(resource.path())
            return ()
        except VmkitError as error:
            self._unseen.add(resource.path())
            self.miss(f"{resource.qualified_name} could not be read: {error.message}")
            return ()

    def served(self, resource: Resource) -> Sequence[Object] | None:
        """As `list`, but None where the cluster does not serve the kind, or it cannot be read."""
        found = self.list(resource)
        return None if resource.path() in self._absent | self._unseen else found

    def knows(self, *resources: Resource) -> bool:
        """Whether what was listed is all there is."""
        return not any(resource.path() in self._unseen for resource in resources)

    def prometheus(self) -> PrometheusClient | None:
        """A Prometheus; None where there is none, or nobody may look for one."""
        try:
            return self._sights.prometheus()
        except VmkitError as error:
            self.miss(f"Prometheus could not be looked for: {error.message}")
            return None

    def miss(self, what: str) -> None:
        """Notes what could not be seen."""
        if what not in self.unknowns:
            self.unknowns.append(what)


def name_of(item: Object) -> str:
    """ "namespace/name", or the name."""
    metadata = mapping(item, "metadata")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return f"{namespace}/{name}" if namespace else str(name or "")


def target_of(item: Object, kind: str) -> str:
    """ "Kind namespace/name"."""
    return f"{kind} {name_of(item)}"


def mapping(parent: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping at a path; an empty one where there is none."""
    for key in keys:
        parent = parent.get(key) if isinstance(parent, Mapping) else None
    return parent if isinstance(parent, Mapping) else {}


def entries(parent: Any, key: str) -> list[Mapping[str, Any]]:
    """The mappings in the list at a key; none where there is no list."""
    found = parent.get(key) if isinstance(parent, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def condition(item: Object, kind: str) -> str | None:
    """The status of one of its conditions: "True", "False", "Unknown"; None where it has no such condition."""
    for one in entries(mapping(item, "status"), "conditions"):
        if one.get("type") == kind:
            return str(one.get("status"))
    return None
