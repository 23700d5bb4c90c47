"""Turns the cluster's refusals and the network's failures into the errors of `vmkit.errors`.

What the server says is kept where it helps, cut where it is no Status object, and left out where it could carry
what a Secret holds.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
import urllib3.exceptions as http

from vmkit.cluster.resources import NAMESPACES, Resource, describe_provider
from vmkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Expired,
    FateUnknown,
    Forbidden,
    Invalid,
    MalformedReply,
    MissingApi,
    NotFound,
    ServerFault,
    Throttled,
    Unauthorized,
    Unreachable,
)
from vmkit.units import format_duration

_TEXT_LIMIT: Final = 256
_MAX_RETRY_AFTER_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, for messages."""

    verb: str
    resource: Resource | None = None
    namespace: str | None = None
    name: str = ""
    subresource: str = ""

    @property
    def where(self) -> str:
        """The object, "namespace/name"; empty for collections."""
        if not self.name:
            return ""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def subject(self) -> str:
        """ "VirtualMachine default/web-1", or the collection."""
        if self.resource is None:
            return "the API"
        if self.name:
            return f"{self.resource.kind} {self.where}"
        return f"{self.resource.plural} in {self.namespace}" if self.namespace else self.resource.plural


def error_from_reply(
    status: int, headers: Mapping[str, str], body: bytes, asked: Asked, *, now: datetime | None = None
) -> ClusterError:
    """The error of an HTTP reply outside 2xx. ``now`` tells how long to wait where the server names an instant."""
    told = _read_status(body)
    reason = _text(told, "reason")
    details = told.get("details")
    details = details if isinstance(details, dict) else {}
    causes = tuple(cause for cause in details.get("causes") or () if isinstance(cause, dict))
    message = _strip(_text(told, "message")) if told else _cut(body, headers)
    if asked.resource is not None and asked.resource.kind == "Secret" and status in {400, 422}:
        # Validation quotes the values it objects to.
        fields = ", ".join(sorted({_text(cause, "field") for cause in causes} - {""}))
        message, causes = f"it is not valid{f': see {fields}' if fields else ''}", ()
    wait = _retry_after(headers, details, now)
    cls = _classify(status, reason, message, details, told=bool(told))
    text, hint = _words(cls, status, message, asked)
    if cls is NotFound and details.get("kind") == "namespaces" and (asked.resource or NAMESPACES) != NAMESPACES:
        text, hint = (
            f"namespace {details['name']} does not exist",
            f"kubectl create namespace {details['name']}, or check --namespace and --context",
        )
    return cls(
        text,
        hint=hint,
        where=asked.where,
        status=status,
        reason=reason,
        causes=causes,
        retry_after_seconds=wait,
    )


def error_from_status(told: Mapping[str, Any], asked: Asked) -> ClusterError:
    """The error of a Status object met in a stream."""
    code = told.get("code")
    return error_from_reply(code if isinstance(code, int) else 500, {}, msgspec.json.encode(told), asked)


def _classify(
    status: int, reason: str, message: str, details: Mapping[str, Any], *, told: bool
) -> type[ClusterError]:
    if status == 404:
        # A path nobody serves is answered in plain text; a missing object by a Status that names it.
        return NotFound if told and details.get("name") else MissingApi
    if status == 409:
        return AlreadyExists if reason == "AlreadyExists" else Conflict
    if status == 500:
        return _classify_fault(message)
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if status > 500:
        return ServerFault
    return Invalid if 400 <= status < 500 else ClusterError


def _classify_fault(message: str) -> type[ClusterError]:
    # KubeVirt's API server wraps refusals of others, and some of its own, as 500 (pkg/virt-api/rest/lifecycle.go);
    # Kubernetes' own does so with manifests that server-side apply cannot read.
    if "denied the request" in message or "failed to create typed patch object" in message:
        return Invalid
    if any(text in message for text in _STATE_TEXTS):
        return Conflict
    return ServerFault


_BY_STATUS: Final[Mapping[int, type[ClusterError]]] = {
    401: Unauthorized,
    403: Forbidden,
    410: Expired,
    429: Throttled,
}

# Texts of 500s that speak of the VM's state, not of a fault.
_STATE_TEXTS: Final = (
    "stop/start already underway",
    "VMI does not have guest agent connected",
    "VMI is not running",
    "until snapshot",
    "until restore",
)


def _words(cls: type[ClusterError], status: int, message: str, asked: Asked) -> tuple[str, str]:
    subject = asked.subject
    if cls is NotFound:
        return (f"{subject} does not exist" if asked.name else f"{subject}: {message}"), ""
    if cls is MissingApi:
        return _missing(asked)
    if cls is Unauthorized:
        return "the cluster does not accept these credentials", "log in again, or check the user of the context"
    if cls is Forbidden:
        return f"not allowed to {asked.verb} {subject}: {message}", _rule_hint(message)
    if cls is Throttled:
        return f"{subject}: the cluster asks to slow down: {message or 'too many requests'}", "lower --concurrency"
    if cls is AlreadyExists:
        return f"{subject} exists already", ""
    if cls is ServerFault:
        return f"{subject}: the cluster failed ({status}): {message or 'it gave no reason'}", ""
    return f"{subject}: {message or f'the cluster answered {status}'}", ""


