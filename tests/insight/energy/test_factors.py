"""Carbon factors, sites, and services that know them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from vmkit.errors import (
    ConfigError,
    Forbidden,
    MalformedReply,
    NotFound,
    ServerFault,
    Throttled,
    Unauthorized,
    Unreachable,
    UsageError,
    VmkitError,
)
from vmkit.insight.energy.factors import Factor, build_site, find_factor, parse_sites
from vmkit.insight.energy.providers import read_electricity_maps, read_watttime

_TOKEN = "s3cret-token"
_PASSWORD = "s3cret-password"


def test_a_factor_says_whose_it_is_and_of_which_year() -> None:
    factor = find_factor("de")
    assert (factor.grams_per_kwh, factor.zone, factor.year, factor.marginal) == (380.95, "DE", 2023, False)
    assert "2023" in str(factor)
    assert "Ember" in str(factor)
    with pytest.raises(UsageError, match="no carbon factor"):
        find_factor("Atlantis")


def test_sites_have_their_own_pue_water_and_carbon() -> None:
    document = {"sites": {"par1": {"pue": 1.2, "wue": 0.2, "country": "FR"}, "hut": {"grid": 12.5}, "plain": {}}}
    found = parse_sites(document, default=find_factor("DE"), where="sites.yaml")
    assert (found["par1"].pue, found["par1"].wue_litres, found["par1"].factor.zone) == (1.2, 0.2, "FR")
    assert found["hut"].factor == Factor(12.5, "hut", "as told")
    assert (found["plain"].pue, found["plain"].wue_litres) == (1.58, None)
    assert found["plain"].factor.zone == "DE"


@pytest.mark.parametrize(
    "document",
    [
        None, [], {"sites": []}, {"sites": {}}, {"sites": {"a": 7}}, {"sites": {"a": {"puu": 1.2}}},
        {"sites": {"a": {"pue": 0.8}}}, {"sites": {"a": {"pue": "1.2"}}}, {"sites": {"a": {"pue": float("nan")}}},
        {"sites": {"a": {"wue": -1}}}, {"sites": {"a": {"country": "Atlantis"}}}, {"sites": {7: {}}},
    ],
)  # fmt: skip
def test_sites_that_cannot_be_are_refused(document: Any) -> None:
    with pytest.raises(UsageError):
        parse_sites(document, default=find_factor("DE"), where="sites.yaml")


@pytest.mark.parametrize(("pue", "wue"), [(0.9, None), (11.0, None), (1.2, -0.1), (float("nan"), None)])
def test_a_data_centre_takes_at_least_what_its_servers_take(pue: float, wue: float | None) -> None:
    with pytest.raises(UsageError):
        build_site(factor=find_factor("DE"), pue=pue, wue_litres=wue)


class _Service(BaseHTTPRequestHandler):
    """Electricity Maps and WattTime, as their documentation says."""

    status = 200
    body: bytes | None = None

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        reply: Any = {"error": "not found"}
        status = type(self).status
        if parts.path == "/v3/carbon-intensity/latest":
            status = status if self.headers["auth-token"] == _TOKEN else 401
            reply = {"zone": query["zone"][0], "carbonIntensity": 302, "emissionFactorType": "lifecycle"}
        elif parts.path == "/login":
            expected = "Basic " + base64.b64encode(f"ann:{_PASSWORD}".encode()).decode()
            status = status if self.headers["Authorization"] == expected else 401
            reply = {"token": _TOKEN}
        elif parts.path == "/v3/forecast":
            status = status if self.headers["Authorization"] == f"Bearer {_TOKEN}" else 401
            reply = {"data": [{"point_time": "now", "value": 1000.0}], "meta": {"units": "lbs_co2_per_mwh"}}
        body = type(self).body if type(self).body is not None else json.dumps(reply).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def service() -> Iterator[tuple[str, type[_Service]]]:
    handler = type("Handler", (_Service,), {})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_electricity_maps_gives_the_average_of_now(service: tuple[str, type[_Service]]) -> None:
    factor = read_electricity_maps("DE", token=_TOKEN, url=service[0])
    assert factor == Factor(302.0, "DE", "Electricity Maps")
    assert "now" in str(factor)


def test_watttime_gives_marginal_pounds_that_become_grams(service: tuple[str, type[_Service]]) -> None:
    factor = read_watttime("CAISO_NORTH", user="ann", password=_PASSWORD, url=service[0])
    assert factor.grams_per_kwh == pytest.approx(453.59237)
    assert factor.marginal
    assert "marginal" in str(factor)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized), (403, Forbidden), (404, NotFound), (429, Throttled), (500, ServerFault),
        (302, MalformedReply),
    ],
)  # fmt: skip
def test_refusals_are_errors_that_say_no_secrets(
    service: tuple[str, type[_Service]], status: int, kind: type[VmkitError]
) -> None:
    service[1].status = status
    with pytest.raises(kind) as caught:
        read_electricity_maps("DE", token=_TOKEN, url=service[0])
    assert _TOKEN not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", *(b'{"carbonIntensity": %s}' % value for value in (b"null", b"-3", b'"9"'))]
)
def test_an_answer_without_a_number_is_no_factor(service: tuple[str, type[_Service]], body: bytes) -> None:
    service[1].body = body
    with pytest.raises(MalformedReply):
        read_electricity_maps("DE", token=_TOKEN, url=service[0])


def test_bad_accounts_and_addresses_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError):
        read_electricity_maps("DE", token="two\nlines", url="http://127.0.0.1:1")
    with pytest.raises(UsageError):
        read_electricity_maps("DE", token=_TOKEN, url="ftp://example.com")
    with pytest.raises(Unreachable):
        read_electricity_maps("DE", token=_TOKEN, url="http://127.0.0.1:1")
    with pytest.raises(UsageError):
        read_watttime("X", user="ann", password=_PASSWORD, url="https://ann:pw@example.com")
