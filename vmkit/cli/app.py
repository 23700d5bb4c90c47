"""What every command is handed: the console, the connection it should use, and how results are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from vmkit.cli.console import Console
from vmkit.errors import ExitCode, NotConfirmed, VmkitError

if TYPE_CHECKING:
    from vmkit.api import Vmkit
    from vmkit.plan.model import Outcome, Plan, Result

ASK_ABOVE: Final = 10
"""A run over a selection that changes more VMs than this asks first; VMs that were named one by one do not."""
_SHOWN: Final = 20
"""So many lines of a plan are shown before a question; --dry-run shows them all."""


@dataclass(slots=True)
class Connection:
    """Which cluster, as the options say; None leaves it to the kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    request_timeout: timedelta | None = None


@dataclass(slots=True)
class App:
    """One run of the command line.

    Attributes:
        console: the only way to write anything.
        connection: what --kubeconfig, --context, --namespace and --request-timeout said, wherever they stood.
    """

    console: Console = field(default_factory=Console)
    connection: Connection = field(default_factory=Connection)
    _ranks: dict[str, tuple[bool, int]] = field(default_factory=dict)
    _notices_given: set[str] = field(default_factory=set)

    def offer(self, name: str, value: Any, *, rank: tuple[bool, int]) -> None:
        """Takes the value of an option that may stand in several places; the highest rank wins."""
        if name in ("verbose", "quiet"):
            # These add up: vmkit -v get -v is -vv.
            self.console.verbosity += value if name == "verbose" else -value
            return
        if rank < self._ranks.get(name, (False, -1)):
            return
        self._ranks[name] = rank
        if name == "color":
            self.console.color = value
        else:
            setattr(self.connection, name, value)

    def connect(self, *, connections: int = 16) -> Vmkit:
        """Connects to the chosen cluster: ``with app.connect() as vk: ...``.

        Args:
            connections: how many requests may be under way at once (--concurrency).

        Raises:
            ConfigError, ClusterError: there is no usable kubeconfig, or the cluster does not answer.
        """
        from vmkit.api import Vmkit

        chosen = self.connection
        vk = Vmkit.connect(
            kubeconfig=chosen.kubeconfig,
            context=chosen.context,
            namespace=chosen.namespace,
            connections=connections,
            request_timeout_seconds=chosen.request_timeout.total_seconds() if chosen.request_timeout else 30.0,
            on_warning=self.console.warn,
        )
        self.console.debug(f"cluster {vk.session.server}, namespace {vk.namespace}")
        return vk

    # --- before a run ---

    def confirmer(self, *, yes: bool, by_name: bool = False, always: bool = False) -> Callable[[Plan], None]:
        """What asks before a plan is carried out, for the ``confirm`` of the API.

        Args:
            yes: --yes was given: nothing is asked.
            by_name: every object was named one by one, which is consent enough for what can be undone.
            always: ask about a single object too, however it was named.
        """

        def confirm(plan: Plan) -> None:
            # Before the question, not after it: they are part of what is agreed to.
            self._notify(plan.notices)
            if yes or not plan.changes or (not always and (by_name or len(plan) <= ASK_ABOVE)):
                return
            one = plan.changes[0].target.path if len(plan) == 1 else f"{len(plan)} objects"
            if not self.console.interactive:
                raise NotConfirmed(
                    f"{plan.verb} of {one} needs a yes, and there is no terminal to ask at",
                    hint="look at it with --dry-run=client, then give --yes",
                )
            from vmkit.report.outcomes import describe_change

            for change in plan.changes[:_SHOWN]:
                self.console.note(f"  {describe_change(change)}")
            if len(plan) > _SHOWN:
                self.console.note(f"  and {len(plan) - _SHOWN} more; --dry-run=client lists them all")
            if not self.console.ask(f"{plan.verb} {one}?"):
                raise NotConfirmed(f"{plan.verb} of {one} was not confirmed", hint="nothing was changed")

        return confirm

    # --- during a run ---

    def outcome_writer(self, output: str | None) -> Callable[[Outcome], None]:
        """What writes one line for each object as soon as it is done, for the ``on_outcome`` of the API.

        Successes are data and go to stdout, failures to stderr. Under -o json and its like only the failures are
        written here, and the whole result by `show`.
        """
        from vmkit.report.outcomes import describe_outcome, outcome_role

        def write(outcome: Outcome) -> None:
            if outcome.error is not None and not outcome.ok:
                self.console.error(outcome.error, prefix=describe_outcome(outcome, reason=False))
            elif not outcome.ok:
                self.console.problem(describe_outcome(outcome))
            elif output is None:
                self.console.report(describe_outcome(outcome), role=outcome_role(outcome))

        return write

    # --- after a run ---

    def show(self, result: Result, *, output: str | None, lines_written: bool = True) -> ExitCode:
        """Writes a result and returns the exit code of the run.

        Args:
            result: what a method of the API returned.
            output: the value of -o; None for one line for each object.
            lines_written: the lines were written during the run by `outcome_writer`.
        """
        from vmkit.report.outcomes import render_result, summarize

        write = self.outcome_writer(output)
        if not lines_written:
            for outcome in result.outcomes:
                write(outcome)
        self._notify(result.notices)
        if output is not None:
            self.console.data(render_result(result, output))
        if len(result.outcomes) > 1:
            self.console.note(summarize(result))
        return result.exit_code

    def say(self, errors: Iterable[VmkitError], notices: Iterable[str]) -> None:
        """Writes what went wrong and what should be known beside the data, to stderr."""
        for error in errors:
            self.console.error(error)
        self._notify(notices)

    def _notify(self, notices: Iterable[str]) -> None:
        for notice in notices:
            if notice not in self._notices_given:
                self._notices_given.add(notice)
                self.console.warn(notice)
