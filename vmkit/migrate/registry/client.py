"""One repository of a registry: blobs and manifests, up and down, each checked against its digest.

Source: OCI distribution-spec v1.1 ("Pushing blobs", "Pulling manifests"); Docker Registry v2 token authentication.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

from vmkit.errors import ClusterError, EvidenceError, Forbidden, NotFound, ServerFault, Unauthorized, Unreachable
from vmkit.migrate.oci.layout import INDEX_TYPE, MANIFEST_TYPE, Descriptor
from vmkit.migrate.registry.credentials import Credentials
from vmkit.migrate.registry.reference import Reference
from vmkit.report.text import escape_text

CHUNK_BYTES: Final = 16 * 2**20
MAX_MANIFEST_BYTES: Final = 4 * 2**20  # what registries have to take (distribution-spec)
_ACCEPT: Final = ", ".join((MANIFEST_TYPE, INDEX_TYPE, "application/vnd.docker.distribution.manifest.v2+json"))
_ATTEMPTS: Final = 5
_PIECE: Final = 2**20
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')
_ERRORS: Final[dict[int, type[ClusterError]]] = {401: Unauthorized, 403: Forbidden, 404: NotFound}


class Registry:
    """A repository of a registry.

    Args:
        reference: whose repository.
        credentials: None for nobody in particular.
        ca_file: certificates to trust instead of the system's.
        plain_http: without TLS. Credentials are then only sent to this machine.
        skip_verify: TLS, but whoever answers is believed.
        timeout_seconds: without a single byte.
        chunk_bytes: how much of a blob is sent at once; what an interruption costs at most.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        credentials: Credentials | None = None,
        ca_file: Path | None = None,
        plain_http: bool = False,
        skip_verify: bool = False,
        timeout_seconds: float = 60.0,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.reference = reference
        self._plain, self._chunk_bytes = plain_http, chunk_bytes
        self._credentials = credentials
        if plain_http and not reference.is_loopback:
            self._credentials = None
        options: dict[str, Any] = {"cert_reqs": "CERT_NONE", "assert_hostname": False} if skip_verify else {}
        if ca_file is not None:
            options["ca_certs"] = str(ca_file)
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(timeout_seconds), retries=False, **options)
        self._base = f"{'http' if plain_http else 'https'}://{reference.server}/v2/{reference.repository}/"
        self._authorization = ""

    def close(self) -> None:
        self._pool.clear()

    # --- up ---

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds a blob already."""
        answer = self._ask("HEAD", f"blobs/{digest}", allowed=(200, 404))
        return answer.status == 200

    def push_blob(self, blob: Descriptor, path: Path) -> bool:
        """Uploads a blob in chunks; an interrupted upload goes on where the registry says it stopped.

        Returns:
            False where it was there already.
        """
        if self.has_blob(blob.digest):
            return False
        failures = 0
        place, offset = self._begin(), 0
        with path.open("rb") as file:
            while True:
                try:
                    while offset < blob.size:
                        file.seek(offset)
                        chunk = file.read(min(self._chunk_bytes, blob.size - offset))
                        if not chunk:
                            raise EvidenceError("it is shorter than its manifest says", where=str(path))
                        headers = {
                            "Content-Type": "application/octet-stream",
                            "Content-Range": f"{offset}-{offset + len(chunk) - 1}",
                        }
                        answer = self._ask("PATCH", place, body=chunk, headers=headers, allowed=(202,))
                        place, offset = self._next(place, answer), offset + len(chunk)
                    finished = place + ("&" if "?" in place else "?") + urlencode({"digest": blob.digest})
                    self._ask("PUT", finished, body=b"", allowed=(201, 204))
                    return True
                except (Unreachable, ServerFault, NotFound) as error:
                    failures += 1
                    if failures >= _ATTEMPTS:
                        raise
                    time.sleep(0.2 * 2**failures)
                    if isinstance(error, NotFound):  # the upload is gone: from the start
                        place, offset = self._begin(), 0
                    else:
                        place, offset = self._resume(place)

    def _begin(self) -> str:
        answer = self._ask("POST", "blobs/uploads/", body=b"", allowed=(202,))
        return self._next(self._base, answer)

    def _next(self, place: str, answer: urllib3.BaseHTTPResponse) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise ServerFault("it names no place to upload to", where=str(self.reference))
        return urljoin(place, location)

    def _resume(self, place: str) -> tuple[str, int]:
        try:
            answer = self._ask("GET", place, allowed=(204,))
        except ClusterError:
            return self._begin(), 0
        _, _, last = answer.headers.get("Range", "").rpartition("-")
        return self._next(place, answer), int(last) + 1 if last.isdigit() and last != "0" else 0

    def push_manifest(self, data: bytes, media_type: str, version: str) -> str:
        """Uploads a manifest under a tag or digest; returns its digest.

        Raises:
            EvidenceError: the registry says that it got something else.
        """
        answer = self._ask(
            "PUT", f"manifests/{version}", body=data, headers={"Content-Type": media_type}, allowed=(201, 202)
        )
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        told = answer.headers.get("Docker-Content-Digest", digest)
        if told != digest:
            raise EvidenceError(
                f"the registry took {escape_text(told)[:80]} for {digest}", where=str(self.reference)
            )
        return digest

    # --- down ---

    def pull_manifest(self, version: str) -> tuple[bytes, str]:
        """A manifest and its media type, checked against its digest where the name is one."""
        answer = self._ask("GET", f"manifests/{version}", headers={"Accept": _ACCEPT}, allowed=(200,))
        data = answer.data
        if len(data) > MAX_MANIFEST_BYTES:
            raise EvidenceError("its manifest is larger than any may be", where=str(self.reference))
        if version.startswith("sha256:") and f"sha256:{hashlib.sha256(data).hexdigest()}" != version:
            raise EvidenceError("the registry gave another manifest than was asked for", where=str(self.reference))
        return data, answer.headers.get("Content-Type", MANIFEST_TYPE).partition(";")[0].strip()

    def pull_blob(self, blob: Descriptor, target: IO[bytes]) -> None:
        """Downloads a blob.

        Raises:
            EvidenceError: what came is not what its digest says.
        """
        answer = self._ask("GET", f"blobs/{blob.digest}", allowed=(200,), stream=True)
        found, size = hashlib.sha256(), 0
        try:
            for piece in answer.stream(_PIECE):
                size += len(piece)
                if size > blob.size:
                    break
                found.update(piece)
                target.write(piece)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.reference.server} broke off: {type(error).__name__}") from error
        finally:
            answer.release_conn()
        if size != blob.size or f"sha256:{found.hexdigest()}" != blob.digest:
            raise EvidenceError(f"blob {blob.digest} came damaged", where=str(self.reference))

    # --- one exchange ---

    def _ask(
        self,
        method: str,
        path: str,
        *,
        allowed: tuple[int, ...],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = urljoin(self._base, path)
        answer = self._send(method, url, body, headers or {}, stream)
        if answer.status == 401 and self._log_in(answer.headers.get("WWW-Authenticate", "")):
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                answer.drain_conn()
            answer = self._send(method, url, body, headers or {}, stream)
        if answer.status not in allowed:
            raise self._error(answer, method)
        return answer

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], stream: bool
    ) -> urllib3.BaseHTTPResponse:
        sent = dict(headers)
        own = urlsplit(url).netloc == urlsplit(self._base).netloc
        # Uploads and blobs may be handed to a storage server: it gets no credentials.
        if self._authorization and own:
            sent["Authorization"] = self._authorization
        try:
            # Where a GET is sent on, urllib3 takes the credentials off before it asks another host.
            retries: urllib3.Retry | bool = urllib3.Retry(0, redirect=5) if method in ("GET", "HEAD") else False
            return self._pool.request(
                method, url, body=body, headers=sent, retries=retries, preload_content=not stream
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"{self.reference.server} does not answer: {_reason(error)}",
                hint="--plain-http is for registries without TLS, --ca-file for certificates of one's own",
                where=str(self.reference),
            ) from error

    def _log_in(self, challenge: str) -> bool:
        """Gets what the registry asks for; False where there is nothing new to try."""
        kind, _, rest = challenge.partition(" ")
        known = self._credentials
        if kind.lower() == "basic" and known is not None and known.user:
            wanted = f"Basic {_basic(known)}"
        elif kind.lower() == "bearer":
            wanted = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
        else:
            return False
        tried, self._authorization = self._authorization, wanted
        return tried != wanted

    def _token(self, asked: Mapping[str, str]) -> str:
        realm = asked.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (self._plain and parts.scheme == "http"):
            raise Unauthorized("the registry sends its clients to a place without TLS", where=str(self.reference))
        scope = asked.get("scope") or f"repository:{self.reference.repository}:pull,push"
        fields = {"service": asked.get("service", ""), "scope": scope}
        known = self._credentials
        headers: dict[str, str] = {}
        try:
            if known is not None and known.identity_token:
                form = {
                    **fields, "grant_type": "refresh_token", "client_id": "vmkit",
                    "refresh_token": known.identity_token,
                }  # fmt: skip
                headers["Content-Type"] = "application/x-www-form-urlencoded"
                answer = self._pool.request("POST", realm, body=urlencode(form), headers=headers)
            else:
                if known is not None and known.user:
                    headers["Authorization"] = f"Basic {_basic(known)}"
                answer = self._pool.request("GET", f"{realm}?{urlencode(fields)}", headers=headers)
            document = answer.json() if answer.status == 200 else {}
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{parts.netloc} does not answer: {_reason(error)}") from error
        except ValueError:
            document = {}
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str) or not token:
            raise self._denied()
        return token

    def _denied(self) -> Unauthorized:
        known = self._credentials
        host = self.reference.host
        if self._plain and not self.reference.is_loopback:
            why = "credentials are not sent without TLS"
        elif known is None:
            why = f"nobody is logged in; podman login {host} or docker login {host} does that"
        else:
            why = f"the credentials are those of {known.origin}"
        return Unauthorized(f"{host} does not let you in", hint=why, where=str(self.reference))

    def _error(self, answer: urllib3.BaseHTTPResponse, method: str) -> ClusterError:
        if answer.status == 401:
            return self._denied()
        text = f"{method} was answered with {answer.status}"
        with contextlib.suppress(Exception):
            errors = answer.json()["errors"]
            text += ": " + escape_text(str(errors[0].get("message") or errors[0].get("code")))[:300]
        kind = _ERRORS.get(answer.status, ServerFault if answer.status >= 500 else ClusterError)
        return kind(f"{self.reference.server}: {text}", where=str(self.reference))


def _basic(known: Credentials) -> str:
    return base64.b64encode(f"{known.user}:{known.password}".encode()).decode()


def _reason(error: Exception) -> str:
    return escape_text(str(getattr(error, "reason", None) or error))[:300]
