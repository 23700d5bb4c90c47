"""Whether a change of size is worth it, by the rule of the vertical pod autoscaler's updater.

The rule and its numbers follow kubernetes/autoscaler, vertical-pod-autoscaler/pkg/updater/priority
(update_priority_calculator.go, priority_processor.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from vmkit.insight.recommender import Recommendation, Resources

MIN_DIFFERENCE: Final = 0.1
"""A smaller change, as a share of what is reserved, is not worth a restart."""
MIN_RUNNING: Final = timedelta(hours=12)
"""What lies within the bounds is left alone until the VM has run so long."""


class Why(StrEnum):
    """What the rule found."""

    OUT_OF_MEMORY = "OutOfMemory"
    """The guest ran out of memory soon after it started."""
    TOO_SMALL = "TooSmall"
    """Less is reserved than the lower bound."""
    TOO_LARGE = "TooLarge"
    """More is reserved than the upper bound."""
    DIFFERS = "Differs"
    """Within the bounds, and far enough from the target."""
    CLOSE = "Close"
    """Within the bounds, and near the target."""
    TOO_YOUNG = "TooYoung"
    """Within the bounds, and running for too short a time, or nobody knows how long."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Whether a change is worth it.

    Attributes:
        worth: the answer; why: what decided.
        difference: how far what is reserved is from the target: the shares of CPU and memory added up.
        grows: whether the target has more of either.
    """

    worth: bool
    why: Why
    difference: float
    grows: bool


def decide_worth(
    reserved: Resources,
    recommendation: Recommendation,
    *,
    running_for: timedelta | None,
    soon_out_of_memory: bool = False,
) -> Worth:
    """Whether to change what is reserved.

    Args:
        reserved: what the VM has now.
        recommendation: what it needs.
        running_for: since when it runs; None when it is stopped or nobody knows.
        soon_out_of_memory: whether its guest ran out of memory within ten minutes of its start.
    """
    target = recommendation.target
    pairs = tuple(zip(reserved, target, strict=True))
    difference = sum(abs(has - needs) / max(has, 1) for has, needs in pairs)
    grows = any(needs > has for has, needs in pairs)
    if soon_out_of_memory and difference > 0:
        return Worth(True, Why.OUT_OF_MEMORY, difference, grows)
    if any(has < least for has, least in zip(reserved, recommendation.lower, strict=True)):
        return Worth(True, Why.TOO_SMALL, difference, grows)
    if any(has > most for has, most in zip(reserved, recommendation.upper, strict=True)):
        return Worth(True, Why.TOO_LARGE, difference, grows)
    if running_for is None or running_for < MIN_RUNNING:
        return Worth(False, Why.TOO_YOUNG, difference, grows)
    if difference < MIN_DIFFERENCE:
        return Worth(False, Why.CLOSE, difference, grows)
    return Worth(True, Why.DIFFERS, difference, grows)
