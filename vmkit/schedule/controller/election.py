"""Who of several replicas acts: the one that holds a Lease.

As client-go does it (k8s.io/client-go/tools/leaderelection): the holder renews; who finds that a Lease has not
changed for as long as it says takes it over, by the resourceVersion, so that only one succeeds. Nobody compares
clocks of two machines: how long a Lease has not changed is measured by one's own.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from vmkit.cluster.resources import LEASES
from vmkit.cluster.session import Session
from vmkit.errors import AlreadyExists, ClusterError, Conflict, UsageError
from vmkit.schedule.controller.clock import read_uptime
from vmkit.schedule.controller.permissions import DEFAULT_LEASE


@dataclass(frozen=True, slots=True)
class LeaseOptions:
    """Where the Lease is, and its times: client-go's defaults.

    Attributes:
        namespace, name: where it is.
        lease_seconds: how long it holds after it was last renewed.
        renew_seconds: a holder that could not renew it for so long stops acting: well before others take it over.
        retry_seconds: between two tries.
    """

    namespace: str
    name: str = DEFAULT_LEASE
    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds < self.renew_seconds < self.lease_seconds:
            raise UsageError(
                "a Lease has to hold longer than its renewal may take, and that longer than one try",
                hint="15, 10 and 2 seconds are what others use",
            )


class Move(StrEnum):
    """What to do about a Lease."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Observed:
    """A Lease's spec as it was first seen so, and when, by one's own clock."""

    spec: tuple[tuple[str, str], ...]
    since: float


def observe(lease: dict[str, Any] | None, before: Observed | None, uptime: float) -> Observed | None:
    """Notes when the Lease came to say what it says. Pure."""
    if lease is None:
        return None
    spec = tuple(sorted((key, str(value)) for key, value in _spec(lease).items()))
    return before if before is not None and before.spec == spec else Observed(spec, uptime)


def decide_move(lease: dict[str, Any] | None, observed: Observed | None, identity: str, uptime: float) -> Move:
    """What to do about a Lease that was just read. Pure.

    Args:
        lease: the object; None where there is none.
        observed: from `observe`, of this very object.
        identity: one's own.
        uptime: now, by the clock of ``observed``.
    """
    if lease is None or observed is None:
        return Move.CREATE
    spec = _spec(lease)
    holder = spec.get("holderIdentity")
    if not isinstance(holder, str) or not holder:
        return Move.TAKE
    if holder == identity:
        return Move.RENEW
    seconds = spec.get("leaseDurationSeconds")
    held = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0
    return Move.TAKE if uptime - observed.since >= held else Move.WAIT


def _spec(lease: dict[str, Any]) -> dict[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, dict) else {}


_MICRO_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class Elector:
    """Competes for the Lease in a thread of its own, and says at any moment whether it is held.

    Args:
        session: with a patience shorter than `LeaseOptions.renew_seconds`.
        options: the Lease.
        identity: another for each replica.
        on_change: told when it begins or ends to lead, with the holder as far as known; from the thread.
        on_error: told why a try failed, when that is another reason than before.
        on_crash: told of a defect, after which it does not compete any more.
        uptime: seconds by a clock that nobody sets.
    """

    def __init__(
        self,
        session: Session,
        options: LeaseOptions,
        identity: str,
        *,
        on_change: Callable[[bool, str], None] = lambda leading, holder: None,
        on_error: Callable[[ClusterError], None] = lambda error: None,
        on_crash: Callable[[Exception], None] = lambda error: None,
        uptime: Callable[[], float] = read_uptime,
    ) -> None:
        self.identity = identity
        self._session = session
        self._options = options
        self._on_change, self._on_error, self._on_crash = on_change, on_error, on_crash
        self._uptime = uptime
        self._lock = threading.Lock()
        self._good_until = -1.0
        self._said: tuple[bool, str] | None = None
        self._observed: Observed | None = None
        self._failure = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmkit-lease", daemon=True)

    def start(self) -> None:
        """Begins to compete."""
        self._thread.start()

    @property
    def leading(self) -> bool:
        """Whether the Lease is held, and was renewed lately enough for nobody else to have taken it."""
        with self._lock:
            return self._uptime() < self._good_until

    def stop(self) -> None:
        """Ends competing, and gives the Lease back where it is held. Nothing may be changed any more by then."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._options.lease_seconds)
        if self.leading:
            self._release()

    def _run(self) -> None:
        try:
            self._compete()
        except Exception as error:  # noqa: BLE001 - a thread that dies unheard would leave nobody to act
            self._on_crash(error)

    def _compete(self) -> None:
        while not self._ending.is_set():
            holder = self._try()
            self._tell(holder)
            seconds = self._options.retry_seconds
            # Those who wait do not all come at once.
            self._ending.wait(seconds if self.leading else seconds * (1 + random.random()))

    def _try(self) -> str:
        """One try.

        Returns:
            Who holds the Lease, as far as known.
        """
        begun = self._uptime()
        try:
            lease = self._session.find(LEASES, self._options.name, self._options.namespace)
            self._observed = observe(lease, self._observed, begun)
            move = decide_move(lease, self._observed, self.identity, begun)
            if move is Move.WAIT:
                self._hold(-1.0)
                return str(_spec(lease or {}).get("holderIdentity"))
            self._write(lease, move)
        except (Conflict, AlreadyExists):
            return ""  # Somebody else was faster.
        except ClusterError as error:
            if error.message != self._failure:
                self._failure = error.message
                self._on_error(error)
            return ""
        self._failure = ""
        # From before the request: whatever time it took is taken off.
        self._hold(begun + self._options.renew_seconds)
        return self.identity

    def _hold(self, until: float) -> None:
        with self._lock:
            self._good_until = until

    def _write(self, lease: dict[str, Any] | None, move: Move) -> None:
        # By this machine's clock, to the microsecond: others only look whether it is another than before.
        now = datetime.now(UTC).strftime(_MICRO_TIME)
        spec = dict(_spec(lease or {}))
        if move is not Move.RENEW:
            count = spec.get("leaseTransitions")
            spec["acquireTime"] = now
            spec["leaseTransitions"] = count + 1 if isinstance(count, int) else 0
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._options.lease_seconds)),
            "renewTime": now,
        }
        self._put(lease, spec)

    def _put(self, lease: dict[str, Any] | None, spec: dict[str, Any]) -> None:
        if lease is None:
            document = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._options.name, "namespace": self._options.namespace},
                "spec": spec,
            }
            self._session.create(LEASES, document, self._options.namespace)
        else:
            self._session.replace(LEASES, {**lease, "spec": spec}, self._options.namespace)

    def _release(self) -> None:
        self._hold(-1.0)
        try:
            lease = self._session.find(LEASES, self._options.name, self._options.namespace)
            if lease is None or _spec(lease).get("holderIdentity") != self.identity:
                return
            self._put(lease, {**_spec(lease), "holderIdentity": "", "leaseDurationSeconds": 1})
        except ClusterError as error:
            self._on_error(error)  # It runs out by itself.

    def _tell(self, holder: str) -> None:
        leading, said = self.leading, self._said or (False, "")
        if leading != said[0] or (holder and holder != said[1]):
            self._said = (leading, holder)
            self._on_change(leading, holder)
