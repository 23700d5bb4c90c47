"""Hears from the cluster what changes, and keeps the picture."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, Final

from vmkit.cluster.resources import NAMESPACES, VIRTUAL_MACHINE_INSTANCES, VIRTUAL_MACHINES, Resource
from vmkit.cluster.session import Session
from vmkit.cluster.watch import Watch, WatchEvent
from vmkit.errors import ClusterError
from vmkit.schedule.controller.picture import Key, Kind, Picture

_RESOURCES: Final[dict[Kind, Resource]] = {
    Kind.NAMESPACES: NAMESPACES,
    Kind.INSTANCES: VIRTUAL_MACHINE_INSTANCES,
    Kind.VMS: VIRTUAL_MACHINES,
}
_MAX_PAUSE_SECONDS: Final = 30.0


class Watcher:
    """Watches one kind of objects in a thread of its own, for as long as it is wanted.

    Args:
        session: the cluster.
        picture: is told.
        kind: what to watch.
        namespace: the only one; None for all.
        label_selector: of VMs.
        resync_seconds: everything is listed anew this often, in case a change was never told.
        on_state: told, by the kind, that the cluster tells of changes (None), or why it does not.
        on_crash: told of a defect, after which nothing is watched any more.
    """

    def __init__(
        self,
        session: Session,
        picture: Picture,
        kind: Kind,
        *,
        namespace: str | None,
        label_selector: str,
        resync_seconds: float,
        on_state: Callable[[Kind, ClusterError | None], None],
        on_crash: Callable[[Exception], None],
    ) -> None:
        self._session, self._picture, self._kind = session, picture, kind
        self._namespace, self._labels, self._fields = namespace, "", ""
        if kind is Kind.NAMESPACES and namespace is not None:
            self._fields = f"metadata.name={namespace}"
        elif kind is Kind.VMS:
            self._labels = label_selector
        self._resync_seconds = resync_seconds
        self._on_state, self._on_crash = on_state, on_crash
        self._ending = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"vmkit-{kind}", daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; `join` waits until it has."""
        self._ending.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def join(self, seconds: float) -> None:
        """Waits until it has ended, for so long at most."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._keep_following()
        except Exception as error:  # noqa: BLE001 - a thread that dies unheard would leave an old picture behind
            self._picture.lose(self._kind)
            self._on_crash(error)

    def _keep_following(self) -> None:
        failures = 0
        while not self._ending.is_set():
            try:
                self._follow()
                failures = 0
            except ClusterError as error:
                self._picture.lose(self._kind)
                self._on_state(self._kind, error)
                failures += 1
                pause = min(_MAX_PAUSE_SECONDS, 0.5 * 2.0 ** min(failures, 6))
                self._ending.wait(pause * (0.5 + random.random() / 2))

    def _follow(self) -> None:
        """One watch, from a list on, until everything is to be listed anew.

        Raises:
            ClusterError: it was refused, or the cluster stayed away.
        """
        coming: dict[Key, dict[str, Any]] = {}
        listed = False

        def on_listed() -> None:
            nonlocal listed
            if not listed:
                listed = True
                self._picture.replace_all(self._kind, coming)
                coming.clear()
            self._on_state(self._kind, None)

        # Replicas and kinds do not all list at once.
        seconds = self._resync_seconds * (0.9 + random.random() / 5)
        namespace = None if self._kind is Kind.NAMESPACES else self._namespace
        self._watch = self._session.watch(
            _RESOURCES[self._kind],
            namespace,
            label_selector=self._labels,
            field_selector=self._fields,
            timeout_seconds=seconds,
            on_listed=on_listed,
        )
        with self._watch as watch:
            if self._ending.is_set():
                return  # Asked to end before there was a watch to close.
            for event in watch:
                if self._ending.is_set():
                    return
                key = _key(event)
                if not listed:
                    coming[key] = event.object
                elif event.type == "DELETED":
                    self._picture.drop(self._kind, key)
                else:
                    self._picture.put(self._kind, key, event.object)


def _key(event: WatchEvent) -> Key:
    metadata = event.object.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
