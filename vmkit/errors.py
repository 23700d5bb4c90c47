"""The errors vmkit raises, grouped by who has to act.

    VmkitError
    ├── InputError                  you wrote it wrong                        exit 2
    │   ├── UsageError              an option or an argument
    │   ├── ConfigError             a kubeconfig or a settings file
    │   ├── QuantityError           a size, a duration, a percentage
    │   ├── InvalidName             a name that Kubernetes would refuse
    │   ├── TemplateError           a template file (file, line, column)
    │   ├── AnswerError             a template's parameter
    │   ├── ManifestError           a manifest that is no Kubernetes object
    │   └── ScheduleError           a schedule (column)
    ├── ClusterError                the cluster refused or is away            exit 3
    │   ├── Unreachable             no answer at all
    │   │   └── FateUnknown         it was sent, and no answer came: it may have been done
    │   ├── Unauthorized            401
    │   ├── Forbidden               403, with the missing rule
    │   ├── NotFound                404
    │   ├── MissingApi              the API group or resource is not served
    │   ├── AlreadyExists           409 on create
    │   ├── Conflict                409: somebody else changed it, or its state forbids it
    │   ├── Invalid                 400 and 422: admission said no
    │   │   └── QueryTooLarge       more than a monitoring system reads for one query
    │   ├── Throttled               429
    │   ├── ServerFault             5xx
    │   ├── Expired                 410: a list or watch position is too old
    │   └── MalformedReply          an answer or an object that cannot be understood
    ├── DeadlineExceeded            it did not happen in time                 exit 4
    ├── Refused                     vmkit would not                           exit 5
    │   ├── NotConfirmed            nobody said yes
    │   ├── LimitExceeded           more changes than --max-changes allows
    │   ├── StorageUnhealthy        the storage cannot take it
    │   ├── Drifted                 the object exists and differs
    │   └── Vetoed                  a guard objects (GitOps, pool, migration ...)
    ├── EvidenceError               the evidence cannot be read               exit 6
    │   ├── DamagedImage            a disk or file system contradicts itself
    │   └── MissingTool             a program or package that is needed is not installed
    └── Interrupted                 somebody pressed Ctrl-C                   exit 130

Every error carries a stable ``code`` for programs, a ``message`` that names the object and what is wrong,
and a ``hint`` that says what to do next (may be empty). ``where`` names the file, object or option.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What the process says to its caller; docs/exit-codes.md explains each."""

    OK = 0
    SOME_FAILED = 1
    """At least one of several objects could not be handled; the others were."""
    INPUT = 2
    CLUSTER = 3
    TIMEOUT = 4
    REFUSED = 5
    EVIDENCE = 6
    INTERNAL = 70
    """A mistake in vmkit itself (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """Whoever read stdout went away before the end (128 + SIGPIPE, as shells report it)."""


class VmkitError(Exception):
    """The root: anything vmkit raises on purpose.

    Args:
        message: one line: what is wrong, naming the object.
        hint: one line: what to do next; empty when the message says it.
        where: the file, option or object ("namespace/name") it is about.
    """

    code: ClassVar[str] = "Error"
    exit_code: ClassVar[ExitCode] = ExitCode.SOME_FAILED

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def to_dict(self) -> dict[str, Any]:
        """The error as it stands in the JSON envelope: code, message, and hint and where if there are any."""
        document: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            document["hint"] = self.hint
        if self.where:
            document["where"] = self.where
        return document


# --- you wrote it wrong -------------------------------------------------------------------------------


class InputError(VmkitError):
    code = "InvalidInput"
    exit_code = ExitCode.INPUT


class UsageError(InputError):
    code = "Usage"


class ConfigError(InputError):
    code = "InvalidConfig"


class QuantityError(InputError):
    code = "InvalidQuantity"


class InvalidName(InputError):
    code = "InvalidName"


class PositionedError(InputError):
    """An error with a place in a text: ``line`` and ``column`` count from 1; None where unknown."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.line = line
        self.column = column

    def to_dict(self) -> dict[str, Any]:
        document = super().to_dict()
        if self.line is not None:
            document["line"] = self.line
        if self.column is not None:
            document["column"] = self.column
        return document


