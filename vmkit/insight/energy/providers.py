"""Carbon factors of this moment from services that have them, for those with an account there.

Sources: https://docs.electricitymaps.com (v3/carbon-intensity/latest), https://docs.watttime.org (login, forecast)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
import urllib3.exceptions as http

from vmkit import __version__
from vmkit.errors import (
    ConfigError,
    DeadlineExceeded,
    Forbidden,
    MalformedReply,
    NotFound,
    ServerFault,
    Throttled,
    Unauthorized,
    Unreachable,
    UsageError,
)
from vmkit.insight.energy.factors import Factor

ELECTRICITY_MAPS_URL: Final = "https://api.electricitymaps.com"
WATTTIME_URL: Final = "https://api.watttime.org"

_GRAMS_PER_POUND: Final = 453.59237
_LARGEST_REPLY: Final = 1 << 20


class CarbonService:
    """One service over HTTP; redirects are not followed, so that a token goes nowhere else.

    Args:
        url: its address.
        name: as it is called in messages.
        timeout_seconds: how long an answer may take.
    """

    def __init__(self, url: str, name: str, *, timeout_seconds: float = 20.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise UsageError(f"the address of {name} is none", hint="such as https://api.example.com")
        self._url, self._name = url.rstrip("/"), name
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(total=timeout_seconds),
            headers={"User-Agent": f"vmkit/{__version__}"},
        )

    def get(self, path: str, headers: Mapping[str, str], **query: str) -> dict[str, Any]:
        """The JSON object at a path.

        Raises:
            ClusterError, DeadlineExceeded: the service is away, refuses, or answers something else.
        """
        target = f"{self._url}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            reply = self._pool.request("GET", target, headers=dict(headers), redirect=False, preload_content=False)
            try:
                body = reply.read(_LARGEST_REPLY)
            finally:
                reply.release_conn()
        except (http.HTTPError, OSError) as error:
            # A refused connection is a kind of timeout to urllib3.
            if isinstance(error, http.TimeoutError) and not isinstance(error, http.NewConnectionError):
                raise DeadlineExceeded(f"{self._name} did not answer in time", hint="try again later") from error
            raise Unreachable(
                f"{self._name} cannot be reached", hint="leave --carbon out for the factors vmkit brings"
            ) from error
        self._check(reply.status)
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = None
        if not isinstance(document, dict):
            raise MalformedReply(f"{self._name} answers with something that is no JSON object")
        return document

    def read_number(self, document: Any, key: str) -> float:
        """A number of a reply, 0 or more.

        Raises:
            MalformedReply: there is none.
        """
        value = document.get(key) if isinstance(document, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise MalformedReply(f"{self._name} gives no {key} that could be one")
        return float(value)

    def _check(self, status: int) -> None:
        if status == 200:
            return
        hint = "check the account, and which zones it may ask about"
        if status == 401:
            raise Unauthorized(f"{self._name} does not know the account", hint=hint, status=status)
        if status == 403:
            raise Forbidden(f"{self._name} does not answer this account about this zone", hint=hint, status=status)
        if status in (400, 404):
            raise NotFound(f"{self._name} does not know this zone", hint=hint, status=status)
        if status == 429:
            raise Throttled(f"{self._name} has been asked too often", hint="try again later", status=status)
        if status < 500:
            raise MalformedReply(f"{self._name} answers with status {status}", hint=hint, status=status)
        raise ServerFault(f"{self._name} failed with status {status}", hint="try again later", status=status)


def read_electricity_maps(zone: str, *, token: str, url: str = ELECTRICITY_MAPS_URL) -> Factor:
    """The average of a zone now ("DE", "US-CAL-CISO").

    Raises:
        ClusterError, DeadlineExceeded: there is no answer that can be used.
    """
    service = CarbonService(url, "Electricity Maps")
    found = service.get("/v3/carbon-intensity/latest", {"auth-token": _one_line(token)}, zone=zone)
    return Factor(service.read_number(found, "carbonIntensity"), zone, "Electricity Maps")


def read_watttime(region: str, *, user: str, password: str, url: str = WATTTIME_URL) -> Factor:
    """The marginal emissions of a region now ("CAISO_NORTH"): pounds for a megawatt-hour there, grams here.

    Raises:
        ClusterError, DeadlineExceeded: there is no answer that can be used.
    """
    service = CarbonService(url, "WattTime")
    pair = f"{_one_line(user)}:{_one_line(password)}"
    token = service.get("/login", urllib3.make_headers(basic_auth=pair)).get("token")
    if not isinstance(token, str):
        raise MalformedReply("WattTime gives no token")
    bearer = {"Authorization": f"Bearer {_one_line(token)}"}
    found = service.get("/v3/forecast", bearer, region=region, signal_type="co2_moer", horizon_hours="0")
    points = found.get("data")
    first = points[0] if isinstance(points, list) and points else None
    return Factor(service.read_number(first, "value") * _GRAMS_PER_POUND / 1000, region, "WattTime", marginal=True)


def _one_line(text: str) -> str:
    if not text or not text.isprintable() or not text.isascii():
        raise ConfigError("the account of the carbon service is empty, or no single line of plain characters")
    return text
