"""Answers of Prometheus's HTTP API as values, and its refusals as errors.

Source: Prometheus docs/querying/api.md ("Format overview", "Expression query result formats").
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vmkit.errors import (
    ClusterError,
    Forbidden,
    Invalid,
    MalformedReply,
    NotFound,
    QueryTooLarge,
    ServerFault,
    Throttled,
    Unauthorized,
)

_NOTES: Final = ("PromQL info:",)
"""Remarks on a query's style that releases before 3.0 put among the warnings; the data is whole."""

_TOO_LARGE: Final = (
    "query processing would load too many samples",  # Prometheus promql/engine.go ErrTooManySamples
    "query timed out",  # promql.ErrQueryTimeout
    "max number of chunks limit",  # Cortex and Mimir
    "err-mimir-max-",
    "exceeded the maximum number of samples",
    "exceeds limit",
    "limit exceeded",
    "exceeded series limit",  # Thanos store gateway
    "exceeded chunks limit",
    "maxsamplesperquery",  # VictoriaMetrics -search.*
    "maxuniquetimeseries",
    "maxqueryduration",
    "exceeded maximum resolution",
)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples in the order of time.

    Attributes:
        labels: without the metric's name where a function dropped it.
        times: Unix seconds.
        values: as many.
    """

    labels: Mapping[str, str]
    times: array[float]
    values: array[float]

    @property
    def value(self) -> float:
        """The last sample; not a number where there is none."""
        return self.values[-1] if self.values else math.nan


@dataclass(frozen=True, slots=True)
class Answer:
    """The series that a query found, and what the server says about its own answer (partial data)."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def scalar(self) -> float | None:
        """The only number in it; None where there is none, or more than one."""
        return self.series[0].value if len(self.series) == 1 else None


class _Instant(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None


class _Range(msgspec.Struct):
    metric: dict[str, str]
    values: msgspec.Raw = msgspec.Raw(b"[]")


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - the API's own name
    result: msgspec.Raw


class _Envelope(msgspec.Struct):
    status: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    errorType: str = ""  # noqa: N815 - the API's own name
    error: str = ""
    warnings: list[str] | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_DATA: Final = msgspec.json.Decoder(_Data)
_INSTANTS: Final = msgspec.json.Decoder(list[_Instant])
_RANGES: Final = msgspec.json.Decoder(list[_Range])
_SAMPLES: Final = msgspec.json.Decoder(list[tuple[float, str]])
_SAMPLE: Final = msgspec.json.Decoder(tuple[float, str])


def read_answer(body: bytes, server: str) -> Answer:
    """The answer in the body of a reply with status 200.

    Raises:
        MalformedReply: it is none.
        ClusterError: it carries an error all the same.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        if envelope.status != "success":
            raise _error(200, envelope.errorType, envelope.error, server)
        data = _DATA.decode(envelope.data)
        series = tuple(_read_series(data))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise MalformedReply(
            f"{server} does not answer like Prometheus: {_excerpt(body)}", hint=_ADDRESS_HINT
        ) from error
    warnings = [text for text in envelope.warnings or () if not text.startswith(_NOTES)]
    return Answer(series, tuple(warnings))


def _read_series(data: _Data) -> Iterator[Series]:
    if data.resultType == "vector":
        for instant in _INSTANTS.decode(data.result):
            if instant.value is not None:  # a native histogram has none
                time, value = instant.value
                yield Series(instant.metric, array("d", (time,)), array("d", (float(value),)))
    elif data.resultType == "matrix":
        for each in _RANGES.decode(data.result):
            samples = _SAMPLES.decode(each.values)
            times = array("d", [time for time, _ in samples])
            yield Series(each.metric, times, array("d", [float(value) for _, value in samples]))
    elif data.resultType == "scalar":
        time, value = _SAMPLE.decode(data.result)
        yield Series({}, array("d", (time,)), array("d", (float(value),)))
    else:
        raise ValueError(f"a result of type {data.resultType}")


_ADDRESS_HINT: Final = "check the address: it is the one whose /api/v1/query answers"
_CREDENTIALS_HINT: Final = "check the token and the tenant"


def error_from_reply(status: int, headers: Mapping[str, str], body: bytes, server: str) -> ClusterError:
    """The error of a reply whose status is not 200."""
    lowered = {key.lower(): value for key, value in headers.items()}
    if 300 <= status < 400:
        return MalformedReply(
            f"{server} redirects to another address, and a query is not sent on",
            hint="give the address it redirects to; a page for logging in means that a token is missing",
            status=status,
        )
    try:
        told: _Envelope = _ENVELOPE.decode(body)
        if not told.error:
            told = _Envelope(error=_kubernetes_message(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = _Envelope(error=_excerpt(body))
    error = _error(status, told.errorType, told.error, server)
    error.retry_after_seconds = _seconds(lowered.get("retry-after", ""))
    return error


def _error(status: int, kind: str, message: str, server: str) -> ClusterError:
    text = " ".join(message.split())[:300] or f"HTTP {status}"
    plain = text.lower()
    if status in (401, 407):
        return Unauthorized(f"{server} does not know who is asking: {text}", hint=_CREDENTIALS_HINT, status=status)
    if status == 403:
        return Forbidden(f"{server} forbids the query: {text}", hint=_CREDENTIALS_HINT, status=status)
    if status == 404:
        return NotFound(f"{server} has no Prometheus API: {text}", hint=_ADDRESS_HINT, status=status)
    if status in (413, 504) or kind == "timeout" or any(words in plain for words in _TOO_LARGE):
        return QueryTooLarge(f"{server} finds the query too large: {text}", status=status, reason=kind)
    if status == 429:
        return Throttled(f"{server} is asked too often: {text}", status=status)
    if 400 <= status < 500 or kind in ("bad_data", "execution"):
        return Invalid(f"{server} refuses the query: {text}", hint=_ADDRESS_HINT, status=status, reason=kind)
    return ServerFault(f"{server} has a fault: {text}", status=status, reason=kind)


def _kubernetes_message(body: bytes) -> str:
    """What a Kubernetes API server on the way to Prometheus says."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _excerpt(body)
    return str(document.get("message") or "") if isinstance(document, dict) else _excerpt(body)


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", "replace").split())
    return f"{text[:80]!r}" if text else "an empty answer"


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None
