"""Names of images: "registry.example:5000/shop/web:1.0", with a digest or a tag. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from vmkit.errors import UsageError

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HUB: Final = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: the registry's host, the repository, and a tag or digest."""

    host: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @property
    def version(self) -> str:
        """What stands in the registry's addresses."""
        return self.digest or self.tag

    @property
    def server(self) -> str:
        """Who answers for the host; Docker Hub's API has a name of its own."""
        return "registry-1.docker.io" if self.host == _HUB else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is nobody's to listen to."""
        name = self.host[1:].partition("]")[0] if self.host.startswith("[") else self.host.partition(":")[0]
        if name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def parse_reference(text: str) -> Reference:
    """Reads the name of an image; names without a registry are Docker Hub's, as everywhere.

    Raises:
        UsageError: it is none.
    """
    rest, at, digest = text.partition("@")
    first, slash, tail = rest.partition("/")
    if slash and (any(letter in first for letter in ".:[") or first == "localhost"):
        host, path = first, tail
    else:
        host, path = _HUB, rest if slash else f"library/{rest}"
    name, colon, tag = path.partition(":")
    fine = _HOST.fullmatch(host) and _REPOSITORY.fullmatch(name) and len(name) <= 255
    if not fine or (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
        raise UsageError(
            f"{text[:200]!r} is no name of an image",
            hint='write it as "registry.example/shop/web:1.0", in lower case',
        )
    return Reference(host, name, tag or "latest", digest)