def _missing(asked: Asked) -> tuple[str, str]:
    resource = asked.resource
    if resource is None:
        return "the cluster does not serve this API", ""
    group = "subresources.kubevirt.io" if asked.subresource and "kubevirt.io" in resource.group else resource.group
    provider = describe_provider(group)
    message = f"the cluster does not serve {resource.qualified_name} ({resource.api_version})"
    if asked.subresource:
        message = f"the cluster does not serve {resource.plural}/{asked.subresource} of {group}"
    return message, f"install {provider}, or check --context" if provider else "check --context"


_DENIAL: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


def _rule_hint(message: str) -> str:
    """The rule that is missing, as RBAC writes it."""
    match = _DENIAL.search(message)
    if match is None:
        return ""
    rule = f'{{apiGroups: ["{match["group"]}"], resources: ["{match["resource"]}"], verbs: ["{match["verb"]}"]}}'
    kind = f"a Role in namespace {match['namespace']}" if match["namespace"] else "a ClusterRole"
    return f'ask for {kind} with the rule {rule}, bound to "{match["user"]}"'


def explain_unauthorized(
    error: ClusterError, *, origin: str, expiry: datetime | None, now: datetime
) -> ClusterError:
    """Says when the token ended, where that is what happened, and where the credentials came from."""
    error.where = error.where or origin
    if expiry is not None and expiry <= now:
        error.message = f"the token of {origin} expired {format_duration(now - expiry)} ago"
        error.hint = "log in again, or renew the token in the kubeconfig"
    else:
        error.message = f"the cluster does not accept the credentials of {origin}"
    error.args = (error.message,)
    return error


def error_from_transport(error: Exception, asked: Asked, server: str, *, sent: bool) -> ClusterError:
    """The error of a request that got no answer.

    Args:
        error: what the HTTP library raised.
        asked: what was asked.
        server: the server's address, without credentials.
        sent: whether the request may have reached the server.
    """
    inner = _root(error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return Unreachable(
            f"{server} shows a certificate that is not trusted: {inner.verify_message}",
            hint="check certificate-authority of the cluster in the kubeconfig",
        )
    if isinstance(error, http.SSLError) or isinstance(inner, ssl.SSLError):
        return Unreachable(
            f"{server} and this client cannot agree on TLS: {_short(inner)}",
            hint="check the address and the client certificate in the kubeconfig",
        )
    if isinstance(error, http.ProxyError):
        return Unreachable(
            f"the proxy on the way to {server} does not answer", hint="check HTTPS_PROXY, proxy-url"
        )
    if sent:
        if isinstance(error, http.ReadTimeoutError):
            return FateUnknown(
                f"{asked.subject}: {server} did not answer in time", hint="it may be busy; raise --request-timeout"
            )
        hint = (
            "is it up, and does it speak http rather than https?" if server.startswith("http:") else _BROKEN_HINT
        )
        return FateUnknown(f"{asked.subject}: the connection to {server} broke off: {_short(inner)}", hint=hint)
    if isinstance(error, http.NameResolutionError):
        return Unreachable(f"{server} cannot be reached: its name cannot be resolved", hint=_REACH_HINT)
    if isinstance(error, http.ConnectTimeoutError) and not isinstance(error, http.NewConnectionError):
        return Unreachable(f"{server} cannot be reached: it does not answer", hint=_REACH_HINT)
    return Unreachable(f"{server} cannot be reached: {_short(inner)}", hint=_REACH_HINT)


_BROKEN_HINT: Final = "it may have been done: look, and ask again; what is so already is left as it is"
_REACH_HINT: Final = (
    "is the cluster up, and --context the right one? A practice cluster runs while vmkit lab up does"
)


def malformed(asked: Asked, what: str) -> MalformedReply:
    """An answer that cannot be understood."""
    return MalformedReply(
        f"{asked.subject}: {what}", hint="is this a Kubernetes API server, and no login page before it?"
    )


def _root(error: BaseException) -> BaseException:
    seen = 0
    while seen < 8:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None) or error.__cause__
        if inner is None:
            return error
        error, seen = inner, seen + 1
    return error


def _short(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).rpartition(": ")[2].strip() or type(error).__name__
    return text[:_TEXT_LIMIT]


def _read_status(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if isinstance(document, dict) and document.get("kind") == "Status":
        return document
    return {}


def _cut(body: bytes, headers: Mapping[str, str]) -> str:
    if "json" in headers.get("content-type", ""):
        return ""  # An object that is no Status may hold anything.
    text = body[: _TEXT_LIMIT * 4].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return "it answered with a web page"
    text = " ".join(text.split())
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}..."


_PREFIX: Final = re.compile(r'^Operation cannot be fulfilled on [\w.]+ "[^"]*": ')


def _strip(message: str) -> str:
    return _PREFIX.sub("", message)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _retry_after(headers: Mapping[str, str], details: Mapping[str, Any], now: datetime | None) -> float | None:
    asked: list[float] = []
    told = details.get("retryAfterSeconds")
    if isinstance(told, int | float) and not isinstance(told, bool):
        asked.append(float(told))
    header = headers.get("retry-after", "").strip()
    if header.isdigit():
        asked.append(float(header))
    elif header:
        with contextlib.suppress(ValueError, TypeError):  # Nonsense asks for nothing.
            asked.append((parsedate_to_datetime(header) - (now or datetime.now(UTC))).total_seconds())
    usable = [seconds for seconds in asked if 0 < seconds <= _MAX_RETRY_AFTER_SECONDS]
    return max(usable, default=None)
