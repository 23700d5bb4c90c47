"""Rehearsals on a cluster: which VMs there are now, what they did in the past, and what policies would have done.

It joins what a run over idle VMs finds today with the history of whoever measures; see
`vmkit.idling.Idling.rehearse`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

from vmkit.errors import ConfigError, UsageError
from vmkit.idle.policy import IdlePolicy
from vmkit.idle.rehearsal import Rehearsal, Terms, rehearse
from vmkit.idle.rehearsal_history import VmHistory
from vmkit.idle.rehearsal_reading import HistoryReader
from vmkit.idle.rehearsal_recording import RecordingReader
from vmkit.idle.report import IdleItem, IdleReport
from vmkit.idle.running import IdleRun
from vmkit.metrics.prometheus.client import PrometheusClient
from vmkit.metrics.source import UsageSource
from vmkit.practice import PracticeSource
from vmkit.report.page import Page
from vmkit.units import format_duration

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


class Reader(Protocol):
    """Reads what VMs did between two full hours."""

    start: datetime
    end: datetime

    @property
    def notices(self) -> tuple[str, ...]:
        """What people should know of the evidence."""
        ...  # a protocol has no body

    def read(
        self, items: Sequence[IdleItem], *, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[VmHistory]:
        """The history of each VM, in the order given."""
        ...  # a protocol has no body


@dataclass(frozen=True, slots=True)
class PastRehearsed:
    """What a rehearsal found.

    Attributes:
        report: the VMs, as they are today.
        rehearsals: of each policy, in the order asked for; at least one.
        notices: what people should know of the evidence.
    """

    report: IdleReport
    rehearsals: tuple[Rehearsal, ...]
    notices: tuple[str, ...]

    def page(self, *, command: str = "") -> Page:
        """The same as a page: `vmkit.report.page.html.render_html` and its neighbour write it."""
        from vmkit.idle.rehearsal_pages import build_rehearsal_page

        return build_rehearsal_page(
            self.rehearsals,
            made_at=self.report.at,
            scope=self.report.scope,
            source=self.report.source,
            notices=self.notices,
            command=command,
        )


def rehearse_past(
    look: Callable[[], IdleRun],
    measured_by: PrometheusClient | UsageSource | None,
    policies: Sequence[IdlePolicy],
    *,
    span: timedelta,
    notice: timedelta,
    horizon: timedelta = _DAY,
    zone: tzinfo = UTC,
    on_progress: Callable[[str], None] | None = None,
) -> PastRehearsed:
    """Replays policies over the past of the VMs that a look finds.

    Args:
        look: finds them, and changes nothing.
        measured_by: who knows of their past.
        policies: at least one.
        span: how far back.
        notice, horizon, zone: see `Terms`.
        on_progress: told what is being done.

    Raises:
        UsageError: the span is less than a day.
        ConfigError: nobody knows of the past.
        ClusterError, DeadlineExceeded: cluster or Prometheus cannot be read.
    """
    if span < _DAY:
        raise UsageError(
            f"a rehearsal of {format_duration(span)} shows nothing", hint="give 1d or more; 30d is usual"
        )
    read = _choose_reader(measured_by)
    tell = on_progress or (lambda text: None)
    tell("looking at the VMs")
    run = look()
    report = run.report
    reader = read(report.at - span - max(policy.lookback for policy in policies), report.at)
    terms = Terms(reader.end - span // _HOUR * _HOUR, reader.end, zone, notice=notice, horizon=horizon)
    histories = reader.read(
        report.items, on_progress=lambda done: tell(f"replayed {done} of {len(report.items)} VMs")
    )
    found = tuple(rehearse(policies, histories, terms))
    # What is unknown today is known of the past, or the reader says why not.
    kept = [text for text in report.notices if not text.startswith("of no VM it is known")]
    wrong = [outcome.error.message for outcome in run.result.outcomes if outcome.error is not None]
    return PastRehearsed(report, found, tuple(dict.fromkeys([*wrong, *reader.notices, *kept])))


def _choose_reader(measured_by: PrometheusClient | UsageSource | None) -> Callable[[datetime, datetime], Reader]:
    if isinstance(measured_by, PracticeSource):
        record = measured_by.record
        return lambda start, end: RecordingReader(record, start=start, end=end)
    if isinstance(measured_by, PrometheusClient):
        client = measured_by
        return lambda start, end: HistoryReader(client, start=start, end=end)
    raise ConfigError(
        "a rehearsal needs the history of a Prometheus, and none was found in the cluster",
        hint="--prometheus URL says where one is",
    )
