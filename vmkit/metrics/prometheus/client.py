"""A client of Prometheus's query API: a question sent, repeated where that may help, and its answer decoded.

    client = PrometheusClient("http://prometheus.monitoring:9090")
    for series in client.query("up", at=now):
        print(series.labels, series.value)

Whatever speaks the same API answers as well: Thanos, Mimir, VictoriaMetrics.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from vmkit.cluster.retry import RetryPolicy, may_repeat, repeat
from vmkit.errors import ClusterError, UsageError
from vmkit.metrics.prometheus.door import Door, HttpDoor, RawReply
from vmkit.metrics.prometheus.reply import Answer, Series, error_from_reply, read_answer

__all__ = ["PATIENCE", "Answer", "PrometheusClient", "Series"]

PATIENCE: Final = RetryPolicy(attempts=4, deadline_seconds=30.0)
"""Queries change nothing, so that all may be repeated."""


class PrometheusClient:
    """Asks one Prometheus. Thread-safe. Nothing is sent before the first query.

    Args:
        url: up to and without ``/api/v1``.
        token, token_file: a bearer token, or a file with one, which is read again before every query.
        ca_file: certificates to trust in place of the system's.
        insecure: trust any certificate.
        tenant: whose data (``X-Scope-OrgID``).
        headers: more headers.
        timeout_seconds: how long a query may take.
        retry: how patient; queries change nothing, so all may be repeated.

    Raises:
        UsageError: the address is none.
        ConfigError: a file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        insecure: bool = False,
        tenant: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 120.0,
        retry: RetryPolicy = PATIENCE,
    ) -> None:
        door = HttpDoor(
            url,
            token=token,
            token_file=token_file,
            ca_file=ca_file,
            insecure=insecure,
            tenant=tenant,
            headers=headers,
            timeout_seconds=timeout_seconds,
        )
        self._set_up(door, timeout_seconds=timeout_seconds, retry=retry)

    @classmethod
    def through(
        cls, door: Door, *, timeout_seconds: float = 120.0, retry: RetryPolicy = PATIENCE
    ) -> PrometheusClient:
        """A client that reaches its server some other way; see `vmkit.metrics.prometheus.door`."""
        client = cls.__new__(cls)
        client._set_up(door, timeout_seconds=timeout_seconds, retry=retry)
        return client

    def _set_up(self, door: Door, *, timeout_seconds: float, retry: RetryPolicy) -> None:
        self._door, self._timeout_seconds, self._retry = door, timeout_seconds, retry

    @property
    def server(self) -> str:
        """The server's address, without secrets."""
        return self._door.server

    def query(self, promql: str, at: datetime | None = None) -> Answer:
        """What an expression is at an instant; one sample a series, or as many as a range selector finds.

        Args:
            promql: the expression.
            at: an aware instant; None for now by the server's clock.

        Raises:
            QueryTooLarge: it reads more than the server allows, or takes longer: ask for less.
            DeadlineExceeded: no answer came in time.
            ClusterError: the server is away, refuses, or answers with something else.
        """
        form = {"query": promql, "timeout": f"{self._timeout_seconds:g}s"}
        if at is not None:
            form["time"] = _stamp(at)
        return self._ask("/api/v1/query", form)

    def query_range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> Answer:
        """What an expression was, step by step, both ends included. The server gives 11,000 steps at most.

        Args:
            promql: the expression.
            start, end: aware instants.
            step: between two samples.

        Raises:
            UsageError: the step is not above zero, or the end lies before the start.
            ClusterError, DeadlineExceeded: as `query`.
        """
        if step <= timedelta(0) or end < start:
            raise UsageError("a range needs a step above zero, and an end that is not before its start")
        form = {
            "query": promql,
            "start": _stamp(start),
            "end": _stamp(end),
            "step": f"{step.total_seconds():g}",
            "timeout": f"{self._timeout_seconds:g}s",
        }
        return self._ask("/api/v1/query_range", form)

    def _ask(self, path: str, form: Mapping[str, str]) -> Answer:
        body = urlencode(form)
        began = time.monotonic()

        def once() -> RawReply:
            reply = self._door.post(path, body)
            if reply.status != 200:
                raise error_from_reply(reply.status, reply.headers, reply.body, self.server)
            return reply

        try:
            reply = once()
        except ClusterError as error:
            if self._retry.attempts <= 1 or not may_repeat(error, idempotent=True):
                raise
            reply = repeat(
                error,
                once,
                policy=self._retry,
                idempotent=True,
                attempts=self._retry.attempts,
                began=began,
                timeout_seconds=self._timeout_seconds,
            )
        return read_answer(reply.body, self.server)


def _stamp(at: datetime) -> str:
    if at.tzinfo is None:
        raise UsageError("an instant without a time zone names no moment", hint="give an aware datetime")
    return f"{at.timestamp():.3f}"
