"""The checks, one a file; the order is that of ``vmkit doctor --list``."""

from __future__ import annotations

from typing import Final

from vmkit.doctor.checks import (
    autoscalers,
    cdi,
    downscalers,
    edge,
    gitops,
    jobs,
    kepler,
    kubevirt,
    permissions,
    prometheus,
    rook,
    wasm,
)
from vmkit.doctor.model import Check

CHECKS: Final[tuple[Check, ...]] = (
    permissions.CHECK,
    kubevirt.CHECK,
    cdi.CHECK,
    rook.CHECK,
    prometheus.CHECK,
    kepler.CHECK,
    autoscalers.CHECK,
    wasm.CHECK,
    gitops.CHECK,
    downscalers.CHECK,
    edge.CHECK,
    jobs.CHECK,
)
