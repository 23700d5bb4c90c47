"""Who one is to a registry: what docker login, podman login and helpers left. Never shown."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vmkit.errors import ConfigError, MissingTool

_HELPER: Final = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_SECONDS: Final = 30.0
_TOKEN_USER: Final = "<token>"  # noqa: S105 - what helpers answer when the secret is an identity token
_HUB_KEYS: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or an identity token; ``origin`` says where they came from."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    origin: str = ""


def credential_files(environment: Mapping[str, str]) -> list[Path]:
    """Where credentials may be, first things first (containers-auth.json(5); docker's config.json)."""
    found: list[Path] = []
    if environment.get("REGISTRY_AUTH_FILE"):
        found.append(Path(environment["REGISTRY_AUTH_FILE"]))
    if environment.get("DOCKER_CONFIG"):
        found.append(Path(environment["DOCKER_CONFIG"]) / "config.json")
    if environment.get("XDG_RUNTIME_DIR"):
        found.append(Path(environment["XDG_RUNTIME_DIR"]) / "containers" / "auth.json")
    if environment.get("HOME"):
        found += [Path(environment["HOME"]) / ".docker" / "config.json"]
    return found


def find_credentials(host: str, *, environment: Mapping[str, str] | None = None) -> Credentials | None:
    """The credentials for a registry; None where nobody logged in to it.

    Raises:
        ConfigError: a file of credentials cannot be understood, or a helper fails.
        MissingTool: a helper that a file names is not installed.
    """
    variables = os.environ if environment is None else environment
    for path in credential_files(variables):
        if not path.is_file():
            continue
        try:
            document = json.loads(path.read_bytes())
            found = _from_document(document, host, path, variables)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError("cannot be understood as credentials of registries", where=str(path)) from error
        if found is not None:
            return found
    return None


def _keys(host: str) -> Iterator[str]:
    yield from _HUB_KEYS if host == "docker.io" else ()
    yield host
    yield f"https://{host}"
    yield f"https://{host}/v2/"


def _from_document(
    document: Mapping[str, Any], host: str, path: Path, environment: Mapping[str, str]
) -> Credentials | None:
    helpers = document.get("credHelpers") or {}
    for key in _keys(host):
        if key in helpers:
            return _ask_helper(str(helpers[key]), key, path, environment)
    accounts = document.get("auths") or {}
    for key in _keys(host):
        account = accounts.get(key)
        if not account:
            continue
        if account.get("identitytoken"):
            return Credentials(identity_token=str(account["identitytoken"]), origin=str(path))
        if account.get("auth"):
            user, _, password = base64.b64decode(account["auth"]).decode().partition(":")
            return Credentials(user, password.rstrip("\0"), origin=str(path))
    if document.get("credsStore"):
        return _ask_helper(str(document["credsStore"]), next(_keys(host)), path, environment)
    return None


def _ask_helper(name: str, server: str, path: Path, environment: Mapping[str, str]) -> Credentials | None:
    """Asks docker-credential-NAME (docker-credential-helpers: "get" with the server on stdin)."""
    if not _HELPER.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} is no name of a credential helper", where=str(path))
    program = shutil.which(f"docker-credential-{name}", path=environment.get("PATH"))
    if program is None:
        raise MissingTool(
            f"docker-credential-{name}, which holds the credentials for {server}, is not installed",
            hint=f"install it, or log in again without it; {path} names it",
        )
    try:
        done = subprocess.run(  # noqa: S603 - a program that the user's own configuration names
            [program, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False,
            env=dict(environment),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"docker-credential-{name} does not answer", where=str(path)) from error
    if done.returncode != 0:
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        raise ConfigError(f"docker-credential-{name} failed for {server}", where=str(path))
    answer = json.loads(done.stdout)
    user, secret = str(answer["Username"]), str(answer["Secret"])
    origin = f"docker-credential-{name}"
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret, origin=origin)
    return Credentials(user, secret, origin=origin)
