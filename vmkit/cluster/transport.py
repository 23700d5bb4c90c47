"""Sends one HTTP request and brings back one reply: no meaning, no repetition, no error where there is a reply."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions as http
from kubernetes.client.rest import RESTClientObject

from vmkit import __version__
from vmkit.cluster.failures import Asked, error_from_transport
from vmkit.cluster.kubeconfig import Credentials
from vmkit.errors import ConfigError

_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_NEVER_SENT: Final = (
    http.NewConnectionError,
    http.ConnectTimeoutError,
    http.NameResolutionError,
    http.ProxyError,
    http.SSLError,
)


@dataclass(slots=True)
class Request:
    """An HTTP request.

    Attributes:
        method: "GET" ...
        target: path and query.
        asked: what it means, for messages.
        body, content_type: what is sent.
        accept: the media types wanted; JSON where empty.
    """

    method: str
    target: str
    asked: Asked
    body: bytes | None = None
    content_type: str = ""
    accept: str = ""


@dataclass(slots=True)
class Reply:
    """An HTTP reply with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """The connections to one API server. Thread-safe."""

    def __init__(self, credentials: Credentials, *, connections: int, request_timeout_seconds: float) -> None:
        self._credentials = credentials
        self._connections = connections
        self._timeout_seconds = request_timeout_seconds
        self._timeout = _timeout(request_timeout_seconds)
        self._lock = threading.Lock()
        self._base_headers = {"User-Agent": f"vmkit/{__version__}", "Accept": "application/json"}
        self.contacted = False
        """Whether the server has ever been reached."""
        self._urlopen: Callable[..., Any]
        self._open()

    def _open(self) -> None:
        configuration = self._credentials.configuration
        configuration.connection_pool_maxsize = self._connections
        host = configuration.host.rstrip("/")
        parts = urlsplit(host)
        self.server = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        """The server's address, without credentials."""
        try:
            self._manager = RESTClientObject(configuration).pool_manager
        except (OSError, ValueError, ImportError) as error:
            raise ConfigError(f"no connection to {self.server} can be set up: {error}") from error
        if isinstance(self._manager, urllib3.ProxyManager) and parts.scheme == "http":
            # A plain request to a proxy names the whole address.
            self._urlopen, self._prefix = self._manager.urlopen, host
        else:
            try:
                pool = self._manager.connection_from_url(host)
            except http.HTTPError as error:
                raise ConfigError(f"no connection to {self.server} can be set up: {error}") from error
            self._urlopen, self._prefix = pool.urlopen, parts.path

    @property
    def timeout_seconds(self) -> float:
        return self._timeout_seconds

    def close(self) -> None:
        self._manager.clear()

    def send(self, request: Request) -> Reply:
        """Sends a request and reads the whole reply, whatever its status.

        Raises:
            Unreachable: it never got there.
            FateUnknown: it may have got there, and no whole reply came.
        """
        response = self._authorized(request, self._timeout, stream=False)
        return Reply(response.status, response.headers, response.data)

    def stream(self, target: str, asked: Asked, *, timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        """Opens a GET whose body is read as it comes. ``timeout_seconds`` bounds each silence."""
        return self._authorized(Request("GET", target, asked), _timeout(timeout_seconds), stream=True)

    def _authorized(self, request: Request, timeout: urllib3.Timeout, *, stream: bool) -> urllib3.BaseHTTPResponse:
        authorization = self._credentials.header()
        response = self._once(request, authorization, timeout, stream=stream)
        if response.status == 401 and self._renew(authorization):
            response.drain_conn()
            response.release_conn()
            response = self._once(request, self._credentials.header(), timeout, stream=stream)
        self.contacted = True
        return response

    def _renew(self, refused: str | None) -> bool:
        if not self._credentials.renew(refused):
            return False
        with self._lock:
            self._open()  # Client certificates may have changed with the token.
        return True

    def _once(
        self, request: Request, authorization: str | None, timeout: urllib3.Timeout, *, stream: bool
    ) -> urllib3.BaseHTTPResponse:
        headers = dict(self._base_headers)
        if authorization:
            headers["Authorization"] = authorization
        if request.accept:
            headers["Accept"] = request.accept
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        try:
            response: urllib3.BaseHTTPResponse = self._urlopen(
                request.method,
                self._prefix + request.target,
                body=request.body,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=timeout,
                preload_content=not stream,
            )
        except (http.HTTPError, OSError) as error:
            sent = not isinstance(error, _NEVER_SENT)
            self.contacted = self.contacted or sent
            raise error_from_transport(error, request.asked, self.server, sent=sent) from error
        return response


def _timeout(seconds: float) -> urllib3.Timeout:
    return urllib3.Timeout(connect=min(_CONNECT_TIMEOUT_SECONDS, seconds), read=seconds)
