"""The versioned JSON envelope, and documents in JSON or YAML. docs/output.md describes every key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmkit.errors import VmkitError
from vmkit.plan.model import ENVELOPE_VERSION


def build_envelope(
    kind: str,
    command: str,
    items: Iterable[Any] = (),
    *,
    errors: Iterable[VmkitError] = (),
    notices: Iterable[str] = (),
    exit_code: int,
) -> dict[str, Any]:
    """The envelope of commands that show rather than change, and of commands that failed before they began.

    Its keys are those of `vmkit.plan.model.Result.to_dict`, with ``errors`` for what concerns no single item.
    """
    rows = list(items)
    return {
        "apiVersion": ENVELOPE_VERSION,
        "kind": kind,
        "command": command,
        "status": "ok" if exit_code == 0 else "partial" if rows else "failed",
        "exitCode": int(exit_code),
        "items": rows,
        "errors": [error.to_dict() for error in errors],
        "notices": list(notices),
    }


def render_document(document: Any, output: str) -> str:
    """A value as "json" or "yaml"."""
    from vmkit.report.documents import render_json, render_yaml

    return render_yaml(document) if output == "yaml" else render_json(document)


def render_failure(command: str, error: VmkitError, output: str) -> str:
    """The envelope of a command that failed before it had a result, as "json" or "yaml"."""
    return render_document(
        build_envelope("Result", command, errors=[error], exit_code=int(error.exit_code)), output
    )
