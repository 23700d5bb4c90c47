"""The client of Prometheus's API: what it sends, what it reads, and how it fails."""

from __future__ import annotations

import math
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.metrics.fleets import NOW
from tests.metrics.prometheus.peer import Asked, Peer, Told
from vmkit.cluster.retry import RetryPolicy
from vmkit.errors import (
    ConfigError,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    MalformedReply,
    NotFound,
    QueryTooLarge,
    ServerFault,
    Throttled,
    Unauthorized,
    Unreachable,
    UsageError,
    VmkitError,
)
from vmkit.metrics.prometheus.client import PrometheusClient

SOON = RetryPolicy(attempts=3, base_seconds=0.001, cap_seconds=0.002, deadline_seconds=60)


# --- with the real thing ------------------------------------------------------------------------------------


def test_an_instant_and_a_range_come_as_series(prometheus: PrometheusClient) -> None:
    selector = 'kubevirt_vmi_cpu_usage_seconds_total{name="forgotten"}'
    (one,) = prometheus.query(selector, NOW)
    assert one.labels["namespace"] == "shop"
    assert len(one.values) == 1
    (many,) = prometheus.query_range(selector, NOW - timedelta(hours=1), NOW, timedelta(minutes=5))
    assert list(many.times) == [NOW.timestamp() - 3600 + 300 * index for index in range(13)]
    assert many.value == one.value
    (raw,) = prometheus.query(f"{selector}[1h]", NOW)
    assert list(raw.values) == list(many.values)
    assert prometheus.query("scalar(vector(2))", NOW).scalar == 2
    assert math.isnan(prometheus.query("vector(NaN)", NOW).series[0].value)
    assert math.isinf(prometheus.query("vector(-Inf)", NOW).series[0].value)
    assert len(prometheus.query("nothing_of_this_name", NOW)) == 0
    assert prometheus.query("nothing_of_this_name", NOW).scalar is None


def test_a_mistake_in_a_query_is_told_with_the_servers_words(prometheus: PrometheusClient) -> None:
    with pytest.raises(Invalid, match="parse error"):
        prometheus.query("rate(up", NOW)


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(NOW, NOW, timedelta(0)), (NOW, NOW - timedelta(seconds=1), timedelta(minutes=1))],
)
def test_a_range_that_is_none_is_refused(
    prometheus: PrometheusClient, start: datetime, end: datetime, step: timedelta
) -> None:
    with pytest.raises(UsageError, match="a range needs"):
        prometheus.query_range("up", start, end, step)


def test_an_instant_without_a_zone_is_refused(prometheus: PrometheusClient) -> None:
    with pytest.raises(UsageError, match="time zone"):
        prometheus.query("up", datetime(2026, 1, 1))


# --- what is sent ---------------------------------------------------------------------------------------------


def test_a_query_is_a_form_with_token_tenant_and_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with Peer(lambda asked: Told()) as peer:
        client = PrometheusClient(
            f"{peer.url}/prometheus/api/v1/", token_file=token, tenant="blue", headers={"X-More": "yes"}
        )
        client.query("up", datetime(2026, 1, 1, tzinfo=UTC))
        token.write_text("second\n")
        client.query("up")
    first, second = peer.asked
    assert first.path == "/prometheus/api/v1/query"
    assert first.form["query"] == "up"
    assert first.form["time"] == "1767225600.000"
    assert (first.headers["x-scope-orgid"], first.headers["x-more"]) == ("blue", "yes")
    assert first.headers["authorization"] == "Bearer first"
    assert second.headers["authorization"] == "Bearer second"
    assert "time" not in second.form


def test_a_user_in_the_address_is_sent_and_never_shown() -> None:
    with Peer(lambda asked: Told(500, b"oops")) as peer:
        client = PrometheusClient(peer.url.replace("http://", "http://me:s3cret@"), retry=SOON)
        with pytest.raises(ServerFault) as caught:
            client.query("up")
    assert peer.asked[0].headers["authorization"].startswith("Basic ")
    assert "s3cret" not in f"{caught.value.to_dict()} {client.server}"


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://host", "http://", "http://host:port", "http://a/?x=1", "http://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="address of Prometheus"):
        PrometheusClient(url)


def test_a_bad_address_is_refused_without_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        PrometheusClient("me:s3cret@host/x")
    assert "s3cret" not in str(caught.value.to_dict())


