"""An ordinary kubeconfig for a practice cluster."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import yaml


def build_kubeconfig(
    name: str, url: str, token: str, *, authority: bytes | None = None, namespace: str = "default"
) -> bytes:
    """The file's content: one cluster, user and context of that name.

    Args:
        authority: the certificate authority (PEM) of a lab that serves TLS.
        namespace: the context's own.
    """
    cluster: dict[str, str] = {"server": url}
    if authority is not None:
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def write_private(path: Path, data: bytes) -> None:
    """Writes a file that only its user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
