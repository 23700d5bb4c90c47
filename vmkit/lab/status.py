"""What a real API server says when it refuses: ``metav1.Status`` bodies, with its own words.

Texts and shapes follow k8s.io/apimachinery/pkg/api/errors and k8s.io/apiserver/pkg/endpoints/handlers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmkit.lab.resources import ResourceType

OPTIMISTIC_LOCK_MESSAGE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One of ``details.causes``: ``reason`` like FieldValueInvalid, ``field`` like ``spec.volumes[0].name``."""

    reason: str
    message: str
    field: str

    def to_dict(self) -> dict[str, str]:
        """As in the Status body; empty parts are left out, as Go's omitempty does."""
        pairs = (("reason", self.reason), ("message", self.message), ("field", self.field))
        return {key: value for key, value in pairs if value}


class ApiError(Exception):
    """A refusal, as HTTP status and ``metav1.Status`` body.

    Args:
        code: the HTTP status code.
        reason: the machine-readable reason ("NotFound"), or empty.
        message: the text for people.
        details: the ``details`` object; None leaves it out, ``{}`` is written as such.
        headers: further response headers.
        metadata: the Status' ``metadata`` (a list's fresh continue token lives there).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = None if details is None else dict(details)
        self.headers = dict(headers or {})
        self.metadata = dict(metadata or {})

    def to_dict(self) -> dict[str, Any]:
        """The Status body."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


@dataclass(frozen=True, slots=True)
class Details:
    """The ``details`` of a Status; what is empty is left out."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: Sequence[Cause] = field(default=())
    retry_after_seconds: int = 0

    def to_dict(self) -> dict[str, Any]:
        texts = (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid))
        document: dict[str, Any] = {key: value for key, value in texts if value}
        if self.causes:
            document["causes"] = [cause.to_dict() for cause in self.causes]
        if self.retry_after_seconds:
            document["retryAfterSeconds"] = self.retry_after_seconds
        return document


def qualified(group: str, name: str) -> str:
    """``virtualmachines.kubevirt.io``; without a group just the name (schema.GroupResource.String)."""
    return f"{name}.{group}" if group else name


def success(*, name: str = "", group: str = "", kind: str = "", uid: str = "") -> dict[str, Any]:
    """The Status of a finished deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": Details(name=name, group=group, kind=kind, uid=uid).to_dict(),
    }


def not_found(rtype: ResourceType, name: str) -> ApiError:
    """404: ``configmaps "a" not found``."""
    return not_found_named(rtype.group, rtype.plural, name)


def not_found_named(group: str, resource: str, name: str) -> ApiError:
    """404 in the words for any resource name, also the singular one that KubeVirt uses."""
    return ApiError(
        404,
        "NotFound",
        f'{qualified(group, resource)} "{name}" not found',
        details=Details(name=name, group=group, kind=resource).to_dict(),
    )


def already_exists(rtype: ResourceType, name: str) -> ApiError:
    """409: ``configmaps "a" already exists``."""
    return ApiError(
        409,
        "AlreadyExists",
        f'{rtype.resource} "{name}" already exists',
        details=Details(name=name, group=rtype.group, kind=rtype.plural).to_dict(),
    )


def conflict(group: str, resource: str, name: str, why: str) -> ApiError:
    """409: ``Operation cannot be fulfilled on configmaps "a": why``."""
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}',
        details=Details(name=name, group=group, kind=resource).to_dict(),
    )


def stale(rtype: ResourceType, name: str) -> ApiError:
    """409 of a write that carries an old resourceVersion."""
    return conflict(rtype.group, rtype.plural, name, OPTIMISTIC_LOCK_MESSAGE)


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> ApiError:
    """422: ``ConfigMap "a" is invalid: field: message``; several causes stand in brackets."""
    listed = tuple(causes)
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in listed))
    text = "" if not texts else texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return ApiError(
        422,
        "Invalid",
        f'{qualified(group, kind)} "{name}" is invalid' + (f": {text}" if text else ""),
        details=Details(name=name, group=group, kind=kind, causes=listed).to_dict(),
    )


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    """403: ``configmaps "a" is forbidden: why``."""
    subject = qualified(group, resource) + (f' "{name}"' if name else "")
    return ApiError(
        403,
        "Forbidden",
        f"{subject} is forbidden: {why}",
        details=Details(name=name, group=group, kind=resource).to_dict(),
    )


def unauthorized() -> ApiError:
    """401 of a token nobody knows."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def no_such_resource() -> ApiError:
    """404 of a resource that its group does not have."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def method_not_allowed() -> ApiError:
    """405 of a verb that makes no sense on this path."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", details={}
    )


def unsupported_verb(rtype: ResourceType, verb: str) -> ApiError:
    """405 of a verb the resource does not offer: ``create is not supported on resources of kind "x"``."""
    return ApiError(
        405,
        "MethodNotAllowed",
        f'{verb} is not supported on resources of kind "{rtype.resource}"',
        details=Details(group=rtype.group, kind=rtype.plural).to_dict(),
    )


def expired(message: str, *, metadata: Mapping[str, Any] | None = None) -> ApiError:
    """410: a list or watch position too old to serve."""
    return ApiError(410, "Expired", message, metadata=metadata)


def too_large_version(asked: int, current: int) -> ApiError:
    """504 of a list that wants a version which has not happened yet."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        details=Details(causes=(cause,), retry_after_seconds=1).to_dict(),
    )


def too_many_requests(retry_after_seconds: int = 1) -> ApiError:
    """429 with Retry-After, as priority and fairness sends it."""
    return ApiError(
        429,
        "TooManyRequests",
        "Too many requests, please try again later.",
        details=Details(retry_after_seconds=retry_after_seconds).to_dict(),
        headers={"Retry-After": str(retry_after_seconds)},
    )


def internal_error(message: str) -> ApiError:
    """500: ``Internal error occurred: ...``."""
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        details={"causes": [{"message": message}]},
    )


def service_unavailable(message: str = "the server is currently unable to handle the request") -> ApiError:
    """503, what an aggregated API whose server is away answers."""
    return ApiError(503, "ServiceUnavailable", message)
