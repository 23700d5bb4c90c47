"""What VMs did in the past, from recordings that can be read at any instant, as a practice cluster has them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime

from vmkit.idle.rehearsal_history import DOWN, STEP, UNSEEN, UP, VmHistory, blank, full_hour
from vmkit.idle.report import IdleItem
from vmkit.metrics.practice import RecordedRun, Recording
from vmkit.metrics.summary import Signal
from vmkit.vm.reference import VmRef

_SECONDS = STEP.total_seconds()
_SIGNALS = (Signal.CPU, Signal.RECEIVE, Signal.TRANSMIT, Signal.DISK_READ, Signal.DISK_WRITE)


class RecordingReader:
    """Reads histories from recordings.

    Args:
        record: the recordings of some VMs, those that there are.
        start, end: what is read, cut to full hours.
    """

    def __init__(
        self, record: Callable[[Collection[VmRef]], Iterable[Recording]], *, start: datetime, end: datetime
    ) -> None:
        self._record = record
        self.start, self.end = full_hour(start), full_hour(end)
        self._count = (self.end - self.start) // STEP
        self.notices: tuple[str, ...] = ()

    def read(
        self, items: Sequence[IdleItem], *, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[VmHistory]:
        """The history of each VM, in the order given; see `vmkit.idle.rehearsal_reading.HistoryReader.read`.

        Raises:
            ClusterError: the practice cluster does not answer.
        """
        found = {each.ref: each for each in self._record({item.ref for item in items})}
        for done, item in enumerate(items, start=1):
            yield self._history(item, found.get(item.ref))
            if on_progress is not None:
                on_progress(done)

    def _history(self, item: IdleItem, recording: Recording | None) -> VmHistory:
        runs = () if recording is None else tuple(recording.runs)
        return VmHistory(
            facts=item.facts,
            start=self.start,
            states=self._states(recording, runs),
            signals={
                signal: self._rates(signal, runs)
                for signal in _SIGNALS
                if any(signal in run.counters for run in runs)
            },
            sessions=frozenset(() if recording is None else self._sessions(recording)),
            owner=item.owner,
            size=item.size,
        )

    def _ends(self) -> Iterator[tuple[int, float]]:
        """Each step, and the instant at which it ends."""
        begin = self.start.timestamp()
        return ((index, begin + (index + 1) * _SECONDS) for index in range(self._count))

    def _states(self, recording: Recording | None, runs: Sequence[RecordedRun]) -> bytes:
        states = bytearray([UNSEEN]) * self._count
        if recording is not None:
            for index, at in self._ends():
                if any(run.start <= at and (run.end is None or at < run.end) for run in runs):
                    states[index] = UP
                elif at >= recording.created:
                    states[index] = DOWN
        return bytes(states)

    def _rates(self, signal: Signal, runs: Sequence[RecordedRun]) -> array[float]:
        values = blank(self._count)
        for run in runs:
            read = run.counters.get(signal)
            before: float | None = None
            if read is None:
                continue
            for index, at in self._ends():
                if at < run.start or (run.end is not None and at >= run.end):
                    continue
                value = read(at)
                # Its counters began at nothing with the run.
                rise = value - (before if before is not None else self._value_before(read, run, at))
                before = value
                known = values[index] if values[index] >= 0 else 0.0
                values[index] = known + max(0.0, rise) / _SECONDS
        return values

    @staticmethod
    def _value_before(read: Callable[[float], float], run: RecordedRun, at: float) -> float:
        return read(at - _SECONDS) if at - _SECONDS >= run.start else 0.0

    def _sessions(self, recording: Recording) -> Iterator[int]:
        begin = self.start.timestamp()
        for index, at in self._ends():
            if at < recording.created:
                continue
            last = recording.last_session(at)
            if recording.open_sessions(at) > 0 or (last is not None and last > max(begin, at - _SECONDS)):
                yield index
