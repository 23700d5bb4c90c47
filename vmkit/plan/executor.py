"""Carries out the changes of a plan: many at once, but never more than allowed, and none forgotten.

Threads, because the client is synchronous and waits on the network; the caller's thread only collects. Whatever
happens, there is one outcome for each change, in the order of the plan.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from vmkit.errors import DeadlineExceeded, Interrupted, LimitExceeded, VmkitError
from vmkit.plan.model import Change, Outcome, Plan, Reason, Status, failed
from vmkit.units import Limit

DEFAULT_CONCURRENCY: Final = 16
"""Changes in flight at once. KubeVirt's API server takes 200 requests a second from one client before it
throttles (virt-config.go); sixteen connections stay well below that on anything but loopback."""


_SWEEP_SECONDS: Final = 0.2


def check_limit(changes: int, total: int, limit: Limit | None, *, verb: str) -> None:
    """Refuses a run that would change more than allowed, before its first change.

    Args:
        changes: how many objects would change.
        total: of how many looked at; a percentage refers to it.
        limit: what is allowed; None allows everything.

    Raises:
        LimitExceeded: it would.
    """
    if limit is None or changes <= limit.of(total):
        return
    allowed = limit.of(total)
    of_total = f" ({limit} of {total})" if limit.percent is not None else ""
    raise LimitExceeded(
        f"{verb} would change {changes} of {total}, and --max-changes allows {allowed}{of_total}: nothing done",
        hint="narrow the selection, or raise --max-changes",
    )


def run(
    plan: Plan | Iterable[Change],
    do: Callable[[Change], Outcome],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    limit: Limit | None = None,
    total: int | None = None,
    deadline: float | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_interrupt: Callable[[], None] | None = None,
) -> tuple[Outcome, ...]:
    """Carries out every change.

    Args:
        plan: the changes.
        do: carries out one and says what came of it; called in worker threads. A `VmkitError` it raises becomes
            the change's outcome; any other exception is a defect, ends the run and is raised here.
        concurrency: how many at once, at least 1.
        limit: refuse the whole run when there are more changes than this.
        total: what a percentage in ``limit`` refers to; the number of changes where None.
        deadline: a `time.monotonic` instant after which no further change is begun.
        on_outcome: told of each outcome as it comes, in the caller's thread.
        should_stop: asked before each change; once true, the rest is not tried.
        on_interrupt: told of a Ctrl-C, which the outcomes do not show where every change was under way by then.

    Returns:
        One outcome for each change, in the plan's order. Ctrl-C lets the changes under way finish and marks the
        rest as not tried; a second Ctrl-C is raised at once.

    Raises:
        LimitExceeded: before the first change.
    """
    changes = tuple(plan)
    check_limit(
        len(changes),
        len(changes) if total is None else total,
        limit,
        verb=changes[0].verb if changes else "this",
    )
    if not changes:
        return ()
    job = _Job(changes, do, deadline, should_stop)
    starting = [
        threading.Thread(target=job.work, name=f"vmkit-{number}", daemon=True)
        for number in range(max(1, min(concurrency, len(changes))))
    ]
    unheard, interrupted = set(range(len(changes))), False
    while unheard:
        try:
            if starting:
                starting.pop().start()
                continue
            _hear(job, job.next_finished(unheard), unheard, on_outcome)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            starting.clear()
            job.interrupt()
            if on_interrupt is not None:
                on_interrupt()
        except BaseException:
            job.interrupt()
            raise
    return tuple(result for result in job.results if isinstance(result, Outcome))


def _hear(
    job: _Job, numbers: Iterable[int], unheard: set[int], on_outcome: Callable[[Outcome], None] | None
) -> None:
    for number in numbers:
        if number not in unheard:
            continue
        unheard.discard(number)
        result = job.results[number]
        if isinstance(result, Outcome):
            if on_outcome is not None:
                on_outcome(result)
        elif result is not None:
            raise result


class _Job:
    """What the workers share: the next change's number, and the results by number.

    Ctrl-C may strike the caller's thread anywhere, also between taking a number off the queue and looking at it.
    So results stand in a list, and the queue only says that there is something new to see in it.
    """

    def __init__(
        self,
        changes: tuple[Change, ...],
        do: Callable[[Change], Outcome],
        deadline: float | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.results: list[Outcome | BaseException | None] = [None] * len(changes)
        self._finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._changes = changes
        self._do = do
        self._deadline = deadline
        self._should_stop = should_stop
        self._numbers = iter(range(len(changes)))
        self._lock = threading.Lock()
        self._end: VmkitError | None = None

    def next_finished(self, unheard: set[int]) -> Iterable[int]:
        """Waits for a result, and looks through all of them from time to time.

        Never waits without an end: a signal that arrives just before a thread blocks does not wake it, and Ctrl-C
        would be heard only once a change is done.
        """
        try:
            return (self._finished.get(timeout=_SWEEP_SECONDS),)
        except queue.Empty:
            return [number for number in sorted(unheard) if self.results[number] is not None]

    def interrupt(self) -> None:
        """Begins no further change. What is under way goes on to its end."""
        self._end = Interrupted("interrupted before its turn", hint="run it again to do the rest")
        self.work()

    def work(self) -> None:
        """Takes change after change, until none is left."""
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            self.results[number] = self._carry_out(self._changes[number])
            self._finished.put(number)

    def _carry_out(self, change: Change) -> Outcome | BaseException:
        end = self._why_end()
        if end is not None:
            return not_tried(change, end)
        begun = time.monotonic()
        try:
            return self._do(change)
        except VmkitError as error:
            return failed(change.target, change.verb, error, seconds=time.monotonic() - begun)
        except BaseException as defect:  # noqa: BLE001 - raised again in the caller's thread
            return defect

    def _why_end(self) -> VmkitError | None:
        if self._end is not None:
            return self._end
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return DeadlineExceeded("the time for the whole run was over before its turn")
        if self._should_stop is not None and self._should_stop():
            return VmkitError("the run ended before its turn")
        return None


def not_tried(change: Change, why: VmkitError) -> Outcome:
    """The outcome of a change whose turn never came."""
    return Outcome(change.target, change.verb, Status.NOT_TRIED, Reason("NotTried", why.message), error=why)
