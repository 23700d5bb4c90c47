"""The suspend switch, which schedules share with everything automatic."""

from __future__ import annotations

from vmkit.guard.switch import DEFAULT_NAME, DEFAULT_NAMESPACE, Switch

__all__ = ["DEFAULT_NAME", "DEFAULT_NAMESPACE", "Switch"]