def test_credentials_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both"):
        PrometheusClient("http://a", token="x", token_file=tmp_path / "y")
    with pytest.raises(ConfigError, match="cannot be read"):
        PrometheusClient("http://a", token_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="single line") as caught:
        PrometheusClient("http://a", token="s3cret\nX-Evil: 1")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="certificates"):
        PrometheusClient("https://a", ca_file=tmp_path / "none")


# --- how it fails ---------------------------------------------------------------------------------------------

LIMIT = b'{"status":"error","errorType":"execution","error":"query processing would load too many samples"}'
SLOW = b'{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}'
STREAMS = b'{"status":"success","data":{"resultType":"streams","result":[]}}'
NO_NUMBER = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}'
FORBIDDEN = b'{"kind":"Status","status":"Failure","message":"services is forbidden","code":403}'


@pytest.mark.parametrize(
    ("told", "kind", "words", "times"),
    [
        (Told(401, b"no org id"), Unauthorized, "no org id", 1),
        (Told(403, FORBIDDEN), Forbidden, "services is forbidden", 1),
        (Told(404, b"404 page not found"), NotFound, "no Prometheus API", 1),
        (Told(302, b"", {"Location": "http://login.example.com/?secret"}), MalformedReply, "redirects", 1),
        (Told(400, b'{"status":"error","errorType":"bad_data","error":"nonsense"}'), Invalid, "nonsense", 1),
        (Told(422, LIMIT), QueryTooLarge, "too many samples", 1),
        (Told(503, SLOW), QueryTooLarge, "timed out", 1),
        (Told(504, b"<html>gateway</html>"), QueryTooLarge, "gateway", 1),
        (Told(413, b""), QueryTooLarge, "HTTP 413|empty", 1),
        (Told(429, b"slow down", {"Retry-After": "0"}), Throttled, "too often", 3),
        (Told(500, b"panic"), ServerFault, "panic", 3),
        (Told(502, b""), ServerFault, "fault", 3),
        (Told(200, b"<html>please log in</html>"), MalformedReply, "does not answer like Prometheus", 1),
        (Told(200, STREAMS), MalformedReply, "like", 1),
        (Told(200, NO_NUMBER), MalformedReply, "like", 1),
        (Told(200, b'{"status":"success"}'), MalformedReply, "like", 1),
        (Told(200, b"\xff\xfe"), MalformedReply, "like", 1),
        (Told(200, LIMIT), QueryTooLarge, "too many samples", 1),
    ],
)  # fmt: skip
def test_trouble_has_a_name_and_is_repeated_only_where_that_may_help(
    told: Told, kind: type[VmkitError], words: str, times: int
) -> None:
    with Peer(lambda asked: told) as peer:
        client = PrometheusClient(peer.url, token="s3cret", retry=SOON)
        with pytest.raises(kind, match=words) as caught:
            client.query("up")
        assert type(caught.value) is kind
        assert len(peer.asked) == times
        assert "s3cret" not in str(caught.value.to_dict())


def test_trouble_that_passes_is_not_told() -> None:
    with Peer(lambda asked: Told(503, b"starting") if len(peer.asked) < 3 else Told()) as peer:
        assert len(PrometheusClient(peer.url, retry=SOON).query("up")) == 0
        assert len(peer.asked) == 3


def test_warnings_come_along_and_remarks_on_style_do_not() -> None:
    body = (
        b'{"status":"success","data":{"resultType":"vector","result":[]},"warnings":'
        b'["a store is away","PromQL info: metric might not be a counter"],"infos":["whatever"]}'
    )
    with Peer(lambda asked: Told(200, body)) as peer:
        assert PrometheusClient(peer.url).query("up").warnings == ("a store is away",)


def test_a_server_that_is_not_there_is_told_soon() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        client = PrometheusClient(f"http://127.0.0.1:{taken.getsockname()[1]}", retry=SOON)
        with pytest.raises(Unreachable, match="cannot be reached"):
            client.query("up")


def test_a_server_that_never_answers_is_given_up_on() -> None:
    free = threading.Event()

    def wait(asked: Asked) -> Told:
        free.wait(60)
        return Told()

    with Peer(wait) as peer:
        try:
            with pytest.raises(DeadlineExceeded, match="did not answer"):
                PrometheusClient(peer.url, timeout_seconds=1.0).query("up")
            assert len(peer.asked) == 1
        finally:
            free.set()


def test_another_protocol_on_the_port_is_told() -> None:
    with Peer(lambda asked: Told()) as peer, pytest.raises(Unreachable, match=r"TLS|cannot be reached"):
        PrometheusClient(peer.url.replace("http", "https"), retry=SOON).query("up")
