"""Asks a cluster what it serves."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from vmkit.cluster.exchange import Exchange
from vmkit.cluster.failures import Asked
from vmkit.cluster.resources import Resource, describe_provider
from vmkit.errors import MissingApi


class Discovery:
    """What a cluster serves, asked once for each apiVersion. Thread-safe."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._served: dict[str, Mapping[str, Resource]] = {}
        self._lock = threading.Lock()

    def find(self, api_version: str, kind: str) -> Resource:
        """The resource of this apiVersion and kind.

        Raises:
            MissingApi: the cluster does not serve it.
        """
        with self._lock:
            served = self._served.get(api_version)
        if served is None:
            served = self._ask(api_version, kind)
            with self._lock:
                self._served[api_version] = served
        if kind in served:
            return served[kind]
        provider = describe_provider(api_version.rpartition("/")[0])
        raise MissingApi(
            f"the cluster serves no {kind} in {api_version}",
            hint=f"install {provider}, or check the kind" if provider else "check apiVersion and kind",
        )

    def _ask(self, api_version: str, kind: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        target = Resource(group, version, "", "").path().rstrip("/")
        asked = Asked("get", Resource(group, version, kind.lower(), kind))
        entries = self._exchange.call_for_object("GET", target, asked).get("resources")
        return {
            _text(entry, "kind"): Resource(
                _text(entry, "group") or group,
                _text(entry, "version") or version,
                _text(entry, "name"),
                _text(entry, "kind"),
                namespaced=entry.get("namespaced") is True,
            )
            for entry in (entries if isinstance(entries, list) else ())
            if isinstance(entry, dict) and "/" not in _text(entry, "name")
        }


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""
