"""The versioned JSON envelope, and documents in JSON or YAML. docs/output.md describes every key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    partial: bool = False,
) -> dict[str, Any]:
    """The envelope of commands that show rather than change, and of commands that failed before they began.

    Its keys are those of `vmkit.plan.model.Result.to_dict`, with ``errors`` for what concerns no single item.

    Args:
        items: the items; none where they are to be rendered one by one (`render_envelope`).
        partial: whether some of it succeeded although the exit code is not 0; with items, it did.
    """
    rows = list(items)
    return {
        "apiVersion": ENVELOPE_VERSION,
        "kind": kind,
        "command": command,
        "status": "ok" if exit_code == 0 else "partial" if rows or partial else "failed",
        "exitCode": int(exit_code),
        "items": rows,
        "errors": [error.to_dict() for error in errors],
        "notices": list(notices),
    }


def render_envelope(envelope: Mapping[str, Any], rows: Iterable[Any], output: str) -> Iterator[str]:
    """An envelope with these rows for its items as "json" or "yaml", piece by piece: thousands of rows are never
    held at once.

    Args:
        envelope: the envelope; its own ``items`` are empty.
        rows: the items.
        output: the format.
    """
    from vmkit.report.documents import render_json, render_yaml

    if output == "yaml":
        head, empty, tail = render_yaml(envelope).partition("items: []\n")
        assert empty
        yield head
        first = True
        for row in rows:
            # A list within a mapping is not indented further, so that its entries are those of a list by itself.
            yield ("items:\n" if first else "") + render_yaml([row])
            first = False
        yield (empty if first else "") + tail
        return
    head, empty, tail = render_json(envelope).partition('"items": []')
    assert empty
    yield head + empty[:-1]
    separator = "\n    "
    for row in rows:
        # Within the texts of JSON a new line is written as an escape: every one that stands there is layout.
        yield separator + render_json(row).replace("\n", "\n    ")
        separator = ",\n    "
    yield ("" if separator == "\n    " else "\n  ") + "]" + tail + "\n"


def render_document(document: Any, output: str) -> str:
    """A value as "json" or "yaml"."""
    from vmkit.report.documents import render_json, render_yaml

    return render_yaml(document) if output == "yaml" else render_json(document)


def render_failure(command: str, error: VmkitError, output: str) -> str:
    """The envelope of a command that failed before it had a result, as "json" or "yaml"."""
    return render_document(
        build_envelope("Result", command, errors=[error], exit_code=int(error.exit_code)), output
    )
