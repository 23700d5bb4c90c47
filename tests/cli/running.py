"""What a command wrote and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """One run of the command line: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]
