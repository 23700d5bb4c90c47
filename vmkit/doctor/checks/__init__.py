"""The checks, one a file; the order is that of ``vmkit doctor --list``."""

from __future__ import annotations

from typing import Final

from vmkit.doctor.checks import cdi, kubevirt, permissions, rook
from vmkit.doctor.model import Check

CHECKS: Final[tuple[Check, ...]] = (
    permissions.CHECK,
    kubevirt.CHECK,
    cdi.CHECK,
    rook.CHECK,
)
