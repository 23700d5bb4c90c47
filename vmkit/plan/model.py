"""The values of a run. Pure data: nothing here talks to a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vmkit.errors import ExitCode, VmkitError

ENVELOPE_VERSION = "vmkit.io/v1"
"""The version of the JSON envelope. Within it keys are added, never renamed or removed."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable ``code`` in CamelCase, and one sentence for people, without a full stop."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Any object: "VirtualMachine default/web-1". ``namespace`` is empty for cluster-scoped ones."""

    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """ "namespace/name", or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


@dataclass(frozen=True, slots=True)
class Change:
    """One intended change.

    Attributes:
        verb: "create", "start", "stop", "delete" ...: the command's own word.
        target: the object.
        reason: why it is wanted.
        detail: facts for people and programs (from what to what, which disks go).
    """

    verb: str
    target: ObjectRef
    reason: Reason
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of a run, in order, and what people should know before them."""

    verb: str
    changes: tuple[Change, ...]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)


class Status(StrEnum):
    """What became of one object."""

    CHANGED = "changed"
    """It was done, and seen to be so where waiting was asked for."""
    UNCHANGED = "unchanged"
    """It was so already."""
    PLANNED = "planned"
    """A dry run: it would be done."""
    SKIPPED = "skipped"
    """Not done, on purpose and without fault: a veto, a limit reached."""
    REFUSED = "refused"
    """vmkit would not; an override may exist."""
    FAILED = "failed"
    """It could not be done."""
    TIMED_OUT = "timed-out"
    """It was asked for, and not seen to be so in time."""
    NOT_TRIED = "not-tried"
    """The run ended (interrupt, lost cluster) before its turn."""


_BAD = frozenset({Status.FAILED, Status.REFUSED, Status.TIMED_OUT, Status.NOT_TRIED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one object.

    Attributes:
        target: the object.
        verb: what was asked.
        status: what became of it.
        reason: why; always given.
        error: the error where status is failed, refused or timed-out.
        detail: further facts: the object's new state, what was left out, the diff.
        seconds: how long it took, wall time.
    """

    target: ObjectRef
    verb: str
    status: Status
    reason: Reason
    error: VmkitError | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        return self.status not in _BAD

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the envelope's ``items``."""
        document: dict[str, Any] = {
            "kind": self.target.kind,
            "namespace": self.target.namespace,
            "name": self.target.name,
            "verb": self.verb,
            "status": str(self.status),
            "reason": {"code": self.reason.code, "text": self.reason.text},
        }
        if self.detail:
            document["detail"] = dict(self.detail)
        if self.error is not None:
            document["error"] = self.error.to_dict()
        if self.seconds is not None:
            document["seconds"] = round(self.seconds, 3)
        return document


@dataclass(frozen=True, slots=True)
class Result:
    """What a command returns.

    Attributes:
        command: the command's name ("start", "create").
        outcomes: one for each object, in the order asked.
        items: further data rows, for commands that show rather than change.
        notices: one-line remarks that belong on stderr.
        dry_run: "client", "server" or None.
    """

    command: str
    outcomes: tuple[Outcome, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()
    dry_run: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        """0 where all is well; 130 where Ctrl-C ended it. Where nothing succeeded and all failures share one exit
        code: that one. Otherwise 1: look at the outcomes."""
        bad = [outcome for outcome in self.outcomes if not outcome.ok]
        if not bad:
            return ExitCode.OK
        codes = {outcome.error.exit_code if outcome.error else ExitCode.SOME_FAILED for outcome in bad}
        if ExitCode.INTERRUPTED in codes:
            return ExitCode.INTERRUPTED
        if len(bad) == len(self.outcomes) and len(codes) == 1:
            return codes.pop()
        return ExitCode.SOME_FAILED

    @property
    def ok(self) -> bool:
        return self.exit_code is ExitCode.OK

    @property
    def counts(self) -> dict[str, int]:
        """How many outcomes of each status, by the status's own word; only those that occur."""
        found = Counter(str(outcome.status) for outcome in self.outcomes)
        return {str(status): found[status] for status in Status if found[status]}

    def to_dict(self) -> dict[str, Any]:
        """The versioned JSON envelope."""
        good = sum(outcome.ok for outcome in self.outcomes)
        status = "ok" if self.ok else "partial" if good else "failed"
        document: dict[str, Any] = {
            "apiVersion": ENVELOPE_VERSION,
            "kind": "Result",
            "command": self.command,
            "status": status,
            "exitCode": int(self.exit_code),
            "dryRun": self.dry_run,
            "items": [outcome.to_dict() for outcome in self.outcomes] or [dict(item) for item in self.items],
            "notices": list(self.notices),
        }
        if self.outcomes:
            document["counts"] = self.counts
        return document


def failed(target: ObjectRef, verb: str, error: VmkitError, *, seconds: float | None = None) -> Outcome:
    """The outcome of an error: refused where vmkit would not, timed-out where it ran out of time, else failed."""
    status = {
        ExitCode.REFUSED: Status.REFUSED,
        ExitCode.TIMEOUT: Status.TIMED_OUT,
    }.get(error.exit_code, Status.FAILED)
    return Outcome(target, verb, status, Reason(error.code, error.message), error=error, seconds=seconds)
