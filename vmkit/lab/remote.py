"""Talks to a lab that another process runs, through its own endpoints under ``/vmkit.io/lab/``."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import yaml

from vmkit.errors import ConfigError, InputError, Unauthorized, Unreachable, UsageError

_SECONDS = 120.0
"""The longest a single answer may take: moving the clock by days runs everything that falls due."""


class RemoteLab:
    """A lab by its address.

    Args:
        url: ``http://127.0.0.1:PORT`` or https.
        token: of the lab's own user.
        authority: the certificate authority (PEM) of a lab that serves TLS.
        name: for messages.
        kubeconfig: the file that leads to it, where there is one.
    """

    def __init__(self, url: str, token: str, *, authority: str = "", name: str = "", kubeconfig: str = "") -> None:
        self.url, self.name, self.kubeconfig = url, name, kubeconfig
        self._token = token
        self._authority = authority

    @classmethod
    def from_kubeconfig(cls, path: str | Path, *, name: str = "") -> Self:
        """The lab that a kubeconfig written by one leads to.

        Raises:
            ConfigError: it cannot be read, or leads to no lab.
        """
        where = str(path)
        try:
            document = yaml.safe_load(Path(path).read_text())
            cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
            url, token = cluster["server"], user["token"]
            authority = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
        except OSError as error:
            raise ConfigError(f"cannot read the kubeconfig: {error.strerror or error}", where=where) from error
        except (KeyError, IndexError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                "this kubeconfig leads to no practice cluster",
                hint="give the one `vmkit lab up` printed",
                where=where,
            ) from error
        return cls(
            str(url),
            str(token),
            authority=authority,
            name=name or str(document.get("current-context", "")),
            kubeconfig=where,
        )

    # --- what a lab can be asked ------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Its time, its objects, its faults."""
        return self._json("GET", "status")

    def clock(self) -> dict[str, Any]:
        """Where its clock stands."""
        return self._json("GET", "clock")

    def move_clock(self, **change: Any) -> dict[str, Any]:
        """Moves its clock: ``advance_seconds``, ``to`` (RFC 3339), ``freeze``, ``speed``; returns where it
        stands then.

        Raises:
            InputError: the clock cannot be moved so.
        """
        return self._json("POST", "clock", change)

    def faults(self) -> list[dict[str, Any]]:
        """What goes wrong on demand."""
        found: list[dict[str, Any]] = self._json("GET", "faults")["faults"]
        return found

    def add_fault(self, fault: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Adds a fault, or a script of them (``{"script": [...]}``)."""
        found: list[dict[str, Any]] = self._json("POST", "faults", fault)["faults"]
        return found

    def clear_faults(self) -> None:
        """Lets everything go right again."""
        self._json("DELETE", "faults")

    def save(self) -> bytes:
        """Its whole state."""
        return self._send("GET", "state")

    def load(self, state: bytes) -> None:
        """Replaces its state."""
        self._send("PUT", "state", state)

    def metrics(self, *, only: str = "", kepler: str = "") -> bytes:
        """Its series as they stand now, as OpenMetrics."""
        return self._send("GET", "metrics" + _query(only=only, kepler=kepler))

    def metric_facts(self, *, namespace: str = "", kepler: str = "") -> bytes:
        """What its series follow from (`vmkit.lab.metrics.service.decode_facts`)."""
        return self._send("GET", "metrics/facts" + _query(namespace=namespace, kepler=kepler))

    def put_objects(self, objects: Sequence[Mapping[str, Any]], *, more: bool = False) -> dict[str, Any]:
        """Puts objects in as they are: ``taken`` says how many, ``unknown`` which kinds it does not serve.

        With ``more`` they wait for those of the next call.
        """
        return self._json("POST", "objects", {"objects": list(objects), "more": more})

    def down(self) -> None:
        """Ends it."""
        self._send("POST", "down")

    # --- HTTP -------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None = None, *, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """One request to any path of the lab: (status, body).

        Raises:
            Unreachable: nobody answers.
        """
        parts = urlsplit(self.url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cadata=self._authority or None)
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"the practice cluster at {self.url} does not answer", hint="vmkit lab status lists those that run"
            ) from error
        finally:
            connection.close()

    def _json(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        answered: dict[str, Any] = json.loads(self._send(method, what, data))
        return answered

    def _send(self, method: str, what: str, body: bytes | None = None) -> bytes:
        status, answer = self.request(method, f"/vmkit.io/lab/{what}", body)
        if status < 300:
            return answer
        if status in (401, 403):
            raise Unauthorized(
                f"the practice cluster at {self.url} does not know this token",
                hint="its kubeconfig may be an old one",
            )
        try:
            message = str(json.loads(answer)["message"])
        except (ValueError, KeyError, TypeError):
            message = f"it answers {status}"
        if status == 404:
            raise UsageError(f"the practice cluster at {self.url} cannot do this: {message}")
        raise InputError(message)


def _query(**values: str) -> str:
    given = {key: value for key, value in values.items() if value}
    return "?" + urlencode(given) if given else ""
