"""What a pass gets from a controller that has been watching, where a pass on its own would have to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from vmkit.schedule.decide import Decision
from vmkit.schedule.running.pace import Pace
from vmkit.schedule.running.subjects import Subject, Surroundings


@dataclass(frozen=True, slots=True)
class Vigil:
    """A controller's part in a pass. Such a pass never waits: what has to wait for something is put off.

    Attributes:
        surroundings, subjects: the VMs and their surroundings as they were last heard of. Before a VM is switched
            it is read again.
        at: the cluster's clock.
        pace: counts starts over all passes.
        may_act: asked right before every change; once false, nothing is changed any more.
        is_told: whether people have been told of this problem already.
    """

    surroundings: Surroundings
    subjects: tuple[Subject, ...]
    at: datetime
    pace: Pace
    may_act: Callable[[], bool]
    is_told: Callable[[Subject, Decision], bool]
