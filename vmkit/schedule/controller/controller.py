"""The controller: makes a pass when there is something to do, and only while it leads.

A pass is the same as `vmkit schedule run` makes. What differs is when: at the next transition, warning, or end of
an override; soon after something changed that a decision may depend on; after a while where something had to wait;
and from time to time in any case. What it decides by is kept up to date by watches.

Its clock is the cluster's, which it asks before each pass; how long it sleeps is measured by a clock nobody sets.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from vmkit.cluster.retry import NEVER
from vmkit.cluster.session import Session
from vmkit.errors import ClusterError, UsageError, VmkitError
from vmkit.plan import Outcome
from vmkit.schedule.controller.clock import ClusterClock, read_uptime
from vmkit.schedule.controller.election import Elector, LeaseOptions
from vmkit.schedule.controller.lines import Line
from vmkit.schedule.controller.metrics import Metrics
from vmkit.schedule.controller.permissions import METRICS_PATH
from vmkit.schedule.controller.picture import Kind, Picture
from vmkit.schedule.controller.reporting import Reporter
from vmkit.schedule.controller.serving import Server
from vmkit.schedule.controller.watching import Watcher
from vmkit.schedule.running.hands import Hands
from vmkit.schedule.running.options import PassOptions, Seen
from vmkit.schedule.running.pace import Pace
from vmkit.schedule.running.passing import run_pass
from vmkit.schedule.running.settings import Settings
from vmkit.schedule.running.vigil import Vigil
from vmkit.units import format_duration

_SETTLE_SECONDS: Final = 0.5
"""After a change so long is waited for more of them, and between two passes."""
_STUCK_SECONDS: Final = 600.0
"""A loop that has done nothing for so long is stuck: one request, tried again and again, takes a minute or two."""
_STEP_SAID_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a controller goes about it.

    Attributes:
        lease: by which replicas agree on who acts; None where there is only this one.
        listen: address and port of /metrics, /healthz and /readyz; None for none.
        resync: everything is listed anew, and looked at in any case, this often.
        heartbeat_seconds: how often the switch, the clock and the config file are looked at.
        again_seconds: after so long what had to wait is tried again.
    """

    lease: LeaseOptions | None = None
    listen: tuple[str, int] | None = None
    resync: timedelta = timedelta(minutes=10)
    heartbeat_seconds: float = 5.0
    again_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.resync < timedelta(seconds=10):
            raise UsageError("listing everything anew takes time", hint="--resync 10m; 10s at least")


