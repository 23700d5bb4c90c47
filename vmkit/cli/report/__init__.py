"""``vmkit report``: what a fleet needs, and what it costs; one file a report."""

from __future__ import annotations

from vmkit.cli.report import capacity, energy
from vmkit.cli.report.group import report

__all__ = ["capacity", "energy", "report"]