class TemplateError(PositionedError):
    code = "InvalidTemplate"


class AnswerError(InputError):
    code = "InvalidAnswer"


class ManifestError(PositionedError):
    code = "InvalidManifest"


class ScheduleError(PositionedError):
    code = "InvalidSchedule"


# --- the cluster refused or is away ---------------------------------------------------------------------


class ClusterError(VmkitError):
    """The cluster's own no.

    Args:
        status: the HTTP status, or None when there was no answer.
        reason: the ``reason`` of the Status body ("Conflict", "Invalid" ...), or empty.
        causes: ``details.causes`` of the Status body: mappings with reason, message, field.
        retry_after_seconds: what the server asked to wait, or None.
    """

    code = "ClusterError"
    exit_code = ExitCode.CLUSTER

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        status: int | None = None,
        reason: str = "",
        causes: tuple[dict[str, Any], ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retry_after_seconds = retry_after_seconds

    def to_dict(self) -> dict[str, Any]:
        document = super().to_dict()
        if self.status is not None:
            document["status"] = self.status
        if self.causes:
            document["causes"] = [dict(cause) for cause in self.causes]
        return document


class Unreachable(ClusterError):
    code = "Unreachable"


class FateUnknown(Unreachable):
    """A request that must not be repeated blindly was sent, and no answer came: look before asking again."""

    code = "FateUnknown"


class Unauthorized(ClusterError):
    code = "Unauthorized"


class Forbidden(ClusterError):
    code = "Forbidden"


class NotFound(ClusterError):
    code = "NotFound"


class MissingApi(ClusterError):
    code = "MissingApi"


class AlreadyExists(ClusterError):
    code = "AlreadyExists"


class Conflict(ClusterError):
    code = "Conflict"


class Invalid(ClusterError):
    code = "Invalid"


class QueryTooLarge(Invalid):
    """A query that reads more samples, or takes longer, than the monitoring system allows: ask for less."""

    code = "QueryTooLarge"


class Throttled(ClusterError):
    code = "Throttled"


class ServerFault(ClusterError):
    code = "ServerFault"


class Expired(ClusterError):
    code = "Expired"


class MalformedReply(ClusterError):
    code = "MalformedReply"


# --- it did not happen in time ----------------------------------------------------------------------------


class DeadlineExceeded(VmkitError):
    code = "DeadlineExceeded"
    exit_code = ExitCode.TIMEOUT


# --- vmkit would not ----------------------------------------------------------------------------------------


class Refused(VmkitError):
    code = "Refused"
    exit_code = ExitCode.REFUSED


class NotConfirmed(Refused):
    code = "NotConfirmed"


class LimitExceeded(Refused):
    code = "LimitExceeded"


class StorageUnhealthy(Refused):
    code = "StorageUnhealthy"


class Drifted(Refused):
    """The object is there and differs from what was asked; ``diff`` is a unified diff of the two."""

    code = "Drifted"

    def __init__(self, message: str, *, hint: str = "", where: str = "", diff: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.diff = diff

    def to_dict(self) -> dict[str, Any]:
        document = super().to_dict()
        if self.diff:
            document["diff"] = self.diff
        return document


class Vetoed(Refused):
    code = "Vetoed"


# --- the evidence cannot be read ------------------------------------------------------------------------------


class EvidenceError(VmkitError):
    code = "EvidenceUnreadable"
    exit_code = ExitCode.EVIDENCE


# --- somebody stopped it ----------------------------------------------------------------------------------------


class Interrupted(VmkitError):
    code = "Interrupted"
    exit_code = ExitCode.INTERRUPTED


class DamagedImage(EvidenceError):
    code = "DamagedImage"


class MissingTool(EvidenceError):
    code = "MissingTool"
