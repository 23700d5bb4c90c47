"""A proof as text for a terminal. Strings out, nothing printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vmkit.report.table import Column, render_table
from vmkit.units import format_size

_SHOWN: Final = 5


def render_proof(document: Mapping[str, Any]) -> str:
    """A proof's document at a glance: what was shown, what it cost on each side, and where answers differ."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    targets = document["targets"]
    yield render_table(
        (
            Column("WORKLOAD", lambda one: one["service"]),
            Column("TARGET", lambda one: one["target"]),
            Column("OUTCOME", lambda one: one["outcome"]),
            Column("REASON", lambda one: one["reason"]),
        ),
        targets,
    ).rstrip("\n")
    costs = [{"service": name, "side": "vm", **one} for name, one in document["vm"].items()]
    costs += [
        {"service": one["service"], "side": one["target"], **one["measured"]}
        for one in targets
        if one["measured"]["how"]
    ]
    if costs:
        yield ""
        yield render_table(
            (
                Column("WORKLOAD", lambda one: one["service"]),
                Column("SIDE", lambda one: one["side"]),
                Column("FIRST ANSWER", lambda one: _seconds(one["coldSeconds"])),
                Column("ANSWER", lambda one: _seconds(one["warmSeconds"])),
                Column("IMAGE", lambda one: _size(one["imageBytes"])),
                Column("MEMORY", lambda one: _size(one["memoryBytes"])),
                Column("RUN BY", lambda one: one["how"]),
            ),
            sorted(costs, key=lambda one: (one["service"], one["side"] != "vm", one["side"])),
        ).rstrip("\n")
    for one in targets:
        different = [row for row in one["requests"] if not row["same"]]
        if different or one["notes"]:
            yield ""
            yield f"{one['service']} as {one['target']}"
        for row in different[:_SHOWN]:
            yield f"  {row['method']} {row['path']}"
            problem = row["found"].get("problem") or row["expected"].get("problem")
            if problem:
                yield f"      {problem}"
            for difference in row["differences"][:_SHOWN]:
                yield f"      {difference['place']}: {difference['found']}, the VM said {difference['expected']}"
        if len(different) > _SHOWN:
            yield f"  and {len(different) - _SHOWN} more; proof.json has them all"
        for note in one["notes"]:
            yield f"  note: {note}"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _size(value: int | None) -> str:
    return "" if value is None else format_size(value)
