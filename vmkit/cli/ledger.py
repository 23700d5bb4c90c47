"""What a run set out to do and what is known to have come of it, for when it is interrupted half-way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from vmkit.errors import Interrupted
from vmkit.plan.model import Outcome, Plan, Result, failed

R = TypeVar("R", bound=Result)


class Ledger:
    """Keeps the plan and the outcomes of one run; `planned` and `heard` are called as the run tells of them."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._plan: Plan | None = None
        self._outcomes: list[Outcome] = []

    def planned(self, plan: Plan) -> None:
        """The plan has been agreed to."""
        self._plan = plan

    def heard(self, outcome: Outcome) -> None:
        """An object is done."""
        self._outcomes.append(outcome)

    def run(self, call: Callable[[], R], *, on_outcome: Callable[[Outcome], None]) -> R | Result:
        """Calls it. Ctrl-C in the middle of it, at a moment the run itself does not handle, gives a result too.

        Args:
            call: the run.
            on_outcome: told of what is then listed.

        Raises:
            KeyboardInterrupt: before anything was agreed to: nothing was done.
        """
        try:
            return call()
        except KeyboardInterrupt:
            if self._plan is None:
                raise
            known = {outcome.target for outcome in self._outcomes}
            error = Interrupted(
                "interrupted; it may have been asked for", hint="run it again: what is so already stays as it is"
            )
            for change in self._plan:
                if change.target not in known:
                    outcome = failed(change.target, change.verb, error)
                    self._outcomes.append(outcome)
                    on_outcome(outcome)
            return Result(self._command, tuple(self._outcomes))