class Controller:
    """Runs until it is stopped.

    Args:
        session: the cluster. Its watches keep three connections busy.
        hands: how VMs are started and stopped.
        options: what a pass does.
        watch: how the controller goes about it.
        reload: reads the settings again; asked where a file they came from has changed.
        on_line: told what happens; from any thread.

    Raises:
        UsageError: an instant other than now was asked for.
    """

    def __init__(
        self,
        session: Session,
        hands: Hands,
        options: PassOptions,
        watch: WatchOptions | None = None,
        *,
        reload: Callable[[], Settings] | None = None,
        on_line: Callable[[Line], None] = lambda line: None,
    ) -> None:
        if options.at is not None:
            raise UsageError("a controller acts now, not at another instant")
        self.metrics = Metrics()
        self.metrics.set("config_valid", 1.0)
        self._reporter = Reporter(self.metrics, on_line)
        self.identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        self._session, self._hands, self._options = session, hands, options
        self._watch_options = watch or WatchOptions()
        self._reload = reload
        self._settings = options.settings
        # Nobody knows what the files were like when they were read: they are read once more.
        self._stamps: dict[Path, tuple[int, int, int] | None] = {}
        self._picture = Picture(self._settings, self._changed)
        self._clock = ClusterClock()
        self._pace = Pace(options.starts_a_minute)
        self._wake, self._ending, self._halt = threading.Event(), threading.Event(), threading.Event()
        self._elector: Elector | None = None
        self._defect: Exception | None = None
        self._dirty_since: float | None = None
        self._pass_due = 0.0
        self._next_at: datetime | None = None
        self._beat_due = 0.0
        self._alive = read_uptime()
        self._step_said = -_STEP_SAID_SECONDS

    # --- from outside ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """Runs until `stop` is called; then finishes what is under way, and lets another replica take over.

        Raises:
            ConfigError: nobody can listen at the address.
        """
        with self._serving(), self._competing(), self._watching():
            self._reporter.say("started", f"looking after the VMs of {self._scope()} as {self.identity}")
            self._reporter.note(self._settings.notices)
            while not self._ending.is_set():
                self._wake.clear()
                self._turn()
                if not self._ending.is_set():
                    self._wake.wait(self._pause())
            self._reporter.say("stopping", "nothing further is begun")
        if self._defect is not None:
            raise self._defect
        self._reporter.say("stopped", "all that was begun is finished")

    def stop(self) -> None:
        """Ends it, from any thread. What is under way is finished."""
        self._ending.set()
        self._halt.set()
        self._wake.set()

    def look_now(self) -> None:
        """Asks for a pass as soon as there can be one, from any thread."""
        self._pass_due = 0.0
        self._wake.set()

    @property
    def leading(self) -> bool:
        """Whether it may act."""
        return self._elector is None or self._elector.leading

    def unwell(self) -> str:
        """Why it should be started anew; empty where it need not."""
        seconds = read_uptime() - self._alive
        return f"nothing was done for {seconds:.0f} s" if seconds > _STUCK_SECONDS else ""

    def unready(self) -> str:
        """Why it could not act if it led; empty where it could."""
        if not self._picture.complete:
            return "the VMs are not all known yet"
        return self._reporter.failure("switch")

    # --- around the loop ------------------------------------------------------------------------------------

    def _scope(self) -> str:
        return "all namespaces" if self._options.namespace is None else f"namespace {self._options.namespace}"

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        if self._watch_options.listen is None:
            yield
            return
        server = Server(
            self._watch_options.listen, metrics=self._render_metrics, unwell=self.unwell, unready=self.unready
        )
        with server:
            self._reporter.say("listening", f"http://{server.address}{METRICS_PATH}")
            yield

    def _render_metrics(self) -> str:
        self.metrics.set("leader", float(self.leading))
        return self.metrics.render()

    @contextlib.contextmanager
    def _competing(self) -> Iterator[None]:
        lease = self._watch_options.lease
        if lease is None or self._options.dry_run:
            yield
            return
        timeout = max(1.0, lease.renew_seconds / 2)
        with self._session.sibling(request_timeout_seconds=timeout, retry=NEVER) as session:
            self._elector = Elector(
                session, lease, self.identity,
                on_change=self._turned, on_error=lambda error: self._reporter.fail("lease", error),
                on_crash=self._crash,
            )  # fmt: skip
            self._elector.start()
            try:
                yield
            finally:
                self._elector.stop()

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        watchers = [
            Watcher(
                self._session,
                self._picture,
                kind,
                namespace=self._options.namespace,
                label_selector=self._options.label_selector,
                resync_seconds=self._watch_options.resync.total_seconds(),
                on_state=self._heard,
                on_crash=self._crash,
            )
            for kind in Kind
        ]
        for watcher in watchers:
            watcher.start()
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.stop()
            for watcher in watchers:
                watcher.join(5.0)

    # --- told by other threads ------------------------------------------------------------------------------

    def _changed(self) -> None:
        if self._dirty_since is None:
            self._dirty_since = read_uptime()
            self._wake.set()

    def _crash(self, error: Exception) -> None:
        self._defect = self._defect or error
        self.stop()

    def _turned(self, leading: bool, holder: str) -> None:
        if leading:
            self._reporter.recover("lease")
            self._pass_due = 0.0
            self._reporter.say("leading", "this replica acts")
        else:
            self._halt.set()
            who = f"{holder} acts" if holder else "nobody is known to act"
            self._reporter.say("standby", f"{who}; this replica waits")
        self._wake.set()

    def _heard(self, kind: Kind, error: ClusterError | None) -> None:
        self.metrics.set("watching", float(error is None), kind)
        key = f"watch {kind}"
        if error is not None:
            self.metrics.add("watch_failures_total", kind)
            self._reporter.fail(key, error)
        elif self._reporter.recover(key):
            self._reporter.say("watching", f"the cluster tells of {kind} again")
        self._wake.set()

    # --- the loop -------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Does what is due now."""
        self._alive = read_uptime()
        if self._alive >= self._beat_due:
            self._beat()
        if self.leading and self._picture.complete and self._is_due():
            self._pass()

    def _is_due(self) -> bool:
        uptime, now = read_uptime(), self._clock.now()
        settled = self._dirty_since is not None and uptime - self._dirty_since >= _SETTLE_SECONDS
        reached = self._next_at is not None and now is not None and now >= self._next_at
        return settled or reached or uptime >= self._pass_due

    def _pause(self) -> float:
        uptime, now = read_uptime(), self._clock.now()
        pauses = [self._beat_due - uptime]
        if self.leading and self._picture.complete:
            pauses.append(self._pass_due - uptime)
            if self._dirty_since is not None:
                pauses.append(self._dirty_since + _SETTLE_SECONDS - uptime)
            if self._next_at is not None and now is not None:
                # A pass may find that it is not quite time yet: answers tell it to the second.
                pauses.append(max(_SETTLE_SECONDS, (self._next_at - now).total_seconds()))
        return max(0.02, min(pauses))

    def _beat(self) -> bool:
        """Asks what time it is and whether changes are suspended; False where nobody answers."""
        self._beat_due = read_uptime() + self._watch_options.heartbeat_seconds
        self._reread()
        try:
            suspended = self._options.switch.is_suspended(self._session)
        except ClusterError as error:
            self._reporter.fail("switch", error)
            return False
        if self._reporter.recover("switch"):
            self._reporter.say("watching", "the cluster answers again")
        self.metrics.set("suspended", float(suspended))
        step = self._clock.tell(self._session.server_time)
        if step is not None:
            self.metrics.add("clock_steps_total")
            self._pass_due = 0.0  # Whatever was to come is worked out anew.
            if abs(self._alive - self._step_said) >= _STEP_SAID_SECONDS:
                self._step_said = self._alive
                way = "forward" if step > timedelta() else "back"
                self._reporter.say("clock", f"the cluster's clock was set {way} by {format_duration(abs(step))}")
        return True

    def _reread(self) -> None:
        """Reads the settings again, where their files have changed."""
        # From before the reading: a file that is being written is read again once it is whole.
        stamps = {file: _stamp(file) for file in self._settings.files}
        if self._reload is None or stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            settings = self._reload()
        except VmkitError as error:
            self.metrics.set("config_valid", 0.0)
            self._reporter.fail("settings", error)
            return
        self.metrics.set("config_valid", 1.0)
        recovered = self._reporter.recover("settings")
        if settings == self._settings and not recovered:
            return
        self._settings = settings
        self._reporter.say("settings", "read again, as a file has changed")
        self._reporter.note(settings.notices)
        self._picture.set_settings(settings)

    def _pass(self) -> None:
        halt = self._halt = threading.Event()
        begun = read_uptime()
        if self._ending.is_set() or not self._beat():
            self._pass_due = begun + self._watch_options.heartbeat_seconds
            return
        # What changes from here on is for the next pass.
        self._dirty_since = None
        self._pass_due = begun + self._watch_options.resync.total_seconds()
        at = self._session.server_time or datetime.now(UTC)
        surroundings, subjects = self._picture.look()
        vigil = Vigil(surroundings, subjects, at, self._pace, lambda: self.leading, self._reporter.is_told)
        self._reporter.begin_pass()
        try:
            result = run_pass(
                self._session, self._hands, replace(self._options, settings=self._settings),
                on_outcome=self._hear, on_seen=self._see, stopping=halt, vigil=vigil,
            )  # fmt: skip
        except VmkitError as error:
            self.metrics.add("passes_total", "failed")
            self._reporter.fail("pass", error)
            self._retry(self._watch_options.again_seconds)
        else:
            self.metrics.add("passes_total", "ok")
            self.metrics.set("last_success_timestamp_seconds", at.timestamp())
            self._reporter.recover("pass")
            self._reporter.note(result.notices)
        self._reporter.end_pass({subject.ref for subject in subjects})
        self.metrics.set("pass_duration_seconds", round(read_uptime() - begun, 3))

    def _retry(self, seconds: float) -> None:
        self._pass_due = min(self._pass_due, read_uptime() + seconds)

    def _see(self, seen: Seen) -> None:
        self._next_at = seen.next_at
        if seen.open:
            self._retry(self._watch_options.again_seconds)
        self._reporter.see(seen)

    def _hear(self, outcome: Outcome) -> None:
        self._alive = read_uptime()
        if outcome.reason.code == "Paced":
            self._retry(self._watch_options.heartbeat_seconds)
        self._reporter.hear(outcome)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        # Follows links: what a ConfigMap's volume shows is changed by turning one to another folder.
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
