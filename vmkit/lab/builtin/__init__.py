"""The kinds that Kubernetes itself brings: what is served, its defaults, checks and table columns."""

from __future__ import annotations

from vmkit.lab.builtin.types import register

__all__ = ["register"]
