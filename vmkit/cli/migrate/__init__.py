"""``vmkit migrate``: what a VM's workloads could become, and what it takes; one file a command."""

from __future__ import annotations

from vmkit.cli.migrate import assess, build, doctor, generate, inspect, verify
from vmkit.cli.migrate.group import migrate

__all__ = ["assess", "build", "doctor", "generate", "inspect", "migrate", "verify"]
