"""Tries again what may succeed the next time.

A first failure comes here; the happy path costs nothing. What is repeated is decided by the error and by whether
the request may be repeated at all; how long to wait by back-off with full jitter, and never less than the server
asked for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from vmkit.errors import ClusterError, FateUnknown, ServerFault, Throttled, Unreachable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a session is.

    Attributes:
        attempts: at most so many requests for one call, the first included. 1 never repeats.
        first_contact_attempts: likewise, while the server has never been reached: a wrong address is told soon.
        deadline_seconds: no attempt begins later than this after the first.
        base_seconds, cap_seconds: the wait before attempt n is a random part of base x 2^n, at most the cap.
    """

    attempts: int = 8
    first_contact_attempts: int = 3
    deadline_seconds: float = 45.0
    base_seconds: float = 0.1
    cap_seconds: float = 8.0


SILENT_TRIES = 3
"""About so many requests, each of the whole request timeout, are spent on a server that does not answer."""

NEVER = RetryPolicy(attempts=1, first_contact_attempts=1)
"""Repeats nothing."""


def may_repeat(error: ClusterError, *, idempotent: bool) -> bool:
    """Whether sending the same request again is safe and may help.

    Throttled requests were not carried out, nor were those that never left. A 503 that carries a Status comes from
    the API server itself, which could not hand the request on. Everything else is repeated only where doing it
    twice is doing it once.
    """
    if isinstance(error, Throttled):
        return True
    if isinstance(error, FateUnknown):
        return idempotent
    if isinstance(error, Unreachable):
        return True
    if isinstance(error, ServerFault):
        unavailable = error.status == 503 and error.reason == "ServiceUnavailable"
        return idempotent or unavailable or "failed calling webhook" in error.message
    return False


def repeat(
    first: ClusterError,
    send: Callable[[], T],
    *,
    policy: RetryPolicy,
    idempotent: bool,
    attempts: int,
    began: float,
    timeout_seconds: float,
) -> T:
    """Sends again after ``first``, until it succeeds, fails for good, or patience ends.

    Args:
        first: the error of the first attempt.
        send: sends the request.
        policy: how patient.
        idempotent: whether the request may be repeated when nobody knows whether it was carried out.
        attempts: how many in all, the first included.
        began: the `time.monotonic` instant of the first attempt.
        timeout_seconds: how long one request may take. Where no answer comes, patience is `SILENT_TRIES` of them,
            and never more than the policy's.

    Raises:
        ClusterError: the last attempt's error.
    """
    errors: list[ClusterError] = [first]

    def attempt() -> T:
        # The first attempt has happened: hand its error to tenacity as if it had made it.
        return send() if not errors else _throw(errors.pop())

    retrying = tenacity.Retrying(
        stop=_stop(policy, attempts=attempts, began=began, timeout_seconds=timeout_seconds),
        wait=_wait(policy),
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, ClusterError) and may_repeat(error, idempotent=idempotent)
        ),
        reraise=True,
    )
    return retrying(attempt)


def _throw(error: ClusterError) -> T:  # type: ignore[type-var]
    raise error


def _stop(
    policy: RetryPolicy, *, attempts: int, began: float, timeout_seconds: float
) -> Callable[[tenacity.RetryCallState], bool]:
    def over(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        patience = policy.deadline_seconds
        if isinstance(error, Unreachable):
            patience = min(patience, SILENT_TRIES * timeout_seconds)
        late = time.monotonic() - began + state.upcoming_sleep >= patience
        return late or state.attempt_number >= attempts

    return over


def _wait(policy: RetryPolicy) -> Callable[[tenacity.RetryCallState], float]:
    def seconds(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after_seconds if isinstance(error, ClusterError) else None
        backoff = min(policy.cap_seconds, policy.base_seconds * 2**state.attempt_number)
        # Spread what was asked for too: a thousand clients told "1 second" should not come back together.
        return float((asked or 0.0) * (1 + random.random() / 10) + backoff * random.random())

    return seconds
