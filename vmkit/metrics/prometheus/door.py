"""How a Prometheus is reached: directly over HTTP, or through the Kubernetes API's proxy to a Service."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

import urllib3
import urllib3.exceptions as http

from vmkit import __version__
from vmkit.errors import ConfigError, DeadlineExceeded, QueryTooLarge, Unreachable, UsageError

if TYPE_CHECKING:
    from vmkit.cluster.session import Session

FORM: Final = "application/x-www-form-urlencoded"
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_LARGEST_ANSWER: Final = 256 * 1024 * 1024
_TENANT_HEADER: Final = "X-Scope-OrgID"
"""What Cortex, Mimir and Thanos (as an option) tell tenants apart by."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """An HTTP reply with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Door(Protocol):
    """A way to a Prometheus."""

    @property
    def server(self) -> str:
        """Its address, for messages; without secrets."""
        ...  # a protocol has no body

    def post(self, path: str, form: str) -> RawReply:
        """Sends a form and reads the whole reply, whatever its status.

        Raises:
            Unreachable: it never got there, or the connection broke.
            DeadlineExceeded: no answer came in time.
        """
        ...  # a protocol has no body


class HttpDoor:
    """Directly over HTTP. Thread-safe.

    Args:
        url: up to and without ``/api/v1``; a user and password in it are used, and shown nowhere.
        token: a bearer token.
        token_file: a file with one, read again before every request: mounted tokens change.
        ca_file: certificates to trust in place of the system's.
        insecure: trust any certificate.
        tenant: whose data; sent as ``X-Scope-OrgID``.
        headers: more of them.
        timeout_seconds: how long a query may take.

    Raises:
        UsageError: the address is none, or both a token and its file are given.
        ConfigError: a file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        insecure: bool = False,
        tenant: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 120.0,
    ) -> None:
        if token is not None and token_file is not None:
            raise UsageError("both a token for Prometheus and a file with one are given", hint="give one of them")
        parts = _split(url)
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
        port = f":{parts.port}" if parts.port else ""
        self._prefix = parts.path.rstrip("/").removesuffix("/api/v1")
        self._server = f"{parts.scheme}://{host}{port}{self._prefix}"
        self._token_file = Path(token_file) if token_file is not None else None
        self._headers = {
            "User-Agent": f"vmkit/{__version__}",
            "Accept": "application/json",
            "Content-Type": FORM,
            **(headers or {}),
        }
        if tenant:
            self._headers[_TENANT_HEADER] = tenant
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers.update(urllib3.make_headers(basic_auth=pair))
        if token is not None:
            self._headers["Authorization"] = f"Bearer {_one_line(token, 'the token for Prometheus')}"
        for name, value in self._headers.items():
            _one_line(value, f"the header {name}")
        self._authorization()  # a file that cannot be read is told now
        self._timeout_seconds = timeout_seconds
        self._pool = self._open(parts.scheme, str(parts.hostname), parts.port, ca_file, insecure=insecure)

    @property
    def server(self) -> str:
        return self._server

    def _open(
        self, scheme: str, host: str, port: int | None, ca_file: Path | str | None, *, insecure: bool
    ) -> urllib3.HTTPConnectionPool:
        if scheme == "http":
            return urllib3.HTTPConnectionPool(host, port, maxsize=8, retries=False)
        if insecure:
            urllib3.disable_warnings(http.InsecureRequestWarning)
        try:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"no certificates can be read: {error}", where=str(ca_file)) from error
        if insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return urllib3.HTTPSConnectionPool(
            host,
            port,
            maxsize=8,
            retries=False,
            ssl_context=context,
            cert_reqs="CERT_NONE" if insecure else "CERT_REQUIRED",
        )

    def _authorization(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the token for Prometheus cannot be read: {error}", where=str(self._token_file)
            ) from error
        return {"Authorization": f"Bearer {_one_line(token, 'the token for Prometheus')}"}

    def post(self, path: str, form: str) -> RawReply:
        timeout = urllib3.Timeout(
            connect=min(_CONNECT_TIMEOUT_SECONDS, self._timeout_seconds), read=self._timeout_seconds
        )
        try:
            response = self._pool.urlopen(
                "POST",
                self._prefix + path,
                body=form.encode(),
                headers=self._headers | self._authorization(),
                redirect=False,
                timeout=timeout,
                preload_content=False,
            )
            try:
                body = response.read(_LARGEST_ANSWER + 1)
            finally:
                response.release_conn()
        except http.ReadTimeoutError as error:
            raise DeadlineExceeded(
                f"{self._server} did not answer within {self._timeout_seconds:g} s",
                hint="is it busy? Its recording rules for vmkit make the queries cheap",
            ) from error
        except http.SSLError as error:
            raise Unreachable(
                f"{self._server} and this client cannot agree on TLS: {_short(error)}",
                hint="give the certificate authority that signed its certificate",
            ) from error
        except (http.HTTPError, OSError) as error:
            raise Unreachable(
                f"{self._server} cannot be reached: {_short(error)}", hint="is Prometheus there, and up?"
            ) from error
        if len(body) > _LARGEST_ANSWER:
            response.close()
            raise QueryTooLarge(f"{self._server} answers with more than {_LARGEST_ANSWER >> 20} MiB")
        return RawReply(response.status, response.headers, body)


class ServiceDoor:
    """Through the Kubernetes API's proxy to a Service: needs "create" on ``services/proxy`` there.

    Args:
        session: with the cluster.
        namespace, service, port: of the Service; the port's number or name.
        scheme: "https" where the Service speaks it.
        prefix: of the paths, as Prometheus's ``--web.route-prefix``.
    """

    def __init__(
        self, session: Session, namespace: str, service: str, port: str, *, scheme: str = "http", prefix: str = ""
    ) -> None:
        self._session, self._namespace, self._prefix = session, namespace, prefix.rstrip("/")
        self._target = f"{'https:' if scheme == 'https' else ''}{service}:{port}"
        self._server = f"the Service {namespace}/{service}"

    @property
    def server(self) -> str:
        return self._server

    def post(self, path: str, form: str) -> RawReply:
        reply = self._session.call_service(
            self._target, self._namespace, self._prefix + path, body=form.encode(), content_type=FORM
        )
        return RawReply(reply.status, reply.headers, reply.body)


def _split(url: str) -> _Parts:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError("the address of Prometheus is none", hint=_URL_HINT) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{parts.hostname or ''}" if parts.scheme else url.rpartition("@")[2]
        raise UsageError(f"{shown!r} is no address of Prometheus", hint=_URL_HINT)
    return _Parts(parts.scheme, parts.hostname, port, parts.path, parts.username, parts.password)


_URL_HINT: Final = "such as http://prometheus.monitoring:9090 or https://mimir.example.com/prometheus"


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    hostname: str
    port: int | None
    path: str
    username: str | None
    password: str | None


def _one_line(text: str, what: str) -> str:
    if not text or not text.isprintable() or not text.isascii():
        raise ConfigError(f"{what} is empty or no single line of plain characters")
    return text


def _short(error: BaseException) -> str:
    reason: object = getattr(error, "reason", None) or error.__cause__ or error
    return str(reason).rpartition(": ")[2][:160] or type(error).__name__
