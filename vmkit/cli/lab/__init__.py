"""``vmkit lab``: a practice cluster on this machine, and what one can do to it while it runs."""

from __future__ import annotations

from vmkit.cli.lab import clock, faults, importing, inside, life, metrics, state
from vmkit.cli.lab.group import lab

__all__ = ["clock", "faults", "importing", "inside", "lab", "life", "metrics", "state"]
