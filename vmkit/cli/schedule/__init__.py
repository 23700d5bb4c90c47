"""``vmkit schedule``: schedules at work, explained, checked, overridden; one file a kind of command."""

from __future__ import annotations

from vmkit.cli.schedule import looking, overrides, running
from vmkit.cli.schedule.group import schedule

__all__ = ["looking", "overrides", "running", "schedule"]
